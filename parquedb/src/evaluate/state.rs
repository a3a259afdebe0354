//! Aggregates as mergeable states.
//!
//! A grouping view stores, per commit and group, the state of each aggregate over that commit's rows.
//! Reading merges the states of a group and takes the result of the merged state; the final values
//! are never merged. Each aggregate is, for each of its states, the expressions that make it from rows,
//! merge it and turn it into its own removal, and then the result. The formats are documented in
//! `docs/design/semantics.md`.

mod call;
mod counts;
mod extremes;
mod sums;
#[cfg(test)]
mod tests;
mod values;

use crate::declare::plan::{Aggregate, AggregateColumn};
use crate::error::Result;
use crate::evaluate::lower::column;
use arrow::datatypes::Field;
use call::Call;
use datafusion::common::DFSchema;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, lit};

/// The version of the stored states. A view that was built with another one is built again.
pub(crate) const FORMAT: u32 = 3;

/// How many rows a group has. No column of a view can have a `$` in its name.
pub(crate) const ROWS_COLUMN: &str = "$rows";

/// One stored column of an aggregate's state.
#[derive(Debug, Clone)]
pub(crate) struct State {
    /// The stored column.
    pub(crate) field: Field,
    /// The state over source rows.
    pub(crate) over_rows: Expr,
    /// The state over stored states.
    pub(crate) merge: Expr,
    /// Over a stored state's column: the state that takes its rows back. Merging both gives the state
    /// of no rows. Absent where a state does not tell what is left without them.
    pub(crate) negate: Option<Expr>,
    /// For a state that holds no more than the best values of its group.
    pub(crate) candidates: Option<Candidates>,
}

impl State {
    /// Over a merged state's column: what is stored of it.
    pub(crate) fn kept(&self) -> Expr {
        match &self.candidates {
            Some(candidates) => candidates.cut.clone(),
            None => column(self.field.name()),
        }
    }
}

/// What must be known of the best values of a group before others are taken back.
#[derive(Debug, Clone)]
pub(crate) struct Candidates {
    /// Over a merged state's column: the state that is stored.
    pub(crate) cut: Expr,
    /// Over stored states: what [`Candidates::outlook`] looks at.
    pub(crate) list: Expr,
    /// Over that column: what the states allow.
    pub(crate) outlook: Expr,
    /// Whether the values have too few different ones for candidates to run out.
    pub(crate) last_always: bool,
}

impl State {
    /// Whether it always holds what another one holds: then one of the two is stored.
    pub(crate) fn is_same(&self, other: &State) -> bool {
        self.over_rows == other.over_rows
            && self.field.data_type() == other.field.data_type()
            && self.field.is_nullable() == other.field.is_nullable()
    }
}

/// An aggregate's states and the result of their merge.
#[derive(Debug, Clone)]
pub(crate) struct Mergeable {
    pub(crate) states: Vec<State>,
    /// Over the merged states' columns. Its type is made the declared one by the caller.
    pub(crate) result: Expr,
    /// What the states hold, in words.
    pub(crate) holds: &'static str,
}

/// The number of rows of each group: what keeps a group in the view.
pub(crate) fn rows() -> State {
    counts::counting(ROWS_COLUMN, count(lit(1_i64)))
}

/// The states of one aggregate of a view over rows of `input`, which may go again or not.
pub(crate) fn mergeable(
    aggregate: &AggregateColumn,
    input: &DFSchema,
    may_lose_rows: bool,
) -> Result<Mergeable> {
    let call = &Call::new(aggregate, input, may_lose_rows)?;
    match aggregate.aggregate {
        Aggregate::Count => counts::count_values(call),
        Aggregate::And | Aggregate::Or => counts::truth(call),
        Aggregate::Sum => sums::sum(call),
        Aggregate::Avg => sums::mean(call),
        Aggregate::Variance | Aggregate::Stddev => sums::spread(call),
        Aggregate::Corr => sums::correlation(call),
        Aggregate::Min | Aggregate::Max | Aggregate::Any => extremes::extreme(call),
        Aggregate::First | Aggregate::Last => extremes::ordered_pick(call),
        Aggregate::ArgMin | Aggregate::ArgMax => extremes::value_at_extreme(call),
        Aggregate::CountDistinct => values::count_distinct(call),
        Aggregate::Uniq => values::estimate_distinct(call),
        Aggregate::Quantile | Aggregate::Quantiles => values::quantiles(call),
        Aggregate::QuantileExact => values::exact_quantile(call),
        Aggregate::TopK => values::most_frequent(call),
        Aggregate::Collect | Aggregate::CollectSet => values::collect(call),
        Aggregate::BitAnd | Aggregate::BitOr => values::bits(call),
        Aggregate::Histogram => values::histogram(call),
        Aggregate::SumMap => sums::sums_by_key(call),
    }
}

//! Least and greatest values, and values of the rows that have them.

use super::call::Call;
use super::counts::counting;
use super::{Candidates, Mergeable, State};
use crate::declare::plan::Aggregate;
use crate::error::Result;
use crate::evaluate::candidates::{
    CANDIDATES, best_candidate, candidates, candidates_type, cut_candidates, list_candidates,
    merge_candidates, negate_candidates, outlook,
};
use crate::evaluate::lower::column;
use crate::evaluate::pick::{Best, merge_pick, pick, pick_type, picked_value};
use arrow::datatypes::{DataType, Field};
use datafusion::functions::core::expr_fn::nullif;
use datafusion::functions_aggregate::expr_fn::{count, max, min};
use datafusion::logical_expr::{Expr, lit, when};

/// The least or greatest value. `$any` is the least: of all ways to choose one value it is one that no
/// order of rows and commits can change. NaN is the greatest float; DataFusion's own functions keep or
/// lose it by the order of the rows, so they see the other values and NaNs are counted.
pub(super) fn extreme(call: &Call) -> Result<Mergeable> {
    let value = call.value()?;
    let name = call.name();
    let greatest = call.aggregate() == Aggregate::Max;
    if call.may_lose_rows() {
        let best = if greatest { Best::Greatest } else { Best::Least };
        let counts = call.may_be_null(&value)?.then(|| value.clone().is_not_null());
        return best_of(call, best, vec![value], counts);
    }
    let pick = if greatest { max } else { min };
    let kind = call.kind(&value)?;
    let field = Field::new(name, kind.clone(), true);
    let holds = if greatest { "the greatest value" } else { "the least value" };
    let nan = match kind {
        DataType::Float32 => lit(f32::NAN),
        DataType::Float64 => lit(f64::NAN),
        _ => {
            let over_rows = call.over(pick(value))?;
            let state = State { field, over_rows, merge: pick(column(name)), negate: None, candidates: None };
            return Ok(Mergeable { states: vec![state], result: column(name), holds });
        }
    };
    let nans_name = call.part("nans");
    let numbers = call.over(pick(nullif(value.clone(), nan.clone())))?;
    let nans = counting(&nans_name, call.over(count(when(value.eq(nan.clone()), lit(1_i64)).end()?))?);
    let any_nan = column(&nans_name).gt(lit(0_i64));
    let is_nan = if greatest { any_nan } else { any_nan.and(column(name).is_null()) };
    Ok(Mergeable {
        states: vec![
            State { field, over_rows: numbers, merge: pick(column(name)), negate: None, candidates: None },
            nans,
        ],
        result: when(is_nan, nan).otherwise(column(name))?,
        holds,
    })
}

/// `$first` and `$last`: the value, null or not, of the row that comes first or last in an order. Rows
/// without an order key come after all others either way.
pub(super) fn ordered_pick(call: &Call) -> Result<Mergeable> {
    let (best, holds) = match call.aggregate() {
        Aggregate::First => (Best::Least, "the first row's order key and value"),
        _ => (Best::Greatest, "the last row's order key and value"),
    };
    picked(call, best, None, holds)
}

/// `$argMin` and `$argMax`: the value of the row where another is least or greatest, of those that have
/// both.
pub(super) fn value_at_extreme(call: &Call) -> Result<Mergeable> {
    let (best, holds) = match call.aggregate() {
        Aggregate::ArgMin => (Best::Least, "the least key and its value"),
        _ => (Best::Greatest, "the greatest key and its value"),
    };
    let both = call.value()?.is_not_null().and(call.by()?.is_not_null());
    picked(call, best, Some(both), holds)
}

fn picked(call: &Call, best: Best, condition: Option<Expr>, holds: &'static str) -> Result<Mergeable> {
    let (value, by) = (call.value()?, call.by()?);
    if call.may_lose_rows() {
        return best_of(call, best, vec![by, value], condition);
    }
    let name = call.name();
    let state = State {
        field: Field::new(name, pick_type(&call.kind(&by)?, &call.kind(&value)?), true),
        over_rows: call.over_rows_where(pick(best, by, value), condition)?,
        merge: merge_pick(best, column(name)),
        negate: None,
        candidates: None,
    };
    Ok(Mergeable { states: vec![state], result: picked_value(column(name)), holds })
}

/// The last of the columns, of the rows for which a condition holds, where all of them in turn are least or
/// greatest. For rows that may go: the next best ones are kept too.
fn best_of(call: &Call, best: Best, columns: Vec<Expr>, condition: Option<Expr>) -> Result<Mergeable> {
    let name = call.name();
    let kinds = columns.iter().map(|value| call.kind(value)).collect::<Result<Vec<_>>>()?;
    let different = columns.iter().map(|value| call.different_values(value)).collect::<Result<Vec<_>>>()?;
    let different = different.into_iter().try_fold(1, |all: usize, of_column| all.checked_mul(of_column?));
    let state = State {
        field: Field::new(name, candidates_type(&kinds), true),
        over_rows: call.over_rows_where(candidates(best, columns), condition)?,
        merge: merge_candidates(best, column(name)),
        negate: Some(negate_candidates(column(name))),
        candidates: Some(Candidates {
            cut: cut_candidates(column(name)),
            list: list_candidates(best, column(name)),
            outlook: outlook(column(name)),
            last_always: different.is_some_and(|different| different < CANDIDATES),
        }),
    };
    let holds = "the best values, with how often each occurs";
    Ok(Mergeable { states: vec![state], result: best_candidate(column(name)), holds })
}

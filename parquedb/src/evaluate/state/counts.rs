//! Counts, and what follows from counts.

use super::call::Call;
use super::{Mergeable, State};
use crate::declare::plan::Aggregate;
use crate::error::Result;
use crate::evaluate::lower::column;
use arrow::datatypes::{DataType, Field};
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::functions_aggregate::expr_fn::{count, sum};
use datafusion::logical_expr::{Expr, lit, when};

/// A state that is a number of rows.
pub(super) fn counting(name: &str, over_rows: Expr) -> State {
    State {
        field: Field::new(name, DataType::Int64, false),
        over_rows,
        merge: sum(column(name)),
        negate: Some(minus(name)),
        candidates: None,
    }
}

/// The removal of a state that is added up.
pub(super) fn minus(name: &str) -> Expr {
    Expr::Negative(Box::new(column(name)))
}

/// How many rows a condition holds for.
fn count_where(call: &Call, name: &str, condition: Expr) -> Result<State> {
    Ok(counting(name, call.over_rows_where(count(lit(1_i64)), Some(condition))?))
}

/// How many values are not null: of those that never are the number of rows, which every group has.
pub(super) fn count_present(call: &Call, value: Expr) -> Result<Expr> {
    call.over(count(if call.may_be_null(&value)? { value } else { lit(1_i64) }))
}

pub(super) fn count_values(call: &Call) -> Result<Mergeable> {
    let name = call.name();
    let counted = match call.optional_value() {
        Some(value) => count_present(call, value)?,
        None => call.over(count(lit(1_i64)))?,
    };
    Ok(Mergeable {
        states: vec![counting(name, counted)],
        result: coalesce(vec![column(name), lit(0_i64)]),
        holds: "a count",
    })
}

/// Whether all values or some are true.
pub(super) fn truth(call: &Call) -> Result<Mergeable> {
    let value = call.value()?;
    let (trues, values) = (call.part("true"), call.part("count"));
    let states = vec![
        count_where(call, &trues, value.clone().is_true())?,
        count_where(call, &values, value.is_not_null())?,
    ];
    let truth = match call.aggregate() {
        Aggregate::And => column(&trues).eq(column(&values)),
        _ => column(&trues).gt(lit(0_i64)),
    };
    Ok(Mergeable {
        states,
        result: when(column(&values).gt(lit(0_i64)), truth).end()?,
        holds: "the counts of true and of all values",
    })
}

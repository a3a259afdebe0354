//! Aggregates as mergeable states.
//!
//! A grouping view stores, per commit and group, the state of each aggregate over that commit's rows.
//! Reading merges the states of a group and takes the result of the merged state; the final values
//! are never merged. Each aggregate is three expressions: its states over rows, the merge of each
//! state, and the result. The formats are documented in `docs/design/semantics.md`.

use super::arithmetic::canonical;
use super::lower::{Scope, column};
use super::value_counts::{
    distinct_values, merge_value_counts, negate_value_counts, state_type, value_counts,
};
use crate::declare::plan::{Aggregate, AggregateColumn};
use crate::error::{Error, Result};
use arrow::datatypes::{DataType, Field};
use datafusion::common::DFSchema;
use datafusion::functions::core::expr_fn::{coalesce, nullif};
use datafusion::functions_aggregate::expr_fn::{count, max, min, sum};
use datafusion::logical_expr::{Expr, ExprFunctionExt, ExprSchemable, lit, when};
use datafusion::prelude::cast;

/// How many rows a group has.
pub(crate) const ROWS_COLUMN: &str = "__rows";

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
}

/// An aggregate's states and the result of their merge.
#[derive(Debug, Clone)]
pub(crate) struct Mergeable {
    pub(crate) states: Vec<State>,
    /// Over the merged states' columns. Its type is made the declared one by the caller.
    pub(crate) result: Expr,
}

/// The number of rows of each group: what keeps a group in the view.
pub(crate) fn rows() -> State {
    counting(ROWS_COLUMN, count(lit(1_i64)))
}

/// The states of one aggregate of a view over rows of `input`.
pub(crate) fn mergeable(aggregate: &AggregateColumn, input: &DFSchema) -> Result<Mergeable> {
    let scope = Scope::new(input);
    let argument = aggregate.argument.as_ref().map(|argument| scope.value(argument)).transpose()?;
    let filter = aggregate.filter.as_ref().map(|filter| scope.condition(filter)).transpose()?;
    let filtered = |function: Expr| -> Result<Expr> {
        match &filter {
            Some(filter) => Ok(function.filter(filter.clone()).build()?),
            None => Ok(function),
        }
    };
    let name = aggregate.name.as_str();
    let required = || {
        argument.clone().ok_or_else(|| {
            Error::invalid(format!("column `{name}`: this aggregate needs a value to aggregate"))
        })
    };
    Ok(match aggregate.aggregate {
        Aggregate::Count => {
            let counted = argument.clone().unwrap_or_else(|| lit(1_i64));
            Mergeable {
                states: vec![counting(name, filtered(count(counted))?)],
                result: coalesce(vec![column(name), lit(0_i64)]),
            }
        }
        Aggregate::Sum => {
            let (state, result_if_empty) = summing(name, required()?, input, &filtered)?;
            let total = match state.field.data_type() {
                DataType::Float64 => canonical(column(name)),
                _ => column(name),
            };
            Mergeable { result: coalesce(vec![total, result_if_empty]), states: vec![state] }
        }
        Aggregate::Avg => {
            let value = required()?;
            let (sum_name, count_name) = (format!("{name}__sum"), format!("{name}__count"));
            let (sum, _) = summing(&sum_name, value.clone(), input, &filtered)?;
            let count = counting(&count_name, filtered(count(value))?);
            let mean =
                cast(column(&sum_name), DataType::Float64) / cast(column(&count_name), DataType::Float64);
            Mergeable {
                states: vec![sum, count],
                result: when(column(&count_name).gt(lit(0_i64)), canonical(mean)).end()?,
            }
        }
        Aggregate::Min | Aggregate::Max => extreme(aggregate, required()?, input, &filtered)?,
        Aggregate::CountDistinct => {
            let value = required()?;
            let field = Field::new(name, state_type(&value.get_type(input)?), true);
            let state = State {
                field,
                over_rows: filtered(value_counts(value))?,
                merge: merge_value_counts(column(name)),
                negate: Some(negate_value_counts(column(name))),
            };
            Mergeable { states: vec![state], result: distinct_values(column(name)) }
        }
    })
}

/// The least or greatest value. NaN is the greatest float; DataFusion's own functions keep or lose it by
/// the order of the rows, so they see the other values and NaNs are counted.
fn extreme(
    aggregate: &AggregateColumn,
    value: Expr,
    input: &DFSchema,
    filtered: &impl Fn(Expr) -> Result<Expr>,
) -> Result<Mergeable> {
    let name = aggregate.name.as_str();
    let least = aggregate.aggregate == Aggregate::Min;
    let pick = if least { min } else { max };
    let kind = value.get_type(input)?;
    let field = Field::new(name, kind.clone(), true);
    let nan = match kind {
        DataType::Float32 => lit(f32::NAN),
        DataType::Float64 => lit(f64::NAN),
        _ => {
            let over_rows = filtered(pick(value))?;
            let state = State { field, over_rows, merge: pick(column(name)), negate: None };
            return Ok(Mergeable { states: vec![state], result: column(name) });
        }
    };
    let nans_name = format!("{name}__nans");
    let numbers = filtered(pick(nullif(value.clone(), nan.clone())))?;
    let nans = counting(&nans_name, filtered(count(when(value.eq(nan.clone()), lit(1_i64)).end()?))?);
    let any_nan = column(&nans_name).gt(lit(0_i64));
    let is_nan = if least { any_nan.and(column(name).is_null()) } else { any_nan };
    Ok(Mergeable {
        states: vec![State { field, over_rows: numbers, merge: pick(column(name)), negate: None }, nans],
        result: when(is_nan, nan).otherwise(column(name))?,
    })
}

fn counting(name: &str, over_rows: Expr) -> State {
    State {
        field: Field::new(name, DataType::Int64, false),
        over_rows,
        merge: sum(column(name)),
        negate: Some(minus(name)),
    }
}

/// A state that is a number which is added up.
fn minus(name: &str) -> Expr {
    Expr::Negative(Box::new(column(name)))
}

/// A sum that cannot wrap: integers are added as 38-digit decimals, which 10^19 of the largest
/// integers do not fill. The result is brought back to its declared type, or is an error.
fn summing(
    name: &str,
    value: Expr,
    input: &DFSchema,
    filtered: &impl Fn(Expr) -> Result<Expr>,
) -> Result<(State, Expr)> {
    let (addend, total, zero) = match value.get_type(input)? {
        DataType::Float32 | DataType::Float64 => {
            (cast(value, DataType::Float64), DataType::Float64, lit(0.0_f64))
        }
        kind if kind.is_integer() => {
            let total = DataType::Decimal128(38, 0);
            (cast(value, DataType::Decimal128(20, 0)), total.clone(), cast(lit(0_i64), total))
        }
        DataType::Decimal128(precision, scale) => {
            let total = DataType::Decimal128(38, scale);
            // Above 28 digits, ten thousand million values could leave 128 bits.
            let addend = if precision > 28 { cast(value, DataType::Decimal256(66, scale)) } else { value };
            (addend, total.clone(), cast(lit(0_i64), total))
        }
        other => return Err(Error::invalid(format!("column `{name}`: cannot add values of type {other}"))),
    };
    let merge = match &total {
        DataType::Decimal128(_, scale) => sum(cast(column(name), DataType::Decimal256(66, *scale))),
        _ => sum(column(name)),
    };
    let negate = (total != DataType::Float64).then(|| minus(name));
    let state =
        State { field: Field::new(name, total, true), over_rows: filtered(sum(addend))?, merge, negate };
    Ok((state, zero))
}

#[cfg(test)]
mod tests;

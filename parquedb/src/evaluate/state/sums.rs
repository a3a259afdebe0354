//! Sums and what follows from them: exact for every type of number, so that no order of rows, commits
//! or merges can show, and that rows can be taken back.

use super::call::Call;
use super::counts::{count_present, counting, minus};
use super::{Mergeable, State};
use crate::declare::plan::Aggregate;
use crate::error::Result;
use crate::evaluate::decimal_sums::{mean_of_sum, sum_or_zero};
use crate::evaluate::exact_sum::functions as exact;
use crate::evaluate::lower::column;
use crate::evaluate::map_sums::{map_sums, merge_map_sums, negate_map_sums, summed_map, sums_type};
use crate::ingest::map_type;
use arrow::datatypes::{DataType, Field};
use datafusion::functions_aggregate::expr_fn::{count, sum as add};
use datafusion::logical_expr::{Expr, lit};
use datafusion::prelude::cast;

pub(super) fn sum(call: &Call) -> Result<Mergeable> {
    let value = call.value()?;
    let name = call.name();
    if call.kind(&value)?.is_floating() {
        let state = exact_state(call, name, exact::exact_sum(call.float(value)?), None)?;
        let result = exact::exact_sum_value(column(name));
        return Ok(Mergeable { states: vec![state], result, holds: "an exact sum" });
    }
    let state = decimal_state(call, name, value)?;
    Ok(Mergeable { states: vec![state], result: sum_or_zero(column(name)), holds: "a sum" })
}

pub(super) fn mean(call: &Call) -> Result<Mergeable> {
    let value = call.value()?;
    let (sum, values) = (call.part("sum"), call.part("count"));
    let counted = counting(&values, count_present(call, value.clone())?);
    if call.kind(&value)?.is_floating() {
        let state = exact_state(call, &sum, exact::exact_sum(call.float(value)?), None)?;
        let result = exact::exact_mean(column(&sum), column(&values));
        return Ok(Mergeable { states: vec![state, counted], result, holds: "an exact sum and a count" });
    }
    let state = decimal_state(call, &sum, value)?;
    let result = mean_of_sum(column(&sum), column(&values));
    Ok(Mergeable { states: vec![state, counted], result, holds: "a sum and a count" })
}

/// Sample variance and its root.
pub(super) fn spread(call: &Call) -> Result<Mergeable> {
    let value = call.float(call.value()?)?;
    let [values, sum, squares] = ["count", "sum", "squares"].map(|part| call.part(part));
    let states = vec![
        counting(&values, count_present(call, value.clone())?),
        exact_state(call, &sum, exact::exact_sum(value.clone()), None)?,
        exact_state(call, &squares, exact::exact_sum_of_products(value.clone(), value), None)?,
    ];
    let function = match call.aggregate() {
        Aggregate::Variance => exact::exact_variance,
        _ => exact::exact_stddev,
    };
    let result = function(column(&values), column(&sum), column(&squares));
    Ok(Mergeable { states, result, holds: "a count and exact sums of the values and their squares" })
}

/// The coefficient of correlation of the rows that have both values.
pub(super) fn correlation(call: &Call) -> Result<Mergeable> {
    let (x, y) = (call.float(call.value()?)?, call.float(call.by()?)?);
    let both = x.clone().is_not_null().and(y.clone().is_not_null());
    let pairs = call.part("count");
    let sums = ["x", "y", "xx", "yy", "xy"].map(|part| call.part(part));
    let made = [
        exact::exact_sum(x.clone()),
        exact::exact_sum(y.clone()),
        exact::exact_sum_of_products(x.clone(), x.clone()),
        exact::exact_sum_of_products(y.clone(), y.clone()),
        exact::exact_sum_of_products(x, y),
    ];
    let mut states = vec![counting(&pairs, call.over_rows_where(count(lit(1_i64)), Some(both.clone()))?)];
    for (name, sum) in sums.iter().zip(made) {
        states.push(exact_state(call, name, sum, Some(both.clone()))?);
    }
    let result = exact::exact_correlation(column(&pairs), sums.each_ref().map(|name| column(name)));
    Ok(Mergeable { states, result, holds: "a count and exact sums of the values, squares and products" })
}

/// The sum of each key, of a map's values or of a value by another one.
pub(super) fn sums_by_key(call: &Call) -> Result<Mergeable> {
    let (value, key) = (call.value()?, call.optional_by());
    let name = call.name();
    let summed = match (call.kind(&value)?, &key) {
        (DataType::Map(entries, _), None) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => fields[1].data_type().clone(),
            other => return Err(call.invalid(&format!("cannot add values of a map of {other}"))),
        },
        (kind, Some(_)) => kind,
        (other, None) => return Err(call.invalid(&format!("{other} is neither a map nor has a key"))),
    };
    let sum = match &summed {
        kind if kind.is_unsigned_integer() => DataType::UInt64,
        kind if kind.is_integer() => DataType::Int64,
        DataType::Decimal128(_, scale) => DataType::Decimal128(38, *scale),
        other => return Err(call.invalid(&format!("cannot add values of type {other} by key"))),
    };
    let state = State {
        field: Field::new(name, sums_type(&summed)?, true),
        over_rows: call.over(map_sums(key.into_iter().chain([value]).collect()))?,
        merge: merge_map_sums(column(name)),
        negate: Some(negate_map_sums(column(name))),
        candidates: None,
    };
    let result = summed_map(column(name), &map_type(&sum), name)?;
    Ok(Mergeable { states: vec![state], result, holds: "the sum and the number of values of each key" })
}

/// A sum of floats, or of their products.
fn exact_state(call: &Call, name: &str, over_rows: Expr, condition: Option<Expr>) -> Result<State> {
    Ok(State {
        field: Field::new(name, DataType::Binary, true),
        over_rows: call.over_rows_where(over_rows, condition)?,
        merge: exact::merge_exact_sum(column(name)),
        negate: Some(exact::negate_exact_sum(column(name))),
        candidates: None,
    })
}

/// A sum that cannot wrap: integers are added as 38-digit decimals, which 10^19 of the largest
/// integers do not fill. The result is brought back to its declared type, or is an error.
fn decimal_state(call: &Call, name: &str, value: Expr) -> Result<State> {
    let (addend, scale) = match call.kind(&value)? {
        kind if kind.is_integer() => (cast(value, DataType::Decimal128(20, 0)), 0),
        // Above 28 digits, ten thousand million values could leave 128 bits.
        DataType::Decimal128(precision, scale) if precision > 28 => {
            (cast(value, DataType::Decimal256(66, scale)), scale)
        }
        DataType::Decimal128(_, scale) => (value, scale),
        other => return Err(call.invalid(&format!("cannot add values of type {other}"))),
    };
    Ok(State {
        field: Field::new(name, DataType::Decimal128(38, scale), true),
        over_rows: call.over(add(addend))?,
        merge: add(cast(column(name), DataType::Decimal256(66, scale))),
        negate: Some(minus(name)),
        candidates: None,
    })
}

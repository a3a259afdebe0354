//! What is read from the distinct values of a group or of a sketch of them.

use super::call::Call;
use super::{Mergeable, State};
use crate::declare::plan::Aggregate;
use crate::error::Result;
use crate::evaluate::bit_counts::{
    bit_counts, bits_of_all, bits_of_any, merge_bit_counts, negate_bit_counts,
};
use crate::evaluate::hyperloglog::{distinct_estimate, distinct_sketch, merge_distinct_sketch};
use crate::evaluate::lower::column;
use crate::evaluate::quantile_sketch::{sketch_bucket, sketch_value};
use crate::evaluate::value_counts::results::{
    all_values, bucket_counts, different_values, distinct_values, most_frequent_values, value_at,
};
use crate::evaluate::value_counts::{merge_value_counts, negate_value_counts, state_type, value_counts};
use arrow::datatypes::{DataType, Field};
use datafusion::functions_nested::expr_fn::make_array;
use datafusion::logical_expr::conditional_expressions::CaseBuilder;
use datafusion::logical_expr::{Expr, lit, when};
use datafusion::prelude::cast;

/// How often each value of `value` occurs.
fn counted(call: &Call, value: Expr) -> Result<State> {
    let name = call.name();
    Ok(State {
        field: Field::new(name, state_type(&call.kind(&value)?), true),
        over_rows: call.over(value_counts(value))?,
        merge: merge_value_counts(column(name)),
        negate: Some(negate_value_counts(column(name))),
        candidates: None,
    })
}

fn of_counts(call: &Call, result: Expr) -> Result<Mergeable> {
    let states = vec![counted(call, call.value()?)?];
    Ok(Mergeable { states, result, holds: "how often each value occurs" })
}

pub(super) fn count_distinct(call: &Call) -> Result<Mergeable> {
    of_counts(call, distinct_values(column(call.name())))
}

pub(super) fn exact_quantile(call: &Call) -> Result<Mergeable> {
    let quantile = call.quantiles()?[0];
    of_counts(call, value_at(column(call.name()), quantile))
}

pub(super) fn most_frequent(call: &Call) -> Result<Mergeable> {
    of_counts(call, most_frequent_values(column(call.name()), call.size()?))
}

pub(super) fn collect(call: &Call) -> Result<Mergeable> {
    let state = column(call.name());
    let all = call.aggregate() == Aggregate::Collect;
    of_counts(call, if all { all_values(state) } else { different_values(state) })
}

pub(super) fn estimate_distinct(call: &Call) -> Result<Mergeable> {
    let name = call.name();
    let state = State {
        field: Field::new(name, DataType::Binary, true),
        over_rows: call.over(distinct_sketch(call.value()?))?,
        merge: merge_distinct_sketch(column(name)),
        negate: None,
        candidates: None,
    };
    let result = distinct_estimate(column(name));
    Ok(Mergeable { states: vec![state], result, holds: "a HyperLogLog sketch of 4096 registers" })
}

pub(super) fn quantiles(call: &Call) -> Result<Mergeable> {
    let state = counted(call, sketch_bucket(call.float(call.value()?)?))?;
    let estimates = call
        .quantiles()?
        .into_iter()
        .map(|quantile| sketch_value(value_at(column(call.name()), quantile)))
        .collect::<Vec<_>>();
    let result = match call.aggregate() {
        Aggregate::Quantile => estimates[0].clone(),
        _ => when(estimates[0].clone().is_not_null(), make_array(estimates)).end()?,
    };
    Ok(Mergeable { states: vec![state], result, holds: "a DDSketch: counts by buckets of one percent" })
}

/// How many values are below the first bound, between each bound and the next, and from the last on.
pub(super) fn histogram(call: &Call) -> Result<Mergeable> {
    let value = call.value()?;
    let bounds = call.parameters_as(&call.kind(&value)?)?;
    let Some((last, buckets)) =
        (1_i32..).zip(&bounds).map(|(bucket, _)| bucket).last().zip(Some(bounds.len()))
    else {
        return Err(call.invalid("a histogram needs bounds"));
    };
    let cases = (0_i32..).zip(bounds).map(|(bucket, bound)| (value.clone().lt(bound), lit(bucket)));
    let (conditions, results): (Vec<_>, Vec<_>) = cases.unzip();
    let bucket = CaseBuilder::new(None, conditions, results, None).otherwise(lit(last))?;
    let state = counted(call, when(value.is_not_null(), bucket).end()?)?;
    let result = bucket_counts(column(call.name()), buckets as u64 + 1);
    Ok(Mergeable { states: vec![state], result, holds: "the count of each bucket" })
}

/// The bits that all values have, or any.
pub(super) fn bits(call: &Call) -> Result<Mergeable> {
    let value = call.value()?;
    let name = call.name();
    let wide = match call.kind(&value)? {
        kind if kind.is_unsigned_integer() => DataType::UInt64,
        kind if kind.is_integer() => DataType::Int64,
        other => return Err(call.invalid(&format!("values of type {other} have no bits"))),
    };
    let state = State {
        field: Field::new(name, DataType::new_list(DataType::Int64, false), true),
        over_rows: call.over(bit_counts(cast(value, wide.clone())))?,
        merge: merge_bit_counts(column(name)),
        negate: Some(negate_bit_counts(column(name))),
        candidates: None,
    };
    let result = match call.aggregate() {
        Aggregate::BitAnd => bits_of_all(column(name), &wide)?,
        _ => bits_of_any(column(name), &wide)?,
    };
    Ok(Mergeable { states: vec![state], result, holds: "the counts of all values and of each bit" })
}

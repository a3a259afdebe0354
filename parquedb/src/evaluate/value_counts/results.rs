//! What is read from counts of values. Only values that are counted more than zero times are there.

use crate::evaluate::function::ColumnFunction;
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, UInt64Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Float64Type, Int32Type, Int64Type};
use datafusion::common::Result;
use datafusion::logical_expr::{Expr, lit};
use std::sync::Arc;

/// How many different values there are; zero of null.
pub(crate) fn distinct_values(state: Expr) -> Expr {
    let compute = |columns: &[ArrayRef], _: &DataType| {
        let lengths = (0..columns[0].len()).map(|row| entries(&columns[0], row).count() as i64);
        Ok(Arc::new(Int64Array::from_iter_values(lengths)) as ArrayRef)
    };
    ColumnFunction::new("distinct_values", |_| Ok(DataType::Int64), compute).call(vec![state])
}

/// The least value that at least the part `quantile` of all are not greater than; null of none.
pub(crate) fn value_at(state: Expr, quantile: f64) -> Expr {
    let compute = |columns: &[ArrayRef], _: &DataType| {
        let quantiles = columns[1].as_primitive::<Float64Type>();
        let positions = (0..columns[0].len()).map(|row| position_at(&columns[0], row, quantiles.value(row)));
        values_of(&columns[0], &positions.collect())
    };
    ColumnFunction::new("value_at", value_of_state, compute).call(vec![state, lit(quantile)])
}

/// All values in ascending order, each as often as it is counted.
pub(crate) fn all_values(state: Expr) -> Expr {
    lists("all_values", state, None, |entries, _| {
        entries.flat_map(|(position, count)| (0..count).map(move |_| position)).collect()
    })
}

/// The different values in ascending order.
pub(crate) fn different_values(state: Expr) -> Expr {
    lists("different_values", state, None, |entries, _| entries.map(|(position, _)| position).collect())
}

/// The values that are counted most often, that first; of equal counts the lesser value first.
pub(crate) fn most_frequent_values(state: Expr, size: u64) -> Expr {
    lists("most_frequent_values", state, Some(size), |entries, size| {
        let mut entries = entries.collect::<Vec<_>>();
        entries.sort_by_key(|(position, count)| (-count, *position));
        entries.into_iter().take(size).map(|(position, _)| position).collect()
    })
}

/// The counts of the values `0..buckets`, which are `Int32`.
pub(crate) fn bucket_counts(state: Expr, buckets: u64) -> Expr {
    let item = || Arc::new(Field::new("item", DataType::Int64, false));
    let compute = move |columns: &[ArrayRef], _: &DataType| {
        let buckets = columns[1].as_primitive::<arrow::datatypes::UInt64Type>();
        let values = columns[0].as_list::<i32>().values().as_struct().column(0).as_primitive::<Int32Type>();
        let (mut all, mut lengths) = (Vec::new(), Vec::new());
        for row in 0..columns[0].len() {
            let mut counts = vec![0; usize::try_from(buckets.value(row)).unwrap_or_default()];
            for (position, count) in entries(&columns[0], row) {
                let bucket = usize::try_from(values.value(position)).ok();
                if let Some(slot) = bucket.and_then(|bucket| counts.get_mut(bucket)) {
                    *slot = count;
                }
            }
            lengths.push(counts.len());
            all.extend(counts);
        }
        let offsets = OffsetBuffer::from_lengths(lengths);
        let counts = Arc::new(Int64Array::from(all));
        Ok(Arc::new(ListArray::try_new(item(), offsets, counts, None)?) as ArrayRef)
    };
    let returns = |_: &[DataType]| Ok(DataType::new_list(DataType::Int64, false));
    ColumnFunction::new("bucket_counts", returns, compute).call(vec![state, lit(buckets)])
}

/// The positions of a row's entries among all entries, and their counts.
fn entries(states: &ArrayRef, row: usize) -> impl Iterator<Item = (usize, i64)> {
    let lists = states.as_list::<i32>();
    let counts = lists.values().as_struct().column(1).as_primitive::<Int64Type>();
    let offsets = lists.offsets();
    let range = if lists.is_valid(row) { offsets[row]..offsets[row + 1] } else { 0..0 };
    range.filter_map(|position| {
        let position = usize::try_from(position).ok()?;
        let count = counts.value(position);
        (count > 0).then_some((position, count))
    })
}

fn position_at(states: &ArrayRef, row: usize, quantile: f64) -> Option<u64> {
    let total: i64 = entries(states, row).map(|(_, count)| count).sum();
    let rank = ((quantile * total as f64).ceil() as i64).clamp(1, total.max(1));
    let mut passed = 0;
    entries(states, row)
        .find(|(_, count)| {
            passed += count;
            passed >= rank
        })
        .map(|(position, _)| position as u64)
}

/// The values at these positions among all entries.
fn values_of(states: &ArrayRef, positions: &UInt64Array) -> Result<ArrayRef> {
    Ok(take(states.as_list::<i32>().values().as_struct().column(0), positions, None)?)
}

fn value_of_state(types: &[DataType]) -> Result<DataType> {
    super::value_type(&types[0])
}

/// A row's entries in order.
type Entries<'a> = Box<dyn Iterator<Item = (usize, i64)> + 'a>;

/// A function from states to lists of their values, which are given by their positions.
fn lists(
    name: &'static str,
    state: Expr,
    size: Option<u64>,
    choose: fn(Entries<'_>, usize) -> Vec<usize>,
) -> Expr {
    let compute = move |columns: &[ArrayRef], kind: &DataType| {
        let (mut all, mut lengths) = (Vec::new(), Vec::new());
        for row in 0..columns[0].len() {
            let size = columns
                .get(1)
                .map_or(0, |sizes| sizes.as_primitive::<arrow::datatypes::UInt64Type>().value(row));
            let chosen =
                choose(Box::new(entries(&columns[0], row)), usize::try_from(size).unwrap_or(usize::MAX));
            lengths.push(chosen.len());
            all.extend(chosen.into_iter().map(|position| position as u64));
        }
        let values = values_of(&columns[0], &UInt64Array::from(all))?;
        let DataType::List(item) = kind else {
            return datafusion::common::exec_err!("{kind} is not a list");
        };
        let offsets = OffsetBuffer::from_lengths(lengths);
        Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, values, None)?) as ArrayRef)
    };
    let returns = |types: &[DataType]| Ok(DataType::new_list(value_of_state(types)?, false));
    ColumnFunction::new(name, returns, compute).call(std::iter::once(state).chain(size.map(lit)).collect())
}

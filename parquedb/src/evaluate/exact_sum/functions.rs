//! The functions of DataFusion's plans over exact sums. Their state is `Binary`; null is the sum of nothing.

use super::moments::{correlation, deviation, variance};
use super::{ExactSum, Total};
use crate::evaluate::aggregate_function::{GroupStates, Input, Selection, StateFunction};
use crate::evaluate::function::ColumnFunction;
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, Float64Array};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::{Result, exec_datafusion_err, exec_err};
use datafusion::logical_expr::Expr;
use std::sync::Arc;

/// Adds floats.
pub(crate) fn exact_sum(value: Expr) -> Expr {
    StateFunction::new("exact_sum", Input::Rows, binary, boxed::<4>).call(vec![value])
}

/// Adds the products of floats.
pub(crate) fn exact_sum_of_products(left: Expr, right: Expr) -> Expr {
    StateFunction::new("exact_sum_of_products", Input::Rows, binary, boxed::<8>).call(vec![left, right])
}

/// Adds sums of either.
pub(crate) fn merge_exact_sum(state: Expr) -> Expr {
    StateFunction::new("merge_exact_sum", Input::States, binary, boxed::<8>).call(vec![state])
}

/// The sum that takes this one back.
pub(crate) fn negate_exact_sum(state: Expr) -> Expr {
    let negate = |columns: &[ArrayRef], _: &DataType| {
        let states = columns[0].as_binary::<i32>();
        let mut negated = BinaryBuilder::new();
        for index in 0..states.len() {
            negated.append_option(total_or_null(states, index)?.map(|total| total.negated().encode()));
        }
        Ok(Arc::new(negated.finish()) as ArrayRef)
    };
    ColumnFunction::new("negate_exact_sum", binary, negate).call(vec![state])
}

/// The sum as a float.
pub(crate) fn exact_sum_value(state: Expr) -> Expr {
    float("exact_sum_value", vec![state], |row| Ok(Some(row.total(0)?.value())))
}

/// The sum of values divided by their number; null if that is zero.
pub(crate) fn exact_mean(sum: Expr, count: Expr) -> Expr {
    float("exact_mean", vec![sum, count], |row| {
        let count = row.count(1);
        Ok(if count > 0 { Some(row.total(0)?.mean(count)) } else { None })
    })
}

/// The sample variance, from the number of values, their sum and that of their squares; null of fewer
/// than two.
pub(crate) fn exact_variance(count: Expr, sum: Expr, squares: Expr) -> Expr {
    float("exact_variance", vec![count, sum, squares], |row| {
        Ok(variance(row.count(0), &row.total(1)?, &row.total(2)?))
    })
}

/// The square root of the sample variance.
pub(crate) fn exact_stddev(count: Expr, sum: Expr, squares: Expr) -> Expr {
    float("exact_stddev", vec![count, sum, squares], |row| {
        Ok(deviation(row.count(0), &row.total(1)?, &row.total(2)?))
    })
}

/// Pearson's coefficient of correlation, from the number of pairs and the sums of x, y, xx, yy and xy; null
/// where there are fewer than two or one side is constant.
pub(crate) fn exact_correlation(count: Expr, sums: [Expr; 5]) -> Expr {
    let arguments = std::iter::once(count).chain(sums).collect();
    float("exact_correlation", arguments, |row| {
        let sums = [row.total(1)?, row.total(2)?, row.total(3)?, row.total(4)?, row.total(5)?];
        Ok(correlation(row.count(0), &sums))
    })
}

fn binary(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Binary)
}

fn boxed<const W: usize>(_: &DataType) -> Result<Box<dyn GroupStates>> {
    Ok(Box::new(Sums::<W>(Vec::new())))
}

/// One row of a function's arguments.
struct Row<'a> {
    columns: &'a [ArrayRef],
    index: usize,
}

impl Row<'_> {
    fn total(&self, column: usize) -> Result<Total> {
        Ok(total_or_null(self.columns[column].as_binary(), self.index)?.unwrap_or_default())
    }

    fn count(&self, column: usize) -> i64 {
        let counts = self.columns[column].as_primitive::<Int64Type>();
        if counts.is_valid(self.index) { counts.value(self.index) } else { 0 }
    }
}

fn total_or_null(states: &BinaryArray, index: usize) -> Result<Option<Total>> {
    let state = states.is_valid(index).then(|| states.value(index));
    state
        .map(|bytes| Total::decode(bytes).map_err(|problem| exec_datafusion_err!("stored state: {problem}")))
        .transpose()
}

/// A function from states to a float in its one form.
fn float(name: &'static str, arguments: Vec<Expr>, of_row: fn(Row<'_>) -> Result<Option<f64>>) -> Expr {
    let compute = move |columns: &[ArrayRef], _: &DataType| {
        let values = (0..columns[0].len())
            .map(|index| {
                let value = of_row(Row { columns, index })?;
                Ok(value.map(|value| if value.is_nan() { f64::NAN } else { value + 0.0 }))
            })
            .collect::<Result<Float64Array>>()?;
        Ok(Arc::new(values) as ArrayRef)
    };
    ColumnFunction::new(name, |_| Ok(DataType::Float64), compute).call(arguments)
}

/// The sums of all groups.
struct Sums<const W: usize>(Vec<ExactSum<W>>);

impl<const W: usize> GroupStates for Sums<W> {
    fn resize(&mut self, groups: usize) {
        if self.0.len() < groups {
            self.0.resize_with(groups, ExactSum::default);
        }
    }

    fn add_rows(&mut self, columns: &[ArrayRef], rows: Selection<'_>) -> Result<()> {
        match columns {
            [values] => {
                let values = values.as_primitive::<Float64Type>();
                rows.rows(values.nulls()).for_each(|(row, group)| self.0[group].add(values.value(row)));
            }
            [left, right] => {
                let (left, right) = (left.as_primitive::<Float64Type>(), right.as_primitive::<Float64Type>());
                for (row, group) in rows.rows(left.nulls()) {
                    if right.is_valid(row) {
                        self.0[group].add_product(left.value(row), right.value(row));
                    }
                }
            }
            _ => return exec_err!("an exact sum takes one or two arguments"),
        }
        Ok(())
    }

    fn add_states(&mut self, states: &ArrayRef, rows: Selection<'_>) -> Result<()> {
        let states = states.as_binary::<i32>();
        for (row, group) in rows.rows(states.nulls()) {
            if let Some(total) = total_or_null(states, row)? {
                self.0[group].add_total(&total);
            }
        }
        Ok(())
    }

    fn emit(&mut self, groups: usize) -> Result<ArrayRef> {
        let states = self.0.drain(..groups).map(|sum| sum.total().encode());
        Ok(Arc::new(BinaryArray::from_iter_values(states)))
    }

    fn size(&self) -> usize {
        self.0.capacity() * size_of::<ExactSum<W>>()
    }
}

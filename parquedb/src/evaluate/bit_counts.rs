//! How many integers have each of their 64 bits set: what all and any of them have, when some are taken
//! back. A state is the number of values and then that of each bit, without the zeros at its end.

use super::aggregate_function::{GroupStates, Input, Selection, StateFunction};
use super::function::ColumnFunction;
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, UInt64Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::kernels::numeric;
use arrow::datatypes::{DataType, Field, Int64Type, UInt64Type};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{Expr, lit};
use std::sync::Arc;

/// The number of values, and of each bit.
const COUNTS: usize = 65;

/// The state over values of type `Int64` or `UInt64`.
pub(crate) fn bit_counts(value: Expr) -> Expr {
    StateFunction::new("bit_counts", Input::Rows, counts_type, Bits::boxed).call(vec![value])
}

/// Adds states.
pub(crate) fn merge_bit_counts(state: Expr) -> Expr {
    StateFunction::new("merge_bit_counts", Input::States, counts_type, Bits::boxed).call(vec![state])
}

/// The state that takes another back.
pub(crate) fn negate_bit_counts(state: Expr) -> Expr {
    let compute = |columns: &[ArrayRef], _: &DataType| {
        let states = columns[0].as_list::<i32>();
        let counts = numeric::neg(states.values())?;
        Ok(Arc::new(ListArray::try_new(item(), states.offsets().clone(), counts, states.nulls().cloned())?)
            as ArrayRef)
    };
    ColumnFunction::new("negate_bit_counts", counts_type, compute).call(vec![state])
}

/// The bits that all values have; null of none.
pub(crate) fn bits_of_all(state: Expr, kind: &DataType) -> Result<Expr> {
    let null = lit(ScalarValue::try_new_null(kind)?);
    Ok(ColumnFunction::new("bits_of_all", kind_of, |columns, kind| {
        bits(columns, kind, |bit, all| bit == all)
    })
    .call(vec![state, null]))
}

/// The bits that any value has; null of none.
pub(crate) fn bits_of_any(state: Expr, kind: &DataType) -> Result<Expr> {
    let null = lit(ScalarValue::try_new_null(kind)?);
    Ok(ColumnFunction::new("bits_of_any", kind_of, |columns, kind| bits(columns, kind, |bit, _| bit > 0))
        .call(vec![state, null]))
}

fn counts_type(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::List(item()))
}

/// The type of the null that stands for the result's.
fn kind_of(types: &[DataType]) -> Result<DataType> {
    Ok(types[1].clone())
}

fn item() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Int64, false))
}

fn bits(columns: &[ArrayRef], kind: &DataType, is_set: fn(i64, i64) -> bool) -> Result<ArrayRef> {
    let values = columns[0].as_list::<i32>().iter().map(|counts| {
        let counts = counts?;
        let (all, bits) = counts.as_primitive::<Int64Type>().values().split_first()?;
        let set = bits.iter().enumerate().filter(|(_, count)| is_set(**count, *all));
        (*all > 0).then(|| set.fold(0_u64, |value, (bit, _)| value | 1 << bit))
    });
    Ok(match kind {
        DataType::UInt64 => Arc::new(values.collect::<UInt64Array>()),
        _ => Arc::new(values.map(|value| value.map(|value| value as i64)).collect::<Int64Array>()),
    })
}

/// The counts of all groups.
struct Bits(Vec<[i64; COUNTS]>);

impl Bits {
    fn boxed(_: &DataType) -> Result<Box<dyn GroupStates>> {
        Ok(Box::new(Self(Vec::new())))
    }

    fn add(&mut self, group: usize, mut value: u64) {
        let counts = &mut self.0[group];
        counts[0] += 1;
        while value != 0 {
            counts[1 + value.trailing_zeros() as usize] += 1;
            value &= value - 1;
        }
    }
}

impl GroupStates for Bits {
    fn resize(&mut self, groups: usize) {
        if self.0.len() < groups {
            self.0.resize(groups, [0; COUNTS]);
        }
    }

    fn add_rows(&mut self, columns: &[ArrayRef], rows: Selection<'_>) -> Result<()> {
        let values = &columns[0];
        if let Some(values) = values.as_primitive_opt::<UInt64Type>() {
            rows.rows(values.nulls()).for_each(|(row, group)| self.add(group, values.value(row)));
        } else {
            let values = values.as_primitive::<Int64Type>();
            rows.rows(values.nulls()).for_each(|(row, group)| self.add(group, values.value(row) as u64));
        }
        Ok(())
    }

    fn add_states(&mut self, states: &ArrayRef, rows: Selection<'_>) -> Result<()> {
        let states = states.as_list::<i32>();
        for (row, group) in rows.rows(states.nulls()) {
            let counts = states.value(row);
            let counts = counts.as_primitive::<Int64Type>().values();
            if counts.len() > COUNTS {
                return exec_err!(
                    "stored state: {} counts of bits, which are at most {COUNTS}",
                    counts.len()
                );
            }
            self.0[group].iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        Ok(())
    }

    fn emit(&mut self, groups: usize) -> Result<ArrayRef> {
        let (mut all, mut lengths) = (Vec::new(), Vec::new());
        for counts in self.0.drain(..groups) {
            let length = counts.iter().rposition(|count| *count != 0).map_or(0, |last| last + 1);
            all.extend_from_slice(&counts[..length]);
            lengths.push(length);
        }
        let offsets = OffsetBuffer::from_lengths(lengths);
        Ok(Arc::new(ListArray::try_new(item(), offsets, Arc::new(Int64Array::from(all)), None)?))
    }

    fn size(&self) -> usize {
        self.0.capacity() * size_of::<[i64; COUNTS]>()
    }
}

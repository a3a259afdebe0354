//! The state of an exact distinct count: how often each value occurred in a group.
//!
//! `value_counts(x)` makes the state from rows, `merge_value_counts(state)` adds states. A state is a
//! list of `{value, count}` in ascending order of the values, so equal contents are equal bytes
//! whatever order they came in. Nulls are not counted. A state may take values back: its counts are
//! then negative, and a value whose counts add up to zero is not in the state at all.

pub(crate) mod results;

use super::aggregate_function::{GroupStates, Input, Selection, StateFunction};
use super::function::ColumnFunction;
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::kernels::numeric;
use arrow::datatypes::{DataType, Field, Fields, Int64Type};
use arrow::row::{RowConverter, SortField};
use datafusion::common::{Result, exec_datafusion_err, exec_err, plan_err};
use datafusion::logical_expr::Expr;
use hashbrown::HashMap;
use std::sync::Arc;

/// Makes the state from values.
pub(crate) fn value_counts(value: Expr) -> Expr {
    StateFunction::new("value_counts", Input::Rows, |types| Ok(state_type(&types[0])), Counts::boxed)
        .call(vec![value])
}

/// Adds states.
pub(crate) fn merge_value_counts(state: Expr) -> Expr {
    StateFunction::new(
        "merge_value_counts",
        Input::States,
        |types| value_type(&types[0]).map(|value| state_type(&value)),
        Counts::boxed,
    )
    .call(vec![state])
}

/// The state's type over values of `value`.
pub(crate) fn state_type(value: &DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", DataType::Struct(entry_fields(value)), false)))
}

fn entry_fields(value: &DataType) -> Fields {
    Fields::from(vec![Field::new("value", value.clone(), false), Field::new("count", DataType::Int64, false)])
}

/// The state of the removal of what `state` counts.
pub(crate) fn negate_value_counts(state: Expr) -> Expr {
    ColumnFunction::new(
        "negate_value_counts",
        |types| Ok(types[0].clone()),
        |columns, _| {
            let lists = columns[0].as_list::<i32>();
            let entries = lists.values().as_struct();
            let counts = numeric::neg(entries.column(1))?;
            let fields = entries.fields().clone();
            let entries = StructArray::try_new(
                fields,
                vec![Arc::clone(entries.column(0)), counts],
                entries.nulls().cloned(),
            )?;
            let DataType::List(item) = lists.data_type() else {
                return exec_err!("{} is not a state of value counts", lists.data_type());
            };
            Ok(Arc::new(ListArray::try_new(
                Arc::clone(item),
                lists.offsets().clone(),
                Arc::new(entries),
                lists.nulls().cloned(),
            )?))
        },
    )
    .call(vec![state])
}

fn value_type(state: &DataType) -> Result<DataType> {
    match state {
        DataType::List(item) => match item.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => Ok(fields[0].data_type().clone()),
            other => plan_err!("a list of {other} is not a state of value counts"),
        },
        other => plan_err!("{other} is not a state of value counts"),
    }
}

/// The counts of all groups. Values are interned in Arrow's row format, which orders as they do.
struct Counts {
    value: DataType,
    converter: RowConverter,
    interned: HashMap<Vec<u8>, u32>,
    interned_bytes: usize,
    counts: HashMap<(usize, u32), i64>,
}

impl Counts {
    fn boxed(state: &DataType) -> Result<Box<dyn GroupStates>> {
        let value = value_type(state)?;
        let converter = RowConverter::new(vec![SortField::new(value.clone())])?;
        Ok(Box::new(Self {
            value,
            converter,
            interned: HashMap::new(),
            interned_bytes: 0,
            counts: HashMap::new(),
        }))
    }

    /// Adds `count(i)` of the `i`-th value to `group(i)`, for the `i` it has one for.
    fn add(&mut self, values: &ArrayRef, change: impl Fn(usize) -> Option<(usize, i64)>) -> Result<()> {
        let rows = self.converter.convert_columns(std::slice::from_ref(values))?;
        for (index, row) in rows.iter().enumerate() {
            let Some((group, count)) = change(index) else { continue };
            let next = u32::try_from(self.interned.len())
                .map_err(|_| exec_datafusion_err!("more than 2^32 distinct values"))?;
            let id = *self.interned.entry_ref(row.data()).or_insert_with(|| {
                self.interned_bytes += row.data().len();
                next
            });
            *self.counts.entry((group, id)).or_insert(0) += count;
        }
        Ok(())
    }
}

impl GroupStates for Counts {
    fn resize(&mut self, _: usize) {}

    fn add_rows(&mut self, columns: &[ArrayRef], rows: Selection<'_>) -> Result<()> {
        let values = &columns[0];
        self.add(values, |index| {
            let group = rows.group(index)?;
            values.is_valid(index).then_some((group, 1))
        })
    }

    fn add_states(&mut self, states: &ArrayRef, rows: Selection<'_>) -> Result<()> {
        let lists = states.as_list::<i32>();
        let entries = lists.values().as_struct();
        let counts = entries.column(1).as_primitive::<Int64Type>();
        let mut group_of = vec![None; entries.len()];
        for (index, window) in lists.offsets().windows(2).enumerate() {
            if let (true, Some(group), Ok(from), Ok(to)) = (
                lists.is_valid(index),
                rows.group(index),
                usize::try_from(window[0]),
                usize::try_from(window[1]),
            ) {
                group_of[from..to].fill(Some(group));
            }
        }
        self.add(entries.column(0), |entry| group_of[entry].map(|group| (group, counts.value(entry))))
    }

    fn emit(&mut self, emitted: usize) -> Result<ArrayRef> {
        let mut order: Vec<(&[u8], u32)> =
            self.interned.iter().map(|(row, id)| (row.as_slice(), *id)).collect();
        order.sort_unstable();
        let mut rank = vec![0; order.len()];
        for (position, (_, id)) in order.iter().enumerate() {
            rank[*id as usize] = position;
        }
        let mut entries = Vec::new();
        let mut remaining = HashMap::new();
        for (&(group, id), &count) in &self.counts {
            if group >= emitted {
                remaining.insert((group - emitted, id), count);
            } else if count != 0 {
                entries.push((group, rank[id as usize], count));
            }
        }
        entries.sort_unstable();
        let parser = self.converter.parser();
        let values =
            self.converter.convert_rows(entries.iter().map(|(_, rank, _)| parser.parse(order[*rank].0)))?;
        let counts: Int64Array = entries.iter().map(|(_, _, count)| *count).collect();
        let mut lengths = vec![0; emitted];
        for (group, _, _) in &entries {
            lengths[*group] += 1;
        }
        let fields = entry_fields(&self.value);
        let [values] =
            <[ArrayRef; 1]>::try_from(values).map_err(|_| exec_datafusion_err!("one column of values"))?;
        let entries = StructArray::try_new(fields.clone(), vec![values, Arc::new(counts)], None)?;
        let item = Arc::new(Field::new("item", DataType::Struct(fields), false));
        let lists = ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), Arc::new(entries), None)?;
        self.counts = remaining;
        Ok(Arc::new(lists))
    }

    fn size(&self) -> usize {
        self.interned_bytes + self.interned.capacity() * 32 + self.counts.capacity() * 24
    }
}

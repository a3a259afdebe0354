//! The state of sums by key: for each key its sum and how many values it is of.
//!
//! `map_sums(map)` or `map_sums(key, value)` makes the state from rows, `merge_map_sums(state)` adds states. A state
//! is a list of `{key, sum, count}` in ascending order of the keys, so equal contents are equal bytes whatever
//! order they came in. Nulls are not counted. A state may take values back: its sums and counts are then negative,
//! and a key of which both add up to zero is not in the state at all.

use super::aggregate_function::{GroupStates, Input, Selection, StateFunction};
use super::function::ColumnFunction;
use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Int64Array, ListArray, MapArray, StringArray, StructArray,
    UInt64Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::kernels::numeric;
use arrow::compute::{CastOptions, cast, cast_with_options, take};
use arrow::datatypes::{DataType, Decimal128Type, Field, Fields, Int64Type};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, plan_err};
use datafusion::logical_expr::{Expr, lit};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The most digits of a sum.
const DIGITS: u8 = 38;

/// Makes the state from maps, or from keys and values.
pub(crate) fn map_sums(arguments: Vec<Expr>) -> Expr {
    let state = |types: &[DataType]| match types {
        [DataType::Map(entries, _)] => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => sums_type(fields[1].data_type()),
            other => plan_err!("a map of {other}"),
        },
        [_, value] => sums_type(value),
        other => plan_err!("sums by key are of a map, or of a key and a value, not of {other:?}"),
    };
    StateFunction::new("map_sums", Input::Rows, state, MapSums::boxed).call(arguments)
}

/// Adds states.
pub(crate) fn merge_map_sums(state: Expr) -> Expr {
    let same = |types: &[DataType]| Ok(types[0].clone());
    StateFunction::new("merge_map_sums", Input::States, same, MapSums::boxed).call(vec![state])
}

/// The state's type over values of `value`.
pub(crate) fn sums_type(value: &DataType) -> Result<DataType> {
    let scale = match value {
        kind if kind.is_integer() => 0,
        DataType::Decimal128(_, scale) => *scale,
        other => return plan_err!("sums by key are of integers or decimals, not of {other}"),
    };
    Ok(DataType::new_list(DataType::Struct(entry_fields(&DataType::Decimal128(DIGITS, scale))), false))
}

fn entry_fields(sum: &DataType) -> Fields {
    Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("sum", sum.clone(), false),
        Field::new("count", DataType::Int64, false),
    ])
}

/// The columns of a state's entries.
struct Entries<'a> {
    lists: &'a ListArray,
    keys: &'a StringArray,
    sums: &'a ArrayRef,
    counts: &'a Int64Array,
}

impl<'a> Entries<'a> {
    fn of(states: &'a ArrayRef) -> Self {
        let lists = states.as_list::<i32>();
        let entries = lists.values().as_struct();
        let counts = entries.column(2).as_primitive::<Int64Type>();
        Self { lists, keys: entries.column(0).as_string::<i32>(), sums: entries.column(1), counts }
    }

    /// Where the entries of a state are.
    fn range(&self, state: usize) -> std::ops::Range<usize> {
        let at = |index: usize| usize::try_from(self.lists.offsets()[index]).unwrap_or_default();
        if self.lists.is_valid(state) { at(state)..at(state + 1) } else { 0..0 }
    }
}

/// The state of the removal of what `state` adds up.
pub(crate) fn negate_map_sums(state: Expr) -> Expr {
    let compute = |columns: &[ArrayRef], kind: &DataType| {
        let Entries { lists, sums, counts, .. } = Entries::of(&columns[0]);
        let entries = lists.values().as_struct();
        let (sums, counts) = (cast(&numeric::neg(sums)?, sums.data_type())?, numeric::neg(counts)?);
        let negated = vec![Arc::clone(entries.column(0)), sums, counts];
        let entries = StructArray::try_new(entries.fields().clone(), negated, None)?;
        list_of(kind, lists.offsets().clone(), entries, lists)
    };
    ColumnFunction::new("negate_map_sums", |types| Ok(types[0].clone()), compute).call(vec![state])
}

fn list_of(
    kind: &DataType,
    offsets: OffsetBuffer<i32>,
    entries: StructArray,
    like: &ListArray,
) -> Result<ArrayRef> {
    let DataType::List(item) = kind else { return plan_err!("{kind} is not a list") };
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, Arc::new(entries), like.nulls().cloned())?))
}

/// The sums of the keys that have values, as a map of this type. A sum outside of it is an error that names the
/// column and the key.
pub(crate) fn summed_map(state: Expr, map: &DataType, column: &str) -> Result<Expr> {
    let compute = |columns: &[ArrayRef], kind: &DataType| {
        let DataType::Map(field, sorted) = kind else { return plan_err!("{kind} is not a map") };
        let DataType::Struct(fields) = field.data_type() else { return plan_err!("{field} is not a struct") };
        let entries = Entries::of(&columns[0]);
        let (mut chosen, mut lengths) = (Vec::new(), Vec::new());
        for state in 0..columns[0].len() {
            let before = chosen.len();
            let counted = entries.range(state).filter(|entry| entries.counts.value(*entry) > 0);
            chosen.extend(counted.map(|entry| entry as u64));
            lengths.push(chosen.len() - before);
        }
        let chosen = UInt64Array::from(chosen);
        let keys = take(entries.keys, &chosen, None)?;
        let sums = take(entries.sums, &chosen, None)?;
        let values = cast_with_options(&sums, fields[1].data_type(), &CastOptions::default())?;
        if let Some(beyond) = (0..values.len()).find(|entry| values.is_null(*entry)) {
            let column = columns[2].as_string::<i32>().value(0);
            return Err(crate::Error::invalid(format!(
                "column `{column}`: the sum of key `{}` is {}, which is no {}",
                keys.as_string::<i32>().value(beyond),
                sums.as_primitive::<Decimal128Type>().value_as_string(beyond),
                fields[1].data_type(),
            ))
            .into());
        }
        let entries = StructArray::try_new(fields.clone(), vec![keys, values], None)?;
        let offsets = OffsetBuffer::from_lengths(lengths);
        Ok(Arc::new(MapArray::try_new(Arc::clone(field), offsets, entries, None, *sorted)?) as ArrayRef)
    };
    // The type is that of a constant of its own, as it does not follow from the state's.
    let typed = lit(ScalarValue::try_new_null(map)?);
    let function = ColumnFunction::new("summed_map", |types| Ok(types[1].clone()), compute);
    Ok(function.call(vec![state, typed, lit(column)]))
}

/// The sums of all groups.
struct MapSums {
    sum: DataType,
    groups: Vec<BTreeMap<Box<str>, (i128, i64)>>,
}

impl MapSums {
    fn boxed(state: &DataType) -> Result<Box<dyn GroupStates>> {
        if let DataType::List(item) = state
            && let DataType::Struct(fields) = item.data_type()
            && let [_, sum, _] = fields.as_ref()
        {
            return Ok(Box::new(Self { sum: sum.data_type().clone(), groups: Vec::new() }));
        }
        plan_err!("{state} is not a state of sums by key")
    }

    fn add(&mut self, group: usize, key: &str, sum: i128, count: i64) -> Result<()> {
        let sums = &mut self.groups[group];
        let own = match sums.get_mut(key) {
            Some(own) => own,
            None => sums.entry(key.into()).or_default(),
        };
        let beyond = || exec_datafusion_err!("the sum of key `{key}` has more than {DIGITS} digits");
        own.0 = own.0.checked_add(sum).ok_or_else(beyond)?;
        own.1 += count;
        Ok(())
    }

    /// The values as summands.
    fn summands(&self, values: &ArrayRef) -> Result<Decimal128Array> {
        Ok(cast(values, &self.sum)?.as_primitive::<Decimal128Type>().clone())
    }
}

impl GroupStates for MapSums {
    fn resize(&mut self, groups: usize) {
        if self.groups.len() < groups {
            self.groups.resize_with(groups, BTreeMap::new);
        }
    }

    fn add_rows(&mut self, columns: &[ArrayRef], rows: Selection<'_>) -> Result<()> {
        if let [keys, values] = columns {
            let (keys, values) = (keys.as_string::<i32>(), self.summands(values)?);
            for (row, group) in rows.rows(keys.nulls()) {
                if values.is_valid(row) {
                    self.add(group, keys.value(row), values.value(row), 1)?;
                }
            }
            return Ok(());
        }
        let maps = columns[0].as_map();
        let (keys, values) = (maps.keys().as_string::<i32>(), self.summands(maps.values())?);
        for (row, group) in rows.rows(maps.nulls()) {
            let at = |index: usize| usize::try_from(maps.offsets()[index]).unwrap_or_default();
            for entry in (at(row)..at(row + 1)).filter(|entry| values.is_valid(*entry)) {
                self.add(group, keys.value(entry), values.value(entry), 1)?;
            }
        }
        Ok(())
    }

    fn add_states(&mut self, states: &ArrayRef, rows: Selection<'_>) -> Result<()> {
        let entries = Entries::of(states);
        let sums = entries.sums.as_primitive::<Decimal128Type>();
        for (state, group) in rows.rows(entries.lists.nulls()) {
            for entry in entries.range(state) {
                self.add(group, entries.keys.value(entry), sums.value(entry), entries.counts.value(entry))?;
            }
        }
        Ok(())
    }

    fn emit(&mut self, emitted: usize) -> Result<ArrayRef> {
        let groups = self.groups.drain(..emitted).map(|mut sums| {
            sums.retain(|_, counted| *counted != (0, 0));
            sums
        });
        let groups = groups.collect::<Vec<_>>();
        let entries = || groups.iter().flatten();
        let keys = entries().map(|(key, _)| Some(&**key)).collect::<StringArray>();
        let sums = Decimal128Array::from_iter_values(entries().map(|(_, (sum, _))| *sum));
        let sums = sums.with_data_type(self.sum.clone());
        sums.validate_decimal_precision(DIGITS)?;
        let counts = Int64Array::from_iter_values(entries().map(|(_, (_, count))| *count));
        let fields = entry_fields(&self.sum);
        let item = Arc::new(Field::new_list_field(DataType::Struct(fields.clone()), false));
        let entries =
            StructArray::try_new(fields, vec![Arc::new(keys), Arc::new(sums), Arc::new(counts)], None)?;
        let offsets = OffsetBuffer::from_lengths(groups.iter().map(BTreeMap::len));
        Ok(Arc::new(ListArray::try_new(item, offsets, Arc::new(entries), None)?))
    }

    fn size(&self) -> usize {
        let entries = self.groups.iter().map(BTreeMap::len).sum::<usize>();
        self.groups.capacity() * size_of::<BTreeMap<Box<str>, (i128, i64)>>() + entries * 96
    }
}

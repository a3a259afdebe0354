//! The state of an exact distinct count: how often each value occurred in a group.
//!
//! `value_counts(x)` makes the state from rows, `merge_value_counts(state)` adds states. A state is a
//! list of `{value, count}` in ascending order of the values, so equal contents are equal bytes
//! whatever order they came in. Nulls are not counted.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Int64Type};
use arrow::row::{RowConverter, SortField};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};
use hashbrown::HashMap;
use std::sync::{Arc, LazyLock};

/// Makes the state from values.
pub(crate) fn value_counts() -> Arc<AggregateUDF> {
    static FUNCTION: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| aggregate(Input::Values));
    Arc::clone(&FUNCTION)
}

/// Adds states.
pub(crate) fn merge_value_counts() -> Arc<AggregateUDF> {
    static FUNCTION: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| aggregate(Input::States));
    Arc::clone(&FUNCTION)
}

/// The state's type over values of `value`.
pub(crate) fn state_type(value: &DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", DataType::Struct(entry_fields(value)), false)))
}

fn entry_fields(value: &DataType) -> Fields {
    Fields::from(vec![Field::new("value", value.clone(), false), Field::new("count", DataType::Int64, false)])
}

fn aggregate(input: Input) -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(ValueCounts {
        input,
        signature: Signature::any(1, Volatility::Immutable),
    }))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Input {
    Values,
    States,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ValueCounts {
    input: Input,
    signature: Signature,
}

impl AggregateUDFImpl for ValueCounts {
    fn name(&self) -> &str {
        match self.input {
            Input::Values => "value_counts",
            Input::States => "merge_value_counts",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match (self.input, types) {
            (Input::Values, [value]) => Ok(state_type(value)),
            (Input::States, [state]) => value_type(state).map(|value| state_type(&value)),
            _ => plan_err!("{} takes one argument", self.name()),
        }
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneGroup(Counts::new(self.input, arguments.return_field.data_type())?)))
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let name = format_state_name(arguments.name, "counts");
        Ok(vec![Arc::new(Field::new(name, arguments.return_field.data_type().clone(), true))])
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Counts::new(self.input, arguments.return_field.data_type())?))
    }
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
    input: Input,
    value: DataType,
    converter: RowConverter,
    interned: HashMap<Vec<u8>, u32>,
    counts: HashMap<(usize, u32), i64>,
    groups: usize,
}

impl Counts {
    fn new(input: Input, state: &DataType) -> Result<Self> {
        let value = value_type(state)?;
        let converter = RowConverter::new(vec![SortField::new(value.clone())])?;
        Ok(Self { input, value, converter, interned: HashMap::new(), counts: HashMap::new(), groups: 0 })
    }

    /// Adds `count(i)` of the `i`-th value to `group(i)`, for the `i` it has one for.
    fn add(&mut self, values: &ArrayRef, change: impl Fn(usize) -> Option<(usize, i64)>) -> Result<()> {
        let rows = self.converter.convert_columns(std::slice::from_ref(values))?;
        for (index, row) in rows.iter().enumerate() {
            let Some((group, count)) = change(index) else { continue };
            let next = u32::try_from(self.interned.len())
                .map_err(|_| exec_datafusion_err!("more than 2^32 distinct values"))?;
            let id = *self.interned.entry_ref(row.data()).or_insert(next);
            *self.counts.entry((group, id)).or_insert(0) += count;
        }
        Ok(())
    }

    fn add_values(
        &mut self,
        values: &ArrayRef,
        groups: &[usize],
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        self.add(values, |index| {
            let counted = values.is_valid(index)
                && filter.is_none_or(|filter| filter.is_valid(index) && filter.value(index));
            counted.then(|| (groups[index], 1))
        })
    }

    fn add_states(
        &mut self,
        states: &ArrayRef,
        groups: &[usize],
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        let lists = states.as_list::<i32>();
        let entries = lists.values().as_struct();
        let counts = entries.column(1).as_primitive::<Int64Type>();
        let mut group_of = vec![None; entries.len()];
        for (index, window) in lists.offsets().windows(2).enumerate() {
            let counted = lists.is_valid(index)
                && filter.is_none_or(|filter| filter.is_valid(index) && filter.value(index));
            if let (true, Ok(from), Ok(to)) =
                (counted, usize::try_from(window[0]), usize::try_from(window[1]))
            {
                group_of[from..to].fill(Some(groups[index]));
            }
        }
        self.add(entries.column(0), |entry| group_of[entry].map(|group| (group, counts.value(entry))))
    }

    /// The states of the first groups, which leave; the groups behind them move up.
    fn emit(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let emitted = match emit_to {
            EmitTo::All => self.groups,
            EmitTo::First(count) => count,
        };
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
            if group < emitted {
                entries.push((group, rank[id as usize], count));
            } else {
                remaining.insert((group - emitted, id), count);
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
        self.groups -= emitted;
        Ok(Arc::new(lists))
    }
}

impl GroupsAccumulator for Counts {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.groups = total;
        match self.input {
            Input::Values => self.add_values(&values[0], groups, filter),
            Input::States => self.add_states(&values[0], groups, filter),
        }
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.emit(emit_to)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.emit(emit_to)?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.groups = total;
        self.add_states(&states[0], groups, None)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let each = (0..values[0].len()).collect::<Vec<_>>();
        let mut states = Counts::new(self.input, &state_type(&self.value))?;
        GroupsAccumulator::update_batch(&mut states, values, &each, filter, each.len())?;
        states.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.interned.keys().map(|row| row.len() + 24).sum::<usize>() + self.counts.capacity() * 24
    }
}

/// The same without group keys.
struct OneGroup(Counts);

impl std::fmt::Debug for OneGroup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OneGroup").field("value", &self.0.value).finish_non_exhaustive()
    }
}

impl Accumulator for OneGroup {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        GroupsAccumulator::update_batch(&mut self.0, values, &vec![0; values[0].len()], None, 1)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.0.groups = 1;
        let states = self.0.emit(EmitTo::All)?;
        ScalarValue::try_from_array(&states, 0)
    }

    fn size(&self) -> usize {
        GroupsAccumulator::size(&self.0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        GroupsAccumulator::merge_batch(&mut self.0, states, &vec![0; states[0].len()], 1)
    }
}

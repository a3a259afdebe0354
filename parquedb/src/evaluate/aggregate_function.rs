//! Aggregate functions whose result is a state to be stored: one over rows makes states, another of the
//! same kind merges them. DataFusion's own partial aggregation passes on the same states.

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, Expr, GroupsAccumulator, Signature, Volatility,
};
use std::fmt;
use std::hash::{Hash, Hasher};

/// The states of all groups while they are computed.
pub(crate) trait GroupStates: Send + Sync + 'static {
    /// There are so many groups now, never fewer than before.
    fn resize(&mut self, groups: usize);
    /// Takes in rows: the function's arguments.
    fn add_rows(&mut self, columns: &[ArrayRef], rows: Selection<'_>) -> Result<()>;
    /// Takes in states.
    fn add_states(&mut self, states: &ArrayRef, rows: Selection<'_>) -> Result<()>;
    /// The states of the first groups, which leave; the groups behind them move up.
    fn emit(&mut self, groups: usize) -> Result<ArrayRef>;
    /// About how many bytes they take.
    fn size(&self) -> usize;
}

/// Which rows count, and for which groups.
#[derive(Clone, Copy)]
pub(crate) struct Selection<'a> {
    groups: &'a [usize],
    filter: Option<&'a BooleanArray>,
}

impl Selection<'_> {
    /// The group that a row counts for.
    pub(crate) fn group(&self, row: usize) -> Option<usize> {
        let counts = self.filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
        counts.then(|| self.groups[row])
    }

    /// The rows that count and are not null, with their groups.
    pub(crate) fn rows(self, nulls: Option<&NullBuffer>) -> impl Iterator<Item = (usize, usize)> {
        (0..self.groups.len())
            .filter(move |row| nulls.is_none_or(|nulls| nulls.is_valid(*row)))
            .filter_map(move |row| Some((row, self.group(row)?)))
    }
}

/// What an aggregate function takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Input {
    /// Values of rows.
    Rows,
    /// States.
    States,
}

/// An aggregate function. Two of one name are the same.
#[derive(Clone)]
pub(crate) struct StateFunction {
    name: &'static str,
    input: Input,
    signature: Signature,
    /// From the arguments' types to the state's.
    state: fn(&[DataType]) -> Result<DataType>,
    /// From the state's type.
    create: fn(&DataType) -> Result<Box<dyn GroupStates>>,
}

impl StateFunction {
    pub(crate) fn new(
        name: &'static str,
        input: Input,
        state: fn(&[DataType]) -> Result<DataType>,
        create: fn(&DataType) -> Result<Box<dyn GroupStates>>,
    ) -> Self {
        Self { name, input, signature: Signature::variadic_any(Volatility::Immutable), state, create }
    }

    pub(crate) fn call(self, arguments: Vec<Expr>) -> Expr {
        AggregateUDF::new_from_impl(self).call(arguments)
    }

    fn running(&self, state: &DataType) -> Result<Running> {
        let (create, state) = (self.create, state.clone());
        Ok(Running { input: self.input, groups: 0, states: create(&state)?, create, state })
    }
}

impl fmt::Debug for StateFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for StateFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for StateFunction {}

impl Hash for StateFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl AggregateUDFImpl for StateFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        if types.is_empty() {
            return plan_err!("{} takes arguments", self.name);
        }
        (self.state)(types)
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneGroup(self.running(arguments.return_field.data_type())?)))
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let name = format_state_name(arguments.name, "state");
        Ok(vec![Field::new(name, arguments.return_field.data_type().clone(), true).into()])
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(self.running(arguments.return_field.data_type())?))
    }
}

/// An aggregation that runs.
struct Running {
    input: Input,
    groups: usize,
    states: Box<dyn GroupStates>,
    create: fn(&DataType) -> Result<Box<dyn GroupStates>>,
    state: DataType,
}

impl Running {
    fn resize(&mut self, total: usize) {
        self.groups = self.groups.max(total);
        self.states.resize(self.groups);
    }

    fn emit(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let emitted = match emit_to {
            EmitTo::All => self.groups,
            EmitTo::First(count) => count,
        };
        self.groups -= emitted;
        self.states.emit(emitted)
    }
}

impl GroupsAccumulator for Running {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.resize(total);
        let rows = Selection { groups, filter };
        match self.input {
            Input::Rows => self.states.add_rows(values, rows),
            Input::States => self.states.add_states(&values[0], rows),
        }
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.emit(emit_to)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.emit(emit_to)?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.resize(total);
        self.states.add_states(&states[0], Selection { groups, filter: None })
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let each = (0..values[0].len()).collect::<Vec<_>>();
        let states = (self.create)(&self.state)?;
        let mut own =
            Running { input: self.input, groups: 0, states, create: self.create, state: self.state.clone() };
        GroupsAccumulator::update_batch(&mut own, values, &each, filter, each.len())?;
        Ok(vec![own.emit(EmitTo::All)?])
    }

    fn size(&self) -> usize {
        self.states.size()
    }
}

/// The same without group keys.
struct OneGroup(Running);

impl fmt::Debug for OneGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneGroup").field("state", &self.0.state).finish_non_exhaustive()
    }
}

impl Accumulator for OneGroup {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        GroupsAccumulator::update_batch(&mut self.0, values, &vec![0; values[0].len()], None, 1)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.0.resize(1);
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

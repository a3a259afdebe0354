//! Runs an aggregate's expressions as a view's plans do.

use crate::declare::node::{Literal, Node};
use crate::declare::plan::{Aggregate, AggregateColumn};
use crate::evaluate::candidates::Outlook;
use crate::evaluate::lower::column;
use crate::evaluate::session::delta_session;
use crate::evaluate::state::{Mergeable, ROWS_COLUMN, State, mergeable, rows};
use crate::evaluate::view::conform;
use crate::testing::Random;
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int8Type, Int64Type, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::functions::core::expr_fn::least;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, lit};
use datafusion::prelude::cast;
use std::fmt::Debug;
use std::sync::Arc;

/// The seeds to try: `PARQUEDB_SEED` is the first, `PARQUEDB_SEEDS` how many.
pub(super) fn seeds(default: u64) -> impl Iterator<Item = u64> {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let first = number("PARQUEDB_SEED", 1_u64);
    first..first + number("PARQUEDB_SEEDS", default)
}

/// `name: $aggregate(x)`.
pub(super) fn of(aggregate: Aggregate) -> AggregateColumn {
    AggregateColumn {
        name: "name".to_owned(),
        aggregate,
        argument: Some(Node::Row.field("x")),
        by: None,
        parameters: Vec::new(),
        filter: None,
    }
}

/// `name: $aggregate(x)` with constants.
pub(super) fn with(aggregate: Aggregate, parameters: Vec<Literal>) -> AggregateColumn {
    AggregateColumn { parameters, ..of(aggregate) }
}

/// `name: $aggregate(x, t)`.
pub(super) fn by(aggregate: Aggregate) -> AggregateColumn {
    AggregateColumn { by: Some(Node::Row.field("t")), ..of(aggregate) }
}

/// An aggregate over rows of a group number `g` and other columns.
pub(super) struct Tried {
    states: Vec<State>,
    result: Expr,
    runtime: tokio::runtime::Runtime,
}

impl Tried {
    pub(super) fn new(aggregate: &AggregateColumn, input: &SchemaRef, may_lose_rows: bool) -> Self {
        let schema = DFSchema::try_from(Arc::clone(input)).unwrap();
        let Mergeable { mut states, result, .. } = mergeable(aggregate, &schema, may_lose_rows).unwrap();
        states.push(rows());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Self { states, result, runtime }
    }

    pub(super) fn invertible(&self) -> bool {
        self.states.iter().all(|state| state.negate.is_some())
    }

    pub(super) fn keeps_candidates(&self) -> bool {
        self.states.iter().any(|state| state.candidates.is_some())
    }

    /// Whether candidates cannot run out.
    pub(super) fn lasts_always(&self) -> bool {
        self.states.iter().filter_map(|state| state.candidates.as_ref()).all(|kept| kept.last_always)
    }

    fn run(&self, plan: LogicalPlan) -> RecordBatch {
        self.runtime.block_on(async {
            let frame = delta_session().execute_logical_plan(plan).await.unwrap();
            let schema = Arc::new(frame.schema().as_arrow().clone());
            concat_batches(&schema, &frame.collect().await.unwrap()).unwrap()
        })
    }

    pub(super) fn stored_schema(&self) -> SchemaRef {
        let mut fields = vec![Field::new("g", DataType::Int64, false)];
        fields.extend(self.states.iter().map(|state| state.field.clone()));
        Arc::new(Schema::new(fields))
    }

    fn stored(&self, plan: LogicalPlan) -> RecordBatch {
        let schema = self.stored_schema();
        let columns = schema.fields().iter().map(|field| {
            let value = column(field.name());
            let same = value.get_type(plan.schema()).unwrap() == *field.data_type();
            let value = if same { value } else { cast(value, field.data_type().clone()) };
            value.alias(field.name())
        });
        let columns = columns.collect::<Vec<_>>();
        let plan = LogicalPlanBuilder::from(plan).project(columns).unwrap().build().unwrap();
        conform(&self.run(plan), &schema, "states").unwrap()
    }

    /// The states of rows.
    pub(super) fn over_rows(&self, rows: &RecordBatch) -> RecordBatch {
        let states = self.states.iter().map(|state| state.over_rows.clone().alias(state.field.name()));
        let plan = LogicalPlanBuilder::from(scan(rows)).aggregate([column("g")], states).unwrap();
        self.stored(plan.build().unwrap())
    }

    fn merged(&self, states: &[RecordBatch]) -> LogicalPlanBuilder {
        let all = concat_batches(&self.stored_schema(), states).unwrap();
        let merges = self.states.iter().map(|state| state.merge.clone().alias(state.field.name()));
        LogicalPlanBuilder::from(scan(&all)).aggregate([column("g")], merges).unwrap()
    }

    /// One state of each group, as it is stored.
    pub(super) fn merge(&self, states: &[RecordBatch]) -> RecordBatch {
        let kept = self.states.iter().map(|state| state.kept().alias(state.field.name()));
        let plan = self.merged(states).project([column("g")].into_iter().chain(kept)).unwrap();
        self.stored(plan.build().unwrap())
    }

    /// What the states of each group allow, by group.
    pub(super) fn outlooks(&self, states: &[RecordBatch]) -> Vec<(i64, Outlook)> {
        let all = concat_batches(&self.stored_schema(), states).unwrap();
        let kept = self.states.iter().filter_map(|state| Some((state, state.candidates.as_ref()?)));
        let (lists, outlooks): (Vec<_>, Vec<_>) = kept
            .map(|(state, kept)| (kept.list.clone().alias(state.field.name()), kept.outlook.clone()))
            .unzip();
        let plan = LogicalPlanBuilder::from(scan(&all)).aggregate([column("g")], lists).unwrap();
        let plan = plan.project([column("g"), least(outlooks)]).unwrap();
        let found = self.run(plan.build().unwrap());
        let groups = found.column(0).as_primitive::<Int64Type>().values().iter();
        let numbers = found.column(1).as_primitive::<Int8Type>().values().iter();
        groups.zip(numbers).map(|(group, number)| (*group, Outlook::of(*number))).collect()
    }

    /// The states that take these back.
    pub(super) fn negate(&self, states: &RecordBatch) -> RecordBatch {
        let mut columns = vec![column("g")];
        columns
            .extend(self.states.iter().map(|state| state.negate.clone().unwrap().alias(state.field.name())));
        let plan = LogicalPlanBuilder::from(scan(states)).project(columns).unwrap();
        self.stored(plan.build().unwrap())
    }

    /// The result of each group that has rows, by group.
    pub(super) fn result(&self, states: &[RecordBatch]) -> ArrayRef {
        let plan = self
            .merged(states)
            .filter(column(ROWS_COLUMN).gt(lit(0_i64)))
            .unwrap()
            .sort([column("g").sort(true, false)])
            .unwrap()
            .project([self.result.clone().alias("result")])
            .unwrap();
        Arc::clone(self.run(plan.build().unwrap()).column(0))
    }

    /// Checks the laws over random rows: `make` gives one batch of columns besides `g`, `expected`
    /// the debug form of the results of all the rows of a group.
    pub(super) fn check<T: Clone + Debug>(
        aggregate: &AggregateColumn,
        seed: u64,
        rows: &[T],
        columns: impl Fn(&[T]) -> Vec<(Field, ArrayRef)>,
        expected: impl Fn(&[T]) -> String,
    ) {
        for may_lose_rows in [false, true] {
            Self::check_kept(aggregate, may_lose_rows, seed, rows, &columns, &expected);
        }
    }

    fn check_kept<T: Clone + Debug>(
        aggregate: &AggregateColumn,
        may_lose_rows: bool,
        seed: u64,
        rows: &[T],
        columns: &impl Fn(&[T]) -> Vec<(Field, ArrayRef)>,
        expected: &impl Fn(&[T]) -> String,
    ) {
        let random = &mut Random::new(seed);
        let context = format!("seed {seed}, {aggregate:?}, may lose rows: {may_lose_rows}");
        let grouped = rows.iter().map(|row| (random.below(3) as i64, row.clone())).collect::<Vec<_>>();
        let batch = |rows: &[(i64, T)]| {
            let groups: Int64Array = rows.iter().map(|(group, _)| *group).collect();
            let values = rows.iter().map(|(_, row)| row.clone()).collect::<Vec<_>>();
            let mut fields = vec![Field::new("g", DataType::Int64, false)];
            let mut arrays: Vec<ArrayRef> = vec![Arc::new(groups)];
            for (field, array) in columns(&values) {
                fields.push(field);
                arrays.push(array);
            }
            RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
        };
        let tried = Self::new(aggregate, batch(&[]).schema_ref(), may_lose_rows);
        if may_lose_rows && !tried.keeps_candidates() {
            // The same as before.
            return;
        }
        let truth = |rows: &[(i64, T)]| {
            (0..3)
                .map(|group| {
                    rows.iter().filter(|row| row.0 == group).map(|row| row.1.clone()).collect::<Vec<_>>()
                })
                .filter(|rows| !rows.is_empty())
                .map(|rows| expected(&rows))
                .collect::<Vec<_>>()
        };

        let whole = tried.over_rows(&batch(&grouped));
        let result = tried.result(std::slice::from_ref(&whole));
        assert_eq!(shown(&result), truth(&grouped), "{context}");

        // In other pieces, in another order, merged in other groupings.
        let shuffled = shuffle(grouped.clone(), random);
        let mut pieces = split(&shuffled, random).iter().map(|rows| tried.over_rows(&batch(rows))).collect();
        pieces = shuffle(pieces, random);
        while pieces.len() > 2 && !random.one_in(4) {
            let count = 2 + random.below(pieces.len() as u64 - 2) as usize;
            let taken = pieces.drain(..count).collect::<Vec<_>>();
            pieces.push(tried.merge(&taken));
        }
        same(&tried.result(&pieces), &result, &context);
        let once = tried.merge(&pieces);
        same_states(&once, &tried.merge(std::slice::from_ref(&whole)), &context);
        same_states(&tried.merge(std::slice::from_ref(&once)), &once, &context);

        if tried.invertible() && !tried.keeps_candidates() {
            let (removed, kept) = shuffled.split_at(random.below(shuffled.len() as u64 + 1) as usize);
            let mut parts = pieces;
            parts.extend(
                split(removed, random).iter().map(|rows| tried.negate(&tried.over_rows(&batch(rows)))),
            );
            parts = shuffle(parts, random);
            let result = tried.result(&parts);
            assert_eq!(shown(&result), truth(kept), "{context}: {} removed", removed.len());
            // Merging first what is removed gives counts below zero in between.
            let early = tried.merge(&parts[..parts.len() / 2]);
            let mut rest = parts.split_off(parts.len() / 2);
            rest.push(early);
            same(&tried.result(&rest), &result, &context);
        }
    }
}

fn scan(rows: &RecordBatch) -> LogicalPlan {
    let table = MemTable::try_new(rows.schema(), vec![vec![rows.clone()]]).unwrap();
    LogicalPlanBuilder::scan("rows", provider_as_source(Arc::new(table)), None).unwrap().build().unwrap()
}

/// Each value as text: floats by their bits, so that `-0.0` and `0.0` differ.
pub(super) fn shown(values: &ArrayRef) -> Vec<String> {
    (0..values.len()).map(|index| show(values, index)).collect()
}

fn show(values: &ArrayRef, index: usize) -> String {
    use arrow::datatypes::{Float32Type, Float64Type};
    if values.is_null(index) {
        return "null".to_owned();
    }
    match values.data_type() {
        DataType::Float64 => format!("{:?}", values.as_primitive::<Float64Type>().value(index)),
        DataType::Float32 => format!("{:?}", values.as_primitive::<Float32Type>().value(index)),
        DataType::List(_) => format!("[{}]", shown(&values.as_list::<i32>().value(index)).join(", ")),
        _ => arrow::util::display::array_value_to_string(values, index).unwrap(),
    }
}

fn same(left: &ArrayRef, right: &ArrayRef, context: &str) {
    assert_eq!(shown(left), shown(right), "{context}");
}

/// States of equal contents are equal bytes, whatever they were made from.
fn same_states(left: &RecordBatch, right: &RecordBatch, context: &str) {
    let sorted = |states: &RecordBatch| {
        let order = arrow::compute::sort_to_indices(states.column(0), None, None).unwrap();
        arrow::compute::take_record_batch(states, &order).unwrap()
    };
    assert_eq!(sorted(left), sorted(right), "{context}");
}

pub(super) fn shuffle<T>(mut items: Vec<T>, random: &mut Random) -> Vec<T> {
    for index in (1..items.len()).rev() {
        items.swap(index, random.below(index as u64 + 1) as usize);
    }
    items
}

fn split<T: Clone>(items: &[T], random: &mut Random) -> Vec<Vec<T>> {
    let mut pieces = vec![Vec::new()];
    for item in items {
        if random.one_in(5) {
            pieces.push(Vec::new());
        }
        if let Some(last) = pieces.last_mut() {
            last.push(item.clone());
        }
    }
    pieces
}

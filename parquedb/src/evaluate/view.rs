//! A view as DataFusion plans: from source rows to what the view stores, and from there to the rows
//! that a reader sees. The same two plans serve streaming, refreshing, rebuilding and reading.

use super::arithmetic::canonical_array;
use super::candidates::Outlook;
use super::decimal_sums::{is_whole_number, whole_number};
use super::lower::{Scope, column};
use super::prepare::{Inputs, prepared_rows};
use super::state::{self, Mergeable, ROWS_COLUMN, State};
use crate::declare::definition::ViewDefinition;
use crate::declare::plan::{AggregateColumn, Column, Output};
use crate::error::{Error, ErrorKind, Result};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::{CastOptions, cast_with_options, filter_record_batch};
use arrow::datatypes::{DataType, Field, FieldRef, Int8Type, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, JoinType, NullEquality};
use datafusion::functions::core::expr_fn::least;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, lit};
use datafusion::prelude::cast;
use std::collections::HashMap;
use std::sync::Arc;

/// The plan from source rows to what the view stores for them: its rows, or, when it groups, one
/// state per group.
pub(crate) fn delta_plan(view: &ViewDefinition, inputs: &Inputs) -> Result<LogicalPlan> {
    build_delta_plan(view, inputs, None).map_err(|error| error.context(format!("view `{}`", view.name)))
}

/// The same for the groups with these keys alone. The keys have the names of the view's columns.
pub(crate) fn groups_plan(view: &ViewDefinition, inputs: &Inputs, keys: LogicalPlan) -> Result<LogicalPlan> {
    build_delta_plan(view, inputs, Some(keys)).map_err(|error| error.context(format!("view `{}`", view.name)))
}

fn build_delta_plan(
    view: &ViewDefinition,
    inputs: &Inputs,
    of_groups: Option<LogicalPlan>,
) -> Result<LogicalPlan> {
    let input = prepared_rows(view, inputs)?;
    match &view.plan.output {
        Output::Source => {
            let columns = view.schema.fields().iter().map(|field| column(field.name())).collect::<Vec<_>>();
            Ok(LogicalPlanBuilder::from(input).project(columns)?.build()?)
        }
        Output::Rows(columns) => {
            let values = named_values(columns, input.schema(), &view.schema)?;
            Ok(LogicalPlanBuilder::from(input).project(values)?.build()?)
        }
        Output::Groups { keys, aggregates } => {
            let mut key_values = named_values(keys, input.schema(), &view.schema)?;
            let states = all_states(aggregates, input.schema(), inputs)?.0;
            let over_rows = states.iter().map(|state| state.over_rows.clone().alias(state.field.name()));
            let input = match of_groups {
                Some(wanted) => {
                    let rows = with_key_columns(input, &key_values)?;
                    let on = keys.iter().map(|key| (key_column(&key.name), key.name.clone())).collect();
                    let alias = |key: &Column| column(&key_column(&key.name)).alias(&key.name);
                    key_values = keys.iter().map(alias).collect();
                    having_keys(rows, on, wanted, JoinType::LeftSemi)?
                }
                None => input,
            };
            let grouped = LogicalPlanBuilder::from(input).aggregate(key_values, over_rows)?.build()?;
            let stored = stored_columns(view, keys, &states, grouped.schema())?;
            Ok(LogicalPlanBuilder::from(grouped).project(stored)?.build()?)
        }
    }
}

/// The keys of the groups that source rows belong to, each once, named as the view's columns.
pub(crate) fn keys_plan(view: &ViewDefinition, inputs: &Inputs) -> Result<LogicalPlan> {
    let input = prepared_rows(view, inputs)?;
    let values = named_values(keys(view), input.schema(), &view.schema)?;
    Ok(LogicalPlanBuilder::from(input).project(values)?.distinct()?.build()?)
}

/// The keys of all rows of a view that groups.
pub(crate) fn key_columns_of(view: &ViewDefinition, rows: LogicalPlan) -> Result<LogicalPlan> {
    let columns = keys(view).iter().map(|key| column(&key.name)).collect::<Vec<_>>();
    Ok(LogicalPlanBuilder::from(rows).project(columns)?.build()?)
}

/// The columns by which a view groups; none for a view that does not.
pub(crate) fn keys(view: &ViewDefinition) -> &[Column] {
    match &view.plan.output {
        Output::Groups { keys, .. } => keys,
        _ => &[],
    }
}

/// The states of those groups alone, of all that the view stores.
pub(crate) fn states_of(
    view: &ViewDefinition,
    stored: LogicalPlan,
    wanted: LogicalPlan,
) -> Result<LogicalPlan> {
    having_keys(stored, own_keys(view), wanted, JoinType::LeftSemi)
}

/// The states of all other groups.
pub(crate) fn states_of_others(
    view: &ViewDefinition,
    stored: LogicalPlan,
    unwanted: LogicalPlan,
) -> Result<LogicalPlan> {
    having_keys(stored, own_keys(view), unwanted, JoinType::LeftAnti)
}

fn own_keys(view: &ViewDefinition) -> Vec<(String, String)> {
    keys(view).iter().map(|key| (key.name.clone(), key.name.clone())).collect()
}

/// The states that take away what `states` add; nothing when some aggregate cannot take rows back.
pub(crate) fn negated(
    view: &ViewDefinition,
    inputs: &Inputs,
    states: LogicalPlan,
) -> Result<Option<LogicalPlan>> {
    let Output::Groups { keys, aggregates } = &view.plan.output else { return Ok(None) };
    let input = prepared_rows(view, inputs)?;
    let mut values = keys.iter().map(|key| column(&key.name)).collect::<Vec<_>>();
    for State { field, negate, .. } in all_states(aggregates, input.schema(), inputs)?.0 {
        let Some(negate) = negate else { return Ok(None) };
        values.push(typed(negate, &field, states.schema())?.alias(field.name()));
    }
    Ok(Some(LogicalPlanBuilder::from(states).project(values)?.build()?))
}

/// The column of [`outlook_plan`] beside the group keys.
pub(crate) const OUTLOOK_COLUMN: &str = "$outlook";

/// What the states of each group allow, as the least [`Outlook`] of its aggregates that keep candidates: after the
/// group keys, a number.
pub(crate) fn outlook_plan(
    view: &ViewDefinition,
    inputs: &Inputs,
    states: LogicalPlan,
) -> Result<LogicalPlan> {
    let keys = keys(view);
    let Output::Groups { aggregates, .. } = &view.plan.output else { return Ok(states) };
    let input = prepared_rows(view, inputs)?;
    let (mut lists, mut outlooks) = (Vec::new(), Vec::new());
    for State { field, candidates, .. } in all_states(aggregates, input.schema(), inputs)?.0 {
        let Some(candidates) = candidates else { continue };
        lists.push(candidates.list.alias(field.name()));
        outlooks.push(candidates.outlook);
    }
    let own_keys = keys.iter().map(|key| column(&key.name)).collect::<Vec<_>>();
    let listed = LogicalPlanBuilder::from(states).aggregate(own_keys.clone(), lists)?;
    let outlook = least(outlooks).alias(OUTLOOK_COLUMN);
    Ok(listed.project(own_keys.into_iter().chain([outlook]))?.build()?)
}

/// The groups by what [`outlook_plan`] says of them: the keys of those whose states must be merged first, and of
/// those that must be computed again.
pub(crate) fn by_outlook(outlooks: &[RecordBatch]) -> Result<(Vec<RecordBatch>, Vec<RecordBatch>)> {
    let (mut to_merge, mut run_out) = (Vec::new(), Vec::new());
    for batch in outlooks {
        let numbers = batch.column(batch.num_columns() - 1).as_primitive::<Int8Type>();
        let keys = batch.project(&(0..batch.num_columns() - 1).collect::<Vec<_>>())?;
        for (outlook, of_those) in [(Outlook::MergeFirst, &mut to_merge), (Outlook::RunOut, &mut run_out)] {
            let chosen = numbers.iter().map(|number| number.map(Outlook::of) == Some(outlook));
            let chosen = filter_record_batch(&keys, &BooleanArray::from_iter(chosen.map(Some)))?;
            if chosen.num_rows() > 0 {
                of_those.push(chosen);
            }
        }
    }
    Ok((to_merge, run_out))
}

/// Whether the states of a view that groups can take rows back.
pub(crate) fn can_negate(view: &ViewDefinition, inputs: &Inputs) -> Result<bool> {
    let Output::Groups { aggregates, .. } = &view.plan.output else { return Ok(false) };
    let input = prepared_rows(view, inputs)?;
    Ok(all_states(aggregates, input.schema(), inputs)?.0.iter().all(|state| state.negate.is_some()))
}

/// Whether some aggregate keeps no more than the best values of each group.
pub(crate) fn keeps_candidates(view: &ViewDefinition, inputs: &Inputs) -> Result<bool> {
    let Output::Groups { aggregates, .. } = &view.plan.output else { return Ok(false) };
    let input = prepared_rows(view, inputs)?;
    Ok(all_states(aggregates, input.schema(), inputs)?.0.iter().any(|state| state.candidates.is_some()))
}

/// The name of a group key beside the source's columns.
fn key_column(name: &str) -> String {
    format!("__key.{name}")
}

fn with_key_columns(rows: LogicalPlan, values: &[Expr]) -> Result<LogicalPlan> {
    let mut columns = rows.schema().columns().into_iter().map(Expr::Column).collect::<Vec<_>>();
    columns.extend(values.iter().map(|value| {
        let name = value.schema_name().to_string();
        value.clone().unalias().alias(key_column(&name))
    }));
    Ok(LogicalPlanBuilder::from(rows).project(columns)?.build()?)
}

/// The rows whose columns are equal to those of some wanted key (or, by the kind of join, of none): null equals
/// null. Each pair names a column of the rows and a column of the keys.
fn having_keys(
    rows: LogicalPlan,
    on: Vec<(String, String)>,
    wanted: LogicalPlan,
    kind: JoinType,
) -> Result<LogicalPlan> {
    let wanted_name = |name: &str| format!("__wanted.{name}");
    let renamed = on.iter().map(|(_, key)| column(key).alias(wanted_name(key))).collect::<Vec<_>>();
    let wanted = LogicalPlanBuilder::from(wanted).project(renamed)?.build()?;
    let (left, right): (Vec<_>, Vec<_>) = on
        .into_iter()
        .map(|(row, key)| {
            (
                datafusion::common::Column::new_unqualified(row),
                datafusion::common::Column::new_unqualified(wanted_name(&key)),
            )
        })
        .unzip();
    let joined = LogicalPlanBuilder::from(rows).join_detailed(
        wanted,
        kind,
        (left, right),
        None,
        NullEquality::NullEqualsNull,
    )?;
    Ok(joined.build()?)
}

/// The schema of what the view stores, given plans with its inputs' schemas.
pub(crate) fn stored_schema(view: &ViewDefinition, inputs: &Inputs) -> Result<SchemaRef> {
    let Output::Groups { keys, aggregates } = &view.plan.output else {
        return Ok(Arc::clone(&view.schema));
    };
    let input = prepared_rows(view, inputs)?;
    let states = all_states(aggregates, input.schema(), inputs)?.0;
    let mut fields =
        keys.iter().map(|key| declared(&view.schema, &key.name).cloned()).collect::<Result<Vec<Field>>>()?;
    fields.extend(states.into_iter().map(|state| state.field));
    Ok(Arc::new(Schema::new(fields)))
}

/// Whether rows can be taken away from a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TakesRowsBack {
    Always,
    /// As long as the next best values are known.
    WhileCandidatesLast,
    Never,
}

/// A column that a view stores.
#[derive(Debug)]
pub(crate) struct StoredColumn {
    pub(crate) field: Field,
    /// The view's column that it belongs to; the column itself for what every group has.
    pub(crate) owner: String,
    /// A part of a group's state.
    pub(crate) is_state: bool,
    pub(crate) takes_rows_back: TakesRowsBack,
    /// What the states of its aggregate hold, in words.
    pub(crate) holds: &'static str,
}

/// The columns that a view stores.
pub(crate) fn stored_columns_of(view: &ViewDefinition, inputs: &Inputs) -> Result<Vec<StoredColumn>> {
    let plain = |field: &Field| StoredColumn {
        owner: field.name().clone(),
        field: field.clone(),
        is_state: false,
        holds: "",
        takes_rows_back: TakesRowsBack::Always,
    };
    let Output::Groups { keys, aggregates } = &view.plan.output else {
        return Ok(view.schema.fields().iter().map(|field| plain(field)).collect());
    };
    let input = prepared_rows(view, inputs)?;
    let mut columns =
        keys.iter().map(|key| declared(&view.schema, &key.name).map(plain)).collect::<Result<Vec<_>>>()?;
    let state = |owner: &str, holds: &'static str, state: State| StoredColumn {
        owner: owner.to_owned(),
        is_state: true,
        holds,
        takes_rows_back: match (&state.negate, &state.candidates) {
            (None, _) => TakesRowsBack::Never,
            (_, Some(candidates)) if !candidates.last_always => TakesRowsBack::WhileCandidatesLast,
            _ => TakesRowsBack::Always,
        },
        field: state.field,
    };
    columns.push(state(ROWS_COLUMN, "the number of rows, which keeps the group", state::rows()));
    let mut known = vec![state::rows()];
    for aggregate in aggregates {
        let Mergeable { states, holds, .. } =
            state::mergeable(aggregate, input.schema(), inputs.may_lose_rows)?;
        for part in states {
            if !known.iter().any(|other| other.is_same(&part)) {
                known.push(part.clone());
                columns.push(state(&aggregate.name, holds, part));
            }
        }
    }
    Ok(columns)
}

/// The plan from what the view stores to the rows a reader sees. The states' types follow from the schemas of
/// the inputs' plans.
pub(crate) fn result_plan(
    view: &ViewDefinition,
    inputs: &Inputs,
    stored: LogicalPlan,
) -> Result<LogicalPlan> {
    results_of(view, inputs, stored, false)
}

/// The same from states of which each group has one.
pub(crate) fn results_of_merged(
    view: &ViewDefinition,
    inputs: &Inputs,
    stored: LogicalPlan,
) -> Result<LogicalPlan> {
    results_of(view, inputs, stored, true)
}

fn results_of(
    view: &ViewDefinition,
    inputs: &Inputs,
    stored: LogicalPlan,
    is_merged: bool,
) -> Result<LogicalPlan> {
    let Output::Groups { keys, aggregates } = &view.plan.output else {
        return Ok(stored);
    };
    let input = prepared_rows(view, inputs)?;
    let (states, results) = all_states(aggregates, input.schema(), inputs)?;
    let mut merged = if is_merged { stored } else { merged(keys, &states, stored)? };
    if !keys.is_empty() && inputs.may_lose_rows {
        // Of a group that lost its last row only states that cancel out are left.
        merged = LogicalPlanBuilder::from(merged).filter(column(ROWS_COLUMN).gt(lit(0_i64)))?.build()?;
    }
    let mut rows = keys.iter().map(|key| column(&key.name)).collect::<Vec<_>>();
    for (aggregate, result) in aggregates.iter().zip(results) {
        rows.push(
            typed(result, declared(&view.schema, &aggregate.name)?, merged.schema())?.alias(&aggregate.name),
        );
    }
    let mut rows = LogicalPlanBuilder::from(merged).project(rows)?;
    if keys.is_empty() {
        // There is one row anyhow. DataFusion moves a condition that cannot hold, such as `n = 1 and n = 0`, below
        // an aggregate without keys, which then has a row over nothing; it moves none below a limit.
        rows = rows.limit(0, Some(1))?;
    }
    let Some(having) = &view.plan.having else { return Ok(rows.build()?) };
    let condition = Scope::new(rows.schema()).condition(having)?;
    Ok(rows.filter(condition)?.build()?)
}

/// The plan from states that a grouping view stores to one state of each group, to be stored in their
/// place.
pub(crate) fn merge_plan(view: &ViewDefinition, inputs: &Inputs, stored: LogicalPlan) -> Result<LogicalPlan> {
    let Output::Groups { keys, aggregates } = &view.plan.output else {
        return Err(Error::invalid(format!("view `{}` stores rows, which cannot be merged", view.name)));
    };
    let input = prepared_rows(view, inputs)?;
    let states = all_states(aggregates, input.schema(), inputs)?.0;
    let merged = merged(keys, &states, stored)?;
    let mut columns = keys.iter().map(|key| column(&key.name)).collect::<Vec<_>>();
    columns.extend(states.iter().map(|state| state.kept().alias(state.field.name())));
    let merged = LogicalPlanBuilder::from(merged).project(columns)?.build()?;
    let columns = stored_columns(view, keys, &states, merged.schema())?;
    Ok(LogicalPlanBuilder::from(merged).project(columns)?.build()?)
}

/// One state of each group.
fn merged(keys: &[Column], states: &[State], stored: LogicalPlan) -> Result<LogicalPlan> {
    let keys = keys.iter().map(|key| column(&key.name));
    let merges = states.iter().map(|state| state.merge.clone().alias(state.field.name()));
    Ok(LogicalPlanBuilder::from(stored).aggregate(keys, merges)?.build()?)
}

/// The keys and states in the types that they are stored in.
fn stored_columns(
    view: &ViewDefinition,
    keys: &[Column],
    states: &[State],
    input: &DFSchema,
) -> Result<Vec<Expr>> {
    let keys = keys.iter().map(|key| declared(&view.schema, &key.name));
    typed_columns(keys.chain(states.iter().map(|state| Ok(&state.field))), input)
}

/// Whether the view groups: it stores states, and its rows change when new states come.
pub(crate) fn groups(view: &ViewDefinition) -> bool {
    matches!(view.plan.output, Output::Groups { .. })
}

fn all_states(
    aggregates: &[AggregateColumn],
    input: &DFSchema,
    inputs: &Inputs,
) -> Result<(Vec<State>, Vec<Expr>)> {
    let mut states = vec![state::rows()];
    let mut results = Vec::new();
    for aggregate in aggregates {
        let Mergeable { states: own, result, .. } = state::mergeable(aggregate, input, inputs.may_lose_rows)?;
        let mut shared = HashMap::new();
        for state in own {
            match states.iter().find(|other| other.is_same(&state)) {
                Some(other) => drop(shared.insert(state.field.name().clone(), other.field.name().clone())),
                None => states.push(state),
            }
        }
        results.push(with_columns_renamed(result, &shared)?);
    }
    Ok((states, results))
}

/// An expression over the same columns under other names.
fn with_columns_renamed(expression: Expr, names: &HashMap<String, String>) -> Result<Expr> {
    let renamed = expression.transform_up(|node| {
        let name = match &node {
            Expr::Column(of) => names.get(&of.name),
            _ => None,
        };
        Ok(name.map_or(Transformed::no(node.clone()), |name| Transformed::yes(column(name))))
    })?;
    Ok(renamed.data)
}

fn named_values(columns: &[Column], input: &DFSchema, schema: &Schema) -> Result<Vec<Expr>> {
    let scope = Scope::new(input);
    columns
        .iter()
        .map(|Column { name, value }| {
            Ok(typed(scope.value(value)?, declared(schema, name)?, input)?.alias(name))
        })
        .collect()
}

fn typed_columns<'a>(fields: impl Iterator<Item = Result<&'a Field>>, input: &DFSchema) -> Result<Vec<Expr>> {
    fields
        .map(|field| {
            let field = field?;
            Ok(typed(column(field.name()), field, input)?.alias(field.name()))
        })
        .collect()
}

/// The expression in the field's type. A value outside of the type is an error when it is met.
fn typed(value: Expr, field: &Field, input: &DFSchema) -> Result<Expr> {
    let (kind, wanted) = (value.get_type(input)?, field.data_type());
    if is_same_but_for_nulls(&kind, wanted) {
        return Ok(value);
    }
    Ok(if is_whole_number(&kind, wanted) {
        whole_number(value, wanted, field.name())
    } else {
        cast(value, wanted.clone())
    })
}

/// Whether two types differ at most in whether fields of records and elements of lists can be null, which is checked
/// when the values are there.
fn is_same_but_for_nulls(left: &DataType, right: &DataType) -> bool {
    if let (DataType::List(left), DataType::List(right)) = (left, right) {
        return is_same_but_for_nulls(left.data_type(), right.data_type());
    }
    let (DataType::Struct(left_fields), DataType::Struct(right_fields)) = (left, right) else {
        return left == right;
    };
    let same = |(left, right): (&FieldRef, &FieldRef)| {
        left.name() == right.name() && is_same_but_for_nulls(left.data_type(), right.data_type())
    };
    left_fields.len() == right_fields.len() && left_fields.iter().zip(right_fields).all(same)
}

fn declared<'a>(schema: &'a Schema, name: &str) -> Result<&'a Field> {
    schema
        .field_with_name(name)
        .map_err(|_| Error::invalid(format!("the plan has a column `{name}`, the view's rows have none")))
}

/// The batch in exactly this schema: DataFusion reports some nested nullability more loosely than it
/// was declared. A null in a column that cannot be null is an error that names it.
pub(crate) fn conform(batch: &RecordBatch, schema: &SchemaRef, owner: &str) -> Result<RecordBatch> {
    if batch.schema_ref() == schema {
        return Ok(batch.clone());
    }
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let columns = schema
        .fields()
        .iter()
        .enumerate()
        .map(|(index, field)| {
            let array = batch.column(index);
            if !field.is_nullable() && array.null_count() > 0 {
                return Err(Error::invalid(format!(
                    "`{owner}`: column `{}` has a null but is declared as never null",
                    field.name()
                )));
            }
            if array.data_type() == field.data_type() {
                return Ok(Arc::clone(array));
            }
            cast_with_options(array, field.data_type(), &strict)
                .map_err(|error| Error::from(error).context(format!("`{owner}`: column `{}`", field.name())))
        })
        .collect::<Result<Vec<ArrayRef>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|error| Error::with_source(ErrorKind::Invalid, format!("`{owner}`: {error}"), error))
}

/// Rows as they are stored: with the columns in the schema's order, found by name, and one form of zero and of NaN.
pub(crate) fn conform_by_name(batch: &RecordBatch, schema: &SchemaRef, owner: &str) -> Result<RecordBatch> {
    if batch.schema_ref() == schema {
        return with_canonical_floats(batch);
    }
    if batch.num_columns() > schema.fields().len() {
        let unknown =
            batch.schema_ref().fields().iter().find(|field| schema.field_with_name(field.name()).is_err());
        if let Some(unknown) = unknown {
            return Err(Error::invalid(format!("`{owner}` has no column `{}`", unknown.name())));
        }
    }
    let indices = schema
        .fields()
        .iter()
        .map(|field| {
            batch
                .schema_ref()
                .index_of(field.name())
                .map_err(|_| Error::invalid(format!("`{owner}`: the batch has no column `{}`", field.name())))
        })
        .collect::<Result<Vec<_>>>()?;
    with_canonical_floats(&conform(&batch.project(&indices)?, schema, owner)?)
}

fn with_canonical_floats(batch: &RecordBatch) -> Result<RecordBatch> {
    let columns =
        batch.columns().iter().map(canonical_array).collect::<datafusion::common::Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(batch.schema(), columns, &options)?)
}

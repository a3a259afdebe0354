//! The first steps of a view: from the rows of its sources, and what they refer to, to the rows that its
//! columns and aggregates are computed over.

use super::join::{join, join_many, restrict};
use super::lower::{ELEMENT_COLUMN, ELEMENT_INDEX_COLUMN, SOURCE_COLUMN, Scope, column};
use crate::commit::snapshot::SEQ_COLUMN;
use crate::declare::definition::ViewDefinition;
use crate::declare::node::Node;
use crate::declare::plan::{Unnest, ViewPlan};
use crate::error::{Error, Result};
use arrow::datatypes::DataType;
use datafusion::common::{Column, NullHandling, UnnestOptions};
use datafusion::functions_nested::expr_fn as nested;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, lit};
use std::collections::BTreeSet;

/// The rows a view is computed from: a plan for each place in its definition that names a member.
#[derive(Debug, Clone)]
pub(crate) struct Inputs {
    /// The rows of each source, in the order of the definition.
    pub(crate) sources: Vec<LogicalPlan>,
    /// The rows of each joined member, in the order of the definition.
    pub(crate) joined: Vec<LogicalPlan>,
    /// Which of the joined rows count; all by default.
    pub(crate) restriction: Option<Restriction>,
    /// Whether rows of these members, once there, may go again: how states are kept depends on it.
    pub(crate) may_lose_rows: bool,
    /// The sources tell the commit of each row, and members that are joined as of ingest are given with their past.
    pub(crate) commits: bool,
}

/// Keeps the rows that refer to something changed: those whose reference in one join is among some keys, while
/// their references in joins before it are not among others.
///
/// For the changed keys of every joined member this gives each row that refers to one of them exactly once, if
/// `not_among` holds the keys of all joins before. A reference that is null is among no keys.
#[derive(Debug, Clone)]
pub(crate) struct Restriction {
    /// The position of a join in the view's plan.
    pub(crate) join: usize,
    /// The keys that its reference is among: a plan of one column, without nulls.
    pub(crate) among: LogicalPlan,
    /// For joins before it, by position, the keys that their references are not among.
    pub(crate) not_among: Vec<(usize, LogicalPlan)>,
}

impl Inputs {
    /// The inputs of a view, each given by the member's name.
    pub(crate) fn of(
        view: &ViewDefinition,
        may_lose_rows: bool,
        mut rows: impl FnMut(&str) -> Result<LogicalPlan>,
    ) -> Result<Self> {
        Ok(Self {
            sources: view.plan.sources.iter().map(|name| rows(name)).collect::<Result<_>>()?,
            joined: view.plan.joins.iter().map(|join| rows(&join.member)).collect::<Result<_>>()?,
            restriction: None,
            may_lose_rows,
            commits: false,
        })
    }

    /// The same rows, of which only some count.
    pub(crate) fn restricted(self, restriction: Restriction) -> Self {
        Self { restriction: Some(restriction), ..self }
    }
}

/// The rows after the joins, `$filter`, `$unnest` and `$where`.
pub(crate) fn prepared_rows(view: &ViewDefinition, inputs: &Inputs) -> Result<LogicalPlan> {
    let mut rows = LogicalPlanBuilder::from(filtered_rows(view, inputs)?);
    if let Some(unnest) = &view.plan.unnest {
        let rows_with_elements = elements(rows.build()?, unnest)?;
        rows = joins(view, inputs, rows_with_elements, true)?.into();
    }
    if let Some(condition) = &view.plan.condition {
        let condition = Scope::new(rows.schema()).condition(condition)?;
        rows = rows.filter(condition)?;
    }
    Ok(rows.build()?)
}

/// One row for each element of a list.
fn elements(rows: LogicalPlan, unnest: &Unnest) -> Result<LogicalPlan> {
    let list = Scope::new(rows.schema()).value(&unnest.list)?;
    let mut columns = rows.schema().columns().into_iter().map(Expr::Column).collect::<Vec<_>>();
    let mut lists = vec![Column::new_unqualified(ELEMENT_COLUMN)];
    if unnest.with_index {
        let positions =
            nested::range(lit(0_i64), cast(nested::cardinality(list.clone()), DataType::Int64), lit(1_i64));
        columns.push(positions.alias(ELEMENT_INDEX_COLUMN));
        lists.push(Column::new_unqualified(ELEMENT_INDEX_COLUMN));
    }
    columns.push(list.alias(ELEMENT_COLUMN));
    let empty = if unnest.keep_empty { NullHandling::PreserveAndExpandEmpty } else { NullHandling::Drop };
    let options = UnnestOptions::new().with_null_handling(empty);
    Ok(LogicalPlanBuilder::from(rows)
        .project(columns)?
        .unnest_columns_with_options(lists, options)?
        .build()?)
}

/// The rows of all sources for which `$filter` holds, each with what it refers to, but for what the elements of an
/// `$unnest` refer to.
fn filtered_rows(view: &ViewDefinition, inputs: &Inputs) -> Result<LogicalPlan> {
    let ViewPlan { filter, joins: steps, .. } = &view.plan;
    let rows = union(view, inputs)?;
    // DataFusion moves a condition below joins by itself, but not to where the lists among the rows are taken from.
    let is_first = steps.iter().any(|step| step.many) && filter.as_ref().is_some_and(is_of_sources);
    match filter {
        Some(filter) if is_first => joins(view, inputs, filtered(rows, filter)?, false),
        Some(filter) => filtered(joins(view, inputs, rows, false)?, filter),
        None => joins(view, inputs, rows, false),
    }
}

fn filtered(rows: LogicalPlan, condition: &Node) -> Result<LogicalPlan> {
    let condition = Scope::new(rows.schema()).condition(condition)?;
    Ok(LogicalPlanBuilder::from(rows).filter(condition)?.build()?)
}

/// Whether an expression looks through no reference.
fn is_of_sources(node: &Node) -> bool {
    let mut found = true;
    node.walk(&mut |node| found &= !matches!(node, Node::Joined(_)));
    found
}

/// The rows with those they refer to, by the references before or after the `$unnest`.
fn joins(
    view: &ViewDefinition,
    inputs: &Inputs,
    mut rows: LogicalPlan,
    after_unnest: bool,
) -> Result<LogicalPlan> {
    let steps = view.plan.joins.iter().enumerate().filter(|(_, step)| step.after_unnest == after_unnest);
    let restriction = inputs.restriction.as_ref();
    let (early, late): (Vec<_>, Vec<_>) = steps.clone().partition(|(_, step)| is_of_sources(&step.reference));
    let all = rows.clone();
    for (position, step) in early {
        rows = restrict(rows, &all, step, position, restriction)?;
    }
    // The lists of the sources' rows are taken from these rows, which are read again for each, and not from what
    // else was joined before.
    let sources = rows.clone();
    for (position, step) in steps {
        let is_late = late.iter().any(|(other, _)| *other == position);
        if is_late {
            rows = restrict(rows.clone(), &rows, step, position, restriction)?;
        }
        let member = inputs.joined.get(position).ok_or_else(|| {
            Error::invalid(format!("view `{}`: nothing is given for `{}`", view.name, step.name))
        })?;
        rows = match (step.many, is_late) {
            (false, _) => join(rows, step, &view.plan, member, inputs.commits)?,
            (true, false) => join_many(rows, &sources, step, member, inputs.commits)?,
            (true, true) => join_many(rows.clone(), &rows, step, member, inputs.commits)?,
        };
    }
    Ok(rows)
}

/// The rows of all sources. Of several, the columns that the view uses and the source's name.
fn union(view: &ViewDefinition, inputs: &Inputs) -> Result<LogicalPlan> {
    let sources = &inputs.sources;
    if let [only] = sources.as_slice() {
        return Ok(only.clone());
    }
    let mut used = BTreeSet::new();
    for expression in view.plan.expressions() {
        expression.walk(&mut |node| {
            if let Node::Field(of, name) = node
                && **of == Node::Row
            {
                used.insert(name.as_str());
            }
        });
    }
    if inputs.commits {
        used.insert(SEQ_COLUMN);
    }
    let mut rows: Option<LogicalPlanBuilder> = None;
    for (name, source) in view.plan.sources.iter().zip(sources) {
        let columns = used.iter().map(|name| column(name).alias(*name));
        let source_name = lit(name.as_str()).alias(SOURCE_COLUMN);
        let source = LogicalPlanBuilder::from(source.clone()).project(columns.chain([source_name]))?;
        rows = Some(match rows {
            None => source,
            Some(rows) => rows.union(source.build()?)?,
        });
    }
    let rows = rows.ok_or_else(|| Error::invalid(format!("view `{}` has no source", view.name)))?;
    Ok(rows.build()?)
}

//! The first steps of a view: from the rows of its sources, and what they refer to, to the rows that its
//! columns and aggregates are computed over.

use super::lower::{ELEMENT_COLUMN, Scope};
use crate::declare::definition::ViewDefinition;
use crate::error::Result;
use datafusion::common::UnnestOptions;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};

/// The rows a view is computed from: a plan for each place in its definition that names a member.
#[derive(Debug, Clone)]
pub(crate) struct Inputs {
    /// The rows of each source, in the order of the definition.
    pub(crate) sources: Vec<LogicalPlan>,
    /// The rows of each joined member, in the order of the definition.
    pub(crate) joined: Vec<LogicalPlan>,
}

impl Inputs {
    /// The inputs of a view, each given by the member's name.
    pub(crate) fn of(
        view: &ViewDefinition,
        mut rows: impl FnMut(&str) -> Result<LogicalPlan>,
    ) -> Result<Self> {
        Ok(Self {
            sources: view.plan.sources.iter().map(|name| rows(name)).collect::<Result<_>>()?,
            joined: view.plan.joins.iter().map(|join| rows(&join.member)).collect::<Result<_>>()?,
        })
    }
}

/// The rows after the joins, `$filter`, `$unnest` and `$where`.
pub(crate) fn prepared_rows(view: &ViewDefinition, inputs: &Inputs) -> Result<LogicalPlan> {
    let mut rows = LogicalPlanBuilder::from(joined_rows(view, inputs)?);
    if let Some(filter) = &view.plan.filter {
        let condition = Scope::new(rows.schema()).condition(filter)?;
        rows = rows.filter(condition)?;
    }
    if let Some(unnest) = &view.plan.unnest {
        let element = Scope::new(rows.schema()).value(&unnest.list)?.alias(ELEMENT_COLUMN);
        let mut columns = rows.schema().columns().into_iter().map(Expr::Column).collect::<Vec<_>>();
        columns.push(element);
        let options = UnnestOptions::new().with_preserve_nulls(false);
        rows = rows.project(columns)?.unnest_column_with_options(ELEMENT_COLUMN, options)?;
    }
    if let Some(condition) = &view.plan.condition {
        let condition = Scope::new(rows.schema()).condition(condition)?;
        rows = rows.filter(condition)?;
    }
    Ok(rows.build()?)
}

/// The rows of all sources, each with what it refers to.
pub(crate) fn joined_rows(view: &ViewDefinition, inputs: &Inputs) -> Result<LogicalPlan> {
    match &inputs.sources[..] {
        [only] if view.plan.joins.is_empty() => Ok(only.clone()),
        _ => Err(crate::Error::invalid(format!(
            "view `{}`: joins and several sources are not built",
            view.name
        ))),
    }
}

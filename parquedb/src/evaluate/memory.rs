//! Rows in memory as plans.

use crate::error::Result;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use std::sync::Arc;

/// Rows in memory, all of this schema.
pub(crate) fn rows(name: &str, schema: &SchemaRef, batches: Vec<RecordBatch>) -> Result<LogicalPlan> {
    let table = MemTable::try_new(Arc::clone(schema), vec![batches])?;
    Ok(LogicalPlanBuilder::scan(name, provider_as_source(Arc::new(table)), None)?.build()?)
}

/// The rows of all plans, which have the same columns; nothing of none.
pub(crate) fn union(plans: impl IntoIterator<Item = LogicalPlan>) -> Result<Option<LogicalPlan>> {
    let mut plans = plans.into_iter();
    let Some(first) = plans.next() else { return Ok(None) };
    plans.try_fold(first, |all, plan| Ok(LogicalPlanBuilder::from(all).union(plan)?.build()?)).map(Some)
}

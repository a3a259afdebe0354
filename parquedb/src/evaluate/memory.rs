//! Rows in memory as plans.

use crate::error::Result;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::Result as DataFusionResult;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::{MemTable, TableProvider, TableType, provider_as_source};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::{ExecutionPlan, collect};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Mutex;

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

/// The rows of a plan, which are read into memory when a plan over them is made: once for each selection of
/// columns, however many plans there are. They must be few.
pub(crate) fn read_once(name: &str, rows: LogicalPlan) -> Result<LogicalPlan> {
    let schema = Arc::new(rows.schema().as_arrow().clone());
    let provider = ReadOnce { schema, rows, read: Mutex::default() };
    Ok(LogicalPlanBuilder::scan(name, provider_as_source(Arc::new(provider)), None)?.build()?)
}

#[derive(Debug)]
struct ReadOnce {
    schema: SchemaRef,
    rows: LogicalPlan,
    /// By the columns that were selected.
    read: Mutex<HashMap<Vec<usize>, Vec<RecordBatch>>>,
}

#[async_trait]
impl TableProvider for ReadOnce {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let all = || (0..self.schema.fields().len()).collect();
        let columns: Vec<usize> = projection.cloned().unwrap_or_else(all);
        let schema = Arc::new(self.schema.project(&columns)?);
        let mut read = self.read.lock().await;
        if !read.contains_key(&columns) {
            let selected = columns.iter().map(|at| Expr::Column(self.rows.schema().columns()[*at].clone()));
            let plan = LogicalPlanBuilder::from(self.rows.clone()).project(selected)?.build()?;
            let plan = in_parallel(state.create_physical_plan(&plan).await?, state)?;
            let batches = collect(plan, state.task_ctx()).await?;
            let conformed = batches.iter().map(|batch| Ok(batch.clone().with_schema(Arc::clone(&schema))?));
            let conformed = conformed.collect::<DataFusionResult<Vec<_>>>()?;
            read.insert(columns.clone(), conformed);
        }
        let batches = read.get(&columns).cloned().unwrap_or_default();
        Ok(MemorySourceConfig::try_new_exec(&[batches], schema, None)?)
    }
}

/// A plan whose files are read in as many parts as there are partitions. DataFusion leaves that out where nothing but
/// reading is to be done; but few rows of many pages cost their decompression, and that is worth all cores.
fn in_parallel(
    plan: Arc<dyn ExecutionPlan>,
    state: &dyn Session,
) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
    let (partitions, options) = (state.config().target_partitions(), state.config_options());
    let divided = plan.transform_up(|node| match node.repartitioned(partitions, options)? {
        Some(divided) if node.children().is_empty() => Ok(Transformed::yes(divided)),
        _ => Ok(Transformed::no(node)),
    })?;
    Ok(divided.data)
}

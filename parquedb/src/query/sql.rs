//! SQL over a snapshot: every collection and view is a table, named like its handle.

use crate::commit::snapshot::Snapshot;
use crate::db::Connection;
use crate::error::{Error, Result};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::Result as DataFusionResult;
use datafusion::dataframe::DataFrame;
use datafusion::datasource::{TableProvider, TableType, ViewTable};
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use std::sync::Arc;

/// Plans a query. Statements that would change something are refused.
pub(crate) async fn sql(connection: &Connection, snapshot: &Snapshot, query: &str) -> Result<DataFrame> {
    let session = SessionContext::new_with_state(connection.session().state());
    let maintainer = connection.maintainer(snapshot).await?;
    for definition in maintainer.catalog.definitions().values() {
        let table: Arc<dyn TableProvider> = match connection.readable(snapshot, definition.name()).await {
            Ok(plan) => Arc::new(ViewTable::new(plan, None)),
            Err(error) => Arc::new(Unreadable { schema: Arc::clone(definition.schema()), error }),
        };
        session.register_table(definition.table(), table)?;
    }
    let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    Ok(session.sql_with_options(query, read_only).await?)
}

/// A view that must be rebuilt first: an error for the query that reads it, not for the others.
#[derive(Debug)]
struct Unreadable {
    schema: SchemaRef,
    error: Error,
}

#[async_trait]
impl TableProvider for Unreadable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _: &dyn Session,
        _: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        Err(self.error.clone().into())
    }
}

//! SQL over a snapshot: every collection and view is a table, named like its handle.

use crate::commit::snapshot::Snapshot;
use crate::db::Connection;
use crate::error::{Error, Result};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
    MemorySchemaProvider, Session,
};
use datafusion::common::Result as DataFusionResult;
use datafusion::dataframe::DataFrame;
use datafusion::datasource::{TableProvider, TableType, ViewTable};
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use std::sync::Arc;

/// Plans a query. Statements that would change something are refused.
pub(crate) async fn sql(connection: &Connection, snapshot: &Snapshot, query: &str) -> Result<DataFrame> {
    // Tables of its own: the state's catalog is shared, and other queries read other snapshots.
    let tables = MemoryCatalogProvider::new();
    tables.register_schema("public", Arc::new(MemorySchemaProvider::new()))?;
    let catalogs = MemoryCatalogProviderList::new();
    catalogs.register_catalog("parquedb".to_owned(), Arc::new(tables));
    let state = SessionStateBuilder::new_from_existing(connection.session().state())
        .with_catalog_list(Arc::new(catalogs))
        .build();
    let session = SessionContext::new_with_state(state);
    let maintainer = connection.maintainer(snapshot).await?;
    for definition in maintainer.catalog.definitions().values() {
        let table: Arc<dyn TableProvider> = match connection.readable(snapshot, definition.name()).await {
            Ok(plan) => Arc::new(ViewTable::new(plan, None)),
            Err(error) => Arc::new(Unreadable { schema: Arc::clone(definition.schema()), error }),
        };
        session.register_table(definition.table(), table)?;
    }
    let read_only =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    session.sql_with_options(query, read_only).await.map_err(|error| {
        let unknown_table = error.to_string().contains("table '") && error.to_string().contains("not found");
        let error = Error::from(error);
        if !unknown_table {
            return error;
        }
        let tables = maintainer.catalog.definitions().values().map(|definition| definition.table());
        let tables = tables.collect::<Vec<_>>().join(", ");
        Error::with_source(error.kind(), format!("{error}; the tables are: {tables}"), error)
    })
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

#[cfg(test)]
#[allow(unreachable_pub, reason = "what the macros emit is public")]
mod tests {
    use crate::{Collection, database};

    #[derive(Collection, Debug, Clone)]
    pub struct Numbers {
        pub number: i64,
    }

    database! { pub struct Db { Numbers } }

    #[tokio::test]
    async fn every_query_reads_its_own_snapshot() {
        let db = Db::builder().open("memory:///").await.unwrap();
        let early = db.sql("select * from numbers").await.unwrap();
        db.numbers.insert(Numbers { number: 7 }).await.unwrap();
        let late = db.sql("select * from numbers").await.unwrap();
        assert_eq!(early.count().await.unwrap(), 0);
        assert_eq!(late.count().await.unwrap(), 1);
    }
}

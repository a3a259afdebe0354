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
use std::fmt;
use std::sync::Arc;

/// A session whose tables are those of a snapshot. Queries of the same snapshot share it.
#[derive(Clone)]
pub(crate) struct Tables {
    snapshot: Arc<Snapshot>,
    session: SessionContext,
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tables").field("seq", &self.snapshot.seq).finish_non_exhaustive()
    }
}

/// Plans a query. Statements that would change something are refused.
pub(crate) async fn sql(connection: &Connection, snapshot: &Arc<Snapshot>, query: &str) -> Result<DataFrame> {
    let known = connection.tables().clone();
    let session = match known.filter(|tables| Arc::ptr_eq(&tables.snapshot, snapshot)) {
        Some(tables) => tables.session,
        None => {
            let session = session_of(connection, snapshot).await?;
            // Of the past nothing is kept.
            if snapshot.seq == connection.seq() {
                let tables = Tables { snapshot: Arc::clone(snapshot), session: session.clone() };
                *connection.tables() = Some(tables);
            }
            session
        }
    };
    let read_only =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let error = match session.sql_with_options(query, read_only).await {
        Ok(planned) => return Ok(planned),
        Err(error) => error,
    };
    let unknown_table = error.to_string().contains("table '") && error.to_string().contains("not found");
    let error = Error::from(error);
    if !unknown_table {
        return Err(error);
    }
    let maintainer = connection.maintainer(snapshot).await?;
    let tables = maintainer.catalog.definitions().values().map(|definition| definition.table());
    let tables = tables.collect::<Vec<_>>().join(", ");
    Err(Error::with_source(error.kind(), format!("{error}; the tables are: {tables}"), error))
}

async fn session_of(connection: &Connection, snapshot: &Snapshot) -> Result<SessionContext> {
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
    Ok(session)
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
    use crate::{Collection, database, views};

    #[derive(Collection, Debug, Clone)]
    pub struct Numbers {
        pub number: i64,
    }

    views! {
        pub(crate) Endings: {
            $from: Numbers,
            $groupBy: [{ ending: number % 10 }],
            $compute: { count: $count(*), total: $sum(number), mean: $avg(number) },
        }
    }

    database! { pub struct Db { Numbers, Endings } }

    #[tokio::test]
    async fn a_view_of_one_file_of_merged_states_is_read_without_merging() {
        let db = Db::builder().open("memory:///").await.unwrap();
        let query = "select * from endings order by ending";
        let plan = || async {
            let rows = db.sql(&format!("explain {query}")).await.unwrap().to_string().await.unwrap();
            let is_merging = rows.contains("AggregateExec");
            (is_merging, db.sql(query).await.unwrap().to_string().await.unwrap())
        };
        for number in 0..300 {
            db.numbers.insert(Numbers { number }).await.unwrap();
        }
        let (is_merging, before) = plan().await;
        assert!(is_merging, "there are many states of each group");
        db.maintain().await.unwrap();
        let (is_merging, after) = plan().await;
        assert!(!is_merging);
        assert_eq!(before, after);
        assert!(after.contains("| 7      | 30    | 4560  | 152.0 |"), "{after}");
        db.numbers.insert(Numbers { number: 300 }).await.unwrap();
        let (is_merging, later) = plan().await;
        assert!(is_merging && later != after, "{later}");
    }

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

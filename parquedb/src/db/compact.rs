//! Compaction of a database: of rows as the log does it, of states by the plans of their views.

use super::Connection;
use crate::commit::snapshot::Snapshot;
use crate::commit::{CompactOptions, CompactReport, MergeStates, VerifiedFile};
use crate::error::{Error, Result};
use crate::evaluate::session::session;
use crate::evaluate::view;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Connection {
    /// Joins small files of collections and views into larger ones, and merges the states that grouping
    /// views have stored since, so that each file has one row of each group. Reading then costs as much as
    /// if everything had been written at once.
    ///
    /// No snapshot changes, no row, and no result of a view: sums are exact, of floats too. What was replaced stays
    /// until [`Connection::collect_garbage`] takes it. Writers, here and in other processes, go on meanwhile;
    /// where one of them replaces the same rows, the result is dropped and the report says so.
    ///
    /// [`Connection::maintain`] does this when it is worth it.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] for a file that is not what was written, after the others were done:
    /// that file was not replaced. [`crate::ErrorKind::Invalid`] for options that cannot be, or a database
    /// opened for reading only; [`crate::ErrorKind::Unavailable`] when the store does not answer.
    pub async fn compact(&self, options: CompactOptions) -> Result<CompactReport> {
        let merge = States(self.clone());
        self.0.log.compact(options, Some(Arc::new(merge))).await
    }

    /// Whether there are files that [`Connection::compact`] would join.
    pub(super) async fn is_compaction_due(&self, options: &CompactOptions) -> Result<bool> {
        self.0.log.is_compaction_due(options, &States(self.clone())).await
    }
}

/// The states of the database's grouping views.
#[derive(Debug)]
struct States(Connection);

#[async_trait]
impl MergeStates for States {
    async fn tables(&self, snapshot: &Snapshot) -> Result<BTreeSet<String>> {
        Ok(self.0.maintainer(snapshot).await?.catalog.mergeable(snapshot))
    }

    async fn merge(
        &self,
        snapshot: &Snapshot,
        table: &str,
        files: Vec<VerifiedFile>,
    ) -> Result<Vec<RecordBatch>> {
        let maintainer = self.0.maintainer(snapshot).await?;
        let catalog = &maintainer.catalog;
        // The very bytes that were verified are read, as a snapshot's files are.
        let verified = InMemory::new();
        let mut wanted = Vec::with_capacity(files.len());
        for VerifiedFile { file, bytes } in files {
            verified.put(&Path::from(file.path.as_str()), bytes.into()).await.map_err(kept_in_memory)?;
            wanted.push(file);
        }
        // One partition: states are merged in the order of their commits.
        let session = session(Arc::new(verified) as Arc<dyn ObjectStore>, 1)?;
        let plan = catalog.merged_states(table, wanted)?;
        let batches = session.execute_logical_plan(plan).await?.collect().await;
        let batches = batches.map_err(|error| Error::from(error).context(format!("view `{table}`")))?;
        let stored = catalog.stored_schema(table)?;
        let filled = batches.iter().filter(|batch| batch.num_rows() > 0);
        filled.map(|batch| view::conform(batch, stored, table)).collect()
    }
}

fn kept_in_memory(error: object_store::Error) -> Error {
    Error::with_source(crate::ErrorKind::Invalid, "cannot keep a file in memory", error)
}

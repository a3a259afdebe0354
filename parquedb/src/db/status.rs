//! What can be said of each view: its state, its size, how far it is behind.

use super::{At, Connection};
use crate::commit::history::ExpiredInfo;
use crate::commit::snapshot::{Snapshot, Table, removed_table};
use crate::declare::definition::ViewDefinition;
use crate::declare::plan::Refresh;
use crate::error::Result;
use crate::evaluate::catalog::Catalog;
use crate::evaluate::scan::commits_of;
use crate::maintain::Freshness;
use crate::maintain::freshness::freshness;
use crate::maintain::schedule::next_due;
use crate::types::Timestamp;
use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, UInt64Type};
use serde::Serialize;
use std::collections::BTreeSet;

/// The status of a view.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ViewStatus {
    /// The Rust struct's name.
    pub name: String,
    /// Its name in SQL.
    pub table: String,
    /// What it is computed from, by name.
    pub source: String,
    /// When it absorbs changes.
    pub refresh: Refresh,
    /// Whether it holds what its definition gives.
    #[serde(flatten)]
    pub freshness: Freshness,
    /// Its rows; nothing while it is invalid or cannot be computed.
    pub rows: Option<u64>,
    /// What has expired of it, if something has.
    pub expired: Option<ExpiredInfo>,
    /// Its Parquet files.
    pub files: u64,
    /// Their size with that of what still lives inside commits, in bytes.
    pub bytes: u64,
    /// The commit up to which it has absorbed its source.
    pub seq: Option<u64>,
    /// How far it is behind.
    pub lag: Lag,
    /// When it was last refreshed.
    pub refreshed: Option<Timestamp>,
    /// When it is next due, if it has a schedule.
    pub next_due: Option<Timestamp>,
    /// Why it could not be refreshed or read, if so.
    pub error: Option<String>,
}

/// What a view has not absorbed. All zero for a fresh one; counted for the direct source. Where that is a
/// grouping view whose states [`Connection::compact`] has merged, nobody knows any more how many commits
/// they came in: a file of merged states then counts as one commit that changed all groups in the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Lag {
    /// Commits that changed its source.
    pub commits: u64,
    /// Rows its source got.
    pub rows: u64,
    /// Time since it was last refreshed, in microseconds.
    pub micros: i64,
}

impl Connection {
    /// The status of every view, each after its source.
    ///
    /// # Errors
    /// As reading the views.
    pub async fn status(&self) -> Result<Vec<ViewStatus>> {
        let snapshot = self.snapshot_at(At::Newest).await?;
        let maintainer = self.maintainer(&snapshot).await?;
        let mut result = Vec::new();
        for view in maintainer.catalog.views() {
            let state = freshness(&maintainer.catalog, &snapshot, &view.name)?;
            let table = snapshot.tables.get(&view.name);
            let cursor = snapshot.cursors.get(&view.name);
            let failure = self.failures().get(&view.name).map(|failure| failure.message.clone());
            let (rows, error) = match &state {
                Freshness::Invalid { .. } => (None, failure),
                // A view whose values cannot be read, such as a sum out of its type, must not hide the others.
                _ => match self.count_rows(&maintainer.catalog, &snapshot, view).await {
                    Ok(rows) => (Some(rows), failure),
                    Err(error) => (None, Some(error.to_string())),
                },
            };
            let refreshed = cursor.map(|cursor| Timestamp::from_micros(cursor.refreshed));
            let lag = match (&state, cursor) {
                (Freshness::Stale, Some(cursor)) => {
                    let (mut commits, mut rows) = (0, 0);
                    for (source, seen) in &cursor.sources {
                        // Rows that came, and rows that went.
                        let mut of_source = BTreeSet::new();
                        for name in [source.clone(), removed_table(source)] {
                            if let Some(table) = snapshot.tables.get(&name) {
                                rows += self.behind(&name, table, seen.seq, &mut of_source).await?;
                            }
                        }
                        commits += of_source.len() as u64;
                    }
                    Lag {
                        commits,
                        rows,
                        micros: self.now().as_micros().saturating_sub(cursor.refreshed).max(0),
                    }
                }
                _ => Lag::default(),
            };
            result.push(ViewStatus {
                name: view.name.clone(),
                table: view.table.clone(),
                source: view.plan.source_names(),
                refresh: view.refresh.clone(),
                rows,
                expired: table.and_then(|table| table.expired.as_ref()).map(ExpiredInfo::from),
                files: table.map_or(0, |table| table.files.len() as u64),
                bytes: table.map_or(0, |table| size(table)),
                seq: cursor.map(|cursor| cursor.seq()),
                lag,
                next_due: match refreshed {
                    Some(last) => next_due(&view.refresh, last)?,
                    None => None,
                },
                refreshed,
                error,
                freshness: state,
            });
        }
        Ok(result)
    }

    async fn count_rows(&self, catalog: &Catalog, snapshot: &Snapshot, view: &ViewDefinition) -> Result<u64> {
        let plan = catalog.rows(snapshot, &view.name)?;
        Ok(self.session().execute_logical_plan(plan).await?.count().await? as u64)
    }

    /// The rows of a table after commit `seq`, whose commits are put with the others.
    async fn behind(&self, name: &str, source: &Table, seq: u64, commits: &mut BTreeSet<u64>) -> Result<u64> {
        let inline = source.inline.iter().filter(|run| run.seq > seq);
        commits.extend(inline.clone().map(|run| run.seq));
        let mut rows = inline.map(|run| run.live_rows()).sum::<u64>();
        for file in source.files.iter().filter(|file| file.last_seq > seq) {
            if file.first_seq == file.last_seq || file.merged {
                commits.insert(file.last_seq);
                rows += file.live_rows();
                continue;
            }
            let plan = commits_of(name, file, seq)?;
            let counts = self.session().execute_logical_plan(plan).await?.collect().await?;
            for batch in &counts {
                commits.extend(batch.column(0).as_primitive::<UInt64Type>().values());
                rows += arrow::compute::sum(batch.column(1).as_primitive::<Int64Type>()).unwrap_or(0) as u64;
            }
        }
        Ok(rows)
    }
}

fn size(table: &Table) -> u64 {
    table.files.iter().map(|file| file.size).sum::<u64>()
        + table.inline.iter().map(|run| run.bytes).sum::<u64>()
}

//! Streaming views: their deltas are computed from the batch alone and travel in its commit.

use super::freshness::{Freshness, freshness};
use super::prepared::PreparedView;
use super::refresh::absorbed;
use crate::commit::snapshot::Snapshot;
use crate::commit::{Absorbed, CursorWrite, TableWrite};
use crate::declare::definition::Definition;
use crate::declare::plan::Refresh;
use crate::error::{Error, ErrorKind, Result};
use crate::evaluate::catalog::Catalog;
use arrow::record_batch::RecordBatch;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows of a batch from which on its views are worth computing on several cores.
const ROWS_WORTH_A_TASK: usize = 4096;

/// The catalog with the prepared plans of its streaming views.
#[derive(Debug)]
pub(crate) struct Maintainer {
    pub(crate) catalog: Catalog,
    /// The views of collections, then the views of those, and so on.
    levels: Vec<Vec<Arc<PreparedView>>>,
}

impl Maintainer {
    pub(crate) async fn new(catalog: Catalog) -> Result<Self> {
        let mut level_of: BTreeMap<String, usize> = BTreeMap::new();
        let mut levels: Vec<Vec<Arc<PreparedView>>> = Vec::new();
        for view in catalog.views() {
            let [source] = &view.plan.sources[..] else { continue };
            if !view.plan.joins.is_empty() {
                continue;
            }
            // A view of a grouping view cannot follow from a batch, because its source's rows change;
            // nor can a view of a view that is refreshed at other times.
            let level = match (&view.refresh, catalog.get(source)?) {
                (Refresh::Streaming, Definition::Collection(_)) => 0,
                (Refresh::Streaming, Definition::View(_)) if catalog.appends_rows(source)? => {
                    match level_of.get(source) {
                        Some(level) => level + 1,
                        None => continue,
                    }
                }
                _ => continue,
            };
            let prepared = PreparedView::new(
                view.clone(),
                catalog.hash(&view.name)?.to_owned(),
                Arc::clone(catalog.stored_schema(&view.name)?),
                Arc::clone(catalog.get(source)?.schema()),
            );
            level_of.insert(view.name.clone(), level);
            levels.resize_with(levels.len().max(level + 1), Vec::new);
            levels[level].push(Arc::new(prepared.await?));
        }
        Ok(Self { catalog, levels })
    }

    /// The writes and cursors of a commit that adds `rows` to collections: those rows, and what every
    /// fresh streaming view makes of them. A view that is not fresh is left for its next refresh.
    pub(crate) async fn changes(
        &self,
        snapshot: &Snapshot,
        rows: BTreeMap<String, Vec<RecordBatch>>,
    ) -> Result<(Vec<TableWrite>, Vec<CursorWrite>)> {
        let mut added = rows;
        let collections = added.keys().cloned().collect::<Vec<_>>();
        let mut cursors = Vec::new();
        for level in &self.levels {
            let mut deltas = Vec::new();
            for view in level {
                let Some(source) = added.get(view.source()) else { continue };
                if freshness(&self.catalog, snapshot, &view.definition.name)? == Freshness::Fresh {
                    deltas.push((Arc::clone(view), source.clone()));
                }
            }
            for (view, delta) in run_all(deltas).await? {
                cursors.push(CursorWrite {
                    view: view.definition.name.clone(),
                    definition: view.hash.clone(),
                    sources: absorbed(&view.definition, |_| Absorbed::ThisCommit),
                    alone: true,
                });
                added.insert(view.definition.name.clone(), delta);
            }
        }
        let writes = added
            .into_iter()
            .filter(|(_, batches)| !batches.is_empty())
            .map(|(table, batches)| TableWrite {
                is_view: !collections.contains(&table),
                table,
                batches,
                replace: false,
            })
            .collect();
        Ok((writes, cursors))
    }
}

type Delta = (Arc<PreparedView>, Vec<RecordBatch>);

/// Runs each view over its source's new rows: on several cores when there are enough rows.
async fn run_all(deltas: Vec<Delta>) -> Result<Vec<Delta>> {
    let rows = deltas.first().map_or(0, |(_, rows)| rows.iter().map(RecordBatch::num_rows).sum());
    let mut results = Vec::with_capacity(deltas.len());
    if rows < ROWS_WORTH_A_TASK || deltas.len() < 2 {
        for (view, rows) in deltas {
            let delta = view.delta(&rows).await?;
            results.push((view, delta));
        }
        return Ok(results);
    }
    let tasks = deltas
        .into_iter()
        .map(|(view, rows)| {
            tokio::spawn(async move {
                let delta = view.delta(&rows).await?;
                Ok::<_, Error>((view, delta))
            })
        })
        .collect::<Vec<_>>();
    for task in tasks {
        let result = task.await.map_err(|error| {
            Error::with_source(ErrorKind::Closed, "the task that maintains a view ended early", error)
        })?;
        results.push(result?);
    }
    Ok(results)
}

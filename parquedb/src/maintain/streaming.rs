//! Streaming views: what a commit makes of them travels in it. Where it follows from the commit's rows alone, by
//! plans prepared once; otherwise as a refresh would compute it, over the snapshot with the commit's rows.

use super::expire::check_all_ttls;
use super::explain::check_all_strict;
use super::freshness::{Freshness, freshness};
use super::prepared::PreparedView;
use super::refresh::absorbed;
use super::step::{Engine, TableChange, without_added};
use crate::commit::snapshot::Snapshot;
use crate::commit::{Absorbed, Changes, CursorWrite};
use crate::declare::definition::{Definition, ViewDefinition};
use crate::declare::plan::Refresh;
use crate::error::{Error, ErrorKind, Result};
use crate::evaluate::catalog::Catalog;
use crate::evaluate::view;
use arrow::record_batch::RecordBatch;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Rows of a batch from which on its views are worth computing on several cores.
const ROWS_WORTH_A_TASK: usize = 4096;

/// The catalog with what its streaming views need.
#[derive(Debug)]
pub(crate) struct Maintainer {
    pub(crate) catalog: Catalog,
    /// The streaming views of collections alone, then those that are computed from these too, and so on.
    levels: Vec<Vec<Streaming>>,
}

#[derive(Debug, Clone)]
struct Streaming {
    name: String,
    /// For a view of one source: what is added or removed there is all it needs.
    prepared: Option<Arc<PreparedView>>,
}

/// The rows that a member gets and loses, as its readers see them.
#[derive(Debug, Clone, Default)]
struct Rows {
    come: Vec<RecordBatch>,
    gone: Vec<RecordBatch>,
}

/// A commit under construction.
struct Building {
    changes: Changes,
    /// The members that change.
    touched: BTreeSet<String>,
    /// What members get and lose, where it is known without looking anything up.
    rows: BTreeMap<String, Rows>,
}

impl Maintainer {
    pub(crate) async fn new(catalog: Catalog) -> Result<Self> {
        check_all_strict(&catalog)?;
        check_all_ttls(&catalog)?;
        let mut level_of: BTreeMap<String, usize> = BTreeMap::new();
        let mut levels: Vec<Vec<Streaming>> = Vec::new();
        for view in catalog.views() {
            if view.refresh != Refresh::Streaming {
                continue;
            }
            let mut level = Some(0);
            for member in view.plan.members() {
                if let Definition::View(_) = catalog.get(member)? {
                    // A view that is refreshed at other times does not change with a batch.
                    level = level.zip(level_of.get(member)).map(|(level, below)| level.max(below + 1));
                }
            }
            let Some(level) = level else { continue };
            let is_alone = view.plan.sources.len() == 1 && view.plan.joins.is_empty();
            let prepared = match is_alone {
                true => Some(Arc::new(PreparedView::new(&catalog, view).await?)),
                false => None,
            };
            level_of.insert(view.name.clone(), level);
            levels.resize_with(levels.len().max(level + 1), Vec::new);
            levels[level].push(Streaming { name: view.name.clone(), prepared });
        }
        Ok(Self { catalog, levels })
    }

    /// The commit that changes collections in this way: with what every fresh streaming view makes of it. A
    /// view that is not fresh is left for its next refresh.
    pub(crate) async fn changes(
        &self,
        engine: &Engine<'_>,
        snapshot: &Snapshot,
        collections: BTreeMap<String, TableChange>,
    ) -> Result<Changes> {
        let mut building = Building {
            changes: Changes { base: Some(snapshot.seq), ..Changes::default() },
            touched: BTreeSet::new(),
            rows: BTreeMap::new(),
        };
        for (name, change) in collections {
            if !change.is_empty() {
                building.add(&name, false, change, snapshot)?;
            }
        }
        for level in &self.levels {
            let mut alone = Vec::new();
            let mut others = Vec::new();
            for Streaming { name, prepared } in level {
                let mut members = self.catalog.view(name)?.plan.triggers();
                if !members.any(|member| building.touched.contains(member))
                    || freshness(&self.catalog, snapshot, name)? != Freshness::Fresh
                {
                    continue;
                }
                let known =
                    prepared.as_ref().and_then(|view| Some((view, building.rows.get(view.source())?)));
                match known {
                    Some((view, rows))
                        if rows.gone.is_empty() || !view::groups(&view.definition) || view.can_negate() =>
                    {
                        alone.push((Arc::clone(view), rows.clone()));
                    }
                    _ => others.push(name),
                }
            }
            for (view, rows) in run_all(alone).await? {
                let definition = &view.definition;
                // What was looked up must still hold when the commit comes to be.
                let mut alone = true;
                let change = if view::groups(definition) {
                    let mut plus = rows.come;
                    plus.extend(view.negated(&rows.gone).await?);
                    match view.keeps_candidates() && !rows.gone.is_empty() {
                        true => {
                            alone = false;
                            let now = snapshot.with(&building.changes, snapshot.time)?;
                            engine.take_back(&now, definition, plus, &rows.gone).await
                        }
                        false => Ok(TableChange { plus, ..TableChange::default() }),
                    }
                } else {
                    engine.change_rows(snapshot, definition, rows.come, rows.gone).await
                };
                let change = change.map_err(|error| error.context(format!("view `{}`", definition.name)))?;
                building.add_view(definition, &view.hash, alone, change, snapshot)?;
            }
            for name in others {
                let view = self.catalog.view(name)?;
                let now = snapshot.with(&building.changes, snapshot.time)?;
                if let Some(change) = engine.step(&now, name).await? {
                    building.add_view(view, self.catalog.hash(name)?, false, change, snapshot)?;
                }
            }
        }
        Ok(building.changes)
    }
}

impl Building {
    fn add(&mut self, name: &str, is_view: bool, change: TableChange, snapshot: &Snapshot) -> Result<()> {
        self.touched.insert(name.to_owned());
        let come = change.plus.clone();
        let gone = match &change.minus {
            Some(located) if located.rows.num_rows() > 0 => vec![without_added(&located.rows)?],
            _ => Vec::new(),
        };
        self.rows.insert(name.to_owned(), Rows { come, gone });
        change.add_to(name, is_view, snapshot, &mut self.changes);
        Ok(())
    }

    fn add_view(
        &mut self,
        view: &ViewDefinition,
        hash: &str,
        alone: bool,
        change: TableChange,
        snapshot: &Snapshot,
    ) -> Result<()> {
        self.changes.cursors.push(CursorWrite {
            view: view.name.clone(),
            definition: hash.to_owned(),
            sources: absorbed(view, |_| Absorbed::ThisCommit),
            alone,
        });
        if change.is_empty() {
            return Ok(());
        }
        self.add(&view.name, true, change, snapshot)?;
        if view::groups(view) {
            // Its readers see neither the states that come nor those that go.
            self.rows.remove(&view.name);
        }
        Ok(())
    }
}

type Delta = (Arc<PreparedView>, Rows);

/// Runs each view over what its source gets and loses: on several cores when there are enough rows.
async fn run_all(deltas: Vec<Delta>) -> Result<Vec<Delta>> {
    let count = |rows: &Rows| rows.come.iter().chain(&rows.gone).map(RecordBatch::num_rows).sum::<usize>();
    let rows = deltas.first().map_or(0, |(_, rows)| count(rows));
    let mut results = Vec::with_capacity(deltas.len());
    if rows < ROWS_WORTH_A_TASK || deltas.len() < 2 {
        for (view, rows) in deltas {
            results.push(run(view, rows).await?);
        }
        return Ok(results);
    }
    let tasks = deltas.into_iter().map(|(view, rows)| tokio::spawn(run(view, rows))).collect::<Vec<_>>();
    for task in tasks {
        let result = task.await.map_err(|error| {
            Error::with_source(ErrorKind::Closed, "the task that maintains a view ended early", error)
        })?;
        results.push(result?);
    }
    Ok(results)
}

async fn run(view: Arc<PreparedView>, rows: Rows) -> Result<Delta> {
    let come = view.delta(&rows.come).await?;
    let gone = view.delta(&rows.gone).await?;
    Ok((view, Rows { come, gone }))
}

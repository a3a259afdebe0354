//! Bringing views forward together: all to one snapshot, in one commit, so that a view over two of them
//! never sees one without the other.

use super::step::{Engine, TableChange};
use crate::commit::snapshot::Snapshot;
use crate::commit::{Absorbed, Changes, CursorWrite};
use crate::declare::definition::ViewDefinition;
use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// Views brought to a snapshot, and the database as it is with them.
#[derive(Debug)]
pub(crate) struct Refreshed {
    /// The commit that does it.
    pub(crate) changes: Changes,
    /// The database with that commit.
    pub(crate) snapshot: Snapshot,
    /// The views that changed, each after its sources.
    pub(crate) views: Vec<String>,
    /// The views that could not be computed. Those that are computed from them were left as they are.
    pub(crate) failures: BTreeMap<String, Error>,
}

/// Brings views, given each after its sources, to a snapshot.
pub(crate) async fn refresh(
    engine: &Engine<'_>,
    snapshot: &Snapshot,
    wanted: &[String],
) -> Result<Refreshed> {
    let mut refreshed = Refreshed::nothing(snapshot);
    for name in wanted {
        let view = engine.catalog.view(name)?;
        if view.plan.members().any(|member| refreshed.failures.contains_key(member)) {
            continue;
        }
        let step = engine.step(&refreshed.snapshot, name).await;
        let change = match step {
            Ok(Some(change)) => change,
            Ok(None) => continue,
            Err(error) => {
                refreshed.failures.insert(name.clone(), error);
                continue;
            }
        };
        refreshed.add(engine, view, change)?;
    }
    Ok(refreshed)
}

/// Builds a view anew from all rows of its sources, whatever it holds. Where it has counted rows that have expired,
/// only if these are to be given up.
pub(crate) async fn rebuild(
    engine: &Engine<'_>,
    snapshot: &Snapshot,
    name: &str,
    gives_up_expired: bool,
) -> Result<Refreshed> {
    let mut refreshed = Refreshed::nothing(snapshot);
    let view = engine.catalog.view(name)?;
    let change = match gives_up_expired {
        true => engine.build(snapshot, view).await,
        false => engine.rebuild(snapshot, view).await,
    };
    refreshed.add(engine, view, change.map_err(|error| error.context(format!("view `{name}`")))?)?;
    Ok(refreshed)
}

impl Refreshed {
    fn nothing(snapshot: &Snapshot) -> Self {
        Self {
            changes: Changes { base: Some(snapshot.seq), ..Changes::default() },
            snapshot: snapshot.clone(),
            views: Vec::new(),
            failures: BTreeMap::new(),
        }
    }

    /// Brings one more view forward, whose sources are where they will be.
    fn add(&mut self, engine: &Engine<'_>, view: &ViewDefinition, change: TableChange) -> Result<()> {
        let name = &view.name;
        let base = self.changes.base.unwrap_or(self.snapshot.seq);
        let mut own = Changes { base: Some(self.snapshot.seq), ..Changes::default() };
        change.add_to(name, true, &self.snapshot, &mut own);
        own.cursors.push(CursorWrite {
            view: name.clone(),
            definition: engine.catalog.hash(name)?.to_owned(),
            // A source that is brought forward here is absorbed with what it gets here.
            sources: absorbed(view, |member| match self.views.iter().any(|view| view == member) {
                true => Absorbed::ThisCommit,
                false => Absorbed::Through(base),
            }),
            alone: false,
        });
        self.snapshot = self.snapshot.with(&own, self.snapshot.time)?;
        self.changes.writes.extend(own.writes);
        self.changes.removals.extend(own.removals);
        self.changes.cursors.extend(own.cursors);
        self.views.push(name.clone());
        Ok(())
    }
}

/// How far a view has absorbed each of its sources.
pub(crate) fn absorbed(
    view: &ViewDefinition,
    how_far: impl Fn(&str) -> Absorbed,
) -> BTreeMap<String, Absorbed> {
    view.plan.members().map(|member| (member.to_owned(), how_far(member))).collect()
}

//! Refreshing views: on demand, when their schedules are due, or in a loop.

use super::{At, Connection};
use crate::commit::snapshot::Snapshot;
use crate::declare::definition::ViewDefinition;
use crate::declare::plan::Refresh;
use crate::error::{Error, ErrorKind, Result};
use crate::evaluate::catalog::Catalog;
use crate::maintain::explain::{Explanation, explain};
use crate::maintain::freshness::{Freshness, freshness};
use crate::maintain::refresh::{rebuild, refresh};
use crate::maintain::schedule::next_due;
use crate::maintain::step::Engine;
use crate::maintain::streaming::Maintainer;
use crate::maintain::verify::{Verification, verify};
use crate::types::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::task::JoinHandle;

/// A view's failed attempts since it was last refreshed.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) attempts: u32,
    pub(super) message: String,
    /// Not before this time, in microseconds since 1970.
    pub(super) retry_at: i64,
}

impl Failure {
    fn next(before: Option<&Failure>, error: &Error, now: i64) -> Self {
        let attempts = before.map_or(0, |failure| failure.attempts) + 1;
        // One second, doubled by each failure, at most five minutes.
        let wait = Duration::from_secs(1 << (attempts - 1).min(9)).min(Duration::from_secs(300));
        let wait = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
        Self { attempts, message: error.to_string(), retry_at: now.saturating_add(wait) }
    }
}

impl Connection {
    /// Refreshes every view that is due at `now`: scheduled views by their schedule, however many times
    /// were missed, and streaming views that are not up to date, such as one that was added to a
    /// database with rows. Views come after their sources. Gives the names of those that changed.
    ///
    /// A view that fails is tried again later, at growing intervals; its status tells why. The others
    /// are refreshed all the same.
    ///
    /// # Errors
    /// The first view's error, after all were tried.
    pub async fn run_due(&self, now: Timestamp) -> Result<Vec<String>> {
        let snapshot = self.0.log.catch_up().await?;
        let maintainer = self.maintainer(&snapshot).await?;
        let mut due = BTreeSet::new();
        for view in maintainer.catalog.views() {
            if self.is_due(view, now).await? {
                due.insert(view.name.clone());
            }
        }
        let Done { changed, failures } = self.refresh_all(due).await?;
        match failures.into_values().next() {
            None => Ok(changed),
            Some(error) => Err(error),
        }
    }

    async fn is_due(&self, view: &ViewDefinition, now: Timestamp) -> Result<bool> {
        if self.failures().get(&view.name).is_some_and(|failure| failure.retry_at > now.as_micros()) {
            return Ok(false);
        }
        let snapshot = self.0.log.snapshot();
        let maintainer = self.maintainer(&snapshot).await?;
        Ok(match (&view.refresh, freshness(&maintainer.catalog, &snapshot, &view.name)?) {
            (_, Freshness::Fresh) | (Refresh::Manual, _) => false,
            (_, Freshness::Invalid { .. }) | (Refresh::Streaming, Freshness::Stale) => true,
            (Refresh::Scheduled { .. }, Freshness::Stale) => {
                let last = snapshot.cursors.get(&view.name).map_or(0, |cursor| cursor.refreshed);
                next_due(&view.refresh, Timestamp::from_micros(last))?.is_some_and(|due| due <= now)
            }
        })
    }

    /// Runs [`Connection::maintain`] about every `interval` until the returned loop is stopped or dropped:
    /// views are refreshed when they are due, small files joined, garbage collected. Several processes may
    /// run it for one database at once. Failures are logged and tried again.
    #[must_use = "the loop ends when it is dropped"]
    pub fn spawn_maintenance(&self, interval: Duration) -> MaintenanceLoop {
        let connection = self.clone();
        MaintenanceLoop(tokio::spawn(async move { connection.maintain_for_ever(interval).await }))
    }

    /// Brings a view to the present, and its sources with it. Gives whether anything changed.
    ///
    /// # Errors
    /// As [`crate::View::refresh`], and [`ErrorKind::NotFound`] when there is no such view.
    pub async fn refresh(&self, name: &str) -> Result<bool> {
        let Done { changed, mut failures } = self.refresh_all(BTreeSet::from([name.to_owned()])).await?;
        // The view's own failure tells most.
        let failure = failures.remove(name).or_else(|| failures.into_values().next());
        match failure {
            None => Ok(!changed.is_empty()),
            Some(error) => Err(error),
        }
    }

    /// Builds the views that have rows although no collection behind them has any: those over a view without
    /// group keys. So they need not wait for a first refresh.
    pub(super) async fn build_over_nothing(&self) -> Result<()> {
        let snapshot = self.0.log.snapshot();
        let maintainer = self.maintainer(&snapshot).await?;
        let catalog = &maintainer.catalog;
        let has_rows = |name: &String| snapshot.tables.get(name).is_some_and(|table| table.rows > 0);
        let mut unbuilt = BTreeSet::new();
        for view in catalog.views().filter(|view| !snapshot.cursors.contains_key(&view.name)) {
            let mut behind = with_sources(catalog, BTreeSet::from([view.name.clone()]));
            for name in behind.clone() {
                behind.extend(catalog.view(&name)?.plan.members().map(str::to_owned));
            }
            if !behind.iter().any(|member| catalog.view(member).is_err() && has_rows(member)) {
                unbuilt.insert(view.name.clone());
            }
        }
        match self.refresh_all(unbuilt).await?.failures.into_values().next() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Brings views to the present, with what they are computed from: first each that must be built anew,
    /// in a commit of its own, then all others in one.
    pub(super) async fn refresh_all(&self, wanted: BTreeSet<String>) -> Result<Done> {
        if self.0.read_only {
            return Err(Error::invalid("the database was opened for reading only"));
        }
        let mut done = Done::default();
        if wanted.is_empty() {
            return Ok(done);
        }
        let order = self.refresh_order(wanted).await?;
        for view in &order {
            let snapshot = self.0.log.snapshot();
            let maintainer = self.maintainer(&snapshot).await?;
            if let Freshness::Invalid { .. } = freshness(&maintainer.catalog, &snapshot, view)? {
                self.refresh_together(std::slice::from_ref(view), &mut done).await?;
            }
        }
        self.refresh_together(&order, &mut done).await?;
        Ok(done)
    }

    /// The views `wanted`, what they are computed from, and the streaming views that follow from them: each
    /// after its sources.
    async fn refresh_order(&self, mut wanted: BTreeSet<String>) -> Result<Vec<String>> {
        let snapshot = self.0.log.snapshot();
        let maintainer = self.maintainer(&snapshot).await?;
        let catalog = &maintainer.catalog;
        for name in &wanted {
            catalog.view(name)?;
        }
        wanted = with_sources(catalog, wanted);
        for view in catalog.views() {
            if view.refresh == Refresh::Streaming && view.plan.members().any(|member| wanted.contains(member))
            {
                wanted.insert(view.name.clone());
            }
        }
        Ok(in_order(catalog, wanted))
    }

    /// Brings views, each after its sources, to the present in one commit.
    #[tracing::instrument(name = "refresh", level = "debug", skip_all, fields(view = views.join(", ")))]
    async fn refresh_together(&self, views: &[String], done: &mut Done) -> Result<()> {
        let _writing = self.0.writing.lock().await;
        loop {
            let snapshot = self.0.log.snapshot();
            let maintainer = self.maintainer(&snapshot).await?;
            let views = views.iter().filter(|view| !done.failures.contains_key(*view)).cloned();
            let views = views.collect::<Vec<_>>();
            let refreshed = refresh(&self.engine(&maintainer), &snapshot, &views).await?;
            self.note_failures(refreshed.failures, done);
            if refreshed.views.is_empty() {
                return Ok(());
            }
            match self.0.log.commit(refreshed.changes).await {
                Ok(_) => {
                    let mut failures = self.failures();
                    for view in refreshed.views {
                        failures.remove(&view);
                        if !done.changed.contains(&view) {
                            done.changed.push(view);
                        }
                    }
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    self.0.log.catch_up().await?;
                }
                Err(error) => {
                    let failed = refreshed.views.into_iter().map(|view| (view, error.clone()));
                    self.note_failures(failed.collect(), done);
                    return Ok(());
                }
            }
        }
    }

    /// A snapshot in which a member, and what it is computed from, is brought to the present. Nothing is
    /// written.
    pub(crate) async fn refreshed(&self, snapshot: &Snapshot, member: &str) -> Result<Snapshot> {
        let maintainer = self.maintainer(snapshot).await?;
        let catalog = &maintainer.catalog;
        if catalog.view(member).is_err() {
            return Ok(snapshot.clone());
        }
        let order = in_order(catalog, with_sources(catalog, BTreeSet::from([member.to_owned()])));
        let mut refreshed = refresh(&self.engine(&maintainer), snapshot, &order).await?;
        let failure = refreshed.failures.remove(member).or_else(|| refreshed.failures.into_values().next());
        match failure {
            Some(error) => Err(error),
            None => Ok(refreshed.snapshot),
        }
    }

    /// Builds a view anew from all rows of its sources, whatever it holds, and then the streaming views over it:
    /// see [`crate::View::rebuild`].
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such view, [`ErrorKind::Invalid`] when rows that it has counted have
    /// expired, and as [`crate::View::refresh`].
    pub async fn rebuild(&self, view: &str) -> Result<()> {
        self.rebuild_with(view, false).await
    }

    /// As [`Connection::rebuild`], from the rows that are left: what the view has counted of rows that have expired
    /// since is given up. It holds afterwards what its definition gives over what its sources hold now.
    ///
    /// # Errors
    /// As [`Connection::rebuild`].
    pub async fn rebuild_from_remaining(&self, view: &str) -> Result<()> {
        self.rebuild_with(view, true).await
    }

    async fn rebuild_with(&self, view: &str, gives_up_expired: bool) -> Result<()> {
        let snapshot = self.0.log.snapshot();
        let maintainer = self.maintainer(&snapshot).await?;
        let catalog = &maintainer.catalog;
        let above = catalog.view(view)?.plan.members().filter(|member| catalog.view(member).is_ok());
        let above = above.map(str::to_owned).collect::<BTreeSet<_>>();
        let mut failures = self.refresh_all(above.clone()).await?.failures;
        if let Some(error) = above.iter().find_map(|member| failures.remove(member)) {
            return Err(error);
        }
        let writing = self.0.writing.lock().await;
        loop {
            let snapshot = self.0.log.snapshot();
            let maintainer = self.maintainer(&snapshot).await?;
            let rebuilt = rebuild(&self.engine(&maintainer), &snapshot, view, gives_up_expired).await?;
            match self.0.log.commit(rebuilt.changes).await {
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::Conflict => drop(self.0.log.catch_up().await?),
                Err(error) => return Err(error),
            }
        }
        drop(writing);
        self.refresh(view).await.map(drop)
    }

    fn note_failures(&self, failed: BTreeMap<String, Error>, done: &mut Done) {
        let now = self.0.clock.now();
        let mut failures = self.failures();
        for (view, error) in failed {
            let failure = Failure::next(failures.get(&view), &error, now);
            failures.insert(view.clone(), failure);
            done.failures.insert(view, error);
        }
    }

    /// Says how a view is kept: what it stores, what each kind of change costs, and by which plans.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such view.
    pub async fn explain(&self, view: &str) -> Result<Explanation> {
        let snapshot = self.snapshot_at(At::Newest).await?;
        let maintainer = self.maintainer(&snapshot).await?;
        explain(&self.engine(&maintainer), &snapshot, view)
    }

    /// Computes a view again from its sources, as they were at its cursor, and compares: all of it, or about so
    /// many of its groups. See [`crate::View::verify`].
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such view, and as [`crate::View::verify`].
    pub async fn verify(&self, name: &str, sample: Option<usize>) -> Result<Verification> {
        let snapshot = self.snapshot_at(At::Newest).await?;
        let maintainer = self.maintainer(&snapshot).await?;
        let chance = u64::try_from(uuid::Uuid::new_v4().as_u128() >> 64).unwrap_or(0);
        verify(&self.engine(&maintainer), &snapshot, name, sample, chance).await
    }

    /// What computing views takes.
    pub(crate) fn engine<'a>(&'a self, maintainer: &'a Maintainer) -> Engine<'a> {
        Engine { session: &self.0.session, catalog: &maintainer.catalog, located: &self.0.located }
    }
}

/// The views, and those that they are computed from.
fn with_sources(catalog: &Catalog, mut wanted: BTreeSet<String>) -> BTreeSet<String> {
    for view in catalog.views().collect::<Vec<_>>().into_iter().rev() {
        if wanted.contains(&view.name) {
            let views = view.plan.members().filter(|member| catalog.view(member).is_ok());
            wanted.extend(views.map(str::to_owned));
        }
    }
    wanted
}

/// The views, each after its sources.
fn in_order(catalog: &Catalog, wanted: BTreeSet<String>) -> Vec<String> {
    catalog.views().filter(|view| wanted.contains(&view.name)).map(|view| view.name.clone()).collect()
}

/// What became of views that were to be refreshed.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) changed: Vec<String>,
    pub(super) failures: BTreeMap<String, Error>,
}

/// A running maintenance loop. Dropping it stops it.
#[derive(Debug)]
pub struct MaintenanceLoop(JoinHandle<()>);

impl MaintenanceLoop {
    /// Stops the loop. A commit under way is finished.
    pub fn stop(self) {}
}

impl Drop for MaintenanceLoop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

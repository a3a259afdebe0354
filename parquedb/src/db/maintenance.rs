//! Refreshing views: on demand, when their schedules are due, or in a loop.

use super::Connection;
use crate::declare::definition::ViewDefinition;
use crate::declare::plan::Refresh;
use crate::error::{Error, ErrorKind, Result};
use crate::maintain::freshness::{Freshness, freshness};
use crate::maintain::refresh::refresh;
use crate::maintain::schedule::next_due;
use crate::types::Timestamp;
use std::collections::BTreeSet;
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
        let mut changed = Vec::new();
        let mut first_error = None;
        for view in maintainer.catalog.views() {
            if !self.is_due(view, now).await? {
                continue;
            }
            match self.refresh(&view.name).await {
                Ok(true) => changed.push(view.name.clone()),
                Ok(false) => {}
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        match first_error {
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

    /// Brings a view to the present, and its sources before it. Gives whether anything changed.
    pub(super) async fn refresh(&self, name: &str) -> Result<bool> {
        if self.0.read_only {
            return Err(Error::invalid("the database was opened for reading only"));
        }
        let mut changed = false;
        for view in self.refresh_order(name).await? {
            match self.refresh_one(&view).await {
                Ok(this) => {
                    changed |= this;
                    self.failures().remove(&view);
                }
                Err(error) => {
                    let now = self.0.clock.now();
                    let mut failures = self.failures();
                    let failure = Failure::next(failures.get(&view), &error, now);
                    failures.insert(view, failure);
                    return Err(error);
                }
            }
        }
        Ok(changed)
    }

    /// The views above `name`, itself, and the streaming views that a rebuild of it would invalidate.
    async fn refresh_order(&self, name: &str) -> Result<Vec<String>> {
        let snapshot = self.0.log.snapshot();
        let maintainer = self.maintainer(&snapshot).await?;
        let catalog = &maintainer.catalog;
        let mut wanted = BTreeSet::from([catalog.view(name)?.name.clone()]);
        for view in catalog.views().collect::<Vec<_>>().into_iter().rev() {
            if wanted.contains(&view.name) {
                let above = view.plan.members().filter(|member| catalog.view(member).is_ok());
                wanted.extend(above.map(str::to_owned));
            }
        }
        for view in catalog.views() {
            if view.refresh == Refresh::Streaming && view.plan.members().any(|member| wanted.contains(member))
            {
                wanted.insert(view.name.clone());
            }
        }
        Ok(catalog.views().filter(|view| wanted.contains(&view.name)).map(|view| view.name.clone()).collect())
    }

    #[tracing::instrument(name = "refresh", level = "debug", skip_all, fields(view = name))]
    async fn refresh_one(&self, name: &str) -> Result<bool> {
        let _writing = self.0.writing.lock().await;
        loop {
            let snapshot = self.0.log.snapshot();
            let maintainer = self.maintainer(&snapshot).await?;
            let Some(changes) = refresh(&self.0.session, &maintainer.catalog, &snapshot, name).await? else {
                return Ok(false);
            };
            match self.0.log.commit(changes).await {
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    self.0.log.catch_up().await?;
                }
                Err(error) => return Err(error),
            }
        }
    }
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

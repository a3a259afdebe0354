//! What a database needs from time to time, in one call.

use super::{Connection, ExpiryReport};
use crate::commit::snapshot::table_of_removed;
use crate::commit::{Changes, CompactOptions, CompactReport, GarbageOptions, GarbageReport, TableWrite};
use crate::declare::definition::Definition;
use crate::error::{Error, ErrorKind, Result};
use crate::time;
use serde::Serialize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use uuid::Uuid;

/// What [`Connection::maintain`] does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MaintenanceOptions {
    /// How small files are joined; `None` for not at all.
    pub compact: Option<CompactOptions>,
    /// How often garbage is collected by this process; `None` for never. The first time is at once.
    pub collect_every: Option<Duration>,
    /// How often rows that have expired are taken out by this process; `None` for never. The first time is at
    /// once. A row is gone at most so long after it has expired, if the database is maintained.
    pub expire_every: Option<Duration>,
    /// For how long past snapshots can be read: see [`GarbageOptions::retention`]. All processes that
    /// maintain a database should have the same: the shortest one counts.
    pub retention: Duration,
    /// When files that no snapshot names are deleted: see [`GarbageOptions::orphans_after`].
    pub orphans_after: Option<Duration>,
}

impl Default for MaintenanceOptions {
    fn default() -> Self {
        let GarbageOptions { retention, orphans_after, .. } = GarbageOptions::default();
        Self {
            compact: Some(CompactOptions::default()),
            collect_every: Some(Duration::from_secs(3600)),
            expire_every: Some(Duration::from_secs(3600)),
            retention,
            orphans_after,
        }
    }
}

/// What [`Connection::maintain`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Maintained {
    /// The last commit known afterwards.
    pub seq: u64,
    /// The views that were refreshed, by name.
    pub refreshed: Vec<String>,
    /// What has expired, if something has.
    pub expired: Option<ExpiryReport>,
    /// Whether rows inside commits were moved to files.
    pub flushed: bool,
    /// What became of small files, if some were worth joining.
    pub compacted: Option<CompactReport>,
    /// What was deleted, when garbage was collected.
    pub collected: Option<GarbageReport>,
}

/// The first error of several steps.
#[derive(Debug, Default)]
struct First(Option<Error>);

impl First {
    fn keep<T>(&mut self, step: &str, result: Result<T>) -> Option<T> {
        match result {
            Ok(done) => Some(done),
            Err(error) => {
                tracing::warn!(%error, step, "maintenance failed");
                self.0.get_or_insert(error.context(step));
                None
            }
        }
    }
}

impl Connection {
    /// Does what is due: reads what other processes wrote, refreshes views as [`Connection::run_due`], takes rows out
    /// that have expired, as [`Connection::expire`], at most once an hour, moves rows inside commits to files, joins small files where there are enough of them, and deletes
    /// what no kept snapshot needs, at most once an hour. Several processes may do this for one database:
    /// what one has done the others find done.
    ///
    /// Call it from time to time, or let [`Connection::spawn_maintenance`] do so. A database that is never
    /// maintained stays right; it grows, and reading gets slower.
    ///
    /// ```
    /// # use parquedb::{Connection, Database};
    /// # #[tokio::main] async fn main() -> parquedb::Result<()> {
    /// # let db = Connection::builder().open("memory:///").await?;
    /// let done = db.maintain().await?;
    /// println!("refreshed {:?}", done.refreshed);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The first step's that failed, after all were tried. [`crate::ErrorKind::Invalid`] for a database
    /// opened for reading only.
    pub async fn maintain(&self) -> Result<Maintained> {
        if self.0.read_only {
            return Err(Error::invalid("the database was opened for reading only: it cannot be maintained"));
        }
        let options = &self.0.maintenance;
        let mut done = Maintained::default();
        let mut first = First::default();
        let refreshed = self.run_due(self.now()).await;
        done.refreshed = first.keep("refreshing what is due", refreshed).unwrap_or_default();
        if is_due(self.0.maintenance.expire_every, *last(&self.0.expired), self.0.clock.now()) {
            let report = first.keep("taking out what has expired", self.expire().await);
            if report.is_some() {
                *last(&self.0.expired) = Some(self.0.clock.now());
            }
            done.expired = report.filter(|report| !report.tables.is_empty());
        }
        let mut is_flush_due = self.0.log.maintenance_due();
        if let Some(compact) = &options.compact {
            // Then also what is inside commits goes into the files that are joined.
            let is_due = self.is_compaction_due(compact).await;
            is_flush_due |= first.keep("looking for small files", is_due).unwrap_or_default();
        }
        if is_flush_due {
            done.flushed = first.keep("moving rows to files", self.flush().await).is_some();
        }
        if let Some(compact) = &options.compact {
            let report = first.keep("joining small files", self.compact(compact.clone()).await);
            done.compacted = report.filter(|report| report.files_replaced() > 0);
        }
        if done.compacted.is_some() {
            // With a checkpoint, the replaced files can go in time, however quiet the database is.
            done.flushed |= first.keep("writing a checkpoint", self.flush().await).is_some();
        }
        first.keep("forgetting removed rows", self.forget_removed().await);
        if is_due(self.0.maintenance.collect_every, *last(&self.0.collected), self.0.clock.now()) {
            let garbage = GarbageOptions {
                retention: options.retention,
                orphans_after: options.orphans_after,
                dry_run: false,
            };
            done.collected = first.keep("collecting garbage", self.collect_garbage(garbage).await);
            if done.collected.is_some() {
                *last(&self.0.collected) = Some(self.0.clock.now());
            }
        }
        done.seq = self.seq();
        match first.0 {
            None => Ok(done),
            Some(error) => Err(error),
        }
    }

    /// Empties the tables of removed rows that no view has still to absorb. What is inside commits waits until
    /// it is in files: then it is worth a commit.
    async fn forget_removed(&self) -> Result<()> {
        let snapshot = self.0.log.snapshot();
        let mut writes = Vec::new();
        for (name, table) in &snapshot.tables {
            let Some(of) = table_of_removed(name).filter(|_| !table.files.is_empty()) else { continue };
            let mut seen = snapshot.cursors.values().filter_map(|cursor| cursor.sources.get(of));
            if seen.all(|source| source.seq >= table.changed) {
                let is_view = matches!(snapshot.definitions.get(of), Some(Definition::View(_)));
                writes.push(TableWrite { table: name.clone(), is_view, batches: Vec::new(), replace: true });
            }
        }
        if writes.is_empty() {
            return Ok(());
        }
        match self.0.log.commit(Changes { base: Some(snapshot.seq), writes, ..Changes::default() }).await {
            // More was removed meanwhile: next time.
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
            done => done.map(drop),
        }
    }

    /// Runs [`Connection::maintain`] every `interval`, for ever. Each time is earlier or later by up to a
    /// quarter of it, so that processes that were started together do not all do the same at once.
    pub(super) async fn maintain_for_ever(&self, interval: Duration) {
        loop {
            let begun = time::now();
            match self.maintain().await {
                Ok(done) if done.refreshed.is_empty() => {}
                Ok(done) => tracing::info!(views = ?done.refreshed, "refreshed"),
                Err(error) => tracing::warn!(%error, "maintenance failed; it will be repeated"),
            }
            let wait = shaken(interval, Uuid::new_v4().as_u128());
            let least = (interval / 4).max(LEAST_PAUSE);
            let took = time::now().saturating_duration_since(begun);
            time::sleep(wait.saturating_sub(took).max(least)).await;
        }
    }
}

/// Whether something is due again, by when it was last done. Times are microseconds since 1970.
fn is_due(every: Option<Duration>, last: Option<i64>, now: i64) -> bool {
    every.is_some_and(|every| {
        let waited = last.map(|last| u128::try_from(now.saturating_sub(last)).unwrap_or(0));
        waited.is_none_or(|waited| waited >= every.as_micros())
    })
}

fn last(done: &Mutex<Option<i64>>) -> MutexGuard<'_, Option<i64>> {
    done.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Also an interval of nothing leaves the others some time.
const LEAST_PAUSE: Duration = Duration::from_millis(1);

/// A time of three to five quarters of another, by chance.
fn shaken(interval: Duration, chance: u128) -> Duration {
    let part = u32::try_from(chance % 1024).unwrap_or(0);
    interval / 4 * 3 + interval / 2 * part / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_shaken_by_a_quarter_at_most() {
        let interval = Duration::from_secs(60);
        let waits: Vec<_> = (0..2048).map(|chance| shaken(interval, chance)).collect();
        assert_eq!(waits.iter().min(), Some(&Duration::from_secs(45)));
        let longest = waits.iter().max().copied();
        assert!(longest.is_some_and(|wait| wait > Duration::from_secs(74) && wait < Duration::from_secs(75)));
    }
}

//! Retention: rows that are old enough leave their tables, and views keep what they counted.

use super::Connection;
use super::maintenance::Done;
use crate::commit::snapshot::Snapshot;
use crate::commit::{Changes, RunId, TableExpiry};
use crate::error::{Error, ErrorKind, Result};
use crate::maintain::expire::{Due, views_over};
use crate::maintain::freshness::{Freshness, freshness};
use crate::maintain::streaming::Maintainer;
use crate::types::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What [`Connection::expire`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExpiryReport {
    /// The members that lost rows, by name.
    pub tables: BTreeMap<String, ExpiredRows>,
    /// The views that were refreshed first, because they had not absorbed all.
    pub refreshed: Vec<String>,
}

impl ExpiryReport {
    /// Rows that have gone, with the states of groups that have.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.tables.values().map(|table| table.rows).sum()
    }
}

/// Rows of a member that have gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExpiredRows {
    /// How many; of a view that groups, states.
    pub rows: u64,
    /// All were older than this.
    pub before: Timestamp,
    /// Files of which nothing is left.
    pub files: u64,
}

/// Attempts to commit beside other processes.
const ATTEMPTS: usize = 16;

impl Connection {
    /// Takes the rows out that have expired by now, by the database's clock: those of collections with
    /// `#[collection(ttl = "7d", on = timestamp)]`, and those of views with a `$ttl`. All go in one commit, and
    /// snapshots before it still have them. Views keep what they counted.
    ///
    /// Views that have not absorbed all of a table with such rows, scheduled and manual ones too, are refreshed
    /// first. What a view has not absorbed even so stays until it has.
    ///
    /// [`Connection::maintain`] does this, [as often as it says](super::MaintenanceOptions::expire_every).
    ///
    /// # Errors
    /// That of a view which could not be refreshed, after all else is done. [`ErrorKind::Invalid`] for a database
    /// opened for reading only, [`ErrorKind::Unavailable`] when the store does not answer.
    pub async fn expire(&self) -> Result<ExpiryReport> {
        if self.0.read_only {
            return Err(Error::invalid("the database was opened for reading only: no rows can expire"));
        }
        let snapshot = self.0.log.catch_up().await?;
        if snapshot.definitions.values().all(|definition| definition.ttl().is_none()) {
            return Ok(ExpiryReport::default());
        }
        let mut report = ExpiryReport::default();
        let (seq, found, failure) = self.absorb_before_expiry(&mut report).await?;
        let mut found = Some(found);
        for _ in 0..ATTEMPTS {
            let _writing = self.0.writing.lock().await;
            let snapshot = self.0.log.snapshot();
            let maintainer = self.maintainer(&snapshot).await?;
            // What was found before holds as long as nothing has happened since.
            let Due { expiries, .. } = match found.take().filter(|_| snapshot.seq == seq) {
                Some(found) => found,
                None => self.due(&snapshot, &maintainer).await?,
            };
            if expiries.is_empty() {
                return failure.map_or(Ok(report), Err);
            }
            let files = expiries.iter().map(|expiry| {
                let files = snapshot.tables.get(&expiry.rows.table).map(|table| &table.files);
                let of_run = |path: &str| files.and_then(|files| files.iter().find(|file| file.path == path));
                let is_over = |run: &crate::commit::RunRemoval| match &run.run {
                    RunId::File(path) => of_run(path).is_some_and(|file| file.live_rows() == run.rows.len()),
                    RunId::Inline(_) => false,
                };
                expiry.rows.runs.iter().filter(|run| is_over(run)).count() as u64
            });
            let tables = expiries.iter().zip(files).map(|(TableExpiry { rows, before, .. }, files)| {
                let before = Timestamp::from_micros(*before);
                (rows.table.clone(), ExpiredRows { rows: rows.rows(), before, files })
            });
            let tables = tables.collect();
            let changes = Changes { base: Some(snapshot.seq), expiries, ..Changes::default() };
            match self.0.log.commit(changes).await {
                Ok(_) => {
                    report.tables = tables;
                    tracing::info!(url = self.url(), rows = report.rows(), "rows expired");
                    return failure.map_or(Ok(report), Err);
                }
                Err(error) if error.kind() == ErrorKind::Conflict => drop(self.0.log.catch_up().await?),
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(
            ErrorKind::Conflict,
            format!("other processes committed first {ATTEMPTS} times in a row: rows expire the next time"),
        ))
    }

    async fn due(&self, snapshot: &Snapshot, maintainer: &Maintainer) -> Result<Due> {
        self.engine(maintainer).due(snapshot, self.0.clock.now(), &self.0.least_times).await
    }

    /// Refreshes the views that are behind and over tables with rows that have expired. Gives what had expired at
    /// which commit after that, and the error of a view that could not be refreshed, because of which rows stay.
    async fn absorb_before_expiry(&self, report: &mut ExpiryReport) -> Result<(u64, Due, Option<Error>)> {
        let (mut tried, mut failure) = (BTreeSet::new(), None);
        loop {
            let snapshot = self.0.log.snapshot();
            let maintainer = self.maintainer(&snapshot).await?;
            let catalog = &maintainer.catalog;
            let found = self.due(&snapshot, &maintainer).await?;
            let Due { expiries, held_back } = &found;
            let tables =
                expiries.iter().map(|expiry| &expiry.rows.table).chain(held_back).collect::<BTreeSet<_>>();
            let (mut behind, mut stale) = (BTreeSet::new(), BTreeSet::new());
            for view in tables.into_iter().flat_map(|table| views_over(catalog, table)) {
                if tried.contains(view) {
                    continue;
                }
                match freshness(catalog, &snapshot, view)? {
                    Freshness::Fresh => continue,
                    Freshness::Stale => stale.insert(view.to_owned()),
                    // What cannot be built has nothing to lose.
                    Freshness::Invalid { .. } => false,
                };
                behind.insert(view.to_owned());
            }
            if behind.is_empty() {
                return Ok((snapshot.seq, found, failure));
            }
            // What is refreshed may get rows that have expired too, and have views over it.
            tried.extend(behind.iter().cloned());
            let Done { changed, failures } = self.refresh_all(behind).await?;
            let new = changed.into_iter().filter(|view| !report.refreshed.contains(view));
            let new = new.collect::<Vec<_>>();
            report.refreshed.extend(new);
            let lasting = failures.into_iter().find(|(view, _)| stale.contains(view));
            let lasting = lasting.map(|(_, error)| error.context("what it has not absorbed does not expire"));
            failure = failure.or(lasting);
        }
    }
}

//! Counts what the log does, for [`crate::Metrics`].

use super::Committed;
use super::body::Body;
use super::removal::TableExpiry;
use super::snapshot::Snapshot;
use crate::error::{ErrorKind, Result};
use crate::histogram::{Histogram, Quantiles};
use crate::time::{self, Instant};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Rows that were written to a table, by this process.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Written {
    pub(crate) rows: u64,
    /// What their sections take inside commits. Rows in files of their own have none.
    pub(crate) bytes_in_commits: u64,
}

/// What this process took out of a table because it had expired.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ExpiredCount {
    pub(crate) rows: u64,
    /// Files of which nothing was left.
    pub(crate) files: u64,
}

/// What this process did to the log since it opened it.
#[derive(Debug)]
pub(super) struct Counters {
    commits: AtomicU64,
    rebases: AtomicU64,
    conflicts: AtomicU64,
    flushes: AtomicU64,
    checkpoints: AtomicU64,
    compactions: AtomicU64,
    expiries: AtomicU64,
    latency: Histogram,
    written: Mutex<BTreeMap<String, Written>>,
    expired: Mutex<BTreeMap<String, ExpiredCount>>,
}

/// The counts at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Counts {
    pub(crate) commits: u64,
    pub(crate) rebases: u64,
    pub(crate) conflicts: u64,
    pub(crate) flushes: u64,
    pub(crate) checkpoints: u64,
    pub(crate) compactions: u64,
    pub(crate) expiries: u64,
    pub(crate) latency: Quantiles,
    /// By table.
    pub(crate) written: BTreeMap<String, Written>,
    /// By table.
    pub(crate) expired: BTreeMap<String, ExpiredCount>,
}

fn one_more(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            commits: AtomicU64::new(0),
            rebases: AtomicU64::new(0),
            conflicts: AtomicU64::new(0),
            flushes: AtomicU64::new(0),
            checkpoints: AtomicU64::new(0),
            compactions: AtomicU64::new(0),
            expiries: AtomicU64::new(0),
            latency: Histogram::of_durations()?,
            written: Mutex::default(),
            expired: Mutex::default(),
        })
    }

    /// A commit of this process, of so many bytes, is in the log. Says so in the current span.
    pub(super) fn committed(&self, seq: u64, bytes: usize, body: &Body) {
        one_more(&self.commits);
        if !body.compacted.is_empty() {
            one_more(&self.compactions);
        }
        let mut rows = 0;
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let mut count = |table: &String, more: Written| {
            rows += more.rows;
            let table = match written.get_mut(table) {
                Some(table) => table,
                None => written.entry(table.clone()).or_default(),
            };
            table.rows += more.rows;
            table.bytes_in_commits += more.bytes_in_commits;
        };
        for inline in &body.inline {
            count(&inline.table, Written { rows: inline.rows, bytes_in_commits: inline.bytes });
        }
        for file in &body.added {
            count(&file.table, Written { rows: file.rows, bytes_in_commits: 0 });
        }
        drop(written);
        rows += body.replaced.iter().map(|replaced| replaced.file.rows).sum::<u64>();
        let compacted = body.compacted.iter().flat_map(|compaction| &compaction.added);
        rows += compacted.map(|file| file.rows).sum::<u64>();
        let tables = body.inline.len() + body.added.len() + body.replaced.len() + body.compacted.len();
        let span = tracing::Span::current();
        span.record("seq", seq).record("tables", tables).record("rows", rows).record("bytes", bytes);
        tracing::debug!(seq, tables, rows, bytes, "committed");
    }

    /// A commit of this process has taken rows out that had expired.
    pub(super) fn expired(&self, body: &Body, before: &Snapshot, after: &Snapshot) {
        if body.expiries.is_empty() {
            return;
        }
        one_more(&self.expiries);
        let files = |snapshot: &Snapshot, table: &str| {
            snapshot.tables.get(table).map_or(0, |table| table.files.len() as u64)
        };
        let mut expired = self.expired.lock().unwrap_or_else(PoisonError::into_inner);
        for TableExpiry { rows, .. } in body.expiries.iter() {
            // Nothing else changes these tables in the same commit.
            let gone = files(before, &rows.table).saturating_sub(files(after, &rows.table));
            let table = expired.entry(rows.table.clone()).or_default();
            table.rows += rows.rows();
            table.files += gone;
        }
    }

    /// A commit has ended, one way or the other.
    pub(super) fn ended(&self, started: Instant, result: &Result<Committed>) {
        match result {
            Ok(committed) if !committed.repeated => self.latency.record_micros(time::now() - started),
            Err(error) if error.kind() == ErrorKind::Conflict => self.conflicted(),
            _ => {}
        }
    }

    /// A commit lost its slot and goes to the next one.
    pub(super) fn rebased(&self) {
        one_more(&self.rebases);
    }

    /// Changes do not go with what another has committed.
    pub(super) fn conflicted(&self) {
        one_more(&self.conflicts);
    }

    /// Inline rows are in files now.
    pub(super) fn flushed(&self) {
        one_more(&self.flushes);
    }

    /// A checkpoint is written.
    pub(super) fn checkpointed(&self) {
        one_more(&self.checkpoints);
    }

    pub(super) fn counts(&self) -> Counts {
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            commits: number(&self.commits),
            rebases: number(&self.rebases),
            conflicts: number(&self.conflicts),
            flushes: number(&self.flushes),
            checkpoints: number(&self.checkpoints),
            compactions: number(&self.compactions),
            expiries: number(&self.expiries),
            latency: self.latency.quantiles(),
            written: self.written.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            expired: self.expired.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

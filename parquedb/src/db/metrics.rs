//! What a database does, in numbers: [`Connection::metrics`]; and in events.
//!
//! Numbers count from the moment the database was opened, in this process; what other processes do is
//! not in them, but for the state of the database itself.
//!
//! # Spans and events
//!
//! The crate uses `tracing`. All spans and events are at level `debug`, but for warnings, which are for
//! what a person should look at. None is made for a single row. The targets are module paths: filter by
//! `parquedb::commit` for the log and `parquedb::db` for the database above it.
//!
//! | Span | Target | Fields |
//! |---|---|---|
//! | `open` | `parquedb::commit` | `url`; `seq`, the last commit |
//! | `commit` | `parquedb::commit` | `seq`, its number; `tables` it writes; `rows`; `bytes` of its object; `attempts` to find it a slot |
//! | `flush` | `parquedb::commit` | the same of the commit that names the new files |
//! | `checkpoint` | `parquedb::commit` | `seq`; `bytes` |
//! | `catch_up` | `parquedb::commit` | `seq`, the last commit then; `commits` that were read |
//! | `refresh` | `parquedb::db` | `view`; the `commit` is a span within |
//!
//! In each there is at most one event for each commit: `committed`, with the same fields.

use super::Connection;
use super::ledger::write_table;
use super::queue::QueueDepth;
use crate::commit::snapshot::Table;
use crate::declare::definition::Definition;
use crate::error::Result;
use crate::histogram::Histogram;
use crate::maintain::Freshness;
use crate::maintain::freshness::freshness;
use crate::store::Requests;
use serde::Serialize;
use std::fmt;

pub use crate::histogram::Quantiles;

/// What a database did since it was opened here, and what it is now.
///
/// Printed, it is a table for people; [`Metrics::to_prometheus`] gives it to a monitoring system.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Metrics {
    /// The last commit known here.
    pub head: u64,
    /// Requests to the store.
    pub requests: Requests,
    /// Commits made, those of flushes and refreshes too.
    pub commits: u64,
    /// Rows written to collections.
    pub rows: u64,
    /// Rows and states written to views.
    pub view_rows: u64,
    /// How often a commit lost its slot to another process and moved on to the next.
    pub rebases: u64,
    /// How often changes did not go with what another process had committed, and had to be computed
    /// again or were refused.
    pub conflicts: u64,
    /// How long commits took, in microseconds: from their turn until they were durable.
    pub commit_micros: Quantiles,
    /// How long writes took, in microseconds: from the call until the answer, waiting included.
    pub write_micros: Quantiles,
    /// How many batches were written by one commit.
    pub group_batches: Quantiles,
    /// What waits to be committed.
    pub queue: QueueDepth,
    /// How often inline rows were moved to files.
    pub flushes: u64,
    /// Checkpoints written.
    pub checkpoints: u64,
    /// Commits that joined small files into larger ones.
    pub compactions: u64,
    /// Commits that took rows out which had expired.
    pub expiries: u64,
    /// What each collection and view consists of, by name.
    pub members: Vec<MemberMetrics>,
    /// How far each view is behind, each after its source.
    pub views: Vec<ViewLag>,
}

/// What a collection or view consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MemberMetrics {
    /// The Rust struct's name.
    pub name: String,
    /// Whether it is a view.
    pub is_view: bool,
    /// The rows stored; states, for a view that groups.
    pub rows: u64,
    /// Its Parquet files.
    pub files: u64,
    /// Their size in bytes.
    pub file_bytes: u64,
    /// Bytes of rows that still live inside commits.
    pub inline_bytes: u64,
    /// Rows that this process wrote to it.
    pub rows_written: u64,
    /// Rows that this process took out of it because they had expired; states, for a view that groups.
    pub rows_expired: u64,
    /// Files of which nothing was left then.
    pub files_expired: u64,
}

/// How far a view is behind. What [`Connection::status`] says of it too, as far as nothing needs to be
/// read for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ViewLag {
    /// The Rust struct's name.
    pub name: String,
    /// Whether it holds what its definition gives.
    #[serde(flatten)]
    pub freshness: Freshness,
    /// The commit up to which it has absorbed its source; nothing if it was never built.
    pub seq: Option<u64>,
    /// Commits of the database since, of whatever collection; zero for a fresh view.
    pub commits: u64,
    /// Time since it was last refreshed, in microseconds; zero for a fresh view.
    pub micros: i64,
}

/// What is counted above the log.
#[derive(Debug)]
pub(super) struct Stats {
    pub(super) write: Histogram,
    pub(super) group: Histogram,
}

impl Stats {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { write: Histogram::of_durations()?, group: Histogram::up_to(1 << 20)? })
    }
}

impl Connection {
    /// What this database did since it was opened here, and what it is now. Nothing is read for it, so
    /// that it may be asked often.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let snapshot = self.0.log.snapshot();
        let counts = self.0.log.counts();
        let empty = Table::default();
        let is_view = |name: &str| matches!(snapshot.definitions.get(name), Some(Definition::View(_)));
        let rows_written = |name: &str| counts.written.get(name).map_or(0, |written| written.rows);
        let members: Vec<MemberMetrics> = snapshot
            .definitions
            .keys()
            .map(|name| {
                let table = snapshot.tables.get(name).map_or(&empty, |table| table.as_ref());
                let expired = counts.expired.get(name).copied().unwrap_or_default();
                MemberMetrics {
                    name: name.clone(),
                    is_view: is_view(name),
                    rows: table.rows,
                    files: table.files.len() as u64,
                    file_bytes: table.files.iter().map(|file| file.size).sum(),
                    inline_bytes: table.inline.iter().map(|run| run.bytes).sum(),
                    rows_written: rows_written(name),
                    rows_expired: expired.rows,
                    files_expired: expired.files,
                }
            })
            .collect();
        let written = |views: bool| {
            let of = members.iter().filter(|member| member.is_view == views);
            of.map(|member| member.rows_written).sum()
        };
        Metrics {
            head: snapshot.seq,
            requests: self.requests(),
            commits: counts.commits,
            rows: written(false),
            view_rows: written(true),
            rebases: counts.rebases,
            conflicts: counts.conflicts,
            commit_micros: counts.latency,
            write_micros: self.0.stats.write.quantiles(),
            group_batches: self.0.stats.group.quantiles(),
            queue: self.0.queue.depth(),
            flushes: counts.flushes,
            checkpoints: counts.checkpoints,
            compactions: counts.compactions,
            expiries: counts.expiries,
            views: self.lags(&snapshot),
            members,
        }
    }

    fn lags(&self, snapshot: &crate::commit::snapshot::Snapshot) -> Vec<ViewLag> {
        let maintainer = self.current_maintainer();
        let lag = |name: &str| {
            let freshness = freshness(&maintainer.catalog, snapshot, name)
                .unwrap_or_else(|error| Freshness::Invalid { reason: error.to_string() });
            let cursor = snapshot.cursors.get(name);
            let behind = cursor.filter(|_| freshness != Freshness::Fresh);
            ViewLag {
                name: name.to_owned(),
                seq: cursor.map(|cursor| cursor.seq()),
                commits: behind.map_or(0, |cursor| snapshot.seq.saturating_sub(cursor.seq())),
                micros: behind
                    .map_or(0, |cursor| self.now().as_micros().saturating_sub(cursor.refreshed).max(0)),
                freshness,
            }
        };
        maintainer.catalog.views().map(|view| lag(&view.name)).collect()
    }
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |name: &str, values: &[u64]| {
            [vec![name.to_owned()], values.iter().map(u64::to_string).collect()].concat()
        };
        let heads = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let requests = &self.requests;
        let rows = [
            row("head", &[self.head]),
            row("commits", &[self.commits]),
            row("rows written", &[self.rows]),
            row("view rows written", &[self.view_rows]),
            row("rebases", &[self.rebases]),
            row("conflicts", &[self.conflicts]),
            row("flushes", &[self.flushes]),
            row("checkpoints", &[self.checkpoints]),
            row("compactions", &[self.compactions]),
            row("expiries", &[self.expiries]),
            row("batches waiting", &[self.queue.batches]),
            row("batches without room", &[self.queue.outside]),
            row("bytes waiting", &[self.queue.bytes]),
            row("most bytes waiting", &[self.queue.most_bytes]),
            row("puts", &[requests.put]),
            row("gets", &[requests.get]),
            row("heads", &[requests.head]),
            row("lists", &[requests.list]),
            row("deletes", &[requests.delete]),
            row("bytes written", &[requests.bytes_written]),
            row("bytes read", &[requests.bytes_read]),
        ];
        write_table(f, &rows)?;
        let quantiles = |name: &str, of: &Quantiles| row(name, &[of.count, of.p50, of.p90, of.p99, of.max]);
        let rows = [
            heads(&["", "count", "p50", "p90", "p99", "max"]),
            quantiles("commit, µs", &self.commit_micros),
            quantiles("write, µs", &self.write_micros),
            quantiles("batches per commit", &self.group_batches),
        ];
        writeln!(f)?;
        write_table(f, &rows)?;
        let mut rows = vec![heads(&[
            "member",
            "rows",
            "files",
            "file bytes",
            "inline bytes",
            "rows written",
            "rows expired",
            "files expired",
        ])];
        rows.extend(self.members.iter().map(|member| {
            let values = [
                member.rows,
                member.files,
                member.file_bytes,
                member.inline_bytes,
                member.rows_written,
                member.rows_expired,
                member.files_expired,
            ];
            row(&member.name, &values)
        }));
        writeln!(f)?;
        write_table(f, &rows)?;
        if !self.views.is_empty() {
            let mut rows = vec![heads(&["view", "state", "at commit", "commits behind", "µs behind"])];
            rows.extend(self.views.iter().map(|view| {
                let seq = view.seq.map_or_else(|| "-".to_owned(), |seq| seq.to_string());
                let state = view.freshness.name().to_owned();
                vec![view.name.clone(), state, seq, view.commits.to_string(), view.micros.to_string()]
            }));
            writeln!(f)?;
            write_table(f, &rows)?;
        }
        Ok(())
    }
}

//! Moves inline runs to files and writes checkpoints, so that opening stays quick.
//!
//! Many rows take long to write. So their files are written aside, while commits go on; then, in turn with
//! commits, the few runs that came meanwhile, the commit that names all these files, and the checkpoint.

use super::anchor::Moment;
use super::body::{AddedFile, Body, Intent, ReplaceInline};
use super::checkpoint::{self, Hint};
use super::removal::RemovedRows;
use super::snapshot::{DataFile, InlineRun, Snapshot, Table, table_of_removed};
use super::{Inner, Writer, files, layout};
use crate::declare::definition::Definition;
use crate::error::{ErrorKind, Result};
use crate::store::failure::{PutFailure, classify, explain};
use futures::future::try_join_all;
use object_store::path::Path;
use std::sync::Arc;

/// The hint is written after so many commits or microseconds, and not more than once a second, which
/// is what stores allow for one object.
const HEAD_AFTER_COMMITS: u64 = 64;
const HEAD_AFTER: i64 = 10_000_000;
const HEAD_NOT_BEFORE: i64 = 1_000_000;

/// After a failure, maintenance waits this long (in microseconds): commits go on meanwhile.
const RETRY_AFTER: i64 = 10_000_000;

/// How often an explicit flush begins again when another process was quicker.
const ATTEMPTS: usize = 5;

/// Commits wait for a flush that began aside when more than this many times of what makes one due is inline.
const FLUSHES_BEHIND: u64 = 2;

/// Runs and the file that holds their live rows.
#[derive(Debug)]
struct Written {
    runs: Vec<Arc<InlineRun>>,
    file: ReplaceInline,
}

impl Inner {
    pub(super) fn flush_due(&self, writer: &Writer) -> bool {
        let snapshot = &writer.state.snapshot;
        let since = snapshot.seq.saturating_sub(writer.last_checkpoint.unwrap_or(0));
        let waited = self.options.clock.now().saturating_sub(writer.last_flush);
        let waited_enough = u128::try_from(waited).unwrap_or(0) >= self.options.flush_after.as_micros();
        since >= self.options.flush_after_commits
            || snapshot.tables.values().any(|table| {
                !table.inline.is_empty()
                    && (waited_enough || inline_bytes(table) >= self.options.flush_after_bytes)
            })
    }

    /// Waits for the flush that is under way aside when commits were so much quicker than it that they
    /// would take the memory of several.
    pub(super) async fn await_flush(&self) {
        let most = self.options.flush_after_bytes.saturating_mul(FLUSHES_BEHIND);
        let most_commits = self.options.flush_after_commits.saturating_mul(FLUSHES_BEHIND);
        let snapshot = self.snapshot();
        let is_behind = |table: &Table| {
            let commits = table.inline.first().map_or(0, |run| snapshot.seq + 1 - run.seq);
            commits >= most_commits || inline_bytes(table) >= most
        };
        if snapshot.tables.values().any(|table| is_behind(table)) {
            drop(self.aside.lock().await);
        }
    }

    /// What is due after a commit. The commit stands whether this succeeds or not.
    pub(super) async fn maintain(self: &Arc<Self>, writer: &mut Writer) {
        if self.options.clock.now() < writer.maintenance_after {
            return;
        }
        let result = if !self.flush_due(writer) {
            self.write_head(writer).await
        } else if self.flush_aside(writer) {
            Ok(())
        } else {
            self.flush(writer).await
        };
        self.note_maintenance(writer, result);
    }

    fn note_maintenance(&self, writer: &mut Writer, result: Result<()>) {
        if let Err(error) = result {
            tracing::warn!(url = self.store.url(), %error, "maintenance after a commit failed; it will be repeated");
            writer.maintenance_after = self.options.clock.now().saturating_add(RETRY_AFTER);
        }
    }

    /// Begins a flush whose files are written while commits go on, unless one is under way. Gives whether it
    /// is worth it.
    fn flush_aside(self: &Arc<Self>, writer: &Writer) -> bool {
        let snapshot = &writer.state.snapshot;
        if snapshot.tables.values().map(|table| inline_bytes(table)).sum::<u64>()
            < self.options.flush_aside_from_bytes
        {
            return false;
        }
        if let Ok(aside) = Arc::clone(&self.aside).try_lock_owned() {
            let (inner, snapshot) = (Arc::clone(self), Arc::clone(snapshot));
            tokio::spawn(async move {
                let _aside = aside;
                let begun = Moment::now(inner.options.clock.as_ref());
                let written = inner.write_runs(&snapshot, Vec::new()).await;
                let mut writer = Arc::clone(&inner.writer).lock_owned().await;
                let result = match written {
                    Ok(written) => inner.flush_since(&mut writer, written, begun).await,
                    Err(error) => Err(error),
                };
                inner.note_maintenance(&mut writer, result);
            });
        }
        true
    }

    /// Flushes all tables, then writes a checkpoint and the hint.
    pub(super) async fn flush(&self, writer: &mut Writer) -> Result<()> {
        self.flush_since(writer, Vec::new(), Moment::now(self.options.clock.as_ref())).await
    }

    /// The same when files of some runs were written from `begun` on.
    #[tracing::instrument(
        name = "flush",
        level = "debug",
        skip_all,
        fields(seq, tables, rows, bytes, attempts)
    )]
    async fn flush_since(&self, writer: &mut Writer, mut written: Vec<Written>, begun: Moment) -> Result<()> {
        self.settle(writer).await?;
        self.ensure_right(writer).await?;
        for attempt in 1..=ATTEMPTS {
            written = self.write_runs(&writer.state.snapshot, written).await?;
            if written.is_empty() {
                break;
            }
            let replaced = written.iter().map(|written| written.file.clone()).collect();
            let intent = Intent { base_seq: writer.state.tip.seq, ..Intent::default() };
            match self.append_since(writer, Body { intent, replaced, ..Body::default() }, begun).await {
                Ok(_) => {
                    self.counters.flushed();
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Conflict && attempt < ATTEMPTS => {
                    self.counters.conflicted();
                }
                Err(error) => return Err(error),
            }
        }
        writer.last_flush = self.options.clock.now();
        let is_complete = writer.state.snapshot.tables.values().all(|table| table.inline.is_empty());
        if is_complete && writer.last_checkpoint != Some(writer.state.tip.seq) {
            self.write_checkpoint(writer).await?;
        }
        if writer.head_seq != writer.state.tip.seq {
            self.hint(writer).await;
        }
        Ok(())
    }

    /// Writes the live rows of all inline runs to files, but for those runs that still are as they were when
    /// they were `written`.
    async fn write_runs(&self, snapshot: &Snapshot, mut written: Vec<Written>) -> Result<Vec<Written>> {
        let mut kept = Vec::new();
        let mut writing = Vec::new();
        for (name, table) in &snapshot.tables {
            let is_view = is_view(snapshot, name);
            for mut group in groups(table) {
                let is_start =
                    |written: &Written| written.file.table == *name && starts_with(&group, &written.runs);
                if let Some(found) = written.iter().position(is_start) {
                    let written = written.swap_remove(found);
                    group.drain(..written.runs.len());
                    kept.push(written);
                }
                if !group.is_empty() {
                    writing.push(self.write_group(name, is_view, group));
                }
            }
        }
        kept.extend(try_join_all(writing).await?);
        Ok(kept)
    }

    async fn write_group(&self, table: &str, is_view: bool, runs: Vec<Arc<InlineRun>>) -> Result<Written> {
        let first_seq = runs.first().map_or(0, |run| run.seq);
        let last_seq = runs.last().map_or(0, |run| run.seq);
        let live = |run: &Arc<InlineRun>| Ok((run.seq, run.removed.live(&run.batches)?.into_owned()));
        let rows = runs.iter().map(live).collect::<Result<_>>()?;
        let added = files::write(&self.store, table.to_owned(), is_view, rows, first_seq != last_seq);
        let AddedFile { table, path, size, rows, checksum } = added.await?;
        let file = DataFile {
            path,
            size,
            rows,
            checksum,
            first_seq,
            last_seq,
            merged: false,
            removed: RemovedRows::default(),
        };
        Ok(Written { runs, file: ReplaceInline { table, file } })
    }

    #[tracing::instrument(name = "checkpoint", level = "debug", skip_all, fields(seq, bytes))]
    async fn write_checkpoint(&self, writer: &mut Writer) -> Result<()> {
        let seq = writer.state.tip.seq;
        let sealed = { checkpoint::seal(&writer.state, &self.repeats(), self.options.writer_id)? };
        let path = layout::checkpoint(seq);
        tracing::Span::current().record("seq", seq).record("bytes", sealed.bytes.len());
        match self.store.create(&path, sealed.bytes).await {
            Ok(()) => {}
            // Another process wrote the same state, or this is a 409, which says nothing.
            Err(error)
                if classify(&error) == PutFailure::Occupied
                    && self.store.get_start(&path, 1).await?.is_some() => {}
            Err(error) => return Err(explain(error, "write", &path, self.store.url())),
        }
        writer.last_checkpoint = Some(seq);
        self.counters.checkpointed();
        Ok(())
    }

    /// Writes the hint when it is due.
    async fn write_head(&self, writer: &mut Writer) -> Result<()> {
        let waited = self.options.clock.now().saturating_sub(writer.head_written);
        let commits = writer.state.tip.seq.saturating_sub(writer.head_seq);
        let is_due = waited >= HEAD_AFTER || (commits >= HEAD_AFTER_COMMITS && waited >= HEAD_NOT_BEFORE);
        if commits > 0 && is_due { self.put_head(writer).await } else { Ok(()) }
    }

    /// Writes the hint, if the store lets us. Nothing depends on it, and it is the one key that all processes
    /// write, which some stores throttle.
    pub(super) async fn hint(&self, writer: &mut Writer) {
        if let Err(error) = self.put_head(writer).await {
            tracing::warn!(url = self.store.url(), %error, "the hint was not written; the next one will be");
        }
    }

    async fn put_head(&self, writer: &mut Writer) -> Result<()> {
        let hint = Hint { seq: writer.state.tip.seq, checkpoint: writer.last_checkpoint };
        self.store.put(&Path::from(layout::HEAD), hint.encode()).await?;
        writer.head_seq = hint.seq;
        writer.head_written = self.options.clock.now();
        Ok(())
    }
}

/// Whether a table is a view's: its files are elsewhere.
pub(super) fn is_view(snapshot: &Snapshot, table: &str) -> bool {
    let table = table_of_removed(table).unwrap_or(table);
    matches!(snapshot.definitions.get(table), Some(Definition::View(_)))
        || snapshot.cursors.contains_key(table)
}

/// The encoded size of a table's inline runs.
fn inline_bytes(table: &Table) -> u64 {
    table.inline.iter().map(|run| run.bytes).sum()
}

/// Whether a group begins with these very runs, with the same rows removed.
fn starts_with(group: &[Arc<InlineRun>], runs: &[Arc<InlineRun>]) -> bool {
    group.len() >= runs.len() && group.iter().zip(runs).all(|(one, other)| Arc::ptr_eq(one, other))
}

/// The inline runs that go into one file each: of one schema, and without a file between them.
fn groups(table: &Table) -> Vec<Vec<Arc<InlineRun>>> {
    let schema = |run: &InlineRun| run.batches.first().map(|batch| batch.schema());
    let mut groups: Vec<Vec<Arc<InlineRun>>> = Vec::new();
    for run in &table.inline {
        match groups.last_mut() {
            Some(group)
                if group.last().is_some_and(|last| {
                    schema(last) == schema(run)
                        && !table
                            .files
                            .iter()
                            .any(|file| last.seq < file.first_seq && file.first_seq < run.seq)
                }) =>
            {
                group.push(Arc::clone(run));
            }
            _ => groups.push(vec![Arc::clone(run)]),
        }
    }
    groups
}

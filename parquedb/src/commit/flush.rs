//! Moves inline runs to files and writes checkpoints, so that opening stays quick.

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

impl Inner {
    pub(super) fn flush_due(&self, writer: &Writer) -> bool {
        let options = &self.options;
        let snapshot = &writer.state.snapshot;
        let since = writer.last_checkpoint.unwrap_or(0);
        if snapshot.seq.saturating_sub(since) >= options.flush_after_commits {
            return true;
        }
        let waited = options.clock.now().saturating_sub(writer.last_flush);
        let waited_enough = u128::try_from(waited).unwrap_or(0) >= options.flush_after.as_micros();
        snapshot.tables.values().any(|table| {
            let bytes: u64 = table.inline.iter().map(|run| run.bytes).sum();
            !table.inline.is_empty() && (waited_enough || bytes >= options.flush_after_bytes)
        })
    }

    /// What is due after a commit. The commit stands whether this succeeds or not.
    pub(super) async fn maintain(&self, writer: &mut Writer) {
        let now = self.options.clock.now();
        if now < writer.maintenance_after {
            return;
        }
        let result =
            if self.flush_due(writer) { self.flush(writer).await } else { self.write_head(writer).await };
        if let Err(error) = result {
            tracing::warn!(url = self.store.url(), %error, "maintenance after a commit failed; it will be repeated");
            writer.maintenance_after = now.saturating_add(RETRY_AFTER);
        }
    }

    /// Flushes all tables, then writes a checkpoint and the hint.
    #[tracing::instrument(level = "debug", skip_all, fields(seq, tables, rows, bytes, attempts))]
    pub(super) async fn flush(&self, writer: &mut Writer) -> Result<()> {
        self.settle(writer).await?;
        self.ensure_right(writer).await?;
        for attempt in 1..=ATTEMPTS {
            let replaced = self.write_runs(&writer.state.snapshot).await?;
            if replaced.is_empty() {
                break;
            }
            let intent = Intent { base_seq: writer.state.tip.seq, ..Intent::default() };
            match self.append(writer, Body { intent, replaced, ..Body::default() }).await {
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

    /// Writes the live rows of all inline runs to files.
    async fn write_runs(&self, snapshot: &Snapshot) -> Result<Vec<ReplaceInline>> {
        let mut writing = Vec::new();
        for (name, table) in &snapshot.tables {
            let is_view = is_view(snapshot, name);
            for group in groups(table) {
                writing.push(self.write_group(name, is_view, group));
            }
        }
        try_join_all(writing).await
    }

    async fn write_group(
        &self,
        table: &str,
        is_view: bool,
        group: Vec<Arc<InlineRun>>,
    ) -> Result<ReplaceInline> {
        let first_seq = group.first().map_or(0, |run| run.seq);
        let last_seq = group.last().map_or(0, |run| run.seq);
        let live = |run: &Arc<InlineRun>| Ok((run.seq, run.removed.live(&run.batches)?.into_owned()));
        let runs = group.iter().map(live).collect::<Result<_>>()?;
        let written = files::write(&self.store, table.to_owned(), is_view, runs, first_seq != last_seq);
        let AddedFile { table, path, size, rows, checksum } = written.await?;
        Ok(ReplaceInline {
            table,
            file: DataFile {
                path,
                size,
                rows,
                checksum,
                first_seq,
                last_seq,
                merged: false,
                removed: RemovedRows::default(),
            },
        })
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

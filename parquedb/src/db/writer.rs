//! Group commit: a task takes all batches that wait, makes one commit of them and answers each.

use super::Connection;
use super::batch::Written;
use super::queue::{BatchName, Pending};
use crate::commit::snapshot::Snapshot;
use crate::commit::{Changes, memory_size};
use crate::declare::definition::Definition;
use crate::error::{Error, ErrorKind, Result};
use crate::maintain::keyed::{self, Operation};
use crate::maintain::step::TableChange;
use crate::time;
use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::oneshot;

/// Rows of small batches are joined up to this many, so that plans see few batches.
const ROWS_JOINED: usize = 8192;

/// Attempts to commit on top of what other processes wrote meanwhile.
const ATTEMPTS: usize = 16;

impl Connection {
    /// Writes a batch together with those that come at the same time.
    pub(super) async fn write(
        &self,
        operations: BTreeMap<String, Vec<Operation>>,
        name: BatchName,
    ) -> Result<Written> {
        let started = time::now();
        let batches = operations.values().flatten().filter_map(Operation::batch).cloned();
        let bytes = memory_size(&batches.collect::<Vec<_>>());
        let room = self.0.queue.room(bytes).await?;
        let (reply, answer) = oneshot::channel();
        if self.0.queue.push(Pending { operations, name, reply, room }) {
            // In a task of its own, so that a caller who gives up does not stop the commit of others.
            tokio::spawn(CommitTask::new(self.clone()).run());
        }
        let written = answer.await.map_err(|_| {
            Error::new(ErrorKind::OutcomeUnknown, "the task that commits ended before it answered")
        })??;
        self.0.stats.write.record_micros(time::now() - started);
        Ok(written)
    }

    /// Commits until nothing waits any more.
    async fn commit_waiting(&self) {
        loop {
            self.0.queue.gather().await;
            let _writing = self.0.writing.lock().await;
            // Whatever comes during a flush goes into the next commit too.
            self.0.log.ready().await;
            let group = self.0.queue.take();
            if group.is_empty() {
                return;
            }
            let batches = group.len();
            let started = time::now();
            let others = self.commit_group(group).await;
            self.0.queue.committed(batches, others, time::now() - started);
        }
    }

    /// Commits a group and answers each of its batches, in order. Gives how many others waited by then.
    async fn commit_group(&self, group: Vec<Pending>) -> usize {
        // What is left of the group, the first part last.
        let mut parts = vec![group];
        let mut others = None;
        while let Some(mut part) = parts.pop() {
            let result = self.commit_together(&part).await;
            // Not later: who was answered may be back at once, and would be counted twice.
            others.get_or_insert_with(|| self.0.queue.batches());
            match result {
                Ok(results) => {
                    for (pending, written) in part.into_iter().zip(results) {
                        pending.answer(Ok(written));
                    }
                }
                // One bad batch must not fail those that came with it. Nothing of theirs was written.
                Err(error) if part.len() > 1 && error.kind() == ErrorKind::Invalid => {
                    let second = part.split_off(part.len() / 2);
                    parts.extend([second, part]);
                }
                Err(error) => {
                    for pending in part {
                        pending.answer(Err(error.clone()));
                    }
                }
            }
        }
        others.unwrap_or_default()
    }

    /// One commit of these batches; the answer for each.
    async fn commit_together(&self, waiting: &[Pending]) -> Result<Vec<Written>> {
        for _ in 0..ATTEMPTS {
            let snapshot = self.0.log.snapshot();
            let mut ids = BTreeSet::new();
            let mut sequences = BTreeSet::new();
            let mut operations: BTreeMap<String, Vec<Operation>> = BTreeMap::new();
            let mut repeated = Vec::with_capacity(waiting.len());
            for Pending { operations: batch, name: BatchName { id, sequence }, .. } in waiting {
                let known = id.as_ref().is_some_and(|id| self.has_batch(id) || ids.contains(id))
                    || sequence.as_ref().is_some_and(|place| {
                        self.has_sequence(&place.producer, place.number) || sequences.contains(place)
                    });
                repeated.push(known);
                if !known {
                    ids.extend(id.clone());
                    sequences.extend(sequence.clone());
                    for (collection, own) in batch {
                        operations.entry(collection.clone()).or_default().extend(own.iter().cloned());
                    }
                }
            }
            if operations.is_empty() && ids.is_empty() && sequences.is_empty() {
                return Ok(answers(&repeated, snapshot.seq));
            }
            let mut changes = self.changes(&snapshot, operations).await?;
            changes.batch_ids = ids.into_iter().collect();
            changes.sequences = sequences.into_iter().collect();
            if changes.is_empty() {
                return Ok(answers(&repeated, snapshot.seq));
            }
            match self.0.log.commit(changes).await {
                // All that have a name had been committed meanwhile, and nothing was written. There may be
                // batches without a name among these, and they must not be lost.
                Ok(done) if done.repeated => {}
                Ok(done) => {
                    self.0.stats.group.record(waiting.len() as u64);
                    return Ok(answers(&repeated, done.snapshot.seq));
                }
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    self.0.log.catch_up().await?;
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(
            ErrorKind::Conflict,
            format!("other processes committed first {ATTEMPTS} times in a row: try again"),
        ))
    }
}

impl Connection {
    /// The commit that makes these changes to collections, with what streaming views make of them.
    async fn changes(
        &self,
        snapshot: &Snapshot,
        operations: BTreeMap<String, Vec<Operation>>,
    ) -> Result<Changes> {
        let maintainer = self.maintainer(snapshot).await?;
        let engine = self.engine(&maintainer);
        let mut collections = BTreeMap::new();
        let mut keys = Vec::new();
        for (name, operations) in operations {
            let change = match maintainer.catalog.get(&name)? {
                Definition::Collection(collection) if !collection.key.is_empty() => {
                    let keyed = keyed::apply(&engine, snapshot, collection, &operations).await?;
                    keys.push(keyed.keys);
                    keyed.change
                }
                _ => TableChange { plus: joined(inserted(&name, operations)?)?, ..TableChange::default() },
            };
            collections.insert(name, change);
        }
        let mut changes = maintainer.changes(&engine, snapshot, collections).await?;
        changes.keys = keys;
        Ok(changes)
    }
}

/// The rows of operations on a collection without a key.
fn inserted(name: &str, operations: Vec<Operation>) -> Result<Vec<RecordBatch>> {
    let rows = operations.into_iter().map(|operation| match operation {
        Operation::Insert(rows) => Ok(rows),
        _ => Err(Error::invalid(format!("`{name}` has no key: rows can only be inserted"))),
    });
    rows.collect()
}

/// The task that commits. When it is stopped, with its runtime or by a panic, those who wait are told.
#[derive(Debug)]
pub(super) struct CommitTask {
    connection: Connection,
    is_over: bool,
}

impl CommitTask {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection, is_over: false }
    }

    async fn run(self) {
        self.connection.commit_waiting().await;
        self.end();
    }

    /// It came to its end. What waits by now is another task's.
    pub(super) fn end(mut self) {
        self.is_over = true;
    }
}

impl Drop for CommitTask {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        for pending in self.connection.0.queue.abandon() {
            let message = "the task that commits was stopped, with its runtime or by a panic, before it came to this batch: nothing of it was written";
            pending.answer(Err(Error::new(ErrorKind::Closed, message)));
        }
    }
}

fn answers(repeated: &[bool], seq: u64) -> Vec<Written> {
    repeated.iter().map(|repeated| Written { seq, repeated: *repeated }).collect()
}

fn joined(batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
    let mut result = Vec::new();
    let mut small: Vec<RecordBatch> = Vec::new();
    let mut rows = 0;
    for batch in batches {
        if rows + batch.num_rows() > ROWS_JOINED {
            result.extend(join(&small)?);
            small.clear();
            rows = 0;
        }
        rows += batch.num_rows();
        small.push(batch);
    }
    result.extend(join(&small)?);
    Ok(result)
}

fn join(batches: &[RecordBatch]) -> Result<Option<RecordBatch>> {
    Ok(match batches {
        [] => None,
        [one] => Some(one.clone()),
        [first, ..] => Some(concat_batches(first.schema_ref(), batches)?),
    })
}

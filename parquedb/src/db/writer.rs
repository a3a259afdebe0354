//! Group commit: whoever gets to write takes every batch that waits.

use super::Connection;
use super::batch::Written;
use crate::commit::Changes;
use crate::error::{Error, ErrorKind, Result};
use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use tokio::sync::oneshot;

/// A batch that waits to be committed.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) rows: BTreeMap<String, Vec<RecordBatch>>,
    pub(super) id: Option<String>,
    pub(super) reply: oneshot::Sender<Result<Written>>,
}

/// Rows of small batches are joined up to this many, so that plans see few batches.
const ROWS_JOINED: usize = 8192;

/// Attempts to commit on top of what other processes wrote meanwhile.
const ATTEMPTS: usize = 16;

impl Connection {
    pub(super) fn enqueue(&self, pending: Pending) {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner).push(pending);
    }

    /// Commits everything that waits by the time this gets to write.
    pub(super) async fn commit_queue(&self) {
        let _writing = self.0.writing.lock().await;
        let waiting = std::mem::take(&mut *self.0.queue.lock().unwrap_or_else(PoisonError::into_inner));
        if waiting.is_empty() {
            return;
        }
        match self.commit_together(&waiting).await {
            Ok(results) => {
                for (pending, written) in waiting.into_iter().zip(results) {
                    // Whoever does not wait any more does not need the answer.
                    let _ = pending.reply.send(Ok(written));
                }
            }
            // One bad batch must not fail those that came with it. Nothing of theirs was written.
            Err(error) if waiting.len() > 1 && error.kind() == ErrorKind::Invalid => {
                for pending in waiting {
                    let result = self.commit_together(std::slice::from_ref(&pending)).await;
                    let result = result.map(|written| written[0]);
                    let _ = pending.reply.send(result);
                }
            }
            Err(error) => {
                for pending in waiting {
                    let _ = pending.reply.send(Err(error.clone()));
                }
            }
        }
    }

    /// One commit of these batches; the answer for each.
    async fn commit_together(&self, waiting: &[Pending]) -> Result<Vec<Written>> {
        for _ in 0..ATTEMPTS {
            // A flush after the last commit would make what is computed now out of date.
            self.0.log.idle().await;
            let snapshot = self.0.log.snapshot();
            let mut ids = BTreeSet::new();
            let mut rows: BTreeMap<String, Vec<RecordBatch>> = BTreeMap::new();
            let mut repeated = Vec::with_capacity(waiting.len());
            for pending in waiting {
                let known =
                    pending.id.as_ref().is_some_and(|id| self.0.log.has_batch(id) || !ids.insert(id.clone()));
                repeated.push(known);
                if !known {
                    for (table, batches) in &pending.rows {
                        rows.entry(table.clone()).or_default().extend(batches.iter().cloned());
                    }
                }
            }
            let ids = ids.into_iter().filter(|id| !self.0.log.has_batch(id)).collect::<Vec<_>>();
            if rows.is_empty() && ids.is_empty() {
                return Ok(answers(&repeated, snapshot.seq));
            }
            for batches in rows.values_mut() {
                *batches = joined(std::mem::take(batches))?;
            }
            let maintainer = self.maintainer(&snapshot).await?;
            let (writes, cursors) = maintainer.changes(&snapshot, rows).await?;
            let changes =
                Changes { base: Some(snapshot.seq), writes, cursors, batch_ids: ids, ..Changes::default() };
            match self.0.log.commit(changes).await {
                // Another process may have committed the same ids between: then nothing was written.
                Ok(done) if done.repeated => {
                    return Ok(answers(&vec![true; waiting.len()], done.snapshot.seq));
                }
                Ok(done) => return Ok(answers(&repeated, done.snapshot.seq)),
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

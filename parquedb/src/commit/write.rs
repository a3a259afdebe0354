//! Appends a commit: prepares it, creates its object, and finds out what became of it.

use super::body::{Body, InlineRows, Intent, memory_size};
use super::envelope::{self, Header, ObjectKind, Sealed};
use super::state::{State, conflict};
use super::{Changes, Committed, Inner, LogOptions, TableWrite, Writer, files, layout, read};
use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;
use crate::store::failure::{PutFailure, classify, explain};
use crate::time;
use bytes::Bytes;
use futures::future::try_join_all;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use uuid::Uuid;

/// A commit whose outcome is not known.
#[derive(Debug)]
pub(super) struct Pending {
    sealed: Sealed,
    body: Body,
}

impl Pending {
    pub(super) fn seq(&self) -> u64 {
        self.sealed.header.seq
    }
}

/// Who has the slot.
#[derive(Debug)]
pub(super) enum Placed {
    Ours,
    /// The other commit's bytes.
    Theirs(Bytes),
}

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Sends a commit to its slot until the slot is occupied. An error of another kind than
/// [`ErrorKind::OutcomeUnknown`] or [`ErrorKind::Corrupt`] means that it was not and will not be
/// written.
pub(super) async fn place(store: &Store, options: &LogOptions, sealed: &Sealed) -> Result<Placed> {
    let seq = sealed.header.seq;
    let path = layout::commit(seq);
    let started = time::now();
    let mut pause = FIRST_PAUSE;
    let mut may_have_landed = false;
    loop {
        let put = time::timeout(options.request_timeout, store.create(&path, sealed.bytes.clone())).await;
        let last = match put {
            Ok(Ok(())) => return Ok(Placed::Ours),
            Ok(Err(error)) => {
                let failure = classify(&error);
                match failure {
                    PutFailure::Unknown => may_have_landed = true,
                    // Either "there is one" (which may be ours, put by a request that was repeated
                    // below us) or a 409, which decides nothing. Also a refusal may follow on a
                    // request of ours that landed. Only a look tells.
                    PutFailure::Occupied | PutFailure::Refused => {
                        let look = time::timeout(options.request_timeout, store.get(&path)).await;
                        match look {
                            Ok(Ok(Some(bytes))) => return owner(store, sealed, bytes),
                            Ok(Ok(None)) if failure == PutFailure::Refused && !may_have_landed => {
                                return Err(explain(error, "write", &path, store.url()));
                            }
                            Ok(Ok(None)) => {}
                            Ok(Err(_)) | Err(_) => may_have_landed = true,
                        }
                    }
                }
                error.to_string()
            }
            Err(_) => {
                may_have_landed = true;
                format!("no answer within {:?}", options.request_timeout)
            }
        };
        if time::now() - started >= options.outcome_deadline {
            return Err(Error::new(
                ErrorKind::OutcomeUnknown,
                format!(
                    "commit {} for {path} in {} was sent, and the store did not say whether it was stored: {last}; send it again with the same batch ids, or open the database again and look",
                    sealed.header.commit_id,
                    store.url()
                ),
            ));
        }
        tracing::debug!(seq, error = %last, "the commit's outcome is not known yet; sending it again");
        time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn owner(store: &Store, sealed: &Sealed, bytes: Bytes) -> Result<Placed> {
    let seq = sealed.header.seq;
    let place = format!("{} in {}", layout::commit(seq), store.url());
    let header = envelope::open_header(&bytes, ObjectKind::Commit, seq, &place)?;
    if header.commit_id != sealed.header.commit_id {
        return Ok(Placed::Theirs(bytes));
    }
    if bytes != sealed.bytes {
        return Err(Error::corrupt(format!("commit {place} is not stored as it was sent")));
    }
    Ok(Placed::Ours)
}

/// Whether a commit was written or had been before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Appended {
    Written,
    Repeated,
}

impl Inner {
    /// The header of the commit after a state.
    fn header(&self, state: &State, commit_id: Uuid) -> Header {
        Header {
            kind: ObjectKind::Commit,
            seq: state.tip.seq + 1,
            commit_id,
            previous_id: state.tip.commit_id,
            previous_hash: state.tip.hash,
            writer_id: self.options.writer_id,
            epoch: self.options.epoch,
            // Never before the commit it follows, whatever the clocks of two machines say.
            time: self.options.clock.now().max(state.snapshot.time),
        }
    }

    /// Finds out what became of the commit whose outcome is not known, if there is one.
    pub(super) async fn settle(&self, writer: &mut Writer) -> Result<()> {
        let Some(pending) = &writer.pending else { return Ok(()) };
        match place(&self.store, &self.options, &pending.sealed).await {
            Ok(Placed::Ours) => {
                if let Some(pending) = writer.pending.take() {
                    self.accept(writer, &pending.sealed, &pending.body)?;
                }
                Ok(())
            }
            Ok(Placed::Theirs(_)) => self.catch_up(writer).await,
            Err(error) => Err(error),
        }
    }

    /// Our commit is in its slot.
    fn accept(&self, writer: &mut Writer, sealed: &Sealed, body: &Body) -> Result<()> {
        let path = layout::commit(sealed.header.seq);
        let state = writer.state.apply(&sealed.header, sealed.hash, body, path.as_ref())?;
        self.publish(writer, state, &[(sealed.header.time, body.intent.batch_ids.clone())]);
        Ok(())
    }

    /// Whether all of the batches were committed before.
    fn repeated(&self, ids: &[String]) -> Result<bool> {
        if ids.is_empty() {
            return Ok(false);
        }
        let known = self.batch_ids.lock().unwrap_or_else(PoisonError::into_inner);
        let repeated = ids.iter().filter(|id| known.contains(id)).count();
        drop(known);
        if repeated > 0 && repeated < ids.len() {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "{repeated} of the {} batches in one commit were committed before; leave them out",
                    ids.len()
                ),
            ));
        }
        Ok(repeated > 0)
    }

    pub(super) async fn commit(&self, writer: &mut Writer, changes: Changes) -> Result<Committed> {
        let base = changes.base.unwrap_or(writer.state.tip.seq);
        self.settle(writer).await?;
        if self.repeated(&changes.batch_ids)? {
            return Ok(Committed { snapshot: self.snapshot(), repeated: true });
        }
        let depends_on_base = !changes.cursors.is_empty()
            || changes.definitions.is_some()
            || changes.writes.iter().any(|write| write.replace);
        if depends_on_base && base != writer.state.tip.seq {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "the changes were computed from commit {base}, and the log is at {}; compute them again",
                    writer.state.tip.seq
                ),
            ));
        }
        let body = self.prepare(changes, base).await?;
        let appended = self.append(writer, body).await?;
        Ok(Committed { snapshot: self.snapshot(), repeated: appended == Appended::Repeated })
    }

    /// Sorts rows into the commit and, when they are many, into files.
    async fn prepare(&self, changes: Changes, base_seq: u64) -> Result<Body> {
        let mut body = Body {
            intent: Intent { base_seq, batch_ids: changes.batch_ids },
            cursors: changes.cursors,
            definitions: changes.definitions.map(Arc::new),
            ..Body::default()
        };
        let mut large = Vec::new();
        for write in merge(changes.writes)? {
            if write.replace {
                body.cleared.push(write.table.clone());
            }
            if write.batches.is_empty() {
                continue;
            }
            if memory_size(&write.batches) > self.options.inline_limit_bytes {
                large.push(files::write(
                    &self.store,
                    write.table,
                    write.is_view,
                    vec![(0, write.batches)],
                    false,
                ));
            } else {
                let rows = write.batches.iter().map(|batch| batch.num_rows() as u64).sum();
                body.inline.push(InlineRows { table: write.table, batches: write.batches, rows, bytes: 0 });
            }
        }
        body.added = try_join_all(large).await?;
        Ok(body)
    }

    /// Appends a commit, moving it on while others that it goes with take its slot.
    pub(super) async fn append(&self, writer: &mut Writer, mut body: Body) -> Result<Appended> {
        let mut sealed = body.seal(self.header(&writer.state, Uuid::now_v7()))?;
        loop {
            // Until it is resolved: this future may be dropped with the runtime it runs on.
            writer.pending = Some(Pending { sealed: sealed.clone(), body: body.clone() });
            let bytes = match place(&self.store, &self.options, &sealed).await {
                Ok(Placed::Ours) => {
                    writer.pending = None;
                    self.accept(writer, &sealed, &body)?;
                    return Ok(Appended::Written);
                }
                Ok(Placed::Theirs(bytes)) => bytes,
                Err(error) => {
                    if !matches!(error.kind(), ErrorKind::OutcomeUnknown | ErrorKind::Corrupt) {
                        writer.pending = None;
                    }
                    return Err(error);
                }
            };
            writer.pending = None;
            let (header, hash, theirs, place) =
                read::open_commit(&bytes, sealed.header.seq, self.store.url())?;
            let state = writer.state.apply(&header, hash, &theirs, &place)?;
            self.publish(writer, state, &[(header.time, theirs.intent.batch_ids.clone())]);
            if self.repeated(&body.intent.batch_ids)? {
                return Ok(Appended::Repeated);
            }
            if let Some(reason) = conflict(&body, &theirs) {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!(
                        "another writer took commit {}, and {reason}; compute the changes again",
                        header.seq
                    ),
                ));
            }
            sealed = sealed.moved(self.header(&writer.state, sealed.header.commit_id));
        }
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && name.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// Checks the writes, leaves out empty ones and joins those to one table.
fn merge(writes: Vec<TableWrite>) -> Result<Vec<TableWrite>> {
    let mut merged: Vec<TableWrite> = Vec::with_capacity(writes.len());
    for mut write in writes {
        if !is_name(&write.table) {
            return Err(Error::invalid(format!("`{}` is not the name of a collection or view", write.table)));
        }
        write.batches.retain(|batch| batch.num_rows() > 0);
        if write.batches.is_empty() && !write.replace {
            continue;
        }
        match merged.iter_mut().find(|other| other.table == write.table) {
            Some(other) if write.replace => *other = write,
            Some(other) => other.batches.append(&mut write.batches),
            None => merged.push(write),
        }
    }
    for write in &merged {
        let Some(first) = write.batches.first() else { continue };
        if let Some(other) = write.batches.iter().find(|batch| batch.schema() != first.schema()) {
            return Err(Error::invalid(format!(
                "the rows of {} come in two schemas: {} and {}",
                write.table,
                first.schema(),
                other.schema()
            )));
        }
    }
    Ok(merged)
}

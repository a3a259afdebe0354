//! Appends a commit: prepares it, creates its object, and finds out what became of it.

use super::anchor::{Anchor, Moment, TRUSTED, UPLOAD_LIFE};
use super::body::{Body, InlineRows, Intent, SequenceRange, memory_size};
use super::envelope::{Header, ObjectKind, Sealed};
use super::footprint::Footprint;
use super::place::{Placed, place, renew};
use super::removal::{self, TableExpiry, TableRemoval};
use super::repeats::GAPS;
use super::snapshot::table_of_removed;
use super::state::{Applied, State};
use super::{Changes, Committed, Inner, Sequence, TableWrite, Writer, files, ipc, layout, read};
use crate::error::{Error, ErrorKind, Result};
use bytes::Bytes;
use futures::future::try_join_all;
use std::sync::Arc;
use uuid::Uuid;

/// A commit whose outcome is not known.
#[derive(Debug)]
pub(super) struct Pending {
    sealed: Sealed,
    body: Body,
    /// When its files were written.
    begun: Moment,
    /// When it was first sent.
    sent: Moment,
}

impl Pending {
    pub(super) fn seq(&self) -> u64 {
        self.sealed.header.seq
    }
}

/// Whether a commit was written or had been before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Appended {
    Written,
    Repeated,
}

impl Inner {
    /// The header of the commit after a state.
    fn header(&self, state: &State, body: &Body, commit_id: Uuid) -> Header {
        Header {
            kind: ObjectKind::Commit,
            seq: state.tip.seq + 1,
            commit_id,
            previous_id: state.tip.commit_id,
            previous_hash: state.tip.hash,
            writer_id: self.options.writer_id,
            epoch: state.snapshot.epoch + u64::from(body.claim.is_some()),
            // Never before the commit it follows, whatever the clocks of two machines say.
            time: self.options.clock.now().max(state.snapshot.time),
        }
    }

    /// Finds out what became of the commit whose outcome is not known, if there is one.
    pub(super) async fn settle(&self, writer: &mut Writer) -> Result<()> {
        let Some(pending) = &mut writer.pending else { return Ok(()) };
        let clock = self.options.clock.as_ref();
        let is_late = pending.body.has_files() && pending.begun.elapsed(clock) >= UPLOAD_LIFE;
        if is_late && self.store.get(&layout::commit(pending.seq())).await?.is_none() {
            // Its files may not be committed any more. Should a request of it land after all, it lands
            // in the very slot that the next commit tries, and is found there.
            writer.pending = None;
            return Ok(());
        }
        renew(&mut pending.sealed, &self.options);
        match place(&self.store, &self.options, &mut pending.sealed).await {
            Ok(Placed::Ours) => {
                let is_anchored = self.is_anchored(writer).await.map_err(unknown)?;
                let Some(pending) = writer.pending.take() else { return Ok(()) };
                if is_anchored { self.accept(writer, &pending) } else { self.reload(writer).await }
            }
            Ok(Placed::Theirs(_)) => self.catch_up(writer).await,
            Err(error) => Err(error),
        }
    }

    /// Our commit is in its slot, and the slot was the log's end when it landed: at any time since it was
    /// first sent.
    fn accept(&self, writer: &mut Writer, pending: &Pending) -> Result<()> {
        let header = &pending.sealed.header;
        let path = layout::commit(header.seq);
        let state = writer.state.apply(header, pending.sealed.hash, &pending.body, path.as_ref())?;
        writer.anchor = Anchor { tip: state.tip, proved: pending.sent };
        self.counters.expired(&pending.body, &writer.state.snapshot, &state.snapshot);
        self.publish(writer, state, vec![Applied::new(header, &pending.body)]);
        self.counters.committed(header.seq, pending.sealed.bytes.len(), &pending.body);
        Ok(())
    }

    /// Whether all of the batches were committed before.
    fn repeated(&self, intent: &Intent) -> Result<bool> {
        let (known, all) = self.repeats().count(intent);
        if known > 0 && known < all {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("{known} of the {all} batches in one commit were committed before; leave them out"),
            ));
        }
        Ok(known > 0)
    }

    #[tracing::instrument(level = "debug", skip_all, fields(seq, tables, rows, bytes, attempts))]
    pub(super) async fn commit(&self, writer: &mut Writer, changes: Changes) -> Result<Committed> {
        let base = changes.base.unwrap_or(writer.state.tip.seq);
        self.settle(writer).await?;
        self.ensure_right(writer).await?;
        let (mut body, writes) = outline(changes, base)?;
        if self.repeated(&body.intent)? {
            return Ok(Committed { snapshot: self.snapshot(), repeated: true });
        }
        self.check_gaps(&body.intent)?;
        let footprint = Footprint::of(&body).writing(writes.iter().map(|write| &write.table));
        if let Some(reason) = writer.recent.conflict(&footprint, base, writer.state.tip.seq) {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "the changes were computed from commit {base}, the log is at {}, and {reason}; compute them again",
                    writer.state.tip.seq
                ),
            ));
        }
        removal::check(&writer.state.snapshot, body.leaving())?;
        let begun = Moment::now(self.options.clock.as_ref());
        self.place_rows(&mut body, writes).await?;
        let appended = self.append_since(writer, body, begun).await?;
        Ok(Committed { snapshot: self.snapshot(), repeated: appended == Appended::Repeated })
    }

    fn check_gaps(&self, intent: &Intent) -> Result<()> {
        let repeats = self.repeats();
        for range in &intent.sequences {
            if repeats.gaps(&range.producer) >= GAPS
                && repeats.last_sequence(&range.producer).is_none_or(|last| last < range.first)
            {
                return Err(Error::invalid(format!(
                    "producer `{}` has left {GAPS} gaps in its sequence: commit what is missing, or number its batches without gaps",
                    range.producer
                )));
            }
        }
        Ok(())
    }

    /// Puts rows into the commit or, when they are many, into files.
    async fn place_rows(&self, body: &mut Body, writes: Vec<TableWrite>) -> Result<()> {
        let mut large = Vec::new();
        for write in writes {
            if write.batches.is_empty() {
                continue;
            }
            if memory_size(&write.batches) > self.options.inline_limit_bytes.min(ipc::LARGEST / 2) {
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
        Ok(())
    }

    /// Appends a commit without files of its own, or with files that were just written.
    pub(super) async fn append(&self, writer: &mut Writer, body: Body) -> Result<Appended> {
        let begun = Moment::now(self.options.clock.as_ref());
        self.append_since(writer, body, begun).await
    }

    /// Appends a commit, moving it on while others that it goes with take its slot. Its files were written
    /// from `begun` on.
    pub(super) async fn append_since(
        &self,
        writer: &mut Writer,
        mut body: Body,
        begun: Moment,
    ) -> Result<Appended> {
        let clock = self.options.clock.as_ref();
        let footprint = Footprint::of(&body);
        let mut sealed = body.seal(self.header(&writer.state, &body, Uuid::now_v7()))?;
        let mut attempts = 1_u64;
        loop {
            if body.has_files() && begun.elapsed(clock) >= UPLOAD_LIFE {
                return Err(Error::new(
                    ErrorKind::Unavailable,
                    "the commit took longer than an hour after its files were written; nothing was written; try again",
                ));
            }
            let known = writer.state.tip.seq;
            let sent = Moment::now(clock);
            // Until it is resolved: this future may be dropped with the runtime it runs on.
            let pending =
                writer.pending.insert(Pending { sealed: sealed.clone(), body: body.clone(), begun, sent });
            let was_collected = match place(&self.store, &self.options, &mut pending.sealed).await {
                Ok(Placed::Ours) => {
                    let is_anchored = self.is_anchored(writer).await.map_err(unknown)?;
                    let pending = writer.pending.take();
                    if let Some(pending) = pending.filter(|_| is_anchored) {
                        self.accept(writer, &pending)?;
                        tracing::Span::current().record("attempts", attempts);
                        return Ok(Appended::Written);
                    }
                    self.reload(writer).await.map_err(unknown)?;
                    true
                }
                Ok(Placed::Theirs(bytes)) => {
                    writer.pending = None;
                    let lost = self.lose_to(writer, &bytes).await;
                    lost.map_err(|error| if sent.elapsed(clock) >= TRUSTED { unknown(error) } else { error })?
                }
                Err(error) => {
                    if !matches!(error.kind(), ErrorKind::OutcomeUnknown | ErrorKind::Corrupt) {
                        writer.pending = None;
                    }
                    return Err(error);
                }
            };
            // Others may have followed it, and collected it, before this process heard that it was there:
            // then it is in the log, and a second one would repeat its rows. One that was sent just now is
            // too young for that.
            if was_collected && sent.elapsed(clock) >= TRUSTED {
                if self.repeated(&body.intent)? {
                    return Ok(Appended::Repeated);
                }
                return Err(Error::new(
                    ErrorKind::OutcomeUnknown,
                    format!(
                        "this process stood still while commit {} was on its way to {}, and the log was collected meanwhile; send it again with the same batch ids, or look",
                        sealed.header.commit_id,
                        self.store.url()
                    ),
                ));
            }
            if body.claim.is_none() {
                self.check_right(writer)?;
            }
            if self.repeated(&body.intent)? {
                return Ok(Appended::Repeated);
            }
            let tip = writer.state.tip.seq;
            if let Some(reason) = writer.recent.conflict(&footprint, known, tip) {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!(
                        "another writer took commit {}, and {reason}; compute the changes again",
                        known + 1
                    ),
                ));
            }
            removal::check(&writer.state.snapshot, body.leaving())?;
            self.counters.rebased();
            attempts += 1;
            sealed = sealed.moved(self.header(&writer.state, &body, sealed.header.commit_id));
        }
    }

    /// Another's commit is in the slot that ours was for. Gives whether the log was collected meanwhile.
    async fn lose_to(&self, writer: &mut Writer, bytes: &Bytes) -> Result<bool> {
        let seq = writer.state.tip.seq + 1;
        let (header, hash, theirs, place) = read::open_commit(bytes, seq, self.store.url())?;
        if !self.is_anchored(writer).await? {
            self.reload(writer).await?;
            return Ok(true);
        }
        let state = writer.state.apply(&header, hash, &theirs, &place)?;
        // It was read before the anchor was, so it is real. An anchor that stays behind could be collected
        // just when the commit finds its slot, which would then be taken for garbage and made again.
        writer.anchor.tip = state.tip;
        self.publish(writer, state, vec![Applied::new(&header, &theirs)]);
        Ok(false)
    }
}

/// The commit is in its slot, and whether the slot is the log's could not be found out.
fn unknown(error: Error) -> Error {
    let message = format!("a commit was written, and the log could not be looked at: {error}");
    Error::with_source(ErrorKind::OutcomeUnknown, message, error)
}

/// The commit without its rows, and those, by table.
pub(super) fn outline(changes: Changes, base_seq: u64) -> Result<(Body, Vec<TableWrite>)> {
    let writes = merge(changes.writes)?;
    let cleared: Vec<_> =
        writes.iter().filter(|write| write.replace).map(|write| write.table.clone()).collect();
    let removals = removal::join(changes.removals)?;
    if let Some(TableRemoval { table, .. }) = removals.iter().find(|removal| cleared.contains(&removal.table))
    {
        return Err(Error::invalid(format!("all rows of {table} are replaced: none of them can be removed")));
    }
    let expiries = expiries(changes.expiries)?;
    let mut others =
        writes.iter().map(|write| &write.table).chain(removals.iter().map(|removal| &removal.table));
    if let Some(table) = others.find(|table| expiries.iter().any(|expiry| expiry.rows.table == **table)) {
        return Err(Error::invalid(format!("rows of {table} expire in a commit of their own")));
    }
    let sequences = ranges(changes.sequences);
    let body = Body {
        intent: Intent { base_seq, batch_ids: changes.batch_ids, sequences, keys: changes.keys },
        cleared,
        removals: Arc::new(removals),
        expiries: Arc::new(expiries),
        cursors: changes.cursors,
        definitions: changes.definitions.map(Arc::new),
        ..Body::default()
    };
    Ok((body, writes))
}

/// Leaves out what takes nothing away.
fn expiries(expiries: Vec<TableExpiry>) -> Result<Vec<TableExpiry>> {
    let mut known: Vec<TableExpiry> = Vec::with_capacity(expiries.len());
    for TableExpiry { rows, on, before, whole_groups } in expiries {
        if known.iter().any(|other| other.rows.table == rows.table) {
            return Err(Error::invalid(format!("rows of {} expire twice in one commit", rows.table)));
        }
        let joined = removal::join(vec![rows])?;
        known.extend(joined.into_iter().map(|rows| TableExpiry {
            rows,
            on: on.clone(),
            before,
            whole_groups,
        }));
    }
    Ok(known)
}

/// Joins sequences of one producer that follow each other.
fn ranges(mut sequences: Vec<Sequence>) -> Vec<SequenceRange> {
    sequences.sort();
    let mut ranges: Vec<SequenceRange> = Vec::new();
    for Sequence { producer, number } in sequences {
        match ranges.last_mut() {
            Some(range) if range.producer == producer && number <= range.last.saturating_add(1) => {
                range.last = number;
            }
            _ => ranges.push(SequenceRange { producer, first: number, last: number }),
        }
    }
    ranges
}

fn is_name(name: &str) -> bool {
    let name = table_of_removed(name).unwrap_or(name);
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

//! The database as a fold over its commits.

use super::body::{Absorbed, Body, Compaction, Intent, PinWrite};
use super::envelope::{Hash, Header};
use super::footprint::Footprint;
use super::removal::{self, RemovedRows};
use super::snapshot::{Cursor, DataFile, InlineRun, Snapshot, SourceCursor, Table};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use uuid::Uuid;

/// The last commit of the log, as far as known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tip {
    pub(super) seq: u64,
    pub(super) commit_id: Uuid,
    pub(super) hash: Hash,
    /// Microseconds since 1970.
    pub(super) time: i64,
}

/// Everything the log says up to a commit.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) tip: Tip,
    /// Files that no snapshot names any more from some commit on, and that may still be in the store.
    pub(super) removed: Arc<Vec<RemovedFile>>,
}

/// A file that was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RemovedFile {
    /// The first snapshot without it.
    pub(super) seq: u64,
    pub(super) path: String,
    pub(super) size: u64,
}

/// What an applied commit leaves in memory beside the state.
#[derive(Debug)]
pub(super) struct Applied {
    pub(super) seq: u64,
    pub(super) commit_id: Uuid,
    pub(super) time: i64,
    pub(super) intent: Intent,
    pub(super) footprint: Footprint,
}

impl Applied {
    pub(super) fn new(header: &Header, body: &Body) -> Self {
        let Header { seq, commit_id, time, .. } = *header;
        Self { seq, commit_id, time, intent: body.intent.clone(), footprint: Footprint::of(body) }
    }
}

impl State {
    /// The state before the first commit.
    pub(super) fn empty() -> Self {
        Self {
            snapshot: Arc::new(Snapshot {
                seq: 0,
                time: 0,
                definitions: Arc::default(),
                tables: BTreeMap::new(),
                cursors: BTreeMap::new(),
                floor: 0,
                pins: Arc::default(),
                epoch: 0,
                exclusive: None,
            }),
            tip: Tip { seq: 0, commit_id: Uuid::nil(), hash: [0; 32], time: 0 },
            removed: Arc::default(),
        }
    }

    /// The state after a commit. The first one has number zero and nothing before it.
    pub(super) fn apply(&self, header: &Header, hash: Hash, body: &Body, place: &str) -> Result<State> {
        let is_first = self.tip.commit_id.is_nil();
        let expected = if is_first { 0 } else { self.tip.seq + 1 };
        if header.seq != expected
            || header.previous_hash != self.tip.hash
            || header.previous_id != self.tip.commit_id
        {
            return Err(Error::corrupt(format!(
                "commit {place} does not follow commit {} as it is stored: one of the two was replaced; restore the log from a copy",
                self.tip.seq
            )));
        }
        self.check_writer(header, body, place)?;
        let mut snapshot = self.snapshot.as_ref().clone();
        snapshot.seq = header.seq;
        snapshot.time = header.time;
        snapshot.epoch = header.epoch;
        if let Some(claim) = body.claim {
            snapshot.exclusive = claim.exclusive.then_some(header.writer_id);
        }
        let removed = self.removed_with(apply_contents(&mut snapshot, body, place)?, body);
        let tip = Tip { seq: header.seq, commit_id: header.commit_id, hash, time: header.time };
        Ok(State { snapshot: Arc::new(snapshot), tip, removed })
    }

    /// Makes sure that the commit's writer had the right to write it. Each writer has seen all commits
    /// before its own, so that only a defect can get here.
    fn check_writer(&self, header: &Header, body: &Body, place: &str) -> Result<()> {
        let snapshot = &self.snapshot;
        let is_allowed = match body.claim {
            Some(_) => header.epoch == snapshot.epoch + 1,
            None => {
                header.epoch == snapshot.epoch
                    && snapshot.exclusive.is_none_or(|writer| writer == header.writer_id)
            }
        };
        if is_allowed {
            return Ok(());
        }
        Err(Error::corrupt(format!(
            "commit {place} was written in epoch {} by writer {}, which had been shut out by epoch {}; restore the log from a copy",
            header.epoch, header.writer_id, snapshot.epoch
        )))
    }

    fn removed_with(&self, removed: Vec<RemovedFile>, body: &Body) -> Arc<Vec<RemovedFile>> {
        let collected = body.watermark.map_or(0, |watermark| watermark.collected);
        if removed.is_empty() && self.removed.first().is_none_or(|file| file.seq > collected) {
            return Arc::clone(&self.removed);
        }
        let kept = self.removed.iter().filter(|file| file.seq > collected).cloned();
        Arc::new(kept.chain(removed).collect())
    }
}

/// Applies what a commit contains to a snapshot that has its number and time already. Gives the files that
/// the snapshot does not name any more.
pub(super) fn apply_contents(snapshot: &mut Snapshot, body: &Body, place: &str) -> Result<Vec<RemovedFile>> {
    let (seq, time) = (snapshot.seq, snapshot.time);
    let mut removed = Vec::new();
    apply_rows(snapshot, seq, body, place, &mut removed)?;
    apply_pins(snapshot, body);
    if let Some(watermark) = body.watermark {
        snapshot.floor = snapshot.floor.max(watermark.floor);
    }
    if let Some(definitions) = &body.definitions {
        snapshot.definitions = Arc::clone(definitions);
    }
    for write in &body.cursors {
        let sources = write.sources.iter().map(|(source, absorbed)| {
            let identity = snapshot.tables.get(source).map_or(0, |table| table.identity);
            let seq = match absorbed {
                Absorbed::ThisCommit => seq,
                Absorbed::Through(seq) => *seq,
            };
            (source.clone(), SourceCursor { identity, seq })
        });
        let sources = sources.collect();
        let definition = write.definition.clone();
        let cursor = Cursor { definition, sources, refreshed: time };
        snapshot.cursors.insert(write.view.clone(), Arc::new(cursor));
    }
    Ok(removed)
}

/// The table to change, created where there is none.
fn table<'a>(snapshot: &'a mut Snapshot, name: &str, seq: u64) -> &'a mut Table {
    let table = snapshot
        .tables
        .entry(name.to_owned())
        .or_insert_with(|| Arc::new(Table { identity: seq, changed: seq, ..Table::default() }));
    Arc::make_mut(table)
}

fn apply_pins(snapshot: &mut Snapshot, body: &Body) {
    if body.pins.is_empty() {
        return;
    }
    let pins = Arc::make_mut(&mut snapshot.pins);
    for PinWrite { name, pin } in &body.pins {
        match pin {
            Some(pin) => drop(pins.insert(name.clone(), *pin)),
            None => drop(pins.remove(name)),
        }
    }
    // Whoever reads the time from the commit sees the same pins in every process.
    let now = snapshot.time;
    pins.retain(|_, pin| pin.expires > now);
}

fn apply_rows(
    snapshot: &mut Snapshot,
    seq: u64,
    body: &Body,
    place: &str,
    removed: &mut Vec<RemovedFile>,
) -> Result<()> {
    for name in &body.cleared {
        if let Some(table) = snapshot.tables.get(name) {
            removed.extend(table.files.iter().map(|file| removed_file(seq, file)));
        }
        let table = table(snapshot, name, seq);
        *table = Table { identity: seq, changed: seq, expired: table.expired.take(), ..Table::default() };
    }
    removal::apply(snapshot, seq, &body.removals, place, removed)?;
    removal::expire(snapshot, seq, &body.expiries, place, removed)?;
    for added in &body.added {
        let table = table(snapshot, &added.table, seq);
        table.changed = seq;
        table.rows += added.rows;
        Arc::make_mut(&mut table.files).push(Arc::new(DataFile {
            path: added.path.clone(),
            size: added.size,
            rows: added.rows,
            checksum: added.checksum,
            first_seq: seq,
            last_seq: seq,
            merged: false,
            removed: RemovedRows::default(),
        }));
    }
    for inline in &body.inline {
        let table = table(snapshot, &inline.table, seq);
        table.changed = seq;
        table.rows += inline.rows;
        table.inline.push(Arc::new(InlineRun {
            seq,
            batches: inline.batches.clone(),
            rows: inline.rows,
            bytes: inline.bytes,
            removed: RemovedRows::default(),
        }));
    }
    let flushed = body.replaced.iter().map(|replaced| &replaced.file);
    let compacted = body.compacted.iter().flat_map(|compaction| &compaction.added);
    if let Some(file) = flushed.chain(compacted).find(|file| !file.removed.is_empty()) {
        return Err(Error::corrupt(format!("commit {place} makes {} with removed rows in it", file.path)));
    }
    for replaced in &body.replaced {
        replace_inline(snapshot, &replaced.table, &replaced.file, seq, place)?;
    }
    for compaction in &body.compacted {
        compact(table(snapshot, &compaction.table, seq), compaction, seq, place, removed)?;
    }
    Ok(())
}

pub(super) fn removed_file(seq: u64, file: &DataFile) -> RemovedFile {
    RemovedFile { seq, path: file.path.clone(), size: file.size }
}

fn compact(
    table: &mut Table,
    compaction: &Compaction,
    seq: u64,
    place: &str,
    removed: &mut Vec<RemovedFile>,
) -> Result<()> {
    let wanted: HashSet<&str> = compaction.removed.iter().map(String::as_str).collect();
    let files = Arc::make_mut(&mut table.files);
    let before = files.len();
    let mut rows = 0;
    files.retain(|file| {
        let is_replaced = wanted.contains(file.path.as_str());
        if is_replaced {
            rows += file.live_rows();
            removed.push(removed_file(seq, file));
        }
        !is_replaced
    });
    let added: u64 = compaction.added.iter().map(|file| file.rows).sum();
    let merges = compaction.merged || compaction.added.iter().any(|file| file.merged);
    if before - files.len() != wanted.len() || (added != rows && !merges) {
        return Err(Error::corrupt(format!(
            "commit {place} replaces {} files of {} with {added} rows, of which {} are there, with {rows} rows",
            wanted.len(),
            compaction.table,
            before - files.len()
        )));
    }
    for file in &compaction.added {
        let position = files.partition_point(|present| present.first_seq < file.first_seq);
        files.insert(position, Arc::new(file.clone()));
    }
    table.rows = table.rows - rows + added;
    Ok(())
}

fn replace_inline(snapshot: &mut Snapshot, name: &str, file: &DataFile, seq: u64, place: &str) -> Result<()> {
    let table = table(snapshot, name, seq);
    let within = |run: &Arc<InlineRun>| (file.first_seq..=file.last_seq).contains(&run.seq);
    let rows: u64 = table.inline.iter().filter(|run| within(run)).map(|run| run.live_rows()).sum();
    if rows != file.rows {
        return Err(Error::corrupt(format!(
            "commit {place} replaces {rows} rows of {name} in commits {} to {} by a file of {} rows",
            file.first_seq, file.last_seq, file.rows
        )));
    }
    table.inline.retain(|run| !within(run));
    let files = Arc::make_mut(&mut table.files);
    let position = files.partition_point(|present| present.first_seq < file.first_seq);
    files.insert(position, Arc::new(file.clone()));
    Ok(())
}

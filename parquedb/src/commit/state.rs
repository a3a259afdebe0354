//! The database as a fold over its commits.

use super::body::{Absorbed, Body};
use super::envelope::{Hash, Header};
use super::snapshot::{Cursor, DataFile, InlineRun, Snapshot, Table};
use crate::error::{Error, Result};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use uuid::Uuid;

/// How long a batch id is remembered, in microseconds.
const BATCH_ID_LIFE: i64 = 7 * 24 * 3600 * 1_000_000;

/// The last commit of the log, as far as known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tip {
    pub(super) seq: u64,
    pub(super) commit_id: Uuid,
    pub(super) hash: Hash,
}

/// The batch ids that were committed, with the times of their commits.
#[derive(Debug, Clone, Default)]
pub(super) struct BatchIds {
    times: HashMap<String, i64>,
    order: VecDeque<(i64, String)>,
}

impl BatchIds {
    pub(super) fn contains(&self, id: &str) -> bool {
        self.times.contains_key(id)
    }

    pub(super) fn insert(&mut self, id: &str, time: i64) {
        if self.times.insert(id.to_owned(), time).is_none() {
            self.order.push_back((time, id.to_owned()));
        }
    }

    /// Forgets those whose life is over by the time of a commit.
    pub(super) fn expire(&mut self, now: i64) {
        while let Some((time, _)) = self.order.front() {
            if now.saturating_sub(*time) <= BATCH_ID_LIFE {
                return;
            }
            if let Some((_, id)) = self.order.pop_front() {
                self.times.remove(&id);
            }
        }
    }

    /// Oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &(i64, String)> {
        self.order.iter()
    }
}

/// Everything the log says up to a commit.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) tip: Tip,
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
            }),
            tip: Tip { seq: 0, commit_id: Uuid::nil(), hash: [0; 32] },
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
        let mut snapshot = self.snapshot.as_ref().clone();
        snapshot.seq = header.seq;
        snapshot.time = header.time;
        apply_rows(&mut snapshot, header.seq, body, place)?;
        if let Some(definitions) = &body.definitions {
            snapshot.definitions = Arc::clone(definitions);
        }
        for write in &body.cursors {
            let source_identity = snapshot.tables.get(&write.source).map_or(0, |table| table.identity);
            let seq = match write.absorbed {
                Absorbed::ThisCommit => header.seq,
                Absorbed::Through(seq) => seq,
            };
            let definition = write.definition.clone();
            let cursor = Cursor { definition, source_identity, seq, refreshed: header.time };
            snapshot.cursors.insert(write.view.clone(), Arc::new(cursor));
        }
        let tip = Tip { seq: header.seq, commit_id: header.commit_id, hash };
        Ok(State { snapshot: Arc::new(snapshot), tip })
    }
}

/// The table to change, created where there is none.
fn table<'a>(snapshot: &'a mut Snapshot, name: &str, seq: u64) -> &'a mut Table {
    let table = snapshot
        .tables
        .entry(name.to_owned())
        .or_insert_with(|| Arc::new(Table { identity: seq, changed: seq, ..Table::default() }));
    Arc::make_mut(table)
}

fn apply_rows(snapshot: &mut Snapshot, seq: u64, body: &Body, place: &str) -> Result<()> {
    for name in &body.cleared {
        *table(snapshot, name, seq) = Table { identity: seq, changed: seq, ..Table::default() };
    }
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
        }));
    }
    for replaced in &body.replaced {
        replace_inline(snapshot, &replaced.table, &replaced.file, seq, place)?;
    }
    Ok(())
}

fn replace_inline(snapshot: &mut Snapshot, name: &str, file: &DataFile, seq: u64, place: &str) -> Result<()> {
    let table = table(snapshot, name, seq);
    let within = |run: &Arc<InlineRun>| (file.first_seq..=file.last_seq).contains(&run.seq);
    let rows: u64 = table.inline.iter().filter(|run| within(run)).map(|run| run.rows).sum();
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

/// Why `ours`, computed without `theirs`, cannot follow it; `None` when it can.
pub(super) fn conflict(ours: &Body, theirs: &Body) -> Option<String> {
    if ours.definitions.is_some() || theirs.definitions.is_some() {
        return Some("the declared members changed".to_owned());
    }
    let touches = |body: &Body, table: &str| {
        body.inline.iter().any(|rows| rows.table == table)
            || body.added.iter().any(|file| file.table == table)
            || body.cleared.iter().any(|name| name == table)
    };
    if let Some(table) = theirs.cleared.iter().find(|table| {
        touches(ours, table)
            || ours.replaced.iter().any(|replaced| &replaced.table == *table)
            || ours.cursors.iter().any(|cursor| &cursor.source == *table)
    }) {
        return Some(format!("all rows of {table} were replaced"));
    }
    if let Some(table) = ours.cleared.iter().find(|table| {
        touches(theirs, table) || theirs.replaced.iter().any(|replaced| &replaced.table == *table)
    }) {
        return Some(format!("rows of {table} were written while they were being replaced"));
    }
    for replaced in &ours.replaced {
        if theirs.replaced.iter().any(|other| other.table == replaced.table) {
            return Some(format!("{} was flushed", replaced.table));
        }
    }
    for cursor in &ours.cursors {
        if theirs.cursors.iter().any(|other| other.view == cursor.view) || touches(theirs, &cursor.view) {
            return Some(format!("view {} was refreshed", cursor.view));
        }
        if cursor.absorbed == Absorbed::ThisCommit && touches(theirs, &cursor.source) {
            return Some(format!("{} changed, which view {} reads", cursor.source, cursor.view));
        }
    }
    // Rows for which the winner has built a view in the meantime would be missing from it.
    for cursor in &theirs.cursors {
        if touches(ours, &cursor.view) {
            return Some(format!("view {} was refreshed", cursor.view));
        }
    }
    None
}

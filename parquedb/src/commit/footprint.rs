//! What a commit touches, and whether a commit that was computed without another can follow it.

use super::body::{Absorbed, Body, CursorWrite};
use super::removal::{RunId, TableExpiry, TableRemoval};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// What a commit touches.
#[derive(Debug, Clone, Default)]
pub(super) struct Footprint {
    /// The commit that it was computed from.
    base: u64,
    definitions: bool,
    written: BTreeSet<String>,
    cleared: BTreeSet<String>,
    /// Each table at most once, and each run of it.
    removed: Arc<Vec<TableRemoval>>,
    /// Rows that expire. No change to which anybody has to pay attention but who has these rows in mind.
    expired: Arc<Vec<TableExpiry>>,
    flushed: BTreeSet<String>,
    /// The files that a compaction replaced.
    compacted: BTreeMap<String, BTreeSet<String>>,
    cursors: Vec<CursorWrite>,
    /// Hashes of the keys read or written, ascending, by table.
    keys: BTreeMap<String, Vec<u64>>,
    /// The tables of which all rows were read.
    read: BTreeSet<String>,
    /// The new floor, if it was raised.
    floor: Option<u64>,
    /// The oldest snapshot that was pinned.
    pinned: Option<u64>,
}

impl Footprint {
    pub(super) fn of(body: &Body) -> Self {
        let inline = body.inline.iter().map(|rows| &rows.table);
        let added = body.added.iter().map(|file| &file.table);
        let mut keys: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for set in &body.intent.keys {
            keys.entry(set.table.clone()).or_default().extend(&set.hashes);
        }
        keys.values_mut().for_each(|hashes| hashes.sort_unstable());
        let mut compacted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for compaction in &body.compacted {
            compacted.entry(compaction.table.clone()).or_default().extend(compaction.removed.iter().cloned());
        }
        Self {
            base: body.intent.base_seq,
            definitions: body.definitions.is_some(),
            written: inline.chain(added).cloned().collect(),
            cleared: body.cleared.iter().cloned().collect(),
            removed: Arc::clone(&body.removals),
            expired: Arc::clone(&body.expiries),
            flushed: body.replaced.iter().map(|replaced| replaced.table.clone()).collect(),
            compacted,
            cursors: body.cursors.clone(),
            keys,
            read: body.intent.keys.iter().filter(|set| set.all).map(|set| set.table.clone()).collect(),
            floor: body.watermark.map(|watermark| watermark.floor),
            pinned: body.pins.iter().filter_map(|pin| pin.pin.as_ref().map(|pin| pin.seq)).min(),
        }
    }

    /// The same, with rows of these tables.
    pub(super) fn writing<'a>(mut self, tables: impl Iterator<Item = &'a String>) -> Self {
        self.written.extend(tables.cloned());
        self
    }

    fn touches(&self, table: &str) -> bool {
        self.written.contains(table)
            || self.cleared.contains(table)
            || self.removed.iter().any(|removal| removal.table == table)
    }

    /// Whether the commit holds only for what it was computed from.
    pub(super) fn depends_on_base(&self) -> bool {
        self.definitions
            || !(self.cleared.is_empty()
                && self.removed.is_empty()
                && self.expired.is_empty()
                && self.flushed.is_empty()
                && self.compacted.is_empty()
                && self.cursors.is_empty()
                && self.keys.is_empty())
            || self.floor.is_some()
            || self.pinned.is_some()
    }

    /// Why `self`, computed without `theirs`, cannot follow it; `None` when it can.
    pub(super) fn conflict(&self, theirs: &Footprint) -> Option<String> {
        if self.definitions || theirs.definitions {
            return Some("the declared members changed".to_owned());
        }
        self.row_conflict(theirs)
            .or_else(|| self.removal_conflict(theirs))
            .or_else(|| theirs.removal_conflict(self))
            .or_else(|| self.expiry_conflict(theirs))
            .or_else(|| self.file_conflict(theirs))
            .or_else(|| self.cursor_conflict(theirs))
    }

    fn row_conflict(&self, theirs: &Footprint) -> Option<String> {
        if let Some(table) = theirs.cleared.iter().find(|table| {
            self.touches(table)
                || self.flushed.contains(*table)
                || self.compacted.contains_key(*table)
                || self.cursors.iter().any(|cursor| cursor.sources.contains_key(*table))
        }) {
            return Some(format!("all rows of {table} were replaced"));
        }
        if let Some(table) = self.cleared.iter().find(|table| {
            theirs.touches(table) || theirs.flushed.contains(*table) || theirs.compacted.contains_key(*table)
        }) {
            return Some(format!("rows of {table} were written while they were being replaced"));
        }
        if let Some(table) = self.read.iter().find(|table| theirs.touches(table)) {
            return Some(format!("{table}, of which all rows were looked at, changed"));
        }
        for (table, hashes) in &self.keys {
            let others = theirs.keys.get(table).map_or(&[][..], Vec::as_slice);
            if overlap(hashes, others) {
                return Some(format!("rows of {table} with the same keys were written"));
            }
        }
        None
    }

    /// The rows that go, by their positions.
    fn leaving(&self) -> impl Iterator<Item = &TableRemoval> {
        self.removed.iter().chain(self.expired.iter().map(|expiry| &expiry.rows))
    }

    /// Whether rows are removed where the other has, or has had, something else in mind.
    fn removal_conflict(&self, other: &Footprint) -> Option<String> {
        for TableRemoval { table, runs } in self.leaving() {
            let is_inline = |run: &RunId| matches!(run, RunId::Inline(_));
            if other.flushed.contains(table) && runs.iter().any(|removal| is_inline(&removal.run)) {
                return Some(format!("{table} was flushed while rows of it were removed"));
            }
            let compacted = other.compacted.get(table);
            let is_compacted = |run: &RunId| match run {
                RunId::File(path) => compacted.is_some_and(|files| files.contains(path)),
                RunId::Inline(_) => false,
            };
            if runs.iter().any(|removal| is_compacted(&removal.run)) {
                return Some(format!("files of {table} were compacted while rows of them were removed"));
            }
            for ours in runs {
                let theirs = other.leaving().filter(|removal| &removal.table == table);
                let theirs = theirs.flat_map(|removal| &removal.runs);
                if theirs
                    .filter(|theirs| theirs.run == ours.run)
                    .any(|theirs| !theirs.rows.is_disjoint(&ours.rows))
                {
                    return Some(format!("the same rows of {table} were removed"));
                }
            }
        }
        None
    }

    /// A group expires whole. A view that is built from rows that expire meanwhile would hold them without its being
    /// known; one that was built without rows that expire would never count them.
    fn expiry_conflict(&self, theirs: &Footprint) -> Option<String> {
        let groups =
            self.expired.iter().filter(|expiry| expiry.whole_groups).map(|expiry| &expiry.rows.table);
        if let Some(table) = groups.into_iter().find(|table| theirs.touches(table)) {
            return Some(format!("groups of {table} changed while they expired"));
        }
        let is_from = |table: &&String| self.built().any(|cursor| cursor.sources.contains_key(*table));
        if let Some(table) = theirs.expired.iter().map(|expiry| &expiry.rows.table).find(is_from) {
            return Some(format!("rows of {table} expired, from which a view was being built"));
        }
        // Until then it held nothing that could be lost, and now it has not absorbed what came later.
        let is_older = |absorbed: &Absorbed| matches!(absorbed, Absorbed::Through(seq) if *seq < self.base);
        let from_theirs =
            |cursor: &&CursorWrite| self.expires_from(cursor) && cursor.sources.values().any(is_older);
        let cursor = theirs.built().find(from_theirs)?;
        Some(format!("view {} was built without all the rows that expire", cursor.view))
    }

    /// The views that are built anew.
    fn built(&self) -> impl Iterator<Item = &CursorWrite> {
        self.cursors.iter().filter(|cursor| self.cleared.contains(&cursor.view))
    }

    /// Whether rows expire of what a view is computed from.
    fn expires_from(&self, cursor: &CursorWrite) -> bool {
        self.expired.iter().any(|expiry| cursor.sources.contains_key(&expiry.rows.table))
    }

    fn file_conflict(&self, theirs: &Footprint) -> Option<String> {
        if let Some(table) = self.flushed.intersection(&theirs.flushed).next() {
            return Some(format!("{table} was flushed"));
        }
        for (table, files) in &self.compacted {
            if theirs.compacted.get(table).is_some_and(|others| !files.is_disjoint(others)) {
                return Some(format!("files of {table} were compacted"));
            }
        }
        // A snapshot is either pinned before the floor passes it, or not at all.
        match (self.floor, theirs.pinned, self.pinned, theirs.floor) {
            (Some(floor), Some(pinned), _, _) if pinned < floor => {
                Some(format!("commit {pinned} was pinned"))
            }
            (_, _, Some(pinned), Some(floor)) if pinned < floor => {
                Some(format!("what came before commit {floor} was given up"))
            }
            (Some(_), _, _, Some(_)) => Some("garbage was collected".to_owned()),
            _ => None,
        }
    }

    fn cursor_conflict(&self, theirs: &Footprint) -> Option<String> {
        for cursor in &self.cursors {
            let other = theirs.cursors.iter().find(|other| other.view == cursor.view);
            match other {
                // Two batches, each with what a streaming view makes of it alone: one after the other.
                Some(other) if other == cursor && cursor.alone => {}
                Some(_) => return Some(format!("view {} was refreshed", cursor.view)),
                None if theirs.touches(&cursor.view) => {
                    return Some(format!("view {} was written", cursor.view));
                }
                None => {
                    let changed = cursor.sources.iter().find(|(source, absorbed)| {
                        **absorbed == Absorbed::ThisCommit && theirs.touches(source)
                    });
                    if let Some((source, _)) = changed {
                        return Some(format!("{source} changed, which view {} reads", cursor.view));
                    }
                }
            }
        }
        // Rows for which the winner has built a view in the meantime would be missing from it.
        let is_ours = |view: &str| self.cursors.iter().any(|cursor| cursor.view == view);
        let refreshed =
            theirs.cursors.iter().find(|cursor| self.touches(&cursor.view) && !is_ours(&cursor.view));
        if let Some(cursor) = refreshed {
            return Some(format!("view {} was refreshed", cursor.view));
        }
        None
    }
}

/// Whether two ascending lists have a number in common.
fn overlap(ours: &[u64], theirs: &[u64]) -> bool {
    let (mut left, mut right) = (ours.iter().peekable(), theirs.iter().peekable());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        match a.cmp(b) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => drop(left.next()),
            std::cmp::Ordering::Greater => drop(right.next()),
        }
    }
    false
}

/// The footprints of the last commits, so that changes computed a little earlier need not be computed
/// again without a reason.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<(u64, Footprint)>);

/// As many as there are between two flushes.
const REMEMBERED: usize = 256;

impl Recent {
    pub(super) fn push(&mut self, seq: u64, footprint: Footprint) {
        // A gap would hide a conflict.
        if self.0.back().is_some_and(|(last, _)| last + 1 != seq) {
            self.0.clear();
        }
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((seq, footprint));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Why changes computed from the snapshot `base` cannot follow the commits up to `tip`.
    pub(super) fn conflict(&self, ours: &Footprint, base: u64, tip: u64) -> Option<String> {
        if base >= tip {
            return None;
        }
        let first = self.0.front().map_or(u64::MAX, |(seq, _)| *seq);
        let last = self.0.back().map_or(0, |(seq, _)| *seq);
        if first > base + 1 || last < tip {
            return ours.depends_on_base().then(|| "too much has been committed since".to_owned());
        }
        self.0.iter().filter(|(seq, _)| *seq > base).find_map(|(_, theirs)| ours.conflict(theirs))
    }
}

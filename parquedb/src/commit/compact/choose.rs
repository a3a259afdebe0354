//! Which files are merged into one.
//!
//! A window is a number of neighbouring files. No file of it is larger than half of them together, so that
//! the file a row is in has at least doubled each time the row is written again: a row is written
//! about as often as the logarithm of the table's size, however long the table is written to.

use super::CompactOptions;
use crate::commit::snapshot::{DataFile, Snapshot, Table};
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

/// Neighbouring files of a table that are to become one.
#[derive(Debug, Clone)]
pub(super) struct Window {
    pub(super) table: String,
    pub(super) files: Vec<Arc<DataFile>>,
    /// The files hold states, of which those of a group become one.
    pub(super) merges: bool,
}

impl Window {
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    pub(super) fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.live_rows()).sum()
    }
}

/// All windows of a snapshot that are worth merging. `merging` are the tables that hold states which can be
/// merged; no window contains a file of `apart` together with the file before it, for the reason given.
pub(super) fn windows(
    snapshot: &Snapshot,
    options: &CompactOptions,
    merging: &BTreeSet<String>,
    apart: &HashMap<String, String>,
) -> Vec<Window> {
    let mut windows = Vec::new();
    for (name, table) in &snapshot.tables {
        let merges = merging.contains(name);
        let seen = if merges { seen(snapshot, name) } else { BTreeSet::new() };
        for stretch in stretches(table, merges, &seen, apart) {
            if stretch.iter().any(|file| is_between(&seen, file.first_seq, file.last_seq)) {
                continue;
            }
            let mut rest = stretch;
            while let Some(range) = choose(rest, options, merges, apart) {
                let files = rest[range.clone()].to_vec();
                windows.push(Window { table: name.clone(), files, merges });
                rest = &rest[range.end..];
            }
        }
    }
    windows
}

/// How far the views over a table have absorbed it. What came before and what came after must stay apart as
/// long as they have to tell one from the other.
fn seen(snapshot: &Snapshot, table: &str) -> BTreeSet<u64> {
    snapshot.cursors.values().filter_map(|cursor| cursor.sources.get(table)).map(|seen| seen.seq).collect()
}

/// Whether a view has absorbed the first of these commits and not the last.
fn is_between(seen: &BTreeSet<u64>, first: u64, last: u64) -> bool {
    first < last && seen.range(first..last).next().is_some()
}

/// Neighbours without an inline run between them, nor a commit up to which a view has absorbed them.
fn stretches<'a>(
    table: &'a Table,
    merges: bool,
    seen: &'a BTreeSet<u64>,
    apart: &'a HashMap<String, String>,
) -> impl Iterator<Item = &'a [Arc<DataFile>]> {
    table.files.chunk_by(move |before, after| {
        let next = table.inline.partition_point(|run| run.seq <= before.last_seq);
        let has_inline = table.inline.get(next).is_some_and(|run| run.seq < after.first_seq);
        let is_seen = is_between(seen, before.first_seq, after.last_seq);
        // Of merged states nobody knows the commits any more: they do not go into a file of rows.
        let is_alike = merges || !(before.merged || after.merged);
        is_alike && !has_inline && !is_seen && !apart.contains_key(&after.path)
    })
}

/// Of a file's rows so many in a hundred may be removed before it is worth being rewritten alone: reading it
/// costs nearly half as much again as needed by then.
const REMOVED_PERCENT: u64 = 30;

fn is_mostly_air(file: &DataFile) -> bool {
    file.removed.len().saturating_mul(100) > file.rows.saturating_mul(REMOVED_PERCENT)
}

/// The oldest window of a stretch, and the longest there.
fn choose(
    files: &[Arc<DataFile>],
    options: &CompactOptions,
    merges: bool,
    apart: &HashMap<String, String>,
) -> Option<Range<usize>> {
    (0..files.len()).find_map(|start| {
        let (mut total, mut largest, mut end) = (0_u64, 0, None);
        for (index, file) in files.iter().enumerate().skip(start) {
            total = total.saturating_add(file.size);
            largest = largest.max(file.size);
            let count = index + 1 - start;
            // States of several commits, not merged yet: worth a file of their own size.
            let is_unmerged = merges && !file.merged && file.first_seq != file.last_seq;
            let is_worth_it_alone = is_unmerged || is_mostly_air(file);
            let is_alone = count == 1 && is_worth_it_alone && !apart.contains_key(&file.path);
            if total > options.target_bytes && !is_alone {
                break;
            }
            let is_worth_it = if options.full || (merges && total <= options.few_states_bytes) {
                count >= 2 || is_alone
            } else {
                (count >= options.min_files && largest <= total / 2) || (is_alone && is_mostly_air(file))
            };
            if is_worth_it {
                end = Some(index + 1);
            }
        }
        end.map(|end| start..end)
    })
}

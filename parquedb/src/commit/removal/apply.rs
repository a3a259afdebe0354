//! Removes rows from a snapshot's tables.

use super::{RemovedRows, RunId, RunRemoval, TableExpiry, TableRemoval};
use crate::commit::snapshot::{DataFile, Expired, InlineRun, Snapshot, Table};
use crate::commit::state::{RemovedFile, removed_file};
use crate::error::{Error, ErrorKind, Result};
use roaring::RoaringBitmap;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Joins what is removed from one table, and from one run of it. Leaves out what removes nothing.
pub(in super::super) fn join(removals: Vec<TableRemoval>) -> Result<Vec<TableRemoval>> {
    let mut joined: BTreeMap<String, BTreeMap<RunId, RoaringBitmap>> = BTreeMap::new();
    for TableRemoval { table, runs } in removals {
        for RunRemoval { run, rows } in runs {
            if rows.is_empty() {
                continue;
            }
            let known = joined.entry(table.clone()).or_default().entry(run.clone()).or_default();
            if !known.is_disjoint(&rows) {
                return Err(Error::invalid(format!("a row of {table} in {run} is removed twice")));
            }
            *known |= rows;
        }
    }
    let smallest = |(run, mut rows): (RunId, RoaringBitmap)| {
        rows.optimize();
        RunRemoval { run, rows }
    };
    let runs = |runs: BTreeMap<RunId, RoaringBitmap>| runs.into_iter().map(smallest).collect();
    Ok(joined.into_iter().map(|(table, removed)| TableRemoval { table, runs: runs(removed) }).collect())
}

/// Makes sure that the rows to be removed are there.
///
/// # Errors
/// [`ErrorKind::Conflict`] when one is gone or its run is: then another commit was first. A position that
/// its run never had is [`ErrorKind::Invalid`].
pub(in super::super) fn check<'a>(
    snapshot: &Snapshot,
    removals: impl IntoIterator<Item = &'a TableRemoval>,
) -> Result<()> {
    for removal in removals {
        let found = Found::in_table(snapshot.tables.get(&removal.table).map(Arc::as_ref));
        for RunRemoval { run, rows } in &removal.runs {
            match found.problem(run, rows) {
                None => {}
                Some(Problem::Outside { rows: held }) => {
                    return Err(Error::invalid(format!(
                        "cannot remove row {} of {} in {run}, which has {held} rows",
                        rows.max().unwrap_or_default(),
                        removal.table
                    )));
                }
                Some(problem) => {
                    let what = problem.describe(&removal.table, run);
                    return Err(Error::new(
                        ErrorKind::Conflict,
                        format!("cannot remove rows of {}: {what}; compute the changes again", removal.table),
                    ));
                }
            }
        }
    }
    Ok(())
}

/// Removes rows. Runs of which nothing is left go, and their files to `files`.
pub(in super::super) fn apply(
    snapshot: &mut Snapshot,
    seq: u64,
    removals: &[TableRemoval],
    place: &str,
    files: &mut Vec<RemovedFile>,
) -> Result<()> {
    for removal in removals {
        let (table, count) = apply_one(snapshot, seq, removal, place, files)?;
        if count > 0 {
            table.changed = seq;
        }
    }
    Ok(())
}

/// Removes rows that have expired: views have nothing to absorb.
pub(in super::super) fn expire(
    snapshot: &mut Snapshot,
    seq: u64,
    expiries: &[TableExpiry],
    place: &str,
    files: &mut Vec<RemovedFile>,
) -> Result<()> {
    for TableExpiry { rows, on, before, .. } in expiries {
        let (table, count) = apply_one(snapshot, seq, rows, place, files)?;
        table.expired = Some(match table.expired.take() {
            None => Expired { on: Some(on.clone()), before: *before, seq, rows: count },
            Some(known) => Expired {
                on: known.on.filter(|known| known == on),
                before: known.before.max(*before),
                seq,
                rows: known.rows.saturating_add(count),
            },
        });
    }
    Ok(())
}

fn apply_one<'a>(
    snapshot: &'a mut Snapshot,
    seq: u64,
    TableRemoval { table: name, runs }: &TableRemoval,
    place: &str,
    files: &mut Vec<RemovedFile>,
) -> Result<(&'a mut Table, u64)> {
    let corrupt = |what: String| {
        Error::corrupt(format!("commit {place} removes rows of {name} that are not there: {what}"))
    };
    let table = snapshot.tables.get_mut(name).ok_or_else(|| corrupt("it has none".to_owned()))?;
    let mut wanted: HashMap<&RunId, &RoaringBitmap> = HashMap::with_capacity(runs.len());
    let found = Found::in_table(Some(table));
    let mut count = 0_u64;
    for RunRemoval { run, rows } in runs {
        if let Some(problem) = found.problem(run, rows) {
            return Err(corrupt(problem.describe(name, run)));
        }
        if wanted.insert(run, rows).is_some() {
            return Err(corrupt(format!("it names {run} twice")));
        }
        count += rows.len();
    }
    let table = Arc::make_mut(table);
    remove(table, seq, &wanted, files);
    table.rows = table.rows.checked_sub(count).ok_or_else(|| corrupt("they are too many".to_owned()))?;
    Ok((table, count))
}

fn remove(
    table: &mut Table,
    seq: u64,
    wanted: &HashMap<&RunId, &RoaringBitmap>,
    gone: &mut Vec<RemovedFile>,
) {
    if wanted.keys().any(|run| matches!(run, RunId::File(_))) {
        let files = Arc::make_mut(&mut table.files);
        for file in files.iter_mut() {
            if let Some(rows) = wanted.get(&RunId::File(file.path.clone())) {
                let removed = file.removed.with(rows);
                *file = Arc::new(DataFile { removed, ..file.as_ref().clone() });
            }
        }
        files.retain(|file| {
            let is_left = file.live_rows() > 0;
            if !is_left {
                gone.push(removed_file(seq, file));
            }
            is_left
        });
    }
    if wanted.keys().any(|run| matches!(run, RunId::Inline(_))) {
        for run in &mut table.inline {
            if let Some(rows) = wanted.get(&RunId::Inline(run.seq)) {
                let InlineRun { seq, batches, rows: held, bytes, removed } = run.as_ref();
                let removed = removed.with(rows);
                *run = Arc::new(InlineRun {
                    seq: *seq,
                    batches: batches.clone(),
                    rows: *held,
                    bytes: *bytes,
                    removed,
                });
            }
        }
        table.inline.retain(|run| run.live_rows() > 0);
    }
}

/// The runs of a table by what commits call them.
struct Found<'a>(HashMap<RunId, (u64, &'a RemovedRows)>);

/// Why rows cannot be removed.
enum Problem {
    NoRun,
    Outside { rows: u64 },
    Gone,
}

impl<'a> Found<'a> {
    fn in_table(table: Option<&'a Table>) -> Self {
        let files = table.iter().flat_map(|table| table.files.iter());
        let files = files.map(|file| (RunId::File(file.path.clone()), (file.rows, &file.removed)));
        let inline = table.iter().flat_map(|table| &table.inline);
        let inline = inline.map(|run| (RunId::Inline(run.seq), (run.rows, &run.removed)));
        Self(files.chain(inline).collect())
    }

    fn problem(&self, run: &RunId, rows: &RoaringBitmap) -> Option<Problem> {
        let Some((held, removed)) = self.0.get(run) else { return Some(Problem::NoRun) };
        if rows.max().is_some_and(|last| u64::from(last) >= *held) {
            return Some(Problem::Outside { rows: *held });
        }
        removed.shares_one_with(rows).then_some(Problem::Gone)
    }
}

impl Problem {
    fn describe(&self, table: &str, run: &RunId) -> String {
        match self {
            Problem::NoRun => format!("{run} holds no rows of {table} any more"),
            Problem::Outside { rows } => format!("{run} has only {rows} rows"),
            Problem::Gone => format!("some of those in {run} are removed already"),
        }
    }
}

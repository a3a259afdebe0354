//! Finds rows of a table by value, and where they are: so that they can be removed.
//!
//! Of each data file an index of the wanted columns is kept in memory: the hash of each row's values, and the
//! row's position. A file never changes, so the index is right as long as there is memory for it. What the
//! index gives is read and compared by value, and nothing else is read. Where all columns are wanted nothing is
//! read at all: a longer hash tells rows apart, and what they hold is known.

mod bounds;
mod index;
pub(crate) mod keys;
mod probes;
#[cfg(test)]
mod tests;

pub(crate) use index::LocateCache;

use crate::commit::snapshot::{DataFile, InlineRun, SEQ_COLUMN, Table};
use crate::commit::{RunId, RunRemoval};
use crate::error::{Error, Result};
use crate::evaluate::difference::removed_schema;
use crate::evaluate::scan::{self, POSITION_COLUMN};
use arrow::array::{ArrayRef, AsArray, UInt64Array};
use arrow::compute::{self, concat_batches, take_record_batch};
use arrow::datatypes::{Int64Type, SchemaRef, UInt64Type};
use arrow::record_batch::RecordBatch;
use bounds::ColumnValues;
pub(crate) use bounds::Side;
use datafusion::prelude::SessionContext;
use index::{FileIndex, Known};
use keys::Keys;
use probes::{Probes, hash};
use roaring::RoaringBitmap;
use std::collections::HashMap;
use std::sync::Arc;

/// Which rows to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Take {
    /// All rows that are equal to some probe.
    All,
    /// For each probe one row that is equal to it: two equal probes find two rows.
    OneEach,
}

/// Rows that were found.
#[derive(Debug)]
pub(crate) struct Located {
    /// The rows, with all stored columns and the commit each came in as [`crate::commit::snapshot::ADDED_COLUMN`].
    pub(crate) rows: RecordBatch,
    /// Where each of them is: in which of the runs, and at which position.
    places: Vec<(usize, u32)>,
    runs: Vec<RunId>,
    /// Of each row a probe that it is equal to; where each probe takes one, the probe that took it.
    pub(crate) probe_of: Vec<usize>,
    /// The probes for which nothing was found, in ascending order.
    pub(crate) missing: Vec<usize>,
}

impl Located {
    /// Nothing was found for any of so many probes.
    pub(crate) fn nothing(schema: &SchemaRef, probes: usize) -> Self {
        Self {
            rows: RecordBatch::new_empty(removed_schema(schema)),
            places: Vec::new(),
            runs: Vec::new(),
            probe_of: Vec::new(),
            missing: (0..probes).collect(),
        }
    }

    /// What removes the rows.
    pub(crate) fn removal(&self) -> Vec<RunRemoval> {
        let mut of_runs = vec![RoaringBitmap::new(); self.runs.len()];
        for (run, position) in &self.places {
            of_runs[*run].insert(*position);
        }
        let runs = self.runs.iter().zip(of_runs).filter(|(_, rows)| !rows.is_empty());
        runs.map(|(run, rows)| RunRemoval { run: run.clone(), rows }).collect()
    }

    /// Some of the rows alone.
    pub(crate) fn only(&self, rows: &[usize]) -> Result<Self> {
        let indices = rows.iter().map(|row| *row as u64).collect::<UInt64Array>();
        Ok(Self {
            rows: take_record_batch(&self.rows, &indices)?,
            places: rows.iter().map(|row| self.places[*row]).collect(),
            runs: self.runs.clone(),
            probe_of: rows.iter().map(|row| self.probe_of[*row]).collect(),
            missing: Vec::new(),
        })
    }

    /// These and other rows of the same table.
    pub(crate) fn and(mut self, other: Self) -> Result<Self> {
        self.rows = concat_batches(self.rows.schema_ref(), [&self.rows, &other.rows])?;
        let runs = self.runs.len();
        self.runs.extend(other.runs);
        self.places.extend(other.places.into_iter().map(|(run, position)| (run + runs, position)));
        self.probe_of.extend(other.probe_of);
        Ok(self)
    }
}

/// Finds the live rows of a table whose values in the columns `by` are those of a probe. Null equals null, NaN
/// equals NaN and -0.0 equals 0.0, also inside of lists, structs and maps.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] for columns that the table or the probes do not have, and the store's
/// errors.
#[expect(clippy::too_many_arguments, reason = "a table is told by its name, its columns and its runs")]
pub(crate) async fn locate(
    cache: &LocateCache,
    session: &SessionContext,
    name: &str,
    schema: &SchemaRef,
    table: &Table,
    by: &[String],
    probes: &RecordBatch,
    take: Take,
) -> Result<Located> {
    let keys = Keys::new(name, schema, by)?;
    let wanted = keys.rows(probes)?;
    let mut search = Search {
        name,
        schema,
        keys: &keys,
        probes: Probes::new(&wanted, take),
        probed: probes,
        values: ColumnValues::of(&keys, probes)?,
        fields: removed_schema(schema),
        found: Found::default(),
    };
    for run in table.inline.iter().rev() {
        search.in_commit(run)?;
    }
    for file in table.files.iter().rev() {
        search.in_file(cache, session, file).await?;
    }
    let Search { probes, fields, found, .. } = search;
    Ok(Located {
        rows: concat_batches(&fields, &found.rows)?,
        places: found.places,
        runs: found.runs,
        probe_of: found.probe_of,
        missing: probes.missing(),
    })
}

/// Where the values of a column of a file lie beside a bound: by the file's statistics, which leave nulls out. The
/// bound is a row with that column alone.
pub(crate) async fn side_of(
    cache: &LocateCache,
    session: &SessionContext,
    name: &str,
    bound: &RecordBatch,
    file: &DataFile,
) -> Result<Side> {
    let schema = bound.schema_ref();
    let by = schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    let Some(values) = ColumnValues::of(&Keys::new(name, schema, &by)?, bound)? else {
        return Ok(Side::Across);
    };
    let range = cache.range(session, &values, file).await?;
    Ok(range.map_or(Side::Across, |range| values.side(&range)))
}

/// Where rows with some values may be in the files of a table.
#[derive(Debug)]
pub(crate) enum Places {
    /// At these positions, by the files' paths: of some the values have only the same hash.
    Few(HashMap<String, RoaringBitmap>),
    /// At more than were asked for.
    TooMany,
}

/// Where in the files of a table there may be rows whose values in the columns `by` are those of a probe: at most
/// at so many positions. No row is read for that but by indexes that are made.
///
/// # Errors
/// As [`locate`].
#[expect(clippy::too_many_arguments, reason = "a table is told by its name, its columns and its runs")]
pub(crate) async fn places(
    cache: &LocateCache,
    session: &SessionContext,
    name: &str,
    schema: &SchemaRef,
    table: &Table,
    by: &[String],
    probes: &RecordBatch,
    most: u64,
) -> Result<Places> {
    let keys = Keys::new(name, schema, by)?;
    let wanted = keys.rows(probes)?;
    let search = Search {
        name,
        schema,
        keys: &keys,
        probes: Probes::new(&wanted, Take::All),
        probed: probes,
        values: ColumnValues::of(&keys, probes)?,
        fields: removed_schema(schema),
        found: Found::default(),
    };
    let (mut places, mut count) = (HashMap::new(), 0);
    for file in table.files.iter() {
        let Some(index) = search.index(cache, session, file).await? else { continue };
        let positions = search.candidates(&index, file, &RoaringBitmap::new());
        count += positions.len();
        if count > most {
            return Ok(Places::TooMany);
        }
        places.insert(file.path.clone(), positions);
    }
    Ok(Places::Few(places))
}

#[derive(Debug, Default)]
struct Found {
    runs: Vec<RunId>,
    places: Vec<(usize, u32)>,
    rows: Vec<RecordBatch>,
    probe_of: Vec<usize>,
}

/// One search, going from run to run, the newest first.
struct Search<'a> {
    name: &'a str,
    schema: &'a SchemaRef,
    keys: &'a Keys,
    probes: Probes<'a>,
    /// The probes' columns.
    probed: &'a RecordBatch,
    values: Option<ColumnValues>,
    fields: SchemaRef,
    found: Found,
}

impl Search<'_> {
    fn in_commit(&mut self, run: &InlineRun) -> Result<()> {
        self.found.runs.push(RunId::Inline(run.seq));
        let mut start = 0_usize;
        for batch in &run.batches {
            if self.probes.is_over() {
                break;
            }
            let rows = self.keys.rows(batch)?;
            let (mut taken, mut probe_of) = (Vec::new(), Vec::new());
            for index in 0..batch.num_rows() {
                let position = position(start + index, self.name)?;
                if run.removed.contains(position) {
                    continue;
                }
                if let Some(probe) = self.probes.take(rows.row(index).data()) {
                    self.found.places.push((self.found.runs.len() - 1, position));
                    taken.push(index as u64);
                    probe_of.push(probe);
                }
            }
            let commits = UInt64Array::from_value(run.seq, batch.num_rows());
            self.add(batch, &commits, &taken, probe_of)?;
            start += batch.num_rows();
        }
        Ok(())
    }

    async fn in_file(
        &mut self,
        cache: &LocateCache,
        session: &SessionContext,
        file: &Arc<DataFile>,
    ) -> Result<()> {
        if self.probes.is_over() {
            return Ok(());
        }
        let Some(index) = self.index(cache, session, file).await? else { return Ok(()) };
        self.found.runs.push(RunId::File(file.path.clone()));
        if self.keys.are_rows() {
            return self.in_index(cache, &index, file);
        }
        let mut read = RoaringBitmap::new();
        loop {
            // Of equal rows only as many as are wanted, then also those of other values with the same hash.
            let candidates = self.candidates(&index, file, &read);
            if candidates.is_empty() {
                break;
            }
            self.compare(session, file, &candidates).await?;
            read |= candidates;
        }
        Ok(())
    }

    /// The index of a file; nothing when the file cannot have what is wanted.
    async fn index(
        &self,
        cache: &LocateCache,
        session: &SessionContext,
        file: &Arc<DataFile>,
    ) -> Result<Option<Arc<FileIndex>>> {
        match cache.known(self.keys, file) {
            Known::Index(index) => return Ok(Some(index)),
            Known::Range(range) if !self.probes.any_in(&range) => return Ok(None),
            Known::Range(_) => {}
            Known::Nothing => {
                if let Some(values) = &self.values
                    && let Some(range) = cache.range(session, values, file).await?
                    && !values.any_in(&range)
                {
                    return Ok(None);
                }
            }
        }
        Ok(Some(cache.build(session, self.name, self.keys, file).await?))
    }

    /// The positions to look at: live rows that may be equal to what is still wanted.
    fn candidates(&self, index: &FileIndex, file: &DataFile, read: &RoaringBitmap) -> RoaringBitmap {
        let mut candidates = RoaringBitmap::new();
        for (hash, wanted) in self.probes.wanted() {
            let positions = index.positions(hash).iter();
            let live = positions.filter(|at| !file.removed.contains(**at) && !read.contains(**at));
            candidates.extend(live.take(wanted));
        }
        candidates
    }

    /// Finds whole rows by an index alone. They are those that are looked for, but for the sign of a zero and the
    /// bits of a NaN.
    fn in_index(&mut self, cache: &LocateCache, index: &FileIndex, file: &DataFile) -> Result<()> {
        let (mut probe_of, mut commits) = (Vec::new(), Vec::new());
        for value in self.probes.values() {
            let check = cache.check(value);
            for (position, row) in index.whole_rows(hash(value)).into_iter().flatten() {
                if row.check != check || file.removed.contains(position) {
                    continue;
                }
                let Some(probe) = self.probes.take(value) else { break };
                self.found.places.push((self.found.runs.len() - 1, position));
                probe_of.push(probe);
                commits.push(row.commit);
            }
        }
        if probe_of.is_empty() {
            return Ok(());
        }
        let taken = probe_of.iter().map(|probe| *probe as u64).collect::<UInt64Array>();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.fields.fields().len());
        for field in self.schema.fields() {
            columns.push(compute::take(&keys::column(self.probed, field)?, &taken, None)?);
        }
        columns.push(Arc::new(UInt64Array::from(commits)));
        self.found.rows.push(RecordBatch::try_new(Arc::clone(&self.fields), columns)?);
        self.found.probe_of.extend(probe_of);
        Ok(())
    }

    async fn compare(
        &mut self,
        session: &SessionContext,
        file: &Arc<DataFile>,
        candidates: &RoaringBitmap,
    ) -> Result<()> {
        let plan = scan::rows_at(self.name, self.schema, file, Some(candidates))?;
        for batch in session.execute_logical_plan(plan).await?.collect().await? {
            let column = |name: &str| {
                let missing = || Error::corrupt(format!("{} was read without its column {name}", file.path));
                batch.column_by_name(name).ok_or_else(missing)
            };
            let positions = column(POSITION_COLUMN)?.as_primitive::<Int64Type>();
            let commits = column(SEQ_COLUMN)?.as_primitive::<UInt64Type>();
            let rows = self.keys.rows(&batch)?;
            let (mut taken, mut probe_of) = (Vec::new(), Vec::new());
            for index in 0..batch.num_rows() {
                if let Some(probe) = self.probes.take(rows.row(index).data()) {
                    let position = position(positions.value(index), self.name)?;
                    self.found.places.push((self.found.runs.len() - 1, position));
                    taken.push(index as u64);
                    probe_of.push(probe);
                }
            }
            self.add(&batch, commits, &taken, probe_of)?;
        }
        Ok(())
    }

    fn add(
        &mut self,
        batch: &RecordBatch,
        commits: &UInt64Array,
        taken: &[u64],
        probe_of: Vec<usize>,
    ) -> Result<()> {
        if taken.is_empty() {
            return Ok(());
        }
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.fields.fields().len());
        for field in self.schema.fields() {
            columns.push(keys::column(batch, field)?);
        }
        columns.push(Arc::new(commits.clone()));
        let rows = RecordBatch::try_new(Arc::clone(&self.fields), columns)?;
        self.found.rows.push(take_record_batch(&rows, &UInt64Array::from(taken.to_vec()))?);
        self.found.probe_of.extend(probe_of);
        Ok(())
    }
}

/// A position as it is stored.
fn position(at: impl TryInto<u32>, table: &str) -> Result<u32> {
    at.try_into().map_err(|_| {
        Error::invalid(format!("a run of {table} has more than {} rows: they cannot be removed", u32::MAX))
    })
}

//! Indexes of data files in memory: by the hash of some columns to the position.

use super::bounds::{ColumnValues, Range};
use super::keys::Keys;
use super::position;
use super::probes::hash;
use crate::commit::snapshot::{DataFile, SEQ_COLUMN};
use crate::error::{Error, Result};
use crate::evaluate::lower::column;
use crate::evaluate::scan::{self, POSITION_COLUMN};
use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, SchemaRef, UInt64Type};
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;

/// The positions of all rows of a file, those that are removed too, by the hashes of their values.
#[derive(Debug)]
pub(super) struct FileIndex {
    /// Ascending.
    hashes: Vec<u64>,
    /// The position of the row with the hash in the same place; ascending among equal hashes.
    positions: Vec<u32>,
    /// Of an index of whole rows, in the same order: what makes reading them needless.
    whole: Option<Vec<WholeRow>>,
    range: Range,
}

/// A row that need not be read to be compared, because it has no column but those that are looked for.
///
/// Its 64 bits, of a BLAKE3 hash with a key that only this process knows, come on top of those by which rows are
/// found: of two different rows both are the same once in 2^128, and nobody can choose rows so that they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct WholeRow {
    pub(super) check: u64,
    /// The commit that it came in.
    pub(super) commit: u64,
}

/// What is known of a file.
#[derive(Debug)]
pub(super) enum Known {
    Index(Arc<FileIndex>),
    /// Only the least and the greatest value.
    Range(Range),
    Nothing,
}

impl FileIndex {
    /// Reads the columns of a file.
    async fn build(
        session: &SessionContext,
        secret: &[u8; 32],
        table: &str,
        keys: &Keys,
        file: &Arc<DataFile>,
    ) -> Result<Self> {
        let rows = scan::rows_at(table, keys.schema(), file, None)?;
        let columns = keys.schema().fields().iter().map(|field| column(field.name()));
        let columns = columns.chain([column(POSITION_COLUMN), column(SEQ_COLUMN)]).collect::<Vec<_>>();
        let plan = LogicalPlanBuilder::from(rows).project(columns)?.build()?;
        let mut batches = session.execute_logical_plan(plan).await?.execute_stream().await?;
        let (mut least, mut greatest): (Option<Vec<u8>>, Option<Vec<u8>>) = (None, None);
        let mut entries = Vec::with_capacity(usize::try_from(file.rows).unwrap_or_default());
        let mut whole: Vec<(u32, WholeRow)> = Vec::new();
        while let Some(batch) = batches.next().await.transpose()? {
            let missing = || Error::corrupt(format!("{} was read without positions or commits", file.path));
            let column = |name: &str| batch.column_by_name(name).ok_or_else(missing);
            let positions =
                column(POSITION_COLUMN)?.as_primitive_opt::<Int64Type>().ok_or_else(missing)?.values();
            let commits = column(SEQ_COLUMN)?.as_primitive_opt::<UInt64Type>().ok_or_else(missing)?.values();
            let rows = keys.rows(&batch)?;
            for ((at, commit), row) in positions.iter().zip(commits).zip(&rows) {
                let at = position(*at, table)?;
                entries.push((hash(row.data()), at));
                if keys.are_rows() {
                    whole.push((at, WholeRow { check: check(secret, row.data()), commit: *commit }));
                }
            }
            if let (Some(first), Some(last)) = (rows.iter().min(), rows.iter().max()) {
                if least.as_ref().is_none_or(|least| first.data() < least.as_slice()) {
                    least = Some(first.data().to_vec());
                }
                if greatest.as_ref().is_none_or(|greatest| last.data() > greatest.as_slice()) {
                    greatest = Some(last.data().to_vec());
                }
            }
            tokio::task::yield_now().await;
        }
        if entries.len() as u64 != file.rows {
            return Err(Error::corrupt(format!(
                "{} has {} rows instead of {}; restore it from a copy",
                file.path,
                entries.len(),
                file.rows
            )));
        }
        entries.sort_unstable();
        let (hashes, positions): (Vec<u64>, Vec<u32>) = entries.into_iter().unzip();
        let range = (least.unwrap_or_default().into(), greatest.unwrap_or_default().into());
        // Rows are read in their order, and all of them were.
        whole.sort_unstable_by_key(|(at, _)| *at);
        let in_order = |at: &u32| whole.get(*at as usize).map(|(_, row)| *row);
        let whole = keys.are_rows().then(|| positions.iter().filter_map(in_order).collect());
        Ok(Self { hashes, positions, whole, range })
    }

    /// Where the rows that may have a value are in this index.
    fn places(&self, hash: u64) -> std::ops::Range<usize> {
        let start = self.hashes.partition_point(|other| *other < hash);
        let rest = self.hashes.get(start..).unwrap_or_default();
        start..start + rest.partition_point(|other| *other == hash)
    }

    /// The positions of the rows that may have a value.
    pub(super) fn positions(&self, hash: u64) -> &[u32] {
        self.positions.get(self.places(hash)).unwrap_or_default()
    }

    /// Of an index of whole rows, the positions of the rows that may have a value.
    pub(super) fn whole_rows(&self, hash: u64) -> Option<impl Iterator<Item = (u32, WholeRow)> + '_> {
        let whole = self.whole.as_ref()?.get(self.places(hash)).unwrap_or_default();
        Some(self.positions(hash).iter().copied().zip(whole.iter().copied()))
    }

    fn bytes(&self) -> usize {
        self.hashes.len() * size_of::<u64>()
            + self.positions.len() * size_of::<u32>()
            + self.whole.as_ref().map_or(0, |whole| whole.len() * size_of::<WholeRow>())
    }
}

/// The bits by which a whole row is told from others.
pub(super) fn check(secret: &[u8; 32], value: &[u8]) -> u64 {
    let hash = blake3::keyed_hash(secret, value);
    hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// What an index is of. Files are never written again under the same path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct IndexKey {
    path: String,
    columns: SchemaRef,
}

impl IndexKey {
    fn of(keys: &Keys, file: &DataFile) -> Self {
        Self { path: file.path.clone(), columns: Arc::clone(keys.schema()) }
    }
}

/// Indexes of data files, as many as fit.
#[derive(Debug)]
pub(crate) struct LocateCache {
    limit: usize,
    /// Known to nobody.
    secret: [u8; 32],
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    indexes: HashMap<IndexKey, (Arc<FileIndex>, u64)>,
    /// Of files whose index is not kept, too; nothing where their statistics do not tell it.
    ranges: HashMap<IndexKey, Option<Range>>,
    bytes: usize,
    /// How often an index was asked for: the time by which the oldest is found.
    uses: u64,
}

/// Memory for indexes, in bytes: of about twenty million rows by some of their columns, or nine by all.
const LIMIT: usize = 256 << 20;

/// Of so many files and columns the range of values is kept.
const MOST_RANGES: usize = 1 << 16;

impl Default for LocateCache {
    fn default() -> Self {
        Self::new(LIMIT)
    }
}

impl LocateCache {
    /// A cache of so many bytes.
    pub(crate) fn new(limit: usize) -> Self {
        let random = [Uuid::new_v4(), Uuid::new_v4()].map(Uuid::into_bytes).concat();
        Self { limit, secret: *blake3::hash(&random).as_bytes(), kept: Mutex::default() }
    }

    /// The bits by which a whole row is told from others in this process.
    pub(super) fn check(&self, value: &[u8]) -> u64 {
        check(&self.secret, value)
    }

    /// What is known of a file without reading it.
    pub(super) fn known(&self, keys: &Keys, file: &DataFile) -> Known {
        let key = IndexKey::of(keys, file);
        let mut kept = self.kept();
        match (kept.get(&key), kept.ranges.get(&key)) {
            (Some(index), _) => Known::Index(index),
            (None, Some(Some(range))) => Known::Range(range.clone()),
            (None, _) => Known::Nothing,
        }
    }

    /// The range of one column's values in a file.
    pub(super) async fn range(
        &self,
        session: &SessionContext,
        values: &ColumnValues,
        file: &DataFile,
    ) -> Result<Option<Range>> {
        let key = IndexKey { path: file.path.clone(), columns: Arc::clone(values.column()) };
        if let Some(known) = self.kept().ranges.get(&key) {
            return Ok(known.clone());
        }
        let range = values.range_in(session, file).await?;
        self.kept().insert_range(key, range.clone());
        Ok(range)
    }

    /// Builds the index of a file, and keeps it if it fits.
    pub(super) async fn build(
        &self,
        session: &SessionContext,
        table: &str,
        keys: &Keys,
        file: &Arc<DataFile>,
    ) -> Result<Arc<FileIndex>> {
        let key = IndexKey::of(keys, file);
        let index = Arc::new(FileIndex::build(session, &self.secret, table, keys, file).await?);
        let mut kept = self.kept();
        kept.insert_range(key.clone(), Some(index.range.clone()));
        if index.bytes() <= self.limit {
            kept.insert(key, Arc::clone(&index), self.limit);
        }
        drop(kept);
        Ok(index)
    }

    /// Files whose index is kept.
    #[cfg(test)]
    pub(super) fn files(&self) -> usize {
        self.kept().indexes.len()
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn get(&mut self, key: &IndexKey) -> Option<Arc<FileIndex>> {
        self.uses += 1;
        let (index, used) = self.indexes.get_mut(key)?;
        *used = self.uses;
        Some(Arc::clone(index))
    }

    fn insert_range(&mut self, key: IndexKey, range: Option<Range>) {
        if self.ranges.len() >= MOST_RANGES {
            self.ranges.clear();
        }
        self.ranges.insert(key, range);
    }

    fn insert(&mut self, key: IndexKey, index: Arc<FileIndex>, limit: usize) {
        self.bytes += index.bytes();
        if let Some((before, _)) = self.indexes.insert(key, (index, self.uses)) {
            self.bytes -= before.bytes();
        }
        // The new one was used last.
        while self.bytes > limit {
            let oldest = self.indexes.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| key.clone());
            let Some((index, _)) = oldest.and_then(|oldest| self.indexes.remove(&oldest)) else { break };
            self.bytes -= index.bytes();
        }
    }
}

//! The positions of removed rows in a run, and what is left of it.

use arrow::array::BooleanArray;
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parquet::arrow::arrow_reader::RowSelection;
use roaring::RoaringBitmap;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// The positions of all rows of a run that are gone. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedRows(#[serde(with = "shared")] Option<Arc<RoaringBitmap>>);

impl From<RoaringBitmap> for RemovedRows {
    fn from(mut rows: RoaringBitmap) -> Self {
        rows.optimize();
        Self((!rows.is_empty()).then(|| Arc::new(rows)))
    }
}

impl RemovedRows {
    /// Whether all rows of the run are live.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// How many rows are gone.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.as_ref().map_or(0, |rows| rows.len())
    }

    /// Whether the row at a position is gone.
    #[must_use]
    pub fn contains(&self, position: u32) -> bool {
        self.0.as_ref().is_some_and(|rows| rows.contains(position))
    }

    /// The positions, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().flat_map(|rows| rows.iter())
    }

    pub(in super::super) fn max(&self) -> Option<u32> {
        self.0.as_ref().and_then(|rows| rows.max())
    }

    pub(super) fn shares_one_with(&self, others: &RoaringBitmap) -> bool {
        self.0.as_ref().is_some_and(|rows| !rows.is_disjoint(others))
    }

    /// These and others.
    pub(super) fn with(&self, others: &RoaringBitmap) -> Self {
        Self::from(self.0.as_ref().map_or_else(|| others.clone(), |rows| rows.as_ref() | others))
    }

    /// The rows of a Parquet file of so many rows that are left. `None` where all are.
    pub(crate) fn selection(&self, rows: u64) -> Option<RowSelection> {
        let removed = self.0.as_ref()?;
        let total = usize::try_from(rows).unwrap_or(usize::MAX);
        let mut live: Vec<Range<usize>> = Vec::new();
        let (mut start, mut gone) = (0, removed.iter());
        while let Some(range) = gone.next_range() {
            let (first, last) = (*range.start() as usize, *range.end() as usize);
            if first > start {
                live.push(start..first);
            }
            start = last.saturating_add(1);
        }
        if start < total {
            live.push(start..total);
        }
        Some(RowSelection::from_consecutive_ranges(live.into_iter(), total))
    }

    /// What is left of a run's batches. Positions count over them in their order.
    pub(crate) fn live<'a>(&self, batches: &'a [RecordBatch]) -> Result<Cow<'a, [RecordBatch]>, ArrowError> {
        let Some(removed) = &self.0 else { return Ok(Cow::Borrowed(batches)) };
        let mut left = Vec::with_capacity(batches.len());
        let mut start = 0_u32;
        for batch in batches {
            let rows = u32::try_from(batch.num_rows()).unwrap_or(u32::MAX);
            let end = start.saturating_add(rows);
            match removed.range_cardinality(start..end) {
                0 => left.push(batch.clone()),
                gone if gone == u64::from(rows) => {}
                _ => {
                    let first = start;
                    let is_live = |index| !removed.contains(first.saturating_add(index as u32));
                    let mask = BooleanBuffer::collect_bool(batch.num_rows(), is_live);
                    left.push(filter_record_batch(batch, &BooleanArray::new(mask, None))?);
                }
            }
            start = end;
        }
        Ok(Cow::Owned(left))
    }
}

/// In JSON positions are text: base64 of the portable format that all implementations of Roaring bitmaps
/// have in common.
pub(super) fn serialize<S: Serializer>(rows: &RoaringBitmap, serializer: S) -> Result<S::Ok, S::Error> {
    let mut bytes = Vec::with_capacity(rows.serialized_size());
    rows.serialize_into(&mut bytes).map_err(serde::ser::Error::custom)?;
    serializer.serialize_str(&STANDARD.encode(bytes))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RoaringBitmap, D::Error> {
    let text = Cow::<'de, str>::deserialize(deserializer)?;
    let bytes = STANDARD.decode(text.as_bytes()).map_err(de::Error::custom)?;
    let mut rest = bytes.as_slice();
    let rows = RoaringBitmap::deserialize_from(&mut rest).map_err(de::Error::custom)?;
    rows.internal_validate().map_err(de::Error::custom)?;
    if rest.is_empty() { Ok(rows) } else { Err(de::Error::custom("there are bytes after the positions")) }
}

mod shared {
    use super::{Arc, Deserializer, RoaringBitmap, Serializer};

    pub(super) fn serialize<S: Serializer>(
        rows: &Option<Arc<RoaringBitmap>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match rows {
            Some(rows) => super::serialize(rows, serializer),
            None => super::serialize(&RoaringBitmap::new(), serializer),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Arc<RoaringBitmap>>, D::Error> {
        let rows = super::deserialize(deserializer)?;
        Ok((!rows.is_empty()).then(|| Arc::new(rows)))
    }
}

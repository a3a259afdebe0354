//! Tests of the log: on memory and disk, with faults, crashes and damaged bytes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod aside;
mod backup;
mod basic;
mod compact;
mod crash;
mod damage;
mod expire;
mod fault;
mod garbage;
mod history;
mod removal;
mod scrub;
mod simulation;
mod together;
mod told;

use super::snapshot::{SEQ_COLUMN, Snapshot};
use super::{Absorbed, Changes, CursorWrite, Log, LogOptions, Sequence, TableWrite};
use super::{RemovedRows, RunId, RunRemoval, TableRemoval};
use crate::clock::ManualClock;
use crate::store::Store;
use crate::testing::seeds;
use arrow::array::{AsArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, UInt64Type};
use arrow::record_batch::RecordBatch;
use object_store::ObjectStore;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Rows of two columns, `n` and `name`.
fn batch(values: std::ops::Range<i64>) -> RecordBatch {
    let schema =
        Schema::new(vec![Field::new("n", DataType::Int64, false), Field::new("name", DataType::Utf8, true)]);
    let names = values.clone().map(|value| (value % 3 != 0).then(|| format!("row {value}")));
    let names = StringArray::from_iter(names);
    RecordBatch::try_new(
        Arc::new(schema),
        vec![Arc::new(Int64Array::from_iter_values(values)), Arc::new(names)],
    )
    .unwrap()
}

fn write(table: &str, values: std::ops::Range<i64>) -> Changes {
    Changes {
        writes: vec![TableWrite {
            table: table.to_owned(),
            is_view: false,
            batches: vec![batch(values)],
            replace: false,
        }],
        ..Changes::default()
    }
}

fn with_id(mut changes: Changes, id: &str) -> Changes {
    changes.batch_ids.push(id.to_owned());
    changes
}

fn cursor(view: &str, source: &str, absorbed: Absorbed) -> CursorWrite {
    CursorWrite {
        view: view.to_owned(),
        definition: "d".to_owned(),
        sources: BTreeMap::from([(source.to_owned(), absorbed)]),
        alone: true,
    }
}

/// Options of which nothing happens by itself, and with short waits.
fn options() -> LogOptions {
    LogOptions {
        request_timeout: Duration::from_millis(40),
        outcome_deadline: Duration::from_millis(120),
        clock: Arc::new(ManualClock::new(1_000_000)),
        ..LogOptions::default()
    }
}

async fn open(inner: &Arc<dyn ObjectStore>) -> Log {
    Log::open(Store::new(Arc::clone(inner), "db"), options()).await.unwrap()
}

fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

/// All rows of a table as (seq, n), in order, read from inline runs and files.
async fn rows(log: &Log, snapshot: &Snapshot, table: &str) -> Vec<(u64, i64)> {
    rows_in(log.store(), snapshot, table).await
}

async fn rows_in(store: &Store, snapshot: &Snapshot, table: &str) -> Vec<(u64, i64)> {
    let mut rows: Vec<_> =
        places_in(store, snapshot, table).await.into_iter().map(|place| (place.seq, place.value)).collect();
    rows.sort_unstable();
    rows
}

/// A live row, with where it is.
#[derive(Debug, Clone)]
struct Place {
    run: RunId,
    position: u32,
    seq: u64,
    value: i64,
}

/// All live rows of a table, in the order of its runs.
async fn places_in(store: &Store, snapshot: &Snapshot, table: &str) -> Vec<Place> {
    let Some(table) = snapshot.tables.get(table) else { return Vec::new() };
    let mut places = Vec::new();
    for file in table.files.iter() {
        let path = Path::parse(&file.path).unwrap();
        let bytes = store.object_store().get(&path).await.unwrap().bytes().await.unwrap();
        assert_eq!(bytes.len() as u64, file.size);
        assert_eq!(xxhash_rust::xxh3::xxh3_64(&bytes), file.checksum);
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
        let mut position = 0;
        for batch in reader {
            let batch = batch.unwrap();
            let seqs = batch.column_by_name(SEQ_COLUMN).map(|seqs| seqs.as_primitive::<UInt64Type>().clone());
            assert_eq!(seqs.is_some(), file.first_seq != file.last_seq);
            let values = batch.column_by_name("n").unwrap().as_primitive::<Int64Type>();
            for (index, value) in values.values().iter().enumerate() {
                let seq = seqs.as_ref().map_or(file.first_seq, |seqs| seqs.value(index));
                let run = RunId::File(file.path.clone());
                places.push(Place { run, position, seq, value: *value });
                position += 1;
            }
        }
        assert_eq!(u64::from(position), file.rows);
    }
    for run in &table.inline {
        let values =
            run.batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values());
        places.extend((0..).zip(values).map(|(position, value)| Place {
            run: RunId::Inline(run.seq),
            position,
            seq: run.seq,
            value: *value,
        }));
    }
    let files = table.files.iter().map(|file| (RunId::File(file.path.clone()), &file.removed));
    let inline = table.inline.iter().map(|run| (RunId::Inline(run.seq), &run.removed));
    let removed: BTreeMap<RunId, &RemovedRows> = files.chain(inline).collect();
    places.retain(|place| !removed[&place.run].contains(place.position));
    assert_eq!(places.len() as u64, table.rows);
    places
}

/// The removal of some rows of a table.
fn removal<'a>(table: &str, places: impl IntoIterator<Item = &'a Place>) -> TableRemoval {
    let mut runs: BTreeMap<RunId, RoaringBitmap> = BTreeMap::new();
    for place in places {
        assert!(runs.entry(place.run.clone()).or_default().insert(place.position));
    }
    let runs = runs.into_iter().map(|(run, rows)| RunRemoval { run, rows }).collect();
    TableRemoval { table: table.to_owned(), runs }
}

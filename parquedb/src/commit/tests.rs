//! Tests of the log: on memory and disk, with faults, crashes and damaged bytes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod backup;
mod basic;
mod compact;
mod crash;
mod damage;
mod fault;
mod garbage;
mod history;
mod scrub;
mod simulation;
mod together;
mod told;

use super::snapshot::{SEQ_COLUMN, Snapshot};
use super::{Absorbed, Changes, CursorWrite, Log, LogOptions, Sequence, TableWrite};
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
    let Some(table) = snapshot.tables.get(table) else { return Vec::new() };
    let mut rows = Vec::new();
    for file in table.files.iter() {
        let path = Path::parse(&file.path).unwrap();
        let bytes = store.object_store().get(&path).await.unwrap().bytes().await.unwrap();
        assert_eq!(bytes.len() as u64, file.size);
        assert_eq!(xxhash_rust::xxh3::xxh3_64(&bytes), file.checksum);
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
        let before = rows.len();
        for batch in reader {
            let batch = batch.unwrap();
            let seqs = batch.column_by_name(SEQ_COLUMN).map(|seqs| seqs.as_primitive::<UInt64Type>().clone());
            assert_eq!(seqs.is_some(), file.first_seq != file.last_seq);
            let values = batch.column_by_name("n").unwrap().as_primitive::<Int64Type>();
            for index in 0..batch.num_rows() {
                let seq = seqs.as_ref().map_or(file.first_seq, |seqs| seqs.value(index));
                rows.push((seq, values.value(index)));
            }
        }
        assert_eq!((rows.len() - before) as u64, file.rows);
    }
    for run in &table.inline {
        for batch in &run.batches {
            rows.extend(batch.column(0).as_primitive::<Int64Type>().values().iter().map(|n| (run.seq, *n)));
        }
    }
    assert_eq!(rows.len() as u64, table.rows);
    rows.sort_unstable();
    rows
}

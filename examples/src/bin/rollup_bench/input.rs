//! Reads the metrics file ahead of whoever takes its batches.

use super::Metrics;
use arrow::array::RecordBatch;
use arrow::compute::cast;
use futures::Stream;
use parquedb::Row;
use parquedb_cli::terminal::Failure;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc::{Sender, channel};

/// Batches read before they are asked for.
const AHEAD: usize = 2;

/// The file's rows with the collection's columns, `rows` at a time.
pub(super) fn batches(path: PathBuf, rows: usize) -> impl Stream<Item = Result<RecordBatch, Failure>> {
    let (send, mut receive) = channel(AHEAD);
    // Ends with the file, or when nobody takes its batches any more.
    tokio::task::spawn_blocking(move || {
        if let Err(failure) = read(&path, rows, &send) {
            let _ = send.blocking_send(Err(failure));
        }
    });
    futures::stream::poll_fn(move |context| receive.poll_recv(context))
}

fn read(path: &Path, rows: usize, send: &Sender<Result<RecordBatch, Failure>>) -> Result<(), Failure> {
    let file =
        File::open(path).map_err(|error| Failure::new(format!("cannot open {}: {error}", path.display())))?;
    for batch in ParquetRecordBatchReaderBuilder::try_new(file)?.with_batch_size(rows).build()? {
        if send.blocking_send(Ok(as_metrics(&batch?)?)).is_err() {
            break;
        }
    }
    Ok(())
}

/// The file's times have no zone, and its columns may be null as far as its schema tells.
fn as_metrics(batch: &RecordBatch) -> Result<RecordBatch, Failure> {
    let schema = Metrics::schema();
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let column = batch
            .column_by_name(field.name())
            .ok_or_else(|| Failure::new(format!("the file has no column `{}`", field.name())))?;
        columns.push(cast(column, field.data_type())?);
    }
    Ok(RecordBatch::try_new(schema, columns)?)
}

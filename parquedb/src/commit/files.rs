//! Rows into a Parquet file.

use super::body::{AddedFile, memory_size};
use super::layout;
use super::snapshot::SEQ_COLUMN;
use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;
use arrow::array::{Array, ArrayRef, AsArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::basic::{Compression, Encoding, Type, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use std::collections::BTreeSet;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// Small enough to prune by, large enough to compress well.
const ROWS_PER_GROUP: usize = 131_072;

/// A column with more distinct values in a row group than fit is written plainly. Parquet's own limit,
/// 1 MiB, is as much as all numbers of a group: their dictionary would cost time and save nothing.
const DICTIONARY_BYTES: usize = 128 << 10;

/// Rows of less memory than this are encoded without handing them to another thread, in bytes.
const ENCODED_AT_ONCE: usize = 64 << 10;

/// Writes rows to a new file. Where `with_seq` is set the file has one more column, with the commit
/// each row came in; otherwise the numbers do not matter.
pub(super) async fn write(
    store: &Store,
    table: String,
    is_view: bool,
    runs: Vec<(u64, Vec<RecordBatch>)>,
    with_seq: bool,
) -> Result<AddedFile> {
    let rows = runs.iter().flat_map(|(_, batches)| batches).map(|batch| batch.num_rows() as u64).sum();
    let size = runs.iter().map(|(_, batches)| memory_size(batches)).sum();
    let encoded = off_runtime(size, move || encode(&runs, with_seq)).await;
    let bytes = encoded.map_err(|error| {
        let message = format!("cannot write the rows of {table} as Parquet: {error}");
        Error::with_source(ErrorKind::Invalid, message, error)
    })?;
    put(store, table, is_view, bytes, rows).await
}

/// Puts a Parquet file under a name of its own.
pub(super) async fn put(
    store: &Store,
    table: String,
    is_view: bool,
    bytes: Bytes,
    rows: u64,
) -> Result<AddedFile> {
    let path = layout::new_data_file(&table, is_view);
    let (size, checksum) = (bytes.len() as u64, xxh3_64(&bytes));
    store.put(&path, bytes).await?;
    Ok(AddedFile { table, path: path.to_string(), size, rows, checksum })
}

pub(super) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs what computes over `size` bytes: on another thread, unless that would cost more than it gains.
pub(super) async fn off_runtime<T: Send + 'static>(
    size: usize,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    if size < ENCODED_AT_ONCE {
        return work();
    }
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(Box::new(error) as Box<_>))
}

/// How files with such columns are written. Some get no statistics.
///
/// Numbers of more values than a dictionary holds are written as differences: plain ones are compressed to little
/// more, but whoever reads a few rows of each page then decompresses eight bytes for each row that is passed over.
pub(super) fn properties(
    schema: &Schema,
    without_statistics: impl IntoIterator<Item = ColumnPath>,
) -> Result<WriterProperties, Failure> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_max_row_group_row_count(Some(ROWS_PER_GROUP))
        .set_dictionary_page_size_limit(DICTIONARY_BYTES);
    for column in ArrowSchemaConverter::new().convert(schema)?.columns() {
        if matches!(column.physical_type(), Type::INT32 | Type::INT64) {
            properties = properties.set_column_encoding(column.path().clone(), Encoding::DELTA_BINARY_PACKED);
        }
    }
    for column in without_statistics {
        properties = properties.set_column_statistics_enabled(column, EnabledStatistics::None);
    }
    Ok(properties.build())
}

/// The schema with the column that tells which commit each row came in.
pub(super) fn with_seq_column(schema: &Schema) -> SchemaRef {
    let seq = Arc::new(Field::new(SEQ_COLUMN, DataType::UInt64, false));
    let fields: Vec<_> = schema.fields().iter().cloned().chain([seq]).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn encode(runs: &[(u64, Vec<RecordBatch>)], with_seq: bool) -> Result<Bytes, Failure> {
    let first = runs.iter().flat_map(|(_, batches)| batches).next().ok_or("there are none")?;
    let schema = if with_seq { with_seq_column(&first.schema()) } else { first.schema() };
    let properties = properties(&schema, columns_with_nan(runs))?;
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties))?;
    for (seq, batches) in runs {
        for batch in batches {
            if with_seq {
                let seqs: ArrayRef = Arc::new(UInt64Array::from_value(*seq, batch.num_rows()));
                let columns = batch.columns().iter().cloned().chain([seqs]).collect();
                writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns)?)?;
            } else {
                writer.write(batch)?;
            }
        }
    }
    Ok(Bytes::from(writer.into_inner()?))
}

/// The columns, also inside structs, in which a NaN is. Parquet's statistics leave NaNs out, so they would
/// tell that no row is greater than the greatest number, and the NaN's row would be skipped.
fn columns_with_nan(runs: &[(u64, Vec<RecordBatch>)]) -> Vec<ColumnPath> {
    let mut found = BTreeSet::new();
    for batch in runs.iter().flat_map(|(_, batches)| batches) {
        for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            find_nan(&[field.name()], column, &mut found);
        }
    }
    found.into_iter().map(ColumnPath::new).collect()
}

fn find_nan(path: &[&str], column: &ArrayRef, found: &mut BTreeSet<Vec<String>>) {
    let has_nan = match column.data_type() {
        DataType::Float32 => column.as_primitive::<Float32Type>().iter().flatten().any(f32::is_nan),
        DataType::Float64 => column.as_primitive::<Float64Type>().iter().flatten().any(f64::is_nan),
        DataType::Struct(fields) => {
            for (field, child) in fields.iter().zip(column.as_struct().columns()) {
                find_nan(&[path, &[field.name().as_str()]].concat(), child, found);
            }
            false
        }
        _ => false,
    };
    if has_nan {
        found.insert(path.iter().map(|name| (*name).to_owned()).collect());
    }
}

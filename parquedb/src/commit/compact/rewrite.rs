//! The rows of several files into one, without those that are removed.

use super::choose::Window;
use crate::commit::files::{self, Failure};
use crate::commit::snapshot::{DataFile, SEQ_COLUMN};
use crate::error::{Error, Result};
use crate::store::Store;
use arrow::array::{ArrayRef, UInt64Array, new_null_array};
use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Type;
use parquet::file::metadata::ParquetMetaData;
use parquet::schema::types::ColumnPath;
use std::collections::HashSet;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// Files read at once.
const READ_AT_ONCE: usize = 8;

/// Rows decoded at once.
const ROWS_AT_ONCE: usize = 8192;

/// A file whose bytes are those that were written.
#[derive(Debug, Clone)]
pub struct VerifiedFile {
    /// What the log says of it.
    pub file: Arc<DataFile>,
    /// All its bytes.
    pub bytes: Bytes,
}

/// Reads files whole, and makes sure that they are what was written.
pub(super) async fn read(store: &Store, window: &Window) -> Result<Vec<VerifiedFile>> {
    let mut reading = Vec::with_capacity(window.files.len());
    for file in &window.files {
        reading.push(read_one(store, Arc::clone(file), &window.table));
    }
    stream::iter(reading).buffered(READ_AT_ONCE).try_collect().await
}

async fn read_one(store: &Store, file: Arc<DataFile>, table: &str) -> Result<VerifiedFile> {
    let damaged = |what: &str| {
        Error::corrupt(format!(
            "{} in {}, a file of {table}, {what}: restore it from a copy; nothing was replaced",
            file.path,
            store.url()
        ))
    };
    let path = Path::parse(&file.path).map_err(|error| damaged(&format!("is not a path ({error})")))?;
    let bytes = store.get(&path).await?.ok_or_else(|| damaged("is missing"))?;
    if bytes.len() as u64 != file.size {
        return Err(damaged(&format!("has {} bytes instead of {}", bytes.len(), file.size)));
    }
    if xxh3_64(&bytes) != file.checksum {
        return Err(damaged("is not what was written, by its checksum"));
    }
    Ok(VerifiedFile { file, bytes })
}

/// What became of the files.
#[derive(Debug)]
pub(super) enum Joined {
    /// One file's bytes.
    Bytes(Bytes),
    /// This one, by its place, has a column of another type than the files after it.
    Differs(usize),
}

/// Writes the rows of files into one, in their order, each with its commit.
pub(super) async fn join(inputs: Vec<VerifiedFile>) -> Result<Joined, Failure> {
    let size = inputs.iter().map(|input| input.bytes.len()).sum();
    files::off_runtime(size, move || encode(inputs)).await
}

fn encode(inputs: Vec<VerifiedFile>) -> Result<Joined, Failure> {
    let opened = inputs
        .iter()
        .map(|input| {
            let metadata = ArrowReaderMetadata::load(&input.bytes, ArrowReaderOptions::new());
            metadata.map_err(|error| of(&input.file, error.to_string()))
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    let rows = match common_schema(&opened) {
        Ok(rows) => rows,
        Err(differs) => return Ok(Joined::Differs(differs)),
    };
    let commits = inputs.iter().flat_map(|input| [input.file.first_seq, input.file.last_seq]);
    let is_of_one = commits.collect::<HashSet<_>>().len() == 1;
    let schema = if is_of_one { rows } else { files::with_seq_column(&rows) };
    let plain = opened.iter().flat_map(|input| without_statistics(input.metadata()));
    let properties = files::properties(&schema, plain.collect::<HashSet<_>>())?;
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties))?;
    // Each input is dropped as soon as its rows are written.
    for (input, metadata) in inputs.into_iter().zip(opened) {
        let VerifiedFile { file, bytes } = input;
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, metadata);
        if let Some(live) = file.removed.selection(file.rows) {
            builder = builder.with_row_selection(live);
        }
        let mut count = 0;
        for batch in builder.with_batch_size(ROWS_AT_ONCE).build()? {
            let batch = batch.map_err(|error| of(&file, error.to_string()))?;
            count += batch.num_rows() as u64;
            writer.write(&with_commits(&batch, &schema, &file)?)?;
        }
        if count != file.live_rows() {
            return Err(of(&file, format!("it has {count} live rows instead of {}", file.live_rows())));
        }
    }
    Ok(Joined::Bytes(Bytes::from(writer.into_inner()?)))
}

fn of(file: &DataFile, what: String) -> Failure {
    format!("{}: {what}", file.path).into()
}

/// The columns of all files: those of the newest, and what only older ones have. Otherwise the place of the
/// newest file that does not go with those after it.
fn common_schema(opened: &[ArrowReaderMetadata]) -> Result<SchemaRef, usize> {
    let newest = opened.last().map(|input| Arc::clone(input.schema()));
    let metadata = newest.map(|schema| schema.metadata().clone()).unwrap_or_default();
    let mut fields: Vec<FieldRef> = Vec::new();
    for (index, input) in opened.iter().enumerate().rev() {
        let is_newest = index + 1 == opened.len();
        let own = || input.schema().fields().iter().filter(|field| field.name() != SEQ_COLUMN);
        for field in own() {
            match fields.iter_mut().find(|known| known.name() == field.name()) {
                Some(known) if known.data_type() != field.data_type() => return Err(index),
                Some(known) if field.is_nullable() => make_nullable(known),
                Some(_) => {}
                None => {
                    let mut field = Arc::clone(field);
                    if !is_newest {
                        make_nullable(&mut field);
                    }
                    fields.push(field);
                }
            }
        }
        for known in &mut fields {
            if !own().any(|field| field.name() == known.name()) {
                make_nullable(known);
            }
        }
    }
    Ok(Arc::new(Schema::new_with_metadata(fields, metadata)))
}

fn make_nullable(field: &mut FieldRef) {
    if !field.is_nullable() {
        *field = Arc::new(Field::clone(field).with_nullable(true));
    }
}

/// The columns of floats that were written without statistics, because there is a NaN in them.
fn without_statistics(metadata: &ParquetMetaData) -> Vec<ColumnPath> {
    let chunks = metadata.row_groups().iter().flat_map(|group| group.columns());
    chunks
        .filter(|chunk| matches!(chunk.column_type(), Type::FLOAT | Type::DOUBLE))
        .filter(|chunk| chunk.statistics().is_none())
        .map(|chunk| chunk.column_path().clone())
        .collect()
}

/// A batch of a file in the common schema, with the commit of each row.
fn with_commits(batch: &RecordBatch, schema: &SchemaRef, file: &DataFile) -> Result<RecordBatch, Failure> {
    let columns = schema
        .fields()
        .iter()
        .map(|field| match batch.column_by_name(field.name()) {
            Some(column) => Ok(Arc::clone(column)),
            None if field.name() != SEQ_COLUMN => Ok(new_null_array(field.data_type(), batch.num_rows())),
            None if file.first_seq == file.last_seq => {
                Ok(Arc::new(UInt64Array::from_value(file.first_seq, batch.num_rows())) as ArrayRef)
            }
            None => Err(of(file, format!("it has no column `{SEQ_COLUMN}`"))),
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

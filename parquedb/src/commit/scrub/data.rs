//! One data file: its size, its checksum, and that it is a Parquet file of the right rows and columns.

use super::{FindingKind, ScrubOptions, kind_of};
use crate::commit::snapshot::{DataFile, SEQ_COLUMN};
use crate::commit::work::Memory;
use crate::error::{Error, Result};
use crate::store::Store;
use crate::store::failure::{explain, is_missing_object};
use arrow::array::AsArray;
use arrow::datatypes::{Schema, SchemaRef, UInt64Type};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use std::ops::Range;
use std::sync::Arc;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// A data file that a commit or checkpoint names.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) file: DataFile,
    /// Who names it, for messages.
    pub(super) by: String,
    /// The columns it must have, where that is known.
    pub(super) columns: Option<SchemaRef>,
    /// The first snapshot that does not name it any more.
    pub(super) removed: Option<u64>,
}

/// Files of less bytes are decoded without handing them to another thread.
const DECODED_AT_ONCE: usize = 16 << 10;

type Found = Vec<(FindingKind, String)>;

/// Verifies one file. `listed` is its size as a listing gave it.
pub(super) async fn check(
    store: &Store,
    options: &ScrubOptions,
    memory: &Memory,
    named: &Named,
    listed: Option<u64>,
) -> Result<(), Found> {
    let file = &named.file;
    let damaged = |message: String| vec![(FindingKind::Damaged, message)];
    let failed = |error: Error| vec![(kind_of(&error), error.to_string())];
    let wrong_size = |size: u64| {
        damaged(format!("it has {size} bytes, {} were written; {} names it", file.size, named.by))
    };
    if let Some(size) = listed
        && size != file.size
    {
        return Err(wrong_size(size));
    }
    let path = Path::parse(&file.path)
        .map_err(|error| vec![(FindingKind::Inconsistent, format!("{} names it: {error}", named.by))])?;
    let is_large = file.size > options.memory / 4;
    let _taken = memory.take(if is_large { options.memory / 4 } else { file.size }).await;
    let (size, checksum, bytes) = read(store, &path, is_large).await.map_err(failed)?.ok_or_else(|| {
        let message = format!("{} rows are gone that {} names; restore it from a copy", file.rows, named.by);
        vec![(FindingKind::Missing, message)]
    })?;
    if size != file.size {
        return Err(wrong_size(size));
    }
    if checksum != file.checksum {
        return Err(damaged(format!(
            "its xxh3-64 is {checksum:016x}, {:016x} was written; {} names it; restore it from a copy",
            file.checksum, named.by
        )));
    }
    // Only bytes that are what was written are decoded: what is wrong with them was so from the start.
    let mut rows = Rows::new(named.clone());
    let decoded = match bytes {
        Some(bytes) if bytes.len() < DECODED_AT_ONCE => decode(bytes, rows),
        Some(bytes) => {
            let decoding = tokio::task::spawn_blocking(move || decode(bytes, rows));
            decoding.await.unwrap_or_else(|error| Err(error.to_string()))
        }
        None => read_rows(store, &path, file.size, &mut rows).await.map(|()| rows),
    };
    let rows = decoded.map_err(|message| damaged(format!("it cannot be read as Parquet: {message}")))?;
    let found = rows.finish();
    if found.is_empty() { Ok(()) } else { Err(found) }
}

/// Size and checksum of an object, and its bytes unless they are many.
async fn read(store: &Store, path: &Path, is_large: bool) -> Result<Option<(u64, u64, Option<Bytes>)>> {
    if !is_large {
        let bytes = store.get(path).await?;
        return Ok(bytes.map(|bytes| (bytes.len() as u64, xxh3_64(&bytes), Some(bytes))));
    }
    let failed = |error| explain(error, "read", path, store.url());
    let stream = match store.object_store().get_opts(path, object_store::GetOptions::default()).await {
        Ok(result) => result.into_stream(),
        Err(error) if is_missing_object(&error) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let (mut size, mut hasher) = (0, Xxh3::new());
    let mut stream = stream.map_err(failed);
    while let Some(bytes) = stream.next().await.transpose()? {
        size += bytes.len() as u64;
        hasher.update(&bytes);
    }
    Ok(Some((size, hasher.digest(), None)))
}

fn decode(bytes: Bytes, mut rows: Rows) -> Result<Rows, String> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|error| error.to_string())?;
    rows.schema(builder.schema());
    for batch in builder.build().map_err(|error| error.to_string())? {
        rows.add(&batch.map_err(|error| error.to_string())?);
    }
    Ok(rows)
}

/// A file that is read piece by piece.
struct Ranges {
    store: Arc<dyn ObjectStore>,
    path: Path,
    size: u64,
}

impl AsyncFileReader for Ranges {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        async move { Ok(self.store.get_range(&self.path, range).await?) }.boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        async move { Ok(self.store.get_ranges(&self.path, &ranges).await?) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        async move {
            let size = self.size;
            Ok(Arc::new(ParquetMetaDataReader::new().load_and_finish(self, size).await?))
        }
        .boxed()
    }
}

async fn read_rows(store: &Store, path: &Path, size: u64, rows: &mut Rows) -> Result<(), String> {
    let reader = Ranges { store: store.object_store(), path: path.clone(), size };
    let builder = ParquetRecordBatchStreamBuilder::new(reader).await.map_err(|error| error.to_string())?;
    rows.schema(builder.schema());
    let mut batches = builder.build().map_err(|error| error.to_string())?;
    while let Some(batch) = batches.next().await {
        rows.add(&batch.map_err(|error| error.to_string())?);
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// What the rows of a file say.
#[derive(Debug)]
struct Rows {
    named: Named,
    rows: u64,
    found: Found,
    /// The least and the greatest commit in the column of commits.
    commits: Option<(u64, u64)>,
}

impl Rows {
    fn new(named: Named) -> Self {
        Self { named, rows: 0, found: Vec::new(), commits: None }
    }

    fn inconsistent(&mut self, message: String) {
        self.found.push((FindingKind::Inconsistent, message));
    }

    fn schema(&mut self, schema: &Schema) {
        let has_seq = schema.column_with_name(SEQ_COLUMN).is_some();
        let file = &self.named.file;
        let several = file.first_seq != file.last_seq && !file.merged;
        if has_seq != several {
            let message = format!(
                "it holds the rows of commits {} to {} and has {} column `{SEQ_COLUMN}`",
                file.first_seq,
                file.last_seq,
                if has_seq { "a" } else { "no" }
            );
            self.inconsistent(message);
        }
        if let Some(expected) = self.named.columns.clone() {
            for difference in differences(schema, &expected) {
                self.inconsistent(difference);
            }
        }
    }

    fn add(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows() as u64;
        let seqs = batch.column_by_name(SEQ_COLUMN).and_then(|seqs| seqs.as_primitive_opt::<UInt64Type>());
        for seq in seqs.iter().flat_map(|seqs| seqs.values().iter()) {
            let (least, greatest) = self.commits.unwrap_or((*seq, *seq));
            self.commits = Some((least.min(*seq), greatest.max(*seq)));
        }
    }

    fn finish(mut self) -> Found {
        let (file, by) = (self.named.file.clone(), self.named.by.clone());
        if self.rows != file.rows {
            self.inconsistent(format!("it has {} rows, and {by} says {}", self.rows, file.rows));
        }
        if let Some((least, greatest)) = self.commits
            && (least < file.first_seq || greatest > file.last_seq)
        {
            self.inconsistent(format!(
                "it has rows of commits {least} to {greatest}, and {by} says {} to {}",
                file.first_seq, file.last_seq
            ));
        }
        self.found
    }
}

/// How the columns of a run differ from those its table must have. A column that can be null may be
/// absent: it was added later.
pub(super) fn differences(found: &Schema, expected: &Schema) -> Vec<String> {
    let mut differences = Vec::new();
    for field in found.fields().iter().filter(|field| field.name() != SEQ_COLUMN) {
        match expected.field_with_name(field.name()) {
            Ok(known) if known.data_type() == field.data_type() => {}
            Ok(known) => differences.push(format!(
                "its column `{}` is {}, and its table's is {}",
                field.name(),
                field.data_type(),
                known.data_type()
            )),
            Err(_) => differences.push(format!("its column `{}` is none of its table's", field.name())),
        }
    }
    for field in expected.fields() {
        if !field.is_nullable() && found.field_with_name(field.name()).is_err() {
            differences.push(format!("it has no column `{}`, which its table needs", field.name()));
        }
    }
    differences
}

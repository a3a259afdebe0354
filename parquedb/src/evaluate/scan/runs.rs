//! Runs as a DataFusion source: Parquet files and rows still inside commits.

use super::POSITION_COLUMN;
use super::masked::masked;
use crate::commit::RemovedRows;
use crate::commit::snapshot::{DataFile, InlineRun, SEQ_COLUMN};
use crate::error::Result;
use crate::evaluate::session::store_url;
use arrow::array::{ArrayRef, UInt64Array, new_null_array};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, Result as DataFusionResult, ScalarValue};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::parquet::{CachedParquetFileReaderFactory, ParquetRowSelection};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::datasource::{TableProvider, TableType};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::conjunction;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::union::UnionExec;
use parquet::arrow::RowNumber;
use roaring::RoaringBitmap;
use std::sync::Arc;

/// A file of which some rows are left out.
#[derive(Debug, Clone)]
pub(super) struct FileRun {
    pub(super) file: Arc<DataFile>,
    pub(super) left_out: RemovedRows,
}

impl FileRun {
    /// The live rows of a file.
    pub(super) fn live(file: Arc<DataFile>) -> Self {
        Self { left_out: file.removed.clone(), file }
    }

    /// The rows of a file at some positions, also those that are removed.
    pub(super) fn at(file: &Arc<DataFile>, positions: &RoaringBitmap) -> Self {
        let mut others = RoaringBitmap::new();
        others.insert_range(0..u32::try_from(file.rows).unwrap_or(u32::MAX));
        Self { file: Arc::clone(file), left_out: RemovedRows::from(others - positions) }
    }

    /// The commit in which its rows came, where that is not told by a column.
    fn commit(&self) -> Option<u64> {
        let DataFile { first_seq, last_seq, merged, .. } = *self.file;
        (merged || first_seq == last_seq).then_some(last_seq)
    }
}

/// Some runs of a table.
#[derive(Debug)]
pub(super) struct Runs {
    /// The columns of the table, and those that are told of each row.
    schema: SchemaRef,
    /// The columns of the table.
    stored: SchemaRef,
    told: Told,
    files: Vec<FileRun>,
    inline: Vec<Arc<InlineRun>>,
}

/// What is told of each row beside its columns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// The commit that it came in.
    pub(super) commit: bool,
    /// Its position in its file.
    pub(super) position: bool,
}

impl Runs {
    pub(super) fn new(
        stored: &SchemaRef,
        told: Told,
        files: Vec<FileRun>,
        inline: Vec<Arc<InlineRun>>,
    ) -> Self {
        let fields = stored.fields().iter().cloned();
        let commit = told.commit.then(commit_field);
        let position = told.position.then(position_field);
        let fields: Vec<FieldRef> = fields.chain(commit).chain(position).collect();
        let schema = Arc::new(Schema::new_with_metadata(fields, stored.metadata().clone()));
        Self { schema, stored: Arc::clone(stored), told, files, inline }
    }
}

fn commit_field() -> FieldRef {
    Arc::new(Field::new(SEQ_COLUMN, DataType::UInt64, false))
}

fn position_field() -> FieldRef {
    Arc::new(Field::new(POSITION_COLUMN, DataType::Int64, false).with_extension_type(RowNumber))
}

#[async_trait]
impl TableProvider for Runs {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let mut inputs: Vec<Arc<dyn ExecutionPlan>> = Vec::new();
        let (of_one, of_several): (Vec<_>, Vec<_>) =
            self.files.iter().partition(|run| !self.told.commit || run.commit().is_some());
        for (files, holds_commits) in [(of_one, false), (of_several, true)] {
            if !files.is_empty() {
                inputs.push(self.scan_files(&files, holds_commits, state, projection, filters, limit)?);
            }
        }
        if !self.inline.is_empty() || inputs.is_empty() {
            let mut batches = Vec::new();
            for run in &self.inline {
                for batch in run.removed.live(&run.batches)?.iter() {
                    batches.push(self.with_told_columns(batch, run.seq)?);
                }
            }
            inputs.push(MemorySourceConfig::try_new_exec(
                &[batches],
                Arc::clone(&self.schema),
                projection.cloned(),
            )?);
        }
        if inputs.len() == 1 {
            return Ok(inputs.remove(0));
        }
        UnionExec::try_new(inputs)
    }
}

impl Runs {
    fn scan_files(
        &self,
        files: &[&FileRun],
        holds_commits: bool,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let url = store_url()?;
        let store = state.runtime_env().object_store(&url)?;
        let cache = state.runtime_env().cache_manager.get_file_metadata_cache();
        let mut source = ParquetSource::new(self.file_schema(holds_commits))
            .with_table_parquet_options(state.default_table_options().parquet)
            .with_enable_page_index(true)
            .with_parquet_file_reader_factory(Arc::new(CachedParquetFileReaderFactory::new(store, cache)));
        if let Some(filter) = filters.iter().cloned().reduce(Expr::and) {
            let schema = DFSchema::try_from(Arc::clone(&self.schema))?;
            let predicate = state.create_physical_expr(filter, &schema)?;
            source = source.with_predicate(conjunction(vec![predicate]));
        }
        let partitions = state.config().target_partitions().max(1);
        let mut groups: Vec<Vec<PartitionedFile>> = vec![Vec::new(); partitions.min(files.len())];
        let count = groups.len();
        for (index, run) in files.iter().enumerate() {
            let DataFile { path, size, rows, .. } = run.file.as_ref();
            let mut file = PartitionedFile::new(path.clone(), *size);
            if self.told.commit && !holds_commits {
                file = file.with_partition_values(vec![ScalarValue::UInt64(run.commit())]);
            }
            if let Some(selection) = run.left_out.selection(*rows) {
                file = file.with_extension(ParquetRowSelection::new(selection));
            }
            groups[index % count].push(file);
        }
        let config = FileScanConfigBuilder::new(url, Arc::new(source))
            .with_file_groups(groups.into_iter().map(FileGroup::new).collect())
            .with_projection_indices(projection.cloned())?
            .with_limit(limit.filter(|_| filters.is_empty()))
            .build();
        masked(DataSourceExec::from_data_source(config), state)
    }

    /// The columns of a file, and those that the scan adds to each row: the commit where the file does not
    /// hold it, and the position.
    fn file_schema(&self, holds_commits: bool) -> TableSchema {
        let in_file = if self.told.commit && holds_commits {
            let fields: Vec<FieldRef> =
                self.stored.fields().iter().cloned().chain([commit_field()]).collect();
            Arc::new(Schema::new_with_metadata(fields, self.stored.metadata().clone()))
        } else {
            Arc::clone(&self.stored)
        };
        let mut schema = TableSchema::builder(in_file);
        if self.told.commit && !holds_commits {
            schema = schema.with_table_partition_cols(vec![commit_field()]);
        }
        if self.told.position {
            schema = schema.with_virtual_columns(vec![position_field()]);
        }
        schema.build()
    }

    /// A batch of a commit with nulls in the columns that the collection did not have yet, and with the commit
    /// where that is told.
    fn with_told_columns(&self, batch: &RecordBatch, seq: u64) -> Result<RecordBatch> {
        if batch.schema_ref() == &self.schema {
            return Ok(batch.clone());
        }
        let rows = batch.num_rows();
        let columns = self.schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
            Some(column) => Arc::clone(column),
            None if self.told.commit && field.name() == SEQ_COLUMN => {
                Arc::new(UInt64Array::from_value(seq, rows)) as ArrayRef
            }
            None => new_null_array(field.data_type(), rows),
        });
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns.collect(), &options)?)
    }
}

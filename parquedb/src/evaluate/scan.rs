//! A table of a snapshot as a DataFusion source: Parquet files and the runs still inside commits.

use super::session::store_url;
use crate::commit::snapshot::{DataFile, InlineRun, SEQ_COLUMN, Table};
use crate::error::Result;
use arrow::array::{ArrayRef, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::Result as DataFusionResult;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::{TableProvider, TableType, provider_as_source};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{
    Expr, LogicalPlan, LogicalPlanBuilder, TableProviderFilterPushDown, col, lit,
};
use datafusion::physical_expr::conjunction;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::union::UnionExec;
use std::sync::Arc;

/// Some runs of a table.
#[derive(Debug)]
pub(crate) struct Runs {
    schema: SchemaRef,
    files: Vec<Arc<DataFile>>,
    inline: Vec<Arc<InlineRun>>,
}

/// All rows of a table, which is empty when the snapshot has none of that name.
pub(crate) fn all_rows(name: &str, schema: &SchemaRef, table: Option<&Table>) -> Result<LogicalPlan> {
    let (files, inline) = match table {
        Some(table) => (table.files.to_vec(), table.inline.clone()),
        None => (Vec::new(), Vec::new()),
    };
    plan(name, Runs { schema: Arc::clone(schema), files, inline })
}

/// The rows of some files of a table.
pub(crate) fn rows_of(name: &str, schema: &SchemaRef, files: Vec<Arc<DataFile>>) -> Result<LogicalPlan> {
    plan(name, Runs { schema: Arc::clone(schema), files, inline: Vec::new() })
}

/// The rows that came in commits after `seq`.
pub(crate) fn rows_after(name: &str, schema: &SchemaRef, table: &Table, seq: u64) -> Result<LogicalPlan> {
    let inline = table.inline.iter().filter(|run| run.seq > seq).cloned().collect();
    let files = table.files.iter().filter(|file| file.last_seq > seq);
    let (later, straddling): (Vec<_>, Vec<_>) = files.cloned().partition(|file| file.first_seq > seq);
    let later = plan(name, Runs { schema: Arc::clone(schema), files: later, inline })?;
    if straddling.is_empty() {
        return Ok(later);
    }
    let mut fields = schema.fields().iter().cloned().collect::<Vec<_>>();
    fields.push(Arc::new(Field::new(SEQ_COLUMN, DataType::UInt64, false)));
    let with_seq = Arc::new(Schema::new(fields));
    let straddling = plan(name, Runs { schema: with_seq, files: straddling, inline: Vec::new() })?;
    let columns = schema.fields().iter().map(|field| super::lower::column(field.name())).collect::<Vec<_>>();
    let straddling = LogicalPlanBuilder::from(straddling)
        .filter(col(SEQ_COLUMN).gt(lit(seq)))?
        .project(columns.clone())?;
    Ok(straddling.union(LogicalPlanBuilder::from(later).project(columns)?.build()?)?.build()?)
}

/// The commits after `seq` whose rows a file holds, with the number of rows of each. The file is not one of
/// merged states, whose commits are not known any more.
pub(crate) fn commits_of(name: &str, file: &Arc<DataFile>, seq: u64) -> Result<LogicalPlan> {
    let schema = Arc::new(Schema::new(vec![Field::new(SEQ_COLUMN, DataType::UInt64, false)]));
    let rows = plan(name, Runs { schema, files: vec![Arc::clone(file)], inline: Vec::new() })?;
    let rows = LogicalPlanBuilder::from(rows).filter(col(SEQ_COLUMN).gt(lit(seq)))?;
    Ok(rows.aggregate(vec![col(SEQ_COLUMN)], vec![count(lit(1_i64))])?.build()?)
}

fn plan(name: &str, runs: Runs) -> Result<LogicalPlan> {
    Ok(LogicalPlanBuilder::scan(name, provider_as_source(Arc::new(runs)), None)?.build()?)
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
        if !self.files.is_empty() {
            inputs.push(self.scan_files(state, projection, filters, limit)?);
        }
        if !self.inline.is_empty() || inputs.is_empty() {
            let batches = self
                .inline
                .iter()
                .flat_map(|run| &run.batches)
                .map(|batch| with_missing_columns(batch, &self.schema))
                .collect::<Result<Vec<_>>>()?;
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
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let url = store_url()?;
        let store = state.runtime_env().object_store(&url)?;
        let cache = state.runtime_env().cache_manager.get_file_metadata_cache();
        let mut source = ParquetSource::new(Arc::clone(&self.schema))
            .with_table_parquet_options(state.default_table_options().parquet)
            .with_enable_page_index(true)
            .with_parquet_file_reader_factory(Arc::new(CachedParquetFileReaderFactory::new(store, cache)));
        if let Some(filter) = filters.iter().cloned().reduce(Expr::and) {
            let schema = datafusion::common::DFSchema::try_from(Arc::clone(&self.schema))?;
            let predicate = state.create_physical_expr(filter, &schema)?;
            source = source.with_predicate(conjunction(vec![predicate]));
        }
        let partitions = state.config().target_partitions().max(1);
        let mut groups: Vec<Vec<PartitionedFile>> = vec![Vec::new(); partitions.min(self.files.len())];
        let count = groups.len();
        for (index, file) in self.files.iter().enumerate() {
            groups[index % count].push(PartitionedFile::new(file.path.clone(), file.size));
        }
        let config = FileScanConfigBuilder::new(url, Arc::new(source))
            .with_file_groups(groups.into_iter().map(FileGroup::new).collect())
            .with_projection_indices(projection.cloned())?
            .with_limit(limit.filter(|_| filters.is_empty()))
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

/// A batch written before the collection had some of its columns, with nulls in them.
fn with_missing_columns(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if batch.schema_ref() == schema {
        return Ok(batch.clone());
    }
    let columns = schema
        .fields()
        .iter()
        .map(|field| match batch.column_by_name(field.name()) {
            Some(column) => Arc::clone(column),
            None => new_null_array(field.data_type(), batch.num_rows()),
        })
        .collect::<Vec<ArrayRef>>();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

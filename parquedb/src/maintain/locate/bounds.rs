//! Which files cannot have what is looked for: told by the least and the greatest value of a column, which
//! Parquet's statistics have.

use super::keys::{Keys, column};
use crate::commit::snapshot::DataFile;
use crate::error::Result;
use crate::evaluate::session::store_url;
use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, Rows, SortField};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use std::sync::Arc;

/// The least and the greatest value, as bytes in the same order.
pub(super) type Range = (Arc<[u8]>, Arc<[u8]>);

/// Where the values of a column lie beside a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// All are less.
    Before,
    /// None is less.
    From,
    /// Some may be less and some not.
    Across,
}

/// The values of one column in all probes: of the first one that has statistics in files.
#[derive(Debug)]
pub(super) struct ColumnValues {
    column: SchemaRef,
    converter: RowConverter,
    values: Rows,
}

impl ColumnValues {
    pub(super) fn of(keys: &Keys, probes: &RecordBatch) -> Result<Option<Self>> {
        for field in keys.schema().fields() {
            let values = column(probes, field)?;
            // Statistics leave NaN and null out.
            let is_ordered = field.data_type().is_integer()
                || field.data_type().is_temporal()
                || matches!(
                    field.data_type(),
                    DataType::Utf8 | DataType::Binary | DataType::Decimal128(_, _)
                );
            if is_ordered && values.null_count() == 0 {
                let column = Arc::new(Schema::new(vec![Arc::clone(field)]));
                let converter = RowConverter::new(vec![SortField::new(field.data_type().clone())])?;
                let values = converter.convert_columns(&[values])?;
                return Ok(Some(Self { column, converter, values }));
            }
        }
        Ok(None)
    }

    /// The column.
    pub(super) fn column(&self) -> &SchemaRef {
        &self.column
    }

    /// Whether a value is in the range.
    pub(super) fn any_in(&self, (least, greatest): &Range) -> bool {
        self.values.iter().any(|value| (least.as_ref()..=greatest.as_ref()).contains(&value.data()))
    }

    /// Where a range lies beside the first of the values.
    pub(super) fn side(&self, (least, greatest): &Range) -> Side {
        let bound = self.values.row(0);
        match (greatest.as_ref() < bound.data(), least.as_ref() < bound.data()) {
            (true, _) => Side::Before,
            (false, true) => Side::Across,
            (false, false) => Side::From,
        }
    }

    /// The range of the column's values in a file, by its statistics. Nothing where they do not tell.
    pub(super) async fn range_in(&self, session: &SessionContext, file: &DataFile) -> Result<Option<Range>> {
        let runtime = session.runtime_env();
        let store = runtime.object_store(store_url()?)?;
        let object = PartitionedFile::new(file.path.clone(), file.size).object_meta;
        let metadata = DFParquetMetadata::new(store.as_ref(), &object)
            .with_file_metadata_cache(Some(runtime.cache_manager.get_file_metadata_cache()));
        let schema = metadata.fetch_schema().await?;
        let metadata = metadata.fetch_metadata().await?;
        let wanted = self.column.field(0);
        if !schema.field_with_name(wanted.name()).is_ok_and(|found| found.data_type() == wanted.data_type()) {
            return Ok(None);
        }
        let parquet = metadata.file_metadata().schema_descr();
        let statistics =
            StatisticsConverter::try_new(wanted.name(), &schema, parquet).map_err(DataFusionError::from)?;
        let least = statistics.row_group_mins(metadata.row_groups()).map_err(DataFusionError::from)?;
        let greatest = statistics.row_group_maxes(metadata.row_groups()).map_err(DataFusionError::from)?;
        let all = |values: &ArrayRef| values.null_count() == 0 && values.data_type() == wanted.data_type();
        if !all(&least) || !all(&greatest) {
            return Ok(None);
        }
        let (least, greatest) =
            (self.converter.convert_columns(&[least])?, self.converter.convert_columns(&[greatest])?);
        let least = least.iter().min().map(|row| Arc::from(row.data()));
        Ok(least.zip(greatest.iter().max().map(|row| Arc::from(row.data()))))
    }
}

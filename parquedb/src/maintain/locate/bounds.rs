//! Which files cannot have what is looked for: told by the least and the greatest value, without reading more.

use super::keys::{Keys, column};
use crate::commit::snapshot::DataFile;
use crate::error::Result;
use crate::evaluate::lower;
use crate::evaluate::scan;
use arrow::array::Array;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, lit};
use datafusion::prelude::SessionContext;
use std::sync::Arc;

/// The least and the greatest value of a column in all probes, where Parquet's statistics can be compared
/// with them.
#[derive(Debug)]
pub(super) struct Bounds {
    schema: SchemaRef,
    within: Expr,
}

impl Bounds {
    /// Of the first column that has some.
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
            if !is_ordered || values.is_empty() || values.null_count() > 0 {
                continue;
            }
            let converter = RowConverter::new(vec![SortField::new(field.data_type().clone())])?;
            let rows = converter.convert_columns(&[Arc::clone(&values)])?;
            let at = |pick: Option<(usize, _)>| pick.map_or(0, |(at, _)| at);
            let least = at(rows.iter().enumerate().min_by(|(_, one), (_, other)| one.cmp(other)));
            let greatest = at(rows.iter().enumerate().max_by(|(_, one), (_, other)| one.cmp(other)));
            let value = |at| Ok::<_, crate::Error>(lit(ScalarValue::try_from_array(&values, at)?));
            return Ok(Some(Self {
                schema: Arc::new(Schema::new(vec![Arc::clone(field)])),
                within: lower::column(field.name()).between(value(least)?, value(greatest)?),
            }));
        }
        Ok(None)
    }

    /// Whether a file has a row between the two. Mostly its statistics tell.
    pub(super) async fn are_in(
        &self,
        session: &SessionContext,
        table: &str,
        file: &Arc<DataFile>,
    ) -> Result<bool> {
        let rows = scan::rows_at(table, &self.schema, file, None)?;
        let rows = LogicalPlanBuilder::from(rows).filter(self.within.clone())?.limit(0, Some(1))?.build()?;
        let found = session.execute_logical_plan(rows).await?.collect().await?;
        Ok(found.iter().any(|batch| batch.num_rows() > 0))
    }
}

//! Rows that come and go in one step: they cancel out.

use crate::error::Result;
use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use std::collections::HashMap;

/// Takes each row that is in both out of both, as often as it is in both.
pub(crate) fn cancel(
    schema: &SchemaRef,
    plus: Vec<RecordBatch>,
    minus: Vec<RecordBatch>,
) -> Result<(Vec<RecordBatch>, Vec<RecordBatch>)> {
    if plus.is_empty() || minus.is_empty() {
        return Ok((plus, minus));
    }
    let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
    let converter = RowConverter::new(fields)?;
    let mut leaving: HashMap<Vec<u8>, usize> = HashMap::new();
    for batch in &minus {
        for row in &converter.convert_columns(batch.columns())? {
            *leaving.entry(row.data().to_vec()).or_insert(0) += 1;
        }
    }
    let mut met: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut kept_plus = Vec::with_capacity(plus.len());
    for batch in &plus {
        let mut keep = Vec::with_capacity(batch.num_rows());
        for row in &converter.convert_columns(batch.columns())? {
            let cancels = match leaving.get_mut(row.data()) {
                Some(count) if *count > 0 => {
                    *count -= 1;
                    *met.entry(row.data().to_vec()).or_insert(0) += 1;
                    true
                }
                _ => false,
            };
            keep.push(!cancels);
        }
        push_kept(&mut kept_plus, batch, keep)?;
    }
    if met.is_empty() {
        return Ok((plus, minus));
    }
    let mut kept_minus = Vec::with_capacity(minus.len());
    for batch in &minus {
        let mut keep = Vec::with_capacity(batch.num_rows());
        for row in &converter.convert_columns(batch.columns())? {
            let cancels = met.get_mut(row.data()).is_some_and(|count| {
                let is_left = *count > 0;
                *count = count.saturating_sub(1);
                is_left
            });
            keep.push(!cancels);
        }
        push_kept(&mut kept_minus, batch, keep)?;
    }
    Ok((kept_plus, kept_minus))
}

fn push_kept(kept: &mut Vec<RecordBatch>, batch: &RecordBatch, keep: Vec<bool>) -> Result<()> {
    let batch = filter_record_batch(batch, &BooleanArray::from(keep))?;
    if batch.num_rows() > 0 {
        kept.push(batch);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use std::sync::Arc;

    fn numbers(schema: &SchemaRef, values: &[Option<i64>]) -> RecordBatch {
        RecordBatch::try_new(Arc::clone(schema), vec![Arc::new(Int64Array::from(values.to_vec()))]).unwrap()
    }

    fn values(batches: &[RecordBatch]) -> Vec<Option<i64>> {
        let columns = batches.iter().map(|batch| batch.column(0).as_primitive::<Int64Type>());
        columns.flat_map(|column| column.iter().collect::<Vec<_>>()).collect()
    }

    #[test]
    fn as_often_as_it_is_in_both() {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
        let plus =
            vec![numbers(&schema, &[Some(1), Some(2), None]), numbers(&schema, &[Some(1), Some(1), Some(3)])];
        let minus = vec![numbers(&schema, &[Some(1), None, Some(4)]), numbers(&schema, &[Some(1), None])];
        let (plus, minus) = cancel(&schema, plus, minus).unwrap();
        assert_eq!(values(&plus), [Some(2), Some(1), Some(3)]);
        assert_eq!(values(&minus), [Some(4), None]);
    }
}

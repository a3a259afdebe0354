//! Lists as bytes that are the same exactly where the lists are, and null where a list is. DataFusion joins by lists, too,
//! but loses some that have a null among their elements.

use crate::evaluate::function::ColumnFunction;
use arrow::array::{Array, ArrayRef, BinaryBuilder};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use datafusion::common::Result;
use datafusion::logical_expr::Expr;
use std::sync::Arc;

pub(super) fn list_key(list: Expr) -> Expr {
    ColumnFunction::new("list_key", |_| Ok(DataType::Binary), |columns, _| keys(columns)).call(vec![list])
}

fn keys(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let kinds = columns.iter().map(|column| SortField::new(column.data_type().clone()));
    let rows = RowConverter::new(kinds.collect())?.convert_columns(columns)?;
    let mut keys = BinaryBuilder::with_capacity(rows.num_rows(), rows.size());
    for (index, row) in rows.iter().enumerate() {
        match columns.iter().any(|column| column.is_null(index)) {
            true => keys.append_null(),
            false => keys.append_value(row),
        }
    }
    Ok(Arc::new(keys.finish()))
}

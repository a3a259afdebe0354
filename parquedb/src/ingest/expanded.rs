//! Rows of a view that gives its source's rows with the rows they refer to, whose columns are flat beside its own.

use super::column::{arrow_error, wrong_type};
use crate::declare::expand::expanded_column;
use crate::declare::record::Keyed;
use crate::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray, StructArray, make_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use std::sync::Arc;

/// The array of such rows from that of the source's rows and those of the rows referred to, which may be missing.
///
/// # Errors
/// Invalid if the arrays do not fit the fields.
pub fn finish_expanded(fields: Fields, source: ArrayRef, expansions: Vec<ArrayRef>) -> Result<ArrayRef> {
    let source = source.as_struct_opt().ok_or_else(|| not_rows(&fields, &source))?;
    let mut columns = source.columns().to_vec();
    for rows in expansions {
        let rows = rows.as_struct_opt().ok_or_else(|| not_rows(&fields, &rows))?;
        for column in rows.columns() {
            let nulls = NullBuffer::union(rows.nulls(), column.nulls());
            let column = column.to_data().into_builder().nulls(nulls).build().map_err(arrow_error)?;
            columns.push(make_array(column));
        }
    }
    let rows = StructArray::try_new_with_length(fields, columns, source.nulls().cloned(), source.len());
    Ok(Arc::new(rows.map_err(arrow_error)?))
}

fn not_rows(fields: &Fields, found: &ArrayRef) -> Error {
    wrong_type("", &DataType::Struct(fields.clone()), found.data_type())
}

/// The rows of `T` from the columns that the expansion `name` made of them; null where the key is.
///
/// # Errors
/// Invalid if a column is missing.
pub fn expanded_rows<T: Keyed>(rows: &ArrayRef, name: &str) -> Result<ArrayRef> {
    let wanted = T::fields();
    let rows = rows.as_struct_opt().ok_or_else(|| not_rows(&wanted, rows))?;
    let (mut fields, mut columns, mut nulls) = (Vec::new(), Vec::new(), None);
    for field in &wanted {
        let column_name = expanded_column(name, field.name());
        let column = rows.column_by_name(&column_name).ok_or_else(|| {
            let found = rows.column_names().join(", ");
            Error::invalid(format!("there is no column `{column_name}`; there are: {found}"))
        })?;
        if field.name() == T::KEY {
            nulls = column.logical_nulls();
        }
        fields.push(Field::new(field.name(), column.data_type().clone(), true));
        columns.push(Arc::clone(column));
    }
    let rows = StructArray::try_new_with_length(fields.into(), columns, nulls, rows.len());
    Ok(Arc::new(rows.map_err(arrow_error)?))
}

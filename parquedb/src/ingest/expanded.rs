//! Rows of a view that gives its source's rows with the rows they refer to, whose columns are flat beside its own; the
//! rows that a list refers to are one column.

use super::column::{arrow_error, wrong_type};
use crate::declare::expand::{ROWS, expanded_column};
use crate::declare::many::is_many;
use crate::declare::record::{Keyed, Record};
use crate::declare::shape::Shape;
use crate::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray, StructArray, make_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use std::sync::Arc;

/// The array of such rows from that of the source's rows and those of the rows referred to, which may be missing, or of
/// lists of such.
///
/// # Errors
/// Invalid if the arrays do not fit the fields.
pub fn finish_expanded(fields: Fields, source: ArrayRef, expansions: Vec<ArrayRef>) -> Result<ArrayRef> {
    let source = source.as_struct_opt().ok_or_else(|| not_rows(&fields, &source))?;
    let mut columns = source.columns().to_vec();
    for rows in expansions {
        let Some(rows) = rows.as_struct_opt() else {
            columns.push(rows);
            continue;
        };
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

/// What a field of type `T` refers to, from the columns that its expansion `name` made: rows, null where the key is, or
/// lists of rows.
///
/// # Errors
/// Invalid if a column is missing.
pub fn expanded_rows<T: Shape>(rows: &ArrayRef, name: &str) -> Result<ArrayRef> {
    let wanted = <T::Target as Record>::fields();
    let rows = rows.as_struct_opt().ok_or_else(|| not_rows(&wanted, rows))?;
    if is_many::<T>() {
        return found(rows, &expanded_column(name, ROWS));
    }
    let (mut fields, mut columns, mut nulls) = (Vec::new(), Vec::new(), None);
    for field in &wanted {
        let column = found(rows, &expanded_column(name, field.name()))?;
        if field.name() == <T::Target as Keyed>::KEY {
            nulls = column.logical_nulls();
        }
        fields.push(Field::new(field.name(), column.data_type().clone(), true));
        columns.push(column);
    }
    let rows = StructArray::try_new_with_length(fields.into(), columns, nulls, rows.len());
    Ok(Arc::new(rows.map_err(arrow_error)?))
}

fn found(rows: &StructArray, name: &str) -> Result<ArrayRef> {
    rows.column_by_name(name).cloned().ok_or_else(|| {
        let found = rows.column_names().join(", ");
        Error::invalid(format!("there is no column `{name}`; there are: {found}"))
    })
}

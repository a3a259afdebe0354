//! Values as bytes that are the same exactly where the values are equal.

use crate::error::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray, make_array, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, Rows, SortField};
use std::sync::Arc;

/// Some columns of a table, by which its rows are found.
#[derive(Debug)]
pub(super) struct Keys {
    schema: SchemaRef,
    are_rows: bool,
    converter: RowConverter,
}

impl Keys {
    pub(super) fn new(table: &str, schema: &Schema, by: &[String]) -> Result<Self> {
        if by.is_empty() {
            return Err(Error::invalid(format!("rows of {table} cannot be found without a column")));
        }
        let field = |name: &String| {
            let field = schema.fields().find(name).map(|(_, field)| Arc::clone(field));
            field.ok_or_else(|| Error::invalid(format!("{table} has no column `{name}` to find rows by")))
        };
        let are_rows = schema.fields().iter().all(|field| by.contains(field.name()));
        let schema = Schema::new(by.iter().map(field).collect::<Result<Vec<_>>>()?);
        let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone()));
        let converter = RowConverter::new(fields.collect())?;
        Ok(Self { schema: Arc::new(schema), are_rows, converter })
    }

    /// The columns.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Whether they are all columns: then equal keys are equal rows.
    pub(super) fn are_rows(&self) -> bool {
        self.are_rows
    }

    /// The values of some rows. Columns that the batch does not have are null.
    pub(super) fn rows(&self, batch: &RecordBatch) -> Result<Rows> {
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for field in self.schema.fields() {
            columns.push(canonical(&column(batch, field)?)?);
        }
        Ok(self.converter.convert_columns(&columns)?)
    }
}

/// A column of a batch, as it is in the table: null where the batch was written before there was such a one.
pub(crate) fn column(batch: &RecordBatch, field: &Field) -> Result<ArrayRef> {
    let Some(column) = batch.column_by_name(field.name()) else {
        return Ok(new_null_array(field.data_type(), batch.num_rows()));
    };
    if column.data_type() == field.data_type() {
        return Ok(Arc::clone(column));
    }
    Ok(cast(column, field.data_type())?)
}

/// The values with one NaN and one zero.
fn canonical(values: &ArrayRef) -> Result<ArrayRef> {
    Ok(match values.data_type() {
        DataType::Float32 => {
            let one = |value: f32| if value.is_nan() { f32::NAN } else { value + 0.0 };
            Arc::new(values.as_primitive::<Float32Type>().unary::<_, Float32Type>(one))
        }
        DataType::Float64 => {
            let one = |value: f64| if value.is_nan() { f64::NAN } else { value + 0.0 };
            Arc::new(values.as_primitive::<Float64Type>().unary::<_, Float64Type>(one))
        }
        kind if kind.is_nested() && has_floats(kind) => {
            let data = values.to_data();
            let children =
                data.child_data().iter().map(|child| Ok(canonical(&make_array(child.clone()))?.to_data()));
            let children = children.collect::<Result<Vec<_>>>()?;
            make_array(data.into_builder().child_data(children).build()?)
        }
        _ => Arc::clone(values),
    })
}

fn has_floats(kind: &DataType) -> bool {
    match kind {
        DataType::Float32 | DataType::Float64 => true,
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => has_floats(field.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_floats(field.data_type())),
        _ => false,
    }
}

//! Rows of a record to batches and back.

use super::column::{ColumnBuilder, ColumnReader, ColumnValue, Nulls, arrow_error, wrong_type};
use crate::declare::record::Record;
use crate::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray, NullBufferBuilder, RecordBatch, StructArray};
use arrow::datatypes::{DataType, Fields, Schema, SchemaRef};
use std::sync::Arc;

/// A record whose values can be rows of a table.
///
/// Implemented by `#[derive(Collection)]` and by `views!`, never by hand.
pub trait Row: Record + ColumnValue {
    /// The columns, in declaration order.
    fn schema() -> SchemaRef {
        Arc::new(Schema::new(Self::fields()))
    }

    /// The rows as one batch of [`Row::schema`].
    ///
    /// # Errors
    /// Invalid if a column would hold more than 2 GiB of text or bytes, or 2³¹ list elements.
    fn to_batch(rows: &[Self]) -> Result<RecordBatch> {
        let mut builder = Self::Builder::with_capacity(rows.len());
        for row in rows {
            builder.append(row);
        }
        let array = builder.finish().map_err(|error| error.context(Self::NAME))?;
        let columns = array.as_struct_opt().map(|rows| rows.columns().to_vec()).unwrap_or_default();
        RecordBatch::try_new(Self::schema(), columns).map_err(arrow_error)
    }

    /// The rows of a batch. Columns are found by name, so their order does not matter and others may
    /// be there too.
    ///
    /// # Errors
    /// Invalid if a column is missing, has another type, or is null where the field is not an `Option`.
    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>> {
        let array: ArrayRef = Arc::new(StructArray::from(batch.clone()));
        let read = || -> Result<Vec<Self>> {
            let reader = Self::Reader::new(&array, "")?;
            (0..batch.num_rows()).map(|index| reader.read(index)).collect()
        };
        read().map_err(|error| error.context(Self::NAME))
    }
}

/// The array of a record from the arrays of its fields.
///
/// # Errors
/// Invalid if the arrays do not fit the fields.
pub fn finish_struct(fields: Fields, columns: Vec<ArrayRef>, nulls: NullBufferBuilder) -> Result<ArrayRef> {
    let length = nulls.len();
    let array = StructArray::try_new_with_length(fields, columns, nulls.build(), length);
    Ok(Arc::new(array.map_err(arrow_error)?))
}

/// The fields of a record's array, by name.
#[derive(Debug)]
pub struct StructColumns<'a> {
    array: &'a StructArray,
    path: &'a str,
}

impl<'a> StructColumns<'a> {
    /// The fields of `array`, the column called `path`; the batch itself has an empty path.
    ///
    /// # Errors
    /// Invalid if the array is not one of records.
    pub fn new(array: &'a ArrayRef, path: &'a str, expected: &Fields) -> Result<Self> {
        match array.as_struct_opt() {
            Some(array) => Ok(Self { array, path }),
            None => Err(wrong_type(path, &DataType::Struct(expected.clone()), array.data_type())),
        }
    }

    /// The reader of the field `name`.
    ///
    /// # Errors
    /// Invalid if there is no such field or if it has another type.
    pub fn reader<R: ColumnReader>(&self, name: &str) -> Result<R> {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        let Some(column) = self.array.column_by_name(name) else {
            let found: Vec<_> = self.array.column_names();
            return Err(Error::invalid(format!(
                "there is no column `{path}`; there are: {}",
                found.join(", ")
            )));
        };
        R::new(column, &path)
    }

    /// Which records are null.
    #[must_use]
    pub fn nulls(&self) -> Nulls {
        Nulls::new(self.array, self.path)
    }
}

//! What a type must do to be a column.

use crate::{Error, Result};
use arrow::array::{Array, ArrayRef};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field};

/// A Rust type that can be stored as a column.
///
/// Implemented by this crate, by `#[derive(Collection)]` and by `views!`, never by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the type of a field",
    label = "not a column type",
    note = "a nested struct needs `#[derive(Collection)]`; integers, floats, `bool`, `String`, `Option`, `Vec`, maps \
            from `String` and the types of `parquedb::types` are columns as they are"
)]
pub trait ColumnValue: Sized + Send + Sync + 'static {
    /// Collects values into an array.
    type Builder: ColumnBuilder<Value = Self>;
    /// Takes values out of an array.
    type Reader: ColumnReader<Value = Self>;
    /// Whether the column can hold nulls: `Option` only.
    const NULLABLE: bool;

    /// The Arrow type.
    fn data_type() -> DataType;

    /// The Arrow field of a column of this type.
    fn field(name: &str) -> Field {
        Field::new(name, Self::data_type(), Self::NULLABLE)
    }
}

/// Every column type but `Option`, which columns have no second level of.
#[diagnostic::on_unimplemented(
    message = "a column cannot be an `Option` of `{Self}`",
    label = "columnar data has one kind of null: use `Option` once",
    note = "columns cannot tell `None` from `Some(None)`"
)]
pub trait NotOptional: ColumnValue {}

/// Collects values of one column into an Arrow array.
pub trait ColumnBuilder: Sized + Send {
    /// The type of the values.
    type Value;
    /// An empty column with room for so many values.
    fn with_capacity(capacity: usize) -> Self;
    /// Adds a value.
    fn append(&mut self, value: &Self::Value);
    /// Adds a null. In a column that cannot be null this is the place below a null record.
    fn append_null(&mut self);
    /// The array of everything added.
    ///
    /// # Errors
    /// Invalid if the values do not fit one array: 2 GiB of text or bytes, or 2³¹ elements in lists.
    fn finish(self) -> Result<ArrayRef>;
}

/// Takes values of one column out of an Arrow array.
pub trait ColumnReader: Sized {
    /// The type of the values.
    type Value;
    /// Reads from `array`. The `path` names the column in errors.
    ///
    /// # Errors
    /// Invalid if the array has another type.
    fn new(array: &ArrayRef, path: &str) -> Result<Self>;
    /// Whether the value at `index` is null.
    fn is_null(&self, index: usize) -> bool;
    /// The value at `index`, which must be below the array's length.
    ///
    /// # Errors
    /// Invalid if it is null and the type is not an `Option`, or if it is not a value of the type.
    fn read(&self, index: usize) -> Result<Self::Value>;
}

/// Which values of a column are null, and how the column is called.
#[derive(Debug)]
pub struct Nulls {
    buffer: Option<NullBuffer>,
    path: String,
}

impl Nulls {
    /// The nulls of `array`, the column called `path`.
    #[must_use]
    pub fn new(array: &dyn Array, path: &str) -> Self {
        let buffer = array.logical_nulls().filter(|nulls| nulls.null_count() > 0);
        Self { buffer, path: path.to_owned() }
    }

    /// Whether the value at `index` is null.
    #[inline]
    #[must_use]
    pub fn is_null(&self, index: usize) -> bool {
        self.buffer.as_ref().is_some_and(|nulls| nulls.is_null(index))
    }

    /// Fails where the value at `index` is null.
    ///
    /// # Errors
    /// Invalid, with the column and the row.
    #[inline]
    pub fn check(&self, index: usize) -> Result<()> {
        if self.is_null(index) { Err(self.unexpected(index)) } else { Ok(()) }
    }

    /// An error about the value at `index`.
    pub(super) fn error(&self, index: usize, message: impl std::fmt::Display) -> Error {
        Error::invalid(format!("column `{}`, value {index}: {message}", self.path))
    }

    #[cold]
    fn unexpected(&self, index: usize) -> Error {
        self.error(index, "it is null, but the field is not an `Option`")
    }
}

/// The error for an array of another type than the column's.
#[cold]
pub(super) fn wrong_type(path: &str, expected: &DataType, found: &DataType) -> Error {
    Error::invalid(format!("column `{path}` should be {expected} but is {found}"))
}

/// The error for a column beyond what 32-bit offsets reach.
#[cold]
pub(super) fn too_large(what: &str) -> Error {
    Error::invalid(format!(
        "a column of this batch holds more than 2 GiB of {what}: write fewer rows at once"
    ))
}

/// Any error of Arrow's own checks, which our builders satisfy by construction.
#[cold]
pub(super) fn arrow_error(error: arrow::error::ArrowError) -> Error {
    Error::with_source(crate::ErrorKind::Invalid, format!("cannot build an Arrow array: {error}"), error)
}

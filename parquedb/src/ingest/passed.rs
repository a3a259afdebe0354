//! Rows of a view that gives its source's rows: one around the other.

use super::column::{ColumnBuilder, ColumnReader, ColumnValue};
use crate::Result;
use arrow::array::ArrayRef;
use std::fmt;
use std::marker::PhantomData;

/// A row that holds a row of another record and nothing else.
pub trait Passed: Sized + Send + 'static {
    /// The other record.
    type Source: ColumnValue;
    /// The row around a source's row.
    fn around(row: Self::Source) -> Self;
    /// The source's row.
    fn row(&self) -> &Self::Source;
}

/// Collects rows as the source's.
pub struct PassedBuilder<T: Passed>(<T::Source as ColumnValue>::Builder, PhantomData<fn() -> T>);

impl<T: Passed> fmt::Debug for PassedBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PassedBuilder").finish_non_exhaustive()
    }
}

impl<T: Passed> ColumnBuilder for PassedBuilder<T> {
    type Value = T;

    fn with_capacity(capacity: usize) -> Self {
        Self(ColumnBuilder::with_capacity(capacity), PhantomData)
    }

    fn append(&mut self, value: &T) {
        self.0.append(value.row());
    }

    fn append_null(&mut self) {
        self.0.append_null();
    }

    fn finish(self) -> Result<ArrayRef> {
        self.0.finish()
    }
}

/// Takes rows out as the source's.
pub struct PassedReader<T: Passed>(<T::Source as ColumnValue>::Reader);

impl<T: Passed> fmt::Debug for PassedReader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PassedReader").finish_non_exhaustive()
    }
}

impl<T: Passed> ColumnReader for PassedReader<T> {
    type Value = T;

    fn new(array: &ArrayRef, path: &str) -> Result<Self> {
        ColumnReader::new(array, path).map(Self)
    }

    fn is_null(&self, index: usize) -> bool {
        self.0.is_null(index)
    }

    fn read(&self, index: usize) -> Result<T> {
        self.0.read(index).map(T::around)
    }
}

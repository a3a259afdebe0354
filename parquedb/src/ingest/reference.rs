//! Columns of references: those of the keys referred to.

use super::column::{ColumnBuilder, ColumnReader, ColumnValue, NotOptional};
use crate::Result;
use crate::declare::record::Keyed;
use crate::types::Ref;
use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use std::fmt;

impl<T: Keyed> ColumnValue for Ref<T> {
    type Builder = ReferenceBuilder<T>;
    type Reader = ReferenceReader<T>;
    const NULLABLE: bool = false;
    fn data_type() -> DataType {
        T::Key::data_type()
    }
}

impl<T: Keyed> NotOptional for Ref<T> {}

/// Collects keys.
pub struct ReferenceBuilder<T: Keyed>(<T::Key as ColumnValue>::Builder);

impl<T: Keyed> fmt::Debug for ReferenceBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReferenceBuilder").finish_non_exhaustive()
    }
}

impl<T: Keyed> ColumnBuilder for ReferenceBuilder<T> {
    type Value = Ref<T>;

    fn with_capacity(capacity: usize) -> Self {
        Self(ColumnBuilder::with_capacity(capacity))
    }

    #[inline]
    fn append(&mut self, value: &Ref<T>) {
        self.0.append(value.key());
    }

    #[inline]
    fn append_null(&mut self) {
        self.0.append_null();
    }

    fn finish(self) -> Result<ArrayRef> {
        self.0.finish()
    }
}

/// Takes keys out of an array.
pub struct ReferenceReader<T: Keyed>(<T::Key as ColumnValue>::Reader);

impl<T: Keyed> fmt::Debug for ReferenceReader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReferenceReader").finish_non_exhaustive()
    }
}

impl<T: Keyed> ColumnReader for ReferenceReader<T> {
    type Value = Ref<T>;

    fn new(array: &ArrayRef, path: &str) -> Result<Self> {
        ColumnReader::new(array, path).map(Self)
    }

    #[inline]
    fn is_null(&self, index: usize) -> bool {
        self.0.is_null(index)
    }

    #[inline]
    fn read(&self, index: usize) -> Result<Ref<T>> {
        self.0.read(index).map(Ref::new)
    }
}

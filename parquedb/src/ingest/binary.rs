//! Columns of text, bytes and 16-byte identifiers.

use super::column::{
    ColumnBuilder, ColumnReader, ColumnValue, NotOptional, Nulls, arrow_error, too_large, wrong_type,
};
use crate::Result;
use crate::types::{Bytes, Json, Ulid, Uuid};
use arrow::array::types::{BinaryType, ByteArrayType, Utf8Type};
use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryArray, GenericByteArray, GenericByteBuilder, NullBufferBuilder,
};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// The metadata key that names a field's extension type.
const EXTENSION: &str = "ARROW:extension:name";

/// A value that is a run of bytes in Arrow.
pub trait Text: ColumnValue {
    /// The Arrow type: text or bytes.
    type Arrow: ByteArrayType<Offset = i32>;
    /// The bytes that are stored.
    fn as_native(&self) -> &<Self::Arrow as ByteArrayType>::Native;
    /// The value that was stored, or why it is none.
    ///
    /// # Errors
    /// Invalid if the bytes are not a value of this type.
    fn from_native(native: &<Self::Arrow as ByteArrayType>::Native) -> Result<Self>;
}

/// Collects text or bytes.
pub struct TextBuilder<T: Text> {
    values: GenericByteBuilder<T::Arrow>,
    overflow: bool,
}

impl<T: Text> fmt::Debug for TextBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextBuilder").field("overflow", &self.overflow).finish_non_exhaustive()
    }
}

impl<T: Text> ColumnBuilder for TextBuilder<T> {
    type Value = T;

    fn with_capacity(capacity: usize) -> Self {
        Self { values: GenericByteBuilder::with_capacity(capacity, capacity * 16), overflow: false }
    }

    #[inline]
    fn append(&mut self, value: &T) {
        let native = value.as_native();
        let bytes: &[u8] = native.as_ref();
        // Arrow panics where the 32-bit offset ends; `finish` reports it instead.
        if self.values.values_slice().len() + bytes.len() > i32::MAX as usize {
            self.overflow = true;
            self.values.append_null();
        } else {
            self.values.append_value(native);
        }
    }

    #[inline]
    fn append_null(&mut self) {
        self.values.append_null();
    }

    fn finish(mut self) -> Result<ArrayRef> {
        if self.overflow {
            return Err(too_large("text or bytes"));
        }
        Ok(Arc::new(self.values.finish()))
    }
}

/// Takes text or bytes out of an array.
pub struct TextReader<T: Text> {
    values: GenericByteArray<T::Arrow>,
    nulls: Nulls,
}

impl<T: Text> fmt::Debug for TextReader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextReader").field("nulls", &self.nulls).finish_non_exhaustive()
    }
}

impl<T: Text> ColumnReader for TextReader<T> {
    type Value = T;

    fn new(array: &ArrayRef, path: &str) -> Result<Self> {
        let expected = <T::Arrow as ByteArrayType>::DATA_TYPE;
        let plain = if other_layout(&expected, array.data_type()) {
            arrow::compute::cast(array, &expected).map_err(arrow_error)?
        } else {
            Arc::clone(array)
        };
        let values = plain
            .as_bytes_opt::<T::Arrow>()
            .ok_or_else(|| wrong_type(path, &expected, array.data_type()))?
            .clone();
        Ok(Self { nulls: Nulls::new(&values, path), values })
    }

    #[inline]
    fn is_null(&self, index: usize) -> bool {
        self.nulls.is_null(index)
    }

    #[inline]
    fn read(&self, index: usize) -> Result<T> {
        self.nulls.check(index)?;
        T::from_native(self.values.value(index)).map_err(|error| self.nulls.error(index, error))
    }
}

/// Whether `found` holds the same values as `expected` in another of Arrow's layouts, as query
/// engines like to have it.
fn other_layout(expected: &DataType, found: &DataType) -> bool {
    match (expected, found) {
        (DataType::Utf8, DataType::LargeUtf8 | DataType::Utf8View)
        | (DataType::Binary, DataType::LargeBinary | DataType::BinaryView) => true,
        (_, DataType::Dictionary(_, value)) => **value == *expected || other_layout(expected, value),
        _ => false,
    }
}

macro_rules! texts {
    ($($type:ty as $arrow:ty: |$value:ident| $to:expr, |$native:ident| $from:expr $(, extension $extension:literal)?;)*) => { $(
        impl ColumnValue for $type {
            type Builder = TextBuilder<$type>;
            type Reader = TextReader<$type>;
            const NULLABLE: bool = false;
            fn data_type() -> DataType {
                <$arrow>::DATA_TYPE
            }
            $(
                fn field(name: &str) -> Field {
                    extended(Field::new(name, Self::data_type(), false), $extension)
                }
            )?
        }

        impl NotOptional for $type {}

        impl Text for $type {
            type Arrow = $arrow;
            #[inline]
            fn as_native(&self) -> &<$arrow as ByteArrayType>::Native {
                let $value = self;
                $to
            }
            #[inline]
            fn from_native($native: &<$arrow as ByteArrayType>::Native) -> Result<Self> {
                $from
            }
        }
    )* };
}

texts! {
    String as Utf8Type: |value| value.as_str(), |native| Ok(native.to_owned());
    Bytes as BinaryType: |value| value.as_ref(), |native| Ok(Bytes::copy_from_slice(native));
    Json as Utf8Type: |value| value.as_str(), |native| Json::parse(native), extension "arrow.json";
}

fn extended(field: Field, extension: &str) -> Field {
    field.with_metadata([(EXTENSION.to_owned(), extension.to_owned())].into())
}

/// An identifier of sixteen bytes.
pub trait Identifier: ColumnValue {
    /// The bytes, most significant first: their order is that of the identifiers.
    fn to_bytes(&self) -> [u8; 16];
    /// The identifier of these bytes.
    fn from_bytes(bytes: [u8; 16]) -> Self;
}

/// Collects identifiers.
#[derive(Debug)]
pub struct IdentifierBuilder<T> {
    values: Vec<u8>,
    nulls: NullBufferBuilder,
    value: PhantomData<T>,
}

impl<T: Identifier> ColumnBuilder for IdentifierBuilder<T> {
    type Value = T;

    fn with_capacity(capacity: usize) -> Self {
        Self {
            values: Vec::with_capacity(capacity * 16),
            nulls: NullBufferBuilder::new(capacity),
            value: PhantomData,
        }
    }

    #[inline]
    fn append(&mut self, value: &T) {
        self.values.extend_from_slice(&value.to_bytes());
        self.nulls.append_non_null();
    }

    #[inline]
    fn append_null(&mut self) {
        self.values.extend_from_slice(&[0; 16]);
        self.nulls.append_null();
    }

    fn finish(self) -> Result<ArrayRef> {
        let array = FixedSizeBinaryArray::try_new(16, Buffer::from(self.values), self.nulls.build());
        Ok(Arc::new(array.map_err(arrow_error)?))
    }
}

/// Takes identifiers out of an array.
#[derive(Debug)]
pub struct IdentifierReader<T> {
    values: FixedSizeBinaryArray,
    nulls: Nulls,
    value: PhantomData<T>,
}

impl<T: Identifier> ColumnReader for IdentifierReader<T> {
    type Value = T;

    fn new(array: &ArrayRef, path: &str) -> Result<Self> {
        let expected = DataType::FixedSizeBinary(16);
        let values = array
            .as_fixed_size_binary_opt()
            .filter(|array| array.value_length() == 16)
            .ok_or_else(|| wrong_type(path, &expected, array.data_type()))?
            .clone();
        Ok(Self { nulls: Nulls::new(&values, path), values, value: PhantomData })
    }

    #[inline]
    fn is_null(&self, index: usize) -> bool {
        self.nulls.is_null(index)
    }

    #[inline]
    fn read(&self, index: usize) -> Result<T> {
        self.nulls.check(index)?;
        let bytes = self.values.value(index).try_into();
        bytes.map(T::from_bytes).map_err(|error| self.nulls.error(index, error))
    }
}

macro_rules! identifiers {
    ($($type:ty: |$value:ident| $to:expr, |$bytes:ident| $from:expr, |$field:ident| $extended:expr;)*) => { $(
        impl ColumnValue for $type {
            type Builder = IdentifierBuilder<$type>;
            type Reader = IdentifierReader<$type>;
            const NULLABLE: bool = false;
            fn data_type() -> DataType {
                DataType::FixedSizeBinary(16)
            }
            fn field(name: &str) -> Field {
                let $field = Field::new(name, Self::data_type(), false);
                $extended
            }
        }

        impl NotOptional for $type {}

        impl Identifier for $type {
            #[inline]
            fn to_bytes(&self) -> [u8; 16] {
                let $value = self;
                $to
            }
            #[inline]
            fn from_bytes($bytes: [u8; 16]) -> Self {
                $from
            }
        }
    )* };
}

identifiers! {
    Uuid: |value| value.into_bytes(), |bytes| Uuid::from_bytes(bytes), |field| extended(field, "arrow.uuid");
    Ulid: |value| value.to_bytes(), |bytes| Ulid::from_bytes(bytes), |field| field;
}

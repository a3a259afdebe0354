//! Columns of fixed-width values.

use super::column::{ColumnBuilder, ColumnReader, ColumnValue, NotOptional, Nulls, arrow_error, wrong_type};
use crate::declare::shape::Unknown;
use crate::types::{Date, Decimal, Timestamp};
use crate::{Error, Result};
use arrow::array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder, NullArray, NullBufferBuilder,
    PrimitiveArray,
};
use arrow::buffer::{BooleanBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, TimeUnit};
use std::fmt;
use std::sync::Arc;

/// A value that is one machine number in Arrow.
pub trait Primitive: ColumnValue {
    /// The Arrow type of the numbers.
    type Arrow: ArrowPrimitiveType;
    /// The number that is stored.
    fn to_native(&self) -> <Self::Arrow as ArrowPrimitiveType>::Native;
    /// The value that was stored.
    fn from_native(native: <Self::Arrow as ArrowPrimitiveType>::Native) -> Self;
}

/// Collects numbers.
pub struct PrimitiveBuilder<T: Primitive> {
    values: Vec<<T::Arrow as ArrowPrimitiveType>::Native>,
    nulls: NullBufferBuilder,
}

impl<T: Primitive> fmt::Debug for PrimitiveBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrimitiveBuilder").field("len", &self.values.len()).finish_non_exhaustive()
    }
}

impl<T: Primitive> ColumnBuilder for PrimitiveBuilder<T> {
    type Value = T;

    fn with_capacity(capacity: usize) -> Self {
        Self { values: Vec::with_capacity(capacity), nulls: NullBufferBuilder::new(capacity) }
    }

    #[inline]
    fn append(&mut self, value: &T) {
        self.values.push(value.to_native());
        self.nulls.append_non_null();
    }

    #[inline]
    fn append_null(&mut self) {
        self.values.push(Default::default());
        self.nulls.append_null();
    }

    fn finish(self) -> Result<ArrayRef> {
        let array = PrimitiveArray::<T::Arrow>::try_new(ScalarBuffer::from(self.values), self.nulls.build())
            .map_err(arrow_error)?;
        Ok(Arc::new(array.with_data_type(T::data_type())))
    }
}

/// Takes numbers out of an array.
pub struct PrimitiveReader<T: Primitive> {
    values: ScalarBuffer<<T::Arrow as ArrowPrimitiveType>::Native>,
    nulls: Nulls,
}

impl<T: Primitive> fmt::Debug for PrimitiveReader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrimitiveReader").field("nulls", &self.nulls).finish_non_exhaustive()
    }
}

impl<T: Primitive> ColumnReader for PrimitiveReader<T> {
    type Value = T;

    fn new(array: &ArrayRef, path: &str) -> Result<Self> {
        let (expected, found) = (T::data_type(), array.data_type());
        let array = array
            .as_primitive_opt::<T::Arrow>()
            .filter(|_| same_type(&expected, found))
            .ok_or_else(|| wrong_type(path, &expected, found))?;
        Ok(Self { values: array.values().clone(), nulls: Nulls::new(array, path) })
    }

    #[inline]
    fn is_null(&self, index: usize) -> bool {
        self.nulls.is_null(index)
    }

    #[inline]
    fn read(&self, index: usize) -> Result<T> {
        self.nulls.check(index)?;
        Ok(T::from_native(self.values[index]))
    }
}

/// Equal, or timestamps of one unit in two spellings of UTC.
fn same_type(expected: &DataType, found: &DataType) -> bool {
    match (expected, found) {
        (DataType::Timestamp(left, _), DataType::Timestamp(right, Some(zone))) => {
            left == right && matches!(zone.as_ref(), "UTC" | "+00:00" | "Z" | "Etc/UTC")
        }
        _ => expected == found,
    }
}

macro_rules! primitives {
    ($($type:ty as $arrow:ty: $data_type:expr, |$value:ident| $to:expr, |$native:ident| $from:expr;)*) => { $(
        impl ColumnValue for $type {
            type Builder = PrimitiveBuilder<$type>;
            type Reader = PrimitiveReader<$type>;
            const NULLABLE: bool = false;
            fn data_type() -> DataType {
                $data_type
            }
        }

        impl NotOptional for $type {}

        impl Primitive for $type {
            type Arrow = $arrow;
            #[inline]
            fn to_native(&self) -> <$arrow as ArrowPrimitiveType>::Native {
                let $value = *self;
                $to
            }
            #[inline]
            fn from_native($native: <$arrow as ArrowPrimitiveType>::Native) -> Self {
                $from
            }
        }
    )* };
}

primitives! {
    i8 as Int8Type: DataType::Int8, |value| value, |native| native;
    i16 as Int16Type: DataType::Int16, |value| value, |native| native;
    i32 as Int32Type: DataType::Int32, |value| value, |native| native;
    i64 as Int64Type: DataType::Int64, |value| value, |native| native;
    u8 as UInt8Type: DataType::UInt8, |value| value, |native| native;
    u16 as UInt16Type: DataType::UInt16, |value| value, |native| native;
    u32 as UInt32Type: DataType::UInt32, |value| value, |native| native;
    u64 as UInt64Type: DataType::UInt64, |value| value, |native| native;
    f32 as Float32Type: DataType::Float32,
        |value| if value.is_nan() { f32::from_bits(0x7fc0_0000) } else { value + 0.0 }, |native| native;
    f64 as Float64Type: DataType::Float64,
        |value| if value.is_nan() { f64::from_bits(0x7ff8_0000_0000_0000) } else { value + 0.0 }, |native| native;
    Timestamp as TimestampMicrosecondType: DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        |value| value.as_micros(), |native| Timestamp::from_micros(native);
    Date as Date32Type: DataType::Date32, |value| value.as_days(), |native| Date::from_days(native);
}

impl<const P: u8, const S: i8> ColumnValue for Decimal<P, S> {
    type Builder = PrimitiveBuilder<Self>;
    type Reader = PrimitiveReader<Self>;
    const NULLABLE: bool = false;
    fn data_type() -> DataType {
        DataType::Decimal128(P, S)
    }
}

impl<const P: u8, const S: i8> NotOptional for Decimal<P, S> {}

impl<const P: u8, const S: i8> Primitive for Decimal<P, S> {
    type Arrow = Decimal128Type;
    #[inline]
    fn to_native(&self) -> i128 {
        self.unscaled()
    }
    #[inline]
    fn from_native(native: i128) -> Self {
        Self::from_stored(native)
    }
}

/// Collects truth values.
#[derive(Debug)]
pub struct BoolBuilder {
    values: BooleanBufferBuilder,
    nulls: NullBufferBuilder,
}

impl ColumnBuilder for BoolBuilder {
    type Value = bool;

    fn with_capacity(capacity: usize) -> Self {
        Self { values: BooleanBufferBuilder::new(capacity), nulls: NullBufferBuilder::new(capacity) }
    }

    #[inline]
    fn append(&mut self, value: &bool) {
        self.values.append(*value);
        self.nulls.append_non_null();
    }

    #[inline]
    fn append_null(&mut self) {
        self.values.append(false);
        self.nulls.append_null();
    }

    fn finish(mut self) -> Result<ArrayRef> {
        Ok(Arc::new(BooleanArray::new(self.values.finish(), self.nulls.build())))
    }
}

/// Takes truth values out of an array.
#[derive(Debug)]
pub struct BoolReader {
    values: BooleanBuffer,
    nulls: Nulls,
}

impl ColumnReader for BoolReader {
    type Value = bool;

    fn new(array: &ArrayRef, path: &str) -> Result<Self> {
        let found = array.data_type();
        let array = array.as_boolean_opt().ok_or_else(|| wrong_type(path, &DataType::Boolean, found))?;
        Ok(Self { values: array.values().clone(), nulls: Nulls::new(array, path) })
    }

    #[inline]
    fn is_null(&self, index: usize) -> bool {
        self.nulls.is_null(index)
    }

    #[inline]
    fn read(&self, index: usize) -> Result<bool> {
        self.nulls.check(index)?;
        Ok(self.values.value(index))
    }
}

impl ColumnValue for bool {
    type Builder = BoolBuilder;
    type Reader = BoolReader;
    const NULLABLE: bool = false;
    fn data_type() -> DataType {
        DataType::Boolean
    }
}

impl NotOptional for bool {}

/// The column of a field that does not exist: it only has to compile, next to the error that says so.
#[derive(Debug)]
pub struct UnknownColumn(usize);

impl ColumnBuilder for UnknownColumn {
    type Value = Unknown;
    fn with_capacity(_: usize) -> Self {
        Self(0)
    }
    fn append(&mut self, _: &Unknown) {
        self.0 += 1;
    }
    fn append_null(&mut self) {
        self.0 += 1;
    }
    fn finish(self) -> Result<ArrayRef> {
        Ok(Arc::new(NullArray::new(self.0)))
    }
}

impl ColumnReader for UnknownColumn {
    type Value = Unknown;
    fn new(array: &ArrayRef, _: &str) -> Result<Self> {
        Ok(Self(array.len()))
    }
    fn is_null(&self, _: usize) -> bool {
        true
    }
    fn read(&self, _: usize) -> Result<Unknown> {
        Err(Error::invalid("this field does not exist"))
    }
}

impl ColumnValue for Unknown {
    type Builder = UnknownColumn;
    type Reader = UnknownColumn;
    const NULLABLE: bool = true;
    fn data_type() -> DataType {
        DataType::Null
    }
}

impl NotOptional for Unknown {}

//! Columns of options, lists and maps.

use super::column::{
    ColumnBuilder, ColumnReader, ColumnValue, NotOptional, Nulls, arrow_error, too_large, wrong_type,
};
use crate::Result;
use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, NullBufferBuilder, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::BuildHasher;
use std::marker::PhantomData;
use std::sync::Arc;

impl<T: NotOptional> ColumnValue for Option<T> {
    type Builder = OptionBuilder<T::Builder>;
    type Reader = OptionReader<T::Reader>;
    const NULLABLE: bool = true;
    fn data_type() -> DataType {
        T::data_type()
    }
    fn field(name: &str) -> Field {
        T::field(name).with_nullable(true)
    }
}

/// Collects values and nulls.
#[derive(Debug)]
pub struct OptionBuilder<B>(B);

impl<B: ColumnBuilder> ColumnBuilder for OptionBuilder<B> {
    type Value = Option<B::Value>;

    fn with_capacity(capacity: usize) -> Self {
        Self(B::with_capacity(capacity))
    }

    #[inline]
    fn append(&mut self, value: &Option<B::Value>) {
        match value {
            Some(value) => self.0.append(value),
            None => self.0.append_null(),
        }
    }

    #[inline]
    fn append_null(&mut self) {
        self.0.append_null();
    }

    fn finish(self) -> Result<ArrayRef> {
        self.0.finish()
    }
}

/// Takes values and nulls out of an array.
#[derive(Debug)]
pub struct OptionReader<R>(R);

impl<R: ColumnReader> ColumnReader for OptionReader<R> {
    type Value = Option<R::Value>;

    fn new(array: &ArrayRef, path: &str) -> Result<Self> {
        R::new(array, path).map(Self)
    }

    #[inline]
    fn is_null(&self, index: usize) -> bool {
        self.0.is_null(index)
    }

    #[inline]
    fn read(&self, index: usize) -> Result<Option<R::Value>> {
        if self.0.is_null(index) { Ok(None) } else { self.0.read(index).map(Some) }
    }
}

/// Where the elements of each list begin and end.
#[derive(Debug)]
struct Offsets {
    ends: Vec<i32>,
    total: usize,
    nulls: NullBufferBuilder,
}

impl Offsets {
    fn with_capacity(capacity: usize) -> Self {
        let mut ends = Vec::with_capacity(capacity + 1);
        ends.push(0);
        Self { ends, total: 0, nulls: NullBufferBuilder::new(capacity) }
    }

    fn append(&mut self, elements: usize) {
        self.total += elements;
        // `finish` reports a total beyond the range, so a clamped end is never seen.
        self.ends.push(i32::try_from(self.total).unwrap_or(i32::MAX));
        self.nulls.append_non_null();
    }

    fn append_null(&mut self) {
        self.ends.push(i32::try_from(self.total).unwrap_or(i32::MAX));
        self.nulls.append_null();
    }

    fn finish(self) -> Result<(OffsetBuffer<i32>, Option<arrow::buffer::NullBuffer>)> {
        if i32::try_from(self.total).is_err() {
            return Err(too_large("list elements"));
        }
        Ok((OffsetBuffer::new(self.ends.into()), self.nulls.build()))
    }
}

fn item_field<T: ColumnValue>() -> FieldRef {
    Arc::new(T::field("item"))
}

impl<T: ColumnValue> ColumnValue for Vec<T> {
    type Builder = ListBuilder<T>;
    type Reader = ListReader<T>;
    const NULLABLE: bool = false;
    fn data_type() -> DataType {
        DataType::List(item_field::<T>())
    }
}

impl<T: ColumnValue> NotOptional for Vec<T> {}

/// Collects lists.
pub struct ListBuilder<T: ColumnValue> {
    offsets: Offsets,
    items: T::Builder,
}

impl<T: ColumnValue> fmt::Debug for ListBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListBuilder").field("offsets", &self.offsets).finish_non_exhaustive()
    }
}

impl<T: ColumnValue> ColumnBuilder for ListBuilder<T> {
    type Value = Vec<T>;

    fn with_capacity(capacity: usize) -> Self {
        Self { offsets: Offsets::with_capacity(capacity), items: T::Builder::with_capacity(capacity) }
    }

    fn append(&mut self, value: &Vec<T>) {
        self.offsets.append(value.len());
        for item in value {
            self.items.append(item);
        }
    }

    fn append_null(&mut self) {
        self.offsets.append_null();
    }

    fn finish(self) -> Result<ArrayRef> {
        let (offsets, nulls) = self.offsets.finish()?;
        let list = ListArray::try_new(item_field::<T>(), offsets, self.items.finish()?, nulls);
        Ok(Arc::new(list.map_err(arrow_error)?))
    }
}

/// Takes lists out of an array.
pub struct ListReader<T: ColumnValue> {
    offsets: OffsetBuffer<i32>,
    items: T::Reader,
    nulls: Nulls,
}

impl<T: ColumnValue> fmt::Debug for ListReader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListReader").field("nulls", &self.nulls).finish_non_exhaustive()
    }
}

impl<T: ColumnValue> ColumnReader for ListReader<T> {
    type Value = Vec<T>;

    fn new(array: &ArrayRef, path: &str) -> Result<Self> {
        let list = array
            .as_list_opt::<i32>()
            .ok_or_else(|| wrong_type(path, &<Vec<T>>::data_type(), array.data_type()))?;
        let items = T::Reader::new(list.values(), &format!("{path}[]"))?;
        Ok(Self { offsets: list.offsets().clone(), items, nulls: Nulls::new(list, path) })
    }

    #[inline]
    fn is_null(&self, index: usize) -> bool {
        self.nulls.is_null(index)
    }

    fn read(&self, index: usize) -> Result<Vec<T>> {
        self.nulls.check(index)?;
        let range = self.offsets[index] as usize..self.offsets[index + 1] as usize;
        let mut items = Vec::with_capacity(range.len());
        for item in range {
            items.push(self.items.read(item)?);
        }
        Ok(items)
    }
}

/// A map from text.
pub trait Map: ColumnValue {
    /// The type of its values.
    type Item: ColumnValue;
    /// Calls `each` for every entry, in the order of the keys, so that equal maps are stored equally.
    fn for_each(&self, each: impl FnMut(&String, &Self::Item));
    /// A map of so many entries.
    fn with_capacity(capacity: usize) -> Self;
    /// Adds an entry; gives false if the key was there.
    fn put(&mut self, key: String, value: Self::Item) -> bool;
    /// The number of entries.
    fn size(&self) -> usize;
}

fn entry_fields<T: ColumnValue>() -> Fields {
    vec![String::field("keys"), T::field("values")].into()
}

fn entries_field<T: ColumnValue>() -> FieldRef {
    Arc::new(Field::new("entries", DataType::Struct(entry_fields::<T>()), false))
}

/// The type of maps to values of this type that are never null.
pub(crate) fn map_type(value: &DataType) -> DataType {
    let entries = Fields::from(vec![String::field("keys"), Field::new("values", value.clone(), false)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
}

/// Collects maps.
pub struct MapBuilder<M: Map> {
    offsets: Offsets,
    keys: <String as ColumnValue>::Builder,
    values: <M::Item as ColumnValue>::Builder,
}

impl<M: Map> fmt::Debug for MapBuilder<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapBuilder").field("offsets", &self.offsets).finish_non_exhaustive()
    }
}

impl<M: Map> ColumnBuilder for MapBuilder<M> {
    type Value = M;

    fn with_capacity(capacity: usize) -> Self {
        Self {
            offsets: Offsets::with_capacity(capacity),
            keys: ColumnBuilder::with_capacity(capacity),
            values: ColumnBuilder::with_capacity(capacity),
        }
    }

    fn append(&mut self, value: &M) {
        self.offsets.append(value.size());
        value.for_each(|key, value| {
            self.keys.append(key);
            self.values.append(value);
        });
    }

    fn append_null(&mut self) {
        self.offsets.append_null();
    }

    fn finish(self) -> Result<ArrayRef> {
        let (offsets, nulls) = self.offsets.finish()?;
        let columns = vec![self.keys.finish()?, self.values.finish()?];
        let entries = StructArray::try_new(entry_fields::<M::Item>(), columns, None).map_err(arrow_error)?;
        let map = MapArray::try_new(entries_field::<M::Item>(), offsets, entries, nulls, false);
        Ok(Arc::new(map.map_err(arrow_error)?))
    }
}

/// Takes maps out of an array.
pub struct MapReader<M: Map> {
    offsets: OffsetBuffer<i32>,
    keys: <String as ColumnValue>::Reader,
    values: <M::Item as ColumnValue>::Reader,
    nulls: Nulls,
    map: PhantomData<fn() -> M>,
}

impl<M: Map> fmt::Debug for MapReader<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapReader").field("nulls", &self.nulls).finish_non_exhaustive()
    }
}

impl<M: Map> ColumnReader for MapReader<M> {
    type Value = M;

    fn new(array: &ArrayRef, path: &str) -> Result<Self> {
        let map = array.as_map_opt().ok_or_else(|| wrong_type(path, &M::data_type(), array.data_type()))?;
        Ok(Self {
            offsets: map.offsets().clone(),
            keys: ColumnReader::new(map.keys(), &format!("{path}.keys"))?,
            values: ColumnReader::new(map.values(), &format!("{path}[]"))?,
            nulls: Nulls::new(map, path),
            map: PhantomData,
        })
    }

    #[inline]
    fn is_null(&self, index: usize) -> bool {
        self.nulls.is_null(index)
    }

    fn read(&self, index: usize) -> Result<M> {
        self.nulls.check(index)?;
        let range = self.offsets[index] as usize..self.offsets[index + 1] as usize;
        let mut map = M::with_capacity(range.len());
        for entry in range {
            if !map.put(self.keys.read(entry)?, self.values.read(entry)?) {
                return Err(self.nulls.error(index, "the map has a key twice"));
            }
        }
        Ok(map)
    }
}

impl<V: ColumnValue> ColumnValue for BTreeMap<String, V> {
    type Builder = MapBuilder<Self>;
    type Reader = MapReader<Self>;
    const NULLABLE: bool = false;
    fn data_type() -> DataType {
        DataType::Map(entries_field::<V>(), false)
    }
}

impl<V: ColumnValue> NotOptional for BTreeMap<String, V> {}

impl<V: ColumnValue> Map for BTreeMap<String, V> {
    type Item = V;

    fn for_each(&self, mut each: impl FnMut(&String, &V)) {
        self.iter().for_each(|(key, value)| each(key, value));
    }

    fn with_capacity(_: usize) -> Self {
        Self::new()
    }

    fn put(&mut self, key: String, value: V) -> bool {
        self.insert(key, value).is_none()
    }

    fn size(&self) -> usize {
        self.len()
    }
}

impl<V: ColumnValue, H: BuildHasher + Default + Send + Sync + 'static> ColumnValue for HashMap<String, V, H> {
    type Builder = MapBuilder<Self>;
    type Reader = MapReader<Self>;
    const NULLABLE: bool = false;
    fn data_type() -> DataType {
        DataType::Map(entries_field::<V>(), false)
    }
}

impl<V: ColumnValue, H: BuildHasher + Default + Send + Sync + 'static> NotOptional for HashMap<String, V, H> {}

impl<V: ColumnValue, H: BuildHasher + Default + Send + Sync + 'static> Map for HashMap<String, V, H> {
    type Item = V;

    fn for_each(&self, mut each: impl FnMut(&String, &V)) {
        let mut entries: Vec<_> = self.iter().collect();
        entries.sort_unstable_by_key(|entry| entry.0);
        entries.into_iter().for_each(|(key, value)| each(key, value));
    }

    fn with_capacity(capacity: usize) -> Self {
        Self::with_capacity_and_hasher(capacity, H::default())
    }

    fn put(&mut self, key: String, value: V) -> bool {
        self.insert(key, value).is_none()
    }

    fn size(&self) -> usize {
        self.len()
    }
}

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use arrow::array::{Int64Array, ListArray, UInt64Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::take;
use arrow::datatypes::{Fields, Schema};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

fn record(name: &str, inner: Fields, nullable: bool) -> Field {
    Field::new(name, DataType::Struct(inner), nullable)
}

/// A record that is there, is null, is there: as Parquet's reader gives it.
fn as_read() -> ArrayRef {
    let x = Int64Array::from(vec![Some(1), None, Some(3)]);
    let inner_fields = Fields::from(vec![Field::new("x", DataType::Int64, false)]);
    let nulls = NullBuffer::from(vec![true, false, true]);
    let inner = StructArray::new(inner_fields.clone(), vec![Arc::new(x)], Some(nulls.clone()));
    let fields = Fields::from(vec![record("inner", inner_fields, false)]);
    let outer = StructArray::new(fields.clone(), vec![Arc::new(inner)], Some(nulls));
    let schema = Arc::new(Schema::new(vec![record("outer", fields, true)]));
    let rows = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(outer)]).unwrap();
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, schema, None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(file)).unwrap();
    let read = reader.build().unwrap().next().unwrap().unwrap();
    Arc::clone(read.column(0))
}

#[test]
fn inner_records_are_null_where_outer_ones_are() {
    let read = as_read();
    assert_eq!(read.as_struct().column(0).null_count(), 0, "the reader says it now: nothing is to be done");
    let masked = with_nulls(&read, None).unwrap();
    let inner = masked.as_struct().column(0);
    assert_eq!(inner.nulls(), Some(&NullBuffer::from(vec![true, false, true])));
    let taken = take(&masked, &UInt64Array::from(vec![Some(2), Some(1), None]), None).unwrap();
    assert_eq!((taken.null_count(), taken.is_null(0)), (2, false));

    let item = Arc::new(Field::new("item", as_read().data_type().clone(), true));
    let list = ListArray::new(Arc::clone(&item), OffsetBuffer::from_lengths([2, 1]), as_read(), None);
    let masked = with_nulls(&(Arc::new(list.slice(0, 2)) as ArrayRef), None).unwrap();
    let inner = masked.as_list::<i32>().values().as_struct().column(0).null_count();
    assert_eq!(inner, 1);
    assert!(has_inner(&Field::new("list", masked.data_type().clone(), false), false));
    let never_null = Field::new("item", item.data_type().clone(), false);
    assert!(!has_inner(&never_null, false), "a record that is never null needs nothing");
}

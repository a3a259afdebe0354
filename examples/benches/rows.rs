//! How fast rows become Arrow batches and back, against Arrow's own builders and accessors used by hand.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Builder, Int32Builder, Int64Builder, ListBuilder, RecordBatch,
    StringBuilder, StructArray, TimestampMicrosecondBuilder,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    DataType, Field, Fields, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use parquedb::{Collection, Row, Timestamp};
use std::hint::black_box;
use std::sync::Arc;

/// A request as a log has it: numbers, texts, an optional record and a list.
#[derive(Collection, Debug, Clone)]
struct Request {
    id: i64,
    at: Timestamp,
    url: String,
    country: Option<String>,
    latency: f64,
    response: Option<Response>,
    tags: Vec<String>,
}

#[derive(Collection, Debug, Clone)]
struct Response {
    status: i32,
    body: String,
}

fn rows(count: i64) -> Vec<Request> {
    (0..count)
        .map(|id| Request {
            id,
            at: Timestamp::from_micros(1_700_000_000_000_000 + id),
            url: format!("https://example.com/items/{}", id % 1000),
            country: (id % 3 != 0).then(|| "NL".to_owned()),
            latency: id as f64 / 7.0,
            response: (id % 5 != 0).then(|| Response { status: 200, body: "ok".to_owned() }),
            tags: (0..id % 3).map(|tag| format!("tag-{tag}")).collect(),
        })
        .collect()
}

/// The same conversion, written by hand with Arrow's builders.
fn by_hand(rows: &[Request]) -> RecordBatch {
    let length = rows.len();
    let mut id = Int64Builder::with_capacity(length);
    let mut at = TimestampMicrosecondBuilder::with_capacity(length).with_timezone("UTC");
    let mut url = StringBuilder::with_capacity(length, length * 16);
    let mut country = StringBuilder::with_capacity(length, length * 16);
    let mut latency = Float64Builder::with_capacity(length);
    let mut status = Int32Builder::with_capacity(length);
    let mut body = StringBuilder::with_capacity(length, length * 16);
    let mut present = Vec::with_capacity(length);
    let item = Field::new("item", DataType::Utf8, false);
    let mut tags = ListBuilder::with_capacity(StringBuilder::new(), length).with_field(item);
    for row in rows {
        id.append_value(row.id);
        at.append_value(row.at.as_micros());
        url.append_value(&row.url);
        country.append_option(row.country.as_ref());
        latency.append_value(row.latency);
        present.push(row.response.is_some());
        match &row.response {
            Some(response) => {
                status.append_value(response.status);
                body.append_value(&response.body);
            }
            None => {
                status.append_null();
                body.append_null();
            }
        }
        for tag in &row.tags {
            tags.values().append_value(tag);
        }
        tags.append(true);
    }
    let fields: Fields =
        vec![Field::new("status", DataType::Int32, false), Field::new("body", DataType::Utf8, false)].into();
    let response = StructArray::new(
        fields,
        vec![Arc::new(status.finish()) as ArrayRef, Arc::new(body.finish())],
        Some(NullBuffer::from(present)),
    );
    let columns: Vec<ArrayRef> = vec![
        Arc::new(id.finish()),
        Arc::new(at.finish()),
        Arc::new(url.finish()),
        Arc::new(country.finish()),
        Arc::new(latency.finish()),
        Arc::new(response),
        Arc::new(tags.finish()),
    ];
    RecordBatch::try_new(Request::schema(), columns).expect("the columns of the schema")
}

/// The same reading, written by hand with Arrow's accessors.
fn read_by_hand(batch: &RecordBatch) -> Vec<Request> {
    let id = batch.column(0).as_primitive::<Int64Type>();
    let at = batch.column(1).as_primitive::<TimestampMicrosecondType>();
    let url = batch.column(2).as_string::<i32>();
    let country = batch.column(3).as_string::<i32>();
    let latency = batch.column(4).as_primitive::<Float64Type>();
    let response = batch.column(5).as_struct();
    let status = response.column(0).as_primitive::<Int32Type>();
    let body = response.column(1).as_string::<i32>();
    let tags = batch.column(6).as_list::<i32>();
    let tag = tags.values().as_string::<i32>();
    (0..batch.num_rows())
        .map(|row| Request {
            id: id.value(row),
            at: Timestamp::from_micros(at.value(row)),
            url: url.value(row).to_owned(),
            country: country.is_valid(row).then(|| country.value(row).to_owned()),
            latency: latency.value(row),
            response: response
                .is_valid(row)
                .then(|| Response { status: status.value(row), body: body.value(row).to_owned() }),
            tags: (tags.value_offsets()[row]..tags.value_offsets()[row + 1])
                .map(|index| tag.value(index as usize).to_owned())
                .collect(),
        })
        .collect()
}

fn bench(criterion: &mut Criterion) {
    let rows = rows(10_000);
    let batch = Request::to_batch(&rows).expect("a batch");
    assert_eq!(batch, by_hand(&rows));

    let mut group = criterion.benchmark_group("rows");
    group.throughput(Throughput::Elements(rows.len() as u64));
    group.bench_function("to_batch/parquedb", |bencher| {
        bencher.iter(|| Request::to_batch(black_box(&rows)).expect("a batch"));
    });
    group.bench_function("to_batch/by_hand", |bencher| bencher.iter(|| by_hand(black_box(&rows))));
    // Rows are dropped outside the measurement: freeing their strings costs as much as making them.
    group.bench_function("from_batch/parquedb", |bencher| {
        bencher.iter_batched(
            || (),
            |()| Request::from_batch(black_box(&batch)).expect("rows"),
            BatchSize::LargeInput,
        );
    });
    group.bench_function("from_batch/by_hand", |bencher| {
        bencher.iter_batched(|| (), |()| read_by_hand(black_box(&batch)), BatchSize::LargeInput);
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);

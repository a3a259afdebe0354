//! A commit of 100 rows in memory: without views, and with three that travel in it.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use parquedb::{Collection, Database, Timestamp, database, views};
use tokio::runtime::Runtime;

/// A request as a log has it.
#[derive(Collection, Debug, Clone)]
pub struct Requests {
    pub at: Timestamp,
    pub service: String,
    pub status: i32,
    pub latency: f64,
    pub bytes: i64,
}

views! {
    /// A filtered copy.
    pub Failures: {
        $from: Requests,
        $filter: { status: { $gte: 500 } },
        $select: { at, service, status, latency, bytes },
    }

    pub Minutes: {
        $from: Requests,
        $groupBy: [service, { minute: at }],
        $compute: { requests: { $count: * }, slowest: { $max: latency }, bytes: { $sum: bytes } },
    }

    pub Hours: {
        $from: Requests,
        $groupBy: [service, status, { hour: at }],
        $compute: { requests: { $count: * }, latency: { $avg: latency } },
    }
}

database! { pub struct Rows { Requests } }
database! { pub struct RowsAndViews { Requests, Failures, Minutes, Hours } }

const ROWS: i64 = 100;

/// Rows of one second, `second` seconds after the first batch.
fn rows(second: i64) -> Vec<Requests> {
    (0..ROWS)
        .map(|row| Requests {
            at: Timestamp::from_micros(1_760_000_000_000_000 + second * 1_000_000 + row * 10_000),
            service: format!("service-{}", row % 10),
            status: if row % 20 == 0 { 500 } else { 200 },
            latency: row as f64 / 7.0,
            bytes: row * 100,
        })
        .collect()
}

/// Measures commits to a new database, after checking what one costs in requests.
fn commits<D: Database>(criterion: &mut Criterion, runtime: &Runtime, name: &str) {
    let database = runtime.block_on(D::builder().open("memory:///")).expect("a database");
    let connection = database.connection();
    let requests = Collection::<Requests>::attach(connection);

    let before = connection.requests();
    runtime.block_on(requests.insert_many(rows(0))).expect("a commit");
    let cost = connection.requests() - before;
    assert_eq!((cost.put, cost.get, cost.list), (1, 0, 0), "a commit is one request");

    let mut group = criterion.benchmark_group("commit");
    group.throughput(Throughput::Elements(ROWS as u64));
    let mut second = 0;
    group.bench_function(BenchmarkId::new(name, ROWS), |bencher| {
        bencher.to_async(runtime).iter(|| {
            second += 1;
            requests.insert_many(rows(second))
        });
    });
    group.finish();
}

fn bench(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    commits::<Rows>(criterion, &runtime, "no_views");
    commits::<RowsAndViews>(criterion, &runtime, "three_streaming_views");
}

criterion_group!(benches, bench);
criterion_main!(benches);

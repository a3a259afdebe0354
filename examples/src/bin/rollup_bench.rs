//! Ingests a file of metrics into a collection with 0 to 3 streaming views, and measures it.
//!
//! The counterpart of `examples/bench/clickhouse.py`, over the same file. Prints one line of JSON.

#[path = "rollup_bench/checks.rs"]
mod checks;
#[path = "rollup_bench/input.rs"]
mod input;

use clap::Parser;
use futures::{StreamExt, TryStreamExt};
use parquedb::{Collection, Database, Store, Timestamp, database, views};
use parquedb_cli::terminal::Failure;
use std::path::PathBuf;
use std::time::Instant;

/// One measurement of a pod.
#[derive(Collection, Debug, Clone)]
pub struct Metrics {
    /// Whose it is.
    pub account_id: String,
    /// The service measured.
    pub service_name: String,
    /// What was measured.
    pub metric_name: String,
    /// Where.
    pub pod: String,
    /// The answer's HTTP status, as text.
    pub status: String,
    /// When.
    pub ts: Timestamp,
    /// How much.
    pub value: f64,
    /// The size of the answer.
    pub bytes: i64,
}

views! {
    /// Everything per account, service, metric and hour.
    pub Hourly: {
        $from: Metrics,
        $groupBy: [account_id, service_name, metric_name, { hour: ts }],
        $compute: {
            requests: { $count: * },
            avg_value: { $avg: value },
            min_value: { $min: value },
            max_value: { $max: value },
            sum_value: { $sum: value },
            sum_bytes: { $sum: bytes },
            quantiles: $quantiles([0.5, 0.95, 0.99], value),
        },
    }

    /// The duration metric per account, service and minute.
    pub Performance: {
        $from: Metrics,
        $filter: { metric_name: "container_http_requests_duration_seconds_total" },
        $groupBy: [account_id, service_name, { minute: ts }],
        $compute: {
            pods: { $uniq: pod },
            requests: { $count: * },
            avg_value: { $avg: value },
            p95_value: $quantile(0.95, value),
            errors: $count(*, $filter: status >= "400"),
        },
    }

    /// The measurements of failed requests.
    pub Errors: {
        $from: Metrics,
        $filter: { status: { $gte: "400" } },
        $select: { account_id, service_name, pod, status, ts, value },
    }
}

database! {
    /// Rows alone.
    pub struct NoViews { Metrics }
}
database! {
    /// Rows with the hourly view.
    pub struct OneView { Metrics, Hourly }
}
database! {
    /// Rows with both grouping views.
    pub struct TwoViews { Metrics, Hourly, Performance }
}
database! {
    /// Rows with all views.
    pub struct ThreeViews { Metrics, Hourly, Performance, Errors }
}

/// Ingests a file of metrics with 0 to 3 streaming views, and prints one line of JSON.
#[derive(Parser)]
struct Arguments {
    /// The file that examples/bench/gen_metrics.py writes.
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// How many views.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(0..=3))]
    views: u8,
    /// Rows per batch.
    #[arg(long, default_value_t = 65_536, value_name = "ROWS", value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Batches given to the database at a time. Those that wait together share a commit.
    #[arg(long, default_value_t = 2, value_name = "BATCHES", value_parser = clap::value_parser!(u32).range(1..))]
    in_flight: u32,
    /// Where the database is created. There must be none.
    #[arg(long, value_name = "URL", default_value = "memory:///")]
    to: String,
    /// Compare the views with the same computed from the file.
    #[arg(long)]
    check: bool,
    /// Measure queries of the view and of the rows.
    #[arg(long)]
    queries: bool,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    match arguments.views {
        0 => run::<NoViews>(&arguments).await,
        1 => run::<OneView>(&arguments).await,
        2 => run::<TwoViews>(&arguments).await,
        _ => run::<ThreeViews>(&arguments).await,
    }
}

async fn run<D: Database>(arguments: &Arguments) -> Result<(), Failure> {
    let store = Store::open(&arguments.to)?;
    let database = D::builder().open_store(store.clone()).await?;
    let connection = database.connection();
    let metrics = Collection::<Metrics>::attach(connection);
    if metrics.all().count().await? > 0 {
        return Err(Failure::new(format!("{} has rows already: give an empty place", connection.url())));
    }
    let (seq, requests) = (connection.seq(), connection.requests());

    let started = Instant::now();
    // Reading goes on while batches are committed.
    let rows = input::batches(arguments.input.clone(), arguments.batch as usize)
        .map(|batch| async {
            let batch = batch?;
            let rows = batch.num_rows() as u64;
            metrics.insert_batch(batch).await?;
            Ok::<_, Failure>(rows)
        })
        .buffered(arguments.in_flight as usize)
        .try_fold(0, |total, rows| async move { Ok(total + rows) })
        .await?;
    let seconds = started.elapsed().as_secs_f64();
    let (commits, requests) = (connection.seq() - seq, connection.requests() - requests);

    // What is still inside commits becomes files before anything is read, and is counted apart.
    let flushing = Instant::now();
    connection.flush().await?;
    let flush_seconds = flushing.elapsed().as_secs_f64();

    let mut line = serde_json::json!({
        "engine": "parquedb",
        "views": arguments.views,
        "batch": arguments.batch,
        "in_flight": arguments.in_flight,
        "rows": rows,
        "seconds": round(seconds, 3),
        "rows_per_s": round(rows as f64 / seconds, 0),
        "flush_seconds": round(flush_seconds, 3),
        "commits": commits,
        "requests": requests,
        "bytes": stored_bytes(&store).await?,
        "notes": "every batch and its views durable in one commit; quantiles within 1 %, distinct counts of \
                  4096 registers",
    });
    if arguments.queries && arguments.views > 0 {
        let (view, raw) = checks::query_times(connection).await?;
        line["view_ms"] = round(view, 2).into();
        line["raw_ms"] = round(raw, 2).into();
    }
    if arguments.check {
        line["check"] = checks::check(connection, &arguments.input, arguments.views).await?.into();
    }
    println!("{line}");
    Ok(())
}

/// The size of everything in the store.
async fn stored_bytes(store: &Store) -> Result<u64, Failure> {
    let objects = store.object_store();
    Ok(objects.list(None).try_fold(0, |total, object| async move { Ok(total + object.size) }).await?)
}

fn round(value: f64, digits: i32) -> f64 {
    let unit = 10_f64.powi(digits);
    (value * unit).round() / unit
}

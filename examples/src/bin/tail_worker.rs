//! Analytics over Cloudflare Worker tail events: four views, kept by the database.
//!
//! `cargo run --bin tail_worker` ingests 457 real events into `./data/tail` and shows what the views
//! made of them. Run it again: the events are recognised, nothing is stored twice.

use clap::Parser;
use parquedb::{Database, Freshness, Timestamp, database, views};
use parquedb_cli::terminal::Failure;
use parquedb_examples::table;
use parquedb_tail::file::{self, Options, Summary};
use parquedb_tail::sink::{Sink, Stored};
use parquedb_tail::{DeadLetters, TailEvents};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

views! {
    /// One row per log line.
    pub WorkerLogs: {
        $from: TailEvents,
        $unnest: logs,
        $select: {
            timestamp: logs.timestamp,
            script_name,
            level: logs.level,
            message: logs.message,
            colo: event.request.cf.colo,
        },
    }

    /// Invocations that did not end well, or that left an exception uncaught.
    pub WorkerErrors: {
        $from: TailEvents,
        $filter: { $or: [{ outcome: { $ne: "ok" } }, { exceptions[0]: { $exists: true } }] },
        $select: {
            timestamp: event_timestamp,
            script_name,
            outcome,
            exception_name: exceptions[0].name,
            exception_message: exceptions[0].message,
            url: event.request.url,
            status: event.response.status,
            colo: event.request.cf.colo,
        },
    }

    /// Invocations that were HTTP requests.
    pub WorkerRequests: {
        $from: TailEvents,
        $filter: { event.request: { $exists: true } },
        $select: {
            timestamp: event_timestamp,
            script_name,
            method: event.request.method,
            url: event.request.url,
            status: event.response.status,
            outcome,
            colo: event.request.cf.colo,
            country: event.request.cf.country,
            latency: wall_time,
        },
    }

    /// Requests per Worker, method and hour: a view of a view, refreshed at minute 0 of every hour.
    pub EndpointMetrics: {
        $from: WorkerRequests,
        $groupBy: [script_name, method, { hour: timestamp }],
        $compute: {
            request_count: { $count: * },
            avg_latency: { $avg: latency },
            error_rate: { $avg: { $cond: [{ $ne: [outcome, "ok"] }, 1, 0] } },
        },
        $refresh: { mode: scheduled, schedule: "0 * * * *" },
    }
}

database! {
    /// Events, what could not be read as one, and the views.
    pub struct Tail { TailEvents, DeadLetters, WorkerLogs, WorkerErrors, WorkerRequests, EndpointMetrics }
}

/// Lets `parquedb_tail` ingest files into this database.
impl Sink for Tail {
    async fn store(
        &self,
        events: Vec<TailEvents>,
        dead_letters: Vec<DeadLetters>,
        id: Option<String>,
    ) -> parquedb::Result<Stored> {
        let mut batch = self.batch();
        batch.insert(&self.tail_events, events)?;
        batch.insert(&self.dead_letters, dead_letters)?;
        if let Some(id) = id {
            batch.id(id);
        }
        // One commit: the events and the rows of the three streaming views become visible together.
        let written = batch.commit().await?;
        Ok(Stored { seq: written.seq, repeated: written.repeated })
    }

    fn has(&self, id: &str) -> bool {
        self.has_batch(id)
    }

    fn now(&self) -> Timestamp {
        self.connection().now()
    }
}

/// Analytics over Cloudflare Worker tail events.
#[derive(Parser)]
struct Arguments {
    /// Where the database lives: a folder, s3://bucket/prefix, or an R2 URL.
    #[arg(long, value_name = "URL", default_value = "./data/tail")]
    to: String,
    /// A file of tail events: NDJSON, JSON arrays, gzip.
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/data/tail_events.ndjson"))]
    events: PathBuf,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let started = Instant::now();
    let tail = Arc::new(Tail::builder().open(&arguments.to).await?);

    // Ingest, 100 events a commit.
    let mut ingested = Summary::default();
    let options = Options { batch: 100, again: false };
    file::ingest(&tail, &arguments.events, options, &mut ingested, |_| {}).await?;
    println!("{} events ingested in {} commits into {}", ingested.events, ingested.commits, tail.url());
    if ingested.skipped > 0 {
        println!("{} events were there already", ingested.skipped);
    }
    if ingested.dead_letters > 0 {
        println!("{} items could not be read; they are kept in dead_letters", ingested.dead_letters);
    }

    // The scheduled view, without waiting for the hour. `tail.spawn_maintenance(..)` would do it in time.
    tail.endpoint_metrics.refresh().await?;

    show("WorkerLogs, the latest", tail.worker_logs.all().order_by(|log| log.timestamp.desc()).limit(5))
        .await?;
    show(
        "WorkerErrors that answered with a server error",
        tail.worker_errors.find(|error| error.status.ge(500)).limit(5),
    )
    .await?;
    show(
        "WorkerRequests, the latest",
        tail.worker_requests.all().order_by(|request| request.timestamp.desc()).limit(5),
    )
    .await?;
    show(
        "EndpointMetrics, the busiest",
        tail.endpoint_metrics.all().order_by(|metrics| metrics.request_count.desc()).limit(5),
    )
    .await?;

    println!("\n{:<18}{:>6}  {:<8}refreshed", "view", "rows", "state");
    for view in tail.status().await? {
        let state = match &view.freshness {
            Freshness::Fresh => "fresh",
            Freshness::Stale => "stale",
            Freshness::Invalid { reason } => reason,
        };
        let refreshed = view.refreshed.unwrap_or(Timestamp::MIN);
        println!("{:<18}{:>6}  {:<8}{refreshed}", view.name, view.rows.unwrap_or(0), state);
    }
    println!("\n{:.2} s, {:?}", started.elapsed().as_secs_f64(), tail.requests());
    Ok(())
}

/// Prints the rows a query gives.
async fn show<T: parquedb::Row>(title: &str, query: parquedb::Find<T>) -> Result<(), Failure> {
    println!("\n{title}\n{}", table(&query.batches().await?, 24)?);
    Ok(())
}

//! The events of the tests, where databases of theirs may lie, and the command run over them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use object_store::ObjectStore;
use parquedb::{Store, Timestamp};
use parquedb_tail::decode::decode;
use parquedb_tail::{EndpointMetrics, TailDb, TailEvents, WorkerErrors, WorkerLogs, WorkerRequests};
use parquedb_tests::recompute::{self, TABLES, Views};
use parquedb_tests::{S3Server, cargo_bin};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

/// The file of real events: the one of `PARQUEDB_TAIL_ITEMS`, or else the sample.
pub(crate) fn file() -> PathBuf {
    std::env::var_os("PARQUEDB_TAIL_ITEMS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/data/tail_events.ndjson"),
        PathBuf::from,
    )
}

/// The real events, one JSON text each.
pub(crate) fn real() -> Vec<String> {
    std::fs::read_to_string(file()).unwrap().lines().map(str::to_owned).collect()
}

/// The real events, with what a local run of Workers leaves at 0 and null set as deployed Workers have
/// it: names, times over some hours and before 1970, durations, and neither in some.
pub(crate) fn varied(seed: u64) -> Vec<String> {
    let mut random = StdRng::seed_from_u64(seed);
    let vary = |line: String| {
        let mut event = recompute::parse(&line);
        event["scriptName"] = match random.random_range(0..5) {
            0 => Value::Null,
            name => format!("worker-{name}").into(),
        };
        let hour = [-1, 0, 498_664, 498_665, 498_688][random.random_range(0..5_usize)] * 3_600_000_i64;
        let within = [0, 1, 3_599_999, random.random_range(0..3_600_000)][random.random_range(0..4_usize)];
        event["eventTimestamp"] = (hour + within).into();
        match random.random_range(0..8) {
            0 => event["wallTime"] = Value::Null,
            1 => drop(event.as_object_mut().unwrap().remove("wallTime")),
            _ => event["wallTime"] = random.random_range(0..100_000_i64).into(),
        }
        event.to_string()
    };
    real().into_iter().map(vary).collect()
}

/// The seeds of random tests: `PARQUEDB_SEEDS` many from `PARQUEDB_SEED` on.
pub(crate) fn seeds() -> std::ops::Range<u64> {
    let read = |name: &str, default: u64| match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")),
        Err(_) => default,
    };
    let first = read("PARQUEDB_SEED", 1);
    first..first + read("PARQUEDB_SEEDS", 1)
}

pub(crate) fn views_of(lines: &[String]) -> Views {
    Views::of(lines.iter().map(String::as_str))
}

/// Where a database lies.
pub(crate) enum Place {
    Url(String),
    Bucket(Arc<dyn ObjectStore>, String),
}

impl Place {
    /// A folder of a bucket of the server.
    pub(crate) fn bucket(server: &S3Server, bucket: &str, folder: &str) -> Self {
        server.create_bucket(bucket);
        Self::Bucket(Arc::new(server.client(bucket).build().unwrap()), folder.to_owned())
    }

    pub(crate) async fn open(&self) -> TailDb {
        match self {
            Self::Url(url) => TailDb::open(url).await.unwrap(),
            Self::Bucket(inner, folder) => {
                TailDb::builder().open_store(Store::new(Arc::clone(inner), folder)).await.unwrap()
            }
        }
    }
}

pub(crate) fn rows_of(lines: &[String]) -> Vec<TailEvents> {
    let decoded = decode(lines.join("\n").as_bytes(), "test", Timestamp::from_micros(0)).unwrap();
    assert!(decoded.dead_letters.is_empty(), "{:?}", decoded.dead_letters);
    assert_eq!(decoded.events.len(), lines.len());
    decoded.events
}

/// Stores events in commits of `size`. Gives each commit's number with the count of events up to it.
pub(crate) async fn store(database: &TailDb, lines: &[String], size: usize) -> Vec<(u64, usize)> {
    let mut commits = Vec::new();
    for (index, lines_of_commit) in lines.chunks(size).enumerate() {
        let written = database.tail_events.insert_many(rows_of(lines_of_commit)).await.unwrap();
        assert!(!written.repeated);
        commits.push((written.seq, index * size + lines_of_commit.len()));
    }
    commits
}

/// What the views hold, read as typed rows.
pub(crate) async fn held(database: &TailDb, seq: Option<u64>) -> Views {
    macro_rules! rows {
        ($view:ident, $row:ty, $compared:path) => {{
            let find = database.$view.all();
            let rows: Vec<$row> = match seq {
                Some(seq) => find.at(seq).await.unwrap(),
                None => find.await.unwrap(),
            };
            rows.iter().map($compared).collect()
        }};
    }
    Views {
        worker_logs: rows!(worker_logs, WorkerLogs, recompute::log),
        worker_errors: rows!(worker_errors, WorkerErrors, recompute::error),
        worker_requests: rows!(worker_requests, WorkerRequests, recompute::request),
        endpoint_metrics: rows!(endpoint_metrics, EndpointMetrics, recompute::metric),
    }
}

/// Asserts that all four views, or all but the scheduled one, hold what they must.
pub(crate) fn assert_views(held: &Views, expected: &Views, scheduled: bool, what: &str) {
    for (name, _) in TABLES {
        if name == "endpoint_metrics" && !scheduled {
            continue;
        }
        if let Some(difference) = held.table(name).difference(expected.table(name)) {
            panic!("{what}: {name}: {difference}");
        }
    }
}

/// The command with nothing of this process's environment that it reads.
pub(crate) fn tail(arguments: &[&str]) -> Command {
    let mut command = Command::new(cargo_bin("parquedb-tail").unwrap());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("AWS_")
            || text.starts_with("PARQUEDB_")
            || text.to_lowercase().ends_with("_proxy")
        {
            command.env_remove(&name);
        }
    }
    command.args(arguments);
    command
}

/// The same for a database on a server.
pub(crate) fn tail_on(server: Option<&S3Server>, arguments: &[&str]) -> Command {
    let mut command = tail(arguments);
    command.envs(server.map(S3Server::environment).unwrap_or_default());
    command
}

/// Standard output of a command that must succeed.
pub(crate) fn succeed(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", errors(&output));
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What the command gives for a query, one JSON object a line.
pub(crate) fn query(server: Option<&S3Server>, at: &str, sql: &str) -> String {
    succeed(tail_on(server, &["query", "--at", at, sql, "--format", "json"]))
}

pub(crate) fn count(server: Option<&S3Server>, at: &str, table: &str) -> u64 {
    let answer = query(server, at, &format!("select count(*) as n from {table}"));
    recompute::parse(&answer)["n"].as_u64().unwrap()
}

/// What the views hold, as the command's queries tell.
pub(crate) fn held_by_command(server: Option<&S3Server>, at: &str) -> Views {
    let rows =
        |table: &str| recompute::from_lines(table, &query(server, at, &format!("select * from {table}")));
    Views {
        worker_logs: rows("worker_logs"),
        worker_errors: rows("worker_errors"),
        worker_requests: rows("worker_requests"),
        endpoint_metrics: rows("endpoint_metrics"),
    }
}

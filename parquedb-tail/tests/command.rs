//! The command as a process: ingest, killed and repeated; the server, stopped; queries on what is there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use parquedb::Timestamp;
use parquedb_tail::TailEvents;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/data/tail_events.ndjson")
}

fn rows() -> Vec<TailEvents> {
    let body = std::fs::read(sample()).unwrap();
    parquedb_tail::decode::decode(&body, "sample", Timestamp::from_micros(0)).unwrap().events
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parquedb-tail"));
    command.args(arguments).env_remove("PARQUEDB_TAIL_TOKEN").env_remove("PARQUEDB_LOG");
    command
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

/// Standard output of a command that must succeed.
fn succeed(arguments: &[&str]) -> String {
    let output = run(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn query(at: &str, sql: &str) -> Vec<Value> {
    let text = succeed(&["query", "--at", at, sql, "--format", "json"]);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn count(at: &str, table: &str) -> u64 {
    query(at, &format!("select count(*) as n from {table}"))[0]["n"].as_u64().unwrap()
}

#[test]
fn a_file_is_ingested_once_and_its_views_agree() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("db").display().to_string();
    let file = sample().display().to_string();
    let report = succeed(&["ingest", &file, "--to", &at, "--batch", "100", "--strict"]);
    let rows = rows();
    assert!(report.contains("commits       5"), "{report}");
    let report = succeed(&["ingest", &file, "--to", &at, "--batch", "7"]);
    assert!(report.contains("is fully ingested"), "{report}");

    assert_eq!(count(&at, "tail_events"), rows.len() as u64);
    let logs: usize = rows.iter().map(|row| row.logs.len()).sum();
    assert_eq!(count(&at, "worker_logs"), logs as u64);
    let errors = rows.iter().filter(|row| row.outcome != "ok" || !row.exceptions.is_empty()).count();
    assert_eq!(count(&at, "worker_errors"), errors as u64);
    let requests = rows.iter().filter(|row| row.event.as_ref().is_some_and(|event| event.request.is_some()));
    assert_eq!(count(&at, "worker_requests"), requests.clone().count() as u64);
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for row in requests {
        *expected.entry(row.event.as_ref().unwrap().request.as_ref().unwrap().method.clone()).or_default() +=
            1;
    }
    let methods: BTreeMap<String, u64> =
        query(&at, "select method, count(*) as n from worker_requests group by method")
            .iter()
            .map(|row| (row["method"].as_str().unwrap().to_owned(), row["n"].as_u64().unwrap()))
            .collect();
    assert_eq!(methods, expected);

    let status: Value = serde_json::from_str(&succeed(&["views", "--at", &at, "--json"])).unwrap();
    assert_eq!(status.as_array().unwrap().len(), 4, "{status}");
    assert!(succeed(&["views", "--at", &at]).contains("WorkerErrors"));
    let csv = succeed(&["query", "--at", &at, "select 1 as a, 'x,y' as b", "--format", "csv"]);
    assert_eq!(csv.trim(), "a,b\n1,\"x,y\"");
    assert!(succeed(&["query", "--at", &at, "select 1 as a"]).ends_with("1 row\n"));
}

#[test]
fn an_ingest_killed_anywhere_is_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("db").display().to_string();
    let file = sample().display().to_string();
    for (turn, batch) in ["3", "5", "11"].into_iter().enumerate() {
        let mut child = command(&["ingest", &file, "--to", &at, "--batch", batch])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(400 + 300 * turn as u64));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    succeed(&["ingest", &file, "--to", &at, "--batch", "50"]);
    assert_eq!(count(&at, "tail_events"), rows().len() as u64);
}

#[test]
fn dead_letters_are_shown_and_strict_counts_them() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("db").display().to_string();
    let file = folder.path().join("bad.ndjson");
    std::fs::write(&file, "{\"outcome\":1}\n{\"outcome\":2}\n").unwrap();
    let file = file.display().to_string();
    let output = run(&["ingest", &file, "--to", &at, "--strict"]);
    let report = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(report.contains("dead letters  2") && report.contains("1 × outcome: invalid type"), "{report}");
    assert_eq!(count(&at, "dead_letters"), 2);
    let output = run(&["ingest", &folder.path().join("none").display().to_string(), "--to", &at]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("parquedb-tail: cannot read"));
    let output = run(&["query", "--at", &at, "select nothing from nowhere"]);
    assert_eq!(output.status.code(), Some(1));
}

/// A running server, killed when dropped.
struct Server {
    child: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(at: &str, token: Option<&str>) -> Self {
        let mut serve = command(&["serve", "--listen", "127.0.0.1:0", "--to", at]);
        if let Some(token) = token {
            serve.env("PARQUEDB_TAIL_TOKEN", token);
        }
        let mut child = serve.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("the server ended").unwrap();
            let plain: String = strip(&line);
            if let Some((_, rest)) = plain.split_once("address=") {
                break rest.split_whitespace().next().unwrap().to_owned();
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    fn post(&self, headers: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        write!(stream, "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}{headers}\r\n\r\n{body}")
            .unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
    }
}

/// Text without terminal colours.
fn strip(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        out.push_str(before);
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    out + rest
}

#[test]
fn what_the_server_answered_for_is_there_after_it_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("db").display().to_string();
    let item = std::fs::read_to_string(sample()).unwrap().lines().next().unwrap().to_owned();
    let mut server = Server::start(&at, Some("s3cret"));
    assert_eq!(server.post("", &item).0, 401);
    let token = "\r\nauthorization: Bearer s3cret";
    for id in ["a", "b", "a"] {
        let (status, answer) = server.post(&format!("{token}\r\nx-tail-batch-id: {id}"), &item);
        assert_eq!((status, &answer["accepted"]), (200, &json!(1)), "{answer}");
    }
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    assert_eq!(count(&at, "tail_events"), 2);

    // The ids are known after a restart, too.
    let mut server = Server::start(&at, Some("s3cret"));
    let (status, answer) = server.post(&format!("{token}\r\nx-tail-batch-id: a"), &item);
    assert_eq!((status, &answer["repeated"]), (200, &json!(true)));
    assert!(Command::new("kill").arg(server.child.id().to_string()).status().unwrap().success());
    let started = Instant::now();
    let status = loop {
        if let Some(status) = server.child.try_wait().unwrap() {
            break status;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "the server does not stop");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success(), "{status}");
    assert_eq!(count(&at, "tail_events"), 2);
}

#[test]
fn other_machines_need_a_token() {
    let output = run(&["serve", "--listen", "0.0.0.0:0", "--to", "memory:///"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("PARQUEDB_TAIL_TOKEN"));
}

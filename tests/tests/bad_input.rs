//! The command given what it cannot use: it says what is wrong and where, and leaves nothing half-done.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::corpus::{
    assert_views, count, errors, held_by_command, query, real, succeed, tail, tail_on, views_of,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use parquedb_tests::S3Server;
use parquedb_tests::recompute;
use serde_json::json;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Runs a command that must fail. Gives what it says.
fn fail(mut command: Command) -> String {
    let started = Instant::now();
    let output = command.output().unwrap();
    let said = errors(&output);
    assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
    assert!(said.starts_with("parquedb-tail: "), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    assert!(started.elapsed() < Duration::from_secs(90), "{command:?} took {:?}", started.elapsed());
    said
}

fn assert_says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "`{part}` is missing in: {said}");
    }
}

fn database(folder: &Path) -> String {
    folder.join("database").display().to_string()
}

#[test]
fn bad_items_are_dead_letters_and_their_neighbours_are_stored() {
    let good: Vec<String> = real().into_iter().take(6).collect();
    let event = |change: &str, value: serde_json::Value| {
        let mut event = recompute::parse(&good[0]);
        event[change] = value;
        event.to_string().into_bytes()
    };
    let bad: Vec<(Vec<u8>, &str)> = vec![
        (good[1].as_bytes()[..good[1].len() / 2].to_vec(), "the line ends inside this item"),
        (event("outcome", json!(7)), "outcome: invalid type"),
        (event("wallTime", json!("long")), "wallTime: invalid type"),
        (event("wallTime", json!(1.5)), "wallTime: invalid value"),
        (event("wallTime", json!(u64::MAX)), "wallTime: invalid value"),
        (event("eventTimestamp", json!(i64::MAX)), "is no moment"),
        (event("event", json!({"response": {"status": 70_000}})), "event.response.status: invalid value"),
        (b"{\"outcome\":\"\xff\xfe\"}".to_vec(), "invalid UTF-8 at byte 12"),
        (b"{\"outcome\":\"ok\"}".to_vec(), "missing field `eventTimestamp`"),
        (b"42".to_vec(), ""),
    ];
    let mut file = Vec::new();
    for (index, line) in good.iter().enumerate() {
        file.extend_from_slice(line.as_bytes());
        file.push(b'\n');
        for (bytes, _) in bad.iter().skip(index * 2).take(2) {
            file.extend_from_slice(bytes);
            file.push(b'\n');
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let at = database(folder.path());
    let path = folder.path().join("mixed.ndjson");
    std::fs::write(&path, &file).unwrap();
    let path = path.display().to_string();

    let output = tail(&["ingest", &path, "--to", &at, "--batch", "4", "--strict"]).output().unwrap();
    let report = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{report} {}", errors(&output));
    assert_says(&report, &["events        6", "1 × event.response.status: invalid value"]);
    assert_views(&held_by_command(None, &at), &views_of(&good), false, "beside bad items");
    let letters =
        query(None, &at, "select position, source, reason, raw from dead_letters order by position");
    let letters: Vec<_> = letters.lines().map(recompute::parse).collect();
    assert!(letters.len() >= bad.len(), "{letters:?}");
    assert_says(&report, &[&format!("dead letters  {}", letters.len())]);
    for (bytes, reason) in &bad {
        let raw: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let letter = letters.iter().find(|letter| raw.starts_with(letter["raw"].as_str().unwrap()));
        let letter =
            letter.unwrap_or_else(|| panic!("{} is in no dead letter", String::from_utf8_lossy(bytes)));
        assert_says(letter["reason"].as_str().unwrap(), &[reason]);
        assert_eq!(letter["source"], path);
    }
    // Without --strict they are no failure, and they are not stored again.
    let report = succeed(tail(&["ingest", &path, "--to", &at]));
    assert_says(&report, &["is fully ingested"]);
    assert_eq!(count(None, &at, "dead_letters"), letters.len() as u64);
}

#[test]
fn broken_and_huge_gzip_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = database(folder.path());
    let good: Vec<String> = real().into_iter().take(40).collect();
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all((good.join("\n") + "\n").as_bytes()).unwrap();
    let packed = packer.finish().unwrap();
    let path = folder.path().join("events.ndjson.gz");
    let name = path.display().to_string();

    std::fs::write(&path, &packed[..packed.len() - 20]).unwrap();
    let said = fail(tail(&["ingest", &name, "--to", &at]));
    assert_says(&said, &["cannot read", &name]);
    // Whatever was read before the break may be stored, once.
    std::fs::write(&path, &packed).unwrap();
    succeed(tail(&["ingest", &name, "--to", &at]));
    assert_eq!(count(None, &at, "tail_events"), 40);
    assert_views(&held_by_command(None, &at), &views_of(&good), false, "after broken gzip");

    // One item of 100 MB in 100 KB.
    let bomb = folder.path().join("bomb.gz");
    let mut packer = GzEncoder::new(std::fs::File::create(&bomb).unwrap(), Compression::fast());
    packer.write_all(b"{\"outcome\":\"").unwrap();
    std::io::copy(&mut std::io::repeat(b'a').take(100 << 20), &mut packer).unwrap();
    packer.finish().unwrap();
    let other = folder.path().join("other").display().to_string();
    let name = bomb.display().to_string();
    let output = tail(&["ingest", &name, "--to", &other, "--strict"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", errors(&output));
    let report = String::from_utf8_lossy(&output.stdout).into_owned() + &errors(&output);
    assert_says(&report, &["no item ends within 67108864 bytes"]);
    assert_eq!(count(None, &other, "tail_events"), 0);
}

#[test]
fn what_is_no_file_of_events_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let at = database(folder.path());
    let said = fail(tail(&["ingest", "/does/not/exist.ndjson", "--to", &at]));
    assert_says(&said, &["cannot read /does/not/exist.ndjson", "No such file"]);
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "these are my notes\nof today\n").unwrap();
    let name = path.display().to_string();
    let said = fail(tail(&["ingest", &name, "--to", &at]));
    assert_says(&said, &[&name, "is not a file of tail events", "at byte 0"]);
    let said = fail(tail(&["ingest", &folder.path().display().to_string(), "--to", &at]));
    assert_says(&said, &["cannot read", "directory"]);
    assert_eq!(count(None, &at, "tail_events"), 0);
    assert_eq!(count(None, &at, "dead_letters"), 0);
}

#[test]
fn queries_that_cannot_be_answered_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let at = database(folder.path());
    let said = fail(tail(&["query", "--at", &at, "select 1"]));
    assert_says(&said, &[&at, "no database"]);
    assert!(!Path::new(&at).exists(), "a query creates nothing");
    assert_says(&fail(tail(&["views", "--at", &at])), &[&at]);

    let path = folder.path().join("events.ndjson");
    std::fs::write(&path, real()[..5].join("\n")).unwrap();
    succeed(tail(&["ingest", &path.display().to_string(), "--to", &at]));
    assert_says(&fail(tail(&["query", "--at", &at, "select * from nowhere"])), &["nowhere"]);
    assert_says(&fail(tail(&["query", "--at", &at, "select nothing from worker_logs"])), &["nothing"]);
    fail(tail(&["query", "--at", &at, "selec 1"]));
    for change in [
        "delete from tail_events",
        "insert into worker_logs values (1)",
        "drop table tail_events",
        "create table t (a int)",
    ] {
        fail(tail(&["query", "--at", &at, change]));
    }
    assert_eq!(count(None, &at, "tail_events"), 5);
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.ndjson");
    std::fs::write(&path, real()[..5].join("\n")).unwrap();
    let before = std::fs::read(&path).unwrap();
    let at = path.join("database").display().to_string();
    let said = fail(tail(&["ingest", &path.display().to_string(), "--to", &at]));
    assert_says(&said, &[&at]);
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let at = path.display().to_string();
    assert_says(&fail(tail(&["ingest", &at, "--to", &at])), &[&at]);
    assert_eq!(std::fs::read(&path).unwrap(), before, "a database over a file leaves it as it was");
}

#[test]
fn a_bucket_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.ndjson");
    std::fs::write(&path, real()[..5].join("\n")).unwrap();
    let file = path.display().to_string();
    let server = S3Server::start();
    server.create_bucket("tail");
    let ingest = ["ingest", &file, "--to", "s3://tail/db"];

    let said = fail(tail_on(Some(&server), &["ingest", &file, "--to", "s3://tale/db"]));
    assert_says(&said, &["s3://tale/db", "bucket"]);
    let said = fail(tail(&ingest));
    assert_says(&said, &["s3://tail/db", "AWS_ACCESS_KEY_ID"]);
    let mut wrong = tail_on(Some(&server), &ingest);
    let said = fail({
        wrong.env("AWS_SECRET_ACCESS_KEY", "wrong-secret-text");
        wrong
    });
    assert_says(&said, &["s3://tail/db"]);
    assert!(!said.contains("wrong-secret-text"), "{said}");
    assert!(server.objects("tail").is_empty());

    // A port that nobody listens on.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut nowhere = tail_on(Some(&server), &ingest);
    nowhere.env("AWS_ENDPOINT", format!("http://{closed}"));
    let said = fail(nowhere);
    assert_says(&said, &["s3://tail/db"]);

    for wrong in ["s3:/tail", "ftp://tail/db", "s3://key:secret-text@tail/db"] {
        let said = fail(tail_on(Some(&server), &["ingest", &file, "--to", wrong]));
        assert!(!said.contains("secret-text"), "{said}");
    }
    assert!(!Path::new("s3:").exists(), "a mistyped URL makes no folder");
    assert!(server.objects("tail").is_empty());
    succeed(tail_on(Some(&server), &ingest));
    assert_eq!(count(Some(&server), "s3://tail/db", "tail_events"), 5);
}

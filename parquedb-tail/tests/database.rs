//! Real events through the database: what is read back, and whether the views agree with plain loops.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use parquedb::{Database, Timestamp};
use parquedb_tail::decode::decode;
use parquedb_tail::sink::Sink;
use parquedb_tail::{TailDb, TailEvents};
use std::collections::BTreeMap;
use std::path::PathBuf;

const HOUR: i64 = 3_600_000_000;

/// The committed sample, or the file that `PARQUEDB_TAIL_ITEMS` names.
fn rows() -> Vec<TailEvents> {
    let path = std::env::var_os("PARQUEDB_TAIL_ITEMS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/data/tail_events.ndjson"),
        PathBuf::from,
    );
    decode(&std::fs::read(path).unwrap(), "sample", Timestamp::from_micros(0)).unwrap().events
}

fn sorted<T: Ord>(rows: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut rows: Vec<T> = rows.into_iter().collect();
    rows.sort();
    rows
}

#[tokio::test]
async fn every_row_comes_back_and_the_views_agree_with_loops() {
    let folder = tempfile::tempdir().unwrap();
    let url = folder.path().join("db").display().to_string();
    let rows = rows();
    let db = TailDb::open(&url).await.unwrap();
    for (number, part) in rows.chunks(97).enumerate() {
        let stored = db.store(part.to_vec(), Vec::new(), Some(format!("part {number}"))).await.unwrap();
        assert!(!stored.repeated);
        if number % 3 == 0 {
            let again = db.store(part.to_vec(), Vec::new(), Some(format!("part {number}"))).await.unwrap();
            assert!(again.repeated);
        }
        if number == 2 {
            db.flush().await.unwrap();
        }
    }
    let next_hour = (db.connection().now().as_micros() / HOUR + 1) * HOUR;
    db.run_due(Timestamp::from_micros(next_hour)).await.unwrap();
    check(&db, &rows).await;
    // The same from Parquet files alone, by another process.
    db.flush().await.unwrap();
    drop(db);
    check(&TailDb::builder().read_only().open(&url).await.unwrap(), &rows).await;
}

async fn check(db: &TailDb, rows: &[TailEvents]) {
    let items = |rows: &[TailEvents]| sorted(rows.iter().map(TailEvents::to_item));
    assert!(items(&db.tail_events.all().await.unwrap()) == items(rows));

    let logs = db.worker_logs.all().await.unwrap();
    let found =
        logs.into_iter().map(|row| (row.timestamp, row.level, row.message, row.script_name, row.colo));
    let expected = rows.iter().flat_map(|row| {
        row.logs.iter().map(|log| {
            let cf = request(row).and_then(|request| request.cf.as_ref());
            let colo = cf.and_then(|cf| cf.colo.clone());
            (log.timestamp, log.level.clone(), log.message.clone(), row.script_name.clone(), colo)
        })
    });
    assert!(sorted(found) == sorted(expected));

    let errors = db.worker_errors.all().await.unwrap();
    let found = errors.into_iter().map(|row| {
        (row.timestamp, row.outcome, row.exception_name, row.exception_message, row.url, row.status)
    });
    let failed = rows.iter().filter(|row| row.outcome != "ok" || !row.exceptions.is_empty());
    let expected = failed.map(|row| {
        let first = row.exceptions.first();
        let (name, message) =
            (first.map(|first| first.name.clone()), first.map(|first| first.message.clone()));
        let url = request(row).map(|request| request.url.clone());
        (row.event_timestamp, row.outcome.clone(), name, message, url, status(row))
    });
    assert_eq!(sorted(found), sorted(expected));

    let requests: Vec<&TailEvents> = rows.iter().filter(|row| request(row).is_some()).collect();
    let found = db.worker_requests.all().await.unwrap();
    let found = found.into_iter().map(|row| (row.timestamp, row.method, row.url, row.status, row.latency));
    let expected = requests.iter().map(|row| {
        let request = request(row).unwrap();
        let (method, url) = (Some(request.method.clone()), Some(request.url.clone()));
        (row.event_timestamp, method, url, status(row), row.wall_time)
    });
    assert!(sorted(found) == sorted(expected));

    let mut groups: BTreeMap<(Option<String>, Option<String>, i64), (u64, f64, f64)> = BTreeMap::new();
    for row in requests {
        let hour = row.event_timestamp.as_micros().div_euclid(HOUR) * HOUR;
        let key = (row.script_name.clone(), Some(request(row).unwrap().method.clone()), hour);
        let group = groups.entry(key).or_default();
        group.0 += 1;
        group.1 += row.wall_time.unwrap() as f64;
        group.2 += f64::from(u8::from(row.outcome != "ok"));
    }
    let metrics = db.endpoint_metrics.all().await.unwrap();
    assert_eq!(metrics.len(), groups.len());
    for row in metrics {
        let (count, latency, failed) = groups[&(row.script_name, row.method, row.hour.as_micros())];
        assert_eq!(row.request_count, count);
        assert_eq!(row.avg_latency, Some(latency / count as f64));
        assert!((row.error_rate - failed / count as f64).abs() < 1e-12);
    }
}

fn request(row: &TailEvents) -> Option<&parquedb_tail::event::Request> {
    row.event.as_ref()?.request.as_ref()
}

fn status(row: &TailEvents) -> Option<u16> {
    Some(row.event.as_ref()?.response.as_ref()?.status)
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_that_arrive_together_share_commits() {
    let folder = tempfile::tempdir().unwrap();
    let db = std::sync::Arc::new(TailDb::open(folder.path().join("db").display().to_string()).await.unwrap());
    let row = rows().remove(0);
    let before = db.seq();
    let posts = (0..200).map(|number| {
        let (db, row) = (std::sync::Arc::clone(&db), row.clone());
        tokio::spawn(
            async move { db.store(vec![row], Vec::new(), Some(format!("post {}", number % 150))).await },
        )
    });
    let mut repeated = 0;
    for post in posts.collect::<Vec<_>>() {
        repeated += usize::from(post.await.unwrap().unwrap().repeated);
    }
    assert_eq!((repeated, db.tail_events.all().count().await.unwrap()), (50, 150));
    let commits = db.seq() - before;
    assert!(commits < 75, "{commits} commits for 150 batches");
}

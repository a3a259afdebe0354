//! Real tail events through decoder, commits and views, compared row by row with a recomputation from
//! their JSON text: in memory, in a folder and in a bucket.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::corpus::{
    Place, assert_views, count, file, held, held_by_command, real, rows_of, seeds, store, succeed, tail_on,
    varied, views_of,
};
use futures::TryStreamExt;
use parquedb::arrow::json::LineDelimitedWriter;
use parquedb_tail::TailDb;
use parquedb_tests::S3Server;
use parquedb_tests::recompute::{self, Rows, TABLES, Views};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The whole life of a database: filled, refreshed, flushed, reopened, filled again, read at old commits.
async fn live(place: &Place, lines: &[String], size: usize, what: &str) {
    let what = &format!("{what}, commits of {size}");
    let half = lines.len() / 2;
    let (one, all) = (views_of(&lines[..half]), views_of(lines));
    let database = place.open().await;
    let mut commits = store(&database, &lines[..half], size).await;
    let now = held(&database, None).await;
    assert_views(&now, &one, false, &format!("{what}: half"));
    assert_eq!(now.endpoint_metrics, Rows::default(), "{what}: not refreshed yet");
    assert!(database.endpoint_metrics.refresh().await.unwrap(), "{what}");
    let refreshed = database.seq();
    assert_views(&held(&database, None).await, &one, true, &format!("{what}: refreshed"));

    let rest = store(&database, &lines[half..], size).await;
    commits.extend(rest.into_iter().map(|(seq, count)| (seq, half + count)));
    let mut lagging = all.clone();
    lagging.endpoint_metrics = one.endpoint_metrics.clone();
    assert_views(&held(&database, None).await, &lagging, true, &format!("{what}: one view lags"));
    database.flush().await.unwrap();
    assert_views(&held(&database, None).await, &lagging, true, &format!("{what}: flushed"));
    drop(database);

    let database = place.open().await;
    assert_views(&held(&database, None).await, &lagging, true, &format!("{what}: reopened"));
    assert!(database.endpoint_metrics.refresh().await.unwrap(), "{what}");
    assert!(!database.endpoint_metrics.refresh().await.unwrap(), "{what}: nothing is new");
    let everything = database.seq();
    assert_views(&held(&database, None).await, &all, true, &format!("{what}: caught up"));
    find_and_sql(&database, lines, &all, what).await;

    // Events that arrive twice under no batch id are two events.
    store(&database, &lines[half..], size).await;
    let twice: Vec<String> = lines.iter().chain(&lines[half..]).cloned().collect();
    let twice = views_of(&twice);
    database.endpoint_metrics.refresh().await.unwrap();
    assert_views(&held(&database, None).await, &twice, true, &format!("{what}: half of it twice"));
    for (seq, count) in commits.iter().step_by(commits.len().div_ceil(8)) {
        let mut then = views_of(&lines[..*count]);
        then.endpoint_metrics = if *seq < refreshed { Rows::default() } else { one.endpoint_metrics.clone() };
        assert_views(&held(&database, Some(*seq)).await, &then, true, &format!("{what}: at commit {seq}"));
    }
    assert_views(&held(&database, Some(everything)).await, &all, true, &format!("{what}: at {everything}"));
    database.flush().await.unwrap();
    drop(database);
    let database = place.open().await;
    assert_views(&held(&database, None).await, &twice, true, &format!("{what}: at the end"));
    assert_views(
        &held(&database, Some(everything)).await,
        &all,
        true,
        &format!("{what}: back at {everything}"),
    );
}

/// Typed queries and SQL over a database of `lines`.
async fn find_and_sql(database: &TailDb, lines: &[String], expected: &Views, what: &str) {
    let sent: Rows = rows_of(lines).iter().map(|row| Value::from(row.to_item())).collect();
    let stored: Rows =
        database.tail_events.all().await.unwrap().iter().map(|row| Value::from(row.to_item())).collect();
    assert!(stored.difference(&sent).is_none(), "{what}: {:?}", stored.difference(&sent));

    let requests: Vec<Value> = expected.worker_requests.values().collect();
    let number = |value: &Value| value.as_i64();
    let failed: Vec<&Value> = requests.iter().filter(|row| number(&row[3]) >= Some(400)).collect();
    assert!(!failed.is_empty());
    let find = || database.worker_requests.find(|row| row.status.ge(400));
    assert_eq!(find().count().await.unwrap(), failed.len() as u64, "{what}");
    let found: Rows = find().await.unwrap().iter().map(recompute::request).collect();
    assert_eq!(found.difference(&failed.iter().copied().cloned().collect()), None, "{what}");

    let mut times: Vec<i64> = failed.iter().filter_map(|row| number(&row[8])).collect();
    times.sort_unstable_by(|left, right| right.cmp(left));
    let newest = find().order_by(|row| row.timestamp.desc()).order_by(|row| row.url.asc());
    let page = newest.skip(3).limit(10).read().await.unwrap();
    assert_eq!(page.seq, database.seq());
    let found: Vec<i64> = page.rows.iter().map(|row| row.timestamp.as_micros()).collect();
    assert_eq!(found, times.iter().skip(3).take(10).copied().collect::<Vec<_>>(), "{what}");
    for row in &page.rows {
        assert!(failed.contains(&&recompute::request(row)), "{what}: {row:?}");
    }
    let first = find().order_by(|row| row.timestamp.desc()).first().await.unwrap().unwrap();
    assert_eq!(Some(&first.timestamp.as_micros()), times.first(), "{what}");

    let without_answer = requests.iter().filter(|row| row[3].is_null()).count() as u64;
    let found = database.worker_requests.find(|row| row.status.is_null()).count().await.unwrap();
    assert_eq!(found, without_answer, "{what}");
    let found = database.worker_requests.find(|row| row.status.ne(200)).count().await.unwrap();
    let other = requests.iter().filter(|row| row[3] != json!(200)).count() as u64;
    assert_eq!(found, other, "{what}: a null is not 200");

    let logs: Vec<_> = database.worker_logs.all().stream().await.unwrap().try_collect().await.unwrap();
    let logs: Rows = logs.iter().map(recompute::log).collect();
    assert_eq!(logs.difference(&expected.worker_logs), None, "{what}: streamed");
    let batches = database.worker_logs.find(|row| row.level.eq("error")).batches().await.unwrap();
    let errors: usize = batches.iter().map(|batch| batch.num_rows()).sum();
    assert_eq!(errors, expected.worker_logs.values().filter(|row| row[1] == "error").count(), "{what}");

    for (table, _) in TABLES {
        let rows = recompute::from_lines(table, &sql(database, &format!("select * from {table}")).await);
        assert_eq!(rows.difference(expected.table(table)), None, "{what}: select * from {table}");
    }
    let mut groups: BTreeMap<String, (u64, i64)> = BTreeMap::new();
    for row in &requests {
        let group = groups.entry(json!([row[1], row[4]]).to_string()).or_insert((0, i64::MIN));
        group.0 += 1;
        group.1 = group.1.max(number(&row[8]).unwrap());
    }
    let answer = sql(
        database,
        "select method, outcome, count(*) as n, max(timestamp) as last from worker_requests group by 1, 2",
    )
    .await;
    let answer: BTreeMap<String, (u64, i64)> = answer
        .lines()
        .map(|line| {
            let row = recompute::parse(line);
            let last: parquedb::Timestamp = row["last"].as_str().unwrap().parse().unwrap();
            let key = json!([row["method"], row["outcome"]]).to_string();
            (key, (row["n"].as_u64().unwrap(), last.as_micros()))
        })
        .collect();
    assert_eq!(answer, groups, "{what}");
}

/// The answer to a query, one JSON object a line.
async fn sql(database: &TailDb, query: &str) -> String {
    let batches = database.sql(query).await.unwrap().collect().await.unwrap();
    let mut lines = Vec::new();
    let mut writer = LineDelimitedWriter::new(&mut lines);
    writer.write_batches(&batches.iter().collect::<Vec<_>>()).unwrap();
    writer.finish().unwrap();
    String::from_utf8(lines).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_in_memory_hold_what_the_events_say() {
    let lines = real();
    for size in [lines.len(), 50, 7] {
        live(&Place::Url(format!("memory:///end-to-end-{size}")), &lines, size, "memory").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_in_a_folder_hold_what_the_events_say() {
    let lines = real();
    for size in [lines.len(), 50, 7] {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::Url(folder.path().join("a database").display().to_string());
        live(&place, &lines, size, "folder").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_in_a_bucket_hold_what_the_events_say() {
    let lines = real();
    let server = S3Server::start();
    for size in [lines.len(), 50, 7] {
        live(&Place::bucket(&server, "tail", &format!("by/{size}")), &lines, size, "bucket").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn truth_of_views_over_varied_events() {
    for seed in seeds() {
        let lines = varied(seed);
        let size = [13, 31, 101][usize::try_from(seed % 3).unwrap()];
        live(&Place::Url(format!("memory:///varied-{seed}")), &lines, size, &format!("PARQUEDB_SEED={seed}"))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_works_on_a_bucket() {
    let server = S3Server::start();
    server.create_bucket("tail");
    let at = "s3://tail/from/the command";
    let file = file().display().to_string();
    let lines = real();
    let expected = views_of(&lines);
    let report =
        succeed(tail_on(Some(&server), &["ingest", &file, "--to", at, "--batch", "100", "--strict"]));
    assert!(report.contains(&format!("events        {}", lines.len())), "{report}");
    assert!(server.objects("tail").iter().all(|(key, _)| key.starts_with("from/the command/")));
    assert_views(&held_by_command(Some(&server), at), &expected, false, "the command");
    assert_eq!(count(Some(&server), at, "tail_events"), lines.len() as u64);

    let status = recompute::parse(&succeed(tail_on(Some(&server), &["views", "--at", at, "--json"])));
    let status: BTreeMap<&str, &Value> =
        status.as_array().unwrap().iter().map(|view| (view["table"].as_str().unwrap(), view)).collect();
    assert_eq!(status.len(), 4);
    for (table, _) in &TABLES[..3] {
        assert_eq!(status[table]["state"], "fresh", "{}", status[table]);
        assert_eq!(status[table]["rows"], json!(expected.table(table).count()), "{}", status[table]);
    }
    let metrics = status["endpoint_metrics"];
    assert_eq!((&metrics["state"], &metrics["rows"]), (&json!("stale"), &json!(0)), "{metrics}");
    assert_eq!(metrics["lag"]["rows"], json!(expected.worker_requests.count()), "{metrics}");

    // The library reads what the command wrote, and the command what the library refreshed.
    let database = Place::bucket(&server, "tail", "from/the command").open().await;
    assert!(database.endpoint_metrics.refresh().await.unwrap());
    assert_views(&held(&database, None).await, &expected, true, "the library");
    assert_views(&held_by_command(Some(&server), at), &expected, true, "the command, refreshed");
}

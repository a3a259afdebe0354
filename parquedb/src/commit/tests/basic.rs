//! What the log keeps: across reopening, flushing and time travel.

use super::*;
use crate::ErrorKind;
use crate::store::Durability;

async fn reopens(make: impl Fn() -> Store) {
    let log = Log::open(make(), options()).await.unwrap();
    assert_eq!(log.snapshot().seq, 0);
    log.commit(write("A", 0..10)).await.unwrap();
    log.commit(write("B", 0..3)).await.unwrap();
    let mut changes = write("A", 10..12);
    changes.cursors.push(cursor("V", "A", Absorbed::ThisCommit));
    changes.writes.push(TableWrite {
        table: "V".to_owned(),
        is_view: true,
        batches: vec![batch(100..101)],
        replace: true,
    });
    let committed = log.commit(changes).await.unwrap();
    assert_eq!(committed.snapshot.seq, 3);

    for flush in [false, true] {
        if flush {
            log.flush().await.unwrap();
        }
        let again = Log::open(make(), options()).await.unwrap();
        let snapshot = again.snapshot();
        assert_eq!(snapshot.seq, if flush { 4 } else { 3 });
        let a = rows(&again, &snapshot, "A").await;
        let expected: Vec<_> = (0..10).map(|n| (1, n)).chain([(3, 10), (3, 11)]).collect();
        assert_eq!(a, expected);
        assert_eq!(rows(&again, &snapshot, "V").await, vec![(3, 100)]);
        let v = &snapshot.cursors["V"];
        assert_eq!((v.sources["A"].identity, v.seq()), (1, 3));
        let a = &snapshot.tables["A"];
        assert_eq!((a.identity, a.changed), (1, 3));
        assert_eq!(a.inline.is_empty(), flush);
        if flush {
            assert!(a.files[0].path.starts_with("data/A/"));
            assert!(snapshot.tables["V"].files[0].path.starts_with("_views/V/data/"));
        }
    }
}

#[tokio::test]
async fn a_database_in_memory_reopens_as_it_was() {
    let name = format!("memory:///{}", ulid::Ulid::generate());
    reopens(|| Store::open(&name).unwrap()).await;
}

#[tokio::test]
async fn a_database_on_disk_reopens_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/new one");
    reopens(|| Store::open(path.to_str().unwrap()).unwrap()).await;
    let url = url::Url::from_file_path(folder.path().join("other")).unwrap();
    reopens(|| Store::open_with(url.as_str(), Durability::OsBuffered).unwrap()).await;
}

#[tokio::test]
async fn large_writes_go_to_files_at_once() {
    let inner = memory();
    let log =
        Log::open(Store::new(Arc::clone(&inner), "db"), LogOptions { inline_limit_bytes: 1000, ..options() })
            .await
            .unwrap();
    log.commit(write("A", 0..5)).await.unwrap();
    let before = log.store().requests();
    log.commit(write("A", 5..500)).await.unwrap();
    assert_eq!((log.store().requests() - before).put, 2);
    log.commit(write("A", 500..503)).await.unwrap();
    let table = &log.snapshot().tables["A"];
    assert_eq!((table.files.len(), table.inline.len()), (1, 2));
    let before = rows(&log, &log.snapshot(), "A").await;
    assert_eq!(before.len(), 503);
    log.flush().await.unwrap();
    let snapshot = log.snapshot();
    let ranges: Vec<_> =
        snapshot.tables["A"].files.iter().map(|file| (file.first_seq, file.last_seq)).collect();
    assert_eq!(ranges, vec![(1, 1), (2, 2), (3, 3)]);
    let again = open(&inner).await;
    assert_eq!(rows(&again, &again.snapshot(), "A").await, before);
}

#[tokio::test]
async fn every_past_snapshot_can_be_read_exactly() {
    let inner = memory();
    let log = open(&inner).await;
    let mut expected = vec![Vec::new()];
    for step in 0..20_i64 {
        if step % 7 == 6 {
            log.flush().await.unwrap();
        } else if step == 11 {
            let mut changes = write("A", 1000..1004);
            changes.writes[0].replace = true;
            log.commit(changes).await.unwrap();
        } else {
            log.commit(write("A", step * 10..step * 10 + 3)).await.unwrap();
        }
        let snapshot = log.snapshot();
        expected.push(rows(&log, &snapshot, "A").await);
        assert_eq!(snapshot.seq as usize + 1, expected.len());
    }
    let reader =
        Log::open(Store::new(inner, "db"), LogOptions { read_only: true, ..options() }).await.unwrap();
    for (seq, expected) in expected.iter().enumerate() {
        let snapshot = reader.snapshot_at(seq as u64).await.unwrap();
        assert_eq!(&rows(&reader, &snapshot, "A").await, expected, "at {seq}");
    }
    let error = reader.snapshot_at(21).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(reader.commit(write("A", 0..1)).await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn replacing_all_rows_gives_a_new_identity() {
    let log = open(&memory()).await;
    log.commit(write("A", 0..5)).await.unwrap();
    let mut changes = write("A", 0..0);
    changes.writes[0].replace = true;
    log.commit(changes).await.unwrap();
    let snapshot = log.snapshot();
    let table = &snapshot.tables["A"];
    assert_eq!((table.identity, table.changed, table.rows), (2, 2, 0));
    log.commit(write("A", 0..0)).await.unwrap();
    assert_eq!(log.snapshot().tables["A"].changed, 2);
}

#[tokio::test]
async fn a_repeated_batch_changes_nothing_until_seven_days_have_passed() {
    let inner = memory();
    let clock = Arc::new(ManualClock::new(0));
    let with_clock = || LogOptions { clock: Arc::clone(&clock) as _, ..options() };
    let log = Log::open(Store::new(Arc::clone(&inner), "db"), with_clock()).await.unwrap();
    assert!(!log.commit(with_id(write("A", 0..5), "one")).await.unwrap().repeated);
    assert!(log.commit(with_id(write("A", 0..5), "one")).await.unwrap().repeated);
    for flush in [false, true] {
        if flush {
            log.flush().await.unwrap();
        }
        let again = Log::open(Store::new(Arc::clone(&inner), "db"), with_clock()).await.unwrap();
        assert!(again.has_batch("one"));
        assert!(again.commit(with_id(write("A", 0..5), "one")).await.unwrap().repeated);
        assert_eq!(again.snapshot().tables["A"].rows, 5);
    }
    let mixed = with_id(with_id(write("A", 5..6), "one"), "two");
    assert_eq!(log.commit(mixed).await.unwrap_err().kind(), ErrorKind::Conflict);
    clock.advance(8 * 24 * 3600 * 1_000_000);
    log.commit(write("A", 5..6)).await.unwrap();
    assert!(!log.has_batch("one"));
}

#[tokio::test]
async fn flushes_happen_by_themselves() {
    for flush_aside_from_bytes in [u64::MAX, 0] {
        flush_by_themselves(flush_aside_from_bytes).await;
    }
}

async fn flush_by_themselves(flush_aside_from_bytes: u64) {
    let inner = memory();
    let log = Log::open(
        Store::new(Arc::clone(&inner), "db"),
        LogOptions { flush_after_commits: 10, flush_aside_from_bytes, ..options() },
    )
    .await
    .unwrap();
    for step in 0..35 {
        log.commit(write("A", step..step + 1)).await.unwrap();
    }
    log.idle().await;
    let table = &log.snapshot().tables["A"];
    assert!(table.files.len() >= 3 && table.inline.len() < 10, "{table:?}");
    assert_eq!(rows(&log, &log.snapshot(), "A").await.len(), 35);
    let again = open(&inner).await;
    let requests = again.store().requests();
    assert!(requests.get <= 14, "{requests:?}");
    assert_eq!(requests.list, 0);
    assert_eq!(rows(&again, &again.snapshot(), "A").await.len(), 35);
}

#[tokio::test]
async fn a_reader_follows_with_one_request() {
    let inner = memory();
    let log = open(&inner).await;
    let reader = open(&inner).await;
    for step in 0..5 {
        log.commit(write("A", step..step + 1)).await.unwrap();
    }
    assert_eq!(reader.catch_up().await.unwrap().seq, 5);
    let before = reader.store().requests();
    reader.catch_up().await.unwrap();
    assert_eq!((reader.store().requests() - before).get, 1);
    // A commit of a log that has fallen behind moves to the next free slot.
    log.commit(write("A", 5..6)).await.unwrap();
    let committed = reader.commit(write("B", 0..1)).await.unwrap();
    assert_eq!(committed.snapshot.seq, 7);
    assert_eq!(rows(&reader, &committed.snapshot, "A").await.len(), 6);
    let mut changes = write("A", 9..10);
    changes.cursors.push(cursor("V", "A", Absorbed::ThisCommit));
    reader.commit(write("A", 6..7)).await.unwrap();
    assert_eq!(log.commit(changes).await.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn what_is_no_database_is_refused() {
    let missing = LogOptions { create_if_missing: false, ..options() };
    let error = Log::open(Store::open("memory:///").unwrap(), missing).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("thesis.txt"), "words").unwrap();
    let store = Store::open(folder.path().to_str().unwrap()).unwrap();
    let error = Log::open(store, options()).await.unwrap_err();
    assert!(error.to_string().contains("thesis.txt"), "{error}");
    for url in ["ftp://a/b", "s3:///x", "https://example.com/a", "s3://key:secret@bucket/x", "memory://name"]
    {
        let error = Store::open(url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(!error.to_string().contains("secret@"), "{error}");
    }
    let file = Store::open(folder.path().join("thesis.txt").to_str().unwrap()).unwrap();
    assert!(Log::open(file, options()).await.is_err());
}

#[tokio::test]
async fn concurrent_commits_of_two_logs_all_land_once() {
    let inner = memory();
    let logs = [open(&inner).await, open(&inner).await];
    let tasks = (0..40_i64).map(|n| {
        let log = logs[(n % 2) as usize].clone();
        async move { log.commit(write("A", n..n + 1)).await.unwrap().snapshot.seq }
    });
    let mut seqs = futures::future::join_all(tasks.map(tokio::spawn)).await;
    seqs.sort_by_key(|seq| *seq.as_ref().unwrap());
    let seqs: Vec<_> = seqs.into_iter().map(|seq| seq.unwrap()).collect();
    assert_eq!(seqs, (1..=40).collect::<Vec<_>>());
    let again = open(&inner).await;
    let values: std::collections::BTreeSet<_> =
        rows(&again, &again.snapshot(), "A").await.into_iter().map(|(_, n)| n).collect();
    assert_eq!(values.len(), 40);
}

#[tokio::test]
async fn a_small_commit_is_quick() {
    let log = open(&memory()).await;
    let changes = Changes {
        writes: ["A", "B", "C", "D"].into_iter().flat_map(|table| write(table, 0..25).writes).collect(),
        ..Changes::default()
    };
    log.commit(changes.clone()).await.unwrap();
    let before = (log.store().requests(), std::time::Instant::now());
    for _ in 0..200 {
        log.commit(changes.clone()).await.unwrap();
    }
    let spent = before.1.elapsed() / 200;
    let requests = log.store().requests() - before.0;
    println!("100 rows in 4 tables: {spent:?} and {} bytes per commit", requests.bytes_written / 200);
    assert_eq!(requests.put, 200);
    assert!(spent < Duration::from_millis(20), "{spent:?}");
}

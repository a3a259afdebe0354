//! Several writers: what goes together, who is shut out, and whose batches are known.

use super::*;
use crate::commit::{KeySet, Sequence};
use crate::error::{Error, ErrorKind};

/// A batch of a table with what a streaming view makes of it.
fn streamed(table: &str, values: std::ops::Range<i64>, view: &str, base: u64) -> Changes {
    let mut changes = write(table, values.clone());
    changes.base = Some(base);
    changes.writes.extend(write(view, values).writes);
    changes.cursors.push(cursor(view, table, Absorbed::ThisCommit));
    changes
}

fn kind<T>(result: Result<T, Error>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

#[tokio::test]
async fn streaming_views_of_two_writers_follow_each_other() {
    let inner = memory();
    let (one, two) = (open(&inner).await, open(&inner).await);
    one.commit(streamed("A", 0..2, "V", 0)).await.unwrap();
    let before = two.store().requests();
    // Computed from a snapshot without the first, and still right.
    let committed = two.commit(streamed("A", 10..12, "V", 0)).await.unwrap();
    let requests = two.store().requests() - before;
    assert_eq!((requests.put, requests.get, requests.list), (2, 1, 0));
    let snapshot = committed.snapshot;
    assert_eq!(rows(&two, &snapshot, "V").await, rows(&two, &snapshot, "A").await);
    assert_eq!((snapshot.seq, snapshot.cursors["V"].seq()), (2, 2));
    // The same when the other's commit is known before the commit is made.
    one.catch_up().await.unwrap();
    one.commit(streamed("A", 20..21, "V", 1)).await.unwrap();
    assert_eq!(one.snapshot().cursors["V"].seq(), 3);
}

#[tokio::test]
async fn what_does_not_go_together_is_a_conflict() {
    let refresh = |base| {
        let mut changes = write("V", 0..1);
        changes.base = Some(base);
        changes.writes[0].replace = true;
        changes.cursors.push(cursor("V", "A", Absorbed::Through(base)));
        changes
    };
    let at = |mut changes: Changes, base| {
        changes.base = Some(base);
        changes
    };
    let replaced = |table: &str, base| {
        let mut changes = at(write(table, 0..1), base);
        changes.writes[0].replace = true;
        changes
    };
    let keyed = |hashes: Vec<u64>, base| {
        let mut changes = at(write("A", 0..1), base);
        changes.keys.push(KeySet { table: "A".to_owned(), hashes, all: false });
        changes
    };
    let declared =
        |base| Changes { base: Some(base), definitions: Some(Default::default()), ..Changes::default() };
    let cases: Vec<(&str, Changes, Changes, bool)> = vec![
        ("append, append", at(write("A", 0..1), 0), at(write("A", 1..2), 0), false),
        ("append, other table replaced", replaced("B", 0), at(write("A", 1..2), 0), false),
        ("append, replaced", replaced("A", 0), at(write("A", 1..2), 0), true),
        ("replaced, append", at(write("A", 1..2), 0), replaced("A", 0), true),
        ("declared, append", declared(0), at(write("A", 1..2), 0), true),
        ("append, declared", at(write("A", 1..2), 0), declared(0), true),
        ("refresh, refresh", refresh(0), refresh(0), true),
        ("streamed, refresh", streamed("A", 0..1, "V", 0), refresh(0), true),
        ("refresh, streamed", refresh(0), streamed("A", 0..1, "V", 0), true),
        ("append without the view, streamed", at(write("A", 0..1), 0), streamed("A", 1..2, "V", 0), true),
        ("streamed, append without the view", streamed("A", 1..2, "V", 0), at(write("A", 0..1), 0), false),
        ("append to a source, refresh up to before", at(write("A", 0..1), 0), refresh(0), false),
        ("keys that differ", keyed(vec![1, 5], 0), keyed(vec![2, 4, 6], 0), false),
        ("a key in both", keyed(vec![5, 1], 0), keyed(vec![6, 5], 0), true),
    ];
    for (name, first, second, conflicts) in cases {
        for known in [false, true] {
            let inner = memory();
            let (one, two) = (open(&inner).await, open(&inner).await);
            one.commit(first.clone()).await.unwrap();
            if known {
                two.catch_up().await.unwrap();
            }
            let result = two.commit(second.clone()).await;
            let expected = conflicts.then_some(ErrorKind::Conflict);
            assert_eq!(kind(result), expected, "{name}, known: {known}");
            // A conflict has written nothing.
            assert_eq!(open(&inner).await.snapshot().seq, if conflicts { 1 } else { 2 }, "{name}");
        }
    }
}

#[tokio::test]
async fn changes_from_long_ago_are_a_conflict_only_where_they_depend_on_it() {
    let log = open(&memory()).await;
    for step in 0..300 {
        log.commit(write("B", step..step + 1)).await.unwrap();
    }
    let mut old = write("A", 0..1);
    old.base = Some(1);
    log.commit(old).await.unwrap();
    assert_eq!(kind(log.commit(streamed("A", 0..1, "V", 1)).await), Some(ErrorKind::Conflict));
    assert_eq!(kind(log.commit(streamed("A", 0..1, "V", 290)).await), Some(ErrorKind::Conflict));
    log.commit(streamed("C", 0..1, "W", 290)).await.unwrap();
}

fn exclusive() -> LogOptions {
    LogOptions { exclusive: true, ..options() }
}

async fn open_with(inner: &Arc<dyn ObjectStore>, options: LogOptions) -> Result<Log, Error> {
    Log::open(Store::new(Arc::clone(inner), "db"), options).await
}

#[tokio::test]
async fn an_exclusive_writer_shuts_out_all_others_until_it_closes() {
    let inner = memory();
    let shared = open(&inner).await;
    shared.commit(write("A", 0..1)).await.unwrap();
    let first = open_with(&inner, exclusive()).await.unwrap();
    assert_eq!(first.snapshot().epoch, 1);
    first.commit(write("A", 1..2)).await.unwrap();
    // One that stood still meanwhile, with a commit that would go with all others.
    let error = shared.commit(write("A", 2..3)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    assert_eq!(kind(shared.flush().await), Some(ErrorKind::Closed));
    assert_eq!(kind(open_with(&inner, options()).await), Some(ErrorKind::Closed));
    // Readers are welcome.
    let reader = open_with(&inner, LogOptions { read_only: true, ..options() }).await.unwrap();
    assert_eq!(rows(&reader, &reader.snapshot(), "A").await, vec![(1, 0), (3, 1)]);

    // Another takes over from one that has not closed, such as a process that hangs.
    let second = open_with(&inner, exclusive()).await.unwrap();
    second.commit(write("A", 4..5)).await.unwrap();
    let error = first.commit(write("A", 5..6)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert!(error.to_string().contains("epoch 2"), "{error}");
    assert_eq!(kind(first.close().await), Some(ErrorKind::Closed));

    second.close().await.unwrap();
    assert_eq!(kind(second.commit(write("A", 6..7)).await), Some(ErrorKind::Closed));
    // The first one stays shut out, for its view of the world is gone; a shared one goes on.
    assert_eq!(kind(first.commit(write("A", 7..8)).await), Some(ErrorKind::Closed));
    shared.commit(write("A", 8..9)).await.unwrap();
    let again = open(&inner).await;
    assert_eq!(again.snapshot().exclusive, None);
    assert_eq!(again.snapshot().epoch, 3);
    let values: Vec<_> = rows(&again, &again.snapshot(), "A").await.into_iter().map(|(_, n)| n).collect();
    assert_eq!(values, vec![0, 1, 4, 8]);
}

#[tokio::test]
async fn of_racing_exclusive_writers_one_remains() {
    let inner = memory();
    open(&inner).await;
    let opening = (0..8).map(|_| open_with(&inner, exclusive()));
    let logs = futures::future::join_all(opening).await;
    let mut written = 0;
    for (index, log) in logs.into_iter().enumerate() {
        let Ok(log) = log else { continue };
        let index = i64::try_from(index).unwrap();
        written += usize::from(log.commit(write("A", index..index + 1)).await.is_ok());
    }
    assert_eq!(written, 1);
}

fn produced(values: std::ops::Range<i64>, producer: &str, number: u64) -> Changes {
    let mut changes = write("A", values);
    changes.sequences.push(Sequence { producer: producer.to_owned(), number });
    changes
}

#[tokio::test]
async fn a_producers_batches_are_there_once_in_any_order_and_process() {
    let inner = memory();
    let (one, two) = (open(&inner).await, open(&inner).await);
    for (log, number, repeated) in [
        (&one, 1, false),
        (&two, 1, true),
        (&two, 3, false),
        (&one, 2, false),
        (&one, 3, true),
        (&two, 2, true),
    ] {
        let value = i64::try_from(number).unwrap();
        let done = log.commit(produced(value..value + 1, "edge", number)).await.unwrap();
        assert_eq!(done.repeated, repeated, "{number}");
    }
    assert!(!one.commit(produced(9..10, "other", 1)).await.unwrap().repeated);
    one.flush().await.unwrap();
    let again = open(&inner).await;
    assert!(again.commit(produced(0..1, "edge", 2)).await.unwrap().repeated);
    assert_eq!((again.last_sequence("edge"), again.has_sequence("edge", 4)), (Some(3), false));
    assert_eq!(rows(&again, &again.snapshot(), "A").await.len(), 4);
}

#[tokio::test]
async fn a_producer_that_leaves_too_many_gaps_is_told() {
    let log = open(&memory()).await;
    for number in 0..=64 {
        log.commit(produced(0..1, "edge", number * 2)).await.unwrap();
    }
    let error = log.commit(produced(0..1, "edge", 500)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("`edge`"), "{error}");
    // What is missing may come.
    log.commit(produced(0..1, "edge", 1)).await.unwrap();
    log.commit(produced(0..1, "edge", 500)).await.unwrap();
}

#[tokio::test]
async fn snapshots_are_found_by_time() {
    let inner = memory();
    let clock = Arc::new(ManualClock::new(1_000));
    let with_clock = || LogOptions { clock: Arc::clone(&clock) as _, flush_after_commits: 5, ..options() };
    let log = open_with(&inner, with_clock()).await.unwrap();
    for step in 1..40 {
        clock.set(1_000 + step * 10);
        log.commit(write("A", step..step + 1)).await.unwrap();
        log.idle().await;
    }
    let reader = open_with(&inner, LogOptions { read_only: true, ..with_clock() }).await.unwrap();
    for step in 1..40 {
        for after in [0, 9] {
            let snapshot = reader.snapshot_as_of(1_000 + step * 10 + after).await.unwrap();
            assert_eq!(rows(&reader, &snapshot, "A").await.len(), usize::try_from(step).unwrap());
        }
    }
    assert_eq!(kind(reader.snapshot_as_of(999).await), Some(ErrorKind::NotFound));
    assert_eq!(reader.snapshot_as_of(i64::MAX).await.unwrap().seq, log.snapshot().seq);
}

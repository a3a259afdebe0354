//! Each way in which the store can answer the put of a commit.

use super::*;
use crate::ErrorKind;
use crate::testing::{Fault, FaultStore, Request};

async fn faulty() -> (FaultStore, Log, Arc<dyn ObjectStore>) {
    let store = FaultStore::new(memory());
    let inner: Arc<dyn ObjectStore> = Arc::new(store.clone());
    let log = open(&inner).await;
    (store, log, inner)
}

async fn check(log: &Log, inner: &Arc<dyn ObjectStore>, expected: usize) {
    assert_eq!(rows(log, &log.snapshot(), "A").await.len(), expected);
    let again = open(inner).await;
    assert_eq!(rows(&again, &again.snapshot(), "A").await.len(), expected);
}

#[tokio::test]
async fn fault_in_one_answer_leaves_each_commit_once() {
    use Fault::*;
    for fault in
        [FailBefore, ApplyThenFail, ApplyThenExists, Undecided, Throttle, ApplyThenHang, Hang, ApplyLater]
    {
        let (store, log, inner) = faulty().await;
        store.plan(Request::Put, "log/", 1, 1, fault);
        for step in 0..3 {
            let committed = log.commit(with_id(write("A", step..step + 1), &format!("{step}"))).await;
            assert!(committed.is_ok(), "{fault:?}: {committed:?}");
        }
        check(&log, &inner, 3).await;
        assert_eq!(log.snapshot().seq, 3, "{fault:?}");
    }
}

#[tokio::test]
async fn fault_of_permission_is_a_definite_refusal() {
    let (store, log, inner) = faulty().await;
    store.plan(Request::Put, "log/", 0, 1, Fault::Refuse);
    let error = log.commit(write("A", 0..1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("permission"), "{error}");
    log.commit(write("A", 1..2)).await.unwrap();
    check(&log, &inner, 1).await;
}

#[tokio::test]
async fn fault_that_lasts_leaves_the_log_blocked_until_it_knows() {
    for (fault, landed) in [
        (Fault::FailBefore, true),
        (Fault::Hang, true),
        (Fault::Undecided, true),
        (Fault::ApplyThenHang, true),
        (Fault::ApplyLater, true),
    ] {
        let (store, log, inner) = faulty().await;
        store.plan(Request::Put, "log/", 0, 1000, fault);
        if fault == Fault::ApplyThenHang {
            store.plan(Request::Get, "log/", 0, 1000, Fault::FailBefore);
        }
        let error = log.commit(with_id(write("A", 0..1), "one")).await;
        let error = match (fault, error) {
            // The second try found the first one, which had landed meanwhile.
            (Fault::ApplyLater, Ok(_)) => {
                check(&log, &inner, 1).await;
                continue;
            }
            (_, error) => error.unwrap_err(),
        };
        assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{fault:?}");
        // Still blocked: nothing else may be written.
        let error = log.commit(write("A", 5..6)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{fault:?}");
        store.heal();
        let again = log.commit(with_id(write("A", 0..1), "one")).await.unwrap();
        assert_eq!(again.repeated, landed, "{fault:?}");
        log.commit(write("A", 1..2)).await.unwrap();
        check(&log, &inner, 2).await;
    }
}

#[tokio::test]
async fn fault_unknown_and_then_lost_to_another_writer() {
    let (store, log, inner) = faulty().await;
    store.plan(Request::Put, "log/", 0, 1000, Fault::FailBefore);
    let error = log.commit(with_id(write("A", 0..1), "one")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
    store.heal();
    let other = open(&inner).await;
    other.commit(write("A", 7..8)).await.unwrap();
    let again = log.commit(with_id(write("A", 0..1), "one")).await.unwrap();
    assert!(!again.repeated);
    assert_eq!(rows(&log, &again.snapshot, "A").await, vec![(1, 7), (2, 0)]);
    check(&log, &inner, 2).await;
}

#[tokio::test]
async fn fault_in_a_flush_does_not_fail_the_commit() {
    let store = FaultStore::new(memory());
    let inner: Arc<dyn ObjectStore> = Arc::new(store.clone());
    let opened = Store::new(Arc::clone(&inner), "db");
    let log = Log::open(opened, LogOptions { flush_after_commits: 2, ..options() }).await.unwrap();
    store.plan(Request::Put, "data/", 0, 3, Fault::FailBefore);
    store.plan(Request::Put, "ckpt/", 0, 1, Fault::FailBefore);
    store.plan(Request::Put, "HEAD", 0, 1, Fault::FailBefore);
    for step in 0..6 {
        log.commit(write("A", step..step + 1)).await.unwrap();
    }
    log.idle().await;
    check(&log, &inner, 6).await;
}

#[tokio::test]
async fn fault_of_a_store_that_ignores_the_condition_is_noticed_at_creation() {
    #[derive(Debug)]
    struct Overwrites(InMemory);
    impl std::fmt::Display for Overwrites {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Overwrites")
        }
    }
    use object_store::*;
    #[async_trait::async_trait]
    impl ObjectStore for Overwrites {
        async fn put_opts(&self, path: &Path, payload: PutPayload, _: PutOptions) -> Result<PutResult> {
            self.0.put_opts(path, payload, PutOptions::default()).await
        }
        async fn put_multipart_opts(
            &self,
            path: &Path,
            options: PutMultipartOptions,
        ) -> Result<Box<dyn MultipartUpload>> {
            self.0.put_multipart_opts(path, options).await
        }
        async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
            self.0.get_opts(path, options).await
        }
        fn delete_stream(
            &self,
            paths: futures::stream::BoxStream<'static, Result<Path>>,
        ) -> futures::stream::BoxStream<'static, Result<Path>> {
            self.0.delete_stream(paths)
        }
        fn list(&self, prefix: Option<&Path>) -> futures::stream::BoxStream<'static, Result<ObjectMeta>> {
            self.0.list(prefix)
        }
        async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
            self.0.list_with_delimiter(prefix).await
        }
        async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
            self.0.copy_opts(from, to, options).await
        }
    }
    let store = Store::new(Arc::new(Overwrites(InMemory::new())), "");
    let error = Log::open(store, options()).await.unwrap_err();
    assert!(error.to_string().contains("If-None-Match"), "{error}");
}

#[tokio::test]
async fn fault_of_the_caller_going_away_does_not_tear_a_commit() {
    let (_, log, inner) = faulty().await;
    for step in 0..20 {
        let commit = log.commit(write("A", step..step + 1));
        // Dropped at its first wait.
        let _ = tokio::time::timeout(Duration::ZERO, commit).await;
        log.idle().await;
    }
    log.commit(write("A", 50..51)).await.unwrap();
    let known = rows(&log, &log.snapshot(), "A").await;
    let again = open(&inner).await;
    assert_eq!(rows(&again, &again.snapshot(), "A").await, known);
}

/// Runs the same reads over a store whose reads go wrong, one after the other.
#[tokio::test]
async fn fault_in_any_read_is_an_error_and_never_other_rows() {
    let healthy = memory();
    let log = open(&healthy).await;
    for step in 0..4 {
        log.commit(with_id(write("A", step..step + 1), &format!("{step}"))).await.unwrap();
        if step == 1 {
            log.flush().await.unwrap();
        }
    }
    let expected = rows(&log, &log.snapshot(), "A").await;
    for fault in [Fault::FailBefore, Fault::Throttle, Fault::Truncate, Fault::Flip] {
        let mut failed = 0;
        for at in 0.. {
            let store = FaultStore::new(Arc::clone(&healthy));
            let inner: Arc<dyn ObjectStore> = Arc::new(store.clone());
            store.plan(Request::Get, "", at, 1, fault);
            let opened = Log::open(Store::new(Arc::clone(&inner), "db"), options()).await;
            if store.faults() == 0 {
                assert!(at >= 6, "{fault:?}: only {at} reads");
                break;
            }
            match opened {
                // The damaged hint was not needed, or what was damaged on its way was read again.
                Ok(log) => assert_eq!(rows(&log, &log.snapshot(), "A").await, expected, "{fault:?} at {at}"),
                Err(error) => {
                    let damaged = matches!(fault, Fault::Truncate | Fault::Flip);
                    let kind = if damaged { ErrorKind::Corrupt } else { ErrorKind::Unavailable };
                    assert_eq!(error.kind(), kind, "{fault:?} at {at}: {error}");
                    failed += 1;
                }
            }
            // Only that answer was bad.
            let log = open(&inner).await;
            assert_eq!(rows(&log, &log.snapshot(), "A").await, expected, "{fault:?} at {at}");
        }
        assert!(failed >= 4 || matches!(fault, Fault::Truncate | Fault::Flip), "{fault:?}");
    }
}

#[tokio::test]
async fn fault_in_the_middle_of_a_listing_is_an_error_and_not_a_shorter_log() {
    let (store, log, inner) = faulty().await;
    for step in 0..6 {
        log.commit(write("A", step..step + 1)).await.unwrap();
    }
    assert!(inner.head(&Path::from("db/HEAD")).await.is_err(), "the hint would spare the listings");
    for place in ["ckpt", "log"] {
        store.plan(Request::List, place, 0, 1, Fault::Truncate);
        let error = Log::open(Store::new(Arc::clone(&inner), "db"), options()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains(place), "{error}");
    }
    check(&log, &inner, 6).await;
}

#[test]
fn fault_by_chance_in_any_request_leaves_each_commit_at_most_once() {
    let mut faults = 0;
    for seed in seeds(60) {
        println!("PARQUEDB_SEED={seed} PARQUEDB_SEEDS=1 cargo test -p parquedb --lib fault_by_chance");
        faults += crate::time::simulate(async {
            let store = FaultStore::new(memory());
            let inner: Arc<dyn ObjectStore> = Arc::new(store.clone());
            let mut log = open(&inner).await;
            store.fail_randomly(seed, 6, &[]);
            let mut certain = std::collections::BTreeSet::new();
            let mut possible = std::collections::BTreeSet::new();
            for step in 0..40_i64 {
                if step % 9 == 8 {
                    let opening = Log::open(Store::new(Arc::clone(&inner), "db"), options());
                    if let Ok(Ok(opened)) = crate::time::timeout(Duration::from_secs(60), opening).await {
                        log = opened;
                    }
                }
                let flushes = step % 7 == 6;
                let work = async {
                    if flushes {
                        log.flush().await.map(|()| 0)
                    } else {
                        log.commit(with_id(write("A", step..step + 1), &step.to_string()))
                            .await
                            .map(|done| done.snapshot.seq)
                    }
                };
                let result = crate::time::timeout(Duration::from_secs(60), work).await;
                match &result {
                    _ if flushes => {}
                    Ok(Ok(_)) => {
                        certain.insert(step);
                    }
                    Ok(Err(error))
                        if error.kind() != ErrorKind::OutcomeUnknown
                            && error.kind() != ErrorKind::Corrupt => {}
                    _ => {
                        possible.insert(step);
                    }
                }
                if result.is_err() {
                    // Its task waits for ever: a new process goes on.
                    store.heal();
                    log = open(&inner).await;
                    store.fail_randomly(seed ^ step as u64, 6, &[]);
                }
            }
            let faults = store.faults();
            store.heal();
            store.land().await;
            for _ in 0..2 {
                let log = open(&inner).await;
                let found: Vec<i64> =
                    rows(&log, &log.snapshot(), "A").await.into_iter().map(|(_, n)| n).collect();
                let unique: std::collections::BTreeSet<i64> = found.iter().copied().collect();
                assert_eq!(unique.len(), found.len(), "seed {seed}: a commit is there twice: {found:?}");
                assert!(certain.is_subset(&unique), "seed {seed}: {certain:?} {found:?}");
                assert!(unique.iter().all(|n| certain.contains(n) || possible.contains(n)), "seed {seed}");
                log.flush().await.unwrap();
            }
            faults
        });
    }
    println!("{faults} faults");
    assert!(faults > 100, "{faults}");
}

#[tokio::test]
async fn fault_of_a_409_for_a_checkpoint_does_not_let_the_hint_name_one_that_is_not_there() {
    let (store, log, inner) = faulty().await;
    log.commit(write("A", 0..1)).await.unwrap();
    store.plan(Request::Put, "ckpt/", 0, 1, Fault::Undecided);
    assert_eq!(log.flush().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(
        inner.head(&Path::from("db/HEAD")).await.is_err(),
        "the hint names no checkpoint, or is not there"
    );
    log.flush().await.unwrap();
    let again = open(&inner).await;
    assert_eq!(again.store().requests().list, 0, "the hint is of use");
    // Where another process was quicker, its checkpoint is as good.
    log.commit(write("A", 1..2)).await.unwrap();
    store.plan(Request::Put, "ckpt/", 0, 1, Fault::ApplyThenExists);
    log.flush().await.unwrap();
    check(&log, &inner, 2).await;
}

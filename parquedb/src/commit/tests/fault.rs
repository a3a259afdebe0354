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
    for fault in [FailBefore, ApplyThenFail, ApplyThenExists, Undecided, ApplyThenHang, Hang, ApplyLater] {
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

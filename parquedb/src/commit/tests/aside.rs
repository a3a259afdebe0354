//! Flushes that write their files while commits go on.

use super::*;
use crate::commit::scrub::{ScrubOptions, scrub};
use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::Semaphore;

/// A store in memory where files of rows wait for a permit.
#[derive(Debug)]
struct Gate {
    inner: InMemory,
    permits: Semaphore,
}

impl std::fmt::Display for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gate")
    }
}

#[async_trait]
impl ObjectStore for Gate {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if location.as_ref().contains("data/") {
            self.permits.acquire().await.unwrap().forget();
        }
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

async fn gated(flush_after_commits: u64) -> (Arc<Gate>, Log) {
    let gate = Arc::new(Gate { inner: InMemory::new(), permits: Semaphore::new(0) });
    let store = Store::new(Arc::clone(&gate) as _, "db");
    let options = LogOptions { flush_after_commits, flush_aside_from_bytes: 0, ..options() };
    let log = Log::open(store, options).await.unwrap();
    (gate, log)
}

async fn sound(log: &Log) {
    assert_eq!(scrub(log.store(), &ScrubOptions::default()).await.unwrap().findings, []);
    let again = Log::open(log.store().clone(), options()).await.unwrap();
    assert_eq!(
        rows(&again, &again.snapshot(), "A").await,
        rows(log, &log.snapshot(), "A").await,
        "what another process reads"
    );
}

#[tokio::test]
async fn commits_go_on_while_files_are_written() {
    let (gate, log) = gated(4).await;
    for step in 0..6 {
        log.commit(write("A", step..step + 1)).await.unwrap();
    }
    assert!(log.snapshot().tables["A"].files.is_empty(), "the flush is still under way");
    // One file of the first rows, one of those that came meanwhile.
    gate.permits.add_permits(2);
    log.idle().await;
    let snapshot = log.snapshot();
    let table = &snapshot.tables["A"];
    let ranges: Vec<_> = table.files.iter().map(|file| (file.first_seq, file.last_seq, file.rows)).collect();
    assert_eq!((ranges.as_slice(), table.inline.len()), (&[(1, 4, 4), (5, 6, 2)][..], 0));
    assert_eq!(log.counts().checkpoints, 1, "everything is in files");
    assert_eq!(rows(&log, &snapshot, "A").await, (0..6).map(|n| (n as u64 + 1, n)).collect::<Vec<_>>());
    sound(&log).await;
}

#[tokio::test]
async fn rows_removed_while_files_are_written_stay_removed() {
    let (gate, log) = gated(3).await;
    for step in 0..3 {
        log.commit(write("A", step * 10..step * 10 + 10)).await.unwrap();
    }
    let places = places_in(log.store(), &log.snapshot(), "A").await;
    let gone: Vec<_> = places.iter().filter(|place| place.value % 7 == 0).collect();
    log.commit(Changes { removals: vec![removal("A", gone)], ..Changes::default() }).await.unwrap();
    gate.permits.add_permits(2);
    log.idle().await;
    let values: Vec<i64> = rows(&log, &log.snapshot(), "A").await.into_iter().map(|(_, n)| n).collect();
    assert_eq!(values, (0..30).filter(|n| n % 7 != 0).collect::<Vec<_>>());
    assert_eq!(gate.permits.available_permits(), 0, "the first file no longer told the truth");
    sound(&log).await;
}

#[tokio::test]
async fn commits_that_are_too_quick_wait_for_the_flush() {
    let (gate, log) = gated(2).await;
    for step in 0..4 {
        log.commit(write("A", step..step + 1)).await.unwrap();
    }
    let late = tokio::spawn({
        let log = log.clone();
        async move { log.commit(write("A", 4..5)).await.map(|_| ()) }
    });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!late.is_finished());
    gate.permits.add_permits(100);
    late.await.unwrap().unwrap();
    log.idle().await;
    assert_eq!(rows(&log, &log.snapshot(), "A").await.len(), 5);
    sound(&log).await;
}

#[tokio::test]
async fn closing_waits_for_the_flush_that_is_under_way() {
    let (gate, log) = gated(2).await;
    log.commit(write("A", 0..1)).await.unwrap();
    log.commit(write("A", 1..2)).await.unwrap();
    let closing = tokio::spawn({
        let log = log.clone();
        async move { log.close().await }
    });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!closing.is_finished());
    gate.permits.add_permits(1);
    closing.await.unwrap().unwrap();
    assert!(log.snapshot().tables["A"].inline.is_empty());
    sound(&log).await;
}

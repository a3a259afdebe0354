//! Counts what a store is asked for, since requests are what object storage is paid by.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use std::collections::BTreeMap;
use std::ops::{AddAssign, Range, Sub};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Requests made to a store. Subtract an earlier count to get those between.
#[derive(serde::Serialize, Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requests {
    /// Objects written, also when the store refused.
    pub put: u64,
    /// Objects or ranges read.
    pub get: u64,
    /// Objects asked for their size only.
    pub head: u64,
    /// Listings.
    pub list: u64,
    /// Objects removed.
    pub delete: u64,
    /// Bytes sent in writes.
    pub bytes_written: u64,
    /// Bytes of the objects and ranges read.
    pub bytes_read: u64,
}

impl Sub for Requests {
    type Output = Requests;

    fn sub(self, earlier: Requests) -> Requests {
        Requests {
            put: self.put.saturating_sub(earlier.put),
            get: self.get.saturating_sub(earlier.get),
            head: self.head.saturating_sub(earlier.head),
            list: self.list.saturating_sub(earlier.list),
            delete: self.delete.saturating_sub(earlier.delete),
            bytes_written: self.bytes_written.saturating_sub(earlier.bytes_written),
            bytes_read: self.bytes_read.saturating_sub(earlier.bytes_read),
        }
    }
}

impl AddAssign for Requests {
    fn add_assign(&mut self, more: Requests) {
        self.put += more.put;
        self.get += more.get;
        self.head += more.head;
        self.list += more.list;
        self.delete += more.delete;
        self.bytes_written += more.bytes_written;
        self.bytes_read += more.bytes_read;
    }
}

#[derive(Debug, Default)]
struct Counters {
    put: AtomicU64,
    get: AtomicU64,
    head: AtomicU64,
    list: AtomicU64,
    delete: AtomicU64,
    bytes_written: AtomicU64,
    bytes_read: AtomicU64,
}

fn add(counter: &AtomicU64, value: u64) {
    counter.fetch_add(value, Ordering::Relaxed);
}

impl Counters {
    fn requests(&self) -> Requests {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Requests {
            put: value(&self.put),
            get: value(&self.get),
            head: value(&self.head),
            list: value(&self.list),
            delete: value(&self.delete),
            bytes_written: value(&self.bytes_written),
            bytes_read: value(&self.bytes_read),
        }
    }
}

/// The part of a database that an object belongs to: `log`, `data/Visit`, and nothing for what belongs to
/// none.
fn part(path: &str) -> &str {
    let (folder, rest) = path.split_once('/').unwrap_or((path, ""));
    match folder {
        "log" | "ckpt" | "HEAD" => folder,
        "data" | "_views" if !rest.is_empty() => {
            let name = rest.split('/').next().unwrap_or(rest);
            &path[..folder.len() + 1 + name.len()]
        }
        _ => "",
    }
}

/// A store with its requests counted, for each part of the database.
#[derive(Debug)]
pub(super) struct Counted {
    inner: Arc<dyn ObjectStore>,
    parts: Arc<Parts>,
}

#[derive(Debug, Default)]
struct Parts(RwLock<BTreeMap<String, Arc<Counters>>>);

impl Parts {
    fn of(&self, path: &Path) -> Arc<Counters> {
        let part = part(path.as_ref());
        if let Some(counters) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(part) {
            return Arc::clone(counters);
        }
        let mut parts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(parts.entry(part.to_owned()).or_default())
    }

    fn of_prefix(&self, prefix: Option<&Path>) -> Arc<Counters> {
        self.of(prefix.unwrap_or(&Path::default()))
    }
}

impl Counted {
    pub(super) fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, parts: Arc::default() }
    }

    /// All requests.
    pub(super) fn requests(&self) -> Requests {
        let mut sum = Requests::default();
        self.requests_by_part().into_iter().for_each(|(_, requests)| sum += requests);
        sum
    }

    /// Requests for each part of the database: see [`part`].
    pub(super) fn requests_by_part(&self) -> Vec<(String, Requests)> {
        let parts = self.parts.0.read().unwrap_or_else(PoisonError::into_inner);
        parts.iter().map(|(part, counters)| (part.clone(), counters.requests())).collect()
    }
}

impl std::fmt::Display for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Counted {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let counters = self.parts.of(location);
        add(&counters.put, 1);
        add(&counters.bytes_written, payload.content_length() as u64);
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let counters = self.parts.of(location);
        add(&counters.put, 1);
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        Ok(Box::new(CountedUpload { inner, counters }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let counters = self.parts.of(location);
        let head = options.head;
        add(if head { &counters.head } else { &counters.get }, 1);
        let result = self.inner.get_opts(location, options).await?;
        if !head {
            add(&counters.bytes_read, result.range.end.saturating_sub(result.range.start));
        }
        Ok(result)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let counters = self.parts.of(location);
        add(&counters.get, ranges.len() as u64);
        let read = self.inner.get_ranges(location, ranges).await?;
        add(&counters.bytes_read, read.iter().map(|bytes| bytes.len() as u64).sum());
        Ok(read)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let parts = Arc::clone(&self.parts);
        let counted = locations.inspect_ok(move |location| add(&parts.of(location).delete, 1));
        self.inner.delete_stream(counted.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        add(&self.parts.of_prefix(prefix).list, 1);
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        add(&self.parts.of_prefix(prefix).list, 1);
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        add(&self.parts.of_prefix(prefix).list, 1);
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        add(&self.parts.of(to).put, 1);
        self.inner.copy_opts(from, to, options).await
    }
}

/// An upload in parts, each of which is a request, like its beginning and its end.
#[derive(Debug)]
struct CountedUpload {
    inner: Box<dyn MultipartUpload>,
    counters: Arc<Counters>,
}

#[async_trait]
impl MultipartUpload for CountedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        add(&self.counters.put, 1);
        add(&self.counters.bytes_written, data.content_length() as u64);
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        add(&self.counters.put, 1);
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        add(&self.counters.delete, 1);
        self.inner.abort().await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    #[test]
    fn objects_belong_to_parts() {
        for (path, expected) in [
            ("log/00000000000000000001.c", "log"),
            ("log", "log"),
            ("ckpt/00000000000000000001.k", "ckpt"),
            ("HEAD", "HEAD"),
            ("data/Visit/01.parquet", "data/Visit"),
            ("data/Visit", "data/Visit"),
            ("_views/Pages/data/01.parquet", "_views/Pages"),
            ("data", ""),
            ("FORMAT", ""),
            ("_probe/1", ""),
            ("", ""),
        ] {
            assert_eq!(part(path), expected, "{path}");
        }
    }

    #[tokio::test]
    async fn every_request_counts_for_its_part_and_an_upload_for_each_of_its_parts() {
        let store = Counted::new(Arc::new(InMemory::new()));
        let file = Path::from("data/Visit/01.parquet");
        store.put(&file, vec![7_u8; 100].into()).await.unwrap();
        store.get_ranges(&file, &[0..10, 20..30]).await.unwrap();
        store.head(&file).await.unwrap();
        assert!(store.get(&Path::from("HEAD")).await.is_err());
        let mut upload = store.put_multipart(&Path::from("_views/Pages/data/02.parquet")).await.unwrap();
        for _ in 0..3 {
            upload.put_part(vec![1_u8; 50].into()).await.unwrap();
        }
        upload.complete().await.unwrap();
        store.list(Some(&Path::from("log"))).try_collect::<Vec<_>>().await.unwrap();
        store.delete(&file).await.unwrap();

        let expected = [
            ("HEAD", Requests { get: 1, ..Requests::default() }),
            ("_views/Pages", Requests { put: 5, bytes_written: 150, ..Requests::default() }),
            (
                "data/Visit",
                Requests { put: 1, get: 2, head: 1, delete: 1, bytes_written: 100, bytes_read: 20, list: 0 },
            ),
            ("log", Requests { list: 1, ..Requests::default() }),
        ];
        assert_eq!(store.requests_by_part(), expected.map(|(part, requests)| (part.to_owned(), requests)));
        let sum = store.requests();
        assert_eq!((sum.put, sum.get, sum.head, sum.list, sum.delete), (6, 3, 1, 1, 1));
        assert_eq!((sum.bytes_written, sum.bytes_read), (250, 20));
    }
}

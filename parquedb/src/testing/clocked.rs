//! A store in memory whose objects are as old as a clock of the test says.

use crate::clock::Clock;
use async_trait::async_trait;
use chrono::DateTime;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A store in memory. The time of an object is that of the clock when it was written.
#[derive(Debug, Clone)]
pub struct ClockedStore {
    inner: Arc<InMemory>,
    clock: Arc<dyn Clock>,
    written: Arc<Mutex<HashMap<Path, i64>>>,
}

impl ClockedStore {
    /// An empty store.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { inner: Arc::new(InMemory::new()), clock, written: Arc::default() }
    }

    /// A copy of what is there now, with a clock of its own.
    #[must_use]
    pub fn fork(&self, clock: Arc<dyn Clock>) -> Self {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Self { inner: Arc::new(self.inner.fork()), clock, written: Arc::new(Mutex::new(written)) }
    }

    fn dated(&self, mut object: ObjectMeta) -> ObjectMeta {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let time = written.get(&object.location).and_then(|micros| DateTime::from_timestamp_micros(*micros));
        object.last_modified = time.unwrap_or(object.last_modified);
        object
    }
}

impl std::fmt::Display for ClockedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClockedStore")
    }
}

#[async_trait]
impl ObjectStore for ClockedStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let result = self.inner.put_opts(location, payload, opts).await?;
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.insert(location.clone(), self.clock.now());
        Ok(result)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let mut result = self.inner.get_opts(location, options).await?;
        result.meta = self.dated(result.meta);
        Ok(result)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let store = self.clone();
        self.inner.list(prefix).map(move |object| object.map(|object| store.dated(object))).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut list = self.inner.list_with_delimiter(prefix).await?;
        list.objects = list.objects.into_iter().map(|object| self.dated(object)).collect();
        Ok(list)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

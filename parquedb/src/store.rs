//! The only I/O: an object store under one root, with its requests counted.

pub mod conformance;
mod counted;
pub(crate) mod failure;
pub mod local;
mod open;

pub use counted::Requests;
pub use local::{Durability, LocalStore};

use crate::error::{Error, ErrorKind, Result};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use counted::Counted;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use std::sync::Arc;
use std::time::Duration;

/// A database's place: an object store, rooted at the database's folder. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    counted: Arc<Counted>,
    url: Arc<str>,
    /// The same place, where it is a local folder.
    local: Option<LocalStore>,
}

impl Store {
    /// The place a URL names. Nothing is read or written yet.
    ///
    /// Accepted are `memory:///` (a fresh one each time), `memory:///name` (shared by the process),
    /// `file:///path` or a plain path, `s3://bucket/prefix`, and
    /// `https://<account>.r2.cloudflarestorage.com/bucket/prefix`. Buckets take their credentials,
    /// region and endpoint from the usual `AWS_*` environment variables.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] when the URL or the environment does not name a usable store.
    pub fn open(url: &str) -> Result<Store> {
        open::open(url, Durability::default())
    }

    /// As [`Store::open`], with a choice of when a local disk's writes count as done.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(url: &str, durability: Durability) -> Result<Store> {
        open::open(url, durability)
    }

    /// The folder `prefix` of an object store of the caller.
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>, prefix: &str) -> Store {
        let url = format!("{inner}/{prefix}");
        Self::with_url(inner, &Path::from(prefix), &url)
    }

    fn with_url(inner: Arc<dyn ObjectStore>, prefix: &Path, url: &str) -> Store {
        let inner = if prefix.as_ref().is_empty() {
            inner
        } else {
            Arc::new(PrefixStore::new(inner, prefix.clone()))
        };
        Store { counted: Arc::new(Counted::new(inner)), url: Arc::from(url), local: None }
    }

    fn with_local(local: LocalStore) -> Store {
        let url = local.to_string();
        let store = Self::with_url(Arc::new(local.clone()), &Path::default(), &url);
        Store { local: Some(local), ..store }
    }

    /// Removes the files that interrupted writes to a local disk left behind more than `older_than`
    /// ago, and tells how many. Other stores leave nothing behind: there it does nothing, as in a place
    /// that was made by [`Store::new`].
    ///
    /// # Errors
    /// [`crate::ErrorKind::Unavailable`] when the file system refuses.
    pub async fn sweep_staging(&self, older_than: Duration) -> Result<u64> {
        let Some(local) = &self.local else { return Ok(0) };
        local.sweep(older_than).await.map_err(|error| {
            let message = format!("cannot remove what interrupted writes left in {}: {error}", self.url);
            Error::with_source(ErrorKind::Unavailable, message, error)
        })
    }

    /// Removes a folder that nobody else uses with all that is in it.
    pub(crate) async fn remove_folder(&self, folder: &Path) -> object_store::Result<()> {
        if let Some(local) = &self.local {
            let removed = local.remove_folder(folder).await;
            return removed
                .map_err(|error| object_store::Error::Generic { store: "LocalStore", source: error.into() });
        }
        // Not `list`'s own stream: what is deleted under a listing might hide what follows.
        let objects: Vec<ObjectMeta> = self.counted.list(Some(folder)).try_collect().await?;
        let paths = futures::stream::iter(objects.into_iter().map(|object| Ok(object.location)));
        self.counted.delete_stream(paths.boxed()).try_for_each(|_| async { Ok(()) }).await
    }

    /// The object store, rooted at the database's folder. Its requests are counted.
    #[must_use]
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.counted) as Arc<dyn ObjectStore>
    }

    /// The requests made since the store was opened.
    #[must_use]
    pub fn requests(&self) -> Requests {
        self.counted.requests()
    }

    /// The same for each part of the database, by the beginning of its objects' paths.
    pub(crate) fn requests_by_part(&self) -> Vec<(String, Requests)> {
        self.counted.requests_by_part()
    }

    /// Where it is, without credentials: for messages.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Puts an object only where there is none. The outcome is the caller's to interpret.
    pub(crate) async fn create(&self, path: &Path, bytes: Bytes) -> object_store::Result<()> {
        let payload = PutPayload::from_bytes(bytes);
        self.counted.put_opts(path, payload, PutMode::Create.into()).await.map(|_| ())
    }

    /// Puts an object, over whatever is there.
    pub(crate) async fn put(&self, path: &Path, bytes: Bytes) -> Result<()> {
        let payload = PutPayload::from_bytes(bytes);
        match self.counted.put_opts(path, payload, PutMode::Overwrite.into()).await {
            Ok(_) => Ok(()),
            Err(error) => Err(failure::explain(error, "write", path, &self.url)),
        }
    }

    /// The whole of an object, or `None` where there is none.
    pub(crate) async fn get(&self, path: &Path) -> Result<Option<Bytes>> {
        let read = async { self.counted.get_opts(path, GetOptions::default()).await?.bytes().await };
        self.found(read.await, path)
    }

    /// The first `length` bytes of an object, or `None` where there is none.
    pub(crate) async fn get_start(&self, path: &Path, length: u64) -> Result<Option<Bytes>> {
        let options = GetOptions { range: Some((0..length).into()), ..GetOptions::default() };
        let read = async { self.counted.get_opts(path, options).await?.bytes().await };
        self.found(read.await, path)
    }

    fn found(&self, result: object_store::Result<Bytes>, path: &Path) -> Result<Option<Bytes>> {
        match result {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if failure::is_missing_object(&error) => Ok(None),
            Err(error) => Err(failure::explain(error, "read", path, &self.url)),
        }
    }

    /// Removes an object.
    pub(crate) async fn delete(&self, path: &Path) -> Result<()> {
        self.counted.delete(path).await.map_err(|error| failure::explain(error, "delete", path, &self.url))
    }

    /// Removes an object, which may be gone already.
    pub(crate) async fn delete_if_present(&self, path: &Path) -> Result<()> {
        match self.counted.delete(path).await {
            Err(error) if !failure::is_missing_object(&error) => {
                Err(failure::explain(error, "delete", path, &self.url))
            }
            _ => Ok(()),
        }
    }

    /// When an object was written, by the store's clock.
    pub(crate) async fn modified(&self, path: &Path) -> Result<DateTime<Utc>> {
        let head = self.counted.head(path).await;
        head.map(|object| object.last_modified)
            .map_err(|error| failure::explain(error, "look at", path, &self.url))
    }

    /// Objects under a folder (or all), after `offset` if given, in no particular order.
    pub(crate) async fn list(&self, folder: Option<&Path>, offset: Option<&Path>) -> Result<Vec<ObjectMeta>> {
        let stream = match offset {
            Some(offset) => self.counted.list_with_offset(folder, offset),
            None => self.counted.list(folder),
        };
        let root = Path::default();
        stream
            .try_collect()
            .await
            .map_err(|error| failure::explain(error, "list", folder.unwrap_or(&root), &self.url))
    }

    /// Names of the files and folders directly under the root.
    pub(crate) async fn top_level(&self) -> Result<Vec<String>> {
        let list = self.counted.list_with_delimiter(None).await;
        let list = list.map_err(|error| failure::explain(error, "list", &Path::default(), &self.url))?;
        let objects = list.objects.iter().map(|object| object.location.to_string());
        Ok(objects.chain(list.common_prefixes.iter().map(ToString::to_string)).collect())
    }
}

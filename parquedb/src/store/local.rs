//! A folder of a local disk as an object store that survives power loss.
//!
//! An object is written to a staging file, synced, linked to its name (which fails where there is
//! one already) or renamed over it, and the folder is synced. The order matters: a name must never
//! appear before its bytes are on disk. Staging files are called `name#digits`, which listings hide.

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

const NAME: &str = "LocalStore";

/// When a write to a local disk counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// When it is on the disk: survives power loss.
    #[default]
    Sync,
    /// When the operating system has it: survives a crash of the process, not of the machine.
    OsBuffered,
}

/// A put that failed before its name appeared.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotApplied(io::Error);

/// A folder as an object store. The folder is created by the first write.
#[derive(Debug, Clone)]
pub struct LocalStore(Arc<Folder>);

#[derive(Debug)]
struct Folder {
    root: PathBuf,
    durability: Durability,
    /// Reads and lists. Absent until the folder exists.
    files: OnceLock<LocalFileSystem>,
    /// Folders known to exist and to be synced into their parents.
    known: Mutex<HashSet<PathBuf>>,
    next_staging: AtomicU64,
}

impl LocalStore {
    /// The folder `root`, which need not exist yet. The path should be absolute.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, durability: Durability) -> Self {
        Self(Arc::new(Folder {
            root: root.into(),
            durability,
            files: OnceLock::new(),
            known: Mutex::default(),
            // Distinguishes the staging files of processes that share a folder.
            next_staging: AtomicU64::new(uuid::Uuid::new_v4().as_u64_pair().0 & 0x0fff_ffff_ffff_ffff),
        }))
    }
}

fn generic(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Generic { store: NAME, source: error.into() }
}

fn not_applied(location: &Path, error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::PermissionDenied => {
            Error::PermissionDenied { path: location.to_string(), source: error.into() }
        }
        _ => generic(NotApplied(error)),
    }
}

impl Folder {
    fn files(&self) -> Result<Option<&LocalFileSystem>> {
        if let Some(files) = self.files.get() {
            return Ok(Some(files));
        }
        match fs::metadata(&self.root) {
            Ok(metadata) if metadata.is_dir() => {
                let files = LocalFileSystem::new_with_prefix(&self.root)?;
                Ok(Some(self.files.get_or_init(|| files)))
            }
            Ok(_) => Err(generic(NotApplied(io::Error::new(
                ErrorKind::NotADirectory,
                format!("{} is a file, not a folder", self.root.display()),
            )))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(not_applied(&Path::default(), error)),
        }
    }

    fn sync_folder(&self, folder: &FilePath) -> io::Result<()> {
        match self.durability {
            Durability::Sync => File::open(folder)?.sync_all(),
            Durability::OsBuffered => Ok(()),
        }
    }

    /// Creates a folder and those above it, and makes their names durable.
    fn create_folder(&self, folder: &FilePath) -> io::Result<()> {
        if self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(folder) {
            return Ok(());
        }
        if !folder.is_dir() {
            if let Some(parent) = folder.parent() {
                self.create_folder(parent)?;
            }
            match fs::create_dir(folder) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => {}
                Err(error) => return Err(error),
            }
            if let Some(parent) = folder.parent() {
                self.sync_folder(parent)?;
            }
        } else if folder != self.root && folder.starts_with(&self.root) {
            // Somebody else may have created it and not synced it yet.
            if let Some(parent) = folder.parent() {
                self.sync_folder(parent)?;
            }
        }
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.to_owned());
        Ok(())
    }

    fn put(&self, location: &Path, payload: &PutPayload, mode: &PutMode) -> Result<PutResult> {
        let refused = |error| not_applied(location, error);
        self.create_folder(&self.root).map_err(refused)?;
        let Some(files) = self.files()? else {
            return Err(refused(io::Error::from(ErrorKind::NotFound)));
        };
        let target = files.path_to_filesystem(location)?;
        let folder = target.parent().unwrap_or(&self.root).to_owned();
        self.create_folder(&folder).map_err(refused)?;
        let mut staging = target.clone().into_os_string();
        staging.push(format!("#{}", self.next_staging.fetch_add(1, Ordering::Relaxed)));
        let staging = PathBuf::from(staging);

        let written = self.write_staging(&staging, payload);
        if let Err(error) = written {
            let _ = fs::remove_file(&staging);
            return Err(refused(error));
        }
        match mode {
            PutMode::Overwrite => {
                if let Err(error) = fs::rename(&staging, &target) {
                    let _ = fs::remove_file(&staging);
                    return Err(refused(error));
                }
            }
            _ => {
                let linked = fs::hard_link(&staging, &target);
                // A staging file that stays behind is hidden, and swept by garbage collection.
                let _ = fs::remove_file(&staging);
                match linked {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                        // Its name may have been linked by an earlier try that could not sync it.
                        self.sync_folder(&folder).map_err(generic)?;
                        return Err(Error::AlreadyExists {
                            path: location.to_string(),
                            source: error.into(),
                        });
                    }
                    Err(error) if error.kind() == ErrorKind::Unsupported => {
                        return Err(Error::NotSupported {
                            source: format!(
                                "the file system of {} has no hard links: {error}",
                                self.root.display()
                            )
                            .into(),
                        });
                    }
                    Err(error) => return Err(refused(error)),
                }
            }
        }
        self.sync_folder(&folder).map_err(generic)?;
        Ok(PutResult { e_tag: None, version: None })
    }

    fn write_staging(&self, staging: &FilePath, payload: &PutPayload) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).open(staging)?;
        for part in payload {
            file.write_all(part)?;
        }
        match self.durability {
            Durability::Sync => file.sync_all(),
            Durability::OsBuffered => Ok(()),
        }
    }
}

fn missing(location: &Path) -> Error {
    Error::NotFound { path: location.to_string(), source: io::Error::from(ErrorKind::NotFound).into() }
}

impl std::fmt::Display for LocalStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "file://{}", self.0.root.display())
    }
}

#[async_trait]
impl ObjectStore for LocalStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if matches!(opts.mode, PutMode::Update(_)) {
            return Err(Error::NotImplemented {
                operation: "a put with `PutMode::Update`".into(),
                implementer: NAME.into(),
            });
        }
        let folder = Arc::clone(&self.0);
        let location = location.clone();
        tokio::task::spawn_blocking(move || folder.put(&location, &payload, &opts.mode)).await?
    }

    async fn put_multipart_opts(
        &self,
        _location: &Path,
        _opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        // Would appear without being synced; every write of a database is a single put.
        Err(Error::NotImplemented { operation: "an upload in parts".into(), implementer: NAME.into() })
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        match self.0.files()? {
            Some(files) => files.get_opts(location, options).await,
            None => Err(missing(location)),
        }
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        match self.0.files()? {
            Some(files) => files.get_ranges(location, ranges).await,
            None => Err(missing(location)),
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        match self.0.files() {
            Ok(Some(files)) => files.delete_stream(locations),
            Ok(None) => locations.map(|location| Err(missing(&location?))).boxed(),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.0.files() {
            Ok(Some(files)) => files.list(prefix),
            Ok(None) => stream::empty().boxed(),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.0.files() {
            Ok(Some(files)) => files.list_with_offset(prefix, offset),
            Ok(None) => stream::empty().boxed(),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        match self.0.files()? {
            Some(files) => files.list_with_delimiter(prefix).await,
            None => Ok(ListResult { common_prefixes: Vec::new(), objects: Vec::new() }),
        }
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        match self.0.files()? {
            Some(files) => files.copy_opts(from, to, options).await,
            None => Err(missing(from)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use futures::TryStreamExt;
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    /// Of many who create the same object, one succeeds, and the object is the winner's.
    async fn one_winner(store: Arc<dyn ObjectStore>, rounds: usize) {
        for round in 0..rounds {
            let path = Path::from(format!("race/{round}"));
            let racers = (0..16_u8).map(|racer| {
                let (store, path) = (Arc::clone(&store), path.clone());
                tokio::spawn(async move {
                    let payload = PutPayload::from(vec![racer; 100]);
                    match store.put_opts(&path, payload, PutMode::Create.into()).await {
                        Ok(_) => Some(racer),
                        Err(Error::AlreadyExists { .. }) => None,
                        Err(error) => std::panic::panic_any(error.to_string()),
                    }
                })
            });
            let results = futures::future::join_all(racers).await;
            let winners: Vec<u8> = results.into_iter().filter_map(|result| result.unwrap()).collect();
            assert_eq!(winners.len(), 1);
            let bytes = store.get(&path).await.unwrap().bytes().await.unwrap();
            assert_eq!(bytes.as_ref(), [winners[0]; 100]);
        }
        let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
        assert_eq!(listed.len(), rounds);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn sixteen_racers_have_one_winner() {
        let folder = tempfile::tempdir().unwrap();
        for (durability, rounds) in [(Durability::Sync, 10), (Durability::OsBuffered, 100)] {
            let root = folder.path().join(format!("{durability:?}"));
            one_winner(Arc::new(LocalStore::new(&root, durability)), rounds).await;
            let left: Vec<_> = fs::read_dir(root.join("race")).unwrap().collect();
            assert_eq!(left.len(), rounds, "staging files stayed behind");
        }
        one_winner(Arc::new(InMemory::new()), 50).await;
    }

    #[tokio::test]
    async fn staging_files_are_hidden_and_overwriting_works() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::new(folder.path(), Durability::Sync);
        let path = Path::from("HEAD");
        for content in ["one", "two"] {
            store.put(&path, content.into()).await.unwrap();
            let bytes = store.get(&path).await.unwrap().bytes().await.unwrap();
            assert_eq!(bytes.as_ref(), content.as_bytes());
        }
        fs::write(folder.path().join("HEAD#123"), "torn").unwrap();
        let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
        assert_eq!(listed.len(), 1);
        store.delete(&path).await.unwrap();
        assert!(matches!(store.get(&path).await, Err(Error::NotFound { .. })));
    }
}

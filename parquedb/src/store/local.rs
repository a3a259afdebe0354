//! A folder of a local disk as an object store that survives power loss.
//!
//! An object is written to a staging file, synced, linked to its name (which fails where there is
//! one already) or renamed over it, and the folder is synced. The order matters: a name must never
//! appear before its bytes are on disk. Staging files are called `name#digits`, which listings hide.
//! A deletion is synced before it is acknowledged, so that of two deletions in turn the second is
//! never the only one that is left of them.
//!
//! What was found is synced before anything is written: see the module `settle`.

mod disk;
#[cfg(test)]
mod power_loss;
mod settle;
mod sweep;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use bytes::Bytes;
use disk::{Disk, SystemDisk, cannot_rename_new, has_no_links};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::local::LocalFileSystem;

use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use settle::folder_of;
use std::collections::HashSet;
use std::fs;
use std::io::{self, ErrorKind};
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
    disk: Arc<dyn Disk>,
    /// Reads and lists. Absent until the folder exists.
    files: OnceLock<LocalFileSystem>,
    /// Folders known to exist and to be synced into their parents.
    known: Mutex<HashSet<PathBuf>>,
    /// Folders in which something was found that may not be durable.
    found: Mutex<HashSet<Path>>,
    /// Held while they are synced: who comes meanwhile waits for that.
    settling: Mutex<()>,
    next_staging: AtomicU64,
}

impl LocalStore {
    /// The folder `root`, which need not exist yet. The path should be absolute.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, durability: Durability) -> Self {
        Self::with_disk(root.into(), durability, Arc::new(SystemDisk))
    }

    fn with_disk(root: PathBuf, durability: Durability, disk: Arc<dyn Disk>) -> Self {
        Self(Arc::new(Folder {
            root,
            durability,
            disk,
            files: OnceLock::new(),
            known: Mutex::default(),
            found: Mutex::default(),
            settling: Mutex::default(),
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
            Durability::Sync => self.disk.sync_folder(folder),
            Durability::OsBuffered => Ok(()),
        }
    }

    /// Creates a folder and those above it, and makes their names durable.
    fn create_folder(&self, folder: &FilePath) -> io::Result<()> {
        if self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(folder) {
            return Ok(());
        }
        if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            self.create_folder(parent)?;
            let is_new = !folder.is_dir();
            if is_new {
                match self.disk.create_folder(folder) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => {}
                    Err(error) => return Err(error),
                }
            }
            match self.sync_folder(parent) {
                Ok(()) => {}
                // Whoever created an existing folder may not have synced its name yet. Above the root
                // that is no more than a precaution, and not everybody may open those folders.
                Err(error) if !is_new && !parent.starts_with(&self.root) && is_denied(&error) => {}
                Err(error) => return Err(error),
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
        let folder = target.parent().unwrap_or(&self.root);
        self.create_folder(folder).map_err(refused)?;
        self.settle().map_err(refused)?;
        let staging = self.staging(&target);
        let placed = self.write_staging(&staging, payload).and_then(|()| match mode {
            PutMode::Overwrite => self.disk.rename(&staging, &target),
            _ => self.place_new(&staging, &target),
        });
        if placed.is_err() {
            // What stays behind is hidden, and swept by garbage collection.
            let _ = self.disk.unlink(&staging);
        }
        match placed {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                // Its name may have been linked by an earlier try that could not sync it.
                self.sync_folder(folder).map_err(generic)?;
                return Err(Error::AlreadyExists { path: location.to_string(), source: error.into() });
            }
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                return Err(Error::NotSupported { source: error.into() });
            }
            Err(error) => return Err(refused(error)),
        }
        self.sync_folder(folder).map_err(generic)?;
        Ok(PutResult { e_tag: None, version: None })
    }

    /// A name for a file that becomes `target` later.
    fn staging(&self, target: &FilePath) -> PathBuf {
        let mut staging = target.as_os_str().to_owned();
        staging.push(format!("#{}", self.next_staging.fetch_add(1, Ordering::Relaxed)));
        PathBuf::from(staging)
    }

    fn write_staging(&self, staging: &FilePath, payload: &PutPayload) -> io::Result<()> {
        let mut file = self.disk.create(staging)?;
        for part in payload {
            self.disk.write(&mut file, staging, part)?;
        }
        match self.durability {
            Durability::Sync => self.disk.sync_file(&file, staging),
            Durability::OsBuffered => Ok(()),
        }
    }

    /// Gives a staging file its name, which must be free, and takes the other.
    fn place_new(&self, staging: &FilePath, target: &FilePath) -> io::Result<()> {
        let no_links = match self.disk.link(staging, target) {
            Ok(()) => {
                // It has its name. What stays behind is swept.
                let _ = self.disk.unlink(staging);
                return Ok(());
            }
            Err(error) if has_no_links(&error) => error,
            Err(error) => return Err(error),
        };
        self.disk.rename_new(staging, target).map_err(|error| {
            if cannot_rename_new(&error) {
                let root = self.root.display();
                let message = format!(
                    "the file system of {root} has no hard links ({no_links}) and cannot rename only where \
                     there is none ({error}); put the database on another"
                );
                return io::Error::new(ErrorKind::Unsupported, message);
            }
            error
        })
    }

    fn delete(&self, location: &Path) -> Result<()> {
        let Some(files) = self.files()? else { return Err(missing(location)) };
        let target = files.path_to_filesystem(location)?;
        let folder = target.parent().unwrap_or(&self.root);
        self.settle().map_err(|error| not_applied(location, error))?;
        match self.disk.unlink(&target) {
            Ok(()) => self.sync_folder(folder).map_err(generic),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // An earlier try may have removed it and not been able to sync that.
                if folder.is_dir() {
                    self.sync_folder(folder).map_err(generic)?;
                }
                Err(missing(location))
            }
            Err(error) => Err(not_applied(location, error)),
        }
    }
}

fn is_denied(error: &io::Error) -> bool {
    // Some file systems cannot sync folders and call that an invalid argument.
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::InvalidInput | ErrorKind::Unsupported)
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
        let Some(files) = self.0.files()? else { return Err(missing(location)) };
        let is_whole = options.range.is_none();
        let result = files.get_opts(location, options).await?;
        if is_whole {
            self.0.found_in(folder_of(location));
        }
        Ok(result)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        match self.0.files()? {
            Some(files) => files.get_ranges(location, ranges).await,
            None => Err(missing(location)),
        }
    }

    /// In their order, each durably before the next: what was deleted later is never gone alone.
    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let folder = Arc::clone(&self.0);
        let each = move |location: Result<Path>| {
            let folder = Arc::clone(&folder);
            async move {
                let location = location?;
                let delete = move || folder.delete(&location).map(|()| location);
                tokio::task::spawn_blocking(delete).await?
            }
        };
        locations.then(each).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.0.files() {
            Ok(Some(files)) => self.found_by_listing(prefix, files.list(prefix)),
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
            Ok(Some(files)) => self.found_by_listing(prefix, files.list_with_offset(prefix, offset)),
            Ok(None) => stream::empty().boxed(),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        match self.0.files()? {
            Some(files) => {
                self.0.found_in(prefix.cloned().unwrap_or_default());
                files.list_with_delimiter(prefix).await
            }
            None => Ok(ListResult { common_prefixes: Vec::new(), objects: Vec::new() }),
        }
    }

    /// Reads and puts: a second name for the same file would not be synced.
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let bytes = self.get_opts(from, GetOptions::default()).await?.bytes().await?;
        let mode = match options.mode {
            CopyMode::Create => PutMode::Create,
            CopyMode::Overwrite => PutMode::Overwrite,
        };
        self.put_opts(to, PutPayload::from_bytes(bytes), mode.into()).await.map(|_| ())
    }
}

//! Removes what interrupted writes left behind.

use super::{Folder, LocalStore};
use object_store::path::Path;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

impl LocalStore {
    /// Removes the staging files (`name#digits`) of writes that began more than `older_than` ago and
    /// were interrupted, and tells how many. Their age is that against a file written now, by the
    /// times of the file system and not this machine's clock, which need not agree. A write that is
    /// still under way then fails without having written anything, so the time should be far longer
    /// than any write takes.
    ///
    /// # Errors
    /// Those of the file system. What was removed before stays removed.
    pub async fn sweep(&self, older_than: Duration) -> io::Result<u64> {
        let folder = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || folder.sweep(older_than)).await.map_err(io::Error::other)?
    }

    /// Removes a folder that nobody else uses with all that is in it. It may be back after power loss.
    pub(crate) async fn remove_folder(&self, location: &Path) -> io::Result<()> {
        let folder = Arc::clone(&self.0);
        let path = folder.path(location);
        let remove = move || {
            let mut known = folder.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.retain(|folder| !folder.starts_with(&path));
            drop(known);
            if_there(fs::remove_dir_all(&path)).map(|_| ())
        };
        tokio::task::spawn_blocking(remove).await.map_err(io::Error::other)?
    }
}

impl Folder {
    pub(super) fn sweep(&self, older_than: Duration) -> io::Result<u64> {
        if !self.root.is_dir() {
            return Ok(0);
        }
        let fresh = self.staging(&self.root.join("sweep"));
        let file = self.disk.create(&fresh)?;
        let now = file.metadata().and_then(|metadata| metadata.modified());
        self.disk.unlink(&fresh)?;
        let now = now?;
        let (mut folders, mut removed) = (vec![self.root.clone()], 0);
        while let Some(folder) = folders.pop() {
            let Some(entries) = if_there(fs::read_dir(&folder))? else { continue };
            for entry in entries {
                let entry = entry?;
                // Of a link this is the link's own: nothing outside the root is looked at.
                let Some(kind) = if_there(entry.file_type())? else { continue };
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file() && is_staging(&entry.file_name()) {
                    let Some(metadata) = if_there(entry.metadata())? else { continue };
                    // Of the future: not old.
                    let age = now.duration_since(metadata.modified()?).unwrap_or_default();
                    if age >= older_than && if_there(self.disk.unlink(&entry.path()))?.is_some() {
                        removed += 1;
                    }
                }
            }
        }
        Ok(removed)
    }
}

/// Others write and remove at the same time.
fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Exactly the names that listings hide.
pub(super) fn is_staging(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let digits = name.split_once('#').map(|(_, digits)| digits);
    digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

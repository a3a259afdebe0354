//! Nothing is durable before what it builds on.
//!
//! What one process finds may have been written by another that has not synced its name yet, or that was
//! killed before it could. Names of one folder become durable in any order: a commit that follows such a
//! one could be there after power loss without it, and the log would have a hole. So before anything is
//! written or deleted, the folders in which something was found are synced. That goes for objects read
//! whole and for listings; who reads a range of an object has learnt of it from another one.

use super::{Durability, Folder, LocalStore};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, Result};
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

impl Folder {
    /// Something in a folder has been seen.
    pub(super) fn found_in(&self, folder: Path) {
        if self.durability == Durability::Sync {
            self.found.lock().unwrap_or_else(PoisonError::into_inner).insert(folder);
        }
    }

    /// Makes all durable that was found before, so that what follows cannot outlive it.
    pub(super) fn settle(&self) -> io::Result<()> {
        let _alone = self.settling.lock().unwrap_or_else(PoisonError::into_inner);
        let found = std::mem::take(&mut *self.found.lock().unwrap_or_else(PoisonError::into_inner));
        for folder in &found {
            match self.sync_folder(&self.path(folder)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    self.found.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
                    return Err(error);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A folder's place on the disk.
    pub(super) fn path(&self, folder: &Path) -> PathBuf {
        let mut path = self.root.clone();
        path.extend(folder.parts().map(|part| part.as_ref().to_owned()));
        path
    }
}

pub(super) fn folder_of(location: &Path) -> Path {
    let mut parts: Vec<_> = location.parts().collect();
    parts.pop();
    parts.into_iter().collect()
}

impl LocalStore {
    /// A listing, by which also what is not there any more has been found.
    pub(super) fn found_by_listing(
        &self,
        prefix: Option<&Path>,
        objects: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let folder = Arc::clone(&self.0);
        let mut last = prefix.cloned().unwrap_or_default();
        folder.found_in(last.clone());
        objects
            .inspect_ok(move |object| {
                let found = folder_of(&object.location);
                if found != last {
                    folder.found_in(found.clone());
                    last = found;
                }
            })
            .boxed()
    }
}

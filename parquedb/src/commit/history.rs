//! The log's history: each commit as it was written, for whoever wants to know what happened.
//!
//! Reads single commits and needs no readable state, so that it also tells about a database that
//! does not open.

mod contents;
mod info;

use super::checkpoint::Hint;
use super::{create, layout, read};
use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;
use futures::{Stream, StreamExt};
use object_store::path::Path;
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

pub use contents::{ExpiredInfo, FileInfo, InlineInfo, TableContents, contents};
pub use info::{ColumnInfo, CommitInfo, Member, PinInfo, SectionInfo, SequenceInfo, TableChange};

/// Commits read at once.
const AHEAD: usize = 16;

/// What became of a member in a commit that changes the declared members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberChange {
    /// It is new.
    Added,
    /// It is declared in another way.
    Changed,
    /// It is gone.
    Removed,
}

/// The commits of a database.
#[derive(Debug, Clone)]
pub struct History {
    store: Store,
    newest: u64,
}

impl History {
    /// The history of the database in a store.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] without a database, [`ErrorKind::Corrupt`] when its `FORMAT` is
    /// damaged, and the store's own errors.
    pub async fn open(store: &Store) -> Result<History> {
        let none = || Error::new(ErrorKind::NotFound, format!("there is no database in {}", store.url()));
        let format = store.get(&Path::from(layout::FORMAT)).await?.ok_or_else(none)?;
        create::read_format(&format, store.url())?;
        let newest = newest(store).await?.ok_or_else(none)?;
        Ok(History { store: store.clone(), newest })
    }

    /// Number of the newest commit.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// Number of the oldest commit that is still there.
    ///
    /// # Errors
    /// The store's own errors.
    pub async fn oldest(&self) -> Result<u64> {
        Ok(read::oldest(&self.store).await?.unwrap_or(self.newest))
    }

    /// One commit.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such commit or it is no longer kept,
    /// [`ErrorKind::Corrupt`] when it is missing or damaged, and the store's own errors.
    pub async fn commit(&self, seq: u64) -> Result<CommitInfo> {
        match self.store.get(&layout::commit(seq)).await? {
            Some(bytes) => info::info(&bytes, seq, self.store.url()),
            None => Err(self.absent(seq).await?),
        }
    }

    /// The commits of a range, newest first. Ends where commits are no longer kept.
    ///
    /// Each item may be an error, as of [`History::commit`]; those after it still come.
    pub fn commits(&self, range: RangeInclusive<u64>) -> impl Stream<Item = Result<CommitInfo>> + '_ {
        let last = (*range.end()).min(self.newest);
        futures::stream::iter((*range.start()..=last).rev())
            .map(|seq| self.commit(seq))
            .buffered(AHEAD)
            .take_while(|commit| {
                let is_end = matches!(commit, Err(error) if error.kind() == ErrorKind::NotFound);
                std::future::ready(!is_end)
            })
    }

    /// What a commit did to the declared members, by name: nothing unless it declares them anew. `None`
    /// when the database before it cannot be read any more.
    ///
    /// # Errors
    /// As [`History::commit`].
    pub async fn member_changes(&self, seq: u64) -> Result<Option<BTreeMap<String, MemberChange>>> {
        let bytes = self.store.get(&layout::commit(seq)).await?;
        let Some(bytes) = bytes else { return Err(self.absent(seq).await?) };
        let (_, _, body, _) = read::open_commit(&bytes, seq, self.store.url())?;
        let Some(after) = body.definitions else { return Ok(Some(BTreeMap::new())) };
        let before = match seq {
            0 => BTreeMap::new(),
            _ => match read::state_at(&self.store, seq - 1).await {
                Ok(state) => state.snapshot.definitions.as_ref().clone(),
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            },
        };
        let mut changes = BTreeMap::new();
        for (name, definition) in after.iter() {
            match before.get(name) {
                None => changes.insert(name.clone(), MemberChange::Added),
                Some(same) if same == definition => None,
                Some(_) => changes.insert(name.clone(), MemberChange::Changed),
            };
        }
        for name in before.keys().filter(|name| !after.contains_key(*name)) {
            changes.insert(name.clone(), MemberChange::Removed);
        }
        Ok(Some(changes))
    }

    /// Why commit `seq` is not there.
    async fn absent(&self, seq: u64) -> Result<Error> {
        let (url, newest) = (self.store.url(), self.newest);
        if seq > newest {
            let message = format!("there is no commit {seq} in {url}; the last is {newest}");
            return Ok(Error::new(ErrorKind::NotFound, message));
        }
        let oldest = self.oldest().await?;
        if seq < oldest {
            let message = format!("commit {seq} is no longer kept in {url}; the oldest is {oldest}");
            return Ok(Error::new(ErrorKind::NotFound, message));
        }
        Ok(read::missing(&self.store, seq, newest))
    }
}

/// The hint at the newest commits, if there is one that can be read.
pub(super) async fn hint(store: &Store) -> Result<Option<Hint>> {
    Ok(store.get(&Path::from(layout::HEAD)).await?.and_then(|bytes| Hint::decode(&bytes)))
}

/// Number of the newest commit; `None` without any.
pub(super) async fn newest(store: &Store) -> Result<Option<u64>> {
    let Some(hint) = hint(store).await? else {
        return read::newest(store, layout::commits(), None, u64::MAX).await;
    };
    let hinted = layout::commit(hint.seq);
    if let Some(later) = read::newest(store, layout::commits(), Some(hinted.clone()), u64::MAX).await? {
        return Ok(Some(later));
    }
    match store.get(&hinted).await? {
        Some(_) => Ok(Some(hint.seq)),
        // A hint at commits that are gone must not hide those before.
        None => read::newest(store, layout::commits(), None, u64::MAX).await,
    }
}

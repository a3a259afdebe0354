//! What there is where a copy should go.

use super::{Plan, Purpose};
use crate::commit::envelope::Hash;
use crate::commit::{history, layout, read};
use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;
use bytes::Bytes;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Stands in a copy that is not complete. An interrupted copy is completed as it was begun, because its
/// commits must have no gaps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marker {
    /// The source's `FORMAT`, which has the database's id.
    format: String,
    first: u64,
    seq: u64,
    checkpoint: Option<u64>,
}

impl Marker {
    pub(super) fn new(format: &Bytes, plan: Plan) -> Result<Self> {
        let format = std::str::from_utf8(format)
            .map_err(|error| Error::with_source(ErrorKind::Corrupt, "`FORMAT` is not text", error))?;
        let Plan { first, seq, checkpoint } = plan;
        Ok(Self { format: format.to_owned(), first, seq, checkpoint })
    }

    pub(super) fn encode(&self) -> Result<Bytes> {
        serde_json::to_vec(self)
            .map(Bytes::from)
            .map_err(|error| Error::with_source(ErrorKind::Invalid, "cannot encode the copy's plan", error))
    }
}

/// The target as it was found.
#[derive(Debug)]
pub(super) struct Target {
    url: String,
    /// It is a database: an earlier copy that is complete.
    pub(super) is_database: bool,
    pub(super) has_marker: bool,
    /// What an interrupted copy had begun.
    marker: Option<Marker>,
    /// All objects with their sizes.
    pub(super) objects: BTreeMap<String, u64>,
    /// The last commit of a database, with its bytes.
    newest: Option<(u64, Bytes)>,
    /// Id and hash of the commit that the first copied one must follow.
    pub(super) last: Option<(Uuid, Hash)>,
}

/// Looks at the target, and refuses one that holds anything but a copy of this database.
pub(super) async fn look(target: &Store, format: &Bytes, purpose: Purpose) -> Result<Target> {
    let mut found = Target {
        url: target.url().to_owned(),
        is_database: false,
        has_marker: false,
        marker: None,
        objects: BTreeMap::new(),
        newest: None,
        last: None,
    };
    let names = target.top_level().await?;
    let has = |name: &str| names.iter().any(|found| found == name);
    found.has_marker = has(layout::UNFINISHED);
    if has(layout::FORMAT) {
        found.is_database = true;
        let present = target.get(&Path::from(layout::FORMAT)).await?;
        if purpose == Purpose::Restore {
            let message = format!("{} holds a database; restore to an empty place", target.url());
            return Err(Error::invalid(message));
        }
        if present.as_ref() != Some(format) {
            let message = format!("{} holds another database; choose another place", target.url());
            return Err(Error::invalid(message));
        }
    } else if found.has_marker {
        let bytes = target.get(&Path::from(layout::UNFINISHED)).await?.unwrap_or_default();
        let marker: Marker = serde_json::from_slice(&bytes).map_err(|error| {
            let message = format!(
                "`{}` in {} cannot be read: {error}; empty the place, or choose another",
                layout::UNFINISHED,
                target.url()
            );
            Error::with_source(ErrorKind::Corrupt, message, error)
        })?;
        if marker.format.as_bytes() != format.as_ref() {
            let message = format!(
                "{} holds an unfinished copy of another database; choose another place",
                target.url()
            );
            return Err(Error::invalid(message));
        }
        found.marker = Some(marker);
    } else if let Some(name) = names.iter().find(|name| !name.starts_with('.')) {
        let message = format!(
            "{} is not empty: it has `{name}`, and no copy of this database; choose another place or empty it",
            target.url()
        );
        return Err(Error::invalid(message));
    } else {
        return Ok(found);
    }
    let objects = target.list(None, None).await?;
    found.objects = objects.iter().map(|object| (object.location.to_string(), object.size)).collect();
    if found.is_database {
        let seq = history::newest(target).await?;
        let lost = || Error::corrupt(format!("{} has no commit; choose an empty place", target.url()));
        let seq = seq.ok_or_else(lost)?;
        found.newest = Some((seq, target.get(&layout::commit(seq)).await?.ok_or_else(lost)?));
    }
    Ok(found)
}

impl Target {
    /// Whether an interrupted copy has begun to write the log.
    pub(super) fn has_log(&self) -> bool {
        self.objects.keys().any(|path| path.starts_with("log/") || path.starts_with("ckpt/"))
    }

    /// What is to be copied so that the target holds `wanted`, or what an interrupted copy had begun.
    pub(super) async fn plan(&mut self, source: &Store, wanted: u64, is_asked_for: bool) -> Result<Plan> {
        if let Some(marker) = self.marker.clone().filter(|_| self.has_log()) {
            if is_asked_for && wanted < marker.seq {
                return Err(Error::invalid(format!(
                    "{} holds an unfinished copy of commit {}; finish it, or choose another place",
                    self.url, marker.seq
                )));
            }
            if source.get(&layout::commit(marker.first)).await?.is_none() {
                return Err(Error::new(
                    ErrorKind::NotFound,
                    format!(
                        "{} holds an unfinished copy from commit {} on, which {} no longer keeps; choose an empty place",
                        self.url,
                        marker.first,
                        source.url()
                    ),
                ));
            }
            return Ok(Plan { first: marker.first, seq: marker.seq, checkpoint: marker.checkpoint });
        }
        let checkpoint = read::newest(source, layout::checkpoints(), None, wanted).await?;
        let Some((newest, bytes)) = &self.newest else {
            let first = checkpoint.unwrap_or(0);
            if source.get(&layout::commit(first)).await?.is_none() {
                let oldest = read::oldest(source).await?;
                let message = match oldest {
                    Some(oldest) if oldest > wanted => {
                        format!(
                            "commit {wanted} is no longer kept in {}; the oldest is {oldest}",
                            source.url()
                        )
                    }
                    _ => return Err(super::gone(source, &layout::commit(first), first).await?),
                };
                return Err(Error::new(ErrorKind::NotFound, message));
            }
            return Ok(Plan { first, seq: wanted, checkpoint });
        };
        let newest = *newest;
        if newest > wanted {
            let message = if is_asked_for {
                format!(
                    "the copy in {} is at commit {newest} already, later than {wanted}; choose another place",
                    self.url
                )
            } else {
                format!(
                    "the copy in {} is at commit {newest}, and {} only at {wanted}; choose another place",
                    self.url,
                    source.url()
                )
            };
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        match source.get(&layout::commit(newest)).await? {
            Some(ours) if ours == *bytes => {}
            Some(_) => {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!(
                        "commit {newest} in {} is another one than in {}: the two have diverged; choose an empty place",
                        self.url,
                        source.url()
                    ),
                ));
            }
            None => {
                return Err(Error::new(
                    ErrorKind::NotFound,
                    format!(
                        "the copy in {} ends with commit {newest}, which {} no longer keeps; copy to an empty place",
                        self.url,
                        source.url()
                    ),
                ));
            }
        }
        let (header, hash, _, _) = read::open_commit(bytes, newest, &self.url)?;
        self.last = Some((header.commit_id, hash));
        Ok(Plan { first: newest + 1, seq: wanted, checkpoint })
    }
}

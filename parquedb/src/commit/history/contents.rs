//! What a snapshot tells of its tables.

use super::info::hexadecimal;
use crate::commit::flush;
use crate::commit::snapshot::{DataFile, Expired, Snapshot, Table};
use crate::types::Timestamp;
use serde::Serialize;
use std::sync::Arc;

/// What a table holds at a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TableContents {
    /// The Rust struct's name of the collection or view.
    pub table: String,
    /// Whether it is a view.
    pub is_view: bool,
    /// Rows, or states of a view that groups, in all runs, without those that are removed.
    pub rows: u64,
    /// The last commit that changed the rows.
    pub changed: u64,
    /// What retention has taken out of it, if it has.
    pub expired: Option<ExpiredInfo>,
    /// Its files, oldest first.
    pub files: Vec<FileInfo>,
    /// Its runs that still live inside commits, oldest first.
    pub inline: Vec<InlineInfo>,
}

/// What retention has taken out of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExpiredInfo {
    /// All of it was older than this.
    pub before: Timestamp,
    /// The last commit that took rows out.
    pub seq: u64,
    /// Rows, or states of a view that groups.
    pub rows: u64,
}

impl From<&Expired> for ExpiredInfo {
    fn from(expired: &Expired) -> Self {
        let Expired { before, seq, rows, .. } = *expired;
        Self { before: Timestamp::from_micros(before), seq, rows }
    }
}

impl TableContents {
    /// Size of all files, in bytes.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// Encoded size of all runs inside commits, in bytes.
    #[must_use]
    pub fn inline_bytes(&self) -> u64 {
        self.inline.iter().map(|run| run.bytes).sum()
    }
}

/// A run that lives inside its commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct InlineInfo {
    /// The commit.
    pub seq: u64,
    /// Number of rows, with those that are removed.
    pub rows: u64,
    /// How many of them are removed.
    pub removed: u64,
    /// Encoded size, in bytes.
    pub bytes: u64,
}

/// A data file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FileInfo {
    /// Path from the database's root.
    pub path: String,
    /// Size, in bytes.
    pub size: u64,
    /// Number of rows, with those that are removed.
    pub rows: u64,
    /// How many of them are removed.
    pub removed: u64,
    /// xxh3-64 of its bytes, in hexadecimal.
    #[serde(serialize_with = "hexadecimal")]
    pub checksum: u64,
    /// The first commit whose rows it holds.
    pub first_seq: u64,
    /// The last one.
    pub last_seq: u64,
    /// It holds states that were merged over its commits.
    pub merged: bool,
}

impl From<&DataFile> for FileInfo {
    fn from(file: &DataFile) -> Self {
        Self {
            path: file.path.clone(),
            size: file.size,
            rows: file.rows,
            removed: file.removed.len(),
            checksum: file.checksum,
            first_seq: file.first_seq,
            last_seq: file.last_seq,
            merged: file.merged,
        }
    }
}

/// The tables of a snapshot, by name.
#[must_use]
pub fn contents(snapshot: &Snapshot) -> Vec<TableContents> {
    let table = |(name, table): (&String, &Arc<Table>)| TableContents {
        table: name.clone(),
        is_view: flush::is_view(snapshot, name),
        rows: table.rows,
        changed: table.changed,
        expired: table.expired.as_ref().map(ExpiredInfo::from),
        files: table.files.iter().map(|file| FileInfo::from(file.as_ref())).collect(),
        inline: table
            .inline
            .iter()
            .map(|run| InlineInfo {
                seq: run.seq,
                rows: run.rows,
                removed: run.removed.len(),
                bytes: run.bytes,
            })
            .collect(),
    };
    snapshot.tables.iter().map(table).collect()
}

//! Rows that are gone although their run still holds them: a run never changes once it is written, so a
//! commit names the positions of the rows that it removes.

mod apply;
mod positions;

pub(super) use apply::{apply, check, expire, join};
pub use positions::RemovedRows;

use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};

/// A run of a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunId {
    /// The data file of this path.
    File(String),
    /// The rows inside the commit of this number.
    Inline(u64),
}

impl std::fmt::Display for RunId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RunId::File(path) => f.write_str(path),
            RunId::Inline(seq) => write!(f, "commit {seq}"),
        }
    }
}

/// Rows of a table to be removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRemoval {
    /// The table.
    pub table: String,
    /// Where in it.
    pub runs: Vec<RunRemoval>,
}

/// Rows of a run to be removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRemoval {
    /// The run.
    pub run: RunId,
    /// The positions of the rows, from zero, in the order of the run. Those that are gone already count.
    #[serde(with = "positions")]
    pub rows: RoaringBitmap,
}

/// Rows of a table that have expired. They go as removed rows do, but that is no change of the table: views keep
/// what they counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableExpiry {
    /// The rows.
    pub rows: TableRemoval,
    /// The column with the time by which they expire.
    pub on: String,
    /// All of them are older than this, in microseconds since 1970 (UTC).
    pub before: i64,
    /// They are the states of whole groups: another commit must not add to these meanwhile.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole_groups: bool,
}

impl TableRemoval {
    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.runs.iter().map(|run| run.rows.len()).sum()
    }
}

//! What a commit is made from, and what becomes of it.

use super::body::{CursorWrite, KeySet};
use super::removal::{TableExpiry, TableRemoval};
use super::snapshot::Snapshot;
use crate::declare::definition::Definition;
use arrow::record_batch::RecordBatch;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What one commit changes.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// The snapshot from which the changes were computed, by its number. When the log is further by
    /// then, changes with cursors, replacements or definitions get [`crate::ErrorKind::Conflict`]. `None`
    /// stands for the newest known when the commit is made.
    pub base: Option<u64>,
    /// Rows, by table.
    pub writes: Vec<TableWrite>,
    /// Rows that are gone, by table. They were there in the snapshot that the changes were computed from;
    /// when one is gone by then, or its run is, the changes get [`crate::ErrorKind::Conflict`].
    pub removals: Vec<TableRemoval>,
    /// Rows that have expired, by table: tables that nothing else changes here. Conflicts are as with `removals`.
    pub expiries: Vec<TableExpiry>,
    /// What views have absorbed.
    pub cursors: Vec<CursorWrite>,
    /// All declared members, when they change.
    pub definitions: Option<BTreeMap<String, Definition>>,
    /// Ids of the batches contained, by which a repetition is recognised for seven days.
    pub batch_ids: Vec<String>,
    /// Places of the batches contained in their producers' sequences, by which a repetition is
    /// recognised until seven days after a producer's last commit.
    pub sequences: Vec<Sequence>,
    /// The keys that were read or are written. Another commit with one of them is a conflict.
    pub keys: Vec<KeySet>,
}

impl Changes {
    /// Whether a commit of these would change nothing. Keys that were only read do not count.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
            && self.removals.is_empty()
            && self.expiries.is_empty()
            && self.cursors.is_empty()
            && self.definitions.is_none()
            && self.batch_ids.is_empty()
            && self.sequences.is_empty()
    }
}

/// A batch's place in its producer's sequence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence {
    /// The producer's name.
    pub producer: String,
    /// The batch's number, which no other batch of the producer has.
    pub number: u64,
}

/// Rows for one table.
#[derive(Debug, Clone)]
pub struct TableWrite {
    /// The Rust struct's name of the collection or view.
    pub table: String,
    /// Whether it is a view.
    pub is_view: bool,
    /// The rows, in one schema. Only replacements may have none.
    pub batches: Vec<RecordBatch>,
    /// Whether the rows replace all present ones.
    pub replace: bool,
}

/// The result of a commit.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The database with the commit.
    pub snapshot: Arc<Snapshot>,
    /// All batch ids had been committed before: nothing was written now.
    pub repeated: bool,
}

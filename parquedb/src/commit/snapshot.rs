//! The database at one sequence number: what every read and every commit starts from.

use super::removal::RemovedRows;
use crate::declare::definition::Definition;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// The database at one sequence number. Immutable; cheap to clone.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Sequence number of the last commit contained.
    pub seq: u64,
    /// When that commit was made, in microseconds since 1970 (UTC).
    pub time: i64,
    /// The declared members by their Rust struct's name.
    pub definitions: Arc<BTreeMap<String, Definition>>,
    /// The stored tables by the Rust struct's name of their collection or view. A view's table
    /// holds its rows, or its states when it groups. A member without any commit has no entry.
    pub tables: BTreeMap<String, Arc<Table>>,
    /// What each view has absorbed, by its name. A view that was never built has no entry.
    pub cursors: BTreeMap<String, Arc<Cursor>>,
    /// The oldest snapshot that can still be read, by its number.
    pub floor: u64,
    /// Snapshots that garbage collection keeps, by the names they were given.
    pub pins: Arc<BTreeMap<String, Pin>>,
    /// How often one writer has taken the database for itself, or given it back.
    pub epoch: u64,
    /// The only writer that may write, if one has taken the database for itself.
    pub exclusive: Option<Uuid>,
}

/// A snapshot that garbage collection keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The snapshot's number.
    pub seq: u64,
    /// Until when, in microseconds since 1970 (UTC).
    pub expires: i64,
}

/// The runs of one table. Their sequence ranges never overlap.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// The commit that created the table's present contents: its first write, or the last write
    /// that replaced everything. A cursor over another identity has seen other rows.
    pub identity: u64,
    /// The last commit that added or removed rows. A flush does neither.
    pub changed: u64,
    /// Rows in all runs, without those that are removed.
    pub rows: u64,
    /// What retention has taken out of it, if it has. Stays when all rows are replaced.
    pub expired: Option<Expired>,
    /// Runs in Parquet files, oldest first.
    pub files: Arc<Vec<Arc<DataFile>>>,
    /// Runs that still live inside their commits, in memory here, oldest first. A large write goes
    /// to a file at once, so that a file may be newer than some of these.
    pub inline: Vec<Arc<InlineRun>>,
}

/// What retention has taken out of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expired {
    /// The column with the time by which they expired; nothing where it was not always the same.
    pub on: Option<String>,
    /// All rows that have expired were older than this, in microseconds since 1970 (UTC). Rows that are still
    /// there may be older too, when they came late.
    pub before: i64,
    /// The last commit that took rows out.
    pub seq: u64,
    /// Rows, or states of a view that groups, that have expired in all.
    pub rows: u64,
}

/// A run inside its commit.
#[derive(Debug)]
pub struct InlineRun {
    /// The commit.
    pub seq: u64,
    /// Its rows as they were committed, in the table's stored schema.
    pub batches: Vec<RecordBatch>,
    /// Number of rows, with those that are removed.
    pub rows: u64,
    /// Encoded size in the commit object, in bytes.
    pub bytes: u64,
    /// The rows that are gone, by their positions in the batches one after the other.
    pub removed: RemovedRows,
}

impl InlineRun {
    /// Number of rows that are not removed.
    #[must_use]
    pub fn live_rows(&self) -> u64 {
        self.rows.saturating_sub(self.removed.len())
    }
}

/// A run in a Parquet file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// Path from the database's root.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// Number of rows, with those that are removed.
    pub rows: u64,
    /// xxh3-64 of the file's bytes.
    pub checksum: u64,
    /// The first and the last commit whose rows it holds. Where they differ, the file has one more
    /// column, [`SEQ_COLUMN`], that tells which commit each row came in, unless `merged` is set.
    pub first_seq: u64,
    /// See `first_seq`.
    pub last_seq: u64,
    /// It holds states that were merged over its commits, so that no row belongs to one of them.
    #[serde(default, skip_serializing_if = "is_false")]
    pub merged: bool,
    /// The rows that are gone, by their positions in the file.
    #[serde(default, skip_serializing_if = "RemovedRows::is_empty")]
    pub removed: RemovedRows,
}

impl DataFile {
    /// Number of rows that are not removed.
    #[must_use]
    pub fn live_rows(&self) -> u64 {
        self.rows.saturating_sub(self.removed.len())
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
fn is_false(value: &bool) -> bool {
    !value
}

/// The extra `UInt64` column of a file that holds the rows of several commits.
pub const SEQ_COLUMN: &str = "__seq";

/// The extra `UInt64` column of a table of removed rows: the commit in which the row had come in.
pub const ADDED_COLUMN: &str = "__added";

/// What a table's name has in addition where the table holds the rows removed from another.
const REMOVED_SUFFIX: &str = ".removed";

/// The name of the table that holds the rows removed from another, as they were.
#[must_use]
pub fn removed_table(table: &str) -> String {
    format!("{table}{REMOVED_SUFFIX}")
}

/// The columns of the table that holds the rows removed from one of these columns.
#[must_use]
pub fn removed_schema(schema: &Schema) -> SchemaRef {
    let added = Arc::new(Field::new(ADDED_COLUMN, DataType::UInt64, false));
    let fields: Vec<FieldRef> = schema.fields().iter().cloned().chain([added]).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// The table whose removed rows a table holds, if it is such a one.
#[must_use]
pub fn table_of_removed(table: &str) -> Option<&str> {
    table.strip_suffix(REMOVED_SUFFIX)
}

/// What a view has absorbed. Stored in the commit that wrote the view's rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Hash of the definition that the view's rows follow.
    pub definition: String,
    /// How far it has absorbed each member that it is computed from.
    pub sources: BTreeMap<String, SourceCursor>,
    /// When the view was last refreshed, in microseconds since 1970 (UTC).
    pub refreshed: i64,
}

impl Cursor {
    /// The commit up to which all of its sources are absorbed.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.sources.values().map(|source| source.seq).min().unwrap_or(0)
    }
}

/// What a view has absorbed of one of its sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceCursor {
    /// The source's [`Table::identity`] (zero while the source has no table).
    pub identity: u64,
    /// All source rows up to this commit are absorbed.
    pub seq: u64,
}

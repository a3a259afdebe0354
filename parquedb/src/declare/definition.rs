//! What a database consists of, as data: the form in which the log stores it.

use super::plan::{Refresh, ViewPlan};
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

/// A collection: rows that the program writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CollectionDefinition {
    /// The Rust struct's name, `TailEvents`; also the name of its folder.
    pub name: String,
    /// Its name in SQL and its handle's, `tail_events`.
    pub table: String,
    /// Columns in declaration order, named as the Rust fields unless renamed.
    pub schema: SchemaRef,
    /// The columns of the key; empty when rows are only appended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<String>,
    /// The column whose highest value wins among rows of one key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// When rows expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Ttl>,
}

/// When rows expire: so long after a time that each of them has. Rows without that time do not expire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ttl {
    /// How long after, in microseconds.
    pub after: i64,
    /// The column with the time: a timestamp; of a view that groups, one of its group keys.
    pub on: String,
}

impl Ttl {
    /// Rows from before this time have expired at a given one. Both in microseconds since 1970 (UTC).
    #[must_use]
    pub fn horizon(&self, now: i64) -> i64 {
        now.saturating_sub(self.after)
    }
}

/// A view: rows computed from a source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ViewDefinition {
    /// The Rust struct's name, `WorkerErrors`; also the name of its folder.
    pub name: String,
    /// Its name in SQL and its handle's, `worker_errors`.
    pub table: String,
    /// Columns of the view's rows.
    pub schema: SchemaRef,
    /// What it computes.
    pub plan: ViewPlan,
    /// When it absorbs changes. Not part of the definition's hash.
    pub refresh: Refresh,
    /// A change that it could follow only by computing groups again is not accepted: nor is a declaration
    /// under which there could be one. Not part of the definition's hash.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    /// When rows of the view expire. Not part of the definition's hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Ttl>,
}

/// One member of a database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::large_enum_variant, reason = "there are few of them, and they are seldom moved")]
pub enum Definition {
    /// A collection.
    Collection(CollectionDefinition),
    /// A view.
    View(ViewDefinition),
}

impl Definition {
    /// The Rust struct's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Definition::Collection(collection) => &collection.name,
            Definition::View(view) => &view.name,
        }
    }

    /// The name in SQL.
    #[must_use]
    pub fn table(&self) -> &str {
        match self {
            Definition::Collection(collection) => &collection.table,
            Definition::View(view) => &view.table,
        }
    }

    /// When its rows expire, if they do.
    #[must_use]
    pub fn ttl(&self) -> Option<&Ttl> {
        match self {
            Definition::Collection(collection) => collection.ttl.as_ref(),
            Definition::View(view) => view.ttl.as_ref(),
        }
    }

    /// Columns of the rows as a reader sees them.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        match self {
            Definition::Collection(collection) => &collection.schema,
            Definition::View(view) => &view.schema,
        }
    }
}

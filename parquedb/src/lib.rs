//! Embedded database of typed collections and exact materialized views, on Parquet and object storage.
//!
//! A program declares collections as structs with [`derive(Collection)`](macro@Collection), views over
//! them in [`views!`], and what belongs to one database in [`database!`]. It writes rows through
//! [`Collection`](struct@Collection) handles and reads them, and the views, with [`find`](Collection::find) or
//! [`sql`](Connection::sql).
//!
//! ```
//! use parquedb::{Collection, Timestamp, database, views};
//!
//! #[derive(Collection, Debug, Clone)]
//! pub struct Visit {
//!     pub page: String,
//!     pub millis: Option<u32>,
//!     pub at: Timestamp,
//! }
//!
//! views! {
//!     /// How often and how fast each page was served, per day.
//!     pub DailyPages: {
//!         $from: Visit,
//!         $groupBy: [page, { day: at }],
//!         $compute: { visits: $count(*), mean_millis: $avg(millis), slow: $count(*, $filter: millis > 500) },
//!     }
//! }
//!
//! database! { pub struct Site { Visit, DailyPages } }
//!
//! # #[tokio::main] async fn main() -> parquedb::Result<()> {
//! let db = Site::open("memory:///").await?;
//! let at = Timestamp::from_millis(1_763_683_200_000)?;
//! db.visit.insert_many([
//!     Visit { page: "/".into(), millis: Some(40), at },
//!     Visit { page: "/".into(), millis: Some(800), at },
//!     Visit { page: "/".into(), millis: None, at },
//! ]).await?;
//!
//! let pages = db.daily_pages.find(|day| day.page.eq("/")).await?;
//! assert_eq!((pages[0].visits, pages[0].mean_millis, pages[0].slow), (3, Some(420.0), 1));
//! # Ok(()) }
//! ```
//!
//! # Where rows and views live
//!
//! A URL tells: `memory:///`, a folder, `s3://bucket/prefix` or R2's endpoint. See
//! [`Builder::open`]. Everything in one commit becomes visible at once: a batch's rows, and what the
//! streaming views make of them.
//!
//! # When views follow
//!
//! Streaming views, the default, follow in the same commit. Scheduled ones follow when
//! [`Connection::run_due`] is called with a time at which they are due, or in the loop that
//! [`Connection::spawn_maintenance`] starts. Manual ones follow when [`View::refresh`] is called.
//! [`Connection::status`] tells which are [fresh, stale or invalid](Freshness).
//!
//! # What a database needs
//!
//! Every commit leaves objects behind, and reading many small ones costs more than reading few.
//! [`Connection::maintain`] refreshes what is due, joins small files and deletes what is not needed any
//! more; the loop of [`Connection::spawn_maintenance`] does so again and again, in as many processes as
//! you like. Without it a database stays right, but grows and gets slower to read.

extern crate self as parquedb;

pub mod clock;
pub mod commit;
pub mod db;
pub mod declare;
mod error;
mod evaluate;
mod histogram;
pub mod ingest;
pub mod maintain;
pub mod query;
pub mod store;
#[doc(hidden)]
pub mod testing;
mod time;
pub mod types;

pub use clock::{Clock, ManualClock, SystemClock};
pub use commit::snapshot::Pin;
pub use commit::{CompactOptions, CompactReport, CompactedTable, GarbageOptions, GarbageReport, LeftFiles};
pub use datafusion::arrow;
pub use db::admin;
pub use db::metrics::{MemberMetrics, Metrics, Quantiles, ViewLag};
pub use db::{
    At, Batch, Builder, Collection, Connection, Database, ExpiredRows, ExpiryReport, GroupCommit, Lag,
    Ledger, LedgerEntry, LedgerPart, Maintained, MaintenanceLoop, MaintenanceOptions, QueueDepth, Rows, View,
    ViewStatus, Written,
};
pub use declare::expr::{Expr, Order, TimeUnit};
pub use error::{Error, ErrorKind, Result};
pub use ingest::Row;
pub use maintain::{ExplainedChange, ExplainedColumn, Explanation, Freshness, Verification};
pub use object_store;
#[doc = include_str!("../docs/directives.md")]
pub use parquedb_derive::views;
pub use parquedb_derive::{Collection, database, db};
pub use query::{Find, Found, ReadMetrics};
pub use store::{Durability, Requests, Store};
pub use types::{Bytes, Date, Decimal, Json, Ref, Timestamp, Ulid, Uuid};

/// What the macros expand to. Not part of the public interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::db::{Collection as CollectionHandle, Connection, Member, View as ViewHandle};
    pub use crate::declare::aggregate::{
        all_true, any_true, any_value, arg_max, arg_min, avg, bit_and, bit_or, collect, collect_set, corr,
        count, count_distinct, count_if, count_rows, first, histogram, last, max, median, min, quantile,
        quantile_exact, quantiles, stddev, sum, sum_by_key, sum_map, top_k, uniq, variance,
    };
    pub use crate::declare::declared::{CollectionRecord, Declared};
    pub use crate::declare::definition::{CollectionDefinition, Definition, Ttl};
    pub use crate::declare::expand::{
        expanded_fields, expanded_row, expansion_columns, expansion_fields, refers, repeated_column,
    };
    pub use crate::declare::expr::{
        Calculated, Chosen, Difference, Expr, Handle, Mapped, NULL, TimeUnit, all, among, any, coalesce,
        concat, cond, condition, divided_by_nonzero, element, exists, expr, literal, member, not, null, part,
        remainder_by_nonzero, truncate,
    };
    pub use crate::declare::many::{Expands, Expansion, is_many, seen};
    pub use crate::declare::node::{Function, Node};
    pub use crate::declare::operand::expires_by;
    pub use crate::declare::plan::Refresh;
    pub use crate::declare::record::{FieldAt, Keyed, Record, Referable, index_of};
    pub use crate::declare::reference::{among_members, is_reference, member_row, target_has_key};
    pub use crate::declare::shape::{NotNull, Nullability, Nullable, Shape, Unknown};
    pub use crate::declare::sources::{MemberOf, is_written, members_are_declared, same_type, source_name};
    pub use crate::declare::view::{Changes, ViewBuilder, ViewRecord, is_container};
    pub use crate::error::Result;
    pub use crate::ingest::{
        ColumnBuilder, ColumnReader, ColumnValue, NotOptional, Nulls, Passed, PassedBuilder, PassedReader,
        Row, StructColumns, expanded_rows, finish_expanded, finish_struct,
    };
    pub use arrow::array::{ArrayRef, NullBufferBuilder};
    pub use arrow::datatypes::{DataType, Fields, Schema, SchemaRef};

    /// FNV-1a of a field name.
    #[must_use]
    pub const fn field_key(name: &str) -> u64 {
        let bytes = name.as_bytes();
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut index = 0;
        while index < bytes.len() {
            hash = (hash ^ bytes[index] as u64).wrapping_mul(0x0100_0000_01b3);
            index += 1;
        }
        hash
    }
}

/// The README's example is compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../../docs/operations.md")]
struct Operations;

//! Embedded database of typed collections and exact materialized views, on Parquet and object storage.

extern crate self as parquedb;

pub mod clock;
pub mod commit;
pub mod db;
pub mod declare;
mod error;
mod evaluate;
pub mod ingest;
pub mod maintain;
pub mod query;
pub mod store;
#[doc(hidden)]
pub mod testing;
pub mod types;

pub use db::{
    Batch, Builder, Collection, Connection, Database, Lag, MaintenanceLoop, View, ViewStatus, Written,
};
pub use declare::expr::{Expr, Order, TimeUnit};
pub use clock::{Clock, ManualClock, SystemClock};
pub use datafusion;
pub use datafusion::arrow;
pub use maintain::Freshness;
pub use object_store;
pub use query::{Find, Found, ReadMetrics};
pub use store::{Durability, Requests, Store};
pub use error::{Error, ErrorKind, Result};
pub use ingest::Row;
pub use parquedb_derive::{Collection, database, db, views};
pub use types::{Bytes, Date, Decimal, Json, Timestamp, Ulid, Uuid};

/// What the macros expand to. Not part of the public interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::declare::declared::{CollectionRecord, Declared};
    pub use crate::declare::definition::{CollectionDefinition, Definition};
    pub use crate::db::{Collection as CollectionHandle, Connection, Member, View as ViewHandle};
    pub use crate::declare::aggregate::{avg, count, count_distinct, count_rows, max, min, sum};
    pub use crate::declare::expr::{
        Calculated, Chosen, Difference, Expr, Handle, Mapped, NULL, TimeUnit, all, among, any, coalesce, concat,
        cond, condition, divided_by_nonzero, element, exists, literal, member, not, null, part,
        remainder_by_nonzero, truncate,
    };
    pub use crate::declare::plan::Refresh;
    pub use crate::declare::view::{Changes, MemberOf, ViewBuilder, ViewRecord, is_container, source_is_member};
    pub use crate::declare::node::{Function, Node};
    pub use crate::declare::record::{FieldAt, Record, index_of};
    pub use crate::declare::shape::{NotNull, Nullability, Nullable, Shape, Unknown};
    pub use crate::error::Result;
    pub use crate::ingest::{
        ColumnBuilder, ColumnReader, ColumnValue, NotOptional, Nulls, Row, StructColumns, finish_struct,
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

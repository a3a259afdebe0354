//! Embedded database of typed collections and exact materialized views, on Parquet and object storage.

extern crate self as parquedb;

pub mod commit;
pub mod declare;
mod error;
mod evaluate;
pub mod ingest;
pub mod maintain;
pub mod query;
pub mod store;

pub use error::{Error, ErrorKind, Result};

/// What the macros expand to. Not part of the public interface.
#[doc(hidden)]
pub mod __private {
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

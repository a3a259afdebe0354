//! Typed queries and SQL: a snapshot in, rows out. Nothing here writes.

pub(crate) mod find;
pub(crate) mod sql;

pub use find::{Find, Found, ReadMetrics};

//! Snapshots to view snapshots: what a change of a source makes of its views.

pub(crate) mod freshness;
pub(crate) mod prepared;
pub(crate) mod refresh;
pub(crate) mod schedule;
pub(crate) mod streaming;

pub use freshness::Freshness;

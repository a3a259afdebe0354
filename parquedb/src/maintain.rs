//! Snapshots to view snapshots: what a change of a source makes of its views.

pub(crate) mod freshness;
#[allow(dead_code, reason = "what removes rows of views comes next")]
pub(crate) mod locate;
pub(crate) mod prepared;
pub(crate) mod refresh;
pub(crate) mod schedule;
pub(crate) mod streaming;

pub use freshness::Freshness;

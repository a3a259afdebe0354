//! Snapshots to view snapshots: what a change of a source makes of its views.

pub(crate) mod cancel;
pub(crate) mod expire;
pub(crate) mod explain;
pub(crate) mod freshness;
pub(crate) mod keyed;
pub(crate) mod locate;
pub(crate) mod lost;
pub(crate) mod prepared;
mod referring;
pub(crate) mod refresh;
pub(crate) mod schedule;
pub(crate) mod step;
pub(crate) mod streaming;
mod take_back;
pub(crate) mod verify;

pub use explain::{ExplainedChange, ExplainedColumn, Explanation};
pub use freshness::Freshness;
pub use verify::Verification;

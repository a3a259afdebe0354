//! Batches in, snapshots out: the log. Knows tables, runs and cursors; nothing of what views compute.

pub mod snapshot;

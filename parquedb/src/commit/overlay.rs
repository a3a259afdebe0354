//! Changes that are not committed yet, applied to a snapshot in memory: what is computed later in the same
//! commit sees them, and so does whoever reads a view as if it were refreshed.

use super::body::{InlineRows, memory_size};
use super::snapshot::Snapshot;
use super::state::apply_contents;
use super::write::outline;
use super::{Changes, removal};
use crate::error::Result;

impl Snapshot {
    /// The snapshot as it would be if the changes were its next commit, made at `time` (in microseconds since
    /// 1970). All new rows are inside the commit. Nothing is written, and more changes can be put on top.
    ///
    /// # Errors
    /// As [`super::Log::commit`] for changes that cannot be made here.
    pub fn with(&self, changes: &Changes, time: i64) -> Result<Snapshot> {
        let (mut body, writes) = outline(changes.clone(), self.seq)?;
        removal::check(self, body.leaving())?;
        for write in writes.into_iter().filter(|write| !write.batches.is_empty()) {
            let rows = write.batches.iter().map(|batch| batch.num_rows() as u64).sum();
            let bytes = memory_size(&write.batches) as u64;
            body.inline.push(InlineRows { table: write.table, batches: write.batches, rows, bytes });
        }
        let mut next = self.clone();
        next.seq += 1;
        next.time = time.max(self.time);
        let place = format!("{} that is being made", next.seq);
        apply_contents(&mut next, &body, &place)?;
        Ok(next)
    }
}

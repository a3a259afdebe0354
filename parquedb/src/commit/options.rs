//! The settings of a log.

use crate::clock::{Clock, SystemClock};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// How a log is opened and kept.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Refuse to write anything.
    pub read_only: bool,
    /// Create the database where there is none.
    pub create_if_missing: bool,
    /// Rows of one table in one commit that take more memory than this go into a file of their own.
    pub inline_limit_bytes: usize,
    /// Write a table's inline runs to a file when they take more than this, encoded.
    pub flush_after_bytes: u64,
    /// The same after so many commits.
    pub flush_after_commits: u64,
    /// The same after so long.
    pub flush_after: Duration,
    /// Inline runs of more than this together, encoded, are written to files while commits go on.
    pub flush_aside_from_bytes: u64,
    /// How long one request for a commit may take before it is sent again.
    pub request_timeout: Duration,
    /// How long to find out whether a commit landed before giving
    /// [`crate::ErrorKind::OutcomeUnknown`].
    pub outcome_deadline: Duration,
    /// Where commits take their time from.
    pub clock: Arc<dyn Clock>,
    /// Names this process in its commits.
    pub writer_id: Uuid,
    /// Take the database for this writer alone, and shut out all that write to it now.
    pub exclusive: bool,
    /// Look at the anchor after every commit and at every look for new ones, not only when this process
    /// may have stood still for half an hour. For machines whose clocks both stop while they sleep; costs
    /// one small read each time.
    pub always_check_anchor: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            read_only: false,
            create_if_missing: true,
            inline_limit_bytes: 1 << 20,
            flush_after_bytes: 16 << 20,
            flush_after_commits: 256,
            flush_after: Duration::from_secs(300),
            flush_aside_from_bytes: 2 << 20,
            request_timeout: Duration::from_secs(15),
            outcome_deadline: Duration::from_secs(30),
            clock: Arc::new(SystemClock),
            writer_id: Uuid::new_v4(),
            exclusive: false,
            always_check_anchor: false,
        }
    }
}

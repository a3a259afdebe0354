//! Where decoded events go: the database, or something that stands in for it in a test.

use crate::dead_letter::DeadLetters;
use crate::event::TailEvents;
use parquedb::Timestamp;
use std::future::Future;

/// What became of one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// The database's sequence number once the rows were in it.
    pub seq: u64,
    /// Whether the rows were there already, under the same batch id; nothing was written then.
    pub repeated: bool,
}

/// Takes decoded events, atomically with their dead letters.
pub trait Sink: Send + Sync + 'static {
    /// Commits rows and dead letters together, once per batch id.
    ///
    /// # Errors
    /// Those of a commit. When nothing else is said the rows are not stored.
    fn store(
        &self,
        events: Vec<TailEvents>,
        dead_letters: Vec<DeadLetters>,
        id: Option<String>,
    ) -> impl Future<Output = parquedb::Result<Stored>> + Send;

    /// Whether a batch of this id is stored.
    fn has(&self, id: &str) -> bool;

    /// The present moment, by the clock of the database.
    fn now(&self) -> Timestamp;
}

//! The database as the place where decoded events go.

use crate::dead_letter::DeadLetters;
use crate::event::TailEvents;
use crate::sink::{Sink, Stored};
use crate::views::TailDb;
use parquedb::Timestamp;

impl Sink for TailDb {
    async fn store(
        &self,
        events: Vec<TailEvents>,
        dead_letters: Vec<DeadLetters>,
        id: Option<String>,
    ) -> parquedb::Result<Stored> {
        let mut batch = self.batch();
        if !events.is_empty() {
            batch.insert(&self.tail_events, events)?;
        }
        if !dead_letters.is_empty() {
            batch.insert(&self.dead_letters, dead_letters)?;
        }
        if let Some(id) = id {
            batch.id(id);
        }
        let committed = batch.commit().await?;
        Ok(Stored { seq: committed.seq, repeated: committed.repeated })
    }

    fn has(&self, id: &str) -> bool {
        self.has_batch(id)
    }

    fn now(&self) -> Timestamp {
        // The connection's, not this function.
        parquedb::Database::connection(self).now()
    }
}

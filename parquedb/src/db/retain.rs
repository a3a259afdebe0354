//! What is kept of the past, and what is deleted.

use super::Connection;
use crate::commit::snapshot::Pin;
use crate::commit::{GarbageOptions, GarbageReport};
use crate::error::Result;
use std::collections::BTreeMap;
use std::time::Duration;

impl Connection {
    /// Deletes what no snapshot that is kept needs, and what interrupted writers left behind; or only tells
    /// what that would be. Safe beside readers and writers in other processes. Reads of snapshots older
    /// than the retention are [`crate::ErrorKind::NotFound`] afterwards.
    ///
    /// ```
    /// # use parquedb::{Connection, Database, GarbageOptions};
    /// # #[tokio::main] async fn main() -> parquedb::Result<()> {
    /// # let db = Connection::builder().open("memory:///").await?;
    /// let planned = db.collect_garbage(GarbageOptions { dry_run: true, ..Default::default() }).await?;
    /// println!("{} objects, {} bytes", planned.objects(), planned.bytes());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] for a retention of less than an hour,
    /// [`crate::ErrorKind::Unavailable`] when the store does not answer: run it again.
    pub async fn collect_garbage(&self, options: GarbageOptions) -> Result<GarbageReport> {
        self.0.log.collect_garbage(options).await
    }

    /// Keeps a snapshot, the newest or that after commit `seq`, from garbage collection for a time, under
    /// a name: for long reads, reports that must be repeatable, backups. A pin of the same name is
    /// replaced. Gives what is pinned.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] for a snapshot that does not exist or is not kept any more.
    pub async fn pin(&self, name: &str, seq: Option<u64>, lifetime: Duration) -> Result<Pin> {
        self.0.log.pin(name, seq, lifetime).await
    }

    /// Ends a pin. Gives whether there was one of this name.
    ///
    /// # Errors
    /// As a commit.
    pub async fn unpin(&self, name: &str) -> Result<bool> {
        self.0.log.unpin(name).await
    }

    /// The pins, by name, as far as this process knows. Those that have ended may still be listed.
    #[must_use]
    pub fn pins(&self) -> BTreeMap<String, Pin> {
        self.0.log.snapshot().pins.as_ref().clone()
    }

    /// The oldest commit whose snapshot can still be read, as far as this process knows.
    #[must_use]
    pub fn oldest_seq(&self) -> u64 {
        self.0.log.snapshot().floor
    }
}

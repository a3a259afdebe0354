//! Looking after a database: its history, whether it is sound, copies of it.
//!
//! What begins with a [`Store`] needs no database that opens: it also serves one that is damaged.

use super::{At, Connection};
use crate::commit;
use crate::commit::snapshot::{Snapshot, removed_schema, table_of_removed};
use crate::declare::definition::Definition;
use crate::error::Result;
use crate::evaluate::catalog::Catalog;
use crate::store::Store;
use arrow::datatypes::SchemaRef;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use crate::commit::backup::{CopyOptions, CopyReport, backup, restore};
pub use crate::commit::history::{
    ColumnInfo, CommitInfo, ExpiredInfo, FileInfo, History, InlineInfo, Member, MemberChange, PinInfo,
    SectionInfo, SequenceInfo, TableChange, TableContents,
};
pub use crate::commit::scrub::{Columns, Finding, FindingKind, ScrubOptions, ScrubReport};
pub use crate::commit::work::{Progress, Step, Watch};

/// For so long a backup keeps its snapshot, should it be interrupted.
const PIN_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Verifies a database from the first byte to the last: every commit and checkpoint, the chain of the
/// commits, that they together give what the checkpoints hold, and every data file of every snapshot that
/// can be read, with its size, checksum, rows and columns. Finds what is missing, damaged or
/// unreferenced, and goes on after each. Writes nothing, and may run while others write.
///
/// ```no_run
/// # use parquedb::{Store, admin};
/// # async fn run() -> parquedb::Result<()> {
/// let report = admin::scrub(&Store::open("./data")?, &admin::ScrubOptions::default()).await?;
/// for finding in &report.findings {
///     println!("{} {}: {}", finding.kind, finding.object, finding.message);
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`crate::ErrorKind::NotFound`] where there is no database at all, and the store's own errors when it
/// cannot be listed. What is wrong with the database is no error but in the report.
pub async fn scrub(store: &Store, options: &ScrubOptions) -> Result<ScrubReport> {
    let options = ScrubOptions { columns: stored_columns(), ..options.clone() };
    commit::scrub::scrub(store, &options).await
}

/// The columns of every table's runs, those of views included, by the definitions of each snapshot.
fn stored_columns() -> Columns {
    // Most commits have the definitions of the one before.
    let last: Mutex<Option<Arc<Catalog>>> = Mutex::new(None);
    let catalog = move |definitions: &Arc<BTreeMap<String, Definition>>| {
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        match last.as_ref().filter(|catalog| Arc::ptr_eq(catalog.definitions(), definitions)) {
            Some(catalog) => Some(Arc::clone(catalog)),
            None => {
                let catalog = Arc::new(Catalog::new(Arc::clone(definitions)).ok()?);
                *last = Some(Arc::clone(&catalog));
                Some(catalog)
            }
        }
    };
    Columns::new(move |snapshot: &Snapshot, table: &str| -> Option<SchemaRef> {
        let catalog = catalog(&snapshot.definitions)?;
        if let Some(table) = table_of_removed(table) {
            // A view may have been declared anew since.
            let Definition::Collection(_) = catalog.get(table).ok()? else { return None };
            return Some(removed_schema(catalog.stored_schema(table).ok()?));
        }
        // A view that was declared anew has runs of its old definition until it is built.
        if let Definition::View(_) = catalog.get(table).ok()?
            && snapshot.cursors.get(table)?.definition != catalog.hash(table).ok()?
        {
            return None;
        }
        catalog.stored_schema(table).ok().cloned()
    })
}

impl Connection {
    /// The database's commits.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Unavailable`] when the store does not answer.
    pub async fn history(&self) -> Result<History> {
        History::open(self.0.log.store()).await
    }

    /// The tables with their files, in the newest snapshot or a past one.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] when there is no such commit or it cannot be read any more, and the
    /// store's own errors.
    pub async fn contents(&self, at: impl Into<At>) -> Result<Vec<TableContents>> {
        Ok(commit::history::contents(self.snapshot_at(at.into()).await?.as_ref()))
    }

    /// The number of the newest snapshot or a past one.
    ///
    /// # Errors
    /// As [`Connection::contents`].
    pub async fn seq_at(&self, at: impl Into<At>) -> Result<u64> {
        Ok(self.snapshot_at(at.into()).await?.seq)
    }

    /// As [`scrub`].
    ///
    /// # Errors
    /// As [`scrub`].
    pub async fn scrub(&self, options: &ScrubOptions) -> Result<ScrubReport> {
        scrub(self.0.log.store(), options).await
    }

    /// As [`backup()`], of this database. Unless it was opened for reading only, a pin keeps the snapshot
    /// from garbage collection meanwhile, which costs two commits.
    ///
    /// # Errors
    /// As [`backup()`], and those of [`Connection::pin`].
    pub async fn backup(&self, target: &Store, options: &CopyOptions) -> Result<CopyReport> {
        let (log, store) = (&self.0.log, self.0.log.store());
        if self.0.read_only {
            return backup(store, target, options).await;
        }
        let name = format!("backup-{}", uuid::Uuid::new_v4());
        let pin = log.pin(&name, options.at, PIN_LIFE).await?;
        let options = CopyOptions { at: Some(pin.seq), ..options.clone() };
        let copied = backup(store, target, &options).await;
        if let Err(error) = log.unpin(&name).await {
            tracing::warn!(url = store.url(), name, %error, "a backup's pin stays until it expires");
        }
        copied
    }
}

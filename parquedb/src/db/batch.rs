//! A batch: rows of any number of collections that become visible in one commit.

use super::Connection;
use super::handle::Collection;
use super::queue::BatchName;
use crate::commit::Sequence;
use crate::declare::declared::CollectionRecord;
use crate::error::{Error, Result};
use arrow::record_batch::RecordBatch;
use std::collections::BTreeMap;

/// Rows to be written in one commit. Nothing is written before [`Batch::commit`].
#[derive(Debug)]
#[must_use = "a batch writes nothing until it is committed"]
pub struct Batch {
    connection: Connection,
    rows: BTreeMap<String, Vec<RecordBatch>>,
    name: BatchName,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// The newest commit known that contains it. Other batches may be in the same commit.
    pub seq: u64,
    /// A batch of the same id or number was committed before; nothing was written now.
    pub repeated: bool,
}

impl Batch {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection, rows: BTreeMap::new(), name: BatchName::default() }
    }

    /// Adds rows of a collection.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] when a row does not fit its columns; the batch is as before.
    pub fn insert<T: CollectionRecord>(
        &mut self,
        collection: &Collection<T>,
        rows: impl AsRef<[T]>,
    ) -> Result<&mut Self> {
        let rows = rows.as_ref();
        if !rows.is_empty() {
            let batch =
                T::to_batch(rows).map_err(|error| error.context(format!("`{}`", collection.name())))?;
            self.insert_batch(collection, batch)?;
        }
        Ok(self)
    }

    /// Adds rows of a collection that are in Arrow form already, with the collection's columns.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] when the columns differ from the collection's.
    pub fn insert_batch<T: CollectionRecord>(
        &mut self,
        collection: &Collection<T>,
        batch: RecordBatch,
    ) -> Result<&mut Self> {
        collection.check_writable()?;
        let batch = crate::evaluate::view::conform_by_name(&batch, &T::schema(), collection.name())?;
        if batch.num_rows() > 0 {
            self.rows.entry(collection.name().to_owned()).or_default().push(batch);
        }
        Ok(self)
    }

    /// Names the batch. A batch whose id was committed within seven days is acknowledged again and
    /// changes nothing, in whatever process and after whatever crash.
    pub fn id(&mut self, id: impl Into<String>) -> &mut Self {
        self.name.id = Some(id.into());
        self
    }

    /// Gives the batch its place in the sequence of a producer, such as a process, a queue's partition or
    /// a file that is read. A batch whose number was committed is acknowledged again and changes nothing,
    /// in whatever process and after whatever crash, until seven days after the producer's last commit.
    ///
    /// Numbers should have no gaps: then a producer costs a few bytes however many batches it writes,
    /// where [`Batch::id`] costs an entry for each. They may come in any order, with up to 64 gaps.
    /// [`Connection::last_sequence`] tells where to go on after a restart.
    ///
    /// ```
    /// # use parquedb::{Collection, database};
    /// # #[derive(Collection, Clone)] pub struct Visit { pub page: String }
    /// # database! { pub struct Site { Visit } }
    /// # #[tokio::main] async fn main() -> parquedb::Result<()> {
    /// # let db = Site::open("memory:///").await?;
    /// let next = db.last_sequence("edge-7").map_or(1, |last| last + 1);
    /// let mut batch = db.batch();
    /// batch.insert(&db.visit, [Visit { page: "/".into() }])?.sequence("edge-7", next);
    /// assert!(!batch.commit().await?.repeated);
    /// // The answer was lost, and it is sent again.
    /// let again = db.visit.insert_numbered("edge-7", next, [Visit { page: "/".into() }]).await?;
    /// assert!(again.repeated);
    /// # Ok(()) }
    /// ```
    pub fn sequence(&mut self, producer: impl Into<String>, number: u64) -> &mut Self {
        self.name.sequence = Some(Sequence { producer: producer.into(), number });
        self
    }

    /// Writes the batch, durably. Batches that are committed at the same time share a commit.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] when a view cannot be computed over the rows,
    /// [`crate::ErrorKind::Unavailable`] when the store does not answer: nothing was written.
    /// [`crate::ErrorKind::OutcomeUnknown`] when it may or may not have been.
    pub async fn commit(self) -> Result<Written> {
        let Self { connection, rows, name } = self;
        if connection.0.read_only {
            return Err(Error::invalid("the database was opened for reading only"));
        }
        if rows.is_empty() && name == BatchName::default() {
            return Ok(Written { seq: connection.seq(), repeated: false });
        }
        connection.write(rows, name).await
    }
}

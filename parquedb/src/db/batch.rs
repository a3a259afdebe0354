//! A batch: rows of any number of collections that become visible in one commit.

use super::Connection;
use super::handle::Collection;
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
    id: Option<String>,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// The newest commit known that contains it. Other batches may be in the same commit.
    pub seq: u64,
    /// A batch of the same id was committed before; nothing was written now.
    pub repeated: bool,
}

impl Batch {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection, rows: BTreeMap::new(), id: None }
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
        self.id = Some(id.into());
        self
    }

    /// Writes the batch, durably. Batches that are committed at the same time share a commit.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] when a view cannot be computed over the rows,
    /// [`crate::ErrorKind::Unavailable`] when the store does not answer: nothing was written.
    /// [`crate::ErrorKind::OutcomeUnknown`] when it may or may not have been.
    pub async fn commit(self) -> Result<Written> {
        let Self { connection, rows, id } = self;
        if connection.0.read_only {
            return Err(Error::invalid("the database was opened for reading only"));
        }
        if rows.is_empty() && id.is_none() {
            return Ok(Written { seq: connection.seq(), repeated: false });
        }
        connection.write(rows, id).await
    }
}

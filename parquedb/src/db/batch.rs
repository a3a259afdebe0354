//! A batch: rows of any number of collections that become visible in one commit.

use super::Connection;
use super::handle::Collection;
use super::queue::BatchName;
use crate::commit::Sequence;
use crate::declare::assignment::Assignments;
use crate::declare::declared::CollectionRecord;
use crate::declare::node::Node;
use crate::declare::operand::Predicate;
use crate::declare::shape::NotNull;
use crate::error::{Error, Result};
use crate::maintain::keyed::Operation;
use arrow::record_batch::RecordBatch;
use std::collections::BTreeMap;

/// Changes to be written in one commit. Nothing is written before [`Batch::commit`].
///
/// The changes of a collection are made in the order in which they were added.
#[derive(Debug)]
#[must_use = "a batch writes nothing until it is committed"]
pub struct Batch {
    connection: Connection,
    operations: BTreeMap<String, Vec<Operation>>,
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
        Self { connection, operations: BTreeMap::new(), name: BatchName::default() }
    }

    /// Adds rows to a collection. Where it has a key, none of them may be there yet: otherwise the commit is
    /// [`crate::ErrorKind::Invalid`], and nothing is written.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] when a row does not fit its columns; the batch is as before.
    pub fn insert<T: CollectionRecord>(
        &mut self,
        collection: &Collection<T>,
        rows: impl AsRef<[T]>,
    ) -> Result<&mut Self> {
        match encoded(collection, rows.as_ref())? {
            Some(batch) => self.insert_batch(collection, batch),
            None => Ok(self),
        }
    }

    /// Adds rows to a collection that are in Arrow form already, with the collection's columns.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] when the columns differ from the collection's.
    pub fn insert_batch<T: CollectionRecord>(
        &mut self,
        collection: &Collection<T>,
        batch: RecordBatch,
    ) -> Result<&mut Self> {
        let batch = crate::evaluate::view::conform_by_name(&batch, &T::schema(), collection.name())?;
        if batch.num_rows() > 0 {
            self.push(collection.name(), Operation::Insert(batch));
        }
        Ok(self)
    }

    /// Puts rows into a collection with a key, in the place of those with their keys. Where the collection has
    /// a version, a row changes nothing when the one in its place has a higher version, whatever the order in
    /// which they come.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] when a row does not fit its columns, or the collection has no key; the
    /// batch is as before.
    pub fn upsert<T: CollectionRecord>(
        &mut self,
        collection: &Collection<T>,
        rows: impl AsRef<[T]>,
    ) -> Result<&mut Self> {
        match encoded(collection, rows.as_ref())? {
            Some(batch) => self.upsert_batch(collection, batch),
            None => Ok(self),
        }
    }

    /// The same with rows in Arrow form, which have the collection's columns.
    ///
    /// # Errors
    /// As [`Batch::upsert`].
    pub fn upsert_batch<T: CollectionRecord>(
        &mut self,
        collection: &Collection<T>,
        batch: RecordBatch,
    ) -> Result<&mut Self> {
        collection.check_keyed("upsert")?;
        let batch = crate::evaluate::view::conform_by_name(&batch, &T::schema(), collection.name())?;
        if batch.num_rows() > 0 {
            self.push(collection.name(), Operation::Upsert(batch));
        }
        Ok(self)
    }

    /// Sets columns of the rows for which a condition holds. Each assignment sees a row as it was before. The
    /// columns of the key stay as they are.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] when the collection has no key; the batch is as before.
    pub fn update<T: CollectionRecord, P: Predicate, A: Assignments>(
        &mut self,
        collection: &Collection<T>,
        condition: impl FnOnce(T::Handles<NotNull>) -> P,
        assignments: impl FnOnce(T::Handles<NotNull>) -> A,
    ) -> Result<&mut Self> {
        collection.check_keyed("update")?;
        let condition = condition(T::handles(Node::Row)).node();
        let assignments = assignments(T::handles(Node::Row)).list();
        self.push(collection.name(), Operation::Update(condition, assignments));
        Ok(self)
    }

    /// Deletes the rows for which a condition holds.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] when the collection has no key; the batch is as before.
    pub fn delete<T: CollectionRecord, P: Predicate>(
        &mut self,
        collection: &Collection<T>,
        condition: impl FnOnce(T::Handles<NotNull>) -> P,
    ) -> Result<&mut Self> {
        collection.check_keyed("delete")?;
        let condition = condition(T::handles(Node::Row)).node();
        self.push(collection.name(), Operation::DeleteWhere(condition));
        Ok(self)
    }

    /// Deletes the rows that have the keys of these, whatever their other columns say. Keys that are not there
    /// change nothing.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] when a row does not fit its columns, or the collection has no key; the
    /// batch is as before.
    pub fn delete_rows<T: CollectionRecord>(
        &mut self,
        collection: &Collection<T>,
        rows: impl AsRef<[T]>,
    ) -> Result<&mut Self> {
        collection.check_keyed("delete")?;
        if let Some(batch) = encoded(collection, rows.as_ref())? {
            self.push(collection.name(), Operation::Delete(batch));
        }
        Ok(self)
    }

    pub(super) fn push(&mut self, collection: &str, operation: Operation) {
        self.operations.entry(collection.to_owned()).or_default().push(operation);
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
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
    /// [`crate::ErrorKind::Invalid`] when a view cannot be computed over the rows, or a row that is inserted is
    /// there already,
    /// [`crate::ErrorKind::Unavailable`] when the store does not answer: nothing was written.
    /// [`crate::ErrorKind::OutcomeUnknown`] when it may or may not have been.
    pub async fn commit(self) -> Result<Written> {
        let Self { connection, operations, name } = self;
        if connection.0.read_only {
            return Err(Error::invalid("the database was opened for reading only"));
        }
        if operations.is_empty() && name == BatchName::default() {
            return Ok(Written { seq: connection.seq(), repeated: false });
        }
        connection.write(operations, name).await
    }
}

fn encoded<T: CollectionRecord>(collection: &Collection<T>, rows: &[T]) -> Result<Option<RecordBatch>> {
    if rows.is_empty() {
        return Ok(None);
    }
    T::to_batch(rows).map(Some).map_err(|error| error.context(format!("`{}`", collection.name())))
}

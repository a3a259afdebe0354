//! Writing to collections and reading members by their names, with rows in Arrow form: for tools, which learn
//! what a database consists of only at run time.

use super::{At, Batch, Connection};
use crate::declare::assignment::Assignment;
use crate::declare::definition::{CollectionDefinition, Definition};
use crate::declare::node::Node;
use crate::error::{Error, Result};
use crate::evaluate::view::conform_by_name;
use crate::maintain::keyed::Operation;
use crate::query::Find;
use arrow::record_batch::RecordBatch;
use std::sync::Arc;

impl Batch {
    /// As [`Batch::insert_batch`], for the collection of this name.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] when the columns differ from the collection's, and
    /// [`crate::ErrorKind::NotFound`] when there is no such collection; the batch is as before.
    pub fn insert_into(&mut self, collection: &str, rows: RecordBatch) -> Result<&mut Self> {
        let definition = self.connection().collection(collection)?;
        let rows = conform_by_name(&rows, &definition.schema, collection)?;
        Ok(self.push_rows(collection, rows, Operation::Insert))
    }

    /// As [`Batch::upsert_batch`], for the collection of this name.
    ///
    /// # Errors
    /// As [`Batch::insert_into`], and when the collection has no key.
    pub fn upsert_into(&mut self, collection: &str, rows: RecordBatch) -> Result<&mut Self> {
        let definition = self.connection().keyed_collection(collection, "upsert")?;
        let rows = conform_by_name(&rows, &definition.schema, collection)?;
        Ok(self.push_rows(collection, rows, Operation::Upsert))
    }

    /// Deletes the rows that have these keys from the collection of this name. The batch has the key's columns;
    /// others do not matter. Keys that are not there change nothing.
    ///
    /// # Errors
    /// As [`Batch::upsert_into`].
    pub fn delete_from(&mut self, collection: &str, keys: RecordBatch) -> Result<&mut Self> {
        let CollectionDefinition { schema, key, .. } =
            self.connection().keyed_collection(collection, "delete")?;
        let columns = key.iter().map(|name| schema.index_of(name)).collect::<Result<Vec<_>, _>>()?;
        let schema = Arc::new(schema.project(&columns)?);
        let present = key.iter().filter_map(|name| keys.schema_ref().index_of(name).ok());
        let keys = keys.project(&present.collect::<Vec<_>>())?;
        let keys = conform_by_name(&keys, &schema, collection)?;
        Ok(self.push_rows(collection, keys, Operation::Delete))
    }

    /// As [`Batch::update`], for the collection of this name.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] when the collection has no key, and [`crate::ErrorKind::NotFound`] when
    /// there is no such collection; the batch is as before.
    pub fn update_where(
        &mut self,
        collection: &str,
        condition: Node,
        assignments: Vec<Assignment>,
    ) -> Result<&mut Self> {
        self.connection().keyed_collection(collection, "update")?;
        self.push(collection, Operation::Update(condition, assignments));
        Ok(self)
    }

    /// As [`Batch::delete`], for the collection of this name.
    ///
    /// # Errors
    /// As [`Batch::update_where`].
    pub fn delete_where(&mut self, collection: &str, condition: Node) -> Result<&mut Self> {
        self.connection().keyed_collection(collection, "delete")?;
        self.push(collection, Operation::DeleteWhere(condition));
        Ok(self)
    }

    fn push_rows(
        &mut self,
        collection: &str,
        rows: RecordBatch,
        operation: fn(RecordBatch) -> Operation,
    ) -> &mut Self {
        if rows.num_rows() > 0 {
            self.push(collection, operation(rows));
        }
        self
    }
}

impl Connection {
    /// The rows of the collection or view of this name.
    ///
    /// ```
    /// # use parquedb::{Collection, database};
    /// # #[derive(Collection, Clone)] pub struct Visit { pub page: String }
    /// # database! { pub struct Site { Visit } }
    /// # #[tokio::main] async fn main() -> parquedb::Result<()> {
    /// # let db = Site::open("memory:///").await?;
    /// db.visit.insert(Visit { page: "/".into() }).await?;
    /// let batches = db.rows("Visit").fresh().batches().await?;
    /// assert_eq!(batches[0].num_rows(), 1);
    /// # Ok(()) }
    /// ```
    pub fn rows(&self, member: &str) -> Rows {
        Rows(Find::new(self.clone(), member.to_owned()))
    }

    fn collection(&self, name: &str) -> Result<CollectionDefinition> {
        match self.current_maintainer().catalog.get(name)? {
            Definition::Collection(collection) => Ok(collection.clone()),
            Definition::View(_) => {
                Err(Error::invalid(format!("`{name}` is a view: write to what it is computed from")))
            }
        }
    }

    fn keyed_collection(&self, name: &str, operation: &str) -> Result<CollectionDefinition> {
        let collection = self.collection(name)?;
        if collection.key.is_empty() {
            return Err(without_key(name, operation));
        }
        Ok(collection)
    }
}

/// The error of an operation that needs a key.
pub(super) fn without_key(collection: &str, operation: &str) -> Error {
    Error::invalid(format!(
        "`{collection}` has no key, and rows without a key can only be inserted: to {operation} them, name their \
         key, as in `#[collection(key = id)]`"
    ))
}

/// A query for the rows of a member by its name: end it with [`Rows::batches`] or [`Rows::count`].
#[derive(Debug)]
#[must_use = "a query does nothing until it is awaited"]
pub struct Rows(Find<()>);

impl Rows {
    /// Those for which a condition holds.
    pub fn matching(self, condition: Node) -> Self {
        Self(self.0.matching(condition))
    }

    /// Reads another snapshot than the newest: after a commit, or as it was at a [`crate::Timestamp`].
    pub fn at(self, at: impl Into<At>) -> Self {
        match at.into() {
            At::Newest => self,
            At::Seq(seq) => Self(self.0.at(seq)),
            At::Time(time) => Self(self.0.as_of(time)),
        }
    }

    /// As [`Find::fresh`].
    pub fn fresh(self) -> Self {
        Self(self.0.fresh())
    }

    /// The rows as Arrow batches.
    ///
    /// # Errors
    /// As awaiting a [`Find`], and [`crate::ErrorKind::NotFound`] when there is no such member.
    pub async fn batches(self) -> Result<Vec<RecordBatch>> {
        self.0.batches().await
    }

    /// The number of rows.
    ///
    /// # Errors
    /// As [`Rows::batches`].
    pub async fn count(self) -> Result<u64> {
        self.0.count().await
    }
}

//! Typed handles of collections and views.

use super::Connection;
use super::batch::Written;
use crate::declare::declared::{CollectionRecord, Declared};
use crate::declare::definition::Definition;
use crate::declare::node::Node;
use crate::declare::operand::Predicate;
use crate::declare::shape::NotNull;
use crate::declare::view::ViewRecord;
use crate::error::{Error, Result};
use crate::query::Find;
use arrow::record_batch::RecordBatch;
use std::marker::PhantomData;
use std::sync::Arc;

/// A collection: rows the program writes.
#[derive(Debug)]
pub struct Collection<T> {
    connection: Connection,
    name: Arc<str>,
    keyed: bool,
    row: PhantomData<fn() -> T>,
}

/// A view: rows computed from a source. It has no way to write to it.
#[derive(Debug)]
pub struct View<T> {
    connection: Connection,
    name: Arc<str>,
    row: PhantomData<fn() -> T>,
}

impl<T> Clone for Collection<T> {
    fn clone(&self) -> Self {
        Self {
            connection: self.connection.clone(),
            name: Arc::clone(&self.name),
            keyed: self.keyed,
            row: PhantomData,
        }
    }
}

impl<T> Clone for View<T> {
    fn clone(&self) -> Self {
        Self { connection: self.connection.clone(), name: Arc::clone(&self.name), row: PhantomData }
    }
}

macro_rules! reading {
    () => {
        /// Its name, which is the Rust struct's.
        #[must_use]
        pub fn name(&self) -> &str {
            &self.name
        }

        /// The rows for which a condition holds: `.find(|row| row.status.ge(500))`. Await the query,
        /// or refine it first.
        pub fn find<P: Predicate>(&self, condition: impl FnOnce(T::Handles<NotNull>) -> P) -> Find<T> {
            self.all().matching(condition(T::handles(Node::Row)).node())
        }

        /// All rows.
        pub fn all(&self) -> Find<T> {
            Find::new(self.connection.clone(), self.name.to_string())
        }
    };
}

impl<T: CollectionRecord> Collection<T> {
    /// The handle over an open connection.
    #[must_use]
    pub fn attach(connection: &Connection) -> Self {
        let definition = T::definition();
        let keyed = matches!(&definition, Definition::Collection(collection) if !collection.key.is_empty());
        Self { connection: connection.clone(), name: definition.name().into(), keyed, row: PhantomData }
    }

    reading!();

    /// Writes one row and everything streaming views make of it, in one commit.
    ///
    /// # Errors
    /// As [`crate::Batch::commit`].
    pub async fn insert(&self, row: T) -> Result<Written> {
        self.insert_many(vec![row]).await
    }

    /// Writes rows and everything streaming views make of them, in one commit.
    ///
    /// # Errors
    /// As [`crate::Batch::commit`].
    pub async fn insert_many(&self, rows: impl AsRef<[T]>) -> Result<Written> {
        let mut batch = self.connection.batch();
        batch.insert(self, rows)?;
        batch.commit().await
    }

    /// The same, once for each number of a producer: see [`crate::Batch::sequence`].
    ///
    /// # Errors
    /// As [`crate::Batch::commit`].
    pub async fn insert_numbered(
        &self,
        producer: &str,
        number: u64,
        rows: impl AsRef<[T]>,
    ) -> Result<Written> {
        let mut batch = self.connection.batch();
        batch.insert(self, rows)?.sequence(producer, number);
        batch.commit().await
    }

    /// The same with rows in Arrow form, which have the collection's columns.
    ///
    /// # Errors
    /// As [`crate::Batch::commit`].
    pub async fn insert_batch(&self, rows: RecordBatch) -> Result<Written> {
        let mut batch = self.connection.batch();
        batch.insert_batch(self, rows)?;
        batch.commit().await
    }

    /// Keyed rows need their key looked up, which is not built: to append them unchecked would give
    /// two rows of one key.
    pub(super) fn check_writable(&self) -> Result<()> {
        if self.keyed {
            return Err(Error::invalid(format!(
                "`{}` has a key, and keyed collections cannot be written yet: remove `key` to append rows",
                self.name
            )));
        }
        Ok(())
    }
}

impl<T: ViewRecord + Declared> View<T> {
    /// The handle over an open connection.
    #[must_use]
    pub fn attach(connection: &Connection) -> Self {
        Self { connection: connection.clone(), name: T::definition().name().into(), row: PhantomData }
    }

    reading!();

    /// Brings the view to the present: absorbs what its source got, or builds it anew where it is
    /// invalid. Sources that are not up to date are refreshed first. Gives whether anything changed.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] when a value cannot be computed, [`crate::ErrorKind::Unavailable`]
    /// when the store does not answer: the view is as before.
    pub async fn refresh(&self) -> Result<bool> {
        self.connection.refresh(&self.name).await
    }
}

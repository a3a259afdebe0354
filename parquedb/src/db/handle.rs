//! Typed handles of collections and views.

use super::Connection;
use super::batch::Written;
use super::named::without_key;
use crate::declare::assignment::Assignments;
use crate::declare::declared::{CollectionRecord, Declared};
use crate::declare::definition::Definition;
use crate::declare::node::Node;
use crate::declare::operand::Predicate;
use crate::declare::shape::NotNull;
use crate::declare::view::ViewRecord;
use crate::error::Result;
use crate::maintain::{Explanation, Verification};
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

    /// Puts a row into the collection, in the place of the one with its key: see [`crate::Batch::upsert`].
    ///
    /// # Errors
    /// As [`crate::Batch::commit`].
    pub async fn upsert(&self, row: T) -> Result<Written> {
        self.upsert_many(vec![row]).await
    }

    /// Puts rows into the collection, in the place of those with their keys: see [`crate::Batch::upsert`].
    ///
    /// # Errors
    /// As [`crate::Batch::commit`].
    pub async fn upsert_many(&self, rows: impl AsRef<[T]>) -> Result<Written> {
        let mut batch = self.connection.batch();
        batch.upsert(self, rows)?;
        batch.commit().await
    }

    /// Sets columns of the rows for which a condition holds, in one commit with what that makes of the views.
    ///
    /// ```
    /// # use parquedb::{Collection, database};
    /// #[derive(Collection, Clone)]
    /// #[collection(key = id)]
    /// pub struct Order {
    ///     pub id: i64,
    ///     pub status: String,
    ///     pub parcels: i64,
    /// }
    /// # database! { pub struct Shop { Order } }
    /// # #[tokio::main] async fn main() -> parquedb::Result<()> {
    /// # let db = Shop::open("memory:///").await?;
    /// db.order.insert(Order { id: 7, status: "paid".into(), parcels: 1 }).await?;
    /// db.order.update(|row| row.id.eq(7), |row| [row.status.set("sent"), row.parcels.add(1)]).await?;
    /// let sent = db.order.find(|row| row.status.eq("sent")).first().await?;
    /// assert_eq!(sent.map(|order| order.parcels), Some(2));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`crate::Batch::update`] and [`crate::Batch::commit`].
    pub async fn update<P: Predicate, A: Assignments>(
        &self,
        condition: impl FnOnce(T::Handles<NotNull>) -> P,
        assignments: impl FnOnce(T::Handles<NotNull>) -> A,
    ) -> Result<Written> {
        let mut batch = self.connection.batch();
        batch.update(self, condition, assignments)?;
        batch.commit().await
    }

    /// Deletes the rows for which a condition holds, in one commit with what that makes of the views.
    ///
    /// # Errors
    /// As [`crate::Batch::delete`] and [`crate::Batch::commit`].
    pub async fn delete<P: Predicate>(
        &self,
        condition: impl FnOnce(T::Handles<NotNull>) -> P,
    ) -> Result<Written> {
        let mut batch = self.connection.batch();
        batch.delete(self, condition)?;
        batch.commit().await
    }

    pub(super) fn check_keyed(&self, operation: &str) -> Result<()> {
        if self.keyed {
            return Ok(());
        }
        Err(without_key(&self.name, operation))
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

    /// Builds the view anew from all rows of its sources, whatever it holds, and then the streaming views over
    /// it. Only a view that [`View::verify`] found wrong needs it: a refresh builds an invalid one by itself.
    ///
    /// # Errors
    /// As [`View::refresh`], and [`crate::ErrorKind::Invalid`] when rows that the view has counted have expired.
    pub async fn rebuild(&self) -> Result<()> {
        self.connection.rebuild(&self.name).await
    }

    /// Builds the view anew from the rows that are left: what it has counted of rows that have expired since is given
    /// up.
    ///
    /// # Errors
    /// As [`View::refresh`].
    pub async fn rebuild_from_remaining(&self) -> Result<()> {
        self.connection.rebuild_from_remaining(&self.name).await
    }

    /// Says how the view is kept: what it stores, what each kind of change costs and why, and by which plans.
    /// Printed, it is a text for people.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] when the database does not have the view any more.
    pub async fn explain(&self) -> Result<Explanation> {
        self.connection.explain(&self.name).await
    }

    /// Computes the whole view again from its sources, as they were when it last absorbed them, and compares
    /// it with what it holds. Nothing is written. Both are in memory at once; [`View::verify_sample`] takes
    /// less.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidView`] for a view that must be rebuilt first, and as reading it.
    pub async fn verify(&self) -> Result<Verification> {
        self.connection.verify(&self.name, None).await
    }

    /// The same for about so many of the view's groups, chosen by chance. Groups that are missing
    /// altogether are not found so. Of a view that does not group, everything is compared.
    ///
    /// # Errors
    /// As [`View::verify`].
    pub async fn verify_sample(&self, groups: usize) -> Result<Verification> {
        self.connection.verify(&self.name, Some(groups)).await
    }
}

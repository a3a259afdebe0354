//! The database as a program holds it: opening, handles, writing, refreshing, reading.

pub mod admin;
mod batch;
mod builder;
mod compact;
mod expire;
#[cfg(test)]
mod group_tests;
mod handle;
mod ledger;
mod linger;
mod maintenance;
pub mod metrics;
mod named;
mod prometheus;
mod queue;
mod retain;
mod status;
mod upkeep;
mod writer;

pub use crate::maintain::freshness::Freshness;
pub use batch::{Batch, Written};
pub use builder::Builder;
pub use expire::{ExpiredRows, ExpiryReport};
pub use handle::{Collection, View};
pub use ledger::{Ledger, LedgerEntry, LedgerPart};
pub use maintenance::MaintenanceLoop;
pub use named::Rows;
pub use queue::{GroupCommit, QueueDepth};
pub use status::{Lag, ViewStatus};
pub use upkeep::{Maintained, MaintenanceOptions};

use crate::clock::Clock;
use crate::commit::Log;
use crate::commit::snapshot::Snapshot;
use crate::declare::declared::Declared;
use crate::declare::definition::Definition;
use crate::error::{Error, ErrorKind, Result};
use crate::evaluate::catalog::Catalog;
use crate::evaluate::session::session;
use crate::maintain::expire::LeastTimes;
use crate::maintain::freshness::freshness;
use crate::maintain::locate::LocateCache;
use crate::maintain::streaming::Maintainer;
use crate::query;
use crate::store::Requests;
use crate::types::Timestamp;
use datafusion::dataframe::DataFrame;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use metrics::Stats;
use queue::Queue;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// A database type: what `database!` declares.
pub trait Database: Sized {
    /// The declared members.
    fn definitions() -> Vec<Definition>;
    /// The typed handles over an open connection.
    fn attach(connection: Connection) -> Self;
    /// The connection behind the handles.
    fn connection(&self) -> &Connection;
    /// How to open it.
    fn builder() -> Builder<Self> {
        Builder::new()
    }
}

/// A database as it is stored, without declarations of the program's own: for tools that look at any
/// database. Its views are maintained all the same.
///
/// ```no_run
/// # use parquedb::{Connection, Database};
/// # async fn run() -> parquedb::Result<()> {
/// let db = Connection::builder().read_only().open("./data").await?;
/// for view in db.status().await? {
///     println!("{} {:?}", view.name, view.freshness);
/// }
/// # Ok(()) }
/// ```
impl Database for Connection {
    fn definitions() -> Vec<Definition> {
        Vec::new()
    }

    fn attach(connection: Connection) -> Self {
        connection
    }

    fn connection(&self) -> &Connection {
        self
    }
}

/// A collection or view as a member of a database. Implemented by the macros.
pub trait Member: Declared {
    /// Its typed handle.
    type Handle;
    /// The handle over an open connection.
    fn attach(connection: &Connection) -> Self::Handle;
}

/// Which snapshot to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum At {
    /// The newest this process knows. A database that was opened only for reading looks for a newer one
    /// first.
    #[default]
    Newest,
    /// The one that ends with a commit.
    Seq(u64),
    /// The last one that was there at a time.
    Time(Timestamp),
}

impl From<u64> for At {
    fn from(seq: u64) -> Self {
        At::Seq(seq)
    }
}

impl From<Timestamp> for At {
    fn from(time: Timestamp) -> Self {
        At::Time(time)
    }
}

/// An open database without the types of its rows. Cheap to clone; every database type derefs to it.
#[derive(Clone)]
pub struct Connection(Arc<Shared>);

struct Shared {
    log: Log,
    clock: Arc<dyn Clock>,
    read_only: bool,
    session: SessionContext,
    /// For the definitions it was made from, which another process may change.
    maintainer: RwLock<Arc<Maintainer>>,
    /// The tables of the snapshot that was queried last.
    tables: Mutex<Option<query::sql::Tables>>,
    queue: Queue,
    stats: Stats,
    /// Held by whoever computes and makes a commit.
    writing: tokio::sync::Mutex<()>,
    /// Where rows are, by their values.
    located: LocateCache,
    /// What files have left to expire.
    least_times: LeastTimes,
    failures: Mutex<BTreeMap<String, maintenance::Failure>>,
    maintenance: MaintenanceOptions,
    /// When this process last collected garbage, in microseconds since 1970.
    collected: Mutex<Option<i64>>,
    /// When this process last took rows out that had expired.
    expired: Mutex<Option<i64>>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("url", &self.0.log.store().url())
            .field("seq", &self.0.log.snapshot().seq)
            .finish_non_exhaustive()
    }
}

impl Connection {
    async fn new(
        log: Log,
        definitions: Arc<BTreeMap<String, Definition>>,
        maintenance: MaintenanceOptions,
        group_commit: GroupCommit,
    ) -> Result<Self> {
        let maintainer = Maintainer::new(Catalog::new(definitions)?).await?;
        let clock = Arc::clone(&log.options().clock);
        let partitions = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self(Arc::new(Shared {
            session: session(log.store().object_store(), partitions)?,
            read_only: log.options().read_only,
            log,
            clock,
            maintainer: RwLock::new(Arc::new(maintainer)),
            tables: Mutex::default(),
            queue: Queue::new(group_commit),
            stats: Stats::new()?,
            writing: tokio::sync::Mutex::new(()),
            located: LocateCache::default(),
            least_times: LeastTimes::default(),
            failures: Mutex::new(BTreeMap::new()),
            maintenance,
            collected: Mutex::new(None),
            expired: Mutex::new(None),
        })))
    }

    /// Starts an atomic write of rows of any number of collections.
    pub fn batch(&self) -> Batch {
        Batch::new(self.clone())
    }

    /// Plans a SQL query over the newest snapshot. Collections and views are tables, named like their
    /// handles (`tail_events`); columns are named like the Rust fields. Nulls follow SQL here. Only
    /// queries are accepted.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a query that does not parse or names what does not exist.
    pub async fn sql(&self, query: &str) -> Result<DataFrame> {
        self.sql_at(query, At::Newest).await
    }

    /// Plans a SQL query over a past snapshot: `db.sql_at("SELECT …", 1700)` after commit 1700,
    /// `db.sql_at("SELECT …", time)` as it was at a [`Timestamp`].
    ///
    /// # Errors
    /// As [`Connection::sql`], and [`ErrorKind::NotFound`] when there is no such snapshot any more.
    pub async fn sql_at(&self, query: &str, at: impl Into<At>) -> Result<DataFrame> {
        let snapshot = self.snapshot_at(at.into()).await?;
        query::sql::sql(self, &snapshot, query).await
    }

    /// The last commit this process knows.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.0.log.snapshot().seq
    }

    /// Reads the commits that other processes made since. Gives the last commit's number.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the store does not answer, [`ErrorKind::Corrupt`] when what it
    /// gives is not what was written.
    pub async fn catch_up(&self) -> Result<u64> {
        Ok(self.0.log.catch_up().await?.seq)
    }

    /// Whether a batch of this id was committed within the last seven days.
    #[must_use]
    pub fn has_batch(&self, id: &str) -> bool {
        self.0.log.has_batch(id)
    }

    /// Whether a producer's batch of this number was committed: see [`Batch::sequence`].
    #[must_use]
    pub fn has_sequence(&self, producer: &str, number: u64) -> bool {
        self.0.log.has_sequence(producer, number)
    }

    /// The highest number that a producer has committed, as far as this process knows; nothing for one
    /// that has committed nothing for seven days.
    #[must_use]
    pub fn last_sequence(&self, producer: &str) -> Option<u64> {
        self.0.log.last_sequence(producer)
    }

    /// Moves the rows that still live inside commits to Parquet files, and writes a checkpoint. Happens
    /// by itself when there is enough of them.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the store does not answer; nothing is lost.
    pub async fn flush(&self) -> Result<()> {
        self.0.log.flush().await
    }

    /// Ends writing here: moves inline rows to files, writes a checkpoint and, where this is an
    /// [exclusive](Builder::exclusive) writer, gives the database back. Later writes are
    /// [`ErrorKind::Closed`]; reading goes on. A database need not be closed to be safe.
    ///
    /// # Errors
    /// As [`Connection::flush`].
    pub async fn close(&self) -> Result<()> {
        self.0.log.close().await
    }

    /// Requests to the store since the database was opened.
    #[must_use]
    pub fn requests(&self) -> Requests {
        self.0.log.store().requests()
    }

    /// Where the database is, without secrets.
    #[must_use]
    pub fn url(&self) -> &str {
        self.0.log.store().url()
    }

    /// The present time of the database's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.clock.now())
    }

    pub(crate) fn session(&self) -> &SessionContext {
        &self.0.session
    }

    pub(crate) fn tables(&self) -> MutexGuard<'_, Option<query::sql::Tables>> {
        self.0.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A snapshot: the newest this process knows, or a past one.
    pub(crate) async fn snapshot_at(&self, at: At) -> Result<Arc<Snapshot>> {
        match at {
            At::Seq(seq) => self.0.log.snapshot_at(seq).await,
            At::Time(time) => self.0.log.snapshot_as_of(time.as_micros()).await,
            At::Newest if self.0.read_only => self.0.log.catch_up().await,
            At::Newest => Ok(self.0.log.snapshot()),
        }
    }

    fn current_maintainer(&self) -> Arc<Maintainer> {
        Arc::clone(&self.0.maintainer.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The prepared views for the snapshot's definitions.
    pub(crate) async fn maintainer(&self, snapshot: &Snapshot) -> Result<Arc<Maintainer>> {
        let current = self.current_maintainer();
        let known = current.catalog.definitions();
        // A database opened only for reading may declare what is not stored yet.
        if Arc::ptr_eq(known, &snapshot.definitions) || **known == *snapshot.definitions || self.0.read_only {
            return Ok(current);
        }
        let catalog = Catalog::new(Arc::clone(&snapshot.definitions))?;
        let renewed = Arc::new(Maintainer::new(catalog).await?);
        // A look at the past must not make the next commit plan anew.
        if snapshot.seq == self.0.log.snapshot().seq {
            *self.0.maintainer.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&renewed);
        }
        Ok(renewed)
    }

    /// The plan of a member's rows at a snapshot.
    pub(crate) async fn readable(&self, snapshot: &Snapshot, member: &str) -> Result<LogicalPlan> {
        let maintainer = self.maintainer(snapshot).await?;
        let catalog = &maintainer.catalog;
        if let Definition::View(_) = catalog.get(member)?
            && let Freshness::Invalid { reason } = freshness(catalog, snapshot, member)?
        {
            return Err(Error::new(
                ErrorKind::InvalidView,
                format!(
                    "view `{member}` cannot be read: {reason}. Rebuild it with `refresh()` or `run_due()`"
                ),
            ));
        }
        catalog.rows(snapshot, member)
    }

    fn failures(&self) -> MutexGuard<'_, BTreeMap<String, maintenance::Failure>> {
        self.0.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

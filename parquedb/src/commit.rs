//! Batches in, snapshots out: the log. Knows tables, runs and cursors; nothing of what views compute.
//!
//! A database is a sequence of commits, each one object that is created only where there is none.
//! `docs/design/log.md` describes the format and the protocol.

mod body;
mod checkpoint;
mod create;
mod envelope;
mod files;
mod flush;
mod layout;
mod read;
pub mod snapshot;
mod state;
#[cfg(test)]
mod tests;
mod write;

pub use body::{Absorbed, CursorWrite};

use crate::clock::{Clock, SystemClock};
use crate::declare::definition::Definition;
use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;
use arrow::record_batch::RecordBatch;
use snapshot::Snapshot;
use state::{BatchIds, State};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use uuid::Uuid;

/// How a log is opened and kept.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Refuse to write anything.
    pub read_only: bool,
    /// Create the database where there is none.
    pub create_if_missing: bool,
    /// Rows of one table in one commit that take more memory than this go into a file of their own.
    pub inline_limit_bytes: usize,
    /// Write a table's inline runs to a file when they take more than this, encoded.
    pub flush_after_bytes: u64,
    /// The same after so many commits.
    pub flush_after_commits: u64,
    /// The same after so long.
    pub flush_after: Duration,
    /// How long one request for a commit may take before it is sent again.
    pub request_timeout: Duration,
    /// How long to find out whether a commit landed before giving
    /// [`ErrorKind::OutcomeUnknown`].
    pub outcome_deadline: Duration,
    /// Where commits take their time from.
    pub clock: Arc<dyn Clock>,
    /// Names this process in its commits.
    pub writer_id: Uuid,
    /// The writer's epoch, for exclusive writers.
    pub epoch: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            read_only: false,
            create_if_missing: true,
            inline_limit_bytes: 1 << 20,
            flush_after_bytes: 16 << 20,
            flush_after_commits: 256,
            flush_after: Duration::from_secs(300),
            request_timeout: Duration::from_secs(15),
            outcome_deadline: Duration::from_secs(30),
            clock: Arc::new(SystemClock),
            writer_id: Uuid::new_v4(),
            epoch: 0,
        }
    }
}

/// What one commit changes.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// The snapshot from which the changes were computed, by its number. When the log is further by
    /// then, changes with cursors, replacements or definitions get [`ErrorKind::Conflict`]. `None`
    /// stands for the newest known when the commit is made.
    pub base: Option<u64>,
    /// Rows, by table.
    pub writes: Vec<TableWrite>,
    /// What views have absorbed.
    pub cursors: Vec<CursorWrite>,
    /// All declared members, when they change.
    pub definitions: Option<BTreeMap<String, Definition>>,
    /// Ids of the batches contained, by which a repetition is recognised for seven days.
    pub batch_ids: Vec<String>,
}

/// Rows for one table.
#[derive(Debug, Clone)]
pub struct TableWrite {
    /// The Rust struct's name of the collection or view.
    pub table: String,
    /// Whether it is a view.
    pub is_view: bool,
    /// The rows, in one schema. Only replacements may have none.
    pub batches: Vec<RecordBatch>,
    /// Whether the rows replace all present ones.
    pub replace: bool,
}

/// The result of a commit.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The database with the commit.
    pub snapshot: Arc<Snapshot>,
    /// All batch ids had been committed before: nothing was written now.
    pub repeated: bool,
}

/// The log of one database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Log(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    options: LogOptions,
    current: RwLock<Arc<Snapshot>>,
    batch_ids: Mutex<BatchIds>,
    writer: Arc<tokio::sync::Mutex<Writer>>,
}

/// What whoever moves the log forward needs; one task at a time.
#[derive(Debug)]
struct Writer {
    state: State,
    /// A commit of which nobody knows whether it landed. Nothing else may be written before.
    pending: Option<write::Pending>,
    last_checkpoint: Option<u64>,
    last_flush: i64,
    head_written: i64,
    head_seq: u64,
    /// No maintenance before this time, after it failed.
    maintenance_after: i64,
}

impl Log {
    /// Opens the database in a store, and creates it where there is none and the options say so.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] without a database, [`ErrorKind::Invalid`] when the place holds
    /// something else or the store cannot hold a database, [`ErrorKind::Corrupt`] when an object is
    /// not what was written, and the store's own errors.
    pub async fn open(store: Store, options: LogOptions) -> Result<Log> {
        let (state, batch_ids, last_checkpoint) = create::open(&store, &options).await?;
        let now = options.clock.now();
        let writer = Writer {
            pending: None,
            last_checkpoint,
            last_flush: now,
            head_written: now,
            head_seq: state.tip.seq,
            maintenance_after: i64::MIN,
            state: state.clone(),
        };
        Ok(Log(Arc::new(Inner {
            store,
            options,
            current: RwLock::new(state.snapshot),
            batch_ids: Mutex::new(batch_ids),
            writer: Arc::new(tokio::sync::Mutex::new(writer)),
        })))
    }

    /// The newest snapshot known here.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.0.snapshot()
    }

    /// Where the log is.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// The options it was opened with.
    #[must_use]
    pub fn options(&self) -> &LogOptions {
        &self.0.options
    }

    /// Reads the commits that other processes have made since, and returns the newest snapshot.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`], and the store's own errors.
    pub async fn catch_up(&self) -> Result<Arc<Snapshot>> {
        let mut writer = self.0.writer.lock().await;
        self.0.catch_up(&mut writer).await?;
        Ok(self.snapshot())
    }

    /// The snapshot that ends with commit `seq`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such commit, [`ErrorKind::Corrupt`], and the store's
    /// own errors.
    pub async fn snapshot_at(&self, seq: u64) -> Result<Arc<Snapshot>> {
        let mut current = self.snapshot();
        if current.seq < seq {
            current = self.catch_up().await?;
        }
        if current.seq == seq {
            return Ok(current);
        }
        if current.seq < seq {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("there is no commit {seq} in {}; the last is {}", self.0.store.url(), current.seq),
            ));
        }
        read::state_at(&self.0.store, seq).await.map(|state| state.snapshot)
    }

    /// Makes one commit. Once the first request is sent, dropping the future does not stop it.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for changes that cannot be stored, [`ErrorKind::Conflict`] when another
    /// process got there first with something these changes do not go with,
    /// [`ErrorKind::OutcomeUnknown`] when the store does not say whether it landed, and the store's
    /// own errors.
    pub async fn commit(&self, changes: Changes) -> Result<Committed> {
        self.0.writable()?;
        let inner = Arc::clone(&self.0);
        let mut writer = Arc::clone(&inner.writer).lock_owned().await;
        let (sender, receiver) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let result = inner.commit(&mut writer, changes).await;
            let is_written = matches!(&result, Ok(committed) if !committed.repeated);
            // Nobody listens when the caller has been dropped.
            let _ = sender.send(result);
            if is_written {
                inner.maintain(&mut writer).await;
            }
        });
        receiver.await.unwrap_or_else(|_| Err(interrupted()))
    }

    /// Writes the inline runs of all tables to Parquet files, then a checkpoint.
    ///
    /// # Errors
    /// As [`Log::commit`].
    pub async fn flush(&self) -> Result<()> {
        self.0.writable()?;
        let inner = Arc::clone(&self.0);
        let mut writer = Arc::clone(&inner.writer).lock_owned().await;
        let task = tokio::spawn(async move { inner.flush(&mut writer).await });
        task.await.unwrap_or_else(|_| Err(interrupted()))
    }

    /// Whether a batch of this id was committed in the last seven days, as far as known here.
    #[must_use]
    pub fn has_batch(&self, id: &str) -> bool {
        self.0.batch_ids.lock().unwrap_or_else(PoisonError::into_inner).contains(id)
    }

    /// Whether [`Log::flush`] is due. Commits do it themselves; a database without commits may ask.
    #[must_use]
    pub fn maintenance_due(&self) -> bool {
        match self.0.writer.try_lock() {
            Ok(writer) => self.0.flush_due(&writer),
            Err(_) => false,
        }
    }

    /// Waits until nobody writes: until the maintenance after the last commit is over.
    pub async fn idle(&self) {
        drop(self.0.writer.lock().await);
    }
}

fn interrupted() -> Error {
    Error::new(
        ErrorKind::OutcomeUnknown,
        "the commit's task was stopped before it ended, with its runtime or by a panic; open the database again",
    )
}

impl Inner {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn writable(&self) -> Result<()> {
        if self.options.read_only {
            return Err(Error::invalid(format!("{} was opened for reading only", self.store.url())));
        }
        Ok(())
    }

    /// Makes a state the newest one.
    fn publish(&self, writer: &mut Writer, state: State, ids: &[(i64, Vec<String>)]) {
        let mut batch_ids = self.batch_ids.lock().unwrap_or_else(PoisonError::into_inner);
        for (time, ids) in ids {
            for id in ids {
                batch_ids.insert(id, *time);
            }
        }
        batch_ids.expire(state.snapshot.time);
        drop(batch_ids);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&state.snapshot);
        writer.state = state;
    }

    async fn catch_up(&self, writer: &mut Writer) -> Result<()> {
        let mut state = writer.state.clone();
        let mut ids = Vec::new();
        let followed = read::follow(&self.store, &mut state, &mut ids, None, None).await;
        if state.tip != writer.state.tip {
            // Its slot is taken: by itself, or by another for good.
            if writer.pending.as_ref().is_some_and(|pending| state.tip.seq >= pending.seq()) {
                writer.pending = None;
            }
            self.publish(writer, state, &ids);
        }
        followed
    }
}

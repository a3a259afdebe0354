//! Batches in, snapshots out: the log. Knows tables, runs and cursors; nothing of what views compute.
//!
//! A database is a sequence of commits, each one object that is created only where there is none.
//! `docs/design/log.md` describes the format and the protocol.

mod anchor;
pub mod backup;
mod body;
mod changes;
mod checkpoint;
mod compact;
mod counters;
mod create;
#[doc(hidden)]
pub mod decoding;
mod envelope;
mod exclusive;
mod files;
mod flush;
mod footprint;
mod garbage;
pub mod history;
mod ipc;
mod layout;
mod options;
mod overlay;
mod pins;
mod place;
mod read;
mod removal;
mod repeats;
pub mod scrub;
pub mod snapshot;
mod state;
#[cfg(test)]
mod tests;
pub mod work;
mod write;

pub(crate) use body::memory_size;
pub use body::{Absorbed, CursorWrite, KeySet};
pub use changes::{Changes, Committed, Sequence, TableWrite};
pub use compact::{CompactOptions, CompactReport, CompactedTable, LeftFiles, MergeStates, VerifiedFile};
pub use garbage::{Garbage, GarbageOptions, GarbageReport};
pub use options::LogOptions;
pub use removal::{RemovedRows, RunId, RunRemoval, TableExpiry, TableRemoval};
pub use roaring::RoaringBitmap;

use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;
use crate::time;
use anchor::{Anchor, Moment};
use counters::{Counters, Counts};
use footprint::Recent;
use futures::future::BoxFuture;
use read::Stop;
use repeats::Repeats;
use snapshot::Snapshot;
use state::{Applied, State};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// The log of one database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Log(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    options: LogOptions,
    current: RwLock<Arc<Snapshot>>,
    repeats: Mutex<Repeats>,
    closed: AtomicBool,
    counters: Counters,
    /// Files, by path, that compaction found not to go with the file before them, and why.
    apart: Mutex<HashMap<String, String>>,
    writer: Arc<tokio::sync::Mutex<Writer>>,
    /// Held while runs are written to files beside commits. Whoever holds it may wait for the writer, and
    /// not the other way round.
    aside: Arc<tokio::sync::Mutex<()>>,
}

/// What whoever moves the log forward needs; one task at a time.
#[derive(Debug)]
struct Writer {
    state: State,
    recent: Recent,
    anchor: Anchor,
    /// The epoch in which this writer took the database for itself.
    claimed: Option<u64>,
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
    #[tracing::instrument(level = "debug", skip_all, fields(url = store.url(), seq))]
    pub async fn open(store: Store, options: LogOptions) -> Result<Log> {
        let loaded = create::open(&store, &options).await?;
        let now = options.clock.now();
        let writer = Writer {
            recent: Recent::default(),
            anchor: loaded.anchor,
            claimed: None,
            pending: None,
            last_checkpoint: loaded.last_checkpoint,
            last_flush: now,
            head_written: now,
            head_seq: loaded.state.tip.seq,
            maintenance_after: i64::MIN,
            state: loaded.state.clone(),
        };
        let is_exclusive = options.exclusive && !options.read_only;
        let log = Log(Arc::new(Inner {
            store,
            options,
            current: RwLock::new(Arc::clone(&loaded.state.snapshot)),
            repeats: Mutex::new(loaded.repeats),
            closed: AtomicBool::new(false),
            counters: Counters::new()?,
            apart: Mutex::default(),
            writer: Arc::new(tokio::sync::Mutex::new(writer)),
            aside: Arc::default(),
        }));
        let mut writer = log.0.writer.lock().await;
        for applied in loaded.applied {
            writer.recent.push(applied.seq, applied.footprint);
        }
        if is_exclusive {
            log.0.claim(&mut writer, true).await?;
        } else if !log.0.options.read_only {
            log.0.check_right(&writer)?;
        }
        drop(writer);
        tracing::Span::current().record("seq", log.snapshot().seq);
        Ok(log)
    }

    /// Ends writing here: writes what is inline to files and a checkpoint, and gives the database back if
    /// this writer had taken it for itself. Reading goes on. Later writes are [`ErrorKind::Closed`].
    ///
    /// # Errors
    /// As [`Log::flush`]. The database may be opened again all the same.
    pub async fn close(&self) -> Result<()> {
        if self.0.options.read_only || self.0.closed.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let inner = Arc::clone(&self.0);
        let aside = Arc::clone(&inner.aside).lock_owned().await;
        let mut writer = Arc::clone(&inner.writer).lock_owned().await;
        let task = tokio::spawn(async move {
            let _aside = aside;
            inner.flush(&mut writer).await?;
            match writer.claimed {
                Some(_) => inner.claim(&mut writer, false).await,
                None => Ok(()),
            }
        });
        task.await.unwrap_or_else(|_| Err(interrupted()))
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
        if seq < current.floor {
            return Err(self.0.given_up(&format!("commit {seq}"), current.floor));
        }
        match read::state_at(&self.0.store, seq).await {
            Ok(state) => Ok(state.snapshot),
            // It may have been given up since this process last looked.
            Err(error) => match self.catch_up().await?.floor {
                floor if seq < floor => Err(self.0.given_up(&format!("commit {seq}"), floor)),
                _ => Err(error),
            },
        }
    }

    /// The last snapshot that was there at a time, in microseconds since 1970.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the database did not exist by then or what it was is given up, and
    /// as [`Log::snapshot_at`].
    pub async fn snapshot_as_of(&self, time: i64) -> Result<Arc<Snapshot>> {
        let mut current = self.catch_up().await?;
        loop {
            if current.time <= time {
                return Ok(current);
            }
            let found = read::state_as_of(&self.0.store, current.floor, time).await;
            if let Ok(Some(state)) = found {
                return Ok(state.snapshot);
            }
            // What was missing may have been collected since this process last looked.
            let newest = self.catch_up().await?;
            if newest.floor > current.floor {
                current = newest;
                continue;
            }
            return match found {
                Err(error) => Err(error),
                Ok(_) if current.floor > 0 => Err(self.0.given_up("that time", current.floor)),
                Ok(_) => Err(Error::new(
                    ErrorKind::NotFound,
                    format!("the database in {} was created after that time", self.0.store.url()),
                )),
            };
        }
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
        inner.await_flush().await;
        let mut writer = Arc::clone(&inner.writer).lock_owned().await;
        let (sender, receiver) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let started = time::now();
            let result = inner.commit(&mut writer, changes).await;
            inner.counters.ended(started, &result);
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
        let aside = Arc::clone(&inner.aside).lock_owned().await;
        let mut writer = Arc::clone(&inner.writer).lock_owned().await;
        let task = tokio::spawn(async move {
            let _aside = aside;
            inner.flush(&mut writer).await
        });
        task.await.unwrap_or_else(|_| Err(interrupted()))
    }

    /// Runs what moves the log forward in a task of its own, so that a caller who goes away does not stop
    /// it half way.
    async fn in_task<T: Send + 'static>(
        &self,
        work: impl for<'a> FnOnce(&'a Inner, &'a mut Writer) -> BoxFuture<'a, Result<T>> + Send + 'static,
    ) -> Result<T> {
        let inner = Arc::clone(&self.0);
        let mut writer = Arc::clone(&inner.writer).lock_owned().await;
        let task = tokio::spawn(async move { work(&inner, &mut writer).await });
        task.await.unwrap_or_else(|_| Err(interrupted()))
    }

    /// Whether a batch of this id was committed in the last seven days, as far as known here.
    #[must_use]
    pub fn has_batch(&self, id: &str) -> bool {
        self.0.repeats().has_batch(id)
    }

    /// Whether a producer's batch of this number was committed, as far as known here. A producer that
    /// commits nothing for seven days is forgotten.
    #[must_use]
    pub fn has_sequence(&self, producer: &str, number: u64) -> bool {
        self.0.repeats().has_sequence(producer, number)
    }

    /// The highest number that a producer has committed, as far as known here.
    #[must_use]
    pub fn last_sequence(&self, producer: &str) -> Option<u64> {
        self.0.repeats().last_sequence(producer)
    }

    /// Whether [`Log::flush`] is due. Commits do it themselves; a database without commits may ask.
    #[must_use]
    pub fn maintenance_due(&self) -> bool {
        match self.0.writer.try_lock() {
            Ok(writer) => self.0.flush_due(&writer),
            Err(_) => false,
        }
    }

    /// What this process did to the log.
    pub(crate) fn counts(&self) -> Counts {
        self.0.counters.counts()
    }

    /// Waits until the next commit can begin.
    pub(crate) async fn ready(&self) {
        self.0.await_flush().await;
        drop(self.0.writer.lock().await);
    }

    /// Waits until nobody writes: until the maintenance after the last commit is over.
    pub async fn idle(&self) {
        // A commit under way may begin to write files aside.
        drop(self.0.writer.lock().await);
        let _aside = self.0.aside.lock().await;
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
        if self.closed.load(Ordering::SeqCst) {
            return Err(Error::new(
                ErrorKind::Closed,
                format!("{} was closed here; open it again", self.store.url()),
            ));
        }
        if self.options.read_only {
            return Err(Error::invalid(format!("{} was opened for reading only", self.store.url())));
        }
        Ok(())
    }

    fn repeats(&self) -> MutexGuard<'_, Repeats> {
        self.repeats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_repeats(&self, repeats: Repeats) {
        *self.repeats() = repeats;
    }

    fn given_up(&self, what: &str, floor: u64) -> Error {
        let url = self.store.url();
        Error::new(
            ErrorKind::NotFound,
            format!(
                "{what} in {url} is older than what is kept; the oldest commit that can be read is {floor}"
            ),
        )
    }

    /// Makes a state the newest one.
    fn publish(&self, writer: &mut Writer, state: State, applied: Vec<Applied>) {
        let mut repeats = self.repeats();
        for commit in applied {
            repeats.record(commit.time, &commit.intent);
            writer.recent.push(commit.seq, commit.footprint);
        }
        repeats.expire(state.snapshot.time);
        drop(repeats);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&state.snapshot);
        writer.state = state;
    }

    #[tracing::instrument(level = "debug", skip_all, fields(seq, commits))]
    async fn catch_up(&self, writer: &mut Writer) -> Result<()> {
        let mut state = writer.state.clone();
        let mut applied = Vec::new();
        let sent = Moment::now(self.options.clock.as_ref());
        let followed = read::follow(&self.store, &mut state, &mut applied, None, Stop::Never).await;
        if !self.is_anchored(writer).await? {
            return self.reload(writer).await;
        }
        if followed.is_ok() {
            writer.anchor = Anchor { tip: state.tip, proved: sent };
        }
        if state.tip != writer.state.tip {
            // Its slot is taken: by itself, or by another for good.
            if writer.pending.as_ref().is_some_and(|pending| state.tip.seq >= pending.seq()) {
                writer.pending = None;
            }
            tracing::Span::current().record("seq", state.tip.seq).record("commits", applied.len());
            self.publish(writer, state, applied);
        }
        followed
    }
}

//! The batches that wait to be committed, and how many of them one commit takes.

use super::batch::Written;
use super::linger::Linger;
use crate::commit::Sequence;
use crate::error::{Error, ErrorKind, Result};
use crate::maintain::keyed::Operation;
use crate::time::{self, Instant};
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot};

/// How concurrent writes become one commit.
///
/// A commit takes all batches that wait when it begins. The first batch after a pause is committed at
/// once; what comes meanwhile is committed together afterwards.
///
/// ```
/// # use parquedb::{Connection, Database, GroupCommit};
/// # use std::time::Duration;
/// # #[tokio::main] async fn main() -> parquedb::Result<()> {
/// // At most one commit a second, and so at most one request, however many programs' tasks write.
/// let once_a_second = GroupCommit { interval: Duration::from_secs(1), ..GroupCommit::default() };
/// let db = Connection::builder().group_commit(once_a_second).open("memory:///").await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupCommit {
    /// The least time between the beginnings of two commits. A longer one costs fewer requests to the
    /// store and makes writes wait longer. By default zero: the next commit begins when the last one is
    /// done.
    pub interval: Duration,
    /// Begin a commit before the interval is over when batches of so many bytes wait, as they are in
    /// memory, and do not put more into one commit. A larger batch is committed alone. By default 32 MiB.
    pub max_bytes: usize,
    /// Batches of so many bytes may wait or be in the commit under way. Further writes wait, in order,
    /// until there is room for them. A larger batch waits until it is alone. By default 128 MiB.
    pub queue_bytes: usize,
}

impl Default for GroupCommit {
    fn default() -> Self {
        Self { interval: Duration::ZERO, max_bytes: 32 << 20, queue_bytes: 128 << 20 }
    }
}

/// What a batch is recognised by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct BatchName {
    pub(super) id: Option<String>,
    pub(super) sequence: Option<Sequence>,
}

/// A batch that waits to be committed.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) operations: BTreeMap<String, Vec<Operation>>,
    pub(super) name: BatchName,
    pub(super) reply: oneshot::Sender<Result<Written>>,
    pub(super) room: Room,
}

impl Pending {
    /// Gives the room back and says what became of the batch.
    pub(super) fn answer(self, result: Result<Written>) {
        drop(self.room);
        // Whoever does not wait any more does not need the answer.
        let _ = self.reply.send(result);
    }
}

/// A batch's room in the queue, which is given back when it is answered.
#[derive(Debug)]
pub(super) struct Room {
    bytes: usize,
    held: Arc<Held>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.held.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Bytes of batches that wait or are in the commit under way.
#[derive(Debug, Default)]
struct Held {
    bytes: AtomicUsize,
    most: AtomicUsize,
    /// Batches for which there is no room yet.
    outside: AtomicUsize,
}

/// Counts a batch for as long as it waits for room.
struct Outside<'a>(&'a Held);

impl<'a> Outside<'a> {
    fn new(held: &'a Held) -> Self {
        held.outside.fetch_add(1, Ordering::Relaxed);
        Self(held)
    }
}

impl Drop for Outside<'_> {
    fn drop(&mut self) {
        self.0.outside.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Room is counted in so many bytes, so that a queue may be large.
const UNIT: usize = 1024;

/// How often a commit lets others run before it waits by a timer, which is a thousand times coarser.
const YIELDS: usize = 32;

/// Less is not worth a timer.
const SHORTEST_TIMER: Duration = Duration::from_micros(500);

/// The batches that wait.
#[derive(Debug)]
pub(super) struct Queue {
    settings: GroupCommit,
    room: Arc<Semaphore>,
    units: u32,
    held: Arc<Held>,
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    batches: VecDeque<Pending>,
    bytes: usize,
    /// A task commits until nothing waits any more.
    has_task: bool,
    /// When the last commit began.
    began: Option<Instant>,
    linger: Linger,
}

/// How much waits to be committed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct QueueDepth {
    /// Batches that wait for the next commit.
    pub batches: u64,
    /// Batches for which there is no room to wait yet: see [`GroupCommit::queue_bytes`].
    pub outside: u64,
    /// Bytes of the batches that wait for the next commit or are in the one under way, as they are in
    /// memory.
    pub bytes: u64,
    /// The most bytes there were since the database was opened.
    pub most_bytes: u64,
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT).max(1)).unwrap_or(u32::MAX)
}

impl Queue {
    pub(super) fn new(settings: GroupCommit) -> Self {
        let units =
            units(settings.queue_bytes).min(u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX));
        Self {
            settings,
            room: Arc::new(Semaphore::new(units as usize)),
            units,
            held: Arc::default(),
            waiting: Mutex::default(),
            arrived: Notify::new(),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is room for so many bytes. First come, first served.
    pub(super) async fn room(&self, bytes: usize) -> Result<Room> {
        let wanted = units(bytes).min(self.units);
        let room = Arc::clone(&self.room);
        let permit = match Arc::clone(&room).try_acquire_many_owned(wanted) {
            Err(TryAcquireError::NoPermits) => {
                let _outside = Outside::new(&self.held);
                // No reason to wait for more when there is no room for more.
                self.arrived.notify_one();
                room.acquire_many_owned(wanted).await.map_err(|_| TryAcquireError::Closed)
            }
            tried => tried,
        };
        let permit = permit.map_err(|error: TryAcquireError| {
            Error::with_source(ErrorKind::Closed, "the queue of batches to be committed is closed", error)
        })?;
        let held = self.held.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.held.most.fetch_max(held, Ordering::Relaxed);
        Ok(Room { bytes, held: Arc::clone(&self.held), _permit: permit })
    }

    /// Adds a batch. Gives whether the caller must start the task that commits.
    #[must_use]
    pub(super) fn push(&self, pending: Pending) -> bool {
        let mut waiting = self.waiting();
        waiting.bytes += pending.room.bytes;
        waiting.batches.push_back(pending);
        let needs_task = !std::mem::replace(&mut waiting.has_task, true);
        drop(waiting);
        self.arrived.notify_one();
        needs_task
    }

    /// Waits until the next commit should begin.
    pub(super) async fn gather(&self) {
        let mut yields = 0;
        loop {
            let (by_interval, lingering) = {
                let waiting = self.waiting();
                let is_full = yields == YIELDS && self.held.outside.load(Ordering::Relaxed) > 0;
                if waiting.bytes >= self.settings.max_bytes || is_full {
                    return;
                }
                let by_interval = waiting.began.map(|began| began + self.settings.interval);
                (by_interval, waiting.linger.until(waiting.batches.len()))
            };
            let Some(until) = by_interval.max(lingering) else { return };
            let left = until.saturating_duration_since(time::now());
            if left.is_zero() {
                return;
            }
            if yields < YIELDS {
                yields += 1;
                tokio::task::yield_now().await;
            } else if left < SHORTEST_TIMER && by_interval < lingering {
                return;
            } else {
                // Either is reason to look again.
                let _ = time::timeout(left, self.arrived.notified()).await;
            }
        }
    }

    /// Takes what the next commit contains. When nothing waits, the task that asks has nothing more to do.
    pub(super) fn take(&self) -> Vec<Pending> {
        let mut waiting = self.waiting();
        let count = waiting.batches.len();
        waiting.linger.begin(count);
        let mut group: Vec<Pending> = Vec::new();
        let mut bytes = 0;
        while let Some(next) = waiting.batches.front() {
            if !group.is_empty() && bytes + next.room.bytes > self.settings.max_bytes {
                break;
            }
            bytes += next.room.bytes;
            group.extend(waiting.batches.pop_front());
        }
        waiting.bytes -= bytes;
        waiting.has_task = !group.is_empty();
        if !group.is_empty() {
            waiting.began = Some(time::now());
        }
        group
    }

    /// How many batches wait for the next commit.
    pub(super) fn batches(&self) -> usize {
        self.waiting().batches.len()
    }

    /// A commit of so many batches has ended, and `others` waited when they were answered.
    pub(super) fn committed(&self, batches: usize, others: usize, took: Duration) {
        self.waiting().linger.committed(batches, others, took, time::now());
    }

    /// The task that commits was stopped. Gives those it had not come to.
    pub(super) fn abandon(&self) -> VecDeque<Pending> {
        let mut waiting = self.waiting();
        waiting.has_task = false;
        waiting.bytes = 0;
        std::mem::take(&mut waiting.batches)
    }

    pub(super) fn depth(&self) -> QueueDepth {
        let number = |counter: &AtomicUsize| counter.load(Ordering::Relaxed) as u64;
        QueueDepth {
            batches: self.batches() as u64,
            outside: number(&self.held.outside),
            bytes: number(&self.held.bytes),
            most_bytes: number(&self.held.most),
        }
    }
}

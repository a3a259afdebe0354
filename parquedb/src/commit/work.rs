//! Long work: how far it is, and how much memory it takes.

use serde::Serialize;
use std::fmt;
use std::sync::Arc;
use tokio::sync::{Semaphore, SemaphorePermit};

/// A part of a long work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Step {
    /// Listing what is there.
    Listing,
    /// Reading or copying commits and checkpoints.
    Commits,
    /// Reading or copying data files.
    Files,
}

/// How far a long work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Progress {
    /// The part under way.
    pub step: Step,
    /// Objects of this part that are done.
    pub done: u64,
    /// All objects of this part; zero while that is not known.
    pub total: u64,
    /// Bytes of this part that are done.
    pub bytes: u64,
    /// All bytes of this part; zero while that is not known.
    pub total_bytes: u64,
}

/// Whom to tell how far a long work is. Tells nobody by default.
#[derive(Clone, Default)]
pub struct Watch(Option<Arc<dyn Fn(Progress) + Send + Sync>>);

impl Watch {
    /// Calls a function each time the work has moved on. It should return quickly.
    pub fn new(tell: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }

    pub(super) fn tell(&self, progress: Progress) {
        if let Some(tell) = &self.0 {
            tell(progress);
        }
    }

    /// Counts the objects of a part.
    pub(super) fn count(&self, step: Step, total: u64, total_bytes: u64) -> Count<'_> {
        let progress = Progress { step, done: 0, total, bytes: 0, total_bytes };
        self.tell(progress);
        Count { watch: self, progress }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watch").field(&self.0.as_ref().map(|_| "..")).finish()
    }
}

/// The objects of a part that are done.
#[derive(Debug)]
pub(super) struct Count<'a> {
    watch: &'a Watch,
    progress: Progress,
}

impl Count<'_> {
    pub(super) fn add(&mut self, bytes: u64) {
        self.progress.done += 1;
        self.progress.bytes += bytes;
        self.watch.tell(self.progress);
    }
}

/// Memory that tasks share: who finds none waits.
#[derive(Debug)]
pub(super) struct Memory {
    kibibytes: Semaphore,
    all: u32,
}

impl Memory {
    pub(super) fn new(bytes: u64) -> Self {
        let all = u32::try_from(bytes / 1024).unwrap_or(u32::MAX).clamp(1, u32::MAX >> 4);
        Self { kibibytes: Semaphore::new(usize::try_from(all).unwrap_or(1)), all }
    }

    /// Takes so much, or all there is for what does not fit. Given back when dropped.
    pub(super) async fn take(&self, bytes: u64) -> Option<SemaphorePermit<'_>> {
        let wanted = u32::try_from(bytes / 1024).unwrap_or(u32::MAX).saturating_add(1).min(self.all);
        // Fails only once the semaphore is closed, which nobody does.
        self.kibibytes.acquire_many(wanted).await.ok()
    }
}

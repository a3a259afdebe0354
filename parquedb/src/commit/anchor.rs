//! How a process that stood still notices that the log was collected under it.
//!
//! Creating an object only where there is none forgets names that were deleted: a writer that wakes up
//! after garbage collection could create a commit in a slot that was used long ago, and a reader could
//! take a missing object for the end of the log. So each process keeps an anchor: the last commit it knows
//! to be real. Collection deletes in ascending order, hence an anchor that is still there proves that
//! nothing after it was ever deleted. The rule was checked exhaustively in a model of the protocol
//! (`tests/tests/protocol_model.rs`).
//!
//! Collection deletes nothing that is younger than [`GRACE`]. A process that knew where the log ends less
//! than half as long ago need not look.

use super::envelope::{self, ObjectKind};
use super::state::Tip;
use super::{Inner, Writer, layout};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;
use crate::time::{self, Instant};
use std::time::Duration;

/// Objects that are younger are never deleted.
pub(super) const GRACE: Duration = Duration::from_secs(3600);

/// For so long after the end of the log was known nobody needs to look at the anchor.
pub(super) const TRUSTED: Duration = Duration::from_secs(1800);

/// Files that were written longer ago may not be committed any more, because garbage collection takes
/// files of seven days that nobody names for left behind.
pub(super) const UPLOAD_LIFE: Duration = Duration::from_secs(3600);

/// A moment by both clocks: one of them may stand still while a machine sleeps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    monotonic: Instant,
    wall: i64,
}

impl Moment {
    pub(super) fn now(clock: &dyn Clock) -> Self {
        Self { monotonic: time::now(), wall: clock.now() }
    }

    /// The longer of what the two clocks say.
    pub(super) fn elapsed(&self, clock: &dyn Clock) -> Duration {
        let wall = clock.now().saturating_sub(self.wall);
        (time::now() - self.monotonic).max(Duration::from_micros(u64::try_from(wall).unwrap_or(0)))
    }
}

/// The last commit known to be real.
#[derive(Debug, Clone, Copy)]
pub(super) struct Anchor {
    pub(super) tip: Tip,
    /// When the request was sent that showed that it was the last one.
    pub(super) proved: Moment,
}

/// Whether a commit is still in its slot. The same commit with another time is one that was sent again and
/// landed after the slot was collected.
pub(super) async fn is_intact(store: &Store, tip: &Tip) -> Result<bool> {
    let path = layout::commit(tip.seq);
    let Some(bytes) = store.get_start(&path, envelope::HEADER as u64).await? else { return Ok(false) };
    let place = format!("{path} in {}", store.url());
    let header = envelope::open_header(&bytes, ObjectKind::Commit, tip.seq, &place)?;
    Ok(header.commit_id == tip.commit_id && header.time == tip.time)
}

impl Inner {
    /// Whether what was found after the anchor is the log. Where it is not, the state is to be read anew.
    pub(super) async fn is_anchored(&self, writer: &Writer) -> Result<bool> {
        let is_trusted = writer.anchor.proved.elapsed(self.options.clock.as_ref()) < TRUSTED;
        if is_trusted && !self.options.always_check_anchor {
            return Ok(true);
        }
        let is_intact = is_intact(&self.store, &writer.anchor.tip).await?;
        if !is_intact {
            tracing::warn!(
                url = self.store.url(),
                seq = writer.anchor.tip.seq,
                "the log was collected while this process stood still; reading it anew"
            );
        }
        Ok(is_intact)
    }

    /// Reads the state anew after the log was collected under it.
    pub(super) async fn reload(&self, writer: &mut Writer) -> Result<()> {
        let loaded = super::read::load(&self.store, self.options.clock.as_ref()).await?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("the database in {} is gone", self.store.url()))
        })?;
        if loaded.state.tip.seq < writer.state.tip.seq {
            // What this process had acknowledged is real.
            return Err(Error::corrupt(format!(
                "the log in {} ends with commit {}, and this process knows of commit {}; restore it from a copy",
                self.store.url(),
                loaded.state.tip.seq,
                writer.state.tip.seq
            )));
        }
        // Its slot was used and collected, by itself or by another: should it land there now, it is no part
        // of the log. Whoever repeats it is told by its batch ids.
        if writer.pending.as_ref().is_some_and(|pending| pending.seq() <= loaded.state.tip.seq) {
            writer.pending = None;
        }
        writer.recent.clear();
        writer.anchor = loaded.anchor;
        writer.last_checkpoint = loaded.last_checkpoint;
        self.set_repeats(loaded.repeats);
        self.publish(writer, loaded.state, loaded.applied);
        Ok(())
    }
}

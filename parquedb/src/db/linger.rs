//! How long a commit waits for those who are about to come back.
//!
//! Programs that insert one batch after the other come back as soon as they are answered. A commit that
//! began at once would find none of them there yet, and they would all wait for the one after it: half
//! of them would be in each commit. So a commit waits until as many batches are there as were under way
//! at the end of the last one, for a part of the time that a commit takes: less than what those who miss
//! it would wait. Where they do not come back it stops waiting for them.

use crate::time::Instant;
use std::time::Duration;

/// A commit waits at most half of the time that the last one took, and never longer than this.
const LONGEST: Duration = Duration::from_millis(10);

/// After waiting in vain, so many commits do not wait; after the next time twice as many.
const MOST_SKIPPED: u32 = 64;

/// What the last commits tell of who comes back.
#[derive(Debug, Default)]
pub(super) struct Linger {
    expected: usize,
    /// Of those, so many were answered, and may come back.
    answered: usize,
    until: Option<Instant>,
    skipped: u32,
    to_skip: u32,
}

impl Linger {
    /// A commit of `batches` took so long and ended now, while `waiting` other batches waited.
    pub(super) fn committed(&mut self, batches: usize, waiting: usize, took: Duration, now: Instant) {
        self.expected = batches + waiting;
        self.answered = batches;
        let part = (took / 2).min(LONGEST);
        if self.skipped < self.to_skip {
            self.skipped += 1;
            self.until = None;
        } else {
            self.until = (!part.is_zero()).then(|| now + part);
        }
    }

    /// Until when to wait for more than the `waiting` batches, if it is worth it.
    pub(super) fn until(&self, waiting: usize) -> Option<Instant> {
        self.until.filter(|_| waiting < self.expected)
    }

    /// The next commit begins now, with so many batches there.
    pub(super) fn begin(&mut self, waiting: usize) {
        if self.until.take().is_none() {
            return;
        }
        self.skipped = 0;
        let missing = self.expected.saturating_sub(waiting);
        let is_worth_it = missing * 2 <= self.answered;
        self.to_skip = if is_worth_it { 0 } else { (self.to_skip * 2).clamp(1, MOST_SKIPPED) };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const COMMIT: Duration = Duration::from_millis(8);

    #[test]
    fn waits_for_as_many_as_were_under_way() {
        let (mut linger, now) = (Linger::default(), crate::time::now());
        assert_eq!(linger.until(1), None, "nothing is known yet");
        linger.committed(3, 2, COMMIT, now);
        assert_eq!(linger.until(4), Some(now + COMMIT / 2));
        assert_eq!(linger.until(5), None);
        linger.committed(3, 2, Duration::from_secs(9), now);
        assert_eq!(linger.until(0), Some(now + LONGEST));
        linger.committed(1, 0, Duration::ZERO, now);
        assert_eq!(linger.until(0), None, "a commit that takes no time is not worth waiting for");
    }

    #[test]
    fn waits_ever_more_rarely_in_vain_and_again_when_they_come_back() {
        let (mut linger, now) = (Linger::default(), crate::time::now());
        let waited = |linger: &mut Linger, comes_back: bool| {
            linger.committed(5, 0, COMMIT, now);
            let waits = linger.until(1).is_some();
            linger.begin(if comes_back { 3 } else { 2 });
            waits
        };
        let vain: Vec<i32> = (0..200).filter(|_| waited(&mut linger, false)).collect();
        assert_eq!(vain, [0, 2, 5, 10, 19, 36, 69, 134, 199]);
        while !waited(&mut linger, true) {}
        assert!(waited(&mut linger, true) && waited(&mut linger, true));
    }
}

//! What an ingest did.

use crate::decode::Decoded;
use std::collections::BTreeMap;

/// Counts over all files of an ingest.
#[derive(Debug, Default, Clone)]
pub struct Summary {
    /// Files looked at.
    pub files: u64,
    /// Names of the files that were stored already, in full.
    pub complete: Vec<String>,
    /// Items that were stored already.
    pub skipped: u64,
    /// Items read now.
    pub items: u64,
    /// Events stored.
    pub events: u64,
    /// Dead letters stored.
    pub dead_letters: u64,
    /// Dead letters by reason, without the place in the item.
    pub reasons: BTreeMap<String, u64>,
    /// Commits.
    pub commits: u64,
}

impl Summary {
    pub(super) fn add(&mut self, counts: Counts) {
        self.items += counts.items;
        self.events += counts.events;
        self.dead_letters += counts.reasons.len() as u64;
        for reason in counts.reasons {
            *self.reasons.entry(reason).or_default() += 1;
        }
    }

    /// The most frequent reasons of dead letters, most frequent first.
    #[must_use]
    pub fn top_reasons(&self, count: usize) -> Vec<(&str, u64)> {
        let mut reasons: Vec<_> =
            self.reasons.iter().map(|(reason, count)| (reason.as_str(), *count)).collect();
        reasons.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        reasons.truncate(count);
        reasons
    }
}

/// Counts of one batch, added once it is stored.
pub(super) struct Counts {
    items: u64,
    events: u64,
    reasons: Vec<String>,
}

impl Counts {
    pub(super) fn of(decoded: &Decoded) -> Self {
        let reason =
            |reason: &str| reason.rsplit_once(" at line ").map_or(reason, |(reason, _)| reason).to_owned();
        Self {
            items: decoded.items,
            events: decoded.events.len() as u64,
            reasons: decoded.dead_letters.iter().map(|dead| reason(&dead.reason)).collect(),
        }
    }
}

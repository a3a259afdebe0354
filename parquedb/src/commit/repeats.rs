//! What was committed before, by the ids of batches and the sequences of producers: so that a repetition
//! is recognised, in whatever process and after whatever crash.

use super::body::{Intent, SequenceRange};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// How long a batch id, or a producer that commits nothing more, is remembered, in microseconds.
const LIFE: i64 = 7 * 24 * 3600 * 1_000_000;

/// A producer may leave this many gaps in its sequence before its batches are refused.
pub(super) const GAPS: usize = 64;

/// More gaps than any number of refused batches can leave: the fold over the log must always go on.
const GAPS_FOLDED: usize = 1024;

/// The batch ids and sequences that were committed in the last seven days.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Repeats {
    times: HashMap<String, i64>,
    order: VecDeque<(i64, String)>,
    producers: BTreeMap<String, Produced>,
}

/// The sequences that a producer has committed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Produced {
    /// When it last committed, in microseconds since 1970.
    time: i64,
    /// Without gaps each, ascending, both ends included.
    ranges: Vec<(u64, u64)>,
}

impl Produced {
    fn contains(&self, sequence: u64) -> bool {
        let after = self.ranges.partition_point(|(first, _)| *first <= sequence);
        after > 0 && self.ranges[after - 1].1 >= sequence
    }

    fn insert(&mut self, first: u64, last: u64) {
        let from = self.ranges.partition_point(|range| range.1.saturating_add(1) < first);
        let to = self.ranges.partition_point(|range| range.0 <= last.saturating_add(1));
        let merged = self.ranges[from..to]
            .iter()
            .fold((first, last), |merged, range| (merged.0.min(range.0), merged.1.max(range.1)));
        self.ranges.splice(from..to, [merged]);
        if self.ranges.len() > GAPS_FOLDED {
            let lowest = (self.ranges[0].0, self.ranges[1].1);
            self.ranges.splice(0..2, [lowest]);
        }
    }
}

impl Repeats {
    /// Remembers what a commit of this time contained.
    pub(super) fn record(&mut self, time: i64, intent: &Intent) {
        for id in &intent.batch_ids {
            self.insert_batch(id, time);
        }
        for SequenceRange { producer, first, last } in &intent.sequences {
            let produced = self.producers.entry(producer.clone()).or_default();
            produced.time = produced.time.max(time);
            produced.insert(*first, *last);
        }
    }

    fn insert_batch(&mut self, id: &str, time: i64) {
        if self.times.insert(id.to_owned(), time).is_none() {
            self.order.push_back((time, id.to_owned()));
        }
    }

    /// Forgets those whose life is over by the time of a commit.
    pub(super) fn expire(&mut self, now: i64) {
        while let Some((time, _)) = self.order.front() {
            if now.saturating_sub(*time) <= LIFE {
                break;
            }
            if let Some((_, id)) = self.order.pop_front() {
                self.times.remove(&id);
            }
        }
        self.producers.retain(|_, produced| now.saturating_sub(produced.time) <= LIFE);
    }

    pub(super) fn has_batch(&self, id: &str) -> bool {
        self.times.contains_key(id)
    }

    pub(super) fn has_sequence(&self, producer: &str, sequence: u64) -> bool {
        self.producers.get(producer).is_some_and(|produced| produced.contains(sequence))
    }

    /// The highest sequence of a producer.
    pub(super) fn last_sequence(&self, producer: &str) -> Option<u64> {
        self.producers.get(producer)?.ranges.last().map(|(_, last)| *last)
    }

    /// How many gaps the producer has left.
    pub(super) fn gaps(&self, producer: &str) -> usize {
        self.producers.get(producer).map_or(0, |produced| produced.ranges.len().saturating_sub(1))
    }

    /// Of what a commit contains, how much was committed before, and how much there is.
    pub(super) fn count(&self, intent: &Intent) -> (usize, usize) {
        let batches = intent.batch_ids.iter().filter(|id| self.has_batch(id)).count();
        let mut sequences = (0, 0);
        for range in &intent.sequences {
            for sequence in range.first..=range.last {
                sequences.0 += usize::from(self.has_sequence(&range.producer, sequence));
                sequences.1 += 1;
            }
        }
        (batches + sequences.0, intent.batch_ids.len() + sequences.1)
    }

    /// For a checkpoint.
    pub(super) fn stored(&self) -> (Vec<(i64, String)>, BTreeMap<String, Produced>) {
        (self.order.iter().cloned().collect(), self.producers.clone())
    }

    /// From a checkpoint.
    pub(super) fn restored(batches: Vec<(i64, String)>, producers: BTreeMap<String, Produced>) -> Self {
        let mut repeats = Self { producers, ..Self::default() };
        for (time, id) in batches {
            repeats.insert_batch(&id, time);
        }
        repeats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(producer: &str, first: u64, last: u64) -> Intent {
        let sequences = vec![SequenceRange { producer: producer.to_owned(), first, last }];
        Intent { sequences, ..Intent::default() }
    }

    #[test]
    fn sequences_out_of_order_are_all_remembered_and_gaps_close() {
        let mut repeats = Repeats::default();
        for (first, last) in [(1, 3), (7, 7), (5, 5), (u64::MAX, u64::MAX)] {
            repeats.record(10, &intent("p", first, last));
        }
        assert_eq!(repeats.gaps("p"), 3);
        for (sequence, known) in
            [(0, false), (1, true), (3, true), (4, false), (5, true), (6, false), (7, true)]
        {
            assert_eq!(repeats.has_sequence("p", sequence), known, "{sequence}");
        }
        repeats.record(11, &intent("p", 4, 6));
        assert_eq!((repeats.gaps("p"), repeats.last_sequence("p")), (1, Some(u64::MAX)));
        assert_eq!(repeats.count(&intent("p", 6, 9)), (2, 4));
        assert!(!repeats.has_sequence("q", 1));
    }

    #[test]
    fn both_are_forgotten_after_seven_days() {
        let mut repeats = Repeats::default();
        let batch = Intent { batch_ids: vec!["b".to_owned()], ..Intent::default() };
        repeats.record(0, &batch);
        repeats.record(0, &intent("p", 1, 1));
        repeats.record(10, &intent("q", 1, 1));
        repeats.expire(LIFE);
        assert!(repeats.has_batch("b") && repeats.has_sequence("p", 1));
        repeats.expire(LIFE + 1);
        assert!(!repeats.has_batch("b") && !repeats.has_sequence("p", 1) && repeats.has_sequence("q", 1));
    }

    #[test]
    fn a_checkpoint_keeps_both() {
        let mut repeats = Repeats::default();
        repeats.record(3, &Intent { batch_ids: vec!["b".to_owned()], ..intent("p", 2, 4) });
        let (batches, producers) = repeats.stored();
        let restored = Repeats::restored(batches, producers);
        assert!(restored.has_batch("b") && restored.has_sequence("p", 3) && !restored.has_sequence("p", 5));
    }
}

//! The values that are looked for, and which of them were found.

use super::Take;
use super::bounds::Range;
use arrow::row::Rows;
use hashbrown::HashMap;
use xxhash_rust::xxh3::xxh3_64;

/// The hash by which rows of a value are found.
pub(super) fn hash(value: &[u8]) -> u64 {
    xxh3_64(value)
}

/// The values to be found.
pub(super) struct Probes<'a> {
    take: Take,
    /// By value.
    groups: HashMap<&'a [u8], Group>,
    /// Values that are still wanted.
    open: usize,
}

/// Equal probes.
#[derive(Default)]
struct Group {
    /// In descending order.
    probes: Vec<usize>,
    is_found: bool,
}

impl<'a> Probes<'a> {
    pub(super) fn new(values: &'a Rows, take: Take) -> Self {
        let mut groups: HashMap<&'a [u8], Group> = HashMap::new();
        for (probe, value) in values.iter().enumerate().rev() {
            groups.entry(value.data()).or_default().probes.push(probe);
        }
        let open = groups.len();
        Self { take, groups, open }
    }

    /// Whether no row can be wanted any more.
    pub(super) fn is_over(&self) -> bool {
        self.open == 0
    }

    /// The hashes of what is wanted, and how many rows of each.
    pub(super) fn wanted(&self) -> impl Iterator<Item = (u64, usize)> {
        let open = self.groups.iter().filter(|(_, group)| !group.probes.is_empty());
        open.map(|(value, group)| {
            let rows = if self.take == Take::All { usize::MAX } else { group.probes.len() };
            (hash(value), rows)
        })
    }

    /// The values that are wanted.
    pub(super) fn values(&self) -> Vec<&'a [u8]> {
        self.groups.iter().filter(|(_, group)| !group.probes.is_empty()).map(|(value, _)| *value).collect()
    }

    /// Whether a value that is wanted is in a range.
    pub(super) fn any_in(&self, (least, greatest): &Range) -> bool {
        let open = self.groups.iter().filter(|(_, group)| !group.probes.is_empty());
        open.into_iter().any(|(value, _)| (least.as_ref()..=greatest.as_ref()).contains(value))
    }

    /// Gives a live row of some value to a probe that wants one.
    pub(super) fn take(&mut self, value: &[u8]) -> Option<usize> {
        let group = self.groups.get_mut(value)?;
        group.is_found = true;
        if self.take == Take::All {
            return group.probes.last().copied();
        }
        let probe = group.probes.pop()?;
        if group.probes.is_empty() {
            self.open -= 1;
        }
        Some(probe)
    }

    /// The probes for which there was no row.
    pub(super) fn missing(self) -> Vec<usize> {
        let is_open = |group: &Group| self.take == Take::OneEach || !group.is_found;
        let open = self.groups.into_values().filter(is_open);
        let mut missing: Vec<usize> = open.flat_map(|group| group.probes).collect();
        missing.sort_unstable();
        missing
    }
}

//! The disks that power loss may leave: what was synced, and any part of what was not.

use super::recorder::Operation;
use crate::testing::Random;
use std::collections::{BTreeMap, BTreeSet};

/// More subsets than these are not all tried.
const EXHAUSTIVE_BITS: usize = 12;
const SAMPLES: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    File(usize),
    Folder,
}

/// A change of names in one folder that is not durable yet. A rename is one change: journals keep that.
#[derive(Debug, Clone)]
struct Change {
    folder: String,
    removed: Option<String>,
    set: Option<(String, Entry)>,
}

/// What became of bytes that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Fate {
    Kept,
    Zeros,
    Cut(usize),
}

/// A disk, as far as it is durable, and what is not.
#[derive(Debug, Default)]
pub(super) struct Disk {
    durable: BTreeMap<String, Entry>,
    pending: Vec<Change>,
    files: Vec<Vec<u8>>,
    unsynced: BTreeSet<usize>,
}

/// The files after power loss: their names, numbers and what became of their bytes. And the folders.
#[derive(Debug, Default, Clone)]
pub(super) struct State {
    pub(super) files: Vec<(String, usize, Fate)>,
    pub(super) folders: Vec<String>,
}

fn folder(name: &str) -> String {
    name.rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_owned())
}

impl Disk {
    pub(super) fn apply(&mut self, operation: &Operation) {
        let set = |name: &String, entry| Change {
            folder: folder(name),
            removed: None,
            set: Some((name.clone(), entry)),
        };
        match operation {
            Operation::Create { name, file } => {
                // Files that were created at once come in any order.
                self.files.resize(self.files.len().max(*file + 1), Vec::new());
                self.unsynced.insert(*file);
                self.pending.push(set(name, Entry::File(*file)));
            }
            Operation::Write { file, bytes } => {
                self.files[*file].extend_from_slice(bytes);
                self.unsynced.insert(*file);
            }
            Operation::SyncFile { file } => {
                self.unsynced.remove(file);
            }
            Operation::Link { name, file } => self.pending.push(set(name, Entry::File(*file))),
            Operation::Rename { from, name, file } => {
                assert_eq!(folder(from), folder(name));
                self.pending.push(Change { removed: Some(from.clone()), ..set(name, Entry::File(*file)) });
            }
            Operation::Unlink { name } => {
                self.pending.push(Change { folder: folder(name), removed: Some(name.clone()), set: None });
            }
            Operation::CreateFolder { name } => self.pending.push(set(name, Entry::Folder)),
            Operation::SyncFolder { name } => {
                let (synced, rest) =
                    std::mem::take(&mut self.pending).into_iter().partition(|change| change.folder == *name);
                self.pending = rest;
                for change in synced {
                    apply(&mut self.durable, &change);
                }
            }
            Operation::Began(_) | Operation::Acknowledged(_) => {}
        }
    }

    /// Every disk that power loss may leave now, or some of them where they are too many.
    pub(super) fn states(&self, random: &mut Random, mut each: impl FnMut(State)) {
        let unsynced: Vec<usize> = self.unsynced.iter().copied().collect();
        let bits = self.pending.len() + unsynced.len();
        if bits <= EXHAUSTIVE_BITS {
            for mask in 0..1_u64 << bits {
                each(self.state(&unsynced, |bit| mask >> bit & 1 == 1, random));
            }
            return;
        }
        each(self.state(&unsynced, |_| false, random));
        each(self.state(&unsynced, |_| true, random));
        for _ in 0..SAMPLES {
            let mut chances = random.fork();
            // Most often nearly all or nearly none survive.
            let survive = 1 + random.below(7);
            each(self.state(&unsynced, |_| chances.below(8) < survive, random));
        }
    }

    fn state(
        &self,
        unsynced: &[usize],
        mut survives: impl FnMut(usize) -> bool,
        random: &mut Random,
    ) -> State {
        let mut names = self.durable.clone();
        let mut is_folder_lost = false;
        for (bit, change) in self.pending.iter().enumerate() {
            if survives(bit) {
                apply(&mut names, change);
            } else {
                is_folder_lost |= matches!(change.set, Some((_, Entry::Folder)));
            }
        }
        let mut fates = BTreeMap::new();
        for (index, file) in unsynced.iter().enumerate() {
            if !survives(self.pending.len() + index) {
                let length = self.files[*file].len();
                fates.insert(
                    *file,
                    match random.below(3) {
                        0 => Fate::Zeros,
                        1 => Fate::Cut(0),
                        _ => Fate::Cut(usize::try_from(random.below(length as u64)).unwrap()),
                    },
                );
            }
        }
        if is_folder_lost {
            // What is in it cannot be reached, whether or not it is durable. Parents sort first.
            let mut reached = BTreeSet::from([String::new()]);
            names.retain(|name, entry| {
                let is_reached = reached.contains(&folder(name));
                if is_reached && *entry == Entry::Folder {
                    reached.insert(name.clone());
                }
                is_reached
            });
        }
        let mut state = State::default();
        for (name, entry) in names {
            match entry {
                Entry::Folder => state.folders.push(name),
                Entry::File(file) => {
                    let fate = fates.get(&file).copied().unwrap_or(Fate::Kept);
                    state.files.push((name, file, fate));
                }
            }
        }
        state
    }

    /// A file's bytes after power loss.
    pub(super) fn bytes(&self, file: usize, fate: Fate) -> Vec<u8> {
        let mut bytes = self.files[file].clone();
        match fate {
            Fate::Kept => {}
            Fate::Zeros => bytes.fill(0),
            Fate::Cut(length) => bytes.truncate(length),
        }
        bytes
    }
}

fn apply(names: &mut BTreeMap<String, Entry>, change: &Change) {
    if let Some(removed) = &change.removed {
        names.remove(removed);
    }
    if let Some((name, entry)) = &change.set {
        names.insert(name.clone(), *entry);
    }
}

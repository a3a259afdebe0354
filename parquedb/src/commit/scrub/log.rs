//! The log: every commit follows the one before, and together they give what the checkpoints hold.

use super::data::{Named, differences};
use super::{FindingKind, Scrub};
use crate::commit::body::Body;
use crate::commit::checkpoint::{self, Hint};
use crate::commit::envelope::{self, Hash, ObjectKind};
use crate::commit::removal::RemovedRows;
use crate::commit::repeats::Repeats;
use crate::commit::snapshot::{DataFile, Snapshot};
use crate::commit::state::State;
use crate::commit::work::Step;
use crate::commit::{layout, read};
use crate::error::Result;
use bytes::Bytes;
use futures::StreamExt;
use object_store::path::Path;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Commits read at once.
const AHEAD: usize = 8;

/// Verifies `HEAD`, all commits and all checkpoints. Returns the data files that they name.
pub(super) async fn check(scrub: &mut Scrub<'_>) -> Result<BTreeMap<String, Named>> {
    let commits = numbers(scrub, "log/", ".c");
    let checkpoints = numbers(scrub, "ckpt/", ".k");
    let hint = check_head(scrub, &checkpoints).await;
    let newest = [commits.last().copied(), checkpoints.last().copied(), hint.map(|hint| hint.seq)];
    let Some(end) = newest.into_iter().flatten().max() else {
        scrub.find(
            FindingKind::Missing,
            layout::commit(0),
            "the database has no commit: its creation was interrupted; open it for writing to complete it",
        );
        return Ok(BTreeMap::new());
    };
    let floor = floor(scrub).await;
    let store = scrub.store;
    let watch = scrub.options.watch.clone();
    let mut walk = Walk::new(scrub, checkpoints);
    let mut next = walk.begin(commits.first().copied(), floor).await;
    let commits: Vec<u64> = commits.range(next..).copied().collect();
    let sizes = commits.iter().filter_map(|seq| walk.scrub.listed.get(layout::commit(*seq).as_ref()));
    let mut count = watch.count(Step::Commits, commits.len() as u64, sizes.map(|listed| listed.size).sum());
    let mut reading = futures::stream::iter(commits)
        .map(|seq| async move { (seq, store.get(&layout::commit(seq)).await) })
        .buffered(AHEAD);
    while let Some((seq, read)) = reading.next().await {
        if next < seq {
            walk.gap(next, seq - 1).await;
        }
        count.add(read.as_ref().ok().and_then(Option::as_ref).map_or(0, |bytes| bytes.len() as u64));
        match read {
            Ok(Some(bytes)) => walk.commit(seq, &bytes).await,
            Ok(None) => walk.missing(seq, seq).await,
            Err(error) => {
                walk.scrub.find_error(layout::commit(seq), &error);
                walk.lost(seq).await;
            }
        }
        next = seq + 1;
    }
    if next <= end {
        walk.gap(next, end).await;
    }
    walk.finish();
    Ok(walk.files)
}

/// The oldest snapshot that is kept. What lies before it is garbage, and may be of writers that slept
/// while it was collected.
async fn floor(scrub: &Scrub<'_>) -> u64 {
    let store = scrub.store;
    if let Ok(Some(loaded)) = read::load(store, scrub.options.clock.as_ref()).await {
        return loaded.state.snapshot.floor;
    }
    // What is wrong comes out on the way. The last checkpoint knows the floor but for the last minutes.
    let Ok(Some(seq)) = read::newest(store, layout::checkpoints(), None, u64::MAX).await else { return 0 };
    match read::load_checkpoint(store, seq).await {
        Ok(Some((state, _))) => state.snapshot.floor,
        _ => 0,
    }
}

/// The numbers of the objects in a folder of the log. They count as named.
fn numbers(scrub: &mut Scrub<'_>, folder: &str, extension: &str) -> BTreeSet<u64> {
    let listed = scrub.listed.keys().filter(|path| path.starts_with(folder) && path.ends_with(extension));
    let numbers: BTreeMap<u64, String> = listed
        .filter(|path| path.matches('/').count() == 1)
        .filter_map(|path| Some((layout::seq_of(&Path::parse(path).ok()?)?, path.clone())))
        .collect();
    scrub.named.extend(numbers.values().cloned());
    numbers.into_keys().collect()
}

/// Verifies the hint. Without one, or with one that is damaged, reading begins with a listing.
async fn check_head(scrub: &mut Scrub<'_>, checkpoints: &BTreeSet<u64>) -> Option<Hint> {
    let path = Path::from(layout::HEAD);
    scrub.named.insert(path.to_string());
    let bytes = match scrub.store.get(&path).await {
        Ok(bytes) => bytes?,
        Err(error) => {
            scrub.find_error(&path, &error);
            return None;
        }
    };
    scrub.report.bytes += bytes.len() as u64;
    let Some(hint) = Hint::decode(&bytes) else {
        scrub.find(
            FindingKind::Damaged,
            &path,
            "its checksum does not match; reading goes on without it, and the next flush writes it anew",
        );
        return None;
    };
    if let Some(seq) = hint.checkpoint.filter(|seq| !checkpoints.contains(seq)) {
        let checkpoint = layout::checkpoint(seq);
        match scrub.store.get(&checkpoint).await {
            Ok(Some(_)) => {}
            Ok(None) => scrub.find(FindingKind::Missing, &checkpoint, "HEAD names it"),
            Err(error) => scrub.find_error(&checkpoint, &error),
        }
    }
    Some(hint)
}

/// The way along the log.
#[derive(Debug)]
struct Walk<'a, 'b> {
    scrub: &'a mut Scrub<'b>,
    checkpoints: BTreeSet<u64>,
    /// What the commits so far give; nothing after one that cannot be read.
    state: Option<State>,
    repeats: Repeats,
    /// Id and hash of the commit before, unless it cannot be read.
    previous: Option<(Uuid, Hash)>,
    files: BTreeMap<String, Named>,
}

impl<'a, 'b> Walk<'a, 'b> {
    fn new(scrub: &'a mut Scrub<'b>, checkpoints: BTreeSet<u64>) -> Self {
        Self {
            scrub,
            checkpoints,
            state: None,
            repeats: Repeats::default(),
            previous: None,
            files: BTreeMap::new(),
        }
    }

    /// Goes to where the log begins: at commit 0 or, where earlier ones are no longer kept, at a
    /// checkpoint. Returns the first commit to read.
    async fn begin(&mut self, first: Option<u64>, floor: u64) -> u64 {
        let first = first.unwrap_or(floor);
        if first == 0 && floor == 0 {
            self.state = Some(State::empty());
            return 0;
        }
        let start = first.max(floor);
        if self.checkpoints.contains(&start) {
            return start;
        }
        let next = match self.checkpoints.range(start..).next() {
            Some(next) => format!("no snapshot before {next}, the next checkpoint, can be read"),
            None => "there is no later checkpoint, and no snapshot can be read".to_owned(),
        };
        if first <= floor {
            let message = format!("commit {floor} is the oldest that is kept; {next}");
            self.scrub.find(FindingKind::Missing, layout::checkpoint(floor), message);
        } else if self.checkpoints.contains(&(first - 1)) {
            self.checkpoint(first - 1).await;
        } else {
            let message = format!("commits {floor} to {} are missing, and {next}", first - 1);
            self.scrub.find(FindingKind::Missing, layout::commit(floor), message);
        }
        start
    }

    /// What is decided by how far garbage collection is.
    fn finish(&mut self) {
        let floor = self.state.as_ref().map_or(0, |state| state.snapshot.floor);
        let report = &mut self.scrub.report;
        report.first_seq = report.first_seq.map(|first| first.max(floor));
        // What is removed may be collected at any time, and what is not yet takes no harm.
        if let Some(state) = &self.state {
            self.scrub.named.extend(state.removed.iter().map(|file| file.path.clone()));
        }
        self.files.retain(|_, named| named.removed.is_none_or(|removed| removed > floor));
        self.scrub.state.clone_from(&self.state);
    }

    /// Commits that were not listed, which may have come after the listing.
    async fn gap(&mut self, from: u64, to: u64) {
        for seq in from..=to {
            match self.scrub.store.get(&layout::commit(seq)).await {
                Ok(Some(bytes)) => self.commit(seq, &bytes).await,
                Ok(None) => return self.missing(seq, to).await,
                Err(error) => {
                    self.scrub.find_error(layout::commit(seq), &error);
                    self.lost(seq).await;
                }
            }
        }
    }

    async fn missing(&mut self, from: u64, to: u64) {
        let message = match to - from {
            0 => format!("commit {from} is missing"),
            _ => format!("commits {from} to {to} are missing"),
        };
        let message =
            format!("{message}, although a later object names or follows it; restore it from a copy");
        self.scrub.find(FindingKind::Missing, layout::commit(from), message);
        self.previous = None;
        for seq in self.checkpoints.range(from..=to).copied().collect::<Vec<_>>() {
            self.lost(seq).await;
        }
        self.forget();
        if let Some(seq) = self.checkpoints.range(from..=to).next_back().copied().filter(|seq| *seq == to) {
            self.checkpoint(seq).await;
        }
    }

    /// Goes on after a commit that cannot be read: from its checkpoint, if there is one.
    async fn lost(&mut self, seq: u64) {
        self.previous = None;
        self.forget();
        if self.checkpoints.contains(&seq) {
            self.checkpoint(seq).await;
        }
    }

    fn forget(&mut self) {
        self.state = None;
        self.scrub.report.first_seq = None;
    }

    async fn commit(&mut self, seq: u64, bytes: &Bytes) {
        let path = layout::commit(seq);
        let place = format!("{path} in {}", self.scrub.store.url());
        let opened = match envelope::open(bytes, ObjectKind::Commit, seq, &place) {
            Ok(opened) => opened,
            Err(error) => {
                self.scrub.find_error(&path, &error);
                return self.lost(seq).await;
            }
        };
        let header = opened.header;
        self.scrub.report.bytes += bytes.len() as u64;
        self.scrub.report.commits += 1;
        self.scrub.report.last_seq = Some(seq);
        let expected = match seq {
            0 => Some((Uuid::nil(), [0; 32])),
            _ => self.previous,
        };
        let follows = expected.is_none_or(|expected| expected == (header.previous_id, header.previous_hash));
        if !follows {
            self.scrub.find(
                FindingKind::Inconsistent,
                &path,
                format!(
                    "it does not follow commit {} as it is stored: one of the two was replaced",
                    seq.saturating_sub(1)
                ),
            );
            self.forget();
        }
        self.previous = Some((header.commit_id, opened.hash));
        match Body::open(&opened.sections, &place) {
            Ok(body) => {
                if let Some(state) = self.state.take() {
                    match state.apply(&header, opened.hash, &body, &place) {
                        Ok(state) => self.state = Some(state),
                        Err(error) => {
                            self.scrub.find(FindingKind::Inconsistent, &path, error.to_string());
                            self.forget();
                        }
                    }
                }
                self.repeats.record(header.time, &body.intent);
                self.repeats.expire(header.time);
                self.name_files(seq, &body);
                self.remove_files(seq, &body);
                if self.state.is_some() {
                    self.scrub.report.first_seq.get_or_insert(seq);
                }
            }
            Err(error) => {
                self.scrub.find_error(&path, &error);
                self.forget();
            }
        }
        if self.checkpoints.contains(&seq) {
            self.checkpoint(seq).await;
        }
    }

    /// The files that a commit names, and the columns of the rows inside it.
    fn name_files(&mut self, seq: u64, body: &Body) {
        let by = format!("commit {seq}");
        let snapshot = self.state.as_ref().map(|state| std::sync::Arc::clone(&state.snapshot));
        for (table, file) in body.data_files(seq) {
            self.name(table, file, &by, snapshot.as_deref());
        }
        let Some(snapshot) = snapshot else { return };
        for inline in &body.inline {
            let columns = (self.scrub.options.columns.0)(&snapshot, &inline.table);
            let Some((columns, batch)) = columns.zip(inline.batches.first()) else { continue };
            for difference in differences(&batch.schema(), &columns) {
                let message = format!("its rows of {}: {difference}", inline.table);
                self.scrub.find(FindingKind::Inconsistent, layout::commit(seq), message);
            }
        }
    }

    /// The files that no snapshot from this commit on names.
    fn remove_files(&mut self, seq: u64, body: &Body) {
        let compacted = body.compacted.iter().flat_map(|compaction| compaction.removed.iter().cloned());
        let mut removed: Vec<String> = compacted.collect();
        if let Some(state) = &self.state {
            // The newest are last.
            let ours = state.removed.iter().rev().take_while(|file| file.seq == seq);
            removed.extend(ours.map(|file| file.path.clone()));
        }
        for path in removed {
            if let Some(named) = self.files.get_mut(&path) {
                named.removed.get_or_insert(seq);
            }
        }
    }

    fn name(&mut self, table: &str, file: DataFile, by: &str, snapshot: Option<&Snapshot>) {
        if let Some(known) = self.files.get(&file.path) {
            // Which of its rows are removed changes from commit to commit.
            let file = DataFile { removed: RemovedRows::default(), ..file };
            if known.file != file {
                let message = format!("{} and {by} say different things of it", known.by);
                self.scrub.find(FindingKind::Inconsistent, &file.path, message);
            }
            return;
        }
        let columns = snapshot.and_then(|snapshot| (self.scrub.options.columns.0)(snapshot, table));
        let file = DataFile { removed: RemovedRows::default(), ..file };
        self.files.insert(file.path.clone(), Named { file, by: by.to_owned(), columns, removed: None });
    }

    /// Verifies a checkpoint, and goes on from it where the commits before cannot be read.
    async fn checkpoint(&mut self, seq: u64) {
        let path = layout::checkpoint(seq);
        let bytes = match self.scrub.store.get(&path).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                return self.scrub.find(FindingKind::Missing, &path, "it was listed, and is gone");
            }
            Err(error) => return self.scrub.find_error(&path, &error),
        };
        let (state, repeats) = match checkpoint::open(&bytes, seq, self.scrub.store.url()) {
            Ok(opened) => opened,
            Err(error) => return self.scrub.find_error(&path, &error),
        };
        self.scrub.report.bytes += bytes.len() as u64;
        self.scrub.report.checkpoints += 1;
        if let Some(previous) = self.previous
            && previous != (state.tip.commit_id, state.tip.hash)
        {
            let message = format!("it was made of another commit {seq} than the one that is stored");
            self.scrub.find(FindingKind::Inconsistent, &path, message);
        }
        let by = format!("checkpoint {seq}");
        for (table, contents) in &state.snapshot.tables {
            for file in contents.files.iter() {
                self.name(table, file.as_ref().clone(), &by, Some(&state.snapshot));
            }
        }
        match &self.state {
            Some(folded) => {
                for difference in contradictions(folded, &self.repeats, &state, &repeats) {
                    let message = format!("it does not hold what the log gives: {difference}");
                    self.scrub.find(FindingKind::Inconsistent, &path, message);
                }
            }
            None => {
                self.previous.get_or_insert((state.tip.commit_id, state.tip.hash));
                self.repeats = repeats;
                self.scrub.report.first_seq = Some(seq);
                self.state = Some(state);
            }
        }
    }
}

/// What a checkpoint has otherwise than the log.
fn contradictions(log: &State, repeats: &Repeats, stored: &State, stored_repeats: &Repeats) -> Vec<String> {
    let mut found = Vec::new();
    if log.removed != stored.removed {
        found.push("the removed files are others".to_owned());
    }
    let (log, stored) = (&log.snapshot, &stored.snapshot);
    if log.time != stored.time {
        found.push("its time is another".to_owned());
    }
    if log.definitions != stored.definitions {
        found.push("the declared members are others".to_owned());
    }
    if log.pins != stored.pins {
        found.push("the pins are others".to_owned());
    }
    if log.floor != stored.floor {
        let message =
            format!("its oldest readable snapshot is {}, and the log's is {}", stored.floor, log.floor);
        found.push(message);
    }
    if (log.epoch, log.exclusive) != (stored.epoch, stored.exclusive) {
        found.push("who may write is another".to_owned());
    }
    let names: BTreeSet<&String> = log.tables.keys().chain(stored.tables.keys()).collect();
    for name in names {
        let (Some(one), Some(other)) = (log.tables.get(name), stored.tables.get(name)) else {
            found.push(format!("only one of the two has table {name}"));
            continue;
        };
        if !one.inline.is_empty() {
            found.push(format!("rows of {name} are inside of commits that it should contain"));
        } else if one.files != other.files {
            found.push(format!("the files of {name} are others"));
        } else if one.expired != other.expired {
            found.push(format!("what has expired of {name} is another"));
        } else if (one.identity, one.changed, one.rows) != (other.identity, other.changed, other.rows) {
            found.push(format!(
                "{name} has {} rows, created in commit {} and changed in {}, against {}, {} and {}",
                other.rows, other.identity, other.changed, one.rows, one.identity, one.changed
            ));
        }
    }
    let cursors: BTreeSet<&String> = log.cursors.keys().chain(stored.cursors.keys()).collect();
    for view in cursors {
        if log.cursors.get(view) != stored.cursors.get(view) {
            found.push(format!("what view {view} has absorbed is another"));
        }
    }
    if repeats != stored_repeats {
        found.push("the ids and sequences of batches are others".to_owned());
    }
    found
}

//! Power loss at every point of a database's history on a local disk.
//!
//! A disk that notes its operations runs real histories. Then, after each operation, everything is built
//! that power loss may leave there: bytes are only durable once their file was synced, and a name, or its
//! removal, once its folder was; what was not synced may be there or not, each by itself, whatever the
//! order in which it was done. On each such disk the database must open with every acknowledged commit
//! once, and beside those only ones that were on their way.
//!
//! InfluxDB 3 lost this way what it had acknowledged: files of its write-ahead log were there after power
//! loss, with no bytes in them (<https://github.com/influxdata/influxdb/issues/26549>), because the names
//! of local objects appeared before their bytes were synced, which they never were.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod history;
mod recorder;
mod states;

use super::sweep::is_staging;
use super::*;
use crate::commit::{Changes, GarbageOptions, Log, LogOptions};
use crate::store::Store;
use crate::testing::Random;
use history::{Contents, History};
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use recorder::{Mistake, Operation, Record, Recorder, interleave};
use states::{Disk as SimulatedDisk, Fate, State};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Where the database is in the recorder's folder: below a folder that is created with it.
const ROOT: &str = "new/db";

#[derive(Debug, Default)]
struct Statistics {
    began: usize,
    acknowledged: usize,
    operations: usize,
    states: usize,
    disks: usize,
    real: usize,
}

/// A state without what no listing shows.
fn visible(state: &State) -> impl Iterator<Item = (&str, usize, Fate)> {
    let all = state.files.iter().map(|(name, file, fate)| (name.as_str(), *file, *fate));
    all.filter(|(name, ..)| !is_staging(FilePath::new(name).file_name().unwrap()))
}

/// Loses power at every point of a history.
fn lose_power(history: &History, seed: u64, statistics: &mut Statistics) -> Result<(), String> {
    let mut random = Random::new(seed);
    let operations = interleave(history.operations.clone(), &mut random);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut disk = SimulatedDisk::default();
    let (mut began, mut acknowledged) = (BTreeSet::new(), BTreeSet::new());
    let mut opened: HashMap<u64, Result<BTreeSet<u64>, String>> = HashMap::new();
    let mut contents = Contents::new(&history.rows);
    statistics.operations += operations.len();
    for (at, operation) in operations.iter().enumerate() {
        disk.apply(operation);
        match operation {
            Operation::Began(commit) => drop(began.insert(*commit)),
            Operation::Acknowledged(commit) => drop(acknowledged.insert(*commit)),
            _ => {}
        }
        let mut states = Vec::new();
        disk.states(&mut random, |state| states.push(state));
        for state in states {
            statistics.states += 1;
            let mut hasher = DefaultHasher::new();
            visible(&state).for_each(|file| file.hash(&mut hasher));
            let key = hasher.finish();
            let found = opened.entry(key).or_insert_with(|| {
                statistics.disks += 1;
                let torn = visible(&state).find(|(.., fate)| *fate != Fate::Kept);
                if let Some((name, _, fate)) = torn {
                    return Err(format!("{name} has its name and not its bytes: {fate:?}"));
                }
                let found = runtime.block_on(open_in_memory(&disk, &state, &mut contents));
                if statistics.disks % 25 == 1 {
                    statistics.real += 1;
                    let real = runtime.block_on(open_on_disk(&disk, &state, &mut contents));
                    assert_eq!(real, found, "a folder is another database than the same objects in memory");
                }
                found
            });
            let violation = match found {
                Err(violation) => Some(violation.clone()),
                Ok(found) => acknowledged.difference(found).next().map_or_else(
                    || {
                        found
                            .difference(&began)
                            .next()
                            .map(|commit| format!("commit {commit} is there and never began"))
                    },
                    |commit| Some(format!("commit {commit} was acknowledged and is lost")),
                ),
            };
            if let Some(violation) = violation {
                let before = &operations[at.saturating_sub(12)..=at];
                return Err(format!(
                    "seed {seed}, power loss after operation {at}: {violation}\nfiles: {:?}\noperations: {before:?}",
                    state.files
                ));
            }
        }
    }
    statistics.began += began.len();
    statistics.acknowledged += acknowledged.len();
    Ok(())
}

fn relative(name: &str) -> Option<Path> {
    Some(Path::from(name.strip_prefix(ROOT)?.trim_start_matches('/')))
}

async fn open_in_memory(
    disk: &SimulatedDisk,
    state: &State,
    contents: &mut Contents<'_>,
) -> Result<BTreeSet<u64>, String> {
    let memory = InMemory::new();
    for (name, file, fate) in visible(state) {
        let bytes = disk.bytes(file, fate);
        memory.put(&relative(name).unwrap(), bytes.into()).await.unwrap();
    }
    contents.open_and_go_on(Store::new(Arc::new(memory), "")).await
}

async fn open_on_disk(
    disk: &SimulatedDisk,
    state: &State,
    contents: &mut Contents<'_>,
) -> Result<BTreeSet<u64>, String> {
    let folder = tempfile::tempdir().unwrap();
    for name in &state.folders {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    for (name, file, fate) in &state.files {
        fs::write(folder.path().join(name), disk.bytes(*file, *fate)).unwrap();
    }
    let local = LocalStore::new(folder.path().join(ROOT), Durability::OsBuffered);
    contents.open_and_go_on(Store::with_local(local)).await
}

fn seeds(default: u64) -> std::ops::Range<u64> {
    let read = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let first = read("PARQUEDB_SEED").unwrap_or(1);
    first..first + read("PARQUEDB_SEEDS").unwrap_or(default)
}

#[test]
fn crash_of_the_power_loses_no_acknowledged_commit() {
    let mut statistics = Statistics::default();
    let seeds = seeds(6);
    for seed in seeds.clone() {
        let history = History::run(seed, Mistake::None, Durability::Sync);
        if let Err(violation) = lose_power(&history, seed, &mut statistics) {
            panic!("{violation}\nrepeat with PARQUEDB_SEED={seed} PARQUEDB_SEEDS=1");
        }
    }
    let Statistics { began, acknowledged, operations, states, disks, real } = statistics;
    println!(
        "power loss: {states} states after {operations} operations, {acknowledged} of {began} commits acknowledged, seeds {seeds:?}; {disks} different \
         disks opened in memory, {real} of them also in a folder"
    );
    assert!(acknowledged * 10 >= began * 9, "only {acknowledged} of {began} commits were acknowledged");
    assert!(states >= 2_000 * (seeds.end - seeds.start) as usize, "only {states} states");
}

/// A folder, or an object, of another process may be there and not be durable.
#[test]
fn crash_of_the_power_beside_a_process_that_stands_still_while_it_creates() {
    let mut statistics = Statistics::default();
    for folder in ["", "new", "new/db", "new/db/_probe", "new/db/log"] {
        let history = History::created_by_two(folder);
        if let Err(violation) = lose_power(&history, 1, &mut statistics) {
            panic!("standing still before the sync of `{folder}`: {violation}");
        }
    }
    println!("creation by two: {} states after {} operations", statistics.states, statistics.operations);
}

/// The simulation is worth nothing unless it sees what is wrong.
#[test]
fn crash_of_the_power_is_seen_to_break_stores_that_sync_too_little() {
    let mistakes = [
        (Mistake::LinksBeforeSync, Durability::Sync),
        (Mistake::Forgets("new/db/log"), Durability::Sync),
        (Mistake::Forgets("new/db/data/A"), Durability::Sync),
        (Mistake::Forgets("new/db/data"), Durability::Sync),
        (Mistake::Forgets("new/db"), Durability::Sync),
        (Mistake::Forgets("new"), Durability::Sync),
        (Mistake::Forgets(""), Durability::Sync),
        (Mistake::None, Durability::OsBuffered),
    ];
    for (mistake, durability) in mistakes {
        let history = History::run(1, mistake, durability);
        let violation = lose_power(&history, 1, &mut Statistics::default());
        let violation = violation.expect_err(&format!("{mistake:?} with {durability:?} was not seen"));
        println!("{mistake:?}, {durability:?}: {}", violation.lines().next().unwrap());
    }
}

/// Deletes commits upwards, and gives the holes that power loss may leave in the log.
fn holes_after_deletions(mistake: Mistake, statistics: &mut Statistics) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let record = Record::new(folder.path(), mistake, true);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = |record: &Record| {
        let local = LocalStore::with_disk(folder.path().join(ROOT), Durability::Sync, Recorder::new(record));
        Store::with_local(local)
    };
    let name = |seq: u64| Path::from(format!("log/{seq:020}.c"));
    const COMMITS: u64 = 24;
    const DELETED: u64 = 20;
    runtime.block_on(async {
        let writer = store(&record);
        for seq in 0..COMMITS {
            writer.create(&name(seq), Bytes::from(seq.to_string())).await.unwrap();
        }
        // A collection that is interrupted, and another process that goes on from the lowest.
        for seq in 0..DELETED / 2 {
            writer.delete(&name(seq)).await.unwrap();
        }
        let other = store(&record);
        for seq in DELETED / 2..DELETED {
            other.delete(&name(seq)).await.unwrap();
        }
    });
    let mut disk = SimulatedDisk::default();
    let mut random = Random::new(1);
    let operations = record.operations();
    let mut result = Ok(());
    let created = operations
        .iter()
        .position(|operation| matches!(operation, Operation::Unlink { name } if name.ends_with(".c")));
    statistics.operations += operations.len();
    for (at, operation) in operations.iter().enumerate() {
        disk.apply(operation);
        if at < created.unwrap() {
            continue;
        }
        disk.states(&mut random, |state| {
            statistics.states += 1;
            let seqs: Vec<u64> = visible(&state)
                .filter_map(|(name, ..)| name.strip_prefix("new/db/log/")?.strip_suffix(".c")?.parse().ok())
                .collect();
            let lowest = seqs.iter().copied().min().unwrap_or(COMMITS);
            if seqs.len() as u64 != COMMITS - lowest {
                result = Err(format!("after operation {at} there are only commits {seqs:?}"));
            }
        });
    }
    result
}

#[test]
fn crash_of_the_power_leaves_no_hole_in_a_log_that_is_deleted_upwards() {
    let mut statistics = Statistics::default();
    holes_after_deletions(Mistake::None, &mut statistics).unwrap();
    println!("deletions: {} states after {} operations", statistics.states, statistics.operations);
    let error = holes_after_deletions(Mistake::Forgets("new/db/log"), &mut statistics).unwrap_err();
    println!("without a sync: {error}");
}

//! Promises that only many at once can break.

use super::Tally;
use super::probe::{Answer, Probe, beginning, object, whole};
use bytes::Bytes;
use futures::future::join_all;
use object_store::path::Path;
use object_store::{GetRange, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::Barrier;
use tokio::task::{JoinError, JoinHandle};

/// How many read what is being written.
const READERS: usize = 4;

/// How often a race is run again in which the store decided nothing: S3's 409 looks like "exists".
const UNDECIDED: usize = 5;

/// What a task of the check gave.
fn joined<T>(result: Result<T, JoinError>) -> Result<T> {
    result.map_err(|source| object_store::Error::JoinError { source })
}

async fn all<T>(tasks: Vec<JoinHandle<Result<T>>>) -> Result<Vec<T>> {
    join_all(tasks).await.into_iter().map(|result| joined(result)?).collect()
}

/// Races of many and of two: one winner, whose object it is, and the others are told.
pub(super) async fn one_winner(probe: &Arc<Probe>) -> Result<[Tally; 3]> {
    let mut tallies = [Tally::default(), Tally::default(), Tally::default()];
    let options = &probe.options;
    let races =
        std::iter::repeat_n(options.racers, options.rounds).chain(std::iter::repeat_n(2, options.pairs));
    for (round, racers) in races.enumerate() {
        let path = probe.path(&format!("race/{round:020}.c"));
        for attempt in 1..=UNDECIDED {
            let is_last = attempt == UNDECIDED;
            if race(probe, &path, (round * options.racers.max(2)) as u64, racers, is_last, &mut tallies)
                .await?
            {
                break;
            }
        }
    }
    Ok(tallies)
}

/// One race. Gives `false`, and says nothing, where nobody won and nothing is there, unless it is the
/// last try.
async fn race(
    probe: &Arc<Probe>,
    path: &Path,
    first_tag: u64,
    racers: usize,
    is_last: bool,
    [one, whose, losers]: &mut [Tally; 3],
) -> Result<bool> {
    let start = Arc::new(Barrier::new(racers));
    let tasks = (0..racers).map(|racer| {
        let (probe, path, start) = (Arc::clone(probe), path.clone(), Arc::clone(&start));
        tokio::spawn(async move {
            // Of different lengths, so that a mix of two is none of them.
            let bytes = object(first_tag + racer as u64, 300 + 37 * racer);
            start.wait().await;
            Ok(probe.try_create(&path, &bytes).await)
        })
    });
    let answers = all(tasks.collect()).await?;
    let stored = probe.read(path, None).await?;

    let tags = || (first_tag..).zip(&answers);
    let winners: Vec<u64> =
        tags().filter(|(_, (answer, _))| matches!(answer, Answer::Created)).map(|(tag, _)| tag).collect();
    let owner = stored.as_deref().map(whole);
    // Whose first request may have created it, and whose second was told that it exists.
    let unclear: Vec<u64> = tags().filter(|(_, (_, repeated))| *repeated).map(|(tag, _)| tag).collect();
    let is_lost_answer = winners.is_empty() && matches!(&owner, Some(Ok(tag)) if unclear.contains(tag));
    if winners.is_empty() && stored.is_none() && !is_last {
        return Ok(false);
    }

    one.note(match winners.len() {
        1 => Ok(()),
        0 if is_lost_answer => Ok(()),
        0 if stored.is_none() => Err(format!("none of {racers} created {path}, and it is not there")),
        0 => Err(format!("none of {racers} was told that it created {path}, and it is there")),
        many => Err(format!("{many} of {racers} were told that they created {path}")),
    });
    whose.note(match owner {
        None if winners.is_empty() => Ok(()),
        None => Err(format!("{path} was created and is not there")),
        Some(Err(how)) => Err(format!("{path} is damaged: {how}")),
        Some(Ok(tag)) if winners.contains(&tag) || is_lost_answer => Ok(()),
        Some(Ok(_)) => Err(format!("{path} is the object of one who was told that it exists")),
    });
    for (answer, _) in &answers {
        match answer {
            Answer::Created => {}
            Answer::Exists => losers.note(Ok(())),
            Answer::Other(error) => losers.note(Err(format!("who lost {path} was told: {error}"))),
        }
    }
    Ok(true)
}

/// Readers that look while objects are created.
pub(super) async fn atomic_create(probe: &Arc<Probe>) -> Result<[Tally; 1]> {
    let mut tally = Tally::default();
    let folder = probe.path("appear");
    for repeat in 0..probe.options.repeats {
        let path = folder.clone().join(format!("{repeat:020}.c"));
        let bytes = object(repeat as u64, probe.options.object_bytes);
        let is_created = Arc::new(AtomicBool::new(false));
        let start = Arc::new(Barrier::new(READERS + 1));
        let readers = (0..READERS).map(|reader| {
            let (probe, path, folder) = (Arc::clone(probe), path.clone(), folder.clone());
            let (is_created, start, size) = (Arc::clone(&is_created), Arc::clone(&start), bytes.len() as u64);
            tokio::spawn(async move {
                let mut tally = Tally::default();
                start.wait().await;
                loop {
                    let is_last = is_created.load(Ordering::SeqCst);
                    tally.note(if reader == 0 {
                        listed_whole(&probe, &folder, &path, size).await?
                    } else {
                        read_whole(&probe, &path, reader == 1).await?
                    });
                    if is_last {
                        return Ok(tally);
                    }
                    tokio::task::yield_now().await;
                }
            })
        });
        let readers: Vec<_> = readers.collect();
        start.wait().await;
        let created = probe.create(&path, &bytes).await;
        is_created.store(true, Ordering::SeqCst);
        for read in all(readers).await? {
            tally.add(read);
        }
        tally.note(created?);
    }
    Ok([tally])
}

/// Nothing, or the object, or with `part` the first half of it.
async fn read_whole(probe: &Probe, path: &Path, part: bool) -> Result<Result<(), String>> {
    let half = (probe.options.object_bytes / 2).max(1) as u64;
    let read = probe.read(path, part.then_some(GetRange::Bounded(0..half))).await;
    let found = match read {
        Ok(Some(bytes)) if part && probe.options.object_bytes > 32 => {
            beginning(&bytes).map(|_| bytes.len() as u64).and_then(|found| {
                if found == half { Ok(()) } else { Err(format!("{found} of {half} bytes came")) }
            })
        }
        Ok(Some(bytes)) => whole(&bytes).map(|_| ()),
        Ok(None) => Ok(()),
        Err(error) => return Err(error),
    };
    Ok(found.map_err(|how| format!("{path} was seen in part: {how}")))
}

async fn listed_whole(probe: &Probe, folder: &Path, path: &Path, size: u64) -> Result<Result<(), String>> {
    let objects = probe.list(folder, None).await?;
    let listed = objects.iter().find(|object| object.location == *path);
    Ok(match listed.filter(|object| object.size != size) {
        Some(object) => Err(format!("{path} was listed with {} of its {size} bytes", object.size)),
        None => Ok(()),
    })
}

/// Readers that look while one object is overwritten again and again.
pub(super) async fn atomic_overwrite(probe: &Arc<Probe>) -> Result<[Tally; 2]> {
    let path = probe.path("HEAD");
    probe.put(&path, &version(probe, 0)).await?;
    let watched = Arc::new(Watched::default());
    let readers: Vec<JoinHandle<Result<[Tally; 2]>>> = (0..READERS)
        .map(|reader| {
            let (probe, path, watched) = (Arc::clone(probe), path.clone(), Arc::clone(&watched));
            tokio::spawn(async move {
                let mut tallies = [Tally::default(), Tally::default()];
                loop {
                    let is_last = watched.is_over.load(Ordering::SeqCst);
                    read_version(&probe, &path, reader == 0, &watched, &mut tallies).await?;
                    if is_last {
                        return Ok(tallies);
                    }
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let mut tallies = [Tally::default(), Tally::default()];
    let written = overwrite(probe, &path, &watched, &readers, &mut tallies).await;
    watched.is_over.store(true, Ordering::SeqCst);
    for read in all(readers).await? {
        for (tally, read) in tallies.iter_mut().zip(read) {
            tally.add(read);
        }
    }
    written.map(|()| tallies)
}

/// What the writer and the readers of one object tell each other.
#[derive(Debug, Default)]
struct Watched {
    acknowledged: AtomicU64,
    reads: AtomicU64,
    is_over: AtomicBool,
}

/// Versions differ in length, the one time growing and the other shrinking.
fn version(probe: &Probe, number: u64) -> Bytes {
    let size = probe.options.object_bytes;
    object(number, if number.is_multiple_of(2) { size } else { size / 3 + 17 })
}

async fn overwrite(
    probe: &Probe,
    path: &Path,
    watched: &Watched,
    readers: &[JoinHandle<Result<[Tally; 2]>>],
    tallies: &mut [Tally; 2],
) -> Result<()> {
    for number in 1..=probe.options.repeats as u64 {
        let before = watched.reads.load(Ordering::SeqCst);
        probe.put(path, &version(probe, number)).await?;
        watched.acknowledged.store(number, Ordering::SeqCst);
        read_version(probe, path, false, watched, tallies).await?;
        // A writer that is done before the readers have begun shows nothing.
        while watched.reads.load(Ordering::SeqCst) < before + 1 + READERS as u64
            && !readers.iter().any(JoinHandle::is_finished)
        {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

async fn read_version(
    probe: &Probe,
    path: &Path,
    part: bool,
    watched: &Watched,
    [mixes, stale]: &mut [Tally; 2],
) -> Result<()> {
    let before = watched.acknowledged.load(Ordering::SeqCst);
    let quarter = (probe.options.object_bytes as u64 / 4).max(64);
    let found = match probe.read(path, part.then_some(GetRange::Bounded(0..quarter))).await? {
        None => Err(format!("{path} was gone for a moment")),
        Some(bytes) => {
            let found = if part { beginning(&bytes).map(|(number, _)| number) } else { whole(&bytes) };
            found.map_err(|how| format!("{path} was read as no version of it: {how}"))
        }
    };
    watched.reads.fetch_add(1, Ordering::SeqCst);
    if let Ok(number) = found {
        stale.note(if number < before {
            Err(format!("a read of {path} gave version {number} after {before} was acknowledged"))
        } else {
            Ok(())
        });
    }
    mixes.note(found.map(|_| ()));
    Ok(())
}

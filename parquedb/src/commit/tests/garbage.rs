//! Garbage collection: what it keeps, what it takes, and what a process does that slept through it.

use super::*;
use crate::ErrorKind;
use crate::commit::{GarbageOptions, GarbageReport};
use crate::testing::{ClockedStore, Fault, FaultStore, Request};
use futures::TryStreamExt;

const HOUR: i64 = 3_600_000_000;

pub(super) struct Place {
    pub(super) clock: Arc<ManualClock>,
    pub(super) faults: FaultStore,
    pub(super) inner: Arc<dyn ObjectStore>,
}

impl Place {
    pub(super) fn new() -> Self {
        let clock = Arc::new(ManualClock::new(1_000 * HOUR));
        let faults = FaultStore::new(Arc::new(ClockedStore::new(Arc::clone(&clock) as _)));
        Self { clock, inner: Arc::new(faults.clone()), faults }
    }

    pub(super) async fn open(&self) -> Log {
        let flush_after = Duration::from_secs(100 * 24 * 3600);
        let options = LogOptions { clock: Arc::clone(&self.clock) as _, flush_after, ..options() };
        Log::open(Store::new(Arc::clone(&self.inner), "db"), options).await.unwrap()
    }

    pub(super) async fn objects(&self, folder: &str) -> Vec<String> {
        let folder = Path::from(format!("db/{folder}"));
        let objects: Vec<_> = self.inner.list(Some(&folder)).try_collect().await.unwrap();
        let mut names: Vec<_> = objects.iter().map(|object| object.location.to_string()).collect();
        names.sort();
        names
    }
}

fn replace(table: &str, values: std::ops::Range<i64>) -> Changes {
    let mut changes = write(table, values);
    changes.writes[0].replace = true;
    changes
}

async fn collect(log: &Log) -> GarbageReport {
    log.collect_garbage(GarbageOptions::default()).await.unwrap()
}

/// Hours of one replacement and one flush each.
async fn work(place: &Place, log: &Log, hours: i64) {
    steps(place, log, hours, 1).await;
}

async fn steps(place: &Place, log: &Log, steps: i64, hours: i64) {
    for hour in 0..steps {
        log.commit(replace("A", hour * 10..hour * 10 + 5)).await.unwrap();
        log.commit(write("B", hour..hour + 1)).await.unwrap();
        log.flush().await.unwrap();
        place.clock.advance(hours * HOUR);
    }
}

#[tokio::test]
async fn only_what_no_kept_snapshot_needs_is_deleted() {
    let place = Place::new();
    let log = place.open().await;
    work(&place, &log, 40).await;
    let mut before = Vec::new();
    for seq in 0..=log.snapshot().seq {
        let snapshot = log.snapshot_at(seq).await.unwrap();
        before.push((rows(&log, &snapshot, "A").await, rows(&log, &snapshot, "B").await));
    }
    let planned =
        log.collect_garbage(GarbageOptions { dry_run: true, ..GarbageOptions::default() }).await.unwrap();
    let data = place.objects("data").await;
    assert_eq!(place.objects("log").await.len(), before.len());
    let report = collect(&log).await;
    assert_eq!((&report.commits, &report.files), (&planned.commits, &planned.files));
    // 24 hours are kept, of three commits each.
    assert_eq!(report.floor, 16 * 3 + 3);
    assert_eq!(report.commits.len() as u64, report.floor);
    assert_eq!(report.files.len(), 16, "the replaced files up to the floor");
    assert_eq!(place.objects("data").await.len(), data.len() - 16);
    assert!(place.objects("log").await[0].ends_with(&format!("{:020}.c", report.floor)));

    for log in [log, place.open().await] {
        for (seq, (a, b)) in before.iter().enumerate() {
            let seq = seq as u64;
            match log.snapshot_at(seq).await {
                Ok(snapshot) => {
                    assert!(seq >= report.floor);
                    assert_eq!(
                        (&rows(&log, &snapshot, "A").await, &rows(&log, &snapshot, "B").await),
                        (a, b)
                    );
                }
                Err(error) => {
                    assert!(seq < report.floor, "{seq}: {error}");
                    assert_eq!(error.kind(), ErrorKind::NotFound);
                    assert!(error.to_string().contains(&report.floor.to_string()), "{error}");
                }
            }
        }
        assert_eq!(log.snapshot_as_of(0).await.unwrap_err().kind(), ErrorKind::NotFound);
        // Nothing is left to do.
        let again = collect(&log).await;
        assert_eq!((again.objects(), again.floor), (0, report.floor));
    }
}

#[tokio::test]
async fn a_pinned_snapshot_stays_readable_until_the_pin_ends() {
    let place = Place::new();
    let log = place.open().await;
    work(&place, &log, 3).await;
    let pinned = log.snapshot();
    let expected = rows(&log, &pinned, "A").await;
    let lifetime = Duration::from_secs(100 * 3600);
    log.pin("report", Some(pinned.seq), lifetime).await.unwrap();
    work(&place, &log, 60).await;
    let report = collect(&log).await;
    assert!(report.floor <= pinned.seq, "{report:?}");
    let other = place.open().await;
    let again = other.snapshot_at(pinned.seq).await.unwrap();
    assert_eq!(rows(&other, &again, "A").await, expected);
    assert!(other.unpin("report").await.unwrap());
    assert!(!other.unpin("report").await.unwrap());
    assert!(collect(&log).await.floor > pinned.seq);
    let error = other.pin("late", Some(pinned.seq), lifetime).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    // A pin that has ended keeps nothing.
    log.pin("short", None, Duration::from_secs(1)).await.unwrap();
    let seq = log.snapshot().seq;
    work(&place, &log, 40).await;
    assert!(collect(&log).await.floor > seq);
}

#[tokio::test]
async fn files_left_behind_are_swept_and_young_ones_are_not() {
    let place = Place::new();
    let log = place.open().await;
    work(&place, &log, 1).await;
    let old = Path::from("db/data/A/01ARZ3NDEKTSV4RRFFQ69G5FAV.parquet");
    let young = Path::from("db/data/A/01ARZ3NDEKTSV4RRFFQ69G5FAW.parquet");
    place.inner.put(&old, "left".into()).await.unwrap();
    place.clock.advance(8 * 24 * HOUR);
    place.inner.put(&young, "being written".into()).await.unwrap();
    let report = collect(&log).await;
    assert_eq!(
        report.orphans.iter().map(|orphan| orphan.path.as_str()).collect::<Vec<_>>(),
        ["data/A/01ARZ3NDEKTSV4RRFFQ69G5FAV.parquet"]
    );
    assert!(place.inner.get(&young).await.is_ok());
    assert_eq!(rows(&log, &log.snapshot(), "B").await.len(), 1);
}

#[tokio::test]
async fn too_short_a_retention_is_refused() {
    let place = Place::new();
    let log = place.open().await;
    let options = GarbageOptions { retention: Duration::from_secs(60), ..GarbageOptions::default() };
    assert_eq!(log.collect_garbage(options).await.unwrap_err().kind(), ErrorKind::Invalid);
    let options =
        GarbageOptions { orphans_after: Some(Duration::from_secs(3600)), ..GarbageOptions::default() };
    assert_eq!(log.collect_garbage(options).await.unwrap_err().kind(), ErrorKind::Invalid);
}

/// A commit lands, and its writer stands still before it hears of that. Others follow the commit, flush its
/// rows and collect its object: made once more, it would repeat its rows.
#[test]
fn fault_of_a_writer_that_slept_before_its_answer_came_repeats_no_rows() {
    crate::time::simulate(async {
        for id in [None, Some("once")] {
            let place = Place::new();
            let (sleeper, log) = (place.open().await, place.open().await);
            place.faults.plan(Request::Put, "log/", 0, 1, Fault::ApplyThenHang);
            let mut changes = write("B", 900..901);
            changes.batch_ids.extend(id.map(str::to_owned));
            let committing = tokio::spawn(async move { (sleeper.commit(changes).await, sleeper) });
            while place.objects("log").await.len() < 2 {
                tokio::task::yield_now().await;
            }
            work(&place, &log, 60).await;
            assert!(collect(&log).await.floor > 1);
            let (committed, sleeper) = committing.await.unwrap();
            match id {
                Some(_) => assert!(committed.unwrap().repeated),
                None => assert_eq!(committed.unwrap_err().kind(), ErrorKind::OutcomeUnknown),
            }
            // It knows the log as it is, and goes on.
            sleeper.commit(write("B", 901..902)).await.unwrap();
            let check = place.open().await;
            let values: Vec<_> =
                rows(&check, &check.snapshot(), "B").await.into_iter().map(|(_, n)| n).collect();
            assert_eq!(values, [900].into_iter().chain(0..60).chain([901]).collect::<Vec<_>>());
        }
    });
}

/// A writer that slept while the log went on and was collected under it would find its slot free.
#[tokio::test]
async fn a_writer_that_slept_through_a_collection_builds_on_no_garbage() {
    let place = Place::new();
    let sleeper = place.open().await;
    sleeper.commit(with_id(write("A", 0..1), "first")).await.unwrap();
    let asleep_at = sleeper.snapshot().seq;
    let log = place.open().await;
    work(&place, &log, 60).await;
    let report = collect(&log).await;
    assert!(report.floor > asleep_at + 1);
    // Its slot is free again.
    assert!(
        place.objects("log").await.iter().all(|name| !name.ends_with(&format!("{:020}.c", asleep_at + 1)))
    );
    let committed = sleeper.commit(with_id(write("B", 900..901), "second")).await.unwrap();
    assert!(committed.snapshot.seq > report.floor, "{}", committed.snapshot.seq);
    let check = place.open().await;
    let values: Vec<_> = rows(&check, &check.snapshot(), "B").await.into_iter().map(|(_, n)| n).collect();
    assert_eq!(values, (0..60).chain([900]).collect::<Vec<_>>());
    // The garbage it left in the old slot is swept by the next collection.
    assert_eq!(place.objects("log").await[0], format!("db/log/{:020}.c", asleep_at + 1));
    let swept = collect(&check).await;
    assert_eq!(swept.commits.len(), 1);
    // Changes that depend on what it knew are to be computed again.
    let sleeper = place.open().await;
    work(&place, &log, 60).await;
    collect(&log).await;
    let mut changes = write("V", 0..1);
    changes.cursors.push(cursor("V", "A", Absorbed::ThisCommit));
    changes.base = Some(sleeper.snapshot().seq);
    assert_eq!(sleeper.commit(changes).await.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_reader_that_slept_through_a_collection_does_not_take_a_gap_for_the_end() {
    let place = Place::new();
    let log = place.open().await;
    log.commit(write("A", 0..1)).await.unwrap();
    let options = LogOptions { read_only: true, clock: Arc::clone(&place.clock) as _, ..options() };
    let reader = Log::open(Store::new(Arc::clone(&place.inner), "db"), options).await.unwrap();
    work(&place, &log, 60).await;
    collect(&log).await;
    let snapshot = reader.catch_up().await.unwrap();
    assert_eq!(snapshot.seq, log.snapshot().seq);
    assert_eq!(rows(&reader, &snapshot, "B").await.len(), 60);
}

#[tokio::test]
async fn an_outcome_that_stayed_unknown_through_a_collection_is_settled() {
    for catches_up in [false, true] {
        let place = Place::new();
        let sleeper = place.open().await;
        place.faults.plan(Request::Put, "log/", 0, 1000, Fault::FailBefore);
        let unknown = sleeper.commit(with_id(write("B", 500..501), "lost")).await.unwrap_err();
        assert_eq!(unknown.kind(), ErrorKind::OutcomeUnknown);
        place.faults.heal();
        let log = place.open().await;
        work(&place, &log, 60).await;
        collect(&log).await;
        if catches_up {
            // It learns that its slot was collected before it has settled what it had sent there.
            assert_eq!(sleeper.catch_up().await.unwrap().seq, log.snapshot().seq);
        }
        let again = sleeper.commit(with_id(write("B", 500..501), "lost")).await.unwrap();
        assert!(!again.repeated);
        let check = place.open().await;
        let lost = rows(&check, &check.snapshot(), "B").await.into_iter().filter(|(_, n)| *n == 500);
        assert_eq!(lost.count(), 1);
    }
}

/// A writer whose commit landed without an answer.
async fn unanswered(place: &Place) -> Log {
    let writer = place.open().await;
    place.faults.plan(Request::Put, "log/", 0, 1000, Fault::ApplyThenFail);
    place.faults.plan(Request::Get, "log/", 0, 1000, Fault::FailBefore);
    let error = writer.commit(with_id(write("B", 500..501), "lost")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
    place.faults.heal();
    writer
}

/// That a commit of long ago is found where it was sent says nothing about where the log ends now.
#[tokio::test]
async fn a_commit_that_is_found_late_does_not_prove_the_end_of_the_log() {
    let place = Place::new();
    let late = unanswered(&place).await;
    let log = place.open().await;
    work(&place, &log, 60).await;
    let again = late.commit(with_id(write("B", 500..501), "lost")).await.unwrap();
    assert!(again.repeated);
    assert!(collect(&log).await.floor > again.snapshot.seq + 1);
    late.commit(with_id(write("B", 600..601), "next")).await.unwrap();
    let check = place.open().await;
    let next = rows(&check, &check.snapshot(), "B").await.into_iter().filter(|(_, n)| *n == 600);
    assert_eq!(next.count(), 1);
}

/// A commit that is sent again after its slot was collected does not pass for the one that was there.
#[tokio::test]
async fn a_commit_that_lands_twice_is_no_anchor() {
    let place = Place::new();
    let late = unanswered(&place).await;
    let reader = place.open().await;
    let log = place.open().await;
    work(&place, &log, 60).await;
    assert!(collect(&log).await.floor > reader.snapshot().seq + 1);
    let again = late.commit(with_id(write("B", 500..501), "lost")).await.unwrap();
    let copy = format!("db/log/{:020}.c", reader.snapshot().seq);
    assert_eq!(place.objects("log").await[0], copy, "it did not land again");
    assert!(again.repeated);
    assert_eq!(reader.catch_up().await.unwrap().seq, log.catch_up().await.unwrap().seq);
}

/// A commit without ids that finds its slot while what its writer had known is collected is made once.
#[tokio::test]
async fn a_commit_beside_a_collection_is_made_once() {
    let place = Place::new();
    let options = LogOptions {
        clock: Arc::clone(&place.clock) as _,
        request_timeout: Duration::from_secs(2),
        outcome_deadline: Duration::from_secs(10),
        ..options()
    };
    let sleeper = Log::open(Store::new(Arc::clone(&place.inner), "db"), options).await.unwrap();
    sleeper.commit(write("B", 500..501)).await.unwrap();
    let log = place.open().await;
    work(&place, &log, 30).await;
    // The floor is raised, and nothing is deleted yet.
    place.faults.plan(Request::Delete, "log/", 0, 1, Fault::FailBefore);
    log.collect_garbage(GarbageOptions::default()).await.unwrap_err();
    assert!(log.snapshot().floor > sleeper.snapshot().seq);
    let slot = format!("log/{:020}.c", log.snapshot().seq + 1);
    place.faults.plan(Request::Put, &slot, 0, 1, Fault::ApplyThenHang);
    let collecting = async {
        while !place.objects("log").await.contains(&format!("db/{slot}")) {
            tokio::task::yield_now().await;
        }
        collect(&log).await
    };
    let (committed, collected) = tokio::join!(sleeper.commit(write("B", 700..701)), collecting);
    assert!(!collected.commits.is_empty());
    assert!(!committed.unwrap().repeated);
    let check = place.open().await;
    let made = rows(&check, &check.snapshot(), "B").await.into_iter().filter(|(_, n)| *n == 700);
    assert_eq!(made.count(), 1);
}

#[tokio::test]
async fn crash_at_every_request_of_a_collection_loses_nothing() {
    let mut at = 0;
    loop {
        for applied in [false, true] {
            let place = Place::new();
            let log = place.open().await;
            steps(&place, &log, 5, 10).await;
            let expected = rows(&log, &log.snapshot(), "A").await;
            place.faults.crash_at(place.faults.requests() + at, applied);
            let result = log.collect_garbage(GarbageOptions::default()).await;
            place.faults.heal();
            let again = place.open().await;
            assert_eq!(rows(&again, &again.snapshot(), "A").await, expected, "crash at {at}, {applied}");
            let report = collect(&again).await;
            for seq in report.floor..=again.snapshot().seq {
                let snapshot = again.snapshot_at(seq).await.unwrap();
                rows(&again, &snapshot, "A").await;
            }
            assert_eq!(place.objects("log").await.len() as u64, again.snapshot().seq - report.floor + 1);
            assert!(collect(&again).await.objects() == 0);
            if result.is_ok() && !applied {
                assert!(at > 15, "{at}");
                return;
            }
        }
        at += 1;
    }
}

#[tokio::test]
async fn a_damaged_checkpoint_keeps_the_log_before_it() {
    let place = Place::new();
    let log = place.open().await;
    work(&place, &log, 40).await;
    let last = log.snapshot().seq;
    let path = Path::from(format!("db/ckpt/{last:020}.k"));
    let mut bytes = place.inner.get(&path).await.unwrap().bytes().await.unwrap().to_vec();
    bytes[200] ^= 1;
    place.inner.put(&path, bytes.into()).await.unwrap();
    place.clock.advance(30 * HOUR);
    let before = place.objects("log").await;
    let error = log.collect_garbage(GarbageOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(&format!("{last:020}.k")), "{error}");
    assert_eq!(place.objects("log").await, before);
}

#[tokio::test]
async fn files_that_an_interrupted_write_left_on_disk_are_swept() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(Store::open(folder.path().to_str().unwrap()).unwrap(), options()).await.unwrap();
    log.commit(write("A", 0..1)).await.unwrap();
    let left = folder.path().join("log/00000000000000000002.c#77");
    let young = folder.path().join("log/00000000000000000002.c#78");
    for path in [&left, &young] {
        std::fs::write(path, "torn").unwrap();
    }
    let old = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    std::fs::File::options().write(true).open(&left).unwrap().set_modified(old).unwrap();
    assert_eq!(collect(&log).await.staging, 1);
    assert!(!left.exists() && young.exists());
    log.commit(write("A", 1..2)).await.unwrap();
}

//! A copy opens as what it was copied from, at whatever request it was interrupted, and is never
//! taken for a database before it is complete.

use super::scrub::{sample, scrubbed};
use super::*;
use crate::commit::GarbageOptions;
use crate::commit::backup::{CopyOptions, CopyReport, backup, restore};
use crate::testing::{ClockedStore, Fault, FaultStore, Request};
use crate::{ErrorKind, Result};
use std::collections::BTreeMap;

fn place(inner: &Arc<dyn ObjectStore>) -> Store {
    Store::new(Arc::clone(inner), "db")
}

/// Names a store in memory, so that no two have the same URL.
fn copy_at(inner: &Arc<dyn ObjectStore>, name: &str) -> Store {
    Store::new(Arc::clone(inner), name)
}

fn at(seq: u64) -> CopyOptions {
    CopyOptions { at: Some(seq), ..CopyOptions::default() }
}

type Tables = BTreeMap<String, Vec<(u64, i64)>>;

async fn tables(log: &Log, seq: u64) -> Tables {
    let snapshot = log.snapshot_at(seq).await.unwrap();
    let mut tables = Tables::new();
    for name in snapshot.tables.keys() {
        tables.insert(name.clone(), rows(log, &snapshot, name).await);
    }
    tables
}

async fn opened(store: &Store) -> Result<Log> {
    let options = LogOptions { create_if_missing: false, ..options() };
    Log::open(store.clone(), options).await
}

/// The copy holds what the source held at `seq`, and is sound.
async fn assert_copy(source: &Arc<dyn ObjectStore>, copy: &Arc<dyn ObjectStore>, name: &str, seq: u64) {
    let (one, other) = (open(source).await, opened(&copy_at(copy, name)).await.unwrap());
    assert_eq!(other.snapshot().seq, seq);
    assert_eq!(tables(&one, seq).await, tables(&other, seq).await);
    let snapshot = one.snapshot_at(seq).await.unwrap();
    assert_eq!(snapshot.cursors, other.snapshot().cursors);
    assert_eq!(snapshot.time, other.snapshot().time);
    let report = crate::commit::scrub::scrub(&copy_at(copy, name), &super::scrub::scrubbing()).await.unwrap();
    assert_eq!(report.findings, [], "{name} at {seq}");
}

#[tokio::test]
async fn every_snapshot_can_be_copied_and_restored() {
    let source = sample().await;
    for seq in 0..=11 {
        let copy = memory();
        let report = backup(&place(&source), &copy_at(&copy, "copy"), &at(seq)).await.unwrap();
        assert_eq!(report.seq, seq);
        assert_copy(&source, &copy, "copy", seq).await;
        let restored = memory();
        restore(&copy_at(&copy, "copy"), &copy_at(&restored, "back"), &CopyOptions::default()).await.unwrap();
        assert_copy(&source, &restored, "back", seq).await;
        // It is written to like any other, and the batch ids are remembered.
        let log = opened(&copy_at(&restored, "back")).await.unwrap();
        assert_eq!(log.has_batch("one"), seq >= 1);
        log.commit(write("A", 70..71)).await.unwrap();
        log.flush().await.unwrap();
        assert_eq!(
            opened(&copy_at(&restored, "back")).await.unwrap().snapshot().tables["A"].changed,
            seq + 1
        );
    }
}

#[tokio::test]
async fn a_second_copy_copies_only_what_is_new() {
    let (source, copy) = (sample().await, memory());
    let target = || copy_at(&copy, "copy");
    let first = backup(&place(&source), &target(), &CopyOptions::default()).await.unwrap();
    assert_eq!((first.seq, first.commits, first.files_present), (11, 5, 0));
    let again = target();
    let report = backup(&place(&source), &again, &CopyOptions::default()).await.unwrap();
    assert_eq!((report.seq, report.commits, report.files, report.bytes), (11, 0, 0, 0));
    assert_eq!(again.requests().put, 0, "{:?}", again.requests());

    let log = open(&source).await;
    log.commit(write("A", 20..24)).await.unwrap();
    log.flush().await.unwrap();
    let (from, to) = (place(&source), target());
    let report = backup(&from, &to, &CopyOptions::default()).await.unwrap();
    let files = log.snapshot().tables["A"].files.len() as u64 - 1;
    assert_eq!((report.seq, report.commits, report.files), (13, 2, files));
    // The files, two commits, the checkpoint and the hint.
    assert_eq!(to.requests().put, files + 4, "{:?}", to.requests());
    assert!(from.requests().bytes_read < first.bytes, "{:?}", from.requests());
    assert_copy(&source, &copy, "copy", 13).await;
    // What the first copy could read, the second one can.
    assert_eq!(tables(&opened(&target()).await.unwrap(), 9).await, tables(&open(&source).await, 9).await);
}

#[tokio::test]
async fn what_a_copy_lacks_is_copied_again() {
    let (source, copy) = (sample().await, memory());
    let target = copy_at(&copy, "copy");
    backup(&place(&source), &target, &CopyOptions::default()).await.unwrap();
    open(&source).await.flush().await.unwrap();
    let file = open(&source).await.snapshot().tables["B"].files[0].path.clone();
    let path = Path::parse(format!("copy/{file}")).unwrap();
    copy.put(&path, "torn".into()).await.unwrap();
    backup(&place(&source), &target, &CopyOptions::default()).await.unwrap();
    assert_copy(&source, &copy, "copy", 12).await;
}

#[tokio::test]
async fn a_place_that_holds_something_else_is_refused() {
    let (source, other) = (sample().await, sample().await);
    let everything = CopyOptions::default();
    let error = backup(&place(&source), &place(&other), &everything).await.unwrap_err();
    assert!(error.to_string().contains("another database"), "{error}");
    let notes = memory();
    notes.put(&Path::from("copy/notes.txt"), "mine".into()).await.unwrap();
    for result in [
        backup(&place(&source), &copy_at(&notes, "copy"), &everything).await,
        restore(&place(&source), &copy_at(&notes, "copy"), &everything).await,
    ] {
        assert!(result.unwrap_err().to_string().contains("`notes.txt`"));
    }
    let copy = memory();
    backup(&place(&source), &copy_at(&copy, "copy"), &at(9)).await.unwrap();
    // The copy begins with the checkpoint at 7.
    let error = opened(&copy_at(&copy, "copy")).await.unwrap().snapshot_at(6).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("begins with commit 7"), "{error}");
    let error = backup(&copy_at(&copy, "copy"), &copy_at(&memory(), "x"), &at(6)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let error = restore(&place(&source), &copy_at(&copy, "copy"), &everything).await.unwrap_err();
    assert!(error.to_string().contains("restore to an empty place"), "{error}");
    for (seq, kind) in [(5, ErrorKind::Conflict), (12, ErrorKind::NotFound)] {
        let error = backup(&place(&source), &copy_at(&copy, "copy"), &at(seq)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
    // The copy went its own way.
    opened(&copy_at(&copy, "copy")).await.unwrap().commit(write("A", 9..10)).await.unwrap();
    let error = backup(&place(&source), &copy_at(&copy, "copy"), &everything).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.to_string().contains("diverged"), "{error}");
    let error = backup(&place(&memory()), &copy_at(&memory(), "copy"), &everything).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    // Onto itself nothing is to be copied.
    let report = backup(&place(&source), &place(&source), &everything).await.unwrap();
    assert_eq!((report.commits, report.files), (0, 0));
}

#[tokio::test]
async fn fault_in_the_source_is_never_copied() {
    let source = sample().await;
    let files = open(&source).await.snapshot().tables["B"].files.clone();
    for path in [files[0].path.as_str(), "log/00000000000000000009.c", "ckpt/00000000000000000007.k"] {
        let full = Path::parse(format!("db/{path}")).unwrap();
        let good = source.get(&full).await.unwrap().bytes().await.unwrap();
        let mut bad = good.to_vec();
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        let copy = memory();
        for bytes in [Some(bad), None] {
            match bytes {
                Some(bytes) => drop(source.put(&full, bytes.into()).await.unwrap()),
                None => source.delete(&full).await.unwrap(),
            }
            let error = backup(&place(&source), &copy_at(&copy, "copy"), &at(11)).await;
            if path.starts_with("ckpt/") && error.is_ok() {
                // Without the newer checkpoint the copy begins with the older one.
                continue;
            }
            let error = error.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            assert!(error.to_string().contains(path), "{error}");
            assert!(opened(&copy_at(&copy, "copy")).await.is_err(), "{path}");
        }
        source.put(&full, good.into()).await.unwrap();
        // Healed, the copy goes on where it was.
        backup(&place(&source), &copy_at(&copy, "copy"), &at(11)).await.unwrap();
        assert_copy(&source, &copy, "copy", 11).await;
    }
}

/// Interrupted at every request of the target, a first copy is never a database before it is complete, and
/// the next try completes it, at whatever commit the source is by then.
#[tokio::test]
async fn crash_of_a_first_copy_at_every_request_leaves_no_database() {
    let source = sample().await;
    let later = memory();
    backup(&place(&source), &copy_at(&later, "db"), &CopyOptions::default()).await.unwrap();
    open(&later).await.commit(write("A", 90..92)).await.unwrap();
    open(&later).await.flush().await.unwrap();
    let counting = FaultStore::new(memory());
    let inner: Arc<dyn ObjectStore> = Arc::new(counting.clone());
    backup(&place(&source), &copy_at(&inner, "copy"), &CopyOptions::default()).await.unwrap();
    let total = counting.requests();
    assert!(total > 12, "{total}");
    for crash in 0..total {
        for applied in [false, true] {
            let what = format!("crash at {crash} of {total}, applied: {applied}");
            let store = FaultStore::new(memory());
            let inner: Arc<dyn ObjectStore> = Arc::new(store.clone());
            let target = || copy_at(&inner, "copy");
            store.crash_at(crash, applied);
            let result = backup(&place(&source), &target(), &CopyOptions::default()).await;
            store.heal();
            assert!(result.is_err(), "{what}");
            match opened(&target()).await {
                // Only the removal of the mark was not done, or not answered.
                Ok(log) => assert!(crash + 2 >= total && log.snapshot().seq == 11, "{what}"),
                Err(error) => assert!(
                    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Invalid | ErrorKind::Corrupt),
                    "{what}: {error}"
                ),
            }
            let from = if crash % 2 == 0 { &source } else { &later };
            let report = backup(&place(from), &target(), &CopyOptions::default()).await;
            let report: CopyReport = report.unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(report.seq, if crash % 2 == 0 { 11 } else { 13 }, "{what}");
            assert_copy(from, &inner, "copy", report.seq).await;
            assert!(inner.head(&Path::from("copy/_unfinished_copy")).await.is_err(), "{what}");
        }
    }
}

/// Interrupted at every request, a second copy leaves a database that is at some commit between.
#[tokio::test]
async fn crash_of_a_second_copy_at_every_request_leaves_a_database() {
    let source = sample().await;
    let first = |inner: Arc<dyn ObjectStore>| {
        let source = place(&source);
        async move { backup(&source, &copy_at(&inner, "copy"), &at(5)).await.unwrap() }
    };
    let counting = FaultStore::new(memory());
    let inner: Arc<dyn ObjectStore> = Arc::new(counting.clone());
    first(Arc::clone(&inner)).await;
    let before = counting.requests();
    backup(&place(&source), &copy_at(&inner, "copy"), &CopyOptions::default()).await.unwrap();
    let total = counting.requests() - before;
    for crash in 0..total {
        for applied in [false, true] {
            let store = FaultStore::new(memory());
            let inner: Arc<dyn ObjectStore> = Arc::new(store.clone());
            first(Arc::clone(&inner)).await;
            store.crash_at(store.requests() + crash, applied);
            let result = backup(&place(&source), &copy_at(&inner, "copy"), &CopyOptions::default()).await;
            store.heal();
            assert!(result.is_err(), "{crash} of {total}");
            let seq = opened(&copy_at(&inner, "copy")).await.unwrap().snapshot().seq;
            assert!((5..=11).contains(&seq), "{crash} of {total}: {seq}");
            let (one, other) = (open(&source).await, opened(&copy_at(&inner, "copy")).await.unwrap());
            assert_eq!(tables(&one, seq).await, tables(&other, seq).await, "{crash} of {total}: {seq}");
            backup(&place(&source), &copy_at(&inner, "copy"), &CopyOptions::default()).await.unwrap();
            assert_copy(&source, &inner, "copy", 11).await;
        }
    }
}

#[tokio::test]
async fn crash_of_a_restore_is_completed_by_the_next() {
    let source = sample().await;
    let store = FaultStore::new(memory());
    let inner: Arc<dyn ObjectStore> = Arc::new(store.clone());
    store.plan(Request::Put, "log/", 2, 1, Fault::FailBefore);
    let target = copy_at(&inner, "back");
    restore(&place(&source), &target, &CopyOptions::default()).await.unwrap_err();
    let error = opened(&target).await.unwrap_err();
    assert!(error.to_string().contains("not complete; run the backup or restore again"), "{error}");
    restore(&place(&source), &target, &CopyOptions::default()).await.unwrap();
    assert_copy(&source, &inner, "back", 11).await;
}

#[tokio::test]
async fn a_log_that_goes_on_while_it_is_copied_gives_the_snapshot_of_the_beginning_or_later() {
    let source = sample().await;
    let copy = memory();
    let log = open(&source).await;
    let writing = async {
        for step in 0..30 {
            log.commit(write("A", step..step + 1)).await.unwrap();
            if step % 10 == 5 {
                log.flush().await.unwrap();
            }
        }
    };
    let copying = async {
        let mut seqs = Vec::new();
        for _ in 0..6 {
            let report = backup(&place(&source), &copy_at(&copy, "copy"), &CopyOptions::default()).await;
            seqs.push(report.unwrap().seq);
            assert_copy(&source, &copy, "copy", *seqs.last().unwrap()).await;
            tokio::task::yield_now().await;
        }
        seqs
    };
    let ((), seqs) = tokio::join!(writing, copying);
    assert!(seqs.is_sorted() && seqs[0] >= 11 && *seqs.last().unwrap() > 11, "{seqs:?}");
    assert_eq!(scrubbed(&source).await.findings, []);
}

const HOUR: i64 = 3_600_000_000;

/// A day and a half of replacements, in a store with a clock of its own.
async fn aged() -> (Arc<ManualClock>, FaultStore, Log) {
    let clock = Arc::new(ManualClock::new(1_000 * HOUR));
    let faults = FaultStore::new(Arc::new(ClockedStore::new(Arc::clone(&clock) as _)));
    let inner: Arc<dyn ObjectStore> = Arc::new(faults.clone());
    let options = LogOptions { clock: Arc::clone(&clock) as _, ..options() };
    let log = Log::open(Store::new(inner, "db"), options).await.unwrap();
    for hour in 0..36 {
        let mut changes = write("A", hour..hour + 3);
        changes.writes[0].replace = true;
        log.commit(changes).await.unwrap();
        log.commit(write("B", hour..hour + 1)).await.unwrap();
        log.flush().await.unwrap();
        clock.advance(HOUR);
    }
    (clock, faults, log)
}

#[tokio::test]
async fn a_collected_database_is_sound_and_can_be_copied() {
    let (_, faults, log) = aged().await;
    let inner: Arc<dyn ObjectStore> = Arc::new(faults);
    let (old, recent) = (memory(), memory());
    backup(&place(&inner), &copy_at(&old, "copy"), &at(9)).await.unwrap();
    backup(&place(&inner), &copy_at(&recent, "copy"), &at(90)).await.unwrap();
    let collected = log.collect_garbage(GarbageOptions::default()).await.unwrap();
    assert!(collected.floor > 30 && !collected.files.is_empty(), "{collected:?}");
    let report = scrubbed(&inner).await;
    assert_eq!((report.findings.as_slice(), report.first_seq), ([].as_slice(), Some(collected.floor)));

    let newest = log.snapshot().seq;
    let fresh = memory();
    backup(&place(&inner), &copy_at(&fresh, "copy"), &CopyOptions::default()).await.unwrap();
    backup(&place(&inner), &copy_at(&recent, "copy"), &CopyOptions::default()).await.unwrap();
    for copy in [&fresh, &recent] {
        let report = scrub_at(copy).await;
        assert_eq!((report.findings.as_slice(), report.last_seq), ([].as_slice(), Some(newest)));
        let other = opened(&copy_at(copy, "copy")).await.unwrap();
        assert_eq!(tables(&log, newest).await, tables(&other, newest).await);
    }
    let error = backup(&place(&inner), &copy_at(&old, "copy"), &CopyOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("no longer keeps; copy to an empty place"), "{error}");
    let error = backup(&place(&inner), &copy_at(&memory(), "x"), &at(20)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");

    // A writer that slept through the collection left a commit in an old slot, which nobody reads.
    let zombie = inner.get(&Path::from(format!("db/log/{:020}.c", collected.floor + 1))).await.unwrap();
    inner
        .put(&Path::from("db/log/00000000000000000005.c"), zombie.bytes().await.unwrap().into())
        .await
        .unwrap();
    assert_eq!(scrubbed(&inner).await.findings, []);

    // What collection began with is missed like anything else.
    let oldest = format!("ckpt/{:020}.k", collected.floor);
    inner.delete(&Path::from(format!("db/{oldest}"))).await.unwrap();
    let report = scrubbed(&inner).await;
    assert_eq!(report.findings.len(), 1, "{report:?}");
    assert_eq!(report.findings[0].object, oldest);
}

#[tokio::test]
async fn crash_of_a_collection_at_every_request_leaves_nothing_to_be_found() {
    let (_, faults, log) = aged().await;
    drop(log);
    let inner: Arc<dyn ObjectStore> = Arc::new(faults.clone());
    let clock = Arc::new(ManualClock::new(1_040 * HOUR));
    // Each collection goes on where the one before was interrupted, two requests further.
    for crash in 0..200 {
        let options = LogOptions { clock: Arc::clone(&clock) as _, ..options() };
        let log = Log::open(place(&inner), options).await.unwrap();
        faults.crash_at(faults.requests() + 6 + crash % 40, crash % 2 == 0);
        let result = log.collect_garbage(GarbageOptions::default()).await;
        log.idle().await;
        faults.heal();
        let report = scrubbed(&inner).await;
        let found = report.findings.iter().filter(|finding| !finding.object.starts_with("_probe/"));
        assert_eq!(found.count(), 0, "crash {crash}: {:?}", report.findings);
        if result.is_ok_and(|report| report.objects() == 0) {
            return;
        }
    }
    panic!("collection never ended");
}

#[tokio::test]
async fn a_collection_during_a_scrub_or_a_pinned_copy_is_no_loss() {
    for read in [0, 5, 20, 60] {
        let (_, faults, log) = aged().await;
        let inner: Arc<dyn ObjectStore> = Arc::new(faults);
        let collecting = async {
            for _ in 0..read {
                tokio::task::yield_now().await;
            }
            log.collect_garbage(GarbageOptions::default()).await.unwrap()
        };
        let (report, collected) = tokio::join!(scrubbed(&inner), collecting);
        assert!(!collected.commits.is_empty());
        assert_eq!(report.findings, [], "after {read}");

        let (_, faults, log) = aged().await;
        let inner: Arc<dyn ObjectStore> = Arc::new(faults);
        let pin = log.pin("copy", Some(14), Duration::from_secs(3600)).await.unwrap();
        let copy = memory();
        let collecting = async {
            for _ in 0..read {
                tokio::task::yield_now().await;
            }
            log.collect_garbage(GarbageOptions::default()).await.unwrap()
        };
        let (from, to) = (place(&inner), copy_at(&copy, "copy"));
        let options = at(pin.seq);
        let (copied, collected) = tokio::join!(backup(&from, &to, &options), collecting);
        assert_eq!((copied.unwrap().seq, collected.floor), (14, 13));
        assert_eq!(scrub_at(&copy).await.findings, [], "after {read}");
        let other = opened(&to).await.unwrap();
        assert_eq!(tables(&log, 14).await, tables(&other, 14).await);
    }
}

async fn scrub_at(copy: &Arc<dyn ObjectStore>) -> crate::commit::scrub::ScrubReport {
    crate::commit::scrub::scrub(&copy_at(copy, "copy"), &super::scrub::scrubbing()).await.unwrap()
}

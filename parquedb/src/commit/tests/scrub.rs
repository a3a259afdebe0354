//! A scrub finds every kind of damage, names the object, and finds nothing where nothing is wrong.

use super::*;
use crate::commit::scrub::{Columns, Finding, FindingKind, ScrubOptions, ScrubReport, scrub};
use crate::commit::work::{Step, Watch};
use crate::testing::{Fault, FaultStore, Request};
use object_store::PutPayload;
use std::sync::Mutex;
use std::time::Duration;

pub(super) fn scrubbing() -> ScrubOptions {
    let columns = Columns::new(|_, table| (table != "V").then(|| batch(0..0).schema()));
    ScrubOptions { recent: Duration::ZERO, columns, ..ScrubOptions::default() }
}

pub(super) async fn scrubbed(inner: &Arc<dyn ObjectStore>) -> ScrubReport {
    scrub(&Store::new(Arc::clone(inner), "db"), &scrubbing()).await.unwrap()
}

/// Commits 0 to 11: with rows inside, rows in files, a flush with a checkpoint, a replacement, another
/// flush, and more rows.
pub(super) async fn sample() -> Arc<dyn ObjectStore> {
    let inner = memory();
    let store = Store::new(Arc::clone(&inner), "db");
    let log = Log::open(store, LogOptions { inline_limit_bytes: 4000, ..options() }).await.unwrap();
    log.commit(with_id(write("A", 0..3), "one")).await.unwrap();
    log.commit(write("A", 3..5)).await.unwrap();
    log.commit(write("B", 0..1000)).await.unwrap();
    log.flush().await.unwrap();
    let mut changes = write("A", 5..6);
    changes.writes[0].replace = true;
    changes.cursors.push(cursor("V", "A", Absorbed::ThisCommit));
    log.commit(changes).await.unwrap();
    log.commit(write("B", 1000..1001)).await.unwrap();
    log.flush().await.unwrap();
    for step in 0..4 {
        log.commit(with_id(write("A", step..step + 1), &format!("late {step}"))).await.unwrap();
    }
    assert_eq!(log.snapshot().seq, 11);
    inner
}

async fn paths(inner: &Arc<dyn ObjectStore>) -> Vec<String> {
    use futures::TryStreamExt;
    let objects: Vec<_> = inner.list(None).try_collect().await.unwrap();
    objects.iter().map(|object| object.location.to_string()).collect()
}

async fn bytes_of(inner: &Arc<dyn ObjectStore>, path: &str) -> Vec<u8> {
    inner.get(&Path::parse(path).unwrap()).await.unwrap().bytes().await.unwrap().to_vec()
}

async fn put(inner: &Arc<dyn ObjectStore>, path: &str, bytes: Vec<u8>) {
    inner.put(&Path::parse(path).unwrap(), PutPayload::from(bytes)).await.unwrap();
}

fn found(report: &ScrubReport) -> Vec<(FindingKind, &str)> {
    report.findings.iter().map(|finding| (finding.kind, finding.object.as_str())).collect()
}

fn commit_at(seq: u64) -> String {
    format!("log/{seq:020}.c")
}

#[tokio::test]
async fn nothing_is_found_where_nothing_is_wrong() {
    let inner = sample().await;
    let report = scrubbed(&inner).await;
    assert_eq!(report.findings, []);
    assert_eq!((report.first_seq, report.last_seq), (Some(0), Some(11)));
    // The last four commits are neither in files nor in a checkpoint.
    assert_eq!((report.commits, report.checkpoints, report.recent), (12, 2, 0));
    let files = paths(&inner).await.iter().filter(|path| path.ends_with(".parquet")).count() as u64;
    assert_eq!((report.files, report.rows), (files, 5 + 1000 + 1 + 1));
    let all: u64 = {
        let mut sum = 0;
        for path in paths(&inner).await {
            sum += bytes_of(&inner, &path).await.len() as u64;
        }
        sum
    };
    assert_eq!(report.bytes, all);
}

#[tokio::test]
async fn a_large_file_is_streamed_and_as_sound() {
    let inner = sample().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&seen);
    let watch = Watch::new(move |progress| told.lock().unwrap().push(progress));
    let small = ScrubOptions { memory: 400, watch, ..scrubbing() };
    let report = scrub(&Store::new(Arc::clone(&inner), "db"), &small).await.unwrap();
    assert_eq!((report.findings.len(), report.rows), (0, 1007));
    let seen = seen.lock().unwrap();
    for step in [Step::Commits, Step::Files] {
        let last = seen.iter().rfind(|progress| progress.step == step).unwrap();
        assert_eq!((last.done, last.bytes), (last.total, last.total_bytes), "{last:?}");
        assert!(last.total > 3, "{last:?}");
    }
}

#[tokio::test]
async fn fault_of_any_flipped_bit_is_found_and_named() {
    let inner = sample().await;
    for path in paths(&inner).await {
        let good = bytes_of(&inner, &path).await;
        let name = path.trim_start_matches("db/");
        for at in [0, 9, good.len() / 3, good.len() / 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            put(&inner, &path, bad).await;
            let report = scrubbed(&inner).await;
            let finding = report.findings.iter().find(|finding| finding.object == name);
            let finding = finding.unwrap_or_else(|| panic!("byte {at} of {name}: {:?}", report.findings));
            // The number of the format is no damage but of a newer version.
            assert!(
                finding.kind == FindingKind::Damaged || (at == 9 && finding.kind == FindingKind::Unreadable),
                "{finding:?}"
            );
        }
        for length in [0, 1, good.len() / 2, good.len() - 1] {
            put(&inner, &path, good[..length].to_vec()).await;
            let report = scrubbed(&inner).await;
            assert!(found(&report).contains(&(FindingKind::Damaged, name)), "{name}: {report:?}");
        }
        put(&inner, &path, good).await;
    }
    assert_eq!(scrubbed(&inner).await.findings, []);
}

#[tokio::test]
async fn fault_of_any_removed_object_is_found_and_named() {
    let inner = sample().await;
    for path in paths(&inner).await {
        let good = bytes_of(&inner, &path).await;
        let name = path.trim_start_matches("db/").to_owned();
        inner.delete(&Path::parse(&path).unwrap()).await.unwrap();
        let report = scrubbed(&inner).await;
        if ["HEAD", "ckpt/00000000000000000004.k", &commit_at(11)].contains(&name.as_str()) {
            // A database has no hint in its first seconds. Nothing names the older checkpoint: the commits
            // have all it held. And nothing tells of a last commit that the hint does not know of yet.
            assert_eq!(report.findings, [], "{name}");
        } else {
            assert!(found(&report).contains(&(FindingKind::Missing, &name)), "{name}: {report:?}");
        }
        put(&inner, &path, good).await;
    }
}

#[tokio::test]
async fn a_gap_does_not_hide_what_is_behind_it() {
    let inner = sample().await;
    inner.delete(&Path::parse("db/log/00000000000000000002.c").unwrap()).await.unwrap();
    inner.delete(&Path::parse("db/log/00000000000000000003.c").unwrap()).await.unwrap();
    let mut bad = bytes_of(&inner, "db/log/00000000000000000010.c").await;
    bad[200] ^= 4;
    put(&inner, "db/log/00000000000000000010.c", bad).await;
    put(&inner, "db/data/A/orphan.parquet", b"rows".to_vec()).await;
    let report = scrubbed(&inner).await;
    // What the lost commits named is not known.
    let findings: Vec<_> = found(&report)
        .into_iter()
        .filter(|(kind, path)| *kind != FindingKind::Unreferenced || path.contains("orphan"))
        .collect();
    assert_eq!(
        findings,
        [
            (FindingKind::Missing, commit_at(2).as_str()),
            (FindingKind::Damaged, commit_at(10).as_str()),
            (FindingKind::Unreferenced, "data/A/orphan.parquet"),
        ]
    );
    let message = |at: usize| report.findings[at].message.as_str();
    assert!(message(0).contains("commits 2 to 3 are missing"), "{}", message(0));
    assert!(message(2).contains("keep it"), "{}", message(2));
    // All snapshots from the last checkpoint to the damaged commit could be read, but no later one.
    assert_eq!((report.first_seq, report.last_seq), (None, Some(11)));
}

#[tokio::test]
async fn an_orphan_is_found_once_it_is_old() {
    let inner = sample().await;
    for path in ["data/A/x.parquet", "_views/V/data/y.parquet", "log/note.txt", "_probe/1", "stray"] {
        put(&inner, &format!("db/{path}"), b"rows".to_vec()).await;
    }
    let report = scrubbed(&inner).await;
    let expected = ["_probe/1", "_views/V/data/y.parquet", "data/A/x.parquet", "log/note.txt", "stray"];
    assert_eq!(found(&report), expected.map(|path| (FindingKind::Unreferenced, path)));
    let young = ScrubOptions { recent: Duration::from_secs(3600), ..scrubbing() };
    let report = scrub(&Store::new(inner, "db"), &young).await.unwrap();
    assert_eq!((report.findings.len(), report.recent), (0, 5));
}

#[tokio::test]
async fn a_commit_of_another_log_breaks_the_chain() {
    let (one, two) = (sample().await, sample().await);
    for seq in [1, 3, 11] {
        let path = format!("db/{}", commit_at(seq));
        let ours = bytes_of(&one, &path).await;
        put(&one, &path, bytes_of(&two, &path).await).await;
        let report = scrubbed(&one).await;
        let broken: Vec<_> = report
            .findings
            .iter()
            .filter(|finding| finding.kind == FindingKind::Inconsistent)
            .map(|finding| finding.object.clone())
            .collect();
        let mut expected = vec![commit_at(seq)];
        if seq < 11 {
            expected.push(commit_at(seq + 1));
        }
        assert_eq!(broken, expected, "{:?}", report.findings);
        put(&one, &path, ours).await;
    }
    // The same for a checkpoint.
    let path = "db/ckpt/00000000000000000007.k";
    put(&one, path, bytes_of(&two, path).await).await;
    let report = scrubbed(&one).await;
    let of_checkpoint = |finding: &&Finding| finding.object == path.trim_start_matches("db/");
    let messages: Vec<_> =
        report.findings.iter().filter(of_checkpoint).map(|finding| finding.message.clone()).collect();
    assert!(messages.iter().any(|message| message.contains("another commit 7")), "{messages:?}");
    assert!(messages.iter().any(|message| message.contains("the files of A are others")), "{messages:?}");
}

#[tokio::test]
async fn columns_that_are_not_the_tables_are_found() {
    let inner = sample().await;
    let other =
        Schema::new(vec![Field::new("n", DataType::Int32, false), Field::new("key", DataType::Utf8, false)]);
    let other = Arc::new(other);
    let columns = Columns::new(move |_, table| (table == "A").then(|| Arc::clone(&other)));
    let report = scrub(&Store::new(inner, "db"), &ScrubOptions { columns, ..scrubbing() }).await.unwrap();
    let files = report.findings.iter().filter(|finding| finding.object.starts_with("data/A/")).count();
    let commits = report.findings.iter().filter(|finding| finding.object.starts_with("log/")).count();
    // Each file and each commit with rows has a column too few, one too many, and one of another type.
    assert_eq!((files % 3, commits % 3), (0, 0), "{:?}", report.findings);
    assert!(files >= 6 && commits >= 6, "{:?}", report.findings);
}

#[tokio::test]
async fn a_place_without_a_database_is_an_error_and_a_lost_format_a_finding() {
    let error = scrub(&Store::new(memory(), "db"), &scrubbing()).await.unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::NotFound);
    let inner = memory();
    put(&inner, "db/notes.txt", b"mine".to_vec()).await;
    let error = scrub(&Store::new(Arc::clone(&inner), "db"), &scrubbing()).await.unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::NotFound);
}

#[tokio::test]
async fn fault_in_reading_one_object_does_not_hide_the_others() {
    let inner = sample().await;
    let sound = scrubbed(&inner).await;
    for path in paths(&inner).await {
        let name = path.trim_start_matches("db/");
        let faults = FaultStore::new(Arc::clone(&inner));
        faults.plan(Request::Get, name, 0, usize::MAX, Fault::FailBefore);
        let report = scrubbed(&(Arc::new(faults) as Arc<dyn ObjectStore>)).await;
        let unreadable = |finding: &&Finding| finding.kind == FindingKind::Unreadable;
        let unreadable: Vec<_> = report.findings.iter().filter(unreadable).collect();
        assert_eq!(unreadable.len(), 1, "{name}: {:?}", report.findings);
        assert_eq!(unreadable[0].object, name);
        let read = report.commits + report.checkpoints + report.files;
        assert!(read + 1 >= sound.commits + sound.checkpoints + sound.files, "{name}: {report:?}");
    }
    // Without a listing there is nothing to go by.
    let faults = FaultStore::new(inner);
    faults.plan(Request::List, "", 0, usize::MAX, Fault::FailBefore);
    let error = scrub(&Store::new(Arc::new(faults), "db"), &scrubbing()).await.unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Unavailable);
}

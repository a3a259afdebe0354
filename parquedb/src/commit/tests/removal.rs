//! Removed rows: gone from what follows, there in what was before, and never gone twice.

use super::*;
use crate::ErrorKind;
use crate::commit::decoding::Decoder;
use crate::commit::history::{History, contents};
use crate::commit::scrub::{ScrubOptions, scrub};
use crate::commit::snapshot::removed_table;
use crate::commit::{CompactOptions, MergeStates, VerifiedFile};
use async_trait::async_trait;
use bytes::Bytes;
use object_store::PutPayload;
use std::collections::BTreeSet;

async fn open_small(inner: &Arc<dyn ObjectStore>) -> Log {
    let options = LogOptions { inline_limit_bytes: 4000, ..options() };
    Log::open(Store::new(Arc::clone(inner), "db"), options).await.unwrap()
}

/// Removes the rows with these numbers, as they are in the log's snapshot.
async fn removing(log: &Log, table: &str, values: &[i64]) -> Changes {
    let snapshot = log.snapshot();
    let places = places_in(log.store(), &snapshot, table).await;
    let some: Vec<_> = places.iter().filter(|place| values.contains(&place.value)).collect();
    assert_eq!(some.len(), values.len());
    Changes { base: Some(snapshot.seq), removals: vec![removal(table, some)], ..Changes::default() }
}

async fn remove(log: &Log, table: &str, values: &[i64]) {
    log.commit(removing(log, table, values).await).await.unwrap();
}

async fn values(log: &Log, snapshot: &Snapshot, table: &str) -> Vec<i64> {
    let mut values: Vec<i64> = rows(log, snapshot, table).await.into_iter().map(|(_, value)| value).collect();
    values.sort_unstable();
    values
}

async fn sound(inner: &Arc<dyn ObjectStore>) {
    let store = Store::new(Arc::clone(inner), "db");
    assert_eq!(scrub(&store, &ScrubOptions::default()).await.unwrap().findings, []);
}

#[tokio::test]
async fn removed_rows_are_gone_and_runs_without_rows_go() {
    let inner = memory();
    let log = open_small(&inner).await;
    log.commit(write("A", 0..1000)).await.unwrap();
    log.commit(write("A", 1000..1005)).await.unwrap();
    let before = log.snapshot();
    remove(&log, "A", &[0, 500, 999, 1002]).await;
    let left = |gone: &[i64]| (0..1005).filter(|n| !gone.contains(n)).collect::<Vec<_>>();
    let table = &log.snapshot().tables["A"];
    assert_eq!((table.rows, table.changed, table.identity), (1001, 3, 1));
    assert_eq!(
        (table.files[0].rows, table.files[0].live_rows(), table.inline[0].live_rows()),
        (1000, 997, 4)
    );
    assert_eq!(values(&log, &log.snapshot(), "A").await, left(&[0, 500, 999, 1002]));
    assert_eq!(values(&log, &before, "A").await, left(&[]));
    // All that is left of the commit.
    remove(&log, "A", &[1000, 1001, 1003, 1004]).await;
    assert_eq!(log.snapshot().tables["A"].inline.len(), 0);
    // The checkpoint keeps what is removed.
    log.commit(write("B", 0..1)).await.unwrap();
    log.flush().await.unwrap();
    for log in [&log, &open_small(&inner).await] {
        let expected: Vec<i64> = (0..1000).filter(|n| ![0, 500, 999].contains(n)).collect();
        assert_eq!(values(log, &log.snapshot(), "A").await, expected);
        assert_eq!(values(log, &log.snapshot_at(3).await.unwrap(), "A").await, left(&[0, 500, 999, 1002]));
        assert_eq!(values(log, &log.snapshot_at(2).await.unwrap(), "A").await, left(&[]));
    }
    let all = contents(&log.snapshot());
    assert_eq!((all[0].rows, all[0].files[0].rows, all[0].files[0].removed), (997, 1000, 3));
    let history = History::open(log.store()).await.unwrap();
    let commit = history.commit(3).await.unwrap();
    assert_eq!((commit.tables[0].removed_rows, commit.rows()), (4, 0));
    assert_eq!(commit.sections[1].name, "Remove");
    // All that is left of the file.
    let rest: Vec<i64> = (0..1000).filter(|n| ![0, 500, 999].contains(n)).collect();
    remove(&log, "A", &rest).await;
    let table = &log.snapshot().tables["A"];
    assert_eq!((table.rows, table.files.len(), table.identity), (0, 0, 1));
    log.commit(write("A", 7..8)).await.unwrap();
    log.flush().await.unwrap();
    assert_eq!(values(&open_small(&inner).await, &log.snapshot(), "A").await, [7]);
    sound(&inner).await;
}

#[tokio::test]
async fn what_is_not_there_cannot_be_removed() {
    let inner = memory();
    let log = open_small(&inner).await;
    log.commit(write("A", 0..1000)).await.unwrap();
    log.commit(write("A", 1000..1005)).await.unwrap();
    remove(&log, "A", &[3, 1003]).await;
    let path = log.snapshot().tables["A"].files[0].path.clone();
    let (file, inline) = (RunId::File(path), RunId::Inline(2));
    let of = |table: &str, run: &RunId, rows: &[u32]| {
        let runs = vec![RunRemoval { run: run.clone(), rows: rows.iter().copied().collect() }];
        TableRemoval { table: table.to_owned(), runs }
    };
    let gone = RunId::File("data/A/gone.parquet".to_owned());
    let last = log.snapshot().seq;
    for (removals, kind, told) in [
        (vec![of("A", &file, &[1000])], ErrorKind::Invalid, "has 1000 rows"),
        (vec![of("A", &inline, &[u32::MAX])], ErrorKind::Invalid, "has 5 rows"),
        (vec![of("A", &file, &[3, 4])], ErrorKind::Conflict, "removed already"),
        (vec![of("A", &inline, &[3])], ErrorKind::Conflict, "removed already"),
        (vec![of("A", &gone, &[1])], ErrorKind::Conflict, "any more"),
        (vec![of("A", &RunId::Inline(1), &[1])], ErrorKind::Conflict, "any more"),
        (vec![of("B", &inline, &[1])], ErrorKind::Conflict, "any more"),
        (vec![of("A", &inline, &[1]), of("A", &inline, &[1, 2])], ErrorKind::Invalid, "twice"),
    ] {
        let changes = Changes { removals: removals.clone(), ..Changes::default() };
        let error = log.commit(changes.clone()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{removals:?}: {error}");
        assert!(error.to_string().contains(told), "{error}");
        assert_eq!(log.snapshot().with(&changes, 0).unwrap_err().kind(), kind);
    }
    let mut replacing = write("A", 0..1);
    replacing.writes[0].replace = true;
    replacing.removals.push(of("A", &inline, &[0]));
    assert_eq!(log.commit(replacing).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(log.snapshot().seq, last);
    // Parts are joined, and nothing is nothing.
    let removals =
        vec![of("A", &inline, &[1]), of("A", &inline, &[2]), of("A", &gone, &[]), of("B", &gone, &[])];
    log.commit(Changes { removals, ..Changes::default() }).await.unwrap();
    assert_eq!(log.snapshot().tables["A"].rows, 1005 - 4);
}

/// What another writer does first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    Append,
    RemoveSame,
    RemoveOther,
    Flush,
    Compact,
    CompactOther,
    Clear,
}

async fn is_first(log: &Log, first: First) {
    match first {
        First::Append => drop(log.commit(write("A", 500..502)).await.unwrap()),
        First::RemoveSame => remove(log, "A", &[2, 42]).await,
        First::RemoveOther => remove(log, "A", &[3, 43]).await,
        First::Flush => log.flush().await.unwrap(),
        First::Compact => {
            let options = CompactOptions { full: true, ..CompactOptions::default() };
            assert!(log.compact(options, None).await.unwrap().files_replaced() > 0);
        }
        First::CompactOther => {
            for value in 0..4 {
                log.commit(write("B", value..value + 1)).await.unwrap();
                log.flush().await.unwrap();
            }
            log.compact(CompactOptions::default(), None).await.unwrap();
        }
        First::Clear => {
            let mut changes = write("A", 900..901);
            changes.writes[0].replace = true;
            log.commit(changes).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_removal_is_a_conflict_where_another_was_first_with_its_rows() {
    for first in [
        First::Append,
        First::RemoveSame,
        First::RemoveOther,
        First::Flush,
        First::Compact,
        First::CompactOther,
        First::Clear,
    ] {
        for (rows, in_file) in [([2], true), ([42], false)] {
            for knows in [false, true] {
                let inner = memory();
                let (one, two) = (open(&inner).await, open(&inner).await);
                for part in 0..2 {
                    one.commit(write("A", part * 10..part * 10 + 10)).await.unwrap();
                    one.flush().await.unwrap();
                }
                one.commit(write("A", 40..50)).await.unwrap();
                two.catch_up().await.unwrap();
                let changes = removing(&two, "A", &rows).await;
                is_first(&one, first).await;
                if knows {
                    two.catch_up().await.unwrap();
                }
                let expected = match first {
                    First::Append | First::RemoveOther => false,
                    First::RemoveSame | First::Clear => true,
                    First::Flush | First::CompactOther => !in_file,
                    First::Compact => in_file,
                };
                let place = format!("{first:?} before {rows:?}, {knows}");
                let result = two.commit(changes).await.map_err(|error| error.kind());
                assert_eq!(result.is_err(), expected, "{place}");
                assert!(result.is_ok() || result.unwrap_err() == ErrorKind::Conflict, "{place}");
                let left = values(&two, &two.snapshot(), "A").await;
                let is_there = left.contains(&rows[0]);
                assert_eq!(
                    is_there,
                    expected && !matches!(first, First::RemoveSame | First::Clear),
                    "{place}"
                );
                sound(&inner).await;
            }
        }
    }
}

/// Makes another writer remove rows while states are being merged.
#[derive(Debug)]
struct RemovesMeanwhile(Log);

#[async_trait]
impl MergeStates for RemovesMeanwhile {
    async fn tables(&self, _: &Snapshot) -> Result<BTreeSet<String>, crate::Error> {
        Ok(BTreeSet::from(["A".to_owned()]))
    }

    async fn merge(
        &self,
        _: &Snapshot,
        _: &str,
        files: Vec<VerifiedFile>,
    ) -> Result<Vec<RecordBatch>, crate::Error> {
        self.0.catch_up().await?;
        if files.iter().all(|input| input.file.removed.is_empty()) {
            self.0.commit(removing(&self.0, "A", &[5]).await).await?;
            return Ok(vec![batch(0..40)]);
        }
        let removed: u64 = files.iter().map(|input| input.file.removed.len()).sum();
        assert_eq!(removed, 1);
        Ok(vec![batch(0..0)])
    }
}

#[tokio::test]
async fn compaction_loses_against_removals_from_what_it_reads_and_may_leave_no_file() {
    let inner = memory();
    let (one, two) = (open(&inner).await, open(&inner).await);
    for part in 0..4 {
        one.commit(write("A", part * 10..part * 10 + 10)).await.unwrap();
        one.flush().await.unwrap();
    }
    // The second attempt finds that nothing is left of the states.
    let merge = Arc::new(RemovesMeanwhile(two.clone()));
    let report = one.compact(CompactOptions::default(), Some(merge)).await.unwrap();
    let table = &report.tables["A"];
    assert_eq!((table.conflicts, table.files_replaced, table.rows_read, table.rows_written), (1, 4, 39, 0));
    for log in [&one, &open(&inner).await] {
        let table = &log.snapshot().tables["A"];
        assert_eq!((table.rows, table.files.len()), (0, 0));
    }
    sound(&inner).await;
}

#[tokio::test]
async fn flushes_and_compactions_leave_removed_rows_out() {
    let inner = memory();
    let log = open(&inner).await;
    for part in 0..3 {
        log.commit(write("A", part * 10..part * 10 + 10)).await.unwrap();
    }
    remove(&log, "A", &[0, 11, 12]).await;
    log.flush().await.unwrap();
    let file = Arc::clone(&log.snapshot().tables["A"].files[0]);
    assert_eq!((file.rows, file.removed.len()), (27, 0));
    // A tenth of it is not worth it, a third is.
    remove(&log, "A", &[1, 2, 3]).await;
    assert_eq!(log.compact(CompactOptions::default(), None).await.unwrap().files_replaced(), 0);
    remove(&log, "A", &[4, 5, 6, 7, 8, 9]).await;
    let before = rows(&log, &log.snapshot(), "A").await;
    let report = log.compact(CompactOptions::default(), None).await.unwrap();
    let table = &report.tables["A"];
    assert_eq!((table.files_replaced, table.rows_read, table.rows_written), (1, 18, 18));
    assert_eq!(rows(&log, &log.snapshot(), "A").await, before);
    let again = Arc::clone(&log.snapshot().tables["A"].files[0]);
    assert_eq!((again.rows, again.removed.len(), again.first_seq), (18, 0, file.first_seq));
    assert_eq!(log.compact(CompactOptions::default(), None).await.unwrap().files_replaced(), 0);
    // A file of one commit stays one.
    log.commit(write("B", 0..10)).await.unwrap();
    log.flush().await.unwrap();
    remove(&log, "B", &[0, 1, 2, 3]).await;
    assert_eq!(log.compact(CompactOptions::default(), None).await.unwrap().files_replaced(), 1);
    assert_eq!(values(&log, &log.snapshot(), "B").await, [4, 5, 6, 7, 8, 9]);
    log.flush().await.unwrap();
    sound(&inner).await;
}

#[tokio::test]
async fn tables_of_removed_rows_lie_beside_their_tables() {
    let inner = memory();
    let log = open_small(&inner).await;
    let mut changes = write("A", 0..1);
    changes.cursors.push(cursor("V", "A", Absorbed::ThisCommit));
    log.commit(changes).await.unwrap();
    for table in ["A", "V"] {
        let mut changes = write(&removed_table(table), 0..1000);
        changes.writes[0].is_view = table == "V";
        log.commit(changes).await.unwrap();
        log.commit(write(&removed_table(table), 0..1)).await.unwrap();
    }
    log.flush().await.unwrap();
    let snapshot = log.snapshot();
    for (table, folder) in [("A.removed", "data/A.removed/"), ("V.removed", "_views/V.removed/data/")] {
        let files = &snapshot.tables[table].files;
        assert_eq!(files.len(), 2);
        assert!(files.iter().all(|file| file.path.starts_with(folder)), "{files:?}");
    }
    for wrong in ["A.other", ".removed", "A.removed.removed", "A.removed "] {
        assert_eq!(log.commit(write(wrong, 0..1)).await.unwrap_err().kind(), ErrorKind::Invalid, "{wrong}");
    }
    sound(&inner).await;
}

#[tokio::test]
async fn changes_on_top_of_a_snapshot_are_what_their_commit_gives() {
    let inner = memory();
    let log = open_small(&inner).await;
    log.commit(write("A", 0..10)).await.unwrap();
    let base = log.snapshot();
    let mut first = removing(&log, "A", &[0, 1]).await;
    first.writes = write("A", 10..1500).writes;
    first.cursors.push(cursor("V", "A", Absorbed::ThisCommit));
    let with_first = base.with(&first, 5).unwrap();
    // Another on top, which removes what the first has added.
    let rows = RoaringBitmap::from_iter(0..100);
    let runs = vec![RunRemoval { run: RunId::Inline(base.seq + 1), rows }];
    let mut second = write("B", 0..3);
    second.removals.push(TableRemoval { table: "A".to_owned(), runs });
    let with_second = with_first.with(&second, 6).unwrap();
    assert_eq!((with_second.seq, with_second.tables["A"].rows), (base.seq + 2, 8 + 1490 - 100));
    assert_eq!(values(&log, &with_second, "A").await.len(), 8 + 1490 - 100);
    assert_eq!((base.seq, base.tables["A"].rows), (1, 10));
    log.commit(first).await.unwrap();
    let committed = log.snapshot();
    assert_eq!((with_first.seq, &with_first.cursors["V"].sources), (2, &committed.cursors["V"].sources));
    let (was, is) = (&with_first.tables["A"], &committed.tables["A"]);
    assert_eq!((was.rows, was.changed, was.identity), (is.rows, is.changed, is.identity));
    assert_eq!(values(&log, &with_first, "A").await, values(&log, &committed, "A").await);
}

#[tokio::test]
async fn fault_of_a_section_of_removed_rows_that_was_tampered_with_is_an_error() {
    let inner = memory();
    let log = open(&inner).await;
    log.commit(write("A", 0..200)).await.unwrap();
    log.flush().await.unwrap();
    log.commit(write("A", 200..210)).await.unwrap();
    remove(&log, "A", &[3, 4, 5, 6, 7, 100, 101, 204]).await;
    let seq = log.snapshot().seq;
    let path = Path::from(format!("db/log/{seq:020}.c"));
    let bytes = inner.get(&path).await.unwrap().bytes().await.unwrap();
    let contents = Decoder::Commit.contents(&bytes, seq).unwrap();
    let section = contents.iter().position(|content| content.starts_with(b"[{\"table\"")).unwrap();
    let tampered = |content: Vec<u8>| -> Bytes {
        let mut contents = contents.clone();
        contents[section] = content;
        Decoder::Commit.with_contents(&bytes, seq, &contents).unwrap()
    };
    let (mut refused, mut read) = (0, 0);
    for bit in 0..contents[section].len() * 8 {
        let mut content = contents[section].clone();
        content[bit / 8] ^= 1 << (bit % 8);
        let object = tampered(content);
        match Decoder::Commit.decode(&object, seq) {
            Ok(_) => read += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                refused += 1;
            }
        }
        inner.put(&path, PutPayload::from(object)).await.unwrap();
        match Log::open(Store::new(Arc::clone(&inner), "db"), options()).await {
            Ok(log) => drop(log.snapshot()),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}"),
        }
    }
    assert!(refused > 500 && read > 50, "{refused} {read}");
    // Rows that are not there, twice, or of a file that is not.
    let text = String::from_utf8(contents[section].clone()).unwrap();
    for wrong in [text.replace("\"inline\":3", "\"inline\":9"), text.replace("\"A\"", "\"B\"")] {
        assert_ne!(wrong, text);
        inner.put(&path, PutPayload::from(tampered(wrong.into_bytes()))).await.unwrap();
        let error = Log::open(Store::new(Arc::clone(&inner), "db"), options()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("removes rows"), "{error}");
    }
}

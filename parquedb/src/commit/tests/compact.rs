//! Compaction: the same rows in fewer files, beside other writers, after crashes, and not of damaged files.

use super::garbage::Place;
use super::*;
use crate::ErrorKind;
use crate::commit::scrub::FindingKind;
use crate::commit::snapshot::DataFile;
use crate::commit::{CompactOptions, CompactReport, GarbageOptions, MergeStates, VerifiedFile};
use crate::testing::{Fault, Random, Request};
use arrow::array::UInt64Array;
use async_trait::async_trait;
use object_store::PutPayload;
use std::collections::{BTreeMap, BTreeSet};

const HOUR: i64 = 3_600_000_000;

async fn compact(log: &Log) -> CompactReport {
    log.compact(CompactOptions::default(), None).await.unwrap()
}

fn full() -> CompactOptions {
    CompactOptions { full: true, ..CompactOptions::default() }
}

fn files(log: &Log, table: &str) -> Vec<Arc<DataFile>> {
    log.snapshot().tables[table].files.to_vec()
}

/// So many files of two commits each.
async fn some_files(log: &Log, table: &str, count: i64) {
    for file in 0..count {
        for part in 0..2 {
            let first = file * 20 + part * 10;
            log.commit(write(table, first..first + 10)).await.unwrap();
        }
        log.flush().await.unwrap();
    }
}

/// A table's rows in the order of runs and rows, with their commits.
async fn in_order(log: &Log, snapshot: &Snapshot, table: &str) -> Vec<(u64, i64)> {
    let Some(table) = snapshot.tables.get(table) else { return Vec::new() };
    let mut runs = BTreeMap::new();
    for file in table.files.iter() {
        let path = Path::parse(&file.path).unwrap();
        let bytes = log.store().object_store().get(&path).await.unwrap().bytes().await.unwrap();
        let mut rows = Vec::new();
        for batch in ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap() {
            let batch = batch.unwrap();
            let values = batch.column_by_name("n").unwrap().as_primitive::<Int64Type>().clone();
            let seqs = match batch.column_by_name(SEQ_COLUMN) {
                Some(seqs) => seqs.as_primitive::<UInt64Type>().clone(),
                None => UInt64Array::from_value(file.first_seq, batch.num_rows()),
            };
            rows.extend(seqs.values().iter().copied().zip(values.values().iter().copied()));
        }
        runs.insert((file.first_seq, file.last_seq), rows);
    }
    for run in &table.inline {
        let values =
            run.batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values());
        runs.insert((run.seq, run.seq), values.map(|n| (run.seq, *n)).collect());
    }
    let mut last = None;
    for (first_seq, last_seq) in runs.keys() {
        assert!(last < Some(*first_seq), "runs overlap");
        last = Some(*last_seq);
    }
    runs.into_values().flatten().collect()
}

#[tokio::test]
async fn small_files_become_one_and_nothing_else_changes() {
    let inner = memory();
    let log = open(&inner).await;
    some_files(&log, "A", 5).await;
    some_files(&log, "B", 2).await;
    let before = log.snapshot();
    let expected = in_order(&log, &before, "A").await;
    let requests = log.store().requests();
    let report = compact(&log).await;
    let cost = log.store().requests() - requests;
    // A look for new commits, the five files, the new file, the commit.
    assert_eq!((cost.get, cost.put, cost.list, cost.delete), (1 + 5, 2, 0, 0));
    let (a, b) = (&report.tables["A"], &report.tables["B"]);
    assert_eq!((a.files_before, a.files_after, a.files_replaced), (5, 1, 5));
    assert_eq!((a.rows_read, a.rows_written, a.conflicts), (100, 100, 0));
    assert_eq!(a.bytes_read, before.tables["A"].files.iter().map(|file| file.size).sum::<u64>());
    assert_eq!(a.bytes_written, files(&log, "A")[0].size);
    assert_eq!((b.files_after, b.files_replaced, b.left[0].files), (2, 0, 2));
    assert!(serde_json::to_string(&report).unwrap().contains("too few neighbours"));

    let after = log.snapshot();
    assert_eq!(after.seq, before.seq + 1);
    let (was, is) = (&before.tables["A"], &after.tables["A"]);
    assert_eq!((was.changed, was.identity, was.rows), (is.changed, is.identity, is.rows));
    for log in [&log, &open(&inner).await] {
        assert_eq!(in_order(log, &log.snapshot(), "A").await, expected);
        // The past is where it was.
        assert_eq!(in_order(log, &log.snapshot_at(before.seq).await.unwrap(), "A").await, expected);
    }
    // Nothing is left to do, which costs one look.
    let requests = log.store().requests();
    assert_eq!(compact(&log).await.files_replaced(), 0);
    let cost = log.store().requests() - requests;
    assert_eq!((cost.get, cost.put), (1, 0));
    // By force, the two of the other table too.
    let report = log.compact(full(), None).await.unwrap();
    assert_eq!((report.tables["A"].files_replaced, report.tables["B"].files_replaced), (0, 2));
    rows(&log, &log.snapshot(), "B").await;
}

#[tokio::test]
async fn a_row_is_written_again_only_when_its_file_doubles() {
    let log = open(&memory()).await;
    let (mut written, mut rewritten, mut most) = (0, 0, 0);
    for step in 0..120 {
        log.commit(write("A", step * 50..step * 50 + 50)).await.unwrap();
        log.flush().await.unwrap();
        written += 50;
        let report = compact(&log).await;
        rewritten += report.tables["A"].rows_read;
        most = most.max(files(&log, "A").len());
    }
    // The logarithm of 120 is 7.
    assert!(rewritten <= written * 7, "{rewritten} of {written}");
    assert!(most <= 16, "{most} files");
    assert_eq!(rows(&log, &log.snapshot(), "A").await.len(), 6000);
}

#[tokio::test]
async fn files_with_inline_rows_between_them_and_large_files_stay_apart() {
    let inner = memory();
    let small = LogOptions { inline_limit_bytes: 4096, ..options() };
    let log = Log::open(Store::new(Arc::clone(&inner), "db"), small).await.unwrap();
    for step in 0..4 {
        // Large enough for a file at once.
        log.commit(write("A", step * 1000..step * 1000 + 900)).await.unwrap();
        log.commit(write("A", step * 1000 + 900..step * 1000 + 901)).await.unwrap();
    }
    let expected = in_order(&log, &log.snapshot(), "A").await;
    assert_eq!(files(&log, "A").len(), 4);
    assert_eq!(log.compact(full(), None).await.unwrap().files_replaced(), 0);
    log.flush().await.unwrap();
    let size: u64 = files(&log, "A").iter().map(|file| file.size).sum();
    let halves = CompactOptions { target_bytes: size * 6 / 10, ..full() };
    let report = log.compact(halves, None).await.unwrap();
    assert!(report.tables["A"].files_after < 8 && report.tables["A"].files_after > 1, "{report:?}");
    assert_eq!(in_order(&log, &log.snapshot(), "A").await, expected);
    let wrong = CompactOptions { min_files: 1, ..CompactOptions::default() };
    assert_eq!(log.compact(wrong, None).await.unwrap_err().kind(), ErrorKind::Invalid);
}

/// Rows with one more column, or with a column of another type.
fn other_columns(extra: Option<f64>, is_text: bool) -> Changes {
    let mut fields = vec![Field::new("n", DataType::Int64, false)];
    let mut columns: Vec<arrow::array::ArrayRef> = vec![Arc::new(Int64Array::from(vec![7]))];
    if let Some(value) = extra {
        fields.push(Field::new("x", DataType::Float64, false));
        columns.push(Arc::new(arrow::array::Float64Array::from(vec![value])));
    }
    if is_text {
        fields[0] = Field::new("n", DataType::Utf8, false);
        columns[0] = Arc::new(StringArray::from(vec!["seven"]));
    }
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let mut changes = write("A", 0..1);
    changes.writes[0].batches = vec![batch];
    changes
}

#[tokio::test]
async fn added_columns_are_null_before_and_other_types_are_left_alone() {
    let log = open(&memory()).await;
    for changes in [
        write("A", 0..3),
        other_columns(Some(f64::NAN), false),
        other_columns(Some(1.0), false),
        other_columns(None, true),
        other_columns(None, true),
    ] {
        log.commit(changes).await.unwrap();
        log.flush().await.unwrap();
    }
    let report = log.compact(full(), None).await.unwrap();
    let table = &report.tables["A"];
    assert_eq!((table.files_before, table.files_after, table.files_replaced), (5, 2, 5), "{report:?}");
    assert!(table.left.iter().any(|left| left.reason.contains("another type")) || table.left.len() == 1);
    let first = &files(&log, "A")[0];
    let path = Path::parse(&first.path).unwrap();
    let bytes = log.store().object_store().get(&path).await.unwrap().bytes().await.unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    let (x, n) = (reader.schema().index_of("x").unwrap(), reader.schema().index_of("n").unwrap());
    let group = reader.metadata().row_group(0);
    // Statistics leave NaNs out, so a column with one has none.
    assert!(group.column(x).statistics().is_none() && group.column(n).statistics().is_some());
    let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
    let batch = arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap();
    assert_eq!((batch.num_rows(), batch.column(x).null_count()), (5, 3));
    assert_eq!(batch.column_by_name("name").unwrap().null_count(), 3);
}

#[tokio::test]
async fn a_damaged_file_is_named_and_stays_and_the_others_are_joined() {
    for damage in ["changed", "cut", "gone"] {
        let inner = memory();
        let log = open(&inner).await;
        some_files(&log, "A", 4).await;
        some_files(&log, "B", 4).await;
        let (bad, before) = (files(&log, "A")[2].clone(), files(&log, "A"));
        let path = Path::from(format!("db/{}", bad.path));
        let good = inner.get(&path).await.unwrap().bytes().await.unwrap();
        let mut bytes = good.to_vec();
        match damage {
            "changed" => bytes[40] ^= 1,
            "cut" => bytes.truncate(100),
            _ => inner.delete(&path).await.unwrap(),
        }
        if damage != "gone" {
            inner.put(&path, PutPayload::from(bytes)).await.unwrap();
        }
        let error = log.compact(CompactOptions::default(), None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains(&bad.path), "{error}");
        assert_eq!(files(&log, "A"), before);
        assert_eq!(files(&log, "B").len(), 1);
        // Repaired from a copy, it is like the others.
        inner.put(&path, PutPayload::from(good)).await.unwrap();
        assert_eq!(compact(&log).await.tables["A"].files_after, 1);
    }
}

#[tokio::test]
async fn two_compactions_at_once_replace_each_file_once() {
    let place = Place::new();
    let (one, two) = (place.open().await, place.open().await);
    some_files(&one, "A", 6).await;
    let expected = in_order(&one, &one.snapshot(), "A").await;
    let (first, second) = tokio::join!(
        one.compact(CompactOptions::default(), None),
        two.compact(CompactOptions::default(), None)
    );
    let tables = [first.unwrap(), second.unwrap()].map(|report| report.tables["A"].clone());
    assert_eq!(tables.iter().map(|table| table.files_replaced).sum::<u64>(), 6, "{tables:?}");
    assert_eq!(tables.iter().map(|table| table.conflicts).sum::<u64>(), 1, "{tables:?}");
    let check = place.open().await;
    assert_eq!(in_order(&check, &check.snapshot(), "A").await, expected);
    // The loser has deleted what it wrote.
    assert_eq!(place.objects("data").await.len(), 7);
}

/// What another process does after the files were read and before they are replaced.
#[derive(Debug, Clone)]
enum Meanwhile {
    Append,
    Flush,
    Declare,
    Replace,
    Compact,
    Collect(Arc<ManualClock>),
}

/// Merges nothing only because it is small.
fn of_like_size() -> CompactOptions {
    CompactOptions { few_states_bytes: 0, ..CompactOptions::default() }
}

#[derive(Debug)]
struct Other(Log, Meanwhile);

#[async_trait]
impl MergeStates for Other {
    async fn tables(&self, _: &Snapshot) -> Result<BTreeSet<String>, crate::Error> {
        Ok(BTreeSet::from(["A".to_owned()]))
    }

    async fn merge(
        &self,
        _: &Snapshot,
        _: &str,
        _: Vec<VerifiedFile>,
    ) -> Result<Vec<RecordBatch>, crate::Error> {
        let Other(log, meanwhile) = self;
        log.catch_up().await?;
        match meanwhile {
            Meanwhile::Append => drop(log.commit(write("A", 900..905)).await?),
            Meanwhile::Flush => log.flush().await?,
            Meanwhile::Declare => {
                let definitions = Some(BTreeMap::new());
                log.commit(Changes { definitions, ..Changes::default() }).await?;
            }
            Meanwhile::Replace => {
                let mut changes = write("A", 0..1);
                changes.writes[0].replace = true;
                log.commit(changes).await?;
            }
            Meanwhile::Compact => drop(log.compact(CompactOptions::default(), None).await?),
            Meanwhile::Collect(clock) => {
                log.compact(CompactOptions::default(), None).await?;
                log.flush().await?;
                clock.advance(48 * HOUR);
                log.collect_garbage(GarbageOptions::default()).await?;
            }
        }
        Ok(vec![batch(0..100)])
    }
}

#[tokio::test]
async fn a_result_is_dropped_only_where_its_files_are_gone() {
    use Meanwhile::{Append, Compact, Declare, Flush, Replace};
    for (meanwhile, is_dropped, rows) in [
        (Append, false, 100 + 2 + 5),
        (Flush, false, 100 + 2),
        (Declare, false, 100 + 2),
        (Replace, true, 1),
        (Compact, true, 100 + 2),
    ] {
        let place = Place::new();
        let (one, two) = (place.open().await, place.open().await);
        some_files(&one, "A", 5).await;
        one.commit(write("A", 800..802)).await.unwrap();
        let report =
            one.compact(of_like_size(), Some(Arc::new(Other(two.clone(), meanwhile.clone())))).await.unwrap();
        let table = &report.tables["A"];
        assert_eq!(table.conflicts, u64::from(is_dropped), "{meanwhile:?} {report:?}");
        assert_eq!(table.files_replaced, if is_dropped { 0 } else { 5 }, "{meanwhile:?}");
        let check = place.open().await;
        assert_eq!(check.snapshot().tables["A"].rows, rows, "{meanwhile:?}");
        // Nothing is in the store but what was read, and what somebody names.
        let named = files(&check, "A").len();
        assert_eq!(place.objects("data").await.len(), 5 + named, "{meanwhile:?}");
        two.catch_up().await.unwrap();
        assert_eq!(files(&two, "A"), files(&one, "A"));
    }
}

/// Another process replaces the files and deletes them while this one stands still.
#[tokio::test]
async fn files_that_were_collected_meanwhile_are_no_damage() {
    let place = Place::new();
    let (one, two) = (place.open().await, place.open().await);
    some_files(&one, "A", 4).await;
    some_files(&one, "B", 4).await;
    let expected = in_order(&one, &one.snapshot(), "B").await;
    let other = Other(two.clone(), Meanwhile::Collect(Arc::clone(&place.clock)));
    let report = one.compact(of_like_size(), Some(Arc::new(other))).await.unwrap();
    for table in report.tables.values() {
        assert_eq!((table.files_replaced, table.conflicts, table.files_after), (0, 1, 1), "{report:?}");
    }
    assert_eq!(place.objects("data").await.len(), 2);
    assert_eq!(in_order(&one, &one.snapshot(), "B").await, expected);
}

#[tokio::test]
async fn a_caller_who_goes_away_leaves_everything_as_it_was() {
    let place = Place::new();
    let log = place.open().await;
    some_files(&log, "A", 5).await;
    let before = log.snapshot().seq;
    place.faults.plan(Request::Put, "data/A", 0, 1, Fault::Hang);
    let compacting = log.compact(CompactOptions::default(), None);
    assert!(tokio::time::timeout(Duration::from_millis(50), compacting).await.is_err());
    assert_eq!((log.snapshot().seq, place.faults.faults()), (before, 1));
    log.commit(write("A", 900..901)).await.unwrap();
    assert_eq!(compact(&log).await.tables["A"].files_replaced, 5);
    assert_eq!(rows(&log, &log.snapshot(), "A").await.len(), 101);
}

#[tokio::test]
async fn crash_at_every_request_of_a_compaction_leaves_no_orphan() {
    for at in 0.. {
        let mut is_over = false;
        for applied in [false, true] {
            let place = Place::new();
            let log = place.open().await;
            some_files(&log, "A", 4).await;
            let expected = in_order(&log, &log.snapshot(), "A").await;
            place.faults.crash_at(place.faults.requests() + at, applied);
            let result = log.compact(CompactOptions::default(), None).await;
            place.faults.heal();
            drop(log);
            let again = place.open().await;
            assert_eq!(in_order(&again, &again.snapshot(), "A").await, expected, "{at} {applied}");
            let report = again.compact(CompactOptions::default(), None).await.unwrap();
            assert_eq!(report.tables["A"].files_after, 1);
            assert_eq!(in_order(&again, &again.snapshot(), "A").await, expected);
            // Long after, nothing of the crash is left.
            again.flush().await.unwrap();
            place.clock.advance(9 * 24 * HOUR);
            again.collect_garbage(GarbageOptions::default()).await.unwrap();
            let left = place.objects("data").await;
            assert_eq!(left, [format!("db/{}", files(&again, "A")[0].path)], "{at} {applied}");
            is_over = result.is_ok() && !applied;
            if is_over {
                break;
            }
        }
        if is_over {
            assert_eq!(at, 1 + 4 + 2, "a look, four files, a file, a commit");
            return;
        }
    }
}

#[tokio::test]
async fn what_a_kept_snapshot_needs_stays() {
    let place = Place::new();
    let log = place.open().await;
    some_files(&log, "A", 4).await;
    let pinned = log.snapshot();
    let expected = in_order(&log, &pinned, "A").await;
    log.pin("report", Some(pinned.seq), Duration::from_secs(100 * 24 * 3600)).await.unwrap();
    compact(&log).await;
    log.flush().await.unwrap();
    place.clock.advance(30 * 24 * HOUR);
    log.collect_garbage(GarbageOptions::default()).await.unwrap();
    let other = place.open().await;
    assert_eq!(in_order(&other, &other.snapshot_at(pinned.seq).await.unwrap(), "A").await, expected);
    assert!(log.unpin("report").await.unwrap());
    log.flush().await.unwrap();
    place.clock.advance(30 * 24 * HOUR);
    log.collect_garbage(GarbageOptions::default()).await.unwrap();
    assert_eq!(place.objects("data").await.len(), 1);
    assert_eq!(in_order(&log, &log.snapshot(), "A").await, expected);
}

/// Adds all numbers of each name.
#[derive(Debug)]
struct Sums;

#[async_trait]
impl MergeStates for Sums {
    async fn tables(&self, _: &Snapshot) -> Result<BTreeSet<String>, crate::Error> {
        Ok(BTreeSet::from(["V".to_owned(), "W".to_owned()]))
    }

    async fn merge(
        &self,
        _: &Snapshot,
        table: &str,
        files: Vec<VerifiedFile>,
    ) -> Result<Vec<RecordBatch>, crate::Error> {
        if table == "W" {
            return Err(crate::Error::invalid("too large"));
        }
        let mut sum = 0;
        for VerifiedFile { bytes, .. } in files {
            for batch in ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap() {
                let batch = batch.unwrap();
                let values = batch.column_by_name("n").unwrap().as_primitive::<Int64Type>();
                sum += values.values().iter().sum::<i64>();
            }
        }
        Ok(vec![batch(sum..sum + 1)])
    }
}

#[tokio::test]
async fn states_are_merged_and_go_on_being_merged() {
    let inner = memory();
    let log = open(&inner).await;
    let merge = || Some(Arc::new(Sums) as Arc<dyn MergeStates>);
    for round in 1..4 {
        some_files(&log, "V", 4).await;
        some_files(&log, "W", 4).await;
        let report = log.compact(CompactOptions::default(), merge()).await.unwrap();
        assert_eq!(files(&log, "V").len(), 1, "{report:?}");
        let file = files(&log, "V")[0].clone();
        let table = &log.snapshot().tables["V"];
        assert!(file.merged && file.rows == 1 && table.rows == 1);
        assert_eq!((file.first_seq, file.last_seq), (1, table.changed));
        let path = Path::parse(&file.path).unwrap();
        let bytes = log.store().object_store().get(&path).await.unwrap().bytes().await.unwrap();
        let mut reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
        let merged = reader.next().unwrap().unwrap();
        assert!(merged.column_by_name(SEQ_COLUMN).is_none());
        assert_eq!(merged.column(0).as_primitive::<Int64Type>().value(0), round * (0..80).sum::<i64>());
        // What cannot be merged stays and is told, and is not tried again.
        assert_eq!(report.tables["W"].files_replaced, 0);
        assert!(report.tables["W"].left.iter().any(|left| left.reason.contains("too large")), "{report:?}");
        let again = log.compact(CompactOptions::default(), merge()).await.unwrap();
        assert_eq!(again.tables["W"].bytes_read, 0);
    }
    // Without knowledge of states, merged ones are never taken for rows.
    some_files(&log, "V", 1).await;
    assert_eq!(log.compact(full(), None).await.unwrap().tables["V"].files_replaced, 0);
    // By force, a file of several commits is merged by itself.
    some_files(&log, "V", 1).await;
    let report = log.compact(full(), merge()).await.unwrap();
    assert_eq!(report.tables["V"].files_after, 1);
    let again = open(&inner).await;
    assert_eq!(again.snapshot().tables["V"].files, log.snapshot().tables["V"].files);
}

/// Commits, again where another log replaced the rows meanwhile.
async fn commit(log: &Log, changes: Changes) {
    while let Err(error) = log.commit(changes.clone()).await {
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        log.catch_up().await.unwrap();
    }
}

/// Random histories of one and two logs: every snapshot reads the same, whatever was compacted.
async fn history(seed: u64) {
    let mut random = Random::new(seed);
    let place = Place::new();
    let mut logs = vec![place.open().await];
    if random.one_in(2) {
        logs.push(place.open().await);
    }
    let mut next = 0;
    let mut known: BTreeMap<u64, [Vec<(u64, i64)>; 2]> = BTreeMap::new();
    for _ in 0..40 {
        let log = random.pick(&logs).clone();
        let table = *random.pick(&["A", "B"]);
        let options = CompactOptions {
            min_files: 2 + usize::try_from(random.below(3)).unwrap(),
            target_bytes: 1 << (10 + random.below(6)),
            few_states_bytes: 0,
            full: random.one_in(3),
        };
        match random.below(12) {
            0..=4 => {
                let count = 1 + i64::try_from(random.below(30)).unwrap();
                commit(&log, write(table, next..next + count)).await;
                next += count;
            }
            5..=7 => log.flush().await.unwrap(),
            8 => {
                let mut changes = write(table, next..next + 3);
                changes.writes[0].replace = true;
                commit(&log, changes).await;
                next += 3;
            }
            9 => drop(log.compact(options, None).await.unwrap()),
            10 => {
                // All of them at once, beside a write.
                let compactions = logs.iter().map(|log| log.compact(options.clone(), None));
                let compactions = futures::future::join_all(compactions);
                let (reports, ()) = tokio::join!(compactions, commit(&log, write(table, next..next + 5)));
                reports.into_iter().for_each(|report| drop(report.unwrap()));
                next += 5;
            }
            _ => {
                place.clock.advance(20 * HOUR);
                if random.one_in(3) {
                    log.collect_garbage(GarbageOptions::default()).await.unwrap();
                }
            }
        }
        let log = random.pick(&logs).clone();
        let snapshot = log.catch_up().await.unwrap();
        let tables = [in_order(&log, &snapshot, "A").await, in_order(&log, &snapshot, "B").await];
        let before = known.entry(snapshot.seq).or_insert_with(|| tables.clone());
        assert_eq!(*before, tables, "commit {}", snapshot.seq);
    }
    let log = place.open().await;
    let floor = log.snapshot().floor;
    for (seq, tables) in known.range(floor..) {
        let snapshot = log.snapshot_at(*seq).await.unwrap();
        let again = [in_order(&log, &snapshot, "A").await, in_order(&log, &snapshot, "B").await];
        assert_eq!(&again, tables, "commit {seq}, the floor is {floor}");
        for table in ["A", "B"] {
            assert_eq!(rows(&log, &snapshot, table).await.len(), again[usize::from(table == "B")].len());
        }
    }
    // All of it is sound, but for files of results that were dropped; and so is a copy.
    let copy = memory();
    let (from, to) = (log.store().clone(), Store::new(Arc::clone(&copy), "db"));
    crate::commit::backup::backup(&from, &to, &Default::default()).await.unwrap();
    for place in [&place.inner, &copy] {
        let mut findings = super::scrub::scrubbed(place).await.findings;
        findings.retain(|finding| finding.kind != FindingKind::Unreferenced);
        assert_eq!(findings, []);
    }
}

#[tokio::test]
async fn random_histories_keep_every_snapshot_as_it_was_truth() {
    for seed in seeds(24) {
        println!("PARQUEDB_SEED={seed} PARQUEDB_SEEDS=1");
        history(seed).await;
    }
}

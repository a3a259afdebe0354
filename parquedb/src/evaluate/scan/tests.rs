//! Scans give the live rows and nothing else, whatever pruning and limits leave out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::commit::snapshot::Snapshot;
use crate::commit::{Changes, CompactOptions, Log, LogOptions, RunId, RunRemoval, TableRemoval, TableWrite};
use crate::evaluate::session::session;
use crate::store::Store;
use crate::testing::{Random, seeds};
use arrow::array::{AsArray, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, UInt64Type};
use arrow::record_batch::RecordBatch;
use datafusion::prelude::SessionContext;
use object_store::memory::InMemory;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const TABLE: &str = "A";

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
        Field::new("weight", DataType::Float64, true),
    ]))
}

fn batch(values: impl IntoIterator<Item = i64>) -> RecordBatch {
    let values: Vec<i64> = values.into_iter().collect();
    let names = values.iter().map(|n| (n % 3 != 0).then(|| format!("row {}", n % 1000)));
    let names = StringArray::from_iter(names);
    let weights = Float64Array::from_iter(values.iter().map(|n| (n % 5 != 0).then_some(*n as f64 / 2.0)));
    RecordBatch::try_new(
        schema(),
        vec![Arc::new(Int64Array::from(values)), Arc::new(names), Arc::new(weights)],
    )
    .unwrap()
}

fn write(batches: Vec<RecordBatch>) -> Changes {
    let write = TableWrite { table: TABLE.to_owned(), is_view: false, batches, replace: false };
    Changes { writes: vec![write], ..Changes::default() }
}

fn remove(runs: impl IntoIterator<Item = (RunId, RoaringBitmap)>) -> Changes {
    let runs = runs.into_iter().map(|(run, rows)| RunRemoval { run, rows }).collect();
    Changes { removals: vec![TableRemoval { table: TABLE.to_owned(), runs }], ..Changes::default() }
}

async fn open(store: &Store, inline_limit_bytes: usize) -> Log {
    let options = LogOptions {
        inline_limit_bytes,
        flush_after: Duration::MAX,
        flush_after_commits: u64::MAX,
        ..LogOptions::default()
    };
    Log::open(store.clone(), options).await.unwrap()
}

fn context(log: &Log) -> SessionContext {
    session(log.store().object_store(), 3).unwrap()
}

async fn collect(context: &SessionContext, plan: LogicalPlan) -> Vec<RecordBatch> {
    context.execute_logical_plan(plan).await.unwrap().collect().await.unwrap()
}

fn numbers(batches: &[RecordBatch]) -> Vec<i64> {
    let columns = batches.iter().map(|batch| batch.column_by_name("n").unwrap().as_primitive::<Int64Type>());
    let mut numbers: Vec<i64> = columns.flat_map(|column| column.values().to_vec()).collect();
    numbers.sort_unstable();
    numbers
}

/// The commit and the number of each row.
fn with_commits(batches: &[RecordBatch]) -> BTreeSet<(u64, i64)> {
    let mut rows = BTreeSet::new();
    for batch in batches {
        let seqs = batch.column_by_name(SEQ_COLUMN).unwrap().as_primitive::<UInt64Type>();
        let numbers = batch.column_by_name("n").unwrap().as_primitive::<Int64Type>();
        for (seq, number) in seqs.values().iter().zip(numbers.values()) {
            assert!(rows.insert((*seq, *number)), "row {number} of commit {seq} is there twice");
        }
    }
    rows
}

#[tokio::test]
async fn rows_removed_from_a_file_of_several_row_groups_are_in_no_answer() {
    const GROUP: u32 = 131_072;
    let store = Store::new(Arc::new(InMemory::new()), "db");
    let log = open(&store, 1 << 10).await;
    let rows = i64::from(3 * GROUP - 5000);
    log.commit(write(vec![batch(0..rows)])).await.unwrap();
    let file = log.snapshot().tables[TABLE].files[0].path.clone();
    // All of the second group, the first and the last row, single rows, and a stretch over a group's end.
    let mut gone = RoaringBitmap::from_iter([0, 77, 40_000, u32::try_from(rows).unwrap() - 1]);
    gone.insert_range(GROUP - 100..2 * GROUP + 300);
    gone.extend((0..GROUP).filter(|n| n % 1000 < 3));
    log.commit(remove([(RunId::File(file), gone.clone())])).await.unwrap();
    // The answers of a session that reads in one piece, and of one that cuts the file.
    for partitions in [1, 4] {
        let context = session(log.store().object_store(), partitions).unwrap();
        let snapshot = log.snapshot();
        let table = snapshot.tables.get(TABLE).map(Arc::as_ref);
        assert_eq!(table.unwrap().rows, rows.unsigned_abs() - gone.len());
        let live = (0..rows).filter(|n| !gone.contains(u32::try_from(*n).unwrap())).collect::<Vec<_>>();
        let all = || all_rows(TABLE, &schema(), table).unwrap();
        let counted = LogicalPlanBuilder::from(all()).aggregate(Vec::<Expr>::new(), vec![count(lit(1_i64))]);
        let counted = collect(&context, counted.unwrap().build().unwrap()).await;
        assert_eq!(counted[0].column(0).as_primitive::<Int64Type>().value(0), live.len() as i64);
        assert_eq!(numbers(&collect(&context, all()).await), live);
        type Filter = (Expr, fn(i64) -> bool);
        let filters: [Filter; 7] = [
            (col("n").gt(lit(200_000_i64)), |n| n > 200_000),
            (col("n").lt_eq(lit(0_i64)), |n| n <= 0),
            (col("n").between(lit(131_000_i64), lit(262_200_i64)), |n| (131_000..=262_200).contains(&n)),
            (col("n").gt_eq(lit(0_i64)), |_| true),
            (col("name").is_null(), |n| n % 3 == 0),
            (col("name").eq(lit("row 77")), |n| n % 1000 == 77 && n % 3 != 0),
            (col("n").between(lit(150_000_i64), lit(150_100_i64)), |_| false),
        ];
        for (filter, keeps) in filters {
            let expected: Vec<i64> =
                live.iter().copied().filter(|n| keeps(*n) && !(150_000..=150_100).contains(n)).collect();
            let filtered = LogicalPlanBuilder::from(all()).filter(filter.clone()).unwrap();
            let found = numbers(&collect(&context, filtered.clone().build().unwrap()).await);
            assert_eq!(found, expected, "{filter}");
            for limit in [1, 50, 30_000, 400_000] {
                let limited = filtered.clone().limit(0, Some(limit)).unwrap().build().unwrap();
                let found = numbers(&collect(&context, limited).await);
                assert_eq!(found.len(), limit.min(expected.len()), "{filter}, {limit}");
                let expected: BTreeSet<i64> = expected.iter().copied().collect();
                assert!(found.iter().all(|n| expected.contains(n)), "{filter}, {limit}");
            }
        }
        for limit in [1, 50, 131_071, 200_000, 500_000] {
            let limited = LogicalPlanBuilder::from(all()).limit(0, Some(limit)).unwrap().build().unwrap();
            let found = numbers(&collect(&context, limited).await);
            assert_eq!(found.len(), limit.min(live.len()), "{limit}");
            assert!(found.iter().all(|n| !gone.contains(u32::try_from(*n).unwrap())));
        }
    }
}

#[tokio::test]
async fn rows_at_positions_are_those_of_the_file() {
    let store = Store::new(Arc::new(InMemory::new()), "db");
    let log = open(&store, 1 << 20).await;
    log.commit(write(vec![batch(0..10)])).await.unwrap();
    log.commit(write(vec![batch(10..30)])).await.unwrap();
    log.flush().await.unwrap();
    let file = Arc::clone(&log.snapshot().tables[TABLE].files[0]);
    log.commit(remove([(RunId::File(file.path.clone()), RoaringBitmap::from_iter([3]))])).await.unwrap();
    let file = Arc::clone(&log.snapshot().tables[TABLE].files[0]);
    let context = context(&log);
    for wanted in [None, Some(vec![0_u32, 3, 29]), Some(vec![17])] {
        let positions = wanted.as_ref().map(|wanted| wanted.iter().copied().collect::<RoaringBitmap>());
        let plan = rows_at(TABLE, &schema(), &file, positions.as_ref()).unwrap();
        let found = collect(&context, plan).await;
        let expected: Vec<i64> = match wanted {
            Some(wanted) => wanted.iter().map(|position| i64::from(*position)).collect(),
            None => (0..30).collect(),
        };
        assert_eq!(numbers(&found), expected);
        for batch in &found {
            let positions = batch.column_by_name(POSITION_COLUMN).unwrap().as_primitive::<Int64Type>();
            assert_eq!(positions, batch.column_by_name("n").unwrap().as_primitive::<Int64Type>());
        }
        let commits = expected.iter().map(|n| (if *n < 10 { 1 } else { 2 }, *n)).collect();
        assert_eq!(with_commits(&found), commits);
    }
}

/// What a history must have come to: the commit of each row that is live, by its number.
type Model = BTreeMap<i64, u64>;

/// Where each live row is.
async fn places(context: &SessionContext, table: &Table) -> BTreeMap<i64, (RunId, u32)> {
    let mut places = BTreeMap::new();
    for file in table.files.iter() {
        let found = collect(context, rows_at(TABLE, &schema(), file, None).unwrap()).await;
        for batch in &found {
            let positions = batch.column_by_name(POSITION_COLUMN).unwrap().as_primitive::<Int64Type>();
            let numbers = batch.column_by_name("n").unwrap().as_primitive::<Int64Type>();
            for (position, number) in positions.values().iter().zip(numbers.values()) {
                let position = u32::try_from(*position).unwrap();
                if !file.removed.contains(position) {
                    let place = (RunId::File(file.path.clone()), position);
                    assert!(places.insert(*number, place).is_none());
                }
            }
        }
    }
    for run in &table.inline {
        let numbers =
            run.batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values());
        for (position, number) in (0_u32..).zip(numbers) {
            if !run.removed.contains(position) {
                assert!(places.insert(*number, (RunId::Inline(run.seq), position)).is_none());
            }
        }
    }
    places
}

async fn compare(context: &SessionContext, snapshot: &Snapshot, model: &Model, seqs: &[u64], place: &str) {
    let table = snapshot.tables.get(TABLE).map(Arc::as_ref);
    assert_eq!(table.map_or(0, |table| table.rows), model.len() as u64, "{place}");
    let rows: BTreeSet<(u64, i64)> = model.iter().map(|(number, seq)| (*seq, *number)).collect();
    let all = collect(context, all_rows(TABLE, &schema(), table).unwrap()).await;
    assert_eq!(numbers(&all), model.keys().copied().collect::<Vec<_>>(), "{place}");
    for batch in &all {
        let expected = self::batch(batch.column(0).as_primitive::<Int64Type>().values().iter().copied());
        assert_eq!(batch.columns(), expected.columns(), "{place}");
    }
    let told = collect(context, rows_with_commits(TABLE, &schema(), table).unwrap()).await;
    assert_eq!(with_commits(&told), rows, "{place}");
    let Some(table) = table else { return };
    for seq in seqs {
        let later = collect(context, rows_after(TABLE, &schema(), table, *seq, false).unwrap()).await;
        let until = collect(context, rows_until(TABLE, &schema(), table, *seq, false).unwrap()).await;
        let of = |is_wanted: &dyn Fn(u64) -> bool| -> Vec<i64> {
            model.iter().filter(|(_, seq)| is_wanted(**seq)).map(|(number, _)| *number).collect()
        };
        assert_eq!(numbers(&later), of(&|of| of > *seq), "{place}, after {seq}");
        assert_eq!(numbers(&until), of(&|of| of <= *seq), "{place}, until {seq}");
    }
}

/// Rows of a random history, and how often runs with removed rows were rewritten.
async fn history(seed: u64) -> u64 {
    let mut random = Random::new(seed);
    let store = Store::new(Arc::new(InMemory::new()), "db");
    let inline_limit = *random.pick(&[300, 1 << 20]);
    let mut log = open(&store, inline_limit).await;
    let (mut model, mut next, mut rewritten) = (Model::new(), 0_i64, 0);
    for step in 0..40 {
        let place = format!("seed {seed}, step {step}");
        let context = context(&log);
        let snapshot = log.snapshot();
        let mut changes = Changes { base: Some(snapshot.seq), ..Changes::default() };
        let mut after = model.clone();
        if random.one_in(2) {
            let some = i64::try_from(1 + random.below(40)).unwrap();
            let cut = next + i64::try_from(random.below(some.unsigned_abs())).unwrap();
            let batches = vec![batch(next..cut), batch(cut..next + some)];
            changes.writes = write(batches).writes;
            after.extend((next..next + some).map(|number| (number, snapshot.seq + 1)));
            next += some;
        }
        if !random.one_in(3)
            && let Some(table) = snapshot.tables.get(TABLE)
        {
            let places = places(&context, table).await;
            let rarely = *random.pick(&[1, 2, 5, 30]);
            let mut runs: BTreeMap<RunId, RoaringBitmap> = BTreeMap::new();
            for (number, (run, position)) in places {
                if random.one_in(rarely) {
                    runs.entry(run).or_default().insert(position);
                    after.remove(&number);
                }
            }
            changes.removals = remove(runs).removals;
        }
        let seqs = [random.below(snapshot.seq + 2), random.below(snapshot.seq + 2)];
        let overlay = snapshot.with(&changes, 0).unwrap();
        compare(&context, &overlay, &after, &seqs, &format!("{place}, before it is committed")).await;
        if !random.one_in(8) {
            log.commit(changes).await.unwrap();
            model = after;
        }
        match random.below(8) {
            0 | 1 => log.flush().await.unwrap(),
            2 => {
                let options = CompactOptions { min_files: 2, full: random.one_in(2), ..Default::default() };
                let report = log.compact(options, None).await.unwrap();
                rewritten += report.files_replaced();
            }
            3 => log = open(&store, inline_limit).await,
            _ => {}
        }
        compare(&self::context(&log), &log.snapshot(), &model, &seqs, &place).await;
        let past = random.below(log.snapshot().seq + 1);
        drop(log.snapshot_at(past).await.unwrap());
    }
    let report = crate::commit::scrub::scrub(&store, &Default::default()).await.unwrap();
    assert_eq!(report.findings, [], "seed {seed}");
    rewritten
}

#[tokio::test]
async fn random_histories_with_removals_give_the_rows_of_the_model_truth() {
    let (mut rewritten, mut runs) = (0, 0);
    for seed in seeds(4) {
        println!(
            "PARQUEDB_SEED={seed} PARQUEDB_SEEDS=1 cargo test -p parquedb --lib random_histories_with_removals"
        );
        rewritten += history(seed).await;
        runs += 1;
    }
    assert!(runs < 4 || rewritten > 4, "{rewritten} files were rewritten");
}

/// Measures what removed rows cost who reads the rest.
#[tokio::test]
#[ignore = "measures; run it with --release --ignored --nocapture"]
async fn reading_costs_little_more_with_removed_rows() {
    use datafusion::functions_aggregate::expr_fn::sum;
    let rows = 1_000_000;
    for (what, percent, is_scattered) in [
        ("nothing", 0, true),
        ("1 % here and there", 1, true),
        ("10 % here and there", 10, true),
        ("29 % here and there", 29, true),
        ("29 % in one place", 29, false),
    ] {
        let store = Store::new(Arc::new(InMemory::new()), "db");
        let log = open(&store, 1 << 10).await;
        log.commit(write((0..8).map(|part| batch(part * rows / 8..(part + 1) * rows / 8)).collect()))
            .await
            .unwrap();
        let file = log.snapshot().tables[TABLE].files[0].path.clone();
        let (mut random, mut gone) = (Random::new(1), RoaringBitmap::new());
        if is_scattered {
            gone.extend((0..u32::try_from(rows).unwrap()).filter(|_| random.below(100) < percent));
        } else {
            gone.insert_range(0..u32::try_from(rows).unwrap() / 100 * u32::try_from(percent).unwrap());
        }
        let mut bytes = 0;
        if !gone.is_empty() {
            bytes = gone.serialized_size();
            log.commit(remove([(RunId::File(file), gone)])).await.unwrap();
        }
        let context = context(&log);
        let snapshot = log.snapshot();
        let mut best = Duration::MAX;
        for _ in 0..4 {
            let all = all_rows(TABLE, &schema(), snapshot.tables.get(TABLE).map(Arc::as_ref)).unwrap();
            let wanted = vec![sum(col("n")), sum(col("weight")), count(col("name"))];
            let plan = LogicalPlanBuilder::from(all).aggregate(Vec::<Expr>::new(), wanted).unwrap();
            let started = std::time::Instant::now();
            collect(&context, plan.build().unwrap()).await;
            best = best.min(started.elapsed());
        }
        println!("{what} removed ({bytes} bytes): {best:?}");
    }
}

//! Located rows are those that a search through all rows finds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::commit::snapshot::ADDED_COLUMN;
use crate::commit::{Changes, CompactOptions, Log, LogOptions, TableRemoval, TableWrite};
use crate::evaluate::session::session;
use crate::store::Store;
use crate::testing::{Random, seeds};
use arrow::array::{
    ArrayBuilder, Float64Array, Float64Builder, Int64Array, ListBuilder, MapBuilder, StringArray,
    StringBuilder, StructArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field};
use object_store::memory::InMemory;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const TABLE: &str = "Orders";

/// A row, with values of which there are few.
#[derive(Debug, Clone)]
struct Row {
    uid: i64,
    number: Option<f64>,
    text: Option<String>,
    list: Option<Vec<Option<f64>>>,
    pair: Option<(Option<f64>, i64)>,
    map: Option<Vec<(String, Option<f64>)>>,
}

/// The same for equal values.
fn key(row: &Row, by: &[String]) -> String {
    let one = |value: &Option<f64>| match value {
        Some(value) if value.is_nan() => "NaN".to_owned(),
        Some(value) => format!("{}", value + 0.0),
        None => "null".to_owned(),
    };
    let many = |values: &Vec<Option<f64>>| values.iter().map(one).collect::<Vec<_>>();
    let entry = |(key, value): &(String, Option<f64>)| format!("{key}: {}", one(value));
    let of = |name: &String| match name.as_str() {
        "uid" => row.uid.to_string(),
        "number" => one(&row.number),
        "text" => format!("{:?}", row.text),
        "list" => format!("{:?}", row.list.as_ref().map(many)),
        "pair" => format!("{:?}", row.pair.as_ref().map(|(value, other)| (one(value), *other))),
        "map" => format!("{:?}", row.map.as_ref().map(|map| map.iter().map(entry).collect::<Vec<_>>())),
        other => panic!("{other}"),
    };
    by.iter().map(of).collect::<Vec<_>>().join(" | ")
}

fn random_row(random: &mut Random, uid: i64) -> Row {
    let float = |random: &mut Random| {
        let quiet = f64::from_bits(0x7ff8_0000_0000_0001);
        *random.pick(&[None, Some(0.0), Some(-0.0), Some(f64::NAN), Some(-f64::NAN), Some(quiet), Some(1.5)])
    };
    let list = |random: &mut Random| (0..random.below(3)).map(|_| float(random)).collect::<Vec<_>>();
    Row {
        uid,
        number: float(random),
        text: random.pick(&[None, Some("a"), Some("b"), Some("")]).map(str::to_owned),
        list: (!random.one_in(4)).then(|| list(random)),
        pair: (!random.one_in(4)).then(|| (float(random), i64::try_from(random.below(2)).unwrap())),
        map: (!random.one_in(4)).then(|| {
            let values = list(random).into_iter();
            values.enumerate().map(|(index, value)| (format!("k{index}"), value)).collect()
        }),
    }
}

fn batch(rows: &[Row]) -> RecordBatch {
    let mut lists = ListBuilder::new(Float64Builder::new());
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Float64Builder::new());
    for row in rows {
        for value in row.list.iter().flatten() {
            lists.values().append_option(*value);
        }
        lists.append(row.list.is_some());
        for (key, value) in row.map.iter().flatten() {
            maps.keys().append_value(key);
            maps.values().append_option(*value);
        }
        maps.append(row.map.is_some()).unwrap();
    }
    let firsts = Float64Array::from_iter(rows.iter().map(|row| row.pair.and_then(|(value, _)| value)));
    let seconds = Int64Array::from_iter_values(rows.iter().map(|row| row.pair.map_or(7, |(_, other)| other)));
    let valid = NullBuffer::from_iter(rows.iter().map(|row| row.pair.is_some()));
    let fields = vec![
        Arc::new(Field::new("value", DataType::Float64, true)),
        Arc::new(Field::new("other", DataType::Int64, false)),
    ];
    let pairs = StructArray::new(fields.into(), vec![Arc::new(firsts), Arc::new(seconds)], Some(valid));
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("uid", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.uid))), false),
        ("number", Arc::new(Float64Array::from_iter(rows.iter().map(|row| row.number))), true),
        ("text", Arc::new(StringArray::from_iter(rows.iter().map(|row| row.text.clone()))), true),
        ("list", Arc::new(ArrayBuilder::finish(&mut lists)), true),
        ("pair", Arc::new(pairs), true),
        ("map", Arc::new(ArrayBuilder::finish(&mut maps)), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

async fn open(inline_limit_bytes: usize) -> Log {
    let store = Store::new(Arc::new(InMemory::new()), "db");
    let options = LogOptions {
        inline_limit_bytes,
        flush_after: Duration::MAX,
        flush_after_commits: u64::MAX,
        ..LogOptions::default()
    };
    Log::open(store, options).await.unwrap()
}

fn write(batches: Vec<RecordBatch>) -> Changes {
    let write = TableWrite { table: TABLE.to_owned(), is_view: false, batches, replace: false };
    Changes { writes: vec![write], ..Changes::default() }
}

fn removing(runs: Vec<RunRemoval>) -> Changes {
    Changes { removals: vec![TableRemoval { table: TABLE.to_owned(), runs }], ..Changes::default() }
}

fn uids(batch: &RecordBatch) -> Vec<i64> {
    batch.column_by_name("uid").unwrap().as_primitive::<Int64Type>().values().to_vec()
}

/// The `uid` of the row at each live position.
async fn places(session: &SessionContext, schema: &SchemaRef, table: &Table) -> BTreeMap<(RunId, u32), i64> {
    let mut places = BTreeMap::new();
    for file in table.files.iter() {
        let plan = scan::rows_at(TABLE, schema, file, None).unwrap();
        for batch in session.execute_logical_plan(plan).await.unwrap().collect().await.unwrap() {
            let positions = batch.column_by_name(POSITION_COLUMN).unwrap().as_primitive::<Int64Type>();
            for (at, uid) in positions.values().iter().zip(uids(&batch)) {
                places.insert((RunId::File(file.path.clone()), u32::try_from(*at).unwrap()), uid);
            }
        }
        places.retain(|(run, at), _| *run != RunId::File(file.path.clone()) || !file.removed.contains(*at));
    }
    for run in &table.inline {
        let uids = run.batches.iter().flat_map(uids);
        let live = (0_u32..).zip(uids).filter(|(at, _)| !run.removed.contains(*at));
        places.extend(live.map(|(at, uid)| ((RunId::Inline(run.seq), at), uid)));
    }
    places
}

async fn search(seed: u64) {
    let mut random = Random::new(seed);
    let log = open(*random.pick(&[2000, 1 << 20])).await;
    let cache = LocateCache::new(*random.pick(&[100, 2000, 1 << 20]));
    let schema = batch(&[]).schema();
    // Each row with its commit.
    let mut model: BTreeMap<i64, (u64, Row)> = BTreeMap::new();
    let mut next = 0;
    for step in 0..12 {
        let place = format!("seed {seed}, step {step}");
        let mut batches = Vec::new();
        for _ in 0..1 + random.below(2) {
            let rows: Vec<Row> =
                (0..random.below(40)).map(|at| random_row(&mut random, next + at as i64)).collect();
            next += rows.len() as i64;
            batches.push(batch(&rows));
            let seq = log.snapshot().seq + 1;
            model.extend(rows.into_iter().map(|row| (row.uid, (seq, row))));
        }
        log.commit(write(batches)).await.unwrap();
        match random.below(4) {
            0 => log.flush().await.unwrap(),
            1 => {
                let options = CompactOptions { min_files: 2, full: true, ..Default::default() };
                log.compact(options, None).await.unwrap();
            }
            _ => {}
        }
        let session = session(log.store().object_store(), 2).unwrap();
        let snapshot = log.snapshot();
        let Some(table) = snapshot.tables.get(TABLE) else { continue };
        let names = ["number", "text", "list", "pair", "map", "uid"];
        let mut by: Vec<String> =
            names.iter().filter(|_| random.one_in(2)).map(|name| (*name).to_owned()).collect();
        if by.is_empty() {
            by.push("number".to_owned());
        }
        let probes: Vec<Row> = (0..random.below(30))
            .map(|_| {
                let uid = random.below(next.unsigned_abs() + 5);
                random_row(&mut random, i64::try_from(uid).unwrap())
            })
            .collect();
        let take = *random.pick(&[Take::All, Take::OneEach]);
        let probe_batch = batch(&probes);
        let located = locate(&cache, &session, TABLE, &schema, table, &by, &probe_batch, take).await.unwrap();
        let places = places(&session, &schema, table).await;
        assert_eq!(places.len(), model.len(), "{place}");
        // Where the rows are and what they are agree, and each is live and there once.
        let found = uids(&located.rows);
        let removal = located.removal();
        let removed = removal.iter().flat_map(|run| run.rows.iter().map(|at| (run.run.clone(), at)));
        let removed: BTreeSet<i64> = removed.map(|place| places[&place]).collect();
        assert_eq!(removed, found.iter().copied().collect::<BTreeSet<_>>(), "{place}");
        assert_eq!((removed.len(), located.probe_of.len()), (found.len(), found.len()), "{place}");
        let commits = located.rows.column_by_name(ADDED_COLUMN).unwrap().as_primitive::<UInt64Type>();
        for (index, uid) in found.iter().enumerate() {
            let (seq, row) = &model[uid];
            assert_eq!(commits.value(index), *seq, "{place}");
            assert_eq!(key(row, &by), key(&probes[located.probe_of[index]], &by), "{place}");
            let expected = with_commit(&batch(std::slice::from_ref(row)), *seq);
            assert_eq!(located.rows.slice(index, 1), expected, "{place}");
        }
        // As many as there are.
        let mut live: BTreeMap<String, usize> = BTreeMap::new();
        model.values().for_each(|(_, row)| *live.entry(key(row, &by)).or_default() += 1);
        let mut wanted: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        probes.iter().enumerate().for_each(|(at, row)| wanted.entry(key(row, &by)).or_default().push(at));
        let mut missing = 0;
        for (value, probes) in &wanted {
            let held = live.get(value).copied().unwrap_or_default();
            let lost = probes.iter().filter(|at| located.missing.contains(at)).count();
            missing += lost;
            let got = probes.iter().map(|at| located.probe_of.iter().filter(|of| *of == at).count());
            let got: Vec<usize> = got.collect();
            if take == Take::All {
                assert_eq!(got.iter().sum::<usize>(), held, "{place}: {value}");
                assert_eq!(lost, if held == 0 { probes.len() } else { 0 }, "{place}: {value}");
            } else {
                assert!(got.iter().all(|count| *count <= 1), "{place}: {value}");
                assert_eq!(got.iter().sum::<usize>(), held.min(probes.len()), "{place}: {value}");
                assert_eq!(lost, probes.len() - held.min(probes.len()), "{place}: {value}");
            }
        }
        assert_eq!(located.missing.len(), missing, "{place}");
        if random.one_in(2) {
            log.commit(removing(located.removal())).await.unwrap();
            model.retain(|uid, _| !removed.contains(uid));
            let rows = log.snapshot().tables[TABLE].rows;
            assert_eq!(rows, model.len() as u64, "{place}");
        }
    }
}

fn with_commit(batch: &RecordBatch, seq: u64) -> RecordBatch {
    let columns = batch.columns().iter().cloned();
    let commit: ArrayRef = Arc::new(UInt64Array::from(vec![seq]));
    RecordBatch::try_new(
        crate::evaluate::difference::removed_schema(&batch.schema()),
        columns.chain([commit]).collect(),
    )
    .unwrap()
}

#[tokio::test]
async fn located_rows_are_those_of_a_search_through_all_rows_truth() {
    for seed in seeds(30) {
        println!("PARQUEDB_SEED={seed} PARQUEDB_SEEDS=1 cargo test -p parquedb --lib located_rows_are");
        search(seed).await;
    }
}

#[tokio::test]
async fn files_that_cannot_have_a_row_are_not_read() {
    let log = open(1 << 20).await;
    let mut random = Random::new(5);
    for part in 0..3 {
        let rows: Vec<Row> = (part * 100..part * 100 + 100).map(|uid| random_row(&mut random, uid)).collect();
        log.commit(write(vec![batch(&rows)])).await.unwrap();
        log.flush().await.unwrap();
    }
    let session = session(log.store().object_store(), 2).unwrap();
    let snapshot = log.snapshot();
    let (schema, table) = (batch(&[]).schema(), &snapshot.tables[TABLE]);
    for (limit, uids, found, files) in [
        (1 << 20, vec![150, 151, 9], 3, 2),
        (1 << 20, vec![150, 199, 300], 2, 1),
        (1 << 20, vec![301], 0, 0),
        // Without memory for any index.
        (0, vec![99, 250], 2, 0),
    ] {
        let cache = LocateCache::new(limit);
        let probes: Vec<Row> = uids.iter().map(|uid| random_row(&mut random, *uid)).collect();
        let (probes, by) = (batch(&probes), ["uid".to_owned()]);
        for take in [Take::All, Take::OneEach, Take::All] {
            let located = locate(&cache, &session, TABLE, &schema, table, &by, &probes, take).await.unwrap();
            assert_eq!(located.rows.num_rows(), found, "{uids:?} {take:?}");
            assert_eq!(located.missing.len(), uids.len() - found, "{uids:?} {take:?}");
            assert_eq!(cache.files(), files, "{uids:?} {take:?}");
        }
    }
}

#[tokio::test]
async fn columns_that_are_not_there_are_named() {
    let log = open(1 << 20).await;
    let schema = batch(&[]).schema();
    let session = session(log.store().object_store(), 2).unwrap();
    let (cache, table, none) = (LocateCache::default(), Table::default(), batch(&[]));
    for (by, told) in [(vec!["other".to_owned()], "`other`"), (Vec::new(), "without a column")] {
        let located = locate(&cache, &session, TABLE, &schema, &table, &by, &none, Take::All);
        let error = located.await.unwrap_err();
        assert!(error.to_string().contains(told), "{error}");
    }
}

/// Measures; see `docs/design/log.md`. Rows of six columns, of which the text alone has about 60 bytes.
#[tokio::test]
#[ignore = "measures; run it with --release --ignored --nocapture"]
async fn locating_costs_what_is_located() {
    let log = open(1 << 10).await;
    let rows = std::env::var("PARQUEDB_ROWS").map_or(1_000_000, |rows| rows.parse::<i64>().unwrap());
    let of = |uids: &[i64]| {
        let ints = |of: fn(i64) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(uids.iter().map(|uid| of(*uid))))
        };
        let texts = uids
            .iter()
            .map(|uid| Some(format!("customer {:>50}", uid.wrapping_mul(2_654_435_761) % 1_000_003)));
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("uid", ints(|uid| uid)),
            ("a", ints(|uid| uid % 1000)),
            ("b", ints(|uid| uid.wrapping_mul(7919) % 100_000)),
            ("text", Arc::new(StringArray::from_iter(texts))),
            ("f", Arc::new(Float64Array::from_iter_values(uids.iter().map(|uid| *uid as f64 / 3.0)))),
            ("c", ints(|uid| uid / 10)),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    };
    let all: Vec<i64> = (0..rows).collect();
    log.commit(write(all.chunks(65_536).map(of).collect())).await.unwrap();
    let snapshot = log.snapshot();
    let (schema, table) = (of(&[]).schema(), &snapshot.tables[TABLE]);
    println!("{rows} rows in {} bytes", table.files[0].size);
    let session = session(log.store().object_store(), 2).unwrap();
    let every: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    for by in [vec!["uid".to_owned()], every] {
        let cache = LocateCache::default();
        for (what, uids) in [
            ("1,000 scattered, cold", (0..1000).map(|at| at * (rows / 1000) + 17).collect::<Vec<i64>>()),
            ("1,000 scattered, warm", (0..1000).map(|at| at * (rows / 1000) + 18).collect()),
            ("1,000 neighbours, warm", (rows / 2..rows / 2 + 1000).collect()),
            ("1,000 of which none is there, warm", (rows + 5..rows + 1005).collect()),
        ] {
            let probes = of(&uids);
            let started = Instant::now();
            let located =
                locate(&cache, &session, TABLE, &schema, table, &by, &probes, Take::OneEach).await.unwrap();
            println!(
                "by {} columns, {what}: {} rows in {:?}",
                by.len(),
                located.rows.num_rows(),
                started.elapsed()
            );
        }
    }
}

//! What the benchmarks of small commits share: a row, its inserters, and how results are printed.

mod report;
mod slow;

use futures::future::join_all;
use parquedb::store::LocalStore;
use parquedb::{Builder, Collection, Durability, GroupCommit, Store, Timestamp, database};
pub(crate) use report::{Folder, folder, head, is_measured, row, verdict};
use slow::SlowDisk;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A measurement of a sensor.
#[derive(Collection, Debug, Clone)]
pub(crate) struct Reading {
    pub(crate) at: Timestamp,
    pub(crate) sensor: i32,
    pub(crate) value: f64,
}

database! { pub(crate) struct Sensors { Reading } }

/// Rows in one insert.
pub(crate) const ROWS: i64 = 100;

/// The readings of one second.
pub(crate) fn readings(second: i64) -> Vec<Reading> {
    let reading = |row: i64| Reading {
        at: Timestamp::from_micros(1_760_000_000_000_000 + second * 1_000_000 + row * 10_000),
        sensor: i32::try_from(row % 50).unwrap_or(0),
        value: ((second * ROWS + row) % 9973) as f64 / 7.0,
    };
    (0..ROWS).map(reading).collect()
}

/// What inserters achieved.
pub(crate) struct Achieved {
    pub(crate) inserts: i64,
    pub(crate) rows_per_second: f64,
    pub(crate) commits: u64,
    pub(crate) p50_millis: f64,
    pub(crate) p99_millis: f64,
}

/// Lets inserters write 100 rows after 100 rows to a new database on disk, each insert durable before the
/// next, for so long. Each write to the disk takes `delay` longer than it does.
pub(crate) async fn insert(
    folder: &Path,
    inserters: i64,
    settings: GroupCommit,
    delay: Duration,
    lasting: Duration,
) -> parquedb::Result<Achieved> {
    let disk = LocalStore::new(folder.to_owned(), Durability::Sync);
    let store = Store::new(Arc::new(SlowDisk { disk, delay }), "");
    let builder: Builder<Sensors> = parquedb::Database::builder();
    let db: Sensors = builder.group_commit(settings).open_store(store).await?;
    // The first commit creates folders.
    db.reading.insert_many(readings(0)).await?;
    let before = db.metrics();
    let started = Instant::now();
    let tasks = (0..inserters).map(|inserter| {
        let collection = db.reading.clone();
        tokio::spawn(async move {
            let rows = readings(inserter);
            let mut inserts = 0;
            while started.elapsed() < lasting {
                collection.insert_many(&rows).await?;
                inserts += 1;
            }
            Ok::<i64, parquedb::Error>(inserts)
        })
    });
    let mut inserts = 0;
    for task in join_all(tasks).await {
        inserts += task.map_err(|error| parquedb::Error::invalid(error.to_string()))??;
    }
    let took = started.elapsed().as_secs_f64();
    let after = db.metrics();
    db.close().await?;
    let rows = db.reading.all().count().await?;
    if rows != (inserts as u64 + 1) * ROWS as u64 {
        return Err(parquedb::Error::invalid(format!("{inserts} inserts, and {rows} rows are there")));
    }
    Ok(Achieved {
        inserts,
        rows_per_second: (inserts * ROWS) as f64 / took,
        commits: after.group_batches.count - before.group_batches.count,
        p50_millis: after.write_micros.p50 as f64 / 1e3,
        p99_millis: after.write_micros.p99 as f64 / 1e3,
    })
}

/// One commit for each insert: no second batch has room in it.
pub(crate) fn alone() -> GroupCommit {
    GroupCommit { max_bytes: 1, ..GroupCommit::default() }
}

/// How long the sync of a disk takes that is attached by a network, beyond that of the machine's own.
const NETWORK_DISK: Duration = Duration::from_millis(4);

/// Compares one commit for each insert with group commit, in turn, on this disk and on a slower one, and
/// prints what it finds. What there is to gain is the time of a sync: on a disk that syncs in a tenth of a
/// millisecond one commit for each insert is fast too.
pub(crate) async fn compare(measured: bool) -> parquedb::Result<()> {
    compare_on("a local disk, synced", Duration::ZERO, measured).await?;
    compare_on("the same disk with 4 ms more for each write", NETWORK_DISK, measured).await
}

async fn compare_on(disk: &str, delay: Duration, measured: bool) -> parquedb::Result<()> {
    let (rounds, lasting) =
        if measured { (3, Duration::from_secs(4)) } else { (1, Duration::from_millis(300)) };
    println!("\nInserts of {ROWS} rows on {disk}, {lasting:?} each:");
    head(&["inserters", "commits", "rows/s", "inserts per commit", "p50, ms", "p99, ms", "ratio"]);
    let mut lowest = f64::INFINITY;
    // Deleting many files makes some file systems slow to create others for a while: not before the end.
    let mut folders = Vec::new();
    for _ in 0..rounds {
        let mut single: f64 = 0.0;
        let runs = [
            (1, "one for each insert", alone()),
            (64, "one for each insert", alone()),
            (64, "together", GroupCommit::default()),
        ];
        for (inserters, how, settings) in runs {
            let is_single = settings.max_bytes == 1;
            let place = Folder(folder("group-commit"));
            let achieved = insert(&place.0, inserters, settings, delay, lasting).await?;
            folders.push(place);
            let ratio = achieved.rows_per_second / single.max(f64::MIN_POSITIVE);
            row(&[
                inserters.to_string(),
                how.to_owned(),
                format!("{:.0}", achieved.rows_per_second),
                format!("{:.1}", achieved.inserts as f64 / achieved.commits as f64),
                format!("{:.2}", achieved.p50_millis),
                format!("{:.2}", achieved.p99_millis),
                if is_single { String::new() } else { format!("{ratio:.1}") },
            ]);
            if is_single {
                single = single.max(achieved.rows_per_second);
            } else {
                lowest = lowest.min(ratio);
            }
        }
    }
    verdict(
        "Group commit of 64 inserters against the faster of the others, lowest ratio",
        lowest,
        "50 or more",
        lowest >= 50.0,
    );
    Ok(())
}

//! What a change costs views: that it does not grow with what did not change, and what reading them costs
//! after many small commits.
#![allow(missing_docs)]

#[path = "shared/report.rs"]
mod report;

use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use parquedb::{Builder, Collection, Durability, Ref, Timestamp, View, database, views};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use report::{Folder, folder, head, is_measured, row, verdict};
use std::error::Error;
use std::fs::File;
use std::time::Instant;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Collection, Debug, Clone)]
#[collection(key = id)]
pub(crate) struct Customer {
    pub(crate) id: i64,
    pub(crate) tier: String,
    pub(crate) country: String,
}

#[derive(Collection, Debug, Clone)]
#[collection(key = id)]
pub(crate) struct Sale {
    pub(crate) id: i64,
    pub(crate) shop: i64,
    pub(crate) customer: Ref<Customer>,
    pub(crate) at: Timestamp,
    pub(crate) amount: i64,
    pub(crate) price: f64,
}

views! {
    /// Groups.
    pub(crate) PerShop: {
        $from: Sale,
        $groupBy: [shop],
        $compute: { sales: $count(*), amount: $sum(amount), mean: $avg(amount), large: $count(*, $filter: amount > 900) },
        $refresh: { mode: manual },
    }
    /// Groups over what rows refer to.
    pub(crate) PerTier: {
        $from: Sale,
        $groupBy: [customer.tier, customer.country],
        $compute: { sales: $count(*), amount: $sum(amount) },
        $refresh: { mode: manual },
    }
    /// The same again, to be built from nothing.
    pub(crate) PerTierAgain: {
        $from: Sale,
        $groupBy: [customer.tier, customer.country],
        $compute: { sales: $count(*), amount: $sum(amount) },
        $refresh: { mode: manual },
    }
    /// A tenth of the rows.
    pub(crate) Large: {
        $from: Sale,
        $filter: amount >= 900,
        $select: { id, shop, amount },
        $refresh: { mode: manual },
    }
    /// Groups over those.
    pub(crate) LargePerShop: {
        $from: Large,
        $groupBy: [shop],
        $compute: { sales: $count(*), amount: $sum(amount) },
        $refresh: { mode: manual },
    }
}

database! { pub(crate) struct Shops { Customer, Sale, PerShop, PerTier, Large, LargePerShop } }
database! { pub(crate) struct ShopsAgain { Customer, Sale, PerShop, PerTier, Large, LargePerShop, PerTierAgain } }

const CUSTOMERS: i64 = 100_000;
const SHOPS: i64 = 1000;

/// A number that looks like chance, the same in every run.
fn mixed(seed: i64) -> i64 {
    let mut value = (seed as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((value ^ (value >> 31)) >> 1) as i64
}

fn sale(id: i64, version: i64) -> Sale {
    let chance = mixed(id * 31 + version * 7_919);
    Sale {
        id,
        shop: mixed(id) % SHOPS,
        customer: Ref::new(mixed(id + 1) % CUSTOMERS),
        at: Timestamp::from_micros(1_760_000_000_000_000 + id * 1000),
        amount: chance % 1000,
        price: (chance % 100_000) as f64 / 100.0,
    }
}

fn customer(id: i64, version: i64) -> Customer {
    let chance = mixed(id * 17 + version);
    Customer {
        id,
        tier: ["free", "basic", "pro", "gold"][(chance % 4) as usize].to_owned(),
        country: format!("c{}", chance / 4 % 50),
    }
}

/// All parts, or those that are named: `changes`, `dimension`, `reading`.
#[tokio::main]
async fn main() -> Outcome {
    let measured = is_measured();
    let named: Vec<String> = std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    let is_wanted = |part: &str| named.is_empty() || named.iter().any(|name| name == part);
    if is_wanted("changes") {
        changes(measured).await?;
    }
    if is_wanted("dimension") {
        dimension(if measured { 5_000_000 } else { 5_000 }, if measured { 7 } else { 2 }).await?;
    }
    if is_wanted("reading") {
        reading(if measured { 10_000 } else { 600 }, if measured { 15 } else { 2 }).await?;
    }
    Ok(())
}

/// What following changes costs at a million and at ten million rows.
async fn changes(measured: bool) -> Outcome {
    let (small, large) = if measured { (1_000_000, 10_000_000) } else { (2_000, 20_000) };
    let changed = if measured { 1000 } else { 50 };
    let mut costs = Vec::new();
    println!("Refreshing after {changed} of the rows changed:");
    head(&["rows", "view", "first, ms", "median, ms", "bytes read, median"]);
    for rows in [small, large] {
        let place = Folder(folder("views"));
        let url = place.0.to_string_lossy().into_owned();
        let db: Shops = Shops::builder().durability(Durability::OsBuffered).open(&url).await?;
        fill(&db.sale, &db.customer, rows).await?;
        refresh_all(&db).await?;
        db.maintain().await?;
        costs.push(follow(&db, rows, changed, if measured { 7 } else { 3 }).await?);
    }
    let (mut time, mut bytes): (f64, f64) = (0.0, 0.0);
    for (few, many) in costs[0].iter().zip(&costs[1]) {
        time = time.max(many.0 / few.0);
        bytes = bytes.max(many.1 / few.1.max(1.0));
    }
    verdict("Time at ten times the rows, highest ratio of medians", time, "at most 1.5", time <= 1.5);
    verdict("Bytes read at ten times the rows, highest ratio", bytes, "at most 2", bytes <= 2.0);
    Ok(())
}

/// Writes sales and customers.
async fn fill(sales: &Collection<Sale>, customers: &Collection<Customer>, rows: i64) -> Outcome {
    customers.insert_many((0..CUSTOMERS).map(|id| customer(id, 0)).collect::<Vec<_>>()).await?;
    for first in (0..rows).step_by(250_000) {
        sales
            .insert_many((first..rows.min(first + 250_000)).map(|id| sale(id, 0)).collect::<Vec<_>>())
            .await?;
    }
    Ok(())
}

async fn refresh_all(db: &Shops) -> Outcome {
    db.per_shop.refresh().await?;
    db.per_tier.refresh().await?;
    db.large_per_shop.refresh().await?;
    Ok(())
}

/// The medians of the time in milliseconds and of the bytes read, for each view.
async fn follow(db: &Shops, rows: i64, changed: i64, rounds: i64) -> Outcome<Vec<(f64, f64)>> {
    let mut times = vec![Vec::new(); 3];
    let mut bytes = vec![Vec::new(); 3];
    for round in 1..=rounds {
        let ids = (0..changed).map(|number| mixed(round * 1_000_003 + number) % rows);
        let changes = ids.map(|id| sale(id, round)).collect::<Vec<_>>();
        db.sale.upsert_many(&changes).await?;
        db.flush().await?;
        timed(db, &db.per_shop, &mut times[0], &mut bytes[0]).await?;
        timed(db, &db.per_tier, &mut times[1], &mut bytes[1]).await?;
        timed(db, &db.large_per_shop, &mut times[2], &mut bytes[2]).await?;
    }
    for found in [db.per_shop.verify().await?, db.per_tier.verify().await?, db.large_per_shop.verify().await?]
    {
        if !found.is_exact() {
            return Err(found.to_string().into());
        }
    }
    let mut costs = Vec::new();
    for (name, (times, bytes)) in
        ["groups", "joined groups", "groups over a view of rows"].iter().zip(times.into_iter().zip(bytes))
    {
        let first = times[0];
        let (time, bytes) = (median(times), median(bytes));
        row(&[
            rows.to_string(),
            (*name).to_owned(),
            format!("{first:.1}"),
            format!("{time:.1}"),
            format!("{bytes:.0}"),
        ]);
        costs.push((time, bytes));
    }
    Ok(costs)
}

async fn timed<V: parquedb::__private::ViewRecord + parquedb::__private::Declared>(
    db: &Shops,
    view: &View<V>,
    times: &mut Vec<f64>,
    bytes: &mut Vec<f64>,
) -> Outcome {
    let before = db.requests().bytes_read;
    let started = Instant::now();
    view.refresh().await?;
    times.push(started.elapsed().as_secs_f64() * 1e3);
    bytes.push((db.requests().bytes_read - before) as f64);
    Ok(())
}

/// Changes one in a thousand customers under a view of sales joined with them, and builds the same view from
/// nothing.
async fn dimension(rows: i64, rounds: i64) -> Outcome {
    let place = Folder(folder("dimension"));
    let url = place.0.to_string_lossy().into_owned();
    let db: ShopsAgain = ShopsAgain::builder().durability(Durability::OsBuffered).open(&url).await?;
    fill(&db.sale, &db.customer, rows).await?;
    db.per_tier.refresh().await?;
    db.maintain().await?;
    let mut follows = Vec::new();
    for round in 1..=rounds {
        let changed =
            (0..CUSTOMERS / 1000).map(|number| customer(mixed(round * 31 + number) % CUSTOMERS, round));
        db.customer.upsert_many(changed.collect::<Vec<_>>()).await?;
        let started = Instant::now();
        db.per_tier.refresh().await?;
        follows.push(started.elapsed().as_secs_f64());
    }
    let mut builds = Vec::new();
    for _ in 0..rounds {
        let started = Instant::now();
        db.per_tier_again.rebuild().await?;
        builds.push(started.elapsed().as_secs_f64());
    }
    let rebuilt = median(builds);
    let mut one = db.per_tier.all().order_by(|row| row.tier.asc()).await?;
    let mut other = db.per_tier_again.all().order_by(|row| row.tier.asc()).await?;
    one.sort_by(|a, b| (&a.tier, &a.country).cmp(&(&b.tier, &b.country)));
    other.sort_by(|a, b| (&a.tier, &a.country).cmp(&(&b.tier, &b.country)));
    if format!("{one:?}").replace("PerTier ", "") != format!("{other:?}").replace("PerTierAgain ", "") {
        return Err("the view that followed differs from the one that was built".into());
    }
    println!("\n{} of {CUSTOMERS} customers changed under {rows} sales:", CUSTOMERS / 1000);
    head(&["", "ms"]);
    row(&["following for the first time".to_owned(), format!("{:.1}", follows[0] * 1e3)]);
    let follow = median(follows);
    row(&["following, median".to_owned(), format!("{:.1}", follow * 1e3)]);
    row(&["building the view, median".to_owned(), format!("{:.1}", rebuilt * 1e3)]);
    let ratio = rebuilt / follow;
    verdict("Building against following", ratio, "20 or more", ratio >= 20.0);
    Ok(())
}

#[derive(Collection, Debug, Clone)]
pub(crate) struct Reading {
    pub(crate) at: Timestamp,
    pub(crate) sensor: i64,
    pub(crate) value: i64,
}

views! {
    pub(crate) PerSensor: {
        $from: Reading,
        $groupBy: [sensor, { hour: at }],
        $compute: { n: $count(*), total: $sum(value), mean: $avg(value), least: $min(value), most: $max(value) },
    }
}

database! { pub(crate) struct Sensors { Reading, PerSensor } }

/// Reads a grouping view after many small commits, and its finished rows from one file.
async fn reading(commits: i64, rounds: usize) -> Outcome {
    let place = Folder(folder("reading"));
    let url = place.0.join("db").to_string_lossy().into_owned();
    let builder: Builder<Sensors> = Sensors::builder();
    let db: Sensors = builder.durability(Durability::OsBuffered).open(&url).await?;
    for commit in 0..commits {
        let reading = |number: i64| Reading {
            at: Timestamp::from_micros(1_760_000_000_000_000 + commit * 60_000_000),
            sensor: mixed(commit * 100 + number) % 200,
            value: mixed(commit + number) % 10_000,
        };
        db.reading.insert_many((0..100).map(reading).collect::<Vec<_>>()).await?;
    }
    db.maintain().await?;
    let file = place.0.join("finished.parquet");
    let batches = db.per_sensor.all().order_by(|row| row.hour.asc()).batches().await?;
    let Some(first) = batches.first() else { return Err("the view has no rows".into()) };
    let properties =
        WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?)).build();
    let mut writer = ArrowWriter::try_new(File::create(&file)?, first.schema(), Some(properties))?;
    for batch in &batches {
        writer.write(batch)?;
    }
    writer.close()?;
    let partitions = std::thread::available_parallelism().map_or(1, usize::from);
    let plain = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(partitions));
    plain.register_parquet("per_sensor", file.to_string_lossy(), ParquetReadOptions::default()).await?;
    println!(
        "\nA view of {} groups, after {commits} commits and maintenance:",
        db.per_sensor.all().count().await?
    );
    head(&["query", "view, ms", "finished rows in one file, ms", "ratio"]);
    let mut highest: f64 = 0.0;
    for (name, query) in [
        ("all rows", "SELECT * FROM per_sensor"),
        ("one sensor", "SELECT * FROM per_sensor WHERE sensor = 7"),
        ("sums", "SELECT sensor, sum(total), sum(n) FROM per_sensor GROUP BY sensor"),
    ] {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let started = Instant::now();
            let found: usize =
                db.sql(query).await?.collect().await?.iter().map(|batch| batch.num_rows()).sum();
            ours.push(started.elapsed().as_secs_f64());
            let started = Instant::now();
            let expected: usize =
                plain.sql(query).await?.collect().await?.iter().map(|batch| batch.num_rows()).sum();
            theirs.push(started.elapsed().as_secs_f64());
            if found != expected {
                return Err(format!("{name}: {found} rows instead of {expected}").into());
            }
        }
        let (ours, theirs) = (median(ours), median(theirs));
        highest = highest.max(ours / theirs);
        row(&[
            name.to_owned(),
            format!("{:.2}", ours * 1e3),
            format!("{:.2}", theirs * 1e3),
            format!("{:.2}", ours / theirs),
        ]);
    }
    verdict("Reading the view against its finished rows", highest, "at most 1.3", highest <= 1.3);
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

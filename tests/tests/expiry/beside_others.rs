//! Expiry beside crashes and other processes: nothing is lost and nothing counts twice.

use super::*;
use parquedb::testing::FaultStore;
use parquedb::{CompactOptions, ErrorKind};
use std::time::Duration;

async fn prepared(store: &Arc<dyn ObjectStore>, clock: &Arc<ManualClock>) {
    let db: Site = open(store, clock).await;
    db.visit.insert_many((0..6).map(|n| visit("a", n, START + n * DAY)).collect::<Vec<_>>()).await.unwrap();
    db.flush().await.unwrap();
    db.pages.refresh().await.unwrap();
    db.visit
        .insert_many((0..6).map(|n| visit("b", 95 + n, START + n * DAY)).collect::<Vec<_>>())
        .await
        .unwrap();
    db.close().await.unwrap();
}

const PAGES: [&str; 2] = ["a 6 15 5", "b 6 585 100"];

/// At every request, once lost and once the last that was done: rows have expired or they have not, and no view
/// has lost anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_request_of_an_expiry_loses_nothing() {
    let all = std::env::var_os("PARQUEDB_SEEDS").is_some();
    let mut places = 0;
    for at in (0..).step_by(if all { 1 } else { 5 }) {
        let mut finished = false;
        // By default one in five requests is lost or is the last that was done, in turn; with `PARQUEDB_SEEDS` set,
        // every one is both.
        let ways = if all { vec![false, true] } else { vec![at % 2 == 1] };
        for applied in ways {
            let (inner, clock) = (memory(), clock());
            prepared(&inner, &clock).await;
            clock.set(START + 10 * DAY);
            let faults = FaultStore::new(Arc::clone(&inner));
            let builder =
                Site::builder().clock(Arc::clone(&clock) as Arc<dyn Clock>).log_options(|options| {
                    // A store that has crashed does not answer any more.
                    options.outcome_deadline = Duration::from_millis(20);
                });
            let db = builder.open_store(Store::new(Arc::new(faults.clone()), "")).await.unwrap();
            faults.crash_at(faults.requests() + at, applied);
            let done = db.expire().await;
            finished |= done.is_ok();
            drop(db);
            let again: Site = open(&inner, &clock).await;
            let rows = again.visit.all().count().await.unwrap();
            let place = format!("request {at}, applied: {applied}");
            assert!(rows == 6 || (rows == 12 && done.is_err()), "{place}: {rows} rows, {done:?}");
            assert_eq!(again.slow.all().count().await.unwrap(), 6, "{place}");
            again.expire().await.unwrap();
            assert_eq!(again.visit.all().count().await.unwrap(), 6, "{place}");
            let pages = sql(&again, "SELECT page, visits, millis, slowest FROM pages").await;
            assert_eq!(pages, PAGES, "{place}");
            assert!(again.hours.verify().await.unwrap().is_exact(), "{place}");
            places += 1;
        }
        if finished {
            break;
        }
    }
    assert!(places >= 4, "only {places} places to crash at");
    eprintln!("crashed at {places} requests");
}

/// Two processes write, refresh, flush and compact, while a third lets rows expire.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_processes_and_an_expiry_lose_nothing() {
    let (store, clock) = (memory(), clock());
    let expiring: Site = open(&store, &clock).await;
    let (one, two): (Site, Site) = (open(&store, &clock).await, open(&store, &clock).await);
    let write = async |db: &Site, page: &str| {
        for n in 0..12 {
            let rows = (0..4).map(|day| visit(page, 1, START + (4 * n + day) * DAY)).collect::<Vec<_>>();
            db.visit.insert_many(rows).await.unwrap();
            match n % 4 {
                1 => drop(db.pages.refresh().await.unwrap()),
                2 => db.flush().await.unwrap(),
                3 => {
                    let options = CompactOptions { min_files: 2, ..CompactOptions::default() };
                    db.compact(options).await.unwrap();
                }
                _ => {}
            }
        }
    };
    let expire = async {
        for _ in 0..16 {
            clock.advance(3 * DAY);
            match expiring.expire().await {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                result => drop(result.unwrap()),
            }
        }
    };
    futures::join!(write(&one, "a"), write(&two, "b"), expire);
    expiring.expire().await.unwrap();
    expiring.pages.refresh().await.unwrap();
    let horizon = clock.now() - 7 * DAY;
    let left = (0..48).filter(|day| START + day * DAY >= horizon).count() as u64;
    assert_eq!(expiring.visit.all().count().await.unwrap(), 2 * left);
    let pages = sql(&expiring, "SELECT page, visits, millis FROM pages").await;
    assert_eq!(pages, ["a 48 48", "b 48 48"]);
    let days = sql(&expiring, "SELECT page, sum(visits), sum(hours) FROM days GROUP BY page").await;
    assert_eq!(days, ["a 48 48", "b 48 48"]);
    assert!(expiring.hours.verify().await.unwrap().is_exact());
}

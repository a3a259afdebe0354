//! Views over time: added late, changed, behind, due, failing; and collections that change.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use parquedb::object_store::ObjectStore;
use parquedb::testing::ClockedStore;
use parquedb::{
    Collection, CompactOptions, ErrorKind, Freshness, Maintained, ManualClock, Store, Timestamp, ViewStatus,
    database, views,
};
use std::sync::Arc;
use std::time::Duration;

/// 2024-01-01T00:00:00Z
const START: i64 = 1_704_067_200_000_000;
const MINUTE: i64 = 60_000_000;

/// The program's first version.
mod first {
    use super::*;

    #[derive(Collection, Clone, Debug, PartialEq)]
    pub(crate) struct Visit {
        pub(crate) id: i64,
        pub(crate) page: String,
        pub(crate) millis: i64,
    }
    views! {
        pub(crate) Slow: { $from: Visit, $filter: millis > 100, $select: { id, page } }
    }
    database! { pub(crate) struct Db { Visit, Slow } }
    database! { pub(crate) struct Bare { Visit } }
}

/// The second: a view of it changed, others are new, and the collection has one more column.
mod second {
    use super::*;

    #[derive(Collection, Clone, Debug, PartialEq)]
    pub(crate) struct Visit {
        pub(crate) id: i64,
        pub(crate) page: String,
        pub(crate) millis: i64,
        pub(crate) country: Option<String>,
    }
    views! {
        pub(crate) Slow: { $from: Visit, $filter: millis > 10, $select: { id, page } }
        pub(crate) SlowPages: { $from: Slow, $groupBy: [page], $compute: { n: $count(*) } }
        pub(crate) Hourly: {
            $from: Visit,
            $groupBy: [page],
            $compute: { n: $count(*), millis: $sum(millis) },
            $refresh: { mode: scheduled, schedule: "0 * * * *" },
        }
        pub(crate) Morning: {
            $from: Visit,
            $compute: { n: $count(*) },
            $refresh: { mode: scheduled, schedule: "0 9 * * *", tz: "America/New_York" },
        }
    }
    database! { pub(crate) struct Db { Visit, Slow, SlowPages, Hourly, Morning } }
}

/// A view that some rows cannot be computed for, and one that they can.
mod failing {
    use super::*;
    use first::Visit;

    views! {
        pub(crate) Doubled: {
            $from: Visit,
            $select: { id, doubled: millis * 2 },
            $refresh: { mode: scheduled, schedule: "* * * * *" },
        }
        pub(crate) Pages: {
            $from: Visit,
            $groupBy: [page],
            $compute: { n: $count(*) },
            $refresh: { mode: scheduled, schedule: "* * * * *" },
        }
    }
    database! { pub(crate) struct Db { Visit, Doubled, Pages } }
}

/// Versions that must be refused.
mod wrong {
    use super::*;

    pub(crate) mod kind {
        use super::*;
        #[derive(Collection, Clone, Debug)]
        pub(crate) struct Visit {
            pub(crate) id: i64,
            pub(crate) page: String,
            pub(crate) millis: String,
        }
        database! { pub(crate) struct Db { Visit } }
    }
    pub(crate) mod required {
        use super::*;
        #[derive(Collection, Clone, Debug)]
        pub(crate) struct Visit {
            pub(crate) id: i64,
            pub(crate) page: String,
            pub(crate) millis: i64,
            pub(crate) country: String,
        }
        database! { pub(crate) struct Db { Visit } }
    }
    pub(crate) mod dropped {
        use super::*;
        #[derive(Collection, Clone, Debug)]
        pub(crate) struct Visit {
            pub(crate) id: i64,
            pub(crate) page: String,
        }
        database! { pub(crate) struct Db { Visit } }
    }
}

fn visit(id: i64, millis: i64) -> first::Visit {
    first::Visit { id, page: format!("/{}", id % 3), millis }
}

fn visit_from(id: i64, millis: i64, country: Option<&str>) -> second::Visit {
    second::Visit { id, page: format!("/{}", id % 3), millis, country: country.map(str::to_owned) }
}

async fn status(db: &parquedb::Connection, view: &str) -> ViewStatus {
    db.status().await.unwrap().into_iter().find(|status| status.name == view).unwrap()
}

async fn slow_ids(db: &second::Db) -> Vec<i64> {
    let mut ids = db.slow.all().await.unwrap().iter().map(|row| row.id).collect::<Vec<_>>();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn a_changed_view_and_its_dependents_are_rebuilt_and_follow_again() {
    for flushed in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let url = folder.path().to_str().unwrap();
        let old = first::Db::open(url).await.unwrap();
        old.visit.insert_many([visit(1, 5), visit(2, 50), visit(3, 500)]).await.unwrap();
        assert_eq!(old.slow.all().count().await.unwrap(), 1);
        if flushed {
            old.flush().await.unwrap();
        }
        drop(old);

        let db = second::Db::open(url).await.unwrap();
        for view in ["Slow", "SlowPages", "Hourly", "Morning"] {
            let status = status(&db, view).await;
            assert!(matches!(status.freshness, Freshness::Invalid { .. }), "{status:?}");
            assert_eq!(status.rows, None);
        }
        let error = db.slow.all().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidView);
        assert!(error.to_string().contains("`Slow`"), "{error}");
        // Writing goes on meanwhile, without the views.
        db.visit.insert(visit_from(4, 60, Some("FR"))).await.unwrap();
        assert!(db.slow.refresh().await.unwrap());
        assert_eq!(slow_ids(&db).await, [2, 3, 4]);
        assert_eq!(db.slow_pages.all().await.unwrap().iter().map(|row| row.n).sum::<u64>(), 3);
        assert!(!db.slow.refresh().await.unwrap());
        db.visit.insert(visit_from(5, 70, None)).await.unwrap();
        assert_eq!(slow_ids(&db).await, [2, 3, 4, 5]);
        assert_eq!(db.slow_pages.all().await.unwrap().iter().map(|row| row.n).sum::<u64>(), 4);
        // The new column is null in the old rows, wherever they are.
        assert_eq!(db.visit.find(|row| row.country.is_null()).count().await.unwrap(), 4);
        assert_eq!(db.visit.find(|row| row.country.eq("FR")).await.unwrap()[0].id, 4);
        let changed = db.run_due(db.now()).await.unwrap();
        assert_eq!(changed.len(), 2, "{changed:?}");
        db.flush().await.unwrap();
        assert_eq!(db.visit.find(|row| row.country.is_null()).count().await.unwrap(), 4);
    }
}

#[tokio::test]
async fn a_change_that_stored_rows_do_not_fit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let url = folder.path().to_str().unwrap();
    first::Bare::open(url).await.unwrap().visit.insert(visit(1, 1)).await.unwrap();
    let errors = [
        (wrong::kind::Db::open(url).await.err().unwrap(), "millis"),
        (wrong::required::Db::open(url).await.err().unwrap(), "country"),
        (wrong::dropped::Db::open(url).await.err().unwrap(), "millis"),
    ];
    for (error, column) in errors {
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let text = error.to_string();
        assert!(text.contains("`Visit`") && text.contains(&format!("`{column}`")), "{text}");
    }
    assert_eq!(first::Bare::open(url).await.unwrap().visit.all().await.unwrap(), [visit(1, 1)]);
}

#[tokio::test]
async fn lag_is_exact_and_missed_runs_collapse_into_one() {
    let clock = Arc::new(ManualClock::new(START + MINUTE));
    let db = second::Db::builder()
        .clock(Arc::clone(&clock) as Arc<dyn parquedb::Clock>)
        .open("memory:///")
        .await
        .unwrap();
    let due = || Timestamp::from_micros(parquedb::Clock::now(&*clock));
    db.visit.insert_many([visit_from(1, 1, None), visit_from(2, 2, None)]).await.unwrap();
    db.hourly.refresh().await.unwrap();
    assert_eq!(status(&db, "Hourly").await.freshness, Freshness::Fresh);
    let seq = db
        .visit
        .insert_many((3..6).map(|id| visit_from(id, id, None)).collect::<Vec<_>>())
        .await
        .unwrap()
        .seq;
    db.visit.insert(visit_from(6, 6, None)).await.unwrap();
    for _ in 0..2 {
        let hourly = status(&db, "Hourly").await;
        assert_eq!((hourly.freshness, hourly.lag.commits, hourly.lag.rows), (Freshness::Stale, 2, 4));
        assert_eq!(db.hourly.all().await.unwrap().iter().map(|row| row.n).sum::<u64>(), 2);
        // One file then holds rows from before and after the cursor.
        db.flush().await.unwrap();
    }
    assert_eq!(db.visit.all().at(seq).count().await.unwrap(), 5);
    assert_eq!(db.visit.all().at(seq - 1).count().await.unwrap(), 2);

    clock.advance(58 * MINUTE);
    assert!(db.run_due(due()).await.unwrap().is_empty(), "the hour is not full yet");
    clock.advance(5 * 60 * MINUTE);
    assert_eq!(db.run_due(due()).await.unwrap(), ["Hourly"]);
    assert!(db.run_due(due()).await.unwrap().is_empty());
    assert_eq!(status(&db, "Hourly").await.freshness, Freshness::Fresh);
    let rows = db.hourly.all().await.unwrap();
    assert_eq!(
        rows.iter().map(|row| (row.n, row.millis)).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1)),
        (6, 21)
    );
    // Nine in New York is two in the afternoon here.
    assert_eq!(status(&db, "Morning").await.next_due, Some("2024-01-01T14:00:00Z".parse().unwrap()));
    clock.set(START + 13 * 60 * MINUTE + 59 * MINUTE);
    assert!(!db.run_due(due()).await.unwrap().contains(&"Morning".to_owned()));
    clock.advance(MINUTE);
    assert!(db.run_due(due()).await.unwrap().contains(&"Morning".to_owned()));
}

#[tokio::test]
async fn row_groups_that_cannot_match_are_skipped() {
    let db = first::Bare::open("memory:///").await.unwrap();
    for part in 0..3 {
        let rows = (part * 100_000..(part + 1) * 100_000).map(|id| visit(id, id * 2)).collect::<Vec<_>>();
        db.visit.insert_many(rows).await.unwrap();
    }
    db.flush().await.unwrap();
    let found = db.visit.find(|row| row.millis.eq(500_002)).read().await.unwrap();
    assert_eq!(found.rows, [visit(250_001, 500_002)]);
    assert!(found.metrics.row_groups_skipped > 0, "{:?}", found.metrics);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_connections_write_to_one_folder_and_views_stay_exact() {
    let folder = tempfile::tempdir().unwrap();
    let url = folder.path().to_str().unwrap();
    let (one, other) = (first::Db::open(url).await.unwrap(), first::Db::open(url).await.unwrap());
    let writes = async |db: &first::Db, from: i64| {
        for id in from..from + 8 {
            db.visit.insert(visit(id, id % 2 * 200)).await.unwrap();
        }
    };
    tokio::join!(writes(&one, 0), writes(&other, 100));
    for db in [&one, &other] {
        db.catch_up().await.unwrap();
        assert_eq!(db.visit.all().count().await.unwrap(), 16);
        assert_eq!(db.slow.all().count().await.unwrap(), 8);
        assert_eq!(status(db, "Slow").await.freshness, Freshness::Fresh);
    }
    // A cancelled write does not stand in the way of the next.
    let cancelled = one.visit.insert(visit(200, 200));
    let _ = tokio::time::timeout(std::time::Duration::from_micros(1), cancelled).await;
    one.visit.insert(visit(201, 200)).await.unwrap();
    assert_eq!(one.visit.find(|row| row.id.eq(201)).count().await.unwrap(), 1);
    assert_eq!(
        one.slow.find(|row| row.id.ge(200)).count().await.unwrap(),
        one.visit.find(|row| row.id.ge(200)).count().await.unwrap()
    );
}

#[tokio::test]
async fn a_failing_view_keeps_its_rows_waits_longer_each_time_and_stops_no_other() {
    let clock = Arc::new(ManualClock::new(START));
    let open = failing::Db::builder().clock(Arc::clone(&clock) as Arc<dyn parquedb::Clock>);
    let db = open.open("memory:///").await.unwrap();
    let due = || Timestamp::from_micros(parquedb::Clock::now(&*clock));
    db.visit.insert(visit(1, 1)).await.unwrap();
    clock.advance(MINUTE);
    assert_eq!(db.run_due(due()).await.unwrap().len(), 2);
    db.visit.insert(visit(2, i64::MAX)).await.unwrap();
    clock.advance(MINUTE);
    let error = db.run_due(due()).await.unwrap_err();
    assert!(error.to_string().contains("view `Doubled`"), "{error}");
    let doubled = status(&db, "Doubled").await;
    assert_eq!(doubled.freshness, Freshness::Stale);
    assert!(
        doubled.error.as_deref().is_some_and(|error| error.to_lowercase().contains("overflow")),
        "{doubled:?}"
    );
    assert_eq!(db.doubled.all().await.unwrap(), [failing::Doubled { id: 1, doubled: 2 }]);
    assert_eq!(status(&db, "Pages").await.freshness, Freshness::Fresh);
    // One second, then two.
    for seconds in [1, 2] {
        clock.advance(seconds * 1_000_000 - 1);
        assert!(db.run_due(due()).await.unwrap().is_empty());
        clock.advance(1);
        db.run_due(due()).await.unwrap_err();
    }
}

/// A database of a process of its own, in a store that all of them share.
async fn process(inner: &Arc<dyn ObjectStore>, clock: &Arc<ManualClock>) -> second::Db {
    second::Db::builder()
        .clock(Arc::clone(clock) as Arc<dyn parquedb::Clock>)
        .log_options(|options| options.flush_after_commits = 16)
        .open_store(Store::new(Arc::clone(inner), "db"))
        .await
        .unwrap()
}

/// Asserts that rows and views are those of the first visits, each of `id` milliseconds.
async fn assert_visits(db: &second::Db, count: i64) {
    db.catch_up().await.unwrap();
    let mut ids = db.visit.all().await.unwrap().iter().map(|row| row.id).collect::<Vec<_>>();
    ids.sort_unstable();
    assert_eq!(ids, (0..count).collect::<Vec<_>>());
    assert_eq!(slow_ids(db).await, (11..count).collect::<Vec<_>>());
    let mut pages = db.slow_pages.all().await.unwrap();
    pages.sort_by(|left, right| left.page.cmp(&right.page));
    let expected = [0, 1, 2].map(|page| (11..count).filter(|id| id % 3 == page).count() as u64);
    assert_eq!(pages.iter().map(|row| row.n).collect::<Vec<_>>(), expected);
    assert_eq!(pages.iter().map(|row| row.page.as_str()).collect::<Vec<_>>(), ["/0", "/1", "/2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_maintain_one_database() {
    let clock = Arc::new(ManualClock::new(START));
    let inner: Arc<dyn ObjectStore> = Arc::new(ClockedStore::new(Arc::clone(&clock) as _));
    let (one, two) = (process(&inner, &clock).await, process(&inner, &clock).await);
    for id in 0..160 {
        let db = if id % 3 == 0 { &two } else { &one };
        db.visit.insert(visit_from(id, id, None)).await.unwrap();
        clock.advance(1_000_000);
    }
    let scattered = one.visit.all().read().await.unwrap().metrics;
    assert!(scattered.files >= 4, "{scattered:?}");
    clock.advance(60 * MINUTE);
    let (first, second) = tokio::join!(one.maintain(), two.maintain());
    let done = [first.unwrap(), second.unwrap()];
    assert!(done.iter().any(|done| done.refreshed.contains(&"Hourly".to_owned())), "{done:?}");
    let reports = done.iter().filter_map(|done| done.compacted.as_ref());
    let tables = reports.flat_map(|report| &report.tables);
    let replaced = |name: &str| {
        let tables = tables.clone().filter(|(table, done)| *table == name && done.files_replaced > 0);
        tables.map(|(_, done)| (done.rows_read, done.rows_written)).collect::<Vec<_>>()
    };
    // Each file was replaced once, whoever did it; states are one of each group.
    let visits = replaced("Visit");
    assert!(!visits.is_empty() && visits.iter().all(|(read, written)| read == written), "{done:?}");
    assert!(replaced("SlowPages").iter().all(|(read, written)| *written == 3 && *read > 9), "{done:?}");
    for db in [&one, &two, &process(&inner, &clock).await] {
        assert_visits(db, 160).await;
        let metrics = db.visit.all().read().await.unwrap().metrics;
        assert!(metrics.files < scattered.files && metrics.files <= 4, "{metrics:?}");
    }
    // Nothing is due any more, and saying so costs little.
    one.maintain().await.unwrap();
    let requests = one.requests();
    let idle = one.maintain().await.unwrap();
    let mut nothing = Maintained::default();
    nothing.seq = one.seq();
    assert_eq!(idle, nothing);
    let cost = one.requests() - requests;
    assert_eq!((cost.put, cost.get, cost.list, cost.delete), (0, 2, 0, 0));

    // Two days later what was replaced is deleted, by one of them.
    clock.advance(49 * 60 * MINUTE);
    for db in [&one, &two] {
        db.visit.insert(visit_from(one.visit.all().count().await.unwrap() as i64, 200, None)).await.unwrap();
        one.catch_up().await.unwrap();
        db.maintain().await.unwrap();
        clock.advance(2 * 60 * MINUTE);
    }
    let (first, second) = (one.maintain().await.unwrap(), two.maintain().await.unwrap());
    let collected = first.collected.unwrap();
    assert!(collected.floor > 100 && second.collected.unwrap().floor >= collected.floor, "{collected:?}");
    let past = one.visit.all().at(5).await.unwrap_err();
    assert_eq!(past.kind(), ErrorKind::NotFound);
    assert_visits(&process(&inner, &clock).await, 162).await;
    assert_visits(&two, 162).await;
    assert!(serde_json::to_value(&idle).unwrap().get("refreshed").is_some());
}

#[tokio::test]
async fn maintenance_goes_on_past_what_fails_and_runs_in_a_loop() {
    let folder = tempfile::tempdir().unwrap();
    let url = folder.path().to_str().unwrap();
    let clock = Arc::new(ManualClock::new(START));
    let open = || failing::Db::builder().clock(Arc::clone(&clock) as Arc<dyn parquedb::Clock>);
    let db = open().open(url).await.unwrap();
    for id in 0..6 {
        db.visit.insert(visit(id, i64::MAX)).await.unwrap();
        db.flush().await.unwrap();
    }
    clock.advance(2 * MINUTE);
    let error = db.maintain().await.unwrap_err();
    assert!(error.to_string().contains("refreshing what is due"), "{error}");
    assert!(error.to_string().contains("view `Doubled`"), "{error}");
    // All the rest was done.
    assert_eq!(status(&db, "Pages").await.freshness, Freshness::Fresh);
    assert_eq!(db.visit.all().read().await.unwrap().metrics.files, 1);

    let reader = open().read_only().open(url).await.unwrap();
    assert_eq!(reader.maintain().await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(reader.compact(CompactOptions::default()).await.unwrap_err().kind(), ErrorKind::Invalid);

    clock.advance(10 * MINUTE);
    db.visit.insert(visit(9, 1)).await.unwrap();
    assert_eq!(status(&db, "Pages").await.freshness, Freshness::Stale);
    let running = db.spawn_maintenance(Duration::from_millis(5));
    let followed = async {
        while status(&db, "Pages").await.freshness != Freshness::Fresh {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), followed).await.unwrap();
    running.stop();
}

/// `PARQUEDB_COMMITS=10000` for the figure in the benchmarks.
#[tokio::test]
async fn after_maintenance_many_commits_read_like_one() {
    let number = std::env::var("PARQUEDB_COMMITS").map_or(600, |text| text.parse().unwrap());
    let visits = |count| (0..count).map(|id| visit_from(id, id % 1000, None));
    let open = async |name: &str| second::Db::open(format!("memory:///maintained-{name}")).await.unwrap();
    let (many, once) = (open("many").await, open("once").await);
    for visit in visits(number) {
        many.visit.insert(visit).await.unwrap();
    }
    once.visit.insert_many(visits(number).collect::<Vec<_>>()).await.unwrap();
    once.flush().await.unwrap();
    let before = many.requests();
    let done = many.maintain().await.unwrap();
    println!("maintenance after {number} commits: {:?}", many.requests() - before);
    // What remains is too little to be worth joining.
    many.flush().await.unwrap();
    let compacted = done.compacted.is_some();
    let mut costs = Vec::new();
    for name in ["many", "once"] {
        let reader =
            second::Db::builder().read_only().open(format!("memory:///maintained-{name}")).await.unwrap();
        let opened = reader.requests();
        let read = reader.visit.all().read().await.unwrap();
        let requests = reader.requests() - opened;
        let pages = reader.slow_pages.all().read().await.unwrap();
        assert_eq!((read.rows.len(), pages.rows.len()), (usize::try_from(number).unwrap(), 3));
        println!(
            "{name}: opened by {opened:?}, rows by {requests:?}, {:?}, view by {:?}",
            read.metrics, pages.metrics
        );
        costs.push((opened.get, read.metrics, pages.metrics));
    }
    let ((opened, rows, pages), (_, rows_once, pages_once)) = (&costs[0], &costs[1]);
    assert!(*opened <= 8, "{costs:?}");
    if number >= 2000 {
        assert!(compacted && rows.bytes * 2 <= rows_once.bytes * 3, "{costs:?}");
        assert!(pages.bytes <= pages_once.bytes * 20, "{costs:?}");
    }
    assert!(rows.files <= 5, "{costs:?}");
}

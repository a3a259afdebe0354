//! Raw rows for a week, hours for ninety days, days for ever.

use super::*;
use object_store::ObjectStoreExt;
use parquedb::Freshness;
use parquedb::testing::Random;
use parquedb_tests::cargo_bin;
use std::collections::BTreeMap;

/// Every row that was ever written, and what each level must hold of it.
#[derive(Default)]
struct Everything(Vec<Visit>);

type Group = (String, i64);

impl Everything {
    fn grouped(&self, length: i64) -> BTreeMap<Group, (u64, i64, i64)> {
        let mut groups: BTreeMap<Group, (u64, i64, i64)> = BTreeMap::new();
        for Visit { page, millis, at } in &self.0 {
            let start = at.as_micros().div_euclid(length) * length;
            let group = groups.entry((page.clone(), start)).or_insert((0, 0, i64::MIN));
            *group = (group.0 + 1, group.1 + millis, group.2.max(*millis));
        }
        groups
    }

    /// Compares all levels with what was written, when all has expired that can at `now`.
    async fn check(&self, db: &Site, now: i64) {
        let mut held = db.visit.all().await.unwrap();
        let mut left =
            self.0.iter().filter(|row| row.at.as_micros() >= now - 7 * DAY).cloned().collect::<Vec<_>>();
        let order = |row: &Visit| (row.at, row.page.clone(), row.millis);
        held.sort_by_key(order);
        left.sort_by_key(order);
        assert_eq!(held, left);
        let held = db.hours.all().await.unwrap().into_iter();
        let held = held.map(|row| ((row.page, row.hour.as_micros()), (row.visits, row.millis, row.slowest)));
        let left = self.grouped(HOUR).into_iter().filter(|((_, hour), _)| *hour >= now - 90 * DAY);
        assert_eq!(held.collect::<BTreeMap<_, _>>(), left.collect());
        let hours = self.grouped(HOUR);
        let held = db.days.all().await.unwrap().into_iter();
        let held = held.map(|row| ((row.page, row.day.as_micros()), (row.visits, row.millis, row.hours)));
        let left = self.grouped(DAY).into_iter().map(|((page, day), (visits, millis, _))| {
            let of_day = |(other, hour): &&Group| *other == page && (day..day + DAY).contains(hour);
            let count = hours.keys().filter(of_day).count() as u64;
            ((page, day), (visits, millis, count))
        });
        assert_eq!(held.collect::<BTreeMap<_, _>>(), left.collect());
        let slow = self.0.iter().filter(|row| row.millis > 90).count();
        assert_eq!(db.slow.all().count().await.unwrap(), slow as u64);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raw_for_a_week_hours_for_ninety_days_and_days_for_ever() {
    let (store, clock) = (memory(), clock());
    let mut db: Site = open(&store, &clock).await;
    let mut all = Everything::default();
    let mut random = Random::new(7);
    for day in (0..120_i64).step_by(2) {
        let now = START + day * DAY;
        clock.set(now + DAY - 1);
        let mut rows = Vec::new();
        for _ in 0..4 {
            let page = format!("page {}", random.below(2));
            let time = now + i64::try_from(random.below(DAY as u64)).unwrap();
            rows.push(visit(&page, i64::try_from(random.below(100)).unwrap(), time));
        }
        if day % 9 == 0 && day > 0 {
            // Some come late, by up to the whole time.
            let late = START + i64::try_from(random.below((day * DAY) as u64)).unwrap();
            rows.push(visit("page 0", 5, late));
        }
        db.visit.insert_many(&rows).await.unwrap();
        all.0.extend(rows);
        if day % 8 == 6 || day == 118 {
            db.maintain().await.unwrap();
            all.check(&db, clock.now()).await;
        }
        if day % 40 == 38 {
            db.flush().await.unwrap();
            db = open(&store, &clock).await;
            for view in ["Hours", "Slow", "Days"] {
                let found = db.verify(view, None).await.unwrap();
                let has_lost = view != "Days" || day > 90;
                assert!(found.is_exact() && found.since.is_some() == has_lost, "{found}");
            }
        }
    }
    let status = db.status().await.unwrap();
    assert!(status.iter().all(|view| view.freshness == Freshness::Fresh), "{status:?}");
    let of = |name: &str| status.iter().find(|view| view.name == name).unwrap();
    assert_eq!(of("Hours").expired.unwrap().before, at(clock.now() - 90 * DAY));
    assert_eq!(of("Days").expired, None);
    // The manual view was refreshed each time, before rows that it had not counted expired.
    let (visits, millis) = (all.0.len() as u64, all.0.iter().map(|row| row.millis).sum::<i64>());
    let pages = db.pages.all().await.unwrap();
    assert_eq!(pages.iter().map(|page| page.visits).sum::<u64>(), visits);
    assert_eq!(pages.iter().map(|page| page.millis).sum::<i64>(), millis);
    let error = db.pages.verify().await.unwrap_err().to_string();
    assert!(error.contains("`Pages`: it cannot be computed again to be compared"), "{error}");
    assert!(
        error.contains("rows of `Visit` from before 2026-04-22T23:59:59.999999Z have expired"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_expire_for_everybody_at_once_and_past_snapshots_have_them() {
    let (store, clock) = (memory(), clock());
    let db: Site = open(&store, &clock).await;
    // Two files, of which all expires and some, and rows inside of commits.
    db.visit.insert_many([visit("a", 95, START), visit("a", 2, START + DAY)]).await.unwrap();
    db.flush().await.unwrap();
    db.visit.insert_many([visit("a", 3, START + 3 * DAY), visit("b", 99, START + DAY)]).await.unwrap();
    db.flush().await.unwrap();
    db.visit.insert_many([visit("b", 5, START + 4 * DAY), visit("b", 6, START + 2 * DAY)]).await.unwrap();
    assert_eq!(db.expire().await.unwrap().rows(), 0);
    db.pages.refresh().await.unwrap();
    let before = db.seq();
    let path = db.contents(before).await.unwrap().into_iter().find(|table| table.table == "Visit").unwrap();
    clock.set(START + 7 * DAY + 2 * DAY + 1);
    let gone = path.files[0].path.clone();
    let report = db.expire().await.unwrap();
    let expired = report.tables["Visit"];
    assert_eq!((expired.rows, expired.files, report.tables.len()), (4, 1, 1));
    assert_eq!(expired.before, at(START + 2 * DAY + 1));
    assert_eq!(report.refreshed, [""; 0]);
    // Days have passed for what was in commits, so a flush may have come before the expiry.
    assert_eq!(db.visit.all().at(db.seq()).count().await.unwrap(), 2);
    assert_eq!(sql(&db, "SELECT page, millis FROM visit").await, ["a 3", "b 5"]);
    assert_eq!(db.visit.all().at(before).count().await.unwrap(), 6);
    let now = db.contents(db.seq()).await.unwrap().into_iter().find(|table| table.table == "Visit").unwrap();
    assert!(!now.files.iter().any(|file| file.path == gone) && now.files[0].removed == 1);
    assert_eq!((now.expired.unwrap().rows, now.changed), (4, path.changed));
    assert_eq!(
        sql(&db, "SELECT page, visits, millis, slowest FROM pages").await,
        ["a 3 100 95", "b 3 110 99"]
    );
    assert_eq!(sql(&db, "SELECT page, millis FROM slow").await, ["a 95", "b 99"]);
    let explained = db.pages.explain().await.unwrap().to_string();
    assert!(explained.contains("rows of Visit expire, 7d after `at`"), "{explained}");
    assert!(
        explained.contains("4 rows of Visit from before 2026-01-03T00:00:00.000001Z have expired"),
        "{explained}"
    );
    // Another process, and one that opens the database anew from a checkpoint.
    db.close().await.unwrap();
    let again: Site = open(&store, &clock).await;
    assert_eq!(again.visit.all().count().await.unwrap(), 2);
    assert_eq!(again.visit.all().at(before).count().await.unwrap(), 6);
    assert_eq!(again.expire().await.unwrap().rows(), 0);
    // A row that comes too late to stay counts, and goes the next time.
    again.visit.insert(visit("c", 91, START)).await.unwrap();
    assert_eq!(again.visit.all().count().await.unwrap(), 3);
    let report = again.expire().await.unwrap();
    assert_eq!((report.rows(), report.refreshed.clone()), (1, vec!["Pages".to_owned()]));
    assert_eq!(again.visit.all().count().await.unwrap(), 2);
    assert_eq!(sql(&again, "SELECT page, visits FROM pages").await, ["a 3", "b 3", "c 1"]);
    assert_eq!(sql(&again, "SELECT page, visits FROM days WHERE page = 'c'").await, ["c 1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_which_all_expires_are_not_read() {
    let (store, clock) = (memory(), clock());
    let db: Site = open(&store, &clock).await;
    for day in 0..6 {
        let rows = (0..20).map(|n| visit("a", n, START + day * DAY + n)).collect::<Vec<_>>();
        db.visit.insert_many(rows).await.unwrap();
        db.flush().await.unwrap();
    }
    db.pages.refresh().await.unwrap();
    db.flush().await.unwrap();
    // What the footers tell is in memory once they were read.
    assert_eq!(db.expire().await.unwrap().rows(), 0);
    clock.set(START + 10 * DAY + 10);
    let visits =
        db.contents(db.seq()).await.unwrap().into_iter().find(|table| table.table == "Visit").unwrap();
    for file in &visits.files[..3] {
        store.delete(&object_store::path::Path::from(file.path.as_str())).await.unwrap();
    }
    let report = db.expire().await.unwrap();
    assert_eq!((report.tables["Visit"].rows, report.tables["Visit"].files), (70, 3));
    assert_eq!(sql(&db, "SELECT count(*) FROM visit").await, ["50"]);
    let found = db.hours.verify().await.unwrap();
    assert!(found.is_exact() && found.since == Some(at(START + 3 * DAY + 10)), "{found}");
    // Rows in a file of which some are gone already.
    clock.advance(5);
    assert_eq!(db.expire().await.unwrap().rows(), 5);
    db.compact(parquedb::CompactOptions { min_files: 2, full: true, ..Default::default() }).await.unwrap();
    assert_eq!(sql(&db, "SELECT count(*), min(millis) FROM visit").await, ["45 0"]);
    clock.advance(DAY);
    assert_eq!(db.expire().await.unwrap().rows(), 20);
    assert_eq!(sql(&db, "SELECT count(*) FROM visit").await, ["25"]);
    assert_eq!(sql(&db, "SELECT visits, slowest FROM pages").await, ["120 19"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_tells_what_has_expired() {
    let folder = tempfile::tempdir().unwrap();
    let url = folder.path().to_str().unwrap();
    let db = Site::open(url).await.unwrap();
    let (now, week) = (db.now().as_micros(), 7 * DAY);
    db.visit.insert_many([visit("a", 1, now - week - HOUR), visit("a", 2, now - HOUR)]).await.unwrap();
    let run = |arguments: &[&str]| {
        let output =
            std::process::Command::new(cargo_bin("parquedb").unwrap()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = run(&["maintain", url]);
    assert!(
        text.contains("1 row of Visit from before 20") && text.contains(" expired, with 0 files"),
        "{text}"
    );
    let text = run(&["log", url]);
    assert!(text.contains("Visit −1 expired"), "{text}");
    let line = text.lines().find(|line| line.contains("expired")).unwrap();
    let expiry = run(&["inspect", url, line.split_whitespace().next().unwrap()]);
    assert!(expiry.contains("Expire"), "{expiry}");
    assert!(expiry.contains("1 row of earlier commits expired, all older than 20"), "{expiry}");
}

/// A file of several row groups and many pages, of which some are passed over by their statistics.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_large_files_expire_by_their_positions() {
    #[derive(Collection, Debug, Clone, PartialEq)]
    #[collection(ttl = "1d", on = at)]
    pub(crate) struct Tick {
        pub(crate) n: i64,
        pub(crate) at: Timestamp,
    }
    database! { pub(crate) struct Ticks { Tick } }
    let (store, clock) = (memory(), clock());
    let db: Ticks = open(&store, &clock).await;
    // In order, but for some that come late, in the last page and in the middle.
    let late = |n: i64| n == 299_990 || n % 50_000 == 40_000;
    let time = |n: i64| START + if late(n) { 7 } else { n };
    let rows = (0..300_000).map(|n| Tick { n, at: at(time(n)) }).collect::<Vec<_>>();
    db.tick.insert_many(rows).await.unwrap();
    for horizon in [5, 140_001, 299_980] {
        clock.set(START + horizon + DAY);
        db.expire().await.unwrap();
        let left = (0..300_000).filter(|n| time(*n) >= START + horizon);
        let (count, sum) = left.fold((0, 0), |(count, sum), n| (count + 1, sum + n));
        assert_eq!(
            sql(&db, "SELECT count(*), sum(n) FROM tick").await,
            [format!("{count} {sum}")],
            "{horizon}"
        );
    }
    let table = db.contents(db.seq()).await.unwrap().remove(0);
    assert_eq!((table.files.len(), table.files[0].rows, table.rows), (1, 300_000, 19));
    // What is left of a file is known once it was looked for.
    assert_eq!(db.expire().await.unwrap().rows(), 0);
    store.delete(&object_store::path::Path::from(table.files[0].path.as_str())).await.unwrap();
    assert_eq!(db.expire().await.unwrap().rows(), 0);
}

/// A view that is refreshed because of an expiry gets rows that have expired too.
#[tokio::test]
async fn views_over_what_an_expiry_refreshes_are_refreshed_before_it_too() {
    views! {
        pub(crate) Quick: {
            $from: Visit, $filter: millis < 10, $ttl: { after: "7d", on: at }, $refresh: { mode: manual },
        }
        pub(crate) QuickPages: {
            $from: Quick, $groupBy: [page], $compute: { visits: $count(*) }, $refresh: { mode: manual },
        }
    }
    database! { pub(crate) struct Chain { Visit, Quick, QuickPages } }
    let (store, clock) = (memory(), clock());
    let db: Chain = open(&store, &clock).await;
    db.visit.insert_many([visit("a", 1, START), visit("a", 2, START + 7 * DAY)]).await.unwrap();
    clock.set(START + 8 * DAY);
    let report = db.expire().await.unwrap();
    assert_eq!(report.refreshed, ["Quick", "QuickPages"]);
    let gone = report.tables.iter().map(|(name, table)| (name.as_str(), table.rows)).collect::<Vec<_>>();
    assert_eq!(gone, [("Quick", 1), ("Visit", 1)]);
    assert_eq!(sql(&db, "SELECT page, visits FROM quick_pages").await, ["a 2"]);
}

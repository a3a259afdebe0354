//! After every step of a random history each view holds what plain SQL over the rows gives.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_precision_loss)]

mod oracle;
mod rows;
mod views;

use parquedb::arrow::array::RecordBatch;
use parquedb::{CompactOptions, Freshness, ManualClock, Timestamp, ViewStatus};
use rows::{Payment, Random, Reading};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use views::{EXPECTED, TruthDb};

/// 2024-01-01T00:00:00Z
const START: i64 = 1_704_067_200_000_000;

struct History {
    url: String,
    clock: Arc<ManualClock>,
    random: Random,
    next: i64,
    db: TruthDb,
    readings: Vec<Reading>,
    payments: Vec<Payment>,
    /// Files that compaction has replaced.
    compacted: u64,
}

async fn open(url: &str, clock: &Arc<ManualClock>) -> TruthDb {
    TruthDb::builder()
        .clock(Arc::clone(clock) as Arc<dyn parquedb::Clock>)
        .log_options(|options| options.flush_after_commits = 7)
        .open(url)
        .await
        .unwrap()
}

impl History {
    fn new_readings(&mut self) -> Vec<Reading> {
        let count = match self.random.below(4) {
            0 => 0,
            1 => 1,
            2 => self.random.below(20),
            _ => self.random.below(200),
        };
        (0..count)
            .map(|_| {
                self.next += 1;
                self.random.reading(self.next)
            })
            .collect()
    }

    fn new_payments(&mut self) -> Vec<Payment> {
        (0..self.random.below(5))
            .map(|_| {
                self.next += 1;
                self.random.payment(self.next)
            })
            .collect()
    }

    /// One random thing that happens to the database; its name.
    async fn step(&mut self) -> &'static str {
        match self.random.below(15) {
            0..=3 => {
                let rows = self.new_readings();
                self.db.reading.insert_many(&rows).await.unwrap();
                self.readings.extend(rows);
                "inserted"
            }
            4 => {
                let (readings, payments) = (self.new_readings(), self.new_payments());
                let mut batch = self.db.batch();
                batch.insert(&self.db.reading, &readings).unwrap();
                batch.insert(&self.db.payment, &payments).unwrap();
                batch.commit().await.unwrap();
                self.readings.extend(readings);
                self.payments.extend(payments);
                "inserted into both"
            }
            5 | 6 => {
                let batches = (0..1 + self.random.below(6)).map(|_| self.new_readings()).collect::<Vec<_>>();
                let writes = batches.iter().map(|rows| self.db.reading.insert_many(rows));
                for written in futures::future::join_all(writes).await {
                    written.unwrap();
                }
                self.readings.extend(batches.into_iter().flatten());
                "inserted at the same time"
            }
            7 => {
                self.db.flush().await.unwrap();
                "flushed"
            }
            8 => {
                self.db = open(&self.url, &self.clock).await;
                "reopened"
            }
            9 => {
                self.db.kinds.refresh().await.unwrap();
                self.db.negatives.refresh().await.unwrap();
                "refreshed the manual views"
            }
            10 => {
                self.db.hosts.refresh().await.unwrap();
                "refreshed a scheduled view"
            }
            11 | 12 => {
                let full = self.random.one_in(2);
                self.compact(full).await;
                "compacted"
            }
            13 => {
                self.clock.advance(i64::try_from(self.random.below(7_200_000_000)).unwrap());
                self.db.maintain().await.unwrap();
                "maintained"
            }
            _ => {
                self.clock.advance(i64::try_from(self.random.below(3_600_000_000)).unwrap());
                self.db.run_due(Timestamp::from_micros(parquedb::Clock::now(&*self.clock))).await.unwrap();
                "ran what was due"
            }
        }
    }

    /// Joins files, few at a time or all, and merges the states of grouping views.
    async fn compact(&mut self, full: bool) {
        let min_files = 2 + usize::try_from(self.random.below(3)).unwrap();
        let options = CompactOptions { min_files, full, ..CompactOptions::default() };
        let report = self.db.compact(options).await.unwrap();
        for (table, compacted) in &report.tables {
            let reasons = compacted.left.iter().map(|left| left.reason.as_str());
            let is_expected = |reason: &str| reason == "too few neighbours of like size";
            assert!(reasons.clone().all(is_expected), "{table}: {compacted:?}");
            assert!(!full || compacted.files_after <= 2, "{table}: {compacted:?}");
            // Only states become fewer.
            if ["Reading", "Payment", "Predicates", "Lines", "Negatives"].contains(&table.as_str()) {
                assert_eq!(compacted.rows_read, compacted.rows_written, "{table}");
            }
        }
        self.compacted += report.files_replaced();
    }

    async fn rows_of(&self, view: &str) -> Vec<RecordBatch> {
        macro_rules! batches {
            ($($view:ident),*) => {
                match view {
                    $(stringify!($view) => {
                        self.db.$view.all().batches().await.unwrap()
                    })*
                    other => panic!("no view {other}"),
                }
            };
        }
        batches!(
            predicates,
            filtered,
            computed,
            paths,
            lines,
            words,
            by_minute,
            by_hour,
            by_day,
            by_week,
            by_month,
            by_quarter,
            by_year,
            by_ratio,
            totals,
            host_lines,
            host_totals,
            hosts,
            kinds,
            negatives,
            payers,
            payers_by_day
        )
    }

    /// Compares the views: each, or one in so many.
    async fn check(&mut self, step: &str, one_in: u64) {
        let mut stored = self.db.reading.all().order_by(|row| row.id.asc()).await.unwrap();
        stored.sort_by_key(|row| row.id);
        let mut written = self.readings.clone();
        written.sort_by_key(|row| row.id);
        assert_eq!(
            format!("{stored:?}"),
            format!("{written:?}").replace("-0.0,", "0.0,").replace("(-0.0)", "(0.0)")
        );
        let head = oracle::session(&stored, &self.payments);
        let mut earlier = BTreeMap::new();
        let statuses = self.db.status().await.unwrap();
        for (view, inexact, sql) in EXPECTED {
            if !self.random.one_in(one_in) {
                continue;
            }
            let status: &ViewStatus = statuses.iter().find(|status| status.table == view).unwrap();
            let session = match status.freshness {
                Freshness::Fresh => &head,
                Freshness::Stale => {
                    let seq = status.seq.unwrap();
                    if let Entry::Vacant(unread) = earlier.entry(seq) {
                        let readings = self.db.reading.all().at(seq).await.unwrap();
                        let payments = self.db.payment.all().at(seq).await.unwrap();
                        unread.insert(oracle::session(&readings, &payments));
                    }
                    &earlier[&seq]
                }
                Freshness::Invalid { .. } => panic!("view `{view}` is invalid after `{step}`: {status:?}"),
            };
            let streams = !["hosts", "kinds", "negatives", "payers_by_day"].contains(&view);
            assert!(!streams || status.freshness == Freshness::Fresh, "{view} is stale after `{step}`");
            let actual = self.rows_of(view).await;
            let expected = session.sql(sql).await.unwrap().collect().await.unwrap();
            let context = format!("after `{step}`, {:?}", status.freshness);
            assert_eq!(status.rows, Some(actual.iter().map(|batch| batch.num_rows() as u64).sum()));
            oracle::assert_same(view, inexact, &actual, &expected, &context);
        }
    }
}

async fn history(seed: u64) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let url = folder.path().to_str().unwrap().to_owned();
    let clock = Arc::new(ManualClock::new(START));
    let db = open(&url, &clock).await;
    let random = Random(seed);
    let (readings, payments) = (Vec::new(), Vec::new());
    let mut history = History { url, clock, random, next: 0, db, readings, payments, compacted: 0 };
    for _ in 0..8 {
        let step = history.step().await;
        // Every check plans many queries, which is slow: not after each step, and not of each view.
        if history.random.one_in(3) {
            history.check(step, 4).await;
        }
    }
    history.db.kinds.refresh().await.unwrap();
    history.db.negatives.refresh().await.unwrap();
    history.db.hosts.refresh().await.unwrap();
    history.db.payers_by_day.refresh().await.unwrap();
    assert!(history.db.status().await.unwrap().iter().all(|status| status.freshness == Freshness::Fresh));
    if history.random.one_in(2) {
        history.db.flush().await.unwrap();
        history.compact(true).await;
    }
    history.check("refreshed everything", 2).await;
    history.compacted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_histories_keep_views_equal_to_recomputation_truth() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (first, count) = (number("PARQUEDB_SEED", 1), number("PARQUEDB_SEEDS", 8));
    let mut compacted = 0;
    for seed in first..first + count {
        match tokio::spawn(history(seed)).await {
            Ok(files) => compacted += files,
            Err(error) => {
                panic!("seed {seed} (run it alone with PARQUEDB_SEED={seed} PARQUEDB_SEEDS=1): {error}")
            }
        }
    }
    assert!(count < 8 || compacted > 30, "only {compacted} files were compacted");
}

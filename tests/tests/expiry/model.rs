//! Random histories of orders that expire, beside a model of what each view counts: of references, of groups that
//! expire themselves, and of a view over these.

use super::*;
use parquedb::CompactOptions;
use parquedb::testing::Random;
use std::collections::BTreeMap;

#[derive(Collection, Debug, Clone, PartialEq)]
#[collection(key = id)]
pub(crate) struct Client {
    pub(crate) id: i64,
    pub(crate) tier: String,
}

#[derive(Collection, Debug, Clone, PartialEq)]
#[collection(key = id, ttl = "10d", on = at)]
pub(crate) struct Booking {
    pub(crate) id: i64,
    pub(crate) client: Ref<Client>,
    pub(crate) total: i64,
    pub(crate) at: Timestamp,
}

views! {
    pub(crate) ByTier: {
        $from: Booking, $groupBy: [{ tier: client.tier }], $compute: { n: $count(*), total: $sum(total) },
    }
    pub(crate) ByTierLater: {
        $from: Booking, $groupBy: [{ tier: client.tier }], $compute: { n: $count(*), total: $sum(total) },
        $refresh: { mode: manual },
    }
    pub(crate) Listed: { $from: Booking, $select: { id, total, tier: client.tier } }
    /// Kept for less time than the bookings.
    pub(crate) ShortDays: {
        $from: Booking, $groupBy: [{ day: at }], $compute: { n: $count(*), total: $sum(total) },
        $ttl: { after: "6d", on: day },
    }
    /// Kept for longer.
    pub(crate) LongDays: {
        $from: Booking, $groupBy: [{ day: at }], $compute: { n: $count(*), total: $sum(total) },
        $ttl: { after: "20d", on: day },
    }
    pub(crate) ShortTotal: { $from: ShortDays, $compute: { n: $sum(n), total: $sum(total) } }
    pub(crate) LongTotal: { $from: LongDays, $compute: { n: $sum(n), total: $sum(total) } }
}

database! {
    pub(crate) struct Bookings {
        Client, Booking, ByTier, ByTierLater, Listed, ShortDays, LongDays, ShortTotal, LongTotal,
    }
}

/// A number of bookings and what they come to.
type Sum = (i64, i64);

fn add(sum: &mut Sum, (n, total): Sum) {
    *sum = (sum.0 + n, sum.1 + total);
}

/// Days that expire, and the total over those that are seen.
#[derive(Clone)]
struct Days {
    kept: i64,
    days: BTreeMap<i64, Sum>,
    above: Sum,
}

impl Days {
    /// What a commit takes from days and adds to them.
    fn change(&mut self, changes: &[(i64, Sum)]) {
        let seen = |days: &BTreeMap<i64, Sum>| {
            let seen = days.values().filter(|(n, _)| *n > 0);
            seen.fold((0, 0), |mut all, day| {
                add(&mut all, *day);
                all
            })
        };
        let before = seen(&self.days);
        changes.iter().for_each(|(day, sum)| add(self.days.entry(*day).or_default(), *sum));
        let after = seen(&self.days);
        add(&mut self.above, (after.0 - before.0, after.1 - before.1));
    }

    fn rows(&self) -> Vec<String> {
        let seen = self.days.iter().filter(|(_, (n, _))| *n > 0);
        sorted(seen.map(|(day, (n, total))| format!("{} {n} {total}", at(*day))))
    }
}

fn sorted(rows: impl Iterator<Item = String>) -> Vec<String> {
    let mut rows = rows.collect::<Vec<_>>();
    rows.sort();
    rows
}

struct Model {
    clients: BTreeMap<i64, String>,
    bookings: BTreeMap<i64, Booking>,
    /// What has expired, with the tier that it was of by then.
    expired: Vec<(Booking, String)>,
    /// What the view that is refreshed by hand holds.
    later: Vec<String>,
    days: [Days; 2],
}

impl Model {
    fn tier(&self, booking: &Booking) -> String {
        self.clients.get(booking.client.key()).cloned().unwrap_or_default()
    }

    fn listed(&self) -> Vec<String> {
        let live = self.bookings.values().map(|booking| (booking, self.tier(booking)));
        let all = live.chain(self.expired.iter().map(|(booking, tier)| (booking, tier.clone())));
        sorted(all.map(|(booking, tier)| format!("{} {} {tier}", booking.id, booking.total)))
    }

    fn by_tier(&self) -> Vec<String> {
        let mut tiers: BTreeMap<String, Sum> = BTreeMap::new();
        let live = self.bookings.values().map(|booking| (booking, self.tier(booking)));
        for (booking, tier) in live.chain(self.expired.iter().map(|(booking, tier)| (booking, tier.clone())))
        {
            add(tiers.entry(tier).or_default(), (1, booking.total));
        }
        sorted(tiers.into_iter().map(|(tier, (n, total))| format!("{tier} {n} {total}")))
    }

    fn change(&mut self, id: i64, new: Option<Booking>) {
        let day = |booking: &Booking| booking.at.as_micros().div_euclid(DAY) * DAY;
        let old = match &new {
            Some(booking) => self.bookings.insert(id, booking.clone()),
            None => self.bookings.remove(&id),
        };
        let gone = old.iter().map(|old| (day(old), (-1, -old.total)));
        let changes = gone.chain(new.iter().map(|new| (day(new), (1, new.total)))).collect::<Vec<_>>();
        self.days.iter_mut().for_each(|days| days.change(&changes));
    }

    fn expire(&mut self, now: i64) {
        let (old, left): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.bookings)
            .into_iter()
            .partition(|(_, row)| row.at.as_micros() < now - 10 * DAY);
        self.bookings = left;
        let old = old.into_values().map(|booking| (booking.clone(), self.tier(&booking))).collect::<Vec<_>>();
        self.expired.extend(old);
        for Days { kept, days, .. } in &mut self.days {
            days.retain(|day, _| *day >= now - *kept);
        }
    }

    async fn check(&self, db: &Bookings, place: &str) {
        let live = sorted(self.bookings.values().map(|row| format!("{} {}", row.id, row.total)));
        assert_eq!(sql(db, "SELECT id, total FROM booking").await, live, "{place}");
        assert_eq!(sql(db, "SELECT id, total, tier FROM listed").await, self.listed(), "{place}");
        assert_eq!(sql(db, "SELECT tier, n, total FROM by_tier").await, self.by_tier(), "{place}");
        assert_eq!(sql(db, "SELECT tier, n, total FROM by_tier_later").await, self.later, "{place}");
        for (name, days) in ["short", "long"].into_iter().zip(&self.days) {
            let held = sql(db, &format!("SELECT day, n, total FROM {name}_days")).await;
            assert_eq!(held, days.rows(), "{place}: {name}");
            let above = sql(db, &format!("SELECT n, total FROM {name}_total")).await;
            assert_eq!(above, [format!("{} {}", days.above.0, days.above.1)], "{place}: {name}");
        }
    }
}

const STEPS: usize = 24;

async fn history(seed: u64) -> u64 {
    let (store, clock) = (memory(), clock());
    let mut db: Bookings = open(&store, &clock).await;
    let mut random = Random::new(seed);
    let days = |kept: i64| Days { kept: kept * DAY, days: BTreeMap::new(), above: (0, 0) };
    let mut model = Model {
        clients: BTreeMap::new(),
        bookings: BTreeMap::new(),
        expired: Vec::new(),
        later: Vec::new(),
        days: [days(6), days(20)],
    };
    let mut gone = 0;
    for step in 0..STEPS {
        let place = format!("seed {seed}, step {step}");
        let mut below = |limit: u64| i64::try_from(random.below(limit)).unwrap();
        let what = below(13);
        match what {
            0..=4 => {
                // Some of them come late, and some too late to stay.
                let time = clock.now() - below(14 * 24) * HOUR;
                let (id, client, total) = (below(10), below(3), below(9));
                let booking = Booking { id, client: Ref::new(client), total, at: at(time) };
                db.booking.upsert(booking.clone()).await.unwrap();
                model.change(id, Some(booking));
            }
            5 => {
                let id = below(10);
                db.booking.delete(|row| row.id.eq(id)).await.unwrap();
                model.change(id, None);
            }
            6 => {
                let client = Client { id: below(3), tier: format!("tier {}", below(3)) };
                db.client.upsert(client.clone()).await.unwrap();
                model.clients.insert(client.id, client.tier);
            }
            7 => {
                let id = below(3);
                db.client.delete(|row| row.id.eq(id)).await.unwrap();
                model.clients.remove(&id);
            }
            8 => {
                db.by_tier_later.refresh().await.unwrap();
                model.later = model.by_tier();
            }
            9 => {
                db.flush().await.unwrap();
                let options =
                    CompactOptions { min_files: 2, full: below(2) == 0, ..CompactOptions::default() };
                db.compact(options).await.unwrap();
            }
            10 => db = open(&store, &clock).await,
            _ => {
                clock.advance(below(8 * 24) * HOUR);
                let report = db.expire().await.unwrap_or_else(|error| panic!("{place}: {error}"));
                gone += report.rows();
                if report.refreshed.iter().any(|view| view == "ByTierLater") {
                    model.later = model.by_tier();
                }
                let before = model.bookings.len();
                model.expire(clock.now());
                let expired = report.tables.get("Booking").map_or(0, |table| table.rows);
                assert_eq!(expired, (before - model.bookings.len()) as u64, "{place}");
            }
        }
        // Queries take most of the time.
        if matches!(what, 8 | 11 | 12) || step == STEPS - 1 {
            model.check(&db, &place).await;
        }
    }
    gone
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_histories_with_expiry_are_what_a_model_says_truth() {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect(name));
    let first = number("PARQUEDB_SEED").unwrap_or(1);
    let mut gone = 0;
    for seed in first..first + number("PARQUEDB_SEEDS").unwrap_or(2) {
        gone += history(seed).await;
    }
    eprintln!("{gone} rows and states expired");
    assert!(gone > 0);
}

//! Picks keep candidates where rows may go: groups are seldom computed again, and nobody can tell.

use parquedb::testing::Random;
use parquedb::{Collection, CompactOptions, Ref, database, views};
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

#[derive(Collection, Clone, Debug, PartialEq)]
#[collection(key = id)]
pub(crate) struct Shop {
    pub(crate) id: i64,
    pub(crate) city: String,
}

#[derive(Collection, Clone, Debug, PartialEq)]
#[collection(key = id)]
pub(crate) struct Offer {
    pub(crate) id: i64,
    pub(crate) shop: Ref<Shop>,
    pub(crate) price: f64,
    pub(crate) at: Option<i64>,
    pub(crate) name: Option<String>,
}

views! {
    pub(crate) Prices: {
        $from: Offer,
        $groupBy: [shop],
        $compute: {
            n: $count(*), lowest: $min(price), highest: $max(price), some: $any(name),
            first: $first(name, $orderBy: at), last: $last(name, $orderBy: at), cheapest: $argMin(id, price),
        },
    }
    pub(crate) Lowest: { $from: Offer, $compute: { price: $min(price), name: $argMax(name, at) } }
    pub(crate) Cities: {
        $from: Offer,
        $groupBy: [{ city: shop.city }],
        $compute: { lowest: $min(price), last: $last(name, $orderBy: at) },
    }
    pub(crate) Later: {
        $from: Offer, $groupBy: [shop], $compute: { lowest: $min(price) }, $refresh: { mode: manual },
    }
    /// Over the rows of groups, which change.
    pub(crate) OfPrices: {
        $from: Prices, $groupBy: [n], $compute: { lowest: $min(lowest), first: $min(first), highest: $max(highest) },
    }
}

database! { pub(crate) struct Market { Shop, Offer, Prices, Lowest, Cities, Later, OfPrices } }
database! { pub(crate) struct Stand { Shop, Offer, Lowest } }

/// Counts the groups that were merged first, and that were computed again.
#[derive(Clone, Default)]
struct Groups(Arc<[AtomicU64; 2]>);

impl<S: tracing::Subscriber> Layer<S> for Groups {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        event.record(&mut Counter(&self.0));
    }
}

struct Counter<'a>(&'a [AtomicU64; 2]);

impl Visit for Counter<'_> {
    fn record_u64(&mut self, field: &Field, value: u64) {
        for (index, name) in ["merged", "computed_again"].into_iter().enumerate() {
            if field.name() == name {
                self.0[index].fetch_add(value, Ordering::Relaxed);
            }
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

/// One at a time: `tracing` asks the subscriber of whatever thread meets an event first.
static ALONE: Mutex<()> = Mutex::new(());

fn offer(id: i64, random: &mut Random) -> Offer {
    Offer {
        id,
        shop: (random.below(2) as i64).into(),
        price: random.below(1000) as f64 / 8.0,
        at: (!random.one_in(9)).then(|| random.below(500) as i64),
        name: (!random.one_in(9)).then(|| format!("name {:03}", random.below(300))),
    }
}

fn offers(first: i64, count: i64, random: &mut Random) -> Vec<Offer> {
    (first..first + count).map(|id| offer(id, random)).collect()
}

async fn all_exact(db: &Market, context: &str) {
    macro_rules! exact {
        ($($view:ident),*) => {$(
            let found = db.$view.verify().await.unwrap();
            assert!(found.is_exact(), "{context}: {found}");
        )*};
    }
    exact!(prices, lowest, cities, later, of_prices);
}

async fn history(seed: u64) {
    let random = &mut Random::new(seed);
    let db = Market::open("memory:///").await.unwrap();
    db.shop.insert_many([0, 1].map(|id| Shop { id, city: format!("city {id}") })).await.unwrap();
    db.offer.insert_many(offers(0, 60, random)).await.unwrap();
    let mut next = 60;
    for step in 0..10 {
        let context = format!("seed {seed}, step {step}");
        match random.below(5) {
            // The best ones go, and few of them come back.
            0 | 1 => {
                let mut offers = db.offer.all().await.unwrap();
                let by_price = random.one_in(2);
                offers.sort_by(|a, b| match by_price {
                    true => a.price.total_cmp(&b.price),
                    false => b.at.cmp(&a.at),
                });
                let best =
                    offers.iter().take(random.below(14) as usize).map(|offer| offer.id).collect::<Vec<_>>();
                db.offer.delete(|row| row.id.is_in(best.clone())).await.unwrap();
            }
            2 => {
                let count = random.below(8) as i64;
                db.offer.insert_many(offers(next, count, random)).await.unwrap();
                next += count;
            }
            3 => {
                let below = random.below(300) as f64 / 8.0;
                db.offer.update(|row| row.price.lt(below), |row| row.price.add(20.0)).await.unwrap();
            }
            _ => {
                let city = format!("city {}", random.below(3));
                db.shop.update(|row| row.id.eq(0), |row| row.city.set(city.clone())).await.unwrap();
            }
        }
        if random.one_in(3) {
            db.flush().await.unwrap();
        }
        if random.one_in(3) {
            db.compact(CompactOptions { min_files: 2, ..CompactOptions::default() }).await.unwrap();
        }
        if random.one_in(4) {
            db.later.refresh().await.unwrap();
        }
        if step % 3 == 0 {
            all_exact(&db, &context).await;
        }
    }
}

#[test]
fn the_best_rows_go_and_views_follow() {
    let _alone = ALONE.lock().unwrap();
    let groups = Groups::default();
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let subscriber = tracing_subscriber::registry().with(groups.clone());
    let _guard = tracing::subscriber::set_default(subscriber);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let first = number("PARQUEDB_SEED", 1);
    for seed in first..first + number("PARQUEDB_SEEDS", 1) {
        runtime.block_on(history(seed));
    }
    assert!(groups.0[1].load(Ordering::Relaxed) > 0, "no candidates ran out");
}

#[test]
fn a_group_is_computed_again_once_in_eight_rows_at_most() {
    let _alone = ALONE.lock().unwrap();
    let groups = Groups::default();
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let subscriber = tracing_subscriber::registry().with(groups.clone());
    let _guard = tracing::subscriber::set_default(subscriber);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let db = Stand::open("memory:///").await.unwrap();
        let price = |id: i64| id as f64;
        let offers =
            (0..40).map(|id| Offer { id, shop: 0_i64.into(), price: price(id), at: None, name: None });
        db.offer.insert_many(offers.collect::<Vec<_>>()).await.unwrap();
        for id in 0..32 {
            db.offer.delete(|row| row.id.eq(id)).await.unwrap();
            assert_eq!(db.lowest.all().await.unwrap()[0].price, Some(price(id + 1)));
        }
        assert!(db.lowest.verify().await.unwrap().is_exact());
    });
    assert_eq!(groups.0[1].load(Ordering::Relaxed), 32 / 8);
}

#[test]
fn values_that_come_and_go_cost_no_look_at_other_rows() {
    let _alone = ALONE.lock().unwrap();
    let groups = Groups::default();
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let subscriber = tracing_subscriber::registry().with(groups.clone());
    let _guard = tracing::subscriber::set_default(subscriber);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let db = Stand::open("memory:///").await.unwrap();
        let offer = |id: i64, price| Offer { id, shop: 0_i64.into(), price, at: None, name: None };
        db.offer.insert_many((1..20).map(|id| offer(id, 1.0)).collect::<Vec<_>>()).await.unwrap();
        for lower in 1..20 {
            let price = 1.0 - f64::from(lower);
            db.offer.insert(offer(0, price)).await.unwrap();
            assert_eq!(db.lowest.all().await.unwrap()[0].price, Some(price));
            db.offer.delete(|row| row.id.eq(0)).await.unwrap();
            assert_eq!(db.lowest.all().await.unwrap()[0].price, Some(1.0));
        }
        assert!(db.lowest.verify().await.unwrap().is_exact());
    });
    let [merged, again] = [0, 1].map(|index| groups.0[index].load(Ordering::Relaxed));
    assert_eq!(again, 0, "{merged} were merged");
    // No more than seven prices that are gone are listed.
    assert_eq!(merged, 19 / 8);
}

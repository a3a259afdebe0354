//! Rows expire, and views keep what they counted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod beside_others;
mod levels;
mod model;
mod refusals;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use parquedb::{
    Clock, Collection, Connection, Database, ManualClock, Ref, Store, Timestamp, database, views,
};
use std::sync::Arc;

pub(crate) const HOUR: i64 = 3_600_000_000;
pub(crate) const DAY: i64 = 24 * HOUR;

/// 2026-01-01T00:00:00Z
pub(crate) const START: i64 = 1_767_225_600_000_000;

#[derive(Collection, Debug, Clone, PartialEq)]
#[collection(ttl = "7d", on = at)]
pub(crate) struct Visit {
    pub(crate) page: String,
    pub(crate) millis: i64,
    pub(crate) at: Timestamp,
}

views! {
    pub(crate) Hours: {
        $from: Visit,
        $groupBy: [page, { hour: at }],
        $compute: { visits: $count(*), millis: $sum(millis), slowest: $max(millis) },
        $ttl: { after: "90d", on: hour },
    }
    pub(crate) Days: {
        $from: Hours,
        $groupBy: [page, { day: hour }],
        $compute: { visits: $sum(visits), millis: $sum(millis), hours: $count(*) },
    }
    /// Behind most of the time.
    pub(crate) Pages: {
        $from: Visit,
        $groupBy: [page],
        $compute: { visits: $count(*), millis: $sum(millis), slowest: $max(millis) },
        $refresh: { mode: manual },
    }
    pub(crate) Slow: { $from: Visit, $filter: millis > 90, $select: { page, at, millis } }
}

database! { pub(crate) struct Site { Visit, Hours, Days, Pages, Slow } }

#[derive(Collection, Debug, Clone, PartialEq)]
#[collection(key = id)]
pub(crate) struct Customer {
    pub(crate) id: i64,
    pub(crate) tier: String,
}

/// An open order has no end, and stays.
#[derive(Collection, Debug, Clone, PartialEq)]
#[collection(key = id, ttl = "30d", on = closed_at)]
pub(crate) struct Order {
    pub(crate) id: i64,
    pub(crate) customer: Ref<Customer>,
    pub(crate) total: i64,
    pub(crate) closed_at: Option<Timestamp>,
}

views! {
    pub(crate) Tiers: {
        $from: Order,
        $groupBy: [{ tier: customer.tier }],
        $compute: { orders: $count(*), total: $sum(total) },
    }
    pub(crate) Enriched: { $from: Order, $select: { id, total, tier: customer.tier } }
    /// An aggregate that takes rows back as long as candidates last.
    pub(crate) Best: { $from: Order, $groupBy: [customer], $compute: { orders: $count(*), best: $first(id, $orderBy: total) } }
    /// An aggregate that cannot take rows back.
    pub(crate) Estimates: { $from: Order, $groupBy: [customer], $compute: { orders: $count(*), different: $uniq(id) } }
    /// The same, by the time by which orders expire.
    pub(crate) EstimatesOfDay: {
        $from: Order, $groupBy: [{ day: closed_at }], $compute: { orders: $count(*), different: $uniq(id) },
    }
}

database! { pub(crate) struct Shop { Customer, Order, Tiers, Enriched } }

database! { pub(crate) struct Picky { Customer, Order, Estimates } }

database! { pub(crate) struct Choosy { Customer, Order, Best } }

pub(crate) fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

pub(crate) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(START))
}

pub(crate) async fn open<D: Database>(store: &Arc<dyn ObjectStore>, clock: &Arc<ManualClock>) -> D {
    let builder = D::builder().clock(Arc::clone(clock) as Arc<dyn Clock>);
    // Garbage is collected by the store's own clock.
    let builder = builder.maintenance(|options| options.collect_every = None);
    builder.open_store(Store::new(Arc::clone(store), "")).await.unwrap()
}

pub(crate) fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

pub(crate) fn visit(page: &str, millis: i64, micros: i64) -> Visit {
    Visit { page: page.to_owned(), millis, at: at(micros) }
}

pub(crate) fn order(id: i64, customer: i64, total: i64, closed_at: Option<i64>) -> Order {
    Order { id, customer: Ref::new(customer), total, closed_at: closed_at.map(at) }
}

/// The first column of rows of SQL, as text.
pub(crate) async fn sql(db: &Connection, query: &str) -> Vec<String> {
    let batches = db.sql(query).await.unwrap().collect().await.unwrap();
    let mut rows = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let columns = batch.columns().iter();
            let values = columns
                .map(|column| parquedb::arrow::util::display::array_value_to_string(column, row).unwrap());
            rows.push(values.collect::<Vec<_>>().join(" "));
        }
    }
    rows.sort();
    rows
}

//! What a database costs in requests, by exact numbers: requests are what object storage is paid by.
//!
//! The numbers hold while no process stood still for half an hour; after that the anchor is looked at
//! once, by one small read.

use futures::future::join_all;
use parquedb::object_store::memory::InMemory;
use parquedb::{Collection, ManualClock, Requests, Store, database, views};
use std::sync::Arc;

#[derive(Collection, Clone, Debug)]
pub(crate) struct Order {
    pub(crate) id: i64,
    pub(crate) shop: String,
    pub(crate) cents: i64,
}
views! {
    pub(crate) Dear: { $from: Order, $filter: cents > 500, $select: { id, cents } }
    pub(crate) Shops: { $from: Order, $groupBy: [shop], $compute: { n: $count(*), cents: $sum(cents) } }
}
database! { pub(crate) struct Orders { Order, Dear, Shops } }

/// A bucket, and processes that open it. Their clock stands still, so that nothing falls due by time.
struct Bucket {
    inner: Arc<InMemory>,
    clock: Arc<ManualClock>,
}

impl Bucket {
    fn new() -> Self {
        Self { inner: Arc::new(InMemory::new()), clock: Arc::new(ManualClock::new(1_760_000_000_000_000)) }
    }

    fn store(&self) -> Store {
        Store::new(Arc::clone(&self.inner) as _, "orders")
    }

    async fn writer(&self) -> Orders {
        Orders::builder().clock(self.clock.clone()).open_store(self.store()).await.unwrap()
    }

    async fn reader(&self) -> Orders {
        Orders::builder().clock(self.clock.clone()).read_only().open_store(self.store()).await.unwrap()
    }
}

fn order(id: i64) -> Order {
    Order { id, shop: format!("shop {}", id % 5), cents: id * 100 % 1000 }
}

/// (puts, gets, heads, lists, deletes)
fn numbers(requests: Requests) -> (u64, u64, u64, u64, u64) {
    (requests.put, requests.get, requests.head, requests.list, requests.delete)
}

#[tokio::test]
async fn a_commit_is_one_put_and_nothing_else() {
    let bucket = Bucket::new();
    let db = bucket.writer().await;
    let before = db.requests();
    for id in 0..63 {
        db.order.insert(order(id)).await.unwrap();
    }
    assert_eq!(numbers(db.requests() - before), (63, 0, 0, 0, 0));

    let before = (db.requests(), db.seq());
    let inserts = join_all((100..164).map(|id| {
        let orders = db.order.clone();
        tokio::spawn(async move { orders.insert(order(id)).await.unwrap() })
    }))
    .await;
    assert_eq!(inserts.len(), 64);
    let commits = db.seq() - before.1;
    assert_eq!(commits, 1, "all that came together are one commit");
    assert_eq!(numbers(db.requests() - before.0), (commits, 0, 0, 0, 0));
    assert_eq!(db.order.all().count().await.unwrap(), 63 + 64);
}

#[tokio::test]
async fn the_hint_is_one_put_in_sixty_four_commits_or_ten_seconds() {
    let bucket = Bucket::new();
    let db = bucket.writer().await;
    db.flush().await.unwrap();
    for (pause, commits, puts) in [(100_000, 64, 65), (10_000_000, 3, 6)] {
        let before = db.requests();
        for id in 0..commits {
            bucket.clock.advance(pause);
            db.order.insert(order(id)).await.unwrap();
        }
        assert_eq!(numbers(db.requests() - before), (puts, 0, 0, 0, 0), "a pause of {pause} µs");
    }
}

#[tokio::test]
async fn a_flush_is_a_put_for_each_table_and_three() {
    let bucket = Bucket::new();
    let db = bucket.writer().await;
    for id in 0..20 {
        db.order.insert(order(id)).await.unwrap();
    }
    let before = db.requests();
    db.flush().await.unwrap();
    // Files of the collection and of the two views; the commit, the checkpoint and the hint.
    assert_eq!(numbers(db.requests() - before), (3 + 3, 0, 0, 0, 0));
    let before = db.requests();
    db.flush().await.unwrap();
    assert_eq!(numbers(db.requests() - before), (0, 0, 0, 0, 0), "there is nothing to do");
}

#[tokio::test]
async fn following_is_a_get_for_each_new_commit_and_one() {
    let bucket = Bucket::new();
    let db = bucket.writer().await;
    let reader = bucket.reader().await;
    for new in [0, 0, 1, 2, 5, 8] {
        for id in 0..new {
            db.order.insert(order(id)).await.unwrap();
        }
        let before = reader.requests();
        assert_eq!(reader.catch_up().await.unwrap(), db.seq());
        assert_eq!(numbers(reader.requests() - before), (0, new as u64 + 1, 0, 0, 0), "{new} new commits");
    }
    // A query of a reader looks for new commits once; one of a writer knows what it wrote.
    let before = (reader.requests(), db.requests());
    assert_eq!(reader.shops.all().count().await.unwrap(), 5);
    assert_eq!(db.shops.all().count().await.unwrap(), 5);
    assert_eq!(numbers(reader.requests() - before.0), (0, 1, 0, 0, 0));
    assert_eq!(numbers(db.requests() - before.1), (0, 0, 0, 0, 0));

    // Whoever is far behind asks for several at once, and for at most as many too many as there are.
    for id in 0..60 {
        db.order.insert(order(id)).await.unwrap();
    }
    let before = reader.requests();
    assert_eq!(reader.catch_up().await.unwrap(), db.seq());
    let cost = reader.requests() - before;
    assert!(cost.get > 60 && cost.get <= 120 && cost.list == 0, "{cost:?}");
}

#[tokio::test]
async fn opening_is_four_gets_and_one_for_each_commit_after_the_checkpoint_and_one() {
    let bucket = Bucket::new();
    let db = bucket.writer().await;
    for id in 0..200 {
        db.order.insert(order(id)).await.unwrap();
    }
    db.flush().await.unwrap();
    let mut tail = 0;
    for more in [0, 1, 7] {
        for id in 0..more {
            db.order.insert(order(id)).await.unwrap();
        }
        tail += more as u64;
        for db in [bucket.reader().await, bucket.writer().await] {
            // FORMAT, HEAD, the checkpoint, the commits after it, the one that is not there, and the
            // beginning of the checkpoint's commit.
            assert_eq!(
                numbers(db.requests()),
                (0, 4 + tail + 1, 0, 0, 0),
                "{tail} commits after the checkpoint"
            );
            assert_eq!(db.order.all().count().await.unwrap(), 200 + tail);
        }
    }
    // Without the hint two listings take its place.
    let head = "orders/HEAD".into();
    parquedb::object_store::ObjectStoreExt::delete(bucket.inner.as_ref(), &head).await.unwrap();
    let db = bucket.reader().await;
    assert_eq!(numbers(db.requests()), (0, 4 + tail + 1, 0, 2, 0));
}

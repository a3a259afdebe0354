//! Changes on every side of a reference, in the orders in which they are easily lost. After each, every view
//! holds what its definition gives, computed again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use parquedb::{Collection, Freshness, Ref, database, views};

#[derive(Collection, Debug, Clone, PartialEq)]
#[collection(key = id)]
pub(crate) struct Region {
    pub(crate) id: i64,
    pub(crate) name: String,
}

#[derive(Collection, Debug, Clone, PartialEq)]
#[collection(key = id)]
pub(crate) struct Customer {
    pub(crate) id: i64,
    pub(crate) tier: String,
    pub(crate) region: Option<Ref<Region>>,
}

#[derive(Collection, Debug, Clone, PartialEq)]
#[collection(key = id)]
pub(crate) struct Order {
    pub(crate) id: i64,
    pub(crate) customer: Ref<Customer>,
    pub(crate) total: i64,
}

views! {
    /// One row for each order, with what it refers to and what that refers to.
    pub(crate) Enriched: {
        $from: Order,
        $select: { id, total, tier: customer.tier, region: customer.region.name },
    }
    /// Only orders whose customer is there.
    pub(crate) Gold: { $from: Order, $filter: customer.tier == "gold", $select: { id, total } }
    pub(crate) PerRegion: {
        $from: Order,
        $groupBy: [{ region: customer.region.name }],
        $compute: { orders: $count(*), total: $sum(total), tiers: $countDistinct(customer.tier) },
    }
    /// An aggregate that cannot take rows back.
    pub(crate) Least: {
        $from: Order,
        $groupBy: [{ tier: customer.tier }],
        $compute: { least: $min(total), most: $max(total) },
    }
    /// The same source by two ways, and then both together.
    pub(crate) PerCustomer: { $from: Order, $groupBy: [customer], $compute: { total: $sum(total) } }
    pub(crate) Diamond: {
        $from: PerCustomer,
        $groupBy: [{ tier: customer.tier }],
        $compute: { customers: $count(*), total: $sum(total), most: $max(total) },
    }
    pub(crate) LaterEnriched: {
        $from: Order,
        $select: { id, total, tier: customer.tier, region: customer.region.name },
        $refresh: { mode: manual },
    }
    pub(crate) LaterRegions: {
        $from: LaterEnriched,
        $groupBy: [region],
        $compute: { orders: $count(*), total: $sum(total) },
        $refresh: { mode: manual },
    }
}

database! {
    pub(crate) struct Shop {
        Region, Customer, Order,
        Enriched, Gold, PerRegion, Least, PerCustomer, Diamond, LaterEnriched, LaterRegions,
    }
}

fn order(id: i64, customer: i64, total: i64) -> Order {
    Order { id, customer: Ref::new(customer), total }
}

fn customer(id: i64, tier: &str, region: impl Into<Option<i64>>) -> Customer {
    Customer { id, tier: tier.to_owned(), region: region.into().map(Ref::new) }
}

fn region(id: i64, name: &str) -> Region {
    Region { id, name: name.to_owned() }
}

async fn all_exact(db: &Shop, step: &str) {
    macro_rules! exact {
        ($($view:ident),*) => {$(
            let found = db.$view.verify().await.unwrap();
            assert!(found.is_exact(), "after {step}: {found}");
        )*};
    }
    exact!(enriched, gold, per_region, least, per_customer, diamond, later_enriched, later_regions);
    for status in db.status().await.unwrap() {
        let streams = !status.name.starts_with("Later");
        assert!(!streams || status.freshness == Freshness::Fresh, "after {step}: {status:?}");
    }
    // What a stale view has not absorbed is the same as what the streaming one has.
    let mut fresh = db.later_enriched.all().fresh().await.unwrap();
    let mut streamed = db.enriched.all().await.unwrap();
    fresh.sort_by_key(|row| row.id);
    streamed.sort_by_key(|row| row.id);
    assert_eq!(format!("{fresh:?}").replace("LaterEnriched", "Enriched"), format!("{streamed:?}"), "{step}");
}

async fn tier_of(db: &Shop, id: i64) -> Option<String> {
    db.enriched.find(|row| row.id.eq(id)).first().await.unwrap().unwrap().tier
}

async fn traps(url: &str, flush_after_commits: u64) {
    let builder = Shop::builder().log_options(|options| options.flush_after_commits = flush_after_commits);
    let db = builder.open(url).await.unwrap();
    db.later_regions.refresh().await.unwrap();

    // What an order refers to comes after it: and what that refers to, after both.
    db.order.insert_many([order(1, 10, 5), order(2, 10, 7), order(3, 11, 9)]).await.unwrap();
    all_exact(&db, "orders before their customers").await;
    assert_eq!(tier_of(&db, 1).await, None);
    assert_eq!(db.gold.all().count().await.unwrap(), 0);
    db.customer.insert_many([customer(10, "gold", 1), customer(11, "free", None)]).await.unwrap();
    all_exact(&db, "customers after their orders").await;
    assert_eq!(tier_of(&db, 1).await.as_deref(), Some("gold"));
    assert_eq!(db.gold.all().count().await.unwrap(), 2);
    db.region.insert(region(1, "north")).await.unwrap();
    all_exact(&db, "a region after its customers").await;
    db.later_regions.refresh().await.unwrap();
    all_exact(&db, "a refresh").await;

    // All in one commit, and a change of each side in one commit.
    let mut batch = db.batch();
    batch.insert(&db.order, [order(4, 12, 100)]).unwrap();
    batch.insert(&db.customer, [customer(12, "gold", 2)]).unwrap();
    batch.insert(&db.region, [region(2, "south")]).unwrap();
    batch.commit().await.unwrap();
    all_exact(&db, "all at once").await;
    let mut batch = db.batch();
    batch.upsert(&db.order, [order(1, 12, 6), order(5, 10, 1)]).unwrap();
    batch.upsert(&db.customer, [customer(12, "silver", 1), customer(10, "gold", 2)]).unwrap();
    batch.update(&db.region, |row| row.id.eq(1), |row| row.name.set("upper")).unwrap();
    batch.commit().await.unwrap();
    all_exact(&db, "every side at once").await;

    // A customer goes and comes back.
    db.customer.delete(|row| row.id.eq(10)).await.unwrap();
    all_exact(&db, "a customer gone").await;
    assert_eq!(tier_of(&db, 2).await, None);
    db.later_regions.refresh().await.unwrap();
    db.customer.insert(customer(10, "gold", 1)).await.unwrap();
    all_exact(&db, "the customer back").await;
    assert_eq!(tier_of(&db, 2).await.as_deref(), Some("gold"));

    // The least of a group goes; a group is emptied and comes back.
    db.order.delete(|row| row.total.le(1)).await.unwrap();
    all_exact(&db, "the least gone").await;
    db.order.delete(|row| row.customer.eq(11)).await.unwrap();
    all_exact(&db, "an emptied group").await;
    assert!(db.least.find(|row| row.tier.eq("free")).first().await.unwrap().is_none());
    db.order.insert(order(3, 11, 4)).await.unwrap();
    all_exact(&db, "the group back").await;

    // Orphans, and what they refer to changing hands twice before a refresh.
    db.order.insert(order(6, 99, 50)).await.unwrap();
    all_exact(&db, "an orphan").await;
    for tier in ["a", "b", "a"] {
        db.customer.upsert(customer(99, tier, 2)).await.unwrap();
        all_exact(&db, "a customer who changes").await;
    }
    db.maintain().await.unwrap();
    all_exact(&db, "maintenance").await;
    db.later_regions.refresh().await.unwrap();
    all_exact(&db, "the last refresh").await;
    db.customer.delete(|row| row.id.ge(0)).await.unwrap();
    db.region.delete(|row| row.id.ge(0)).await.unwrap();
    all_exact(&db, "everything referred to gone").await;
}

#[tokio::test]
async fn no_change_of_a_joined_row_is_lost() {
    traps("memory:///", 1000).await;
}

#[tokio::test]
async fn no_change_of_a_joined_row_in_files_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    traps(folder.path().to_str().unwrap(), 1).await;
}

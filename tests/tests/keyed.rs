//! Collections with a key: what may be written, and that views follow.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use parquedb::{Collection, ErrorKind, Freshness, database, views};

#[derive(Collection, Debug, Clone, PartialEq)]
#[collection(key = id, version = version)]
pub(crate) struct Order {
    pub id: i64,
    pub customer: String,
    pub status: String,
    pub total: i64,
    pub weight: f64,
    pub tags: Vec<String>,
    pub note: Option<String>,
    pub version: i64,
}

views! {
    pub(crate) Open: { $from: Order, $filter: status != "done", $select: { customer, total } }
    pub(crate) Tags: { $from: Order, $unnest: tags, $select: { id, tag: tags } }
    pub(crate) ByCustomer: {
        $from: Order,
        $groupBy: [customer],
        $compute: { orders: $count(*), total: $sum(total), noted: $count(note), kinds: $countDistinct(status) },
    }
    pub(crate) Extremes: {
        $from: Order,
        $groupBy: [status],
        $compute: { least: $min(total), most: $max(total), heavy: $max(weight), mean: $avg(weight) },
    }
    pub(crate) Overall: { $from: Order, $compute: { orders: $count(*), least: $min(total) } }
    pub(crate) BySize: {
        $from: ByCustomer,
        $groupBy: [orders],
        $compute: { customers: $count(*), total: $sum(total), best: $max(total) },
    }
    pub(crate) Large: { $from: ByCustomer, $filter: total > 100, $select: { customer, total } }
    pub(crate) Later: {
        $from: Order,
        $groupBy: [customer],
        $compute: { orders: $count(*), total: $sum(total), most: $max(total) },
        $refresh: { mode: manual },
    }
    pub(crate) LaterTags: { $from: Tags, $groupBy: [tag], $compute: { n: $count(*) }, $refresh: { mode: manual } }
    pub(crate) LaterBoth: {
        $from: Later,
        $groupBy: [orders],
        $compute: { customers: $count(*), most: $max(most) },
        $refresh: { mode: manual },
    }
}

database! {
    pub(crate) struct Shop {
        Order, Open, Tags, ByCustomer, Extremes, Overall, BySize, Large, Later, LaterTags, LaterBoth,
    }
}

fn order(id: i64, customer: &str, total: i64) -> Order {
    Order {
        id,
        customer: customer.to_owned(),
        status: if total % 2 == 0 { "paid" } else { "new" }.to_owned(),
        total,
        weight: total as f64 / 8.0,
        tags: vec![format!("t{}", total % 3), "all".to_owned()],
        note: (total % 5 == 0).then(|| "gift".to_owned()),
        version: 1,
    }
}

async fn all_exact(db: &Shop) {
    macro_rules! exact {
        ($($view:ident),*) => {$(
            let found = db.$view.verify().await.unwrap();
            assert!(found.is_exact(), "{found}");
        )*};
    }
    exact!(open, tags, by_customer, extremes, overall, by_size, large, later, later_tags, later_both);
    for status in db.status().await.unwrap() {
        let streams = !status.name.starts_with("Later");
        assert!(!streams || status.freshness == Freshness::Fresh, "{status:?}");
    }
}

#[tokio::test]
async fn rows_change_and_views_follow() {
    views_follow("memory:///", 1000).await;
}

#[tokio::test]
async fn rows_in_files_change_and_views_follow() {
    let folder = tempfile::tempdir().unwrap();
    views_follow(folder.path().to_str().unwrap(), 1).await;
}

async fn views_follow(url: &str, flush_after_commits: u64) {
    let builder = Shop::builder().log_options(|options| options.flush_after_commits = flush_after_commits);
    let db = builder.open(url).await.unwrap();
    db.order.insert_many([order(1, "ann", 10), order(2, "ann", 95), order(3, "bob", 7)]).await.unwrap();
    all_exact(&db).await;
    db.later_both.refresh().await.unwrap();
    db.later_tags.refresh().await.unwrap();

    // A key that is there cannot be inserted again, and nothing of the batch is written.
    let error = db.order.insert_many([order(4, "eve", 1), order(2, "ann", 1)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("(id = 2)"), "{error}");
    let error = db.order.insert_many([order(5, "eve", 1), order(5, "eve", 2)]).await.unwrap_err();
    assert!(error.to_string().contains("(id = 5)"), "{error}");
    assert_eq!(db.order.all().count().await.unwrap(), 3);

    // The highest version wins, whatever the order.
    let newer = Order { version: 3, ..order(2, "ann", 40) };
    db.order.upsert_many([newer.clone(), Order { version: 2, ..order(2, "ann", 41) }]).await.unwrap();
    db.order.upsert(Order { version: 2, ..order(2, "eve", 42) }).await.unwrap();
    assert_eq!(db.order.find(|row| row.id.eq(2)).first().await.unwrap(), Some(newer.clone()));
    let before = db.seq();
    db.order.upsert(newer).await.unwrap();
    assert_eq!(db.seq(), before, "the same row again changes nothing, and writes nothing");
    all_exact(&db).await;
    let extremes = db.extremes.all().order_by(|row| row.status.asc()).await.unwrap();
    assert_eq!(extremes.iter().map(|row| (row.least, row.most)).collect::<Vec<_>>(), [(7, 7), (10, 40)]);

    let updated = db.order.update(
        |row| row.customer.eq("ann"),
        |row| [row.total.add(100), row.status.set("done"), row.tags.push("x"), row.note.unset()],
    );
    updated.await.unwrap();
    let ann = db.order.find(|row| row.customer.eq("ann")).order_by(|row| row.id.asc()).await.unwrap();
    assert_eq!(ann.iter().map(|row| row.total).collect::<Vec<_>>(), [110, 140]);
    assert!(
        ann.iter().all(|row| row.status == "done" && row.tags.last().unwrap() == "x" && row.note.is_none())
    );
    all_exact(&db).await;
    let error = db.order.update(|row| row.id.eq(1), |row| row.id.set(9)).await.unwrap_err();
    assert!(error.to_string().contains("part of the key"), "{error}");
    let error = db.order.update(|row| row.id.eq(1), |row| row.total.add(i64::MAX)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");

    // What the manual views have not absorbed yet is computed for one query.
    let fresh = db.later.all().fresh().order_by(|row| row.customer.asc()).await.unwrap();
    assert_eq!(fresh.iter().map(|row| (row.total, row.most)).collect::<Vec<_>>(), [(250, 140), (7, 7)]);
    let stale = db.later.all().order_by(|row| row.customer.asc()).await.unwrap();
    assert_eq!(stale.iter().map(|row| row.total).collect::<Vec<_>>(), [105, 7]);
    let both = db.later_both.all().fresh().order_by(|row| row.orders.asc()).await.unwrap();
    assert_eq!(both.iter().map(|row| (row.orders, row.most)).collect::<Vec<_>>(), [(1, 7), (2, 140)]);
    all_exact(&db).await;

    // An emptied group goes, and comes back.
    db.order.delete(|row| row.customer.eq("bob")).await.unwrap();
    assert_eq!(db.by_customer.all().count().await.unwrap(), 1);
    all_exact(&db).await;
    db.order.insert(order(3, "bob", 9)).await.unwrap();
    assert_eq!(db.by_customer.all().count().await.unwrap(), 2);
    all_exact(&db).await;
    db.later_both.refresh().await.unwrap();
    db.later_tags.refresh().await.unwrap();
    all_exact(&db).await;
    assert!(db.status().await.unwrap().iter().all(|status| status.freshness == Freshness::Fresh));
    db.maintain().await.unwrap();
    all_exact(&db).await;
    db.order.delete(|row| row.id.ge(0)).await.unwrap();
    all_exact(&db).await;
    assert_eq!(db.overall.all().await.unwrap()[0].least, None);
}

#[tokio::test]
async fn changes_of_one_commit_follow_each_other() {
    let db = Shop::open("memory:///").await.unwrap();
    db.order.insert_many([order(1, "ann", 10), order(2, "bob", 20)]).await.unwrap();
    let mut batch = db.batch();
    batch.insert(&db.order, [order(3, "eve", 30)]).unwrap();
    batch.update(&db.order, |row| row.total.ge(20), |row| row.customer.set("all")).unwrap();
    batch.delete(&db.order, |row| row.id.eq(2)).unwrap();
    batch.insert(&db.order, [order(2, "new", 5)]).unwrap();
    batch.delete_rows(&db.order, [order(1, "", 0)]).unwrap();
    batch.commit().await.unwrap();
    let rows = db.order.all().order_by(|row| row.id.asc()).await.unwrap();
    assert_eq!(
        rows.iter().map(|row| (row.id, row.customer.as_str())).collect::<Vec<_>>(),
        [(2, "new"), (3, "all")]
    );
    all_exact(&db).await;
}

#[tokio::test]
async fn a_collection_without_a_key_says_what_it_needs() {
    #[derive(Collection, Debug, Clone)]
    pub(crate) struct Line {
        pub text: String,
    }
    database! { pub(crate) struct Lines { Line } }
    let db = Lines::open("memory:///").await.unwrap();
    let error = db.line.upsert(Line { text: "a".to_owned() }).await.unwrap_err();
    assert!(error.to_string().contains("#[collection(key = id)]"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(db.line.delete(|row| row.text.eq("a")).await.is_err());
}

#[tokio::test]
async fn a_view_says_what_changes_cost() {
    let db = Shop::open("memory:///").await.unwrap();
    insta::assert_snapshot!(db.extremes.explain().await.unwrap());
    insta::assert_snapshot!(db.by_customer.explain().await.unwrap());
    insta::assert_snapshot!(db.tags.explain().await.unwrap());
}

#[tokio::test]
async fn a_strict_view_is_not_accepted_when_groups_would_be_computed_again() {
    views! {
        pub(crate) Least: {
            $from: Order, $groupBy: [status], $compute: { least: $min(total) }, $refresh: { incremental: strict },
        }
        pub(crate) Kinds: {
            $from: Order, $groupBy: [status], $compute: { kinds: $uniq(total) }, $refresh: { incremental: strict },
        }
        pub(crate) Count: {
            $from: Order, $groupBy: [status], $compute: { n: $count(*) }, $refresh: { incremental: strict },
        }
    }
    database! { pub(crate) struct Bad { Order, Least } }
    database! { pub(crate) struct Worse { Order, Kinds } }
    database! { pub(crate) struct Good { Order, Count } }
    let error = Bad::open("memory:///").await.err().unwrap();
    assert!(error.to_string().contains("`least` can take rows back only while one of the 8 best"), "{error}");
    let error = Worse::open("memory:///").await.err().unwrap();
    assert!(error.to_string().contains("`kinds` cannot take rows back"), "{error}");
    Good::open("memory:///").await.unwrap();
}

views! {
    pub(crate) Heaviest: { $from: Order, $compute: { weight: $max(weight), late: $min(status) } }
    /// A view over the one row of another.
    pub(crate) Known: {
        $from: Heaviest,
        $compute: { rows: $count(*), known: $count(weight), mean: $avg(weight, $filter: late != "done") },
    }
    pub(crate) KnownLater: { $from: Heaviest, $compute: { rows: $count(*) }, $refresh: { mode: manual } }
}

database! { pub(crate) struct Scales { Order, Heaviest, Known, KnownLater } }

#[tokio::test]
async fn a_view_without_keys_has_a_row_over_nothing() {
    let db = Scales::open("memory:///").await.unwrap();
    assert_eq!(db.known.all().await.unwrap(), [Known { rows: 1, known: 0, mean: None }]);
    assert_eq!(db.known_later.all().await.unwrap(), [KnownLater { rows: 1 }]);
    db.order.insert(order(1, "ann", 16)).await.unwrap();
    assert_eq!(db.known.all().await.unwrap(), [Known { rows: 1, known: 1, mean: Some(2.0) }]);
    db.order.delete(|row| row.id.eq(1)).await.unwrap();
    assert_eq!(db.known.all().await.unwrap(), [Known { rows: 1, known: 0, mean: None }]);
    assert!(db.known.verify().await.unwrap().is_exact());
}

//! `$expand`: rows with those they refer to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use parquedb::arrow::array::RecordBatch;
use parquedb::arrow::datatypes::Schema;
use parquedb::arrow::util::pretty::pretty_format_batches;
use parquedb::declare::definition::Definition;
use parquedb::{Collection, Connection, Database, Ref, Row, database, views};
use std::sync::Arc;

#[derive(Collection, Clone, Debug, PartialEq)]
#[collection(key = id)]
pub(crate) struct Address {
    pub(crate) id: String,
    pub(crate) city: String,
    pub(crate) at: Point,
}

#[derive(Collection, Clone, Debug, PartialEq)]
pub(crate) struct Point {
    pub(crate) x: i64,
    pub(crate) y: Option<i64>,
}

#[derive(Collection, Clone, Debug, PartialEq)]
#[collection(key = id)]
pub(crate) struct Customer {
    #[collection(rename = "key")]
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) tier: Option<String>,
    pub(crate) address: Option<Ref<Address>>,
    pub(crate) tags: Vec<String>,
}

#[derive(Collection, Clone, Debug, PartialEq)]
#[collection(key = id)]
pub(crate) struct Order {
    pub(crate) id: String,
    pub(crate) total: i64,
    pub(crate) customer: Option<Ref<Customer>>,
    pub(crate) gift_for: Vec<Ref<Customer>>,
}

views! {
    /// Orders with who made them.
    pub(crate) Full: {
        $from: Order,
        $filter: { total: { $gt: 0 } },
        $expand: [customer, customer.address],
    }
    /// The same under other names.
    pub(crate) Renamed: {
        $from: Order,
        $expand: [customer, customer.address, gift_for[0]],
        $flatten: { customer: buyer, customer.address: shipping, gift_for[0]: friend },
    }
    pub(crate) Named: {
        $from: Order,
        $expand: [customer, customer.address],
        $flatten: { customer: buyer, customer.address: shipping },
        $where: buyer.tier != "silver",
        $select: { id, n: buyer.name, c: shipping.city, x: shipping.at.x, t: customer.tier, buyer },
    }
    /// A part of the name is that of the longest part of the path that has one.
    pub(crate) Prefixed: {
        $from: Order,
        $expand: [customer, customer.address],
        $flatten: { customer: buyer },
        $select: { id, city: buyer_address.city },
    }
    pub(crate) PerTier: {
        $from: Order,
        $expand: [customer],
        $flatten: { customer: buyer },
        $groupBy: [buyer.tier],
        $compute: { orders: $count(*), total: $sum(total), names: $collect(buyer.name) },
    }
    pub(crate) Tags: {
        $from: Order,
        $expand: [customer],
        $flatten: { customer: buyer },
        $unnest: buyer.tags,
        $select: { id, tag: buyer.tags, name: buyer.name },
    }
    /// Over rows that were expanded.
    pub(crate) Cities: {
        $from: Renamed,
        $filter: { shipping: { $exists: true } },
        $select: { id, total, city: shipping.city, friend_name: friend.name, buyer, shipping },
    }
    pub(crate) Again: { $from: Renamed, $filter: { buyer.tier: "gold" } }
    pub(crate) AgainPerTier: {
        $from: Again,
        $groupBy: [buyer.tier],
        $compute: { orders: $count(*), ys: $sum(shipping.at.y) },
    }
}

database! {
    pub(crate) struct Shop {
        Address, Customer, Order, Full, Renamed, Named, Prefixed, PerTier, Tags, Cities, Again, AgainPerTier,
    }
}

fn customer(id: &str, name: &str, tier: Option<&str>, address: Option<&str>) -> Customer {
    Customer {
        id: id.into(),
        name: name.into(),
        tier: tier.map(Into::into),
        address: address.map(Ref::from),
        tags: vec![format!("{name} 1"), format!("{name} 2")],
    }
}

fn order(id: &str, total: i64, customer: Option<&str>) -> Order {
    Order { id: id.into(), total, customer: customer.map(Ref::from), gift_for: Vec::new() }
}

fn oslo() -> Address {
    Address { id: "a1".into(), city: "Oslo".into(), at: Point { x: 7, y: None } }
}

async fn shop() -> Shop {
    let db = Shop::open("memory:///").await.unwrap();
    let mut third = order("o3", 30, None);
    third.gift_for = vec!["c1".into(), "c2".into()];
    db.order.insert_many([order("o1", 10, Some("c1")), order("o2", 20, Some("c9")), third]).await.unwrap();
    db.customer.insert_many([customer("c1", "Ann", Some("gold"), Some("a1"))]).await.unwrap();
    db.address.insert_many([oslo()]).await.unwrap();
    db
}

async fn verify(db: &Shop) {
    for view in ["Full", "Renamed", "Named", "Prefixed", "PerTier", "Tags", "Cities", "Again", "AgainPerTier"]
    {
        let verification = db.verify(view, None).await.unwrap();
        assert!(verification.is_exact(), "{verification}");
    }
}

#[tokio::test]
async fn rows_come_with_those_they_refer_to() {
    let db = shop().await;
    let rows = db.full.all().order_by(|row| row.id.asc()).await.unwrap();
    let ann = customer("c1", "Ann", Some("gold"), Some("a1"));
    assert_eq!(
        rows,
        [
            Full {
                row: order("o1", 10, Some("c1")),
                customer: Some(ann.clone()),
                customer_address: Some(oslo())
            },
            Full { row: order("o2", 20, Some("c9")), customer: None, customer_address: None },
            Full { row: rows[2].row.clone(), customer: None, customer_address: None },
        ]
    );
    assert_eq!(
        (rows[0].total, rows[0].row.customer.clone()),
        (10, Some("c1".into())),
        "the row is the source's"
    );
    let rows = db.renamed.all().order_by(|row| row.id.asc()).await.unwrap();
    assert_eq!(rows[0].shipping.as_ref().map(|address| address.city.as_str()), Some("Oslo"));
    assert_eq!((rows[0].buyer.clone(), rows[0].friend.clone()), (Some(ann.clone()), None));
    assert_eq!((rows[2].buyer.clone(), rows[2].friend.clone()), (None, Some(ann)));
    verify(&db).await;
}

#[tokio::test]
async fn columns_are_flat_and_named_with_a_prefix() {
    let db = shop().await;
    let columns = |batches: &[RecordBatch]| {
        let schema = batches[0].schema();
        schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>().join(" ")
    };
    let batches = db.full.all().batches().await.unwrap();
    assert_eq!(
        columns(&batches),
        "id total customer gift_for customer_key customer_name customer_tier customer_address customer_tags \
         customer_address_id customer_address_city customer_address_at"
    );
    let sql = "select id, buyer_name, shipping_city, shipping_at['x'] as x from renamed order by id";
    let found = db.sql(sql).await.unwrap().collect().await.unwrap();
    insta::assert_snapshot!(pretty_format_batches(&found).unwrap(), @r"
    +----+------------+---------------+---+
    | id | buyer_name | shipping_city | x |
    +----+------------+---------------+---+
    | o1 | Ann        | Oslo          | 7 |
    | o2 |            |               |   |
    | o3 |            |               |   |
    +----+------------+---------------+---+
    ");
}

#[tokio::test]
async fn expansions_are_conditions_and_sources() {
    let db = shop().await;
    let ids = |rows: Vec<Renamed>| rows.iter().map(|row| row.id.clone()).collect::<Vec<_>>();
    let find = db.renamed.find(|row| row.buyer.tier.eq("gold").and(row.total.lt(15)));
    assert_eq!(ids(find.await.unwrap()), ["o1"]);
    assert_eq!(ids(db.renamed.find(|row| row.buyer.exists()).await.unwrap()), ["o1"]);
    let missing = db.renamed.find(|row| row.buyer.exists().not().and(row.customer.exists()));
    assert_eq!(ids(missing.await.unwrap()), ["o2"], "the reference is that of the source");
    let ordered = db.renamed.all().order_by(|row| row.shipping.city.asc()).order_by(|row| row.id.desc());
    assert_eq!(ids(ordered.await.unwrap()), ["o1", "o3", "o2"]);

    let cities = db.cities.all().await.unwrap();
    assert_eq!(cities.len(), 1);
    assert_eq!((cities[0].id.as_str(), cities[0].total, cities[0].city.as_deref()), ("o1", 10, Some("Oslo")));
    assert_eq!((cities[0].shipping.clone(), &cities[0].friend_name), (Some(oslo()), &None), "a whole row");
    let again = db.again.all().await.unwrap();
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].row, db.renamed.find(|row| row.id.eq("o1")).await.unwrap()[0]);
    assert_eq!(again[0].buyer.as_ref().map(|buyer| buyer.name.as_str()), Some("Ann"));
    let tiers = db.again_per_tier.all().await.unwrap();
    assert_eq!(tiers, [AgainPerTier { tier: Some("gold".into()), orders: 1, ys: 0 }]);
}

#[tokio::test]
async fn names_of_expansions_are_paths_in_the_view() {
    let db = shop().await;
    let mut named = db.named.all().order_by(|row| row.id.asc()).await.unwrap();
    assert_eq!(named.len(), 3, "`$where` keeps rows without a row: {named:?}");
    let first = named.remove(0);
    let buyer = Some("c1".into());
    let (n, c, x, t) = (Some("Ann".into()), Some("Oslo".into()), Some(7), Some("gold".into()));
    assert_eq!(first, Named { id: "o1".into(), n, c, x, t, buyer });
    let mut prefixed = db.prefixed.all().await.unwrap();
    prefixed.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(prefixed[0], Prefixed { id: "o1".into(), city: Some("Oslo".into()) });
    let mut tiers = db.per_tier.all().await.unwrap();
    tiers.sort_by(|a, b| a.tier.cmp(&b.tier));
    let gold = PerTier { tier: Some("gold".into()), orders: 1, total: 10, names: vec!["Ann".into()] };
    assert_eq!(tiers, [PerTier { tier: None, orders: 2, total: 50, names: vec![] }, gold]);
    let mut tags = db.tags.all().await.unwrap();
    tags.sort_by(|a, b| a.tag.cmp(&b.tag));
    let tag = |tag: &str| Tags { id: "o1".into(), tag: tag.into(), name: Some("Ann".into()) };
    assert_eq!(tags, [tag("Ann 1"), tag("Ann 2")]);
}

#[tokio::test]
async fn changes_of_the_rows_referred_to_reach_the_view() {
    let db = shop().await;
    db.customer.update(|row| row.id.eq("c1"), |row| row.name.set("Anna")).await.unwrap();
    db.customer.insert_many([customer("c9", "Zoe", None, Some("a9"))]).await.unwrap();
    verify(&db).await;
    let names = |rows: Vec<Full>| {
        rows.into_iter().map(|row| row.customer.map(|found| found.name)).collect::<Vec<_>>()
    };
    let rows = db.full.all().order_by(|row| row.id.asc()).await.unwrap();
    assert_eq!(names(rows), [Some("Anna".into()), Some("Zoe".into()), None]);
    db.address.insert_many([Address { id: "a9".into(), ..oslo() }]).await.unwrap();
    verify(&db).await;
    let rows = db.full.all().order_by(|row| row.id.asc()).await.unwrap();
    assert_eq!(rows[1].customer_address, Some(Address { id: "a9".into(), ..oslo() }));
    db.customer.delete(|row| row.id.eq("c1")).await.unwrap();
    db.order.update(|row| row.id.eq("o2"), |row| row.total.set(0)).await.unwrap();
    verify(&db).await;
    let rows = db.full.all().order_by(|row| row.id.asc()).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["o1", "o3"]);
    assert_eq!((&rows[0].customer, &rows[0].customer_address), (&None, &None));
}

#[tokio::test]
async fn rows_become_batches_and_back() {
    let db = shop().await;
    let rows = db.full.all().await.unwrap();
    assert_eq!(Full::from_batch(&Full::to_batch(&rows).unwrap()).unwrap(), rows);
}

#[tokio::test]
async fn columns_of_one_name_are_an_error() {
    let mut definitions = Shop::definitions();
    let full = definitions.iter_mut().find(|definition| definition.name() == "Full").unwrap();
    let Definition::View(view) = full else { panic!("it is a view") };
    let fields = view.schema.fields().iter().map(|field| match field.name().as_str() {
        "customer_name" => Arc::new(field.as_ref().clone().with_name("total")),
        _ => Arc::clone(field),
    });
    view.schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let error = Connection::builder().with_definitions(definitions).open("memory:///").await.unwrap_err();
    assert!(error.to_string().contains("`Full` has two columns `total`"), "{error}");
}

//! References that are looked up as of ingest: a row keeps what was true when it came.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use parquedb::declare::definition::Definition;
use parquedb::testing::Random;
use parquedb::{Collection, CompactOptions, Connection, Database, Freshness, Ref, database, views};
use std::collections::BTreeMap;

#[derive(Collection, Clone, Debug, PartialEq)]
#[collection(key = id)]
pub(crate) struct Company {
    pub(crate) id: u32,
    pub(crate) name: String,
}

#[derive(Collection, Clone, Debug, PartialEq)]
#[collection(key = id)]
pub(crate) struct Customer {
    pub(crate) id: u32,
    pub(crate) tier: String,
    pub(crate) company: Option<Ref<Company>>,
}

#[derive(Collection, Clone, Debug, PartialEq)]
#[collection(key = id)]
pub(crate) struct Order {
    pub(crate) id: i64,
    pub(crate) total: i64,
    pub(crate) customer: Ref<Customer>,
    pub(crate) others: Vec<Ref<Customer>>,
}

#[derive(Collection, Clone, Debug, PartialEq)]
pub(crate) struct Visit {
    pub(crate) total: i64,
    pub(crate) customer: Ref<Customer>,
}

views! {
    pub(crate) Sold: {
        $from: Order,
        $expand: { customer: asOf, customer.company: asOf },
        $flatten: { customer: buyer },
    }
    /// The customer of then, and the company as it is.
    pub(crate) Mixed: {
        $from: Order,
        $expand: { customer: asOf, customer.company: live },
        $select: { id, tier: customer.tier, company: customer_company.name },
    }
    pub(crate) PerTier: {
        $from: Order,
        $expand: { customer: asOf },
        $groupBy: [customer.tier],
        $compute: { orders: $count(*), total: $sum(total), most: $max(total) },
    }
    /// `$filter` sees the same customer.
    pub(crate) OfGold: {
        $from: Order,
        $filter: { customer.tier: "gold" },
        $expand: { customer: asOf },
        $select: { id },
        $refresh: { mode: manual },
    }
    pub(crate) Later: {
        $from: [Order, Visit],
        $expand: { customer: asOf },
        $groupBy: [{ what: $source }, { tier: customer.tier }],
        $compute: { rows: $count(*), total: $sum(total) },
        $refresh: { mode: manual },
    }
    pub(crate) Others: {
        $from: Order,
        $expand: { customer: asOf },
        $unnest: others,
        $select: { id, other: others.tier, tier: customer.tier },
    }
    pub(crate) OverSold: {
        $from: Sold,
        $groupBy: [buyer.tier],
        $compute: { orders: $count(*) },
    }
}

database! {
    pub(crate) struct Shop {
        Company, Customer, Order, Visit, Sold, Mixed, PerTier, OfGold, Later, Others, OverSold,
    }
}

fn customer(id: u32, tier: &str, company: Option<u32>) -> Customer {
    Customer { id, tier: tier.into(), company: company.map(Ref::new) }
}

fn order(id: i64, customer: u32) -> Order {
    Order {
        id,
        total: id * 10,
        customer: Ref::new(customer),
        others: vec![Ref::new(customer), Ref::new(2u32)],
    }
}

const VIEWS: [&str; 7] = ["Sold", "Mixed", "PerTier", "OfGold", "Later", "Others", "OverSold"];

async fn verify(db: &Connection, what: &str) {
    for view in VIEWS {
        let verification = db.verify(view, None).await.unwrap();
        assert!(verification.is_exact(), "{what}: {verification}");
    }
}

async fn refresh(db: &Shop) {
    db.of_gold.refresh().await.unwrap();
    db.later.refresh().await.unwrap();
}

async fn sold(db: &Shop) -> Vec<(i64, Option<String>, Option<String>)> {
    let rows = db.sold.all().order_by(|row| row.id.asc()).await.unwrap();
    rows.into_iter()
        .map(|row| (row.id, row.buyer.map(|found| found.tier), row.buyer_company.map(|found| found.name)))
        .collect()
}

fn row(id: i64, tier: Option<&str>, company: Option<&str>) -> (i64, Option<String>, Option<String>) {
    (id, tier.map(Into::into), company.map(Into::into))
}

#[tokio::test]
async fn rows_keep_what_was_true_when_they_came() {
    let db = Shop::open("memory:///").await.unwrap();
    refresh(&db).await;
    db.order.insert(order(1, 1)).await.unwrap();
    let mut batch = db.batch();
    batch.insert(&db.order, [order(2, 1)]).unwrap();
    batch.insert(&db.customer, [customer(1, "silver", Some(1))]).unwrap();
    batch.insert(&db.company, [Company { id: 1, name: "One".into() }]).unwrap();
    batch.commit().await.unwrap();
    db.customer.upsert(customer(1, "gold", Some(1))).await.unwrap();
    db.company.upsert(Company { id: 1, name: "Uno".into() }).await.unwrap();
    db.order.insert(order(3, 1)).await.unwrap();
    db.customer.delete(|row| row.id.eq(1)).await.unwrap();
    db.order.insert(order(4, 1)).await.unwrap();
    let all = [
        row(1, None, None),
        row(2, Some("silver"), Some("One")),
        row(3, Some("gold"), Some("Uno")),
        row(4, None, None),
    ];
    assert_eq!(sold(&db).await, all, "what came in the same commit counts, what comes later does not");
    let status = db.status().await.unwrap();
    let status = status.iter().find(|status| status.name == "Sold").unwrap();
    assert_eq!(status.freshness, Freshness::Fresh);
    refresh(&db).await;
    let gold = db.of_gold.all().await.unwrap();
    assert_eq!(gold, [OfGold { id: 3 }], "a view that is refreshed later sees what was true then");
    let mut later = db.later.all().await.unwrap();
    later.sort_by(|a, b| a.tier.cmp(&b.tier));
    let totals = later.iter().map(|row| (row.tier.as_deref(), row.total)).collect::<Vec<_>>();
    assert_eq!(totals, [(None, 50), (Some("gold"), 30), (Some("silver"), 20)]);
    verify(&db, "after changes of what rows refer to").await;

    // The company is live, so it is that of the customer of then.
    db.company.upsert(Company { id: 1, name: "Eins".into() }).await.unwrap();
    let mixed = db.mixed.all().order_by(|row| row.id.asc()).await.unwrap();
    let companies = mixed.iter().map(|row| row.company.as_deref()).collect::<Vec<_>>();
    assert_eq!(companies, [None, Some("Eins"), Some("Eins"), None]);
    verify(&db, "a live reference behind").await;

    // A row that goes takes away what it gave, and one that changes comes anew.
    db.order.delete(|row| row.id.eq(2)).await.unwrap();
    db.customer.insert(customer(1, "bronze", None)).await.unwrap();
    db.order.update(|row| row.id.eq(3), |row| row.total.add(1)).await.unwrap();
    assert_eq!(sold(&db).await, [all[0].clone(), row(3, Some("bronze"), None), all[3].clone()]);
    let mut tiers = db.per_tier.all().await.unwrap();
    tiers.sort_by(|a, b| a.tier.cmp(&b.tier));
    let bronze = PerTier { tier: Some("bronze".into()), orders: 1, total: 31, most: 31 };
    assert_eq!(tiers, [PerTier { tier: None, orders: 2, total: 50, most: 40 }, bronze]);
    verify(&db, "after changes of rows").await;
    refresh(&db).await;
    verify(&db, "after a refresh of them").await;

    // Built anew, a view is the same: the past is kept.
    let before = sold(&db).await;
    db.sold.rebuild().await.unwrap();
    assert_eq!(sold(&db).await, before);
    let explanation = db.sold.explain().await.unwrap().to_string();
    assert!(explanation.contains("rows keep what they referred to when they came"), "{explanation}");
}

/// What [`Sold`] must hold, by a plain model: each order with its customer and company of then.
#[derive(Default)]
struct Model {
    companies: BTreeMap<u32, Company>,
    customers: BTreeMap<u32, Customer>,
    orders: BTreeMap<i64, (Order, Option<Customer>, Option<Company>)>,
}

impl Model {
    /// Brings the orders that a commit has written, once the rest of it is there.
    fn written(&mut self, orders: Vec<Order>) {
        for order in orders {
            let customer = self.customers.get(order.customer.key()).cloned();
            let company = customer.as_ref().and_then(|customer| customer.company.as_ref());
            let company = company.and_then(|company| self.companies.get(company.key()).cloned());
            self.orders.insert(order.id, (order, customer, company));
        }
    }
}

async fn random_history(seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let open = || async {
        let builder = Shop::builder().log_options(|options| options.flush_after_commits = 4);
        builder.open(folder.path().to_str().unwrap()).await.unwrap()
    };
    let mut random = Random::new(seed);
    let (mut db, mut model) = (open().await, Model::default());
    refresh(&db).await;
    for step in 0..16 {
        let mut batch = db.batch();
        let mut orders: BTreeMap<i64, Order> = BTreeMap::new();
        let mut gone = Vec::new();
        for _ in 0..1 + random.below(4) {
            let id = u32::try_from(1 + random.below(3)).unwrap();
            match random.below(6) {
                0 => {
                    let company = Company { id, name: format!("{id} at {step}") };
                    model.companies.insert(id, company.clone());
                    batch.upsert(&db.company, [company]).unwrap();
                }
                1 | 2 => {
                    let company = random.one_in(2).then(|| Ref::new(u32::try_from(random.below(4)).unwrap()));
                    let tier = format!("{id} at {}", step % 5);
                    let customer = Customer { id, tier, company };
                    model.customers.insert(id, customer.clone());
                    batch.upsert(&db.customer, [customer]).unwrap();
                }
                3 => {
                    model.customers.remove(&id);
                    batch.delete(&db.customer, |row| row.id.eq(id)).unwrap();
                }
                4 => {
                    let id = i64::from(id);
                    orders.remove(&id);
                    gone.push(id);
                    batch.delete(&db.order, |row| row.id.eq(id)).unwrap();
                }
                _ => {
                    let mut order = order(i64::from(id), u32::try_from(1 + random.below(3)).unwrap());
                    order.total = i64::try_from(random.below(3)).unwrap();
                    gone.retain(|gone| *gone != order.id);
                    orders.insert(order.id, order.clone());
                    batch.upsert(&db.order, [order]).unwrap();
                }
            }
        }
        batch.commit().await.unwrap();
        gone.iter().for_each(|id| drop(model.orders.remove(id)));
        // A row that is written as it was does not come again.
        let is_new = |order: &Order| model.orders.get(&order.id).is_none_or(|(old, ..)| old != order);
        let new = orders.into_values().filter(is_new).collect();
        model.written(new);
        match random.below(8) {
            0 => db.of_gold.refresh().await.map(drop).unwrap(),
            1 => db.later.refresh().await.map(drop).unwrap(),
            2 => db.flush().await.unwrap(),
            3 => {
                let options =
                    CompactOptions { min_files: 2, full: random.one_in(2), ..CompactOptions::default() };
                db.compact(options).await.map(drop).unwrap();
            }
            4 => db = open().await,
            5 => db.sold.rebuild().await.map(drop).unwrap(),
            _ => {}
        }
        let rows = db.sold.all().order_by(|row| row.id.asc()).await.unwrap();
        let rows = rows.into_iter().map(|Sold { row, buyer, buyer_company }| (row, buyer, buyer_company));
        let expected = model.orders.values().cloned().collect::<Vec<_>>();
        assert_eq!(rows.collect::<Vec<_>>(), expected, "seed {seed}, step {step}");
        if step % 8 == 7 {
            verify(&db, &format!("seed {seed}, step {step}")).await;
        }
    }
    let fresh = db.later.all().fresh().await.unwrap();
    refresh(&db).await;
    let sorted = |mut rows: Vec<Later>| {
        rows.sort_by(|a, b| (&a.what, &a.tier).cmp(&(&b.what, &b.tier)));
        rows
    };
    assert_eq!(sorted(db.later.all().await.unwrap()), sorted(fresh), "seed {seed}");
    verify(&db, &format!("seed {seed}, at the end")).await;
}

#[tokio::test]
async fn rows_keep_what_was_true_through_random_histories() {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect(name));
    let first = number("PARQUEDB_SEED").unwrap_or(1);
    for seed in first..first + number("PARQUEDB_SEEDS").unwrap_or(2) {
        random_history(seed).await;
    }
}

#[tokio::test]
async fn rows_of_views_have_no_time() {
    let mut definitions = Shop::definitions();
    let sold = definitions.iter_mut().find(|definition| definition.name() == "PerTier").unwrap();
    let Definition::View(view) = sold else { panic!("it is a view") };
    view.plan.sources = vec!["Sold".into()];
    let error = Connection::builder().with_definitions(definitions).open("memory:///").await.unwrap_err();
    assert!(
        error.to_string().contains("view `PerTier` looks rows up as of ingest, but `Sold` is a view"),
        "{error}"
    );
}

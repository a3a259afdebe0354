//! What would need rows that have expired is refused, and everything else stays exact.

use super::*;
use parquedb::ErrorKind;
use parquedb::declare::definition::{Definition, Ttl};

/// Four orders, of which two have expired: 1 of 10 and 2 of 20, both of customer 1.
async fn shop(store: &Arc<dyn ObjectStore>, clock: &Arc<ManualClock>) -> Shop {
    let db: Shop = open(store, clock).await;
    let customers = [(1, "gold"), (2, "silver")];
    let customers = customers.map(|(id, tier)| Customer { id, tier: tier.to_owned() });
    db.customer.insert_many(customers).await.unwrap();
    let orders = [
        order(1, 1, 10, Some(START)),
        order(2, 1, 20, Some(START + DAY)),
        order(3, 1, 30, Some(START + 20 * DAY)),
        order(4, 2, 40, None),
        order(5, 2, 50, Some(START + 21 * DAY)),
    ];
    db.order.insert_many(orders).await.unwrap();
    clock.set(START + 32 * DAY);
    assert_eq!(db.expire().await.unwrap().rows(), 2);
    assert_eq!(sql(&db, "SELECT id FROM \"order\"").await, ["3", "4", "5"]);
    db
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_expired_rows_are_not_there() {
    let (store, clock) = (memory(), clock());
    let db = shop(&store, &clock).await;
    let tiers = async || sql(&db, "SELECT tier, orders, total FROM tiers").await;
    assert_eq!(tiers().await, ["gold 3 60", "silver 2 90"]);
    assert_eq!(sql(&db, "SELECT id FROM enriched").await, ["1", "2", "3", "4", "5"]);
    // Deleting them changes nothing.
    let seq = db.seq();
    db.order.delete(|row| row.id.lt(3)).await.unwrap();
    assert_eq!((db.seq(), tiers().await), (seq, vec!["gold 3 60".to_owned(), "silver 2 90".to_owned()]));
    // They can be inserted and upserted again, and count again.
    db.order.insert(order(1, 2, 100, None)).await.unwrap();
    assert_eq!(tiers().await, ["gold 3 60", "silver 3 190"]);
    db.order.upsert(order(2, 2, 1000, None)).await.unwrap();
    assert_eq!(tiers().await, ["gold 3 60", "silver 4 1190"]);
    assert_eq!(sql(&db, "SELECT id FROM enriched").await, ["1", "1", "2", "2", "3", "4", "5"]);
    // From then on they are rows as all others.
    let error = db.order.insert(order(1, 2, 1, None)).await.unwrap_err();
    assert!(error.to_string().contains("there already is a row with the key (id = 1)"), "{error}");
    db.order.upsert(order(3, 1, 31, Some(START + 20 * DAY))).await.unwrap();
    assert_eq!(tiers().await, ["gold 3 61", "silver 4 1190"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_expired_rows_referred_to_stays_as_it_was() {
    let (store, clock) = (memory(), clock());
    let db = shop(&store, &clock).await;
    db.customer.upsert(Customer { id: 1, tier: "silver".to_owned() }).await.unwrap();
    // Orders 1 and 2 were of a gold customer when they expired; 3 is of one who is silver now.
    assert_eq!(sql(&db, "SELECT tier, orders, total FROM tiers").await, ["gold 2 30", "silver 3 120"]);
    let enriched = sql(&db, "SELECT id, tier FROM enriched").await;
    assert_eq!(enriched, ["1 gold", "2 gold", "3 silver", "4 silver", "5 silver"]);
    db.customer.delete(|row| row.id.eq(1)).await.unwrap();
    assert_eq!(
        sql(&db, "SELECT tier, orders, total FROM tiers").await,
        [" 1 30", "gold 2 30", "silver 2 90"]
    );
    let error = db.tiers.verify().await.unwrap_err();
    assert!(error.to_string().contains("no column of it tells where they counted"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_that_may_have_expired_rows_are_not_computed_again() {
    let (store, clock) = (memory(), clock());
    let picky: Picky = open(&store, &clock).await;
    let db = shop(&store, &clock).await;
    assert_eq!(sql(&db, "SELECT orders, different FROM estimates").await, ["2 2", "3 3"]);
    picky.catch_up().await.unwrap();
    let error = picky.estimates.verify().await.unwrap_err().to_string();
    assert!(error.contains("`Estimates`: it cannot be computed again to be compared"), "{error}");
    let seq = db.seq();
    for error in [
        db.order.delete(|row| row.id.eq(3)).await.unwrap_err(),
        db.order.update(|row| row.id.eq(5), |row| row.total.add(1)).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let text = error.to_string();
        assert!(text.contains("view `Estimates`: a group of it would have to be computed again"), "{text}");
        assert!(text.contains("rows of `Order` from before 2026-01-03T00:00:00Z have expired"), "{text}");
    }
    assert_eq!(db.seq(), seq);
    // Rows may come, whatever their group.
    db.order.insert(order(6, 1, 5, Some(START + 21 * DAY))).await.unwrap();
    assert_eq!(sql(&db, "SELECT orders, different FROM estimates").await, ["2 2", "4 4"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn candidates_that_have_expired_still_count() {
    let (store, clock) = (memory(), clock());
    let choosy: Choosy = open(&store, &clock).await;
    let db = shop(&store, &clock).await;
    let best = async || sql(&db, "SELECT orders, best FROM best").await;
    assert_eq!(best().await, ["2 4", "3 1"]);
    db.order.delete(|row| row.id.eq(3)).await.unwrap();
    assert_eq!(best().await, ["2 1", "2 4"]);
    db.order.delete(|row| row.id.eq(4)).await.unwrap();
    assert_eq!(best().await, ["1 5", "2 1"]);
    choosy.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_that_cannot_have_expired_rows_are_computed_again() {
    database! { pub(crate) struct Dated { Customer, Order, EstimatesOfDay } }
    let (store, clock) = (memory(), clock());
    let db: Dated = open(&store, &clock).await;
    let orders = [
        order(1, 1, 10, Some(START + HOUR)),
        order(2, 1, 20, Some(START + 20 * DAY)),
        order(3, 1, 30, Some(START + 20 * DAY)),
        order(4, 1, 40, None),
        order(5, 1, 50, None),
    ];
    db.order.insert_many(orders).await.unwrap();
    clock.set(START + 31 * DAY);
    assert_eq!(db.expire().await.unwrap().rows(), 1);
    db.order.delete(|row| row.total.is_in([20, 40])).await.unwrap();
    let days = async || sql(&db, "SELECT day, orders, different FROM estimates_of_day").await;
    assert_eq!(days().await, [" 1 1", "2026-01-01T00:00:00Z 1 1", "2026-01-21T00:00:00Z 1 1"]);
    let found = db.estimates_of_day.verify().await.unwrap();
    assert!(found.is_exact() && found.rows == 2, "{found}");
    assert!(
        found.to_string().contains("from 2026-01-02T00:00:00Z on, before which rows have expired"),
        "{found}"
    );
    // A late order, in a group from before.
    db.order.insert(order(6, 1, 1, Some(START + 2 * HOUR))).await.unwrap();
    assert_eq!(days().await[1], "2026-01-01T00:00:00Z 2 2");
    let error = db.order.delete(|row| row.id.eq(6)).await.unwrap_err();
    assert!(error.to_string().contains("view `EstimatesOfDay`: a group of it"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_that_has_counted_expired_rows_is_not_built_anew() {
    let (store, clock) = (memory(), clock());
    let db = shop(&store, &clock).await;
    let error = db.tiers.rebuild().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let text = error.to_string();
    assert!(text.contains("view `Tiers`: it cannot be built anew: 2 rows of `Order` from before"), "{text}");
    assert!(text.contains("rebuild_from_remaining(\"Tiers\")"), "{text}");
    db.close().await.unwrap();
    // Another definition, and the same under another name: that holds what is left.
    let definition = |name: &str, having: bool| {
        let definitions = <Shop as Database>::definitions();
        let tiers = definitions.into_iter().find(|definition| definition.name() == "Tiers").unwrap();
        let Definition::View(mut view) = tiers else { panic!("it is a view") };
        (view.name, view.table) = (name.to_owned(), name.to_lowercase());
        if having {
            view.plan.filter =
                Some(parquedb::declare::node::Node::Literal(parquedb::declare::node::Literal::Bool(true)));
        }
        Definition::View(view)
    };
    let changed = [definition("Tiers", true), definition("Newer", false)];
    let builder = Connection::builder().with_definitions(changed).clock(Arc::clone(&clock) as Arc<dyn Clock>);
    let db = builder.open_store(Store::new(Arc::clone(&store), "")).await.unwrap();
    let error = db.refresh("Tiers").await.unwrap_err();
    assert!(error.to_string().contains("it cannot be built anew"), "{error}");
    // It is tried again after a while.
    clock.advance(10_000_000);
    let error = db.maintain().await.unwrap_err();
    assert!(error.to_string().contains("view `Tiers`: it cannot be built anew"), "{error}");
    assert_eq!(sql(&db, "SELECT tier, orders, total FROM newer").await, ["gold 1 30", "silver 2 90"]);
    assert!(db.verify("Newer", None).await.unwrap().is_exact());
    db.rebuild_from_remaining("Tiers").await.unwrap();
    assert_eq!(sql(&db, "SELECT tier, orders, total FROM tiers").await, ["gold 1 30", "silver 2 90"]);
    assert!(db.verify("Tiers", None).await.unwrap().is_exact());
    // What expires from now on is another matter.
    db.rebuild("Tiers").await.unwrap();
    clock.advance(30 * DAY);
    assert_eq!(db.expire().await.unwrap().rows(), 2);
    assert!(db.rebuild("Tiers").await.is_err());
    assert_eq!(sql(&db, "SELECT tier, orders, total FROM tiers").await, ["gold 1 30", "silver 2 90"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_that_have_expired_start_from_nothing() {
    #[derive(Collection, Debug, Clone, PartialEq)]
    #[collection(key = id)]
    pub(crate) struct Sale {
        pub(crate) id: i64,
        pub(crate) amount: i64,
        pub(crate) at: Timestamp,
    }
    views! {
        pub(crate) SaleHours: {
            $from: Sale, $groupBy: [{ hour: at }], $compute: { sales: $count(*), amount: $sum(amount) },
            $ttl: { after: "2d", on: hour },
        }
        pub(crate) SaleTotals: { $from: SaleHours, $compute: { sales: $sum(sales), amount: $sum(amount) } }
        pub(crate) Recent: { $from: Sale, $filter: amount > 0, $ttl: { after: "2d", on: at } }
        pub(crate) Biggest: {
            $from: Sale, $groupBy: [{ hour: at }], $compute: { most: $last(id, $orderBy: amount) },
            $ttl: { after: "2d", on: hour },
        }
    }
    database! { pub(crate) struct Sales { Sale, SaleHours, SaleTotals, Recent } }
    database! { pub(crate) struct WithBiggest { Sale, Biggest } }
    let sale = |id: i64, amount: i64, hour: i64| Sale { id, amount, at: at(START + hour * HOUR) };
    let (store, clock) = (memory(), clock());
    let db: Sales = open(&store, &clock).await;
    db.sale.insert_many([sale(1, 10, 0), sale(2, 20, 0), sale(3, 30, 40)]).await.unwrap();
    clock.set(START + 49 * HOUR);
    let report = db.expire().await.unwrap();
    assert_eq!(report.tables.keys().collect::<Vec<_>>(), ["Recent", "SaleHours"]);
    let hours = async || sql(&db, "SELECT sales, amount FROM sale_hours").await;
    let totals = async || sql(&db, "SELECT sales, amount FROM sale_totals").await;
    assert_eq!((hours().await, totals().await), (vec!["1 30".to_owned()], vec!["3 60".to_owned()]));
    assert_eq!(sql(&db, "SELECT id FROM recent").await, ["3"]);
    assert_eq!(db.sale.all().count().await.unwrap(), 3);
    // A late sale makes the group anew, and goes with it.
    db.sale.insert(sale(4, 1000, 0)).await.unwrap();
    assert_eq!(hours().await, ["1 1000", "1 30"]);
    assert_eq!(totals().await, ["4 1060"]);
    assert_eq!(sql(&db, "SELECT id FROM recent").await, ["3", "4"]);
    // Taking away what has expired leaves nothing to see.
    db.sale.delete(|row| row.id.is_in([1, 4])).await.unwrap();
    assert_eq!(hours().await, ["1 30"]);
    assert_eq!(sql(&db, "SELECT id FROM recent").await, ["3"]);
    for view in ["SaleHours", "Recent"] {
        let found = db.verify(view, None).await.unwrap();
        assert!(found.is_exact() && found.rows == 1, "{found}");
    }
    db.expire().await.unwrap();
    db.sale.upsert(sale(3, 31, 40)).await.unwrap();
    assert_eq!(hours().await, ["1 31"]);
    // Built anew it would bring back what the totals have counted.
    let error = db.sale_hours.rebuild().await.unwrap_err().to_string();
    assert!(
        error.contains("rows of `SaleHours` from before") && error.contains("views over it have counted"),
        "{error}"
    );
    db.recent.rebuild().await.unwrap();
    assert_eq!(sql(&db, "SELECT id FROM recent").await, ["2", "3"]);

    let (store, clock) = (memory(), super::clock());
    let db: WithBiggest = open(&store, &clock).await;
    db.sale.insert_many([sale(1, 10, 0), sale(2, 20, 0), sale(3, 30, 40)]).await.unwrap();
    clock.set(START + 49 * HOUR);
    db.expire().await.unwrap();
    let error = db.sale.delete(|row| row.id.eq(1)).await.unwrap_err().to_string();
    assert!(error.contains("view `Biggest`: a group of it"), "{error}");
    db.sale.delete(|row| row.id.eq(3)).await.unwrap();
    assert_eq!(db.biggest.all().count().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_expire_as_it_says_is_not_declared() {
    let open = async |change: fn(&mut Vec<Definition>)| {
        let mut definitions = <Shop as Database>::definitions();
        change(&mut definitions);
        let builder = Connection::builder().with_definitions(definitions);
        builder.open("memory:///").await.map(drop).map_err(|error| error.to_string())
    };
    fn collection<'a>(definitions: &'a mut [Definition], name: &str) -> &'a mut Option<Ttl> {
        let found = definitions.iter_mut().find(|definition| definition.name() == name).unwrap();
        match found {
            Definition::Collection(collection) => &mut collection.ttl,
            Definition::View(view) => &mut view.ttl,
        }
    }
    assert_eq!(open(|_| ()).await, Ok(()));
    let error = open(|all| *collection(all, "Order") = Some(Ttl { after: DAY, on: "opened".to_owned() }));
    assert!(error.await.unwrap_err().contains("`opened`, which it does not have"));
    let error = open(|all| *collection(all, "Order") = Some(Ttl { after: DAY, on: "id".to_owned() }));
    assert!(error.await.unwrap_err().contains("`id` is Int64"));
    let error = open(|all| *collection(all, "Order") = Some(Ttl { after: 0, on: "closed_at".to_owned() }));
    assert!(error.await.unwrap_err().contains("some time"));
    let error = open(|all| *collection(all, "Customer") = Some(Ttl { after: 1, on: "id".to_owned() }));
    assert!(error.await.unwrap_err().contains("`id` is Int64"));
    let error = open(|all| *collection(all, "Tiers") = Some(Ttl { after: 1, on: "orders".to_owned() }));
    assert!(error.await.unwrap_err().contains("is UInt64"));
    let error = open(|all| {
        let Definition::Collection(customer) = &mut all[0] else { panic!("it is a collection") };
        let Definition::Collection(order) = <Order as parquedb::declare::declared::Declared>::definition()
        else {
            panic!("it is a collection")
        };
        let closed = order.schema.field_with_name("closed_at").unwrap().clone();
        let fields = customer.schema.fields().iter().cloned().chain([Arc::new(closed)]);
        customer.schema = Arc::new(parquedb::arrow::datatypes::Schema::new(fields.collect::<Vec<_>>()));
        customer.ttl = order.ttl;
    });
    let error = error.await.unwrap_err();
    assert!(error.contains("view `Estimates") || error.contains("looks rows of `Customer` up"), "{error}");
}

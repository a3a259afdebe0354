//! Several writers of one database, as several processes are: their views, the past, and who may write.

use parquedb::object_store::ObjectStore;
use parquedb::object_store::memory::InMemory;
use parquedb::testing::ClockedStore;
use parquedb::{Collection, ErrorKind, GarbageOptions, ManualClock, Store, Timestamp, database, views};
use parquedb_tests::S3Server;
use std::sync::Arc;
use std::time::Duration;

const HOUR: i64 = 3_600_000_000;

#[derive(Collection, Clone, Debug, PartialEq)]
pub(crate) struct Sale {
    pub(crate) writer: i64,
    pub(crate) number: i64,
    pub(crate) shop: String,
    pub(crate) cents: i64,
}

views! {
    pub(crate) Large: { $from: Sale, $filter: cents > 50, $select: { writer, number, cents } }
    pub(crate) LargeByWriter: { $from: Large, $groupBy: [writer], $compute: { n: $count(*), cents: $sum(cents) } }
    pub(crate) Shops: { $from: Sale, $groupBy: [shop], $compute: { n: $count(*), cents: $sum(cents), most: $max(cents) } }
}

database! { pub(crate) struct Sales { Sale, Large, LargeByWriter, Shops } }

fn sale(writer: i64, number: i64) -> Sale {
    Sale {
        writer,
        number,
        shop: format!("shop {}", (writer + number) % 7),
        cents: (number * 37 + writer) % 100,
    }
}

async fn open(inner: &Arc<dyn ObjectStore>) -> Sales {
    Sales::builder().open_store(Store::new(Arc::clone(inner), "sales")).await.unwrap()
}

/// Asserts that the views hold what the rows say.
async fn assert_exact(db: &Sales, expected: usize) {
    let mut sales = db.sale.all().await.unwrap();
    assert_eq!(sales.len(), expected);
    sales.sort_by_key(|sale| (sale.writer, sale.number));
    sales.dedup_by_key(|sale| (sale.writer, sale.number));
    assert_eq!(sales.len(), expected, "a row is there twice");
    let large: Vec<_> = sales.iter().filter(|sale| sale.cents > 50).collect();
    assert_eq!(db.large.all().count().await.unwrap(), large.len() as u64);
    for row in db.large_by_writer.all().await.unwrap() {
        let of_writer = large.iter().filter(|sale| sale.writer == row.writer);
        let cents: i64 = of_writer.clone().map(|sale| sale.cents).sum();
        assert_eq!((row.n, row.cents), (of_writer.count() as u64, cents));
    }
    let shops = db.shops.all().await.unwrap();
    assert_eq!(shops.iter().map(|shop| shop.n).sum::<u64>(), expected as u64);
    for shop in shops {
        let cents: Vec<_> =
            sales.iter().filter(|sale| sale.shop == shop.shop).map(|sale| sale.cents).collect();
        assert_eq!((shop.n, shop.cents), (cents.len() as u64, cents.iter().sum()));
        assert_eq!(Some(shop.most), cents.iter().max().copied());
    }
    for view in db.status().await.unwrap() {
        assert_eq!(view.freshness, parquedb::Freshness::Fresh, "{}", view.name);
    }
}

async fn write_at_once(inner: Arc<dyn ObjectStore>, writers: i64, batches: i64) {
    let first = open(&inner).await;
    let writing = (0..writers).map(|writer| {
        let inner = Arc::clone(&inner);
        tokio::spawn(async move {
            let db = open(&inner).await;
            for number in 0..batches {
                db.sale
                    .insert_many(vec![sale(writer, number * 2), sale(writer, number * 2 + 1)])
                    .await
                    .unwrap();
            }
            db.requests()
        })
    });
    let mut puts = 0;
    for requests in futures::future::join_all(writing).await {
        puts += requests.unwrap().put;
    }
    first.catch_up().await.unwrap();
    assert_exact(&first, usize::try_from(writers * batches * 2).unwrap()).await;
    assert_exact(&open(&inner).await, usize::try_from(writers * batches * 2).unwrap()).await;
    // Each commit tries a slot at most as often as others take one from it; nothing is computed again.
    eprintln!("{writers} writers of {batches} commits made {puts} puts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_in_memory_keep_every_view_exact() {
    write_at_once(Arc::new(InMemory::new()), 4, 25).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_in_a_folder_keep_every_view_exact() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sales");
    let path = path.to_str().unwrap();
    Sales::open(path).await.unwrap();
    let writing = (0..3).map(|writer| {
        let path = path.to_owned();
        tokio::spawn(async move {
            let db = Sales::open(&path).await.unwrap();
            for number in 0..15 {
                db.sale.insert(sale(writer, number)).await.unwrap();
            }
        })
    });
    for done in futures::future::join_all(writing).await {
        done.unwrap();
    }
    assert_exact(&Sales::open(path).await.unwrap(), 45).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_on_s3_keep_every_view_exact() {
    let server = S3Server::start();
    server.create_bucket("sales");
    write_at_once(Arc::new(server.client("sales").build().unwrap()), 3, 10).await;
}

#[tokio::test]
async fn an_exclusive_writer_takes_over_and_gives_back() {
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = || Store::new(Arc::clone(&inner), "sales");
    let old = open(&inner).await;
    old.sale.insert(sale(0, 0)).await.unwrap();
    let new = Sales::builder().exclusive().open_store(store()).await.unwrap();
    new.sale.insert(sale(1, 0)).await.unwrap();
    let error = old.sale.insert(sale(0, 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert!(error.to_string().contains("exclusive()"), "{error}");
    let error = Sales::builder().open_store(store()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Closed);
    let reader = Sales::builder().read_only().open_store(store()).await.unwrap();
    assert_exact(&reader, 2).await;
    new.close().await.unwrap();
    assert_eq!(new.sale.insert(sale(1, 1)).await.unwrap_err().kind(), ErrorKind::Closed);
    old.sale.insert(sale(0, 1)).await.unwrap();
    assert_exact(&old, 3).await;
}

#[tokio::test]
async fn the_past_is_read_by_number_by_time_and_by_pin() {
    let clock = Arc::new(ManualClock::new(1_000 * HOUR));
    let inner: Arc<dyn ObjectStore> = Arc::new(ClockedStore::new(Arc::clone(&clock) as _));
    let store = Store::new(Arc::clone(&inner), "sales");
    let db = Sales::builder().clock(Arc::clone(&clock) as _).open_store(store).await.unwrap();
    let mut seqs = Vec::new();
    for number in 0..30 {
        clock.advance(HOUR);
        seqs.push(db.sale.insert(sale(1, number)).await.unwrap().seq);
        db.flush().await.unwrap();
    }
    let time = |number: usize| Timestamp::from_micros((1_001 + number as i64) * HOUR);
    for number in [0, 7, 29] {
        let rows = number as u64 + 1;
        assert_eq!(db.sale.all().at(seqs[number]).count().await.unwrap(), rows);
        assert_eq!(db.sale.all().as_of(time(number)).count().await.unwrap(), rows);
        let shops = db.shops.all().as_of(time(number)).await.unwrap();
        assert_eq!(shops.iter().map(|shop| shop.n).sum::<u64>(), rows);
        let counted = db.sql_at("SELECT n FROM shops", time(number)).await.unwrap().count().await.unwrap();
        assert_eq!(counted, shops.len());
    }
    let pin = db.pin("audit", Some(seqs[2]), Duration::from_secs(1_000 * 3600)).await.unwrap();
    assert_eq!(pin.seq, seqs[2]);
    clock.advance(48 * HOUR);
    db.sale.insert(sale(2, 0)).await.unwrap();
    db.flush().await.unwrap();
    let report = db.collect_garbage(GarbageOptions::default()).await.unwrap();
    assert!(db.oldest_seq() <= seqs[2] && report.floor == db.oldest_seq());
    assert_eq!(db.sale.all().at(seqs[2]).count().await.unwrap(), 3);
    db.unpin("audit").await.unwrap();
    let report = db.collect_garbage(GarbageOptions::default()).await.unwrap();
    assert!(report.floor > seqs[2] && report.objects() > 0);
    let error = db.sale.all().at(seqs[2]).count().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(db.sale.all().count().await.unwrap(), 31);
    assert_exact(&db, 31).await;
}

/// Every process sends every batch, in an order of its own, as producers do whose answers were lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producers_batches_that_all_processes_send_are_there_once() {
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    open(&inner).await;
    let sending = (0..3_u64).map(|process| {
        let inner = Arc::clone(&inner);
        tokio::spawn(async move {
            let db = open(&inner).await;
            let mut written = 0;
            for step in 0..40_u64 {
                let number = if process == 2 { step ^ 3 } else { step };
                let row = sale(7, i64::try_from(number).unwrap());
                let answer = db.sale.insert_numbered("orders", number, [row]).await.unwrap();
                written += usize::from(!answer.repeated);
            }
            assert_eq!(db.last_sequence("orders"), Some(39));
            written
        })
    });
    let written: usize =
        futures::future::join_all(sending).await.into_iter().map(|written| written.unwrap()).sum();
    assert_eq!(written, 40);
    let db = open(&inner).await;
    assert_exact(&db, 40).await;
    db.flush().await.unwrap();
    let again = open(&inner).await;
    assert!(again.has_sequence("orders", 17) && !again.has_sequence("orders", 40));
    assert!(again.sale.insert_numbered("orders", 17, [sale(7, 17)]).await.unwrap().repeated);
}

//! Every aggregate from the declaration to the rows that a reader sees, over several commits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::float_cmp)]

use parquedb::{Collection, CompactOptions, Decimal, ErrorKind, Timestamp, database, views};
use std::collections::BTreeMap;

#[derive(Collection, Clone, Debug, Default, PartialEq)]
#[collection(key = id)]
pub(crate) struct Trade {
    pub(crate) id: u64,
    pub(crate) market: String,
    pub(crate) trader: Option<String>,
    pub(crate) price: f64,
    pub(crate) size: Option<i32>,
    pub(crate) fee: Decimal<10, 2>,
    pub(crate) flags: u8,
    pub(crate) buy: Option<bool>,
    pub(crate) at: Timestamp,
    pub(crate) lots: BTreeMap<String, Option<i32>>,
}

views! {
    pub(crate) Markets: {
        $from: Trade,
        $groupBy: [market],
        $compute: {
            trades: $count(*),
            buys: $countIf(buy == true),
            large_buys: $countIf(buy == true, $filter: size > 10),
            traders: $uniq(trader),
            some: $any(trader),
            open: $first(price, $orderBy: at),
            close: $last(price, $orderBy: at),
            last_trader: $last(trader, $orderBy: at),
            cheapest: $argMin(id, price),
            dearest: { $argMax: [trader, price] },
            volume: $sum(price),
            mean: $avg(price),
            fees: $sum(fee),
            median: $median(price),
            tails: $quantiles([0.0, 1.0], price),
            exact_median: $quantileExact(0.5, size),
            variance: $variance(size),
            stddev: $stddev(price),
            corr: $corr(price, size),
            top: $topK(2, trader),
            sizes: $collect(size),
            who: $collectSet(trader),
            all_buy: $and(buy),
            any_buy: $or(buy),
            all_flags: $bitAnd(flags),
            any_flags: $bitOr(flags),
            prices: $histogram(price, [10, 20.5]),
            lots: $sumMap(lots),
            bought: $sumMap(trader, size),
            paid: { $sumMap: [trader, fee], $filter: price > 0 },
        },
    }
    /// Aggregates from which a removed row is subtracted: another one would be refused.
    pub(crate) Subtracted: {
        $from: Trade,
        $groupBy: [market],
        $compute: {
            trades: $count(*),
            traders: $countDistinct(trader),
            volume: $sum(price),
            sizes: $sum(size),
            mean: $avg(price),
            mean_size: $avg(size),
            mean_fee: $avg(fee),
            variance: $variance(price),
            corr: $corr(price, size),
            median: $median(price),
            exact: $quantileExact(0.9, price),
            top: $topK(1, trader),
            who: $collect(trader),
            prices: $histogram(price, [0.0, 10.0]),
            all_buy: $and(buy),
            any_buy: $or(buy),
            all_flags: $bitAnd(flags),
            any_flags: $bitOr(flags),
            lots: $sumMap(lots),
            paid: $sumMap(trader, fee),
        },
        $refresh: { incremental: strict },
    }
    pub(crate) Everything: {
        $from: Trade,
        $compute: {
            first: $first(trader, $orderBy: at),
            last: $last(size, $orderBy: at, $filter: size > 1000),
            parts: $quantiles([0.5], price),
            stddev: $stddev(price),
            who: $collect(trader),
            top: $topK(1, trader),
            traders: $uniq(trader),
            all_buy: $and(buy),
            prices: $histogram(price, [10]),
            volume: $sum(price),
            lots: $sumMap(lots),
        },
    }
    pub(crate) Ids: { $from: Trade, $groupBy: [market], $compute: { ids: $sumMap(market, id) } }
}

database! { pub(crate) struct TradeDb { Trade, Markets, Subtracted, Everything } }
database! { pub(crate) struct IdsDb { Trade, Ids } }

fn trade(id: u64, market: &str, trader: Option<&str>, price: f64, size: Option<i32>) -> Trade {
    Trade {
        id,
        market: market.to_owned(),
        trader: trader.map(str::to_owned),
        price,
        size,
        fee: Decimal::from_unscaled(i128::from(id) * 25).unwrap(),
        flags: 0b100 | u8::try_from(id).unwrap(),
        buy: [Some(true), Some(false), None][usize::try_from(id % 3).unwrap()],
        // Later trades have smaller numbers.
        at: Timestamp::from_micros(1_000_000 - i64::try_from(id).unwrap()),
        lots: [("all".to_owned(), i32::try_from(id).ok()), (format!("lot {}", id % 2), size)].into(),
    }
}

fn trades() -> Vec<Trade> {
    vec![
        trade(1, "a", Some("zoe"), 0.1, Some(5)),
        trade(2, "a", Some("ann"), 1e16, Some(7)),
        trade(3, "a", None, 20.5, None),
        trade(4, "a", Some("zoe"), -1e16, Some(12)),
        trade(5, "a", Some("zoe"), 0.2, Some(6)),
        trade(6, "b", None, 10.0, None),
    ]
}

fn sums<S: Copy>(sums: &[(&str, S)]) -> BTreeMap<String, S> {
    sums.iter().map(|(key, sum)| ((*key).to_owned(), *sum)).collect()
}

async fn check(db: &TradeDb) {
    let markets = db.markets.all().order_by(|row| row.market.asc()).await.unwrap();
    let [a, b] = &markets[..] else { panic!("{markets:?}") };
    assert_eq!((a.trades, a.buys, a.large_buys, a.traders), (5, 1, 0, 2));
    assert_eq!(a.some.as_deref(), Some("ann"));
    assert_eq!((a.open, a.close, a.last_trader.as_deref()), (0.2, 0.1, Some("zoe")));
    assert_eq!((a.cheapest, a.dearest.as_deref()), (4, Some("ann")));
    // The great values cancel without a trace.
    assert_eq!((a.volume, a.mean), (20.8, 20.8 / 5.0));
    assert_eq!(a.fees, Decimal::from_unscaled(15 * 25).unwrap());
    assert!((a.median - 0.2).abs() <= 0.002, "{}", a.median);
    assert!((a.tails[0] + 1e16).abs() <= 1e14 && (a.tails[1] - 1e16).abs() <= 1e14, "{:?}", a.tails);
    assert_eq!((a.exact_median, a.variance), (Some(6), Some(29.0 / 3.0)));
    assert!((a.stddev.unwrap() / 7.071_067_811_865_476e15 - 1.0).abs() < 1e-12, "{:?}", a.stddev);
    assert!(a.corr.unwrap() < -0.4, "{:?}", a.corr);
    assert_eq!(a.top, ["zoe", "ann"]);
    assert_eq!((&a.sizes[..], &a.who[..]), (&[5, 6, 7, 12][..], &["ann".to_owned(), "zoe".to_owned()][..]));
    assert_eq!((a.all_buy, a.any_buy, a.all_flags, a.any_flags), (Some(false), Some(true), 0b100, 0b111));
    assert_eq!(a.prices, [3, 0, 2]);
    assert_eq!(a.lots, sums(&[("all", 15), ("lot 0", 19), ("lot 1", 11)]));
    assert_eq!(a.bought, sums(&[("ann", 7), ("zoe", 23)]));
    let cents = |cents| Decimal::from_unscaled(cents).unwrap();
    assert_eq!(a.paid, sums(&[("ann", cents(50)), ("zoe", cents(150))]));

    assert_eq!((b.trades, b.traders, b.some.as_deref(), b.last_trader.as_deref()), (1, 0, None, None));
    assert_eq!((b.open, b.cheapest, b.dearest.as_deref(), b.volume), (10.0, 6, None, 10.0));
    assert_eq!((b.exact_median, b.variance, b.stddev, b.corr), (None, None, None, None));
    assert_eq!((b.top.len(), b.sizes.len(), b.who.len(), b.all_buy), (0, 0, 0, Some(true)));
    assert_eq!(b.prices, [0, 1, 0]);
    assert_eq!((&b.lots, b.bought.len(), b.paid.len()), (&sums(&[("all", 6)]), 0, 0));

    let [all] = &db.everything.all().await.unwrap()[..] else { panic!("one row") };
    assert_eq!((all.first.as_deref(), all.last), (None, None));
    assert_eq!((&all.top[..], all.who.len(), all.traders), (&["zoe".to_owned()][..], 4, 2));
    assert_eq!(all.lots, sums(&[("all", 21), ("lot 0", 19), ("lot 1", 11)]));
    assert_eq!((all.volume, all.all_buy, &all.prices[..]), (30.8, Some(false), &[3, 3][..]));
}

#[tokio::test]
async fn commits_in_any_order_give_the_same_rows() {
    let trades = trades();
    for order in [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [3, 0, 5, 1, 4, 2]] {
        let db = TradeDb::open("memory:///").await.unwrap();
        for (position, index) in order.into_iter().enumerate() {
            db.trade.insert_many([trades[index].clone()]).await.unwrap();
            if position == 2 {
                db.flush().await.unwrap();
            }
        }
        check(&db).await;
        db.flush().await.unwrap();
        let options = CompactOptions { full: true, min_files: 2, ..CompactOptions::default() };
        db.compact(options).await.unwrap();
        check(&db).await;
    }
    let db = TradeDb::open("memory:///").await.unwrap();
    db.trade.insert_many(&trades).await.unwrap();
    check(&db).await;
}

#[tokio::test]
async fn nothing_has_no_values() {
    let db = TradeDb::open("memory:///").await.unwrap();
    assert!(db.markets.all().await.unwrap().is_empty());
    let expected = Everything {
        first: None,
        last: None,
        parts: None,
        stddev: None,
        who: vec![],
        top: vec![],
        traders: 0,
        all_buy: None,
        prices: vec![0, 0],
        volume: 0.0,
        lots: BTreeMap::new(),
    };
    assert_eq!(db.everything.all().await.unwrap(), [expected]);
}

#[tokio::test]
async fn what_is_taken_back_leaves_no_trace() {
    let expected = TradeDb::open("memory:///").await.unwrap();
    expected.trade.insert_many(&trades()).await.unwrap();
    let expected = expected.subtracted.all().order_by(|row| row.market.asc()).await.unwrap();

    let db = TradeDb::open("memory:///").await.unwrap();
    let mut wrong = trades();
    // Rows that no rounded sum would forget, and one in another group.
    wrong[0] = trade(1, "a", Some("eve"), f64::NAN, Some(i32::MAX));
    wrong[1] = trade(2, "a", None, f64::MAX, None);
    wrong[4] = trade(5, "b", Some("zoe"), 0.2, Some(6));
    wrong.push(trade(7, "a", Some("bob"), f64::INFINITY, Some(1)));
    wrong.push(trade(8, "c", Some("bob"), 1e-300, Some(1)));
    for row in wrong {
        db.trade.insert_many([row]).await.unwrap();
    }
    db.trade.delete(|row| row.trader.eq("bob")).await.unwrap();
    let right = trades();
    db.trade.upsert_many([right[4].clone(), right[0].clone(), right[1].clone()]).await.unwrap();
    let found = db.subtracted.all().order_by(|row| row.market.asc()).await.unwrap();
    assert_eq!(found, expected);
    check(&db).await;
    for verified in [db.markets.verify().await.unwrap(), db.subtracted.verify().await.unwrap()] {
        assert!(verified.is_exact(), "{verified}");
    }
}

#[tokio::test]
async fn a_sum_by_key_beyond_its_type_names_the_view_and_the_key() {
    let db = IdsDb::open("memory:///").await.unwrap();
    let row = |id: u64| Trade { id, market: "m".into(), ..Trade::default() };
    db.trade.insert_many([row(u64::MAX), row(1)]).await.unwrap();
    let error = db.ids.all().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    for part in ["`Ids`", "`ids`", "`m`", "18446744073709551616"] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    // The state is wider than the sum: what goes can bring it back.
    db.trade.delete(|row| row.id.eq(1)).await.unwrap();
    assert_eq!(db.ids.all().await.unwrap()[0].ids, sums(&[("m", u64::MAX)]));
    assert!(db.ids.verify().await.unwrap().is_exact());
}

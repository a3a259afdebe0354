//! What single rows must give: nulls, paths, numbers, times.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::float_cmp)]

use parquedb::arrow::array::{Array, RecordBatch};
use parquedb::arrow::util::display::array_value_to_string;
use parquedb::{Collection, ErrorKind, Expr, Timestamp, database, views};
use std::collections::BTreeMap;

#[derive(Collection, Clone, Debug, Default, PartialEq)]
pub(crate) struct Fact {
    pub(crate) id: i64,
    pub(crate) age: Option<i64>,
    pub(crate) limit: Option<i64>,
    pub(crate) name: Option<String>,
    pub(crate) flag: Option<bool>,
    pub(crate) value: f64,
    pub(crate) ratio: Option<f64>,
    pub(crate) count: i64,
    pub(crate) at: Timestamp,
    pub(crate) tags: Option<Vec<String>>,
    pub(crate) numbers: Vec<Option<i64>>,
    pub(crate) errors: Vec<Failure>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) event: Option<Event>,
}

#[derive(Collection, Clone, Debug, Default, PartialEq)]
pub(crate) struct Failure {
    pub(crate) name: String,
}

#[derive(Collection, Clone, Debug, Default, PartialEq)]
pub(crate) struct Event {
    pub(crate) url: String,
    pub(crate) status: i32,
    pub(crate) place: Option<Place>,
}

#[derive(Collection, Clone, Debug, Default, PartialEq)]
pub(crate) struct Place {
    pub(crate) city: String,
}

views! {
    /// Every test as a column, which must be true or false.
    pub(crate) Tests: {
        $from: Fact,
        $select: {
            id,
            ne: name != "ann",
            not: { age: { $not: { $gt: 18 } } },
            inside: { name: { $in: ["ann", null] } },
            outside: { name: { $nin: ["ann"] } },
            less: age < limit,
            same: age == limit,
            differs: age != limit,
            flag: flag == true,
            not_flag: !(flag == true),
            nor: { $nor: [{ age: { $gt: 18 } }] },
            city: { event.place.city: { $ne: "Oslo" } },
            sized: { tags: { $all: ["a", "b"], $size: 2 } },
        },
    }
    pub(crate) Conds: {
        $from: Fact,
        $select: {
            id,
            ne: $cond(name != "ann", 1, 0),
            not: $cond(!(age > 18), 1, 0),
            less: $cond(age < limit, 1, 0),
            not_less: $cond(!(age < limit), 1, 0),
        },
    }
    pub(crate) Counts: {
        $from: Fact,
        $compute: {
            ne: $count(*, $filter: name != "ann"),
            not: $count(*, $filter: !(age > 18)),
            less: $count(*, $filter: age < limit),
            not_less: $count(*, $filter: !(age < limit)),
        },
    }
    pub(crate) Paths: {
        $from: Fact,
        $select: {
            id,
            url: event.url,
            status: event.status,
            city: event.place.city,
            first: errors[0].name,
            second: errors[1].name,
            tag: tags[0],
            tier: labels["tier"],
            plus: event.status + 1,
        },
    }
    pub(crate) Numbers: {
        $from: Fact,
        $unnest: numbers,
        $select: { id, number: numbers },
    }
    pub(crate) Tags: {
        $from: Fact,
        $filter: { name: { $ne: "ok" } },
        $unnest: tags,
        $select: { id, tag: tags },
    }
    pub(crate) Floats: {
        $from: Fact,
        $groupBy: [value],
        $compute: { n: $count(*) },
    }
    pub(crate) Products: {
        $from: Fact,
        $groupBy: [{ product: value * -1 }, { negated: -value }],
        $compute: { n: $count(*), least: $min(value), greatest: $max(value) },
    }
    pub(crate) Extremes: {
        $from: Fact,
        $compute: {
            n: $count(*), some: $count(age), sum: $sum(age), mean: $avg(age), least: $min(value),
            greatest: $max(value), values: $countDistinct(value), ratio: $avg(ratio), greatest_ratio: $max(ratio),
            bad: $sum($cond(event.status >= 500, 1, 0)),
        },
    }
    pub(crate) Quotients: {
        $from: Fact,
        $select: { id, quotient: age / limit, remainder: age % limit, float: ratio / value },
    }
    pub(crate) Names: {
        $from: Fact,
        $groupBy: [name],
        $compute: { total: $sum(age) },
    }
    pub(crate) Weeks: { $from: Fact, $groupBy: [{ week: at }], $compute: { n: $count(*) } }
    pub(crate) Calendar: {
        $from: Fact,
        $select: {
            id, minute: { minute: at }, hour: { hour: at }, day: { day: at }, week: { week: at },
            month: { month: at }, quarter: { quarter: at }, year: { year: at },
        },
    }
}

database! {
    pub(crate) struct CasesDb {
        Fact, Tests, Conds, Counts, Paths, Numbers, Tags, Floats, Products, Extremes, Quotients, Names, Weeks, Calendar,
    }
}

mod overflow {
    use super::*;

    views! {
        pub(crate) Next: { $from: Fact, $select: { id, next: count + 1 } }
        pub(crate) Total: { $from: Fact, $groupBy: [name], $compute: { total: $sum(count) } }
    }
    database! { pub(crate) struct NextDb { Fact, Next } }
    database! { pub(crate) struct TotalDb { Fact, Total } }
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Rows as text, sorted.
pub(crate) fn table(batches: &[RecordBatch]) -> Vec<String> {
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().map(|column| {
                if column.is_null(row) {
                    "null".to_owned()
                } else {
                    array_value_to_string(column, row).unwrap()
                }
            });
            rows.push(cells.collect::<Vec<_>>().join(" "));
        }
    }
    rows.sort();
    rows
}

macro_rules! holds {
    ($db:ident.$view:ident, $($row:expr),* $(,)?) => {{
        let mut expected: Vec<&str> = vec![$($row),*];
        expected.sort_unstable();
        assert_eq!(table(&$db.$view.all().batches().await.unwrap()), expected, stringify!($view));
    }};
}

/// The rows in one commit, or each in its own; then also in Parquet files.
async fn each_way(rows: &[Fact], check: impl AsyncFn(&CasesDb)) {
    for one_by_one in [false, true] {
        let db = CasesDb::open("memory:///").await.unwrap();
        if one_by_one {
            for row in rows {
                db.fact.insert(row.clone()).await.unwrap();
            }
        } else {
            db.fact.insert_many(rows).await.unwrap();
        }
        check(&db).await;
        db.flush().await.unwrap();
        check(&db).await;
    }
}

#[tokio::test]
async fn predicates_are_two_valued() {
    let rows = [
        Fact {
            id: 1,
            age: Some(40),
            limit: Some(50),
            name: Some("ann".into()),
            flag: Some(true),
            ..Fact::default()
        },
        Fact {
            id: 2,
            age: Some(10),
            limit: None,
            name: Some("bob".into()),
            flag: Some(false),
            ..Fact::default()
        },
        Fact { id: 3, tags: Some(vec!["b".into(), "a".into()]), ..Fact::default() },
    ];
    each_way(&rows, async |db| {
        holds!(
            db.tests,
            "1 false false true false true false true true false false true false",
            "2 true true false true false false true false true true true false",
            "3 true true true true false true false false true true true true",
        );
        holds!(db.conds, "1 0 0 1 0", "2 1 1 0 1", "3 1 1 0 1");
        holds!(db.counts, "2 2 1 2");
        let find = async |condition: &dyn Fn(FactHandles) -> Expr<bool>| {
            let mut ids: Vec<i64> =
                db.fact.find(condition).await.unwrap().into_iter().map(|row| row.id).collect();
            ids.sort_unstable();
            ids
        };
        assert_eq!(find(&|row| row.name.ne("ann")).await, [2, 3]);
        assert_eq!(find(&|row| row.age.gt(18).not()).await, [2, 3]);
        assert_eq!(find(&|row| row.name.is_in([Some("ann".to_owned()), None])).await, [1, 3]);
        assert_eq!(find(&|row| row.name.not_in(["ann"])).await, [2, 3]);
        assert_eq!(find(&|row| row.age.lt(row.limit)).await, [1]);
        assert_eq!(find(&|row| row.age.lt(row.limit).not()).await, [2, 3]);
        assert_eq!(find(&|row| row.age.eq(row.limit)).await, [3]);
        assert_eq!(find(&|row| row.age.ne(row.limit)).await, [1, 2]);
        assert_eq!(find(&|row| row.age.ge(0)).await, [1, 2]);
        assert_eq!(find(&|row| row.age.ne(0)).await, [1, 2, 3]);
        assert_eq!(find(&|row| row.age.lt(0).not()).await, [1, 2, 3]);
        assert_eq!(find(&|row| row.name.is_null()).await, [3]);
        assert_eq!(find(&|row| row.event.exists().not()).await, [1, 2, 3]);
        assert_eq!(find(&|row| row.event.place.city.ne("Oslo")).await, [1, 2, 3]);
        assert_eq!(find(&|row| row.tags.size(2)).await, [3]);
        assert_eq!(find(&|row| row.tags.size(2).not()).await, [1, 2]);
    })
    .await;
}

type FactHandles = <Fact as parquedb::__private::Record>::Handles<parquedb::__private::NotNull>;

#[tokio::test]
async fn paths_through_nulls_give_null() {
    let event = |place| Some(Event { url: "u".into(), status: 500, place });
    let rows = [
        Fact { id: 1, event: event(Some(Place { city: "Oslo".into() })), ..Fact::default() },
        Fact { id: 2, event: event(None), ..Fact::default() },
        Fact {
            id: 3,
            errors: vec![Failure { name: "TypeError".into() }, Failure { name: "RangeError".into() }],
            labels: [("tier".to_owned(), "gold".to_owned()), ("x".to_owned(), "y".to_owned())].into(),
            tags: Some(vec![String::new()]),
            ..Fact::default()
        },
        Fact {
            id: 4,
            errors: vec![Failure { name: "E".into() }],
            labels: [("x".to_owned(), "y".to_owned())].into(),
            tags: Some(vec![]),
            ..Fact::default()
        },
    ];
    each_way(&rows, async |db| {
        holds!(
            db.paths,
            "1 u 500 Oslo null null null null 501",
            "2 u 500 null null null null null 501",
            "3 null null null TypeError RangeError  gold null",
            "4 null null null E null null null null",
        );
        assert_eq!(db.fact.find(|row| row.event.place.exists()).count().await.unwrap(), 1);
        assert_eq!(db.fact.find(|row| row.event.status.ge(0)).count().await.unwrap(), 2);
        assert_eq!(db.fact.find(|row| row.labels.at("tier").eq("gold")).count().await.unwrap(), 1);
        assert_eq!(db.fact.find(|row| row.errors.at(1).name.exists()).count().await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn unnest_keeps_duplicates_and_null_elements_and_drops_empty_lists() {
    let rows = [
        Fact { id: 1, numbers: vec![Some(1), None, Some(2)], tags: None, ..Fact::default() },
        Fact { id: 2, tags: Some(vec!["x".into(), "x".into()]), ..Fact::default() },
        Fact { id: 3, name: Some("ok".into()), tags: Some(vec!["y".into()]), ..Fact::default() },
        Fact { id: 4, tags: Some(vec![]), ..Fact::default() },
    ];
    each_way(&rows, async |db| {
        holds!(db.numbers, "1 1", "1 null", "1 2");
        holds!(db.tags, "2 x", "2 x");
    })
    .await;
}

#[tokio::test]
async fn nan_is_one_value_and_the_greatest_and_zeros_are_equal() {
    let odd = f64::from_bits(0xfff8_0000_0000_0001);
    let values = [1.5, f64::NAN, 0.0, odd, -0.0, f64::INFINITY, -2.0, f64::NEG_INFINITY];
    for turn in 0..values.len() {
        let mut values = values;
        values.rotate_left(turn);
        let rows =
            (1..).zip(values).map(|(id, value)| Fact { id, value, ..Fact::default() }).collect::<Vec<_>>();
        let db = CasesDb::open("memory:///").await.unwrap();
        for part in rows.chunks(3) {
            db.fact.insert_many(part).await.unwrap();
        }
        for _ in 0..2 {
            holds!(db.floats, "NaN 2", "0.0 2", "1.5 1", "-2.0 1", "inf 1", "-inf 1");
            let extremes = db.extremes.all().first().await.unwrap().unwrap();
            assert_eq!(extremes.least, Some(f64::NEG_INFINITY));
            assert!(extremes.greatest.unwrap().is_nan(), "turn {turn}");
            assert_eq!(extremes.values, 6);
            for group in db.products.all().await.unwrap() {
                assert!(
                    group.product != 0.0
                        || (group.product.is_sign_positive() && group.negated.is_sign_positive())
                );
                assert_eq!(group.n, if group.product == 0.0 || group.product.is_nan() { 2 } else { 1 });
                assert_eq!(group.least.is_nan(), group.product.is_nan());
            }
            assert_eq!(db.products.all().count().await.unwrap(), 6);
            assert_eq!(db.fact.find(|row| row.value.eq(f64::NAN)).count().await.unwrap(), 2);
            assert_eq!(db.fact.find(|row| row.value.gt(f64::INFINITY)).count().await.unwrap(), 2);
            assert_eq!(db.fact.find(|row| row.value.eq(-0.0)).count().await.unwrap(), 2);
            assert_eq!(db.fact.find(|row| row.value.lt(0)).count().await.unwrap(), 2);
            let sorted = db.fact.all().order_by(|row| row.value.asc()).await.unwrap();
            assert!(sorted[6].value.is_nan() && sorted[7].value.is_nan() && sorted[5].value == f64::INFINITY);
            db.flush().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_nan_is_found_in_a_file_whose_other_values_do_not_match() {
    let db = CasesDb::open("memory:///").await.unwrap();
    let rows = [1.0, f64::NAN].map(|value| Fact { value, ratio: Some(value), ..Fact::default() });
    db.fact.insert_many(rows).await.unwrap();
    for _ in 0..2 {
        assert_eq!(db.fact.find(|row| row.value.gt(5)).count().await.unwrap(), 1);
        assert_eq!(db.fact.find(|row| row.ratio.ge(5)).count().await.unwrap(), 1);
        assert_eq!(db.fact.find(|row| row.value.eq(f64::NAN)).count().await.unwrap(), 1);
        assert_eq!(db.fact.find(|row| row.ratio.ne(1.0)).count().await.unwrap(), 1);
        db.flush().await.unwrap();
    }
}

#[tokio::test]
async fn an_empty_source_gives_one_row_without_keys() {
    let db = CasesDb::open("memory:///").await.unwrap();
    holds!(db.extremes, "0 0 0 null null null 0 null null 0");
    holds!(db.counts, "0 0 0 0");
    holds!(db.names,);
    db.fact.insert_many([Fact::default(), Fact { ratio: Some(4.0), ..Fact::default() }]).await.unwrap();
    holds!(db.extremes, "2 0 0 null 0.0 0.0 1 4.0 4.0 0");
}

#[tokio::test]
async fn aggregates_leave_nulls_out_and_null_is_a_group() {
    let status = |status| Some(Event { status, ..Event::default() });
    let rows = [
        Fact { age: Some(10), name: Some("a".into()), event: status(200), ..Fact::default() },
        Fact { age: Some(30), name: None, event: status(503), ..Fact::default() },
        Fact { age: None, name: None, event: status(404), ..Fact::default() },
        Fact { age: None, name: Some(String::new()), ..Fact::default() },
    ];
    each_way(&rows, async |db| {
        holds!(db.extremes, "4 2 40 20.0 0.0 0.0 1 null null 1");
        holds!(db.names, "a 10", "null 30", " 0");
    })
    .await;
}

#[tokio::test]
async fn dividing_by_zero_gives_null() {
    let rows = [
        Fact { id: 1, age: Some(7), limit: Some(0), ratio: Some(1.0), value: 0.0, ..Fact::default() },
        Fact { id: 2, age: Some(7), limit: Some(2), ratio: Some(1.0), value: -0.0, ..Fact::default() },
        Fact { id: 3, age: Some(-7), limit: Some(2), ratio: None, value: 2.0, ..Fact::default() },
        Fact { id: 4, age: None, limit: Some(2), ratio: Some(1.0), value: 2.0, ..Fact::default() },
    ];
    each_way(&rows, async |db| {
        holds!(db.quotients, "1 null null null", "2 3.5 1 null", "3 -3.5 -1 null", "4 null null 0.5");
    })
    .await;
}

#[tokio::test]
async fn times_are_cut_by_the_calendar() {
    let times = [
        "2021-01-03T23:00:00Z",
        "2021-01-04T00:00:00Z",
        "2024-12-30T12:00:00Z",
        "2025-01-05T12:00:00Z",
        "1969-12-31T23:59:59.999999Z",
        "1970-01-01T00:00:00Z",
        "1900-02-28T12:34:56.789Z",
        "2024-02-29T00:00:00.000001Z",
    ];
    let rows =
        (1..).zip(times).map(|(id, at)| Fact { id, at: time(at), ..Fact::default() }).collect::<Vec<_>>();
    each_way(&rows, async |db| {
        holds!(
            db.weeks,
            "2020-12-28T00:00:00Z 1",
            "2021-01-04T00:00:00Z 1",
            "2024-12-30T00:00:00Z 2",
            "1969-12-29T00:00:00Z 2",
            "1900-02-26T00:00:00Z 1",
            "2024-02-26T00:00:00Z 1",
        );
        let rows = db.calendar.all().order_by(|row| row.id.asc()).await.unwrap();
        let parts =
            |row: &Calendar| [row.minute, row.hour, row.day, row.week, row.month, row.quarter, row.year];
        let expected = |texts: [&str; 7]| texts.map(time);
        assert_eq!(
            parts(&rows[4]),
            expected([
                "1969-12-31T23:59:00Z",
                "1969-12-31T23:00:00Z",
                "1969-12-31T00:00:00Z",
                "1969-12-29T00:00:00Z",
                "1969-12-01T00:00:00Z",
                "1969-10-01T00:00:00Z",
                "1969-01-01T00:00:00Z",
            ])
        );
        assert_eq!(
            parts(&rows[6]),
            expected([
                "1900-02-28T12:34:00Z",
                "1900-02-28T12:00:00Z",
                "1900-02-28T00:00:00Z",
                "1900-02-26T00:00:00Z",
                "1900-02-01T00:00:00Z",
                "1900-01-01T00:00:00Z",
                "1900-01-01T00:00:00Z",
            ])
        );
        assert_eq!(
            parts(&rows[7]),
            expected([
                "2024-02-29T00:00:00Z",
                "2024-02-29T00:00:00Z",
                "2024-02-29T00:00:00Z",
                "2024-02-26T00:00:00Z",
                "2024-02-01T00:00:00Z",
                "2024-01-01T00:00:00Z",
                "2024-01-01T00:00:00Z",
            ])
        );
    })
    .await;
}

#[tokio::test]
async fn an_overflow_fails_its_batch_and_no_other() {
    let db = overflow::NextDb::open("memory:///").await.unwrap();
    let fact = |id, count| Fact { id, count, ..Fact::default() };
    let (first, bad, last) = tokio::join!(
        db.fact.insert(fact(1, 1)),
        db.fact.insert_many([fact(2, 2), fact(3, i64::MAX)]),
        db.fact.insert(fact(4, -1)),
    );
    first.unwrap();
    last.unwrap();
    let error = bad.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("view `Next`"), "{error}");
    assert!(error.to_string().to_lowercase().contains("overflow"), "{error}");
    let mut ids = db.fact.all().await.unwrap().iter().map(|row| row.id).collect::<Vec<_>>();
    ids.sort_unstable();
    assert_eq!(ids, [1, 4]);
    holds!(db.next, "1 2", "4 0");
    db.fact.insert(fact(5, 5)).await.unwrap();
    holds!(db.next, "1 2", "4 0", "5 6");
}

#[tokio::test]
async fn a_sum_beyond_its_type_is_an_error_that_names_view_and_column() {
    let db = overflow::TotalDb::open("memory:///").await.unwrap();
    let fact = |name: &str, count| Fact { name: Some(name.into()), count, ..Fact::default() };
    db.fact.insert_many([fact("a", i64::MAX), fact("b", 1)]).await.unwrap();
    holds!(db.total, "a 9223372036854775807", "b 1");
    db.fact.insert(fact("a", 1)).await.unwrap();
    let error = db.total.all().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let expected = "column `total`: 9223372036854775808 is outside of the range of Int64";
    assert!(error.to_string().contains("`Total`") && error.to_string().contains(expected), "{error}");
    // The state is wider than the sum: what comes later can bring it back.
    db.fact.insert(fact("a", -1)).await.unwrap();
    holds!(db.total, "a 9223372036854775807", "b 1");
}

//! Views over several members: unions and references, and what is decided over a view's own rows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use parquedb::{Collection, database, views};

#[derive(Collection, Clone, Debug, PartialEq)]
pub(crate) struct Hit {
    pub(crate) page: String,
    pub(crate) millis: i64,
}

views! {
    pub(crate) Busy: {
        $from: Hit,
        $groupBy: [page],
        $compute: { hits: $count(*), slowest: $max(millis) },
        $having: { hits: { $gt: 1 }, page: { $ne: "/health" } },
    }
    pub(crate) Pages: {
        $from: Hit,
        $groupBy: [page],
        $having: $length(page) + 1 > 3,
    }
    pub(crate) Slowest: {
        $from: Busy,
        $compute: { slowest: $max(slowest) },
        $having: slowest != null,
        $refresh: { mode: manual },
    }
}

database! { pub(crate) struct Web { Hit, Busy, Pages, Slowest } }

fn hit(page: &str, millis: i64) -> Hit {
    Hit { page: page.into(), millis }
}

#[tokio::test]
async fn having_decides_over_the_rows_of_the_view() {
    let db = Web::open("memory:///").await.unwrap();
    db.slowest.refresh().await.unwrap();
    assert_eq!(db.slowest.all().await.unwrap(), [], "the one group has nothing");
    db.hit.insert_many([hit("/a", 5), hit("/b", 7), hit("/health", 9), hit("/health", 9)]).await.unwrap();
    assert_eq!(db.busy.all().await.unwrap(), []);
    db.hit.insert_many([hit("/a", 30)]).await.unwrap();
    let busy = [Busy { page: "/a".into(), hits: 2, slowest: 30 }];
    assert_eq!(db.busy.all().await.unwrap(), busy, "a group that was too small before");
    assert_eq!(db.busy.find(|row| row.hits.ge(2)).await.unwrap(), busy);
    assert_eq!(db.pages.all().await.unwrap(), [Pages { page: "/health".into() }]);
    db.slowest.refresh().await.unwrap();
    assert_eq!(
        db.slowest.all().await.unwrap(),
        [Slowest { slowest: Some(30) }],
        "a view over it sees the same"
    );
}

#[derive(Collection, Clone, Debug, PartialEq)]
pub(crate) struct Click {
    pub(crate) millis: i64,
    pub(crate) page: String,
    pub(crate) button: Option<u8>,
}

#[derive(Collection, Clone, Debug, PartialEq)]
pub(crate) struct Scroll {
    pub(crate) page: String,
    pub(crate) far: f64,
    pub(crate) millis: i64,
}

views! {
    /// Everything that happened, told apart.
    pub(crate) Activity: {
        $from: [Hit, Click, Scroll],
        $filter: $or(millis > 3, $source != "Hit"),
        $select: { kind: $source, page, seconds: millis / 1000 },
        $refresh: { mode: manual },
    }
    pub(crate) Kinds: {
        $from: [Click, Scroll],
        $groupBy: [{ kind: $lower($source) }],
        $compute: {
            rows: $count(*),
            slow: $count(*, $filter: { millis: { $gt: 3 }, $source: { $in: ["Click", "Hit"] } }),
        },
        $refresh: { mode: manual },
    }
    pub(crate) Number: {
        $from: [Activity, Busier],
        $compute: { rows: $count(*) },
        $refresh: { mode: manual },
    }
    pub(crate) Busier: {
        $from: Hit,
        $groupBy: [page],
        $refresh: { mode: manual },
    }
}

database! { pub(crate) struct Site { Hit, Click, Scroll, Activity, Kinds, Number, Busier } }

#[tokio::test]
async fn union_takes_the_rows_of_all_sources() {
    let db = Site::open("memory:///").await.unwrap();
    db.hit.insert_many([hit("/a", 1), hit("/b", 5000)]).await.unwrap();
    let clicks = [(2, "/a"), (4, "/c")];
    let clicks = clicks.map(|(millis, page)| Click { millis, page: page.into(), button: None });
    db.click.insert_many(clicks).await.unwrap();
    db.scroll.insert_many([Scroll { page: "/b".into(), far: 0.5, millis: 9000 }]).await.unwrap();
    for view in [&db.activity.refresh().await, &db.kinds.refresh().await, &db.busier.refresh().await] {
        assert!(view.as_ref().unwrap());
    }
    assert!(db.number.refresh().await.unwrap());

    let mut activity = db.activity.all().await.unwrap();
    activity.sort_by(|a, b| (&a.kind, &a.page).cmp(&(&b.kind, &b.page)));
    let row = |kind: &str, page: &str, seconds| Activity { kind: kind.into(), page: page.into(), seconds };
    let expected = [
        row("Click", "/a", 0.002),
        row("Click", "/c", 0.004),
        row("Hit", "/b", 5.0),
        row("Scroll", "/b", 9.0),
    ];
    assert_eq!(activity, expected);
    let mut kinds = db.kinds.all().await.unwrap();
    kinds.sort_by(|a, b| a.kind.cmp(&b.kind));
    let expected =
        [("click", 2, 1), ("scroll", 1, 0)].map(|(kind, rows, slow)| Kinds { kind: kind.into(), rows, slow });
    assert_eq!(kinds, expected);
    assert_eq!(db.number.all().await.unwrap(), [Number { rows: 6 }], "four of one source, two of the other");
}

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

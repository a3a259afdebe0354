//! Lists whose elements become rows: with their positions, and where there are none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use parquedb::{Collection, database, views};

#[derive(Collection, Clone, Debug, PartialEq)]
pub(crate) struct Page {
    pub(crate) id: i64,
    pub(crate) links: Option<Vec<Link>>,
    pub(crate) words: Vec<Option<String>>,
}

#[derive(Collection, Clone, Debug, PartialEq)]
pub(crate) struct Link {
    pub(crate) to: String,
    pub(crate) clicks: u32,
    pub(crate) tags: Vec<String>,
}

views! {
    pub(crate) Links: {
        $from: Page,
        $unnest: { path: links, index: at },
        $where: at < 2 || links.clicks > 5,
        $select: { id, at, next: at + 1, to: links.to },
    }
    pub(crate) AllLinks: {
        $from: Page,
        $unnest: { path: links, keepEmpty: true, index: at },
        $select: {
            id, position: at, link: links, to: links.to, clicks: links.clicks, tag: links.tags[0],
            is_there: { links.to: { $exists: true } },
        },
    }
    pub(crate) Words: {
        $from: Page,
        $unnest: { path: words, keepEmpty: true },
        $groupBy: [{ word: words }],
        $compute: { rows: $count(*), pages: $countDistinct(id) },
    }
    pub(crate) Positions: {
        $from: Page,
        $unnest: { index: id, path: words },
        $groupBy: [{ position: id }],
        $compute: { words: $count(words), furthest: $max(id) },
    }
}

database! { pub(crate) struct Site { Page, Links, AllLinks, Words, Positions } }

async fn site() -> Site {
    let link = |to: &str, clicks| Link { to: to.into(), clicks, tags: vec![to.to_uppercase()] };
    let words =
        |words: &[&str]| words.iter().map(|word| (*word != "-").then(|| (*word).to_owned())).collect();
    let db = Site::open("memory:///").await.unwrap();
    db.page
        .insert_many([
            Page {
                id: 1,
                links: Some(vec![link("a", 1), link("b", 2), link("c", 3), link("d", 9)]),
                words: words(&["x", "-", "x"]),
            },
            Page { id: 2, links: Some(Vec::new()), words: words(&["x"]) },
            Page { id: 3, links: None, words: words(&[]) },
        ])
        .await
        .unwrap();
    db
}

#[tokio::test]
async fn elements_know_their_positions() {
    let db = site().await;
    let mut links = db.links.all().await.unwrap();
    links.sort_by_key(|row| row.at);
    let row = |at, to: &str| Links { id: 1, at, next: at + 1, to: to.into() };
    assert_eq!(links, [row(0, "a"), row(1, "b"), row(3, "d")]);

    let mut positions = db.positions.all().await.unwrap();
    positions.sort_by_key(|row| row.position);
    let row = |position, words| Positions { position, words, furthest: position };
    assert_eq!(positions, [row(0, 2), row(1, 0), row(2, 1)], "the position hides the field `id`");
}

#[tokio::test]
async fn rows_without_elements_can_stay() {
    let db = site().await;
    let mut links = db.all_links.all().await.unwrap();
    links.sort_by_key(|row| (row.id, row.position));
    let there: Vec<_> = links.iter().filter(|row| row.is_there).map(|row| row.to.as_deref()).collect();
    assert_eq!(there, ["a", "b", "c", "d"].map(Some));
    assert_eq!(links[3].link.as_ref().map(|link| link.clicks), Some(9));
    assert_eq!((links[3].tag.as_deref(), links[3].clicks), (Some("D"), Some(9)));
    let kept =
        |id| AllLinks { id, position: None, link: None, to: None, clicks: None, tag: None, is_there: false };
    assert_eq!(links[4..], [kept(2), kept(3)], "an empty list, and none");

    let mut words = db.words.all().await.unwrap();
    words.sort_by(|a, b| a.word.cmp(&b.word));
    let row = |word: Option<&str>, rows, pages| Words { word: word.map(Into::into), rows, pages };
    assert_eq!(words, [row(None, 2, 2), row(Some("x"), 3, 2)], "one null in a list, one for the empty list");
}

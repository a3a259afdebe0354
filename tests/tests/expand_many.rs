//! `$expand` of lists of references: rows with the lists of those they refer to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod truth;

use parquedb::arrow::util::pretty::pretty_format_batches;
use parquedb::declare::definition::Definition;
use parquedb::{
    Collection, CompactOptions, Connection, Database, Freshness, Ref, Row, Uuid, View, database, views,
};

#[derive(Collection, Clone, Debug, PartialEq)]
pub(crate) struct Point {
    pub(crate) x: i64,
    pub(crate) y: Option<i64>,
}

#[derive(Collection, Clone, Debug, PartialEq)]
#[collection(key = id)]
pub(crate) struct Tag {
    #[collection(rename = "key")]
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) weight: Option<i64>,
    pub(crate) at: Point,
    pub(crate) words: Vec<String>,
    pub(crate) parent: Option<Ref<Tag>>,
    pub(crate) related: Vec<Ref<Tag>>,
}

#[derive(Collection, Clone, Debug, PartialEq)]
#[collection(key = id)]
pub(crate) struct Author {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) tags: Vec<Ref<Tag>>,
}

#[derive(Collection, Clone, Debug, PartialEq)]
#[collection(key = id)]
pub(crate) struct Post {
    pub(crate) id: i64,
    pub(crate) title: String,
    pub(crate) author: Option<Ref<Author>>,
    pub(crate) tags: Vec<Ref<Tag>>,
    pub(crate) others: Option<Vec<Ref<Tag>>>,
    pub(crate) readers: Vec<Option<Ref<Author>>>,
}

/// Rows without a key, which may be there several times.
#[derive(Collection, Clone, Debug, PartialEq)]
pub(crate) struct Note {
    pub(crate) title: String,
    pub(crate) tags: Vec<Ref<Tag>>,
}

views! {
    /// Posts with all that they refer to.
    pub(crate) Full: {
        $from: Post,
        $expand: [tags, others, author, author.tags, readers],
    }
    pub(crate) Later: {
        $from: Post,
        $filter: title != "hidden",
        $expand: [tags],
        $refresh: { mode: manual },
    }
    pub(crate) Then: { $from: Post, $expand: { tags: asOf } }
    pub(crate) Noted: { $from: Note, $expand: [tags] }
    pub(crate) Family: { $from: Tag, $expand: [related] }
    pub(crate) Listed: {
        $from: Post,
        $filter: { tags: { $exists: true } },
        $expand: [tags, author.tags],
        $where: !{ title: "hidden" },
        $select: {
            id, tags, first: tags[0].name, keyed: tags[0].parent.name, is_pair: { tags: { $size: 2 } },
            author_tags, is_known: { tags[0]: { $exists: true } },
        },
    }
    pub(crate) Named: {
        $from: Post,
        $expand: [tags, author],
        $unnest: { path: tags, index: at },
        $where: tags.weight == null || tags.weight > 0,
        $select: { id, at, tag: tags, name: tags.name, x: tags.at.x, parent: tags.parent, above: tags.parent.name,
                   who: author.name },
    }
    pub(crate) PerTag: {
        $from: [Post, Note],
        $expand: [tags],
        $unnest: tags,
        $groupBy: [tags.name],
        $compute: { rows: $count(*), weight: $sum(tags.weight), least: $min(tags.at.x) },
    }
    pub(crate) OverFull: {
        $from: Full,
        $unnest: { path: tags, keepEmpty: true },
        $select: { id, name: tags.name, author: author.name, others_are_null: { others: null } },
    }
    pub(crate) PerFirst: {
        $from: Full,
        $groupBy: [{ first: tags[0].name }],
        $compute: { posts: $count(*) },
    }
    pub(crate) Again: { $from: Full, $filter: { tags: { $size: 1 } } }
}

database! {
    /// All of them, for the random histories. Planning so many views takes most of a test's time.
    pub(crate) struct Blog {
        Tag, Author, Post, Note, Full, Later, Then, Noted, Family, Listed, Named, PerTag, OverFull, PerFirst, Again,
    }
}
database! { pub(crate) struct WithFull { Tag, Author, Post, Full } }
database! { pub(crate) struct WithLater { Tag, Author, Post, Full, Later } }
database! { pub(crate) struct WithOthers { Tag, Author, Post, Note, Listed, Named, PerTag } }
database! { pub(crate) struct OverLists { Tag, Author, Post, Full, OverFull, PerFirst, Again } }
database! { pub(crate) struct Notes { Tag, Note, Noted } }
database! { pub(crate) struct Tags { Tag, Family } }
database! { pub(crate) struct AsOfIngest { Tag, Author, Post, Then } }

fn tag(id: &str, name: &str) -> Tag {
    Tag {
        id: id.into(),
        name: name.into(),
        weight: Some(i64::try_from(name.len()).unwrap()),
        at: Point { x: 1, y: None },
        words: vec![format!("{name} 1"), format!("{name} 2")],
        parent: Some("t1".into()),
        related: vec![],
    }
}

fn refs(keys: &[&str]) -> Vec<Ref<Tag>> {
    keys.iter().map(|key| Ref::from(*key)).collect()
}

fn post(id: i64, tags: &[&str]) -> Post {
    Post { id, title: format!("post {id}"), author: None, tags: refs(tags), others: None, readers: vec![] }
}

fn author(id: u32, tags: &[&str]) -> Author {
    Author { id, name: format!("author {id}"), tags: refs(tags) }
}

async fn open<D: Database>() -> D {
    D::builder().open("memory:///").await.unwrap()
}

/// All views hold what they must.
async fn verify(db: &Connection) {
    for status in db.status().await.unwrap() {
        let verification = db.verify(&status.name, None).await.unwrap();
        assert!(verification.is_exact(), "{verification}");
    }
}

async fn rows_of(full: &View<Full>) -> Vec<Full> {
    full.all().order_by(|row| row.id.asc()).await.unwrap()
}

/// The names in a list of rows; `-` for one that is missing.
fn names(rows: &[Option<Tag>]) -> String {
    rows.iter().map(|row| row.as_ref().map_or("-", |tag| &tag.name)).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn lists_become_rows_in_their_order() {
    let db: WithFull = open().await;
    let (red, blue) = (tag("t1", "red"), tag("t2", "blue"));
    db.tag.insert_many([red.clone(), blue.clone()]).await.unwrap();
    db.author.insert(author(7, &["t2"])).await.unwrap();
    let mut first = post(1, &["t2", "t1", "t9", "t2"]);
    first.others = Some(refs(&["t1"]));
    first.author = Some(Ref::new(7u32));
    first.readers = vec![None, Some(Ref::new(7u32)), Some(Ref::new(8u32)), Some(Ref::new(7u32))];
    let mut third = post(3, &["t2", "t1", "t9", "t2"]);
    third.others = Some(vec![]);
    db.post.insert_many([first.clone(), post(2, &[]), third.clone()]).await.unwrap();
    let rows = rows_of(&db.full).await;
    let list = vec![Some(blue.clone()), Some(red.clone()), None, Some(blue.clone())];
    let seven = Some(author(7, &["t2"]));
    assert_eq!(
        rows,
        [
            Full {
                row: first.clone(),
                tags: list.clone(),
                others: Some(vec![Some(red)]),
                author: seven.clone(),
                author_tags: Some(vec![Some(blue)]),
                readers: vec![None, seven.clone(), None, seven],
            },
            Full {
                row: post(2, &[]),
                tags: vec![],
                others: None,
                author: None,
                author_tags: None,
                readers: vec![],
            },
            Full {
                row: third,
                tags: list,
                others: Some(vec![]),
                author: None,
                author_tags: None,
                readers: vec![]
            },
        ]
    );
    assert_eq!((&rows[0].row.tags, rows[0].id), (&first.tags, 1), "the row is the source's");
    let batches = db.full.all().batches().await.unwrap();
    let columns = batches[0].schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    assert_eq!(
        columns.join(" "),
        "id title author tags others readers tags_rows others_rows author_id author_name author_tags \
         author_tags_rows readers_rows"
    );
    assert_eq!(Full::from_batch(&Full::to_batch(&rows).unwrap()).unwrap(), rows);
    let sql =
        "select id, cardinality(tags_rows) as size, tags_rows[2]['name'] as second from full order by id";
    let found = db.sql(&sql.replace("from full", "from \"full\"")).await.unwrap().collect().await.unwrap();
    insta::assert_snapshot!(pretty_format_batches(&found).unwrap());
    verify(&db).await;
}

#[tokio::test]
async fn changes_of_rows_in_the_lists_reach_the_view() {
    let db: WithFull = open().await;
    db.post.insert_many([post(1, &["t1", "t2"]), post(2, &["t3"]), post(3, &["t2", "t2"])]).await.unwrap();
    let lists = || async {
        let rows = rows_of(&db.full).await;
        rows.iter().map(|row| names(&row.tags)).collect::<Vec<_>>()
    };
    assert_eq!(lists().await, ["- -", "-", "- -"]);
    db.tag.insert(tag("t2", "late")).await.unwrap();
    assert_eq!(lists().await, ["- late", "-", "late late"], "rows come later than those that refer to them");
    verify(&db).await;
    db.tag.upsert_many([tag("t2", "changed"), tag("t3", "green")]).await.unwrap();
    assert_eq!(lists().await, ["- changed", "green", "changed changed"]);
    verify(&db).await;
    db.tag.delete(|row| row.id.eq("t2")).await.unwrap();
    assert_eq!(lists().await, ["- -", "green", "- -"]);
    verify(&db).await;

    // Both in one commit, and a row that changes on both sides.
    let mut batch = db.batch();
    batch.insert(&db.tag, [tag("t1", "one"), tag("t2", "two")]).unwrap();
    batch.upsert(&db.post, [post(3, &["t3", "t1"]), post(4, &["t2", "t1"])]).unwrap();
    batch.delete(&db.post, |row| row.id.eq(2)).unwrap();
    batch.commit().await.unwrap();
    assert_eq!(lists().await, ["one two", "green one", "two one"]);
    verify(&db).await;

    // Rows of both lists, and of the list behind another reference, change at once.
    let mut both = post(5, &["t1"]);
    (both.others, both.author) = (Some(refs(&["t1", "t2"])), Some(Ref::new(1u32)));
    db.post.insert(both).await.unwrap();
    db.author.insert(author(1, &["t1", "t1"])).await.unwrap();
    db.tag.upsert(tag("t1", "uno")).await.unwrap();
    let row = rows_of(&db.full).await.pop().unwrap();
    assert_eq!(names(&row.tags), "uno");
    assert_eq!(names(row.others.as_ref().unwrap()), "uno two");
    assert_eq!(names(row.author_tags.as_ref().unwrap()), "uno uno");
    db.author.upsert(author(1, &["t2"])).await.unwrap();
    assert_eq!(names(rows_of(&db.full).await.pop().unwrap().author_tags.as_ref().unwrap()), "two");
    verify(&db).await;
}

#[tokio::test]
async fn equal_rows_stay_as_many_as_they_are() {
    let db: Notes = open().await;
    let note = |title: &str, tags: &[&str]| Note { title: title.into(), tags: refs(tags) };
    db.note.insert_many([note("a", &["t1"]), note("a", &["t1"]), note("b", &["t1"])]).await.unwrap();
    db.note.insert_many([note("a", &["t1"]), note("c", &[]), note("c", &[])]).await.unwrap();
    db.tag.insert(tag("t1", "red")).await.unwrap();
    let mut rows = db.noted.all().await.unwrap();
    rows.sort_by(|a, b| a.title.cmp(&b.title));
    let lists = rows.iter().map(|row| format!("{} {}", row.title, names(&row.tags))).collect::<Vec<_>>();
    assert_eq!(lists, ["a red", "a red", "a red", "b red", "c ", "c "]);
    verify(&db).await;
}

#[tokio::test]
async fn the_list_is_that_of_the_rows_after_expand() {
    let db: WithOthers = open().await;
    db.tag.insert_many([tag("t1", "red"), tag("t2", "blue")]).await.unwrap();
    db.author.insert(author(7, &["t2"])).await.unwrap();
    let mut first = post(1, &["t2", "t9"]);
    first.author = Some(Ref::new(7u32));
    db.post.insert_many([first, post(2, &[])]).await.unwrap();
    let mut listed = db.listed.all().order_by(|row| row.id.asc()).await.unwrap();
    let blue = tag("t2", "blue");
    let second = Listed {
        id: 2,
        tags: vec![],
        first: None,
        keyed: None,
        is_pair: false,
        author_tags: None,
        is_known: false,
    };
    assert_eq!(listed.pop(), Some(second));
    let row = Listed {
        id: 1,
        tags: vec![Some(blue.clone()), None],
        first: Some("blue".into()),
        keyed: Some("red".into()),
        is_pair: true,
        author_tags: Some(vec![Some(blue.clone())]),
        is_known: true,
    };
    assert_eq!(listed, [row]);

    let mut named = db.named.all().await.unwrap();
    named.sort_by_key(|row| row.at);
    let who = Some("author 7".to_owned());
    let first = Named {
        id: 1,
        at: 0,
        tag: Some(blue),
        name: Some("blue".into()),
        x: Some(1),
        parent: Some("t1".into()),
        above: Some("red".into()),
        who: who.clone(),
    };
    let missing = Named { id: 1, at: 1, tag: None, name: None, x: None, parent: None, above: None, who };
    assert_eq!(named, [first, missing]);
    let mut tags = db.per_tag.all().await.unwrap();
    tags.sort_by(|a, b| a.name.cmp(&b.name));
    let blue = PerTag { name: Some("blue".into()), rows: 1, weight: 4, least: Some(1) };
    assert_eq!(tags, [PerTag { name: None, rows: 1, weight: 0, least: None }, blue]);

    // A change of what a row of the list refers to.
    db.tag.upsert(tag("t1", "pink")).await.unwrap();
    let named = db.named.find(|row| row.above.eq("pink")).await.unwrap();
    assert_eq!(named.len(), 1);
    verify(&db).await;
}

#[tokio::test]
async fn views_and_queries_look_into_the_lists() {
    let db: OverLists = open().await;
    db.tag.insert_many([tag("t1", "red"), tag("t2", "blue")]).await.unwrap();
    db.post.insert_many([post(1, &["t1"]), post(2, &["t2", "t1"]), post(3, &[])]).await.unwrap();
    let find = db.full.find(|row| row.tags.at(0).name.eq("blue").and(row.tags.size(2)));
    assert_eq!(find.await.unwrap().iter().map(|row| row.id).collect::<Vec<_>>(), [2]);
    let again = db.again.all().await.unwrap();
    assert_eq!((again.len(), again[0].id, names(&again[0].tags).as_str()), (1, 1, "red"));
    let mut over = db.over_full.all().await.unwrap();
    over.sort_by(|a, b| (a.id, &a.name).cmp(&(b.id, &b.name)));
    let row = |id, name: Option<&str>| OverFull {
        id,
        name: name.map(Into::into),
        author: None,
        others_are_null: true,
    };
    assert_eq!(over, [row(1, Some("red")), row(2, Some("blue")), row(2, Some("red")), row(3, None)]);
    db.tag.upsert(tag("t1", "pink")).await.unwrap();
    let mut firsts = db.per_first.all().await.unwrap();
    firsts.sort_by(|a, b| a.first.cmp(&b.first));
    let first = |first: Option<&str>| PerFirst { first: first.map(Into::into), posts: 1 };
    assert_eq!(firsts, [first(None), first(Some("blue")), first(Some("pink"))]);
    verify(&db).await;
}

#[tokio::test]
async fn a_collection_may_list_its_own_rows() {
    let db: Tags = open().await;
    let with = |id: &str, related: &[&str]| Tag { related: refs(related), ..tag(id, id) };
    db.tag.insert_many([with("t1", &["t2", "t1"]), with("t2", &["t3"])]).await.unwrap();
    db.tag.insert(with("t3", &["t3", "t1"])).await.unwrap();
    db.tag
        .upsert_many([with("t1", &["t1", "t3"]), Tag { name: "two".into(), ..with("t2", &["t2"]) }])
        .await
        .unwrap();
    let rows = db.family.all().order_by(|row| row.id.asc()).await.unwrap();
    let lists = rows.iter().map(|row| names(&row.related)).collect::<Vec<_>>();
    assert_eq!(lists, ["t1 t3", "two", "t3 t1"]);
    verify(&db).await;
}

#[tokio::test]
async fn manual_views_follow_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let open = || async { WithLater::open(folder.path().to_str().unwrap()).await.unwrap() };
    let db = open().await;
    db.later.refresh().await.unwrap();
    db.post
        .insert_many([post(1, &["t1", "t2"]), Post { title: "hidden".into(), ..post(2, &["t1"]) }])
        .await
        .unwrap();
    db.tag.insert_many([tag("t1", "red"), tag("t2", "blue")]).await.unwrap();
    let status = db.status().await.unwrap();
    let status = status.iter().find(|status| status.name == "Later").unwrap();
    assert_eq!(status.freshness, Freshness::Stale);
    assert_eq!(db.later.all().await.unwrap(), []);
    let fresh = db.later.all().fresh().await.unwrap();
    assert_eq!(
        fresh.iter().map(|row| (row.id, names(&row.tags))).collect::<Vec<_>>(),
        [(1, "red blue".into())]
    );
    db.later.refresh().await.unwrap();
    assert_eq!(db.later.all().await.unwrap(), fresh);
    db.tag.upsert(tag("t2", "green")).await.unwrap();
    db.post.delete(|row| row.id.eq(2)).await.unwrap();
    db.flush().await.unwrap();
    db.compact(CompactOptions { min_files: 2, full: true, ..CompactOptions::default() }).await.unwrap();
    let db = open().await;
    assert_eq!(names(&db.later.all().await.unwrap()[0].tags), "red blue", "it is as it was refreshed");
    assert_eq!(names(&rows_of(&db.full).await[0].tags), "red green");
    db.later.refresh().await.unwrap();
    assert_eq!(names(&db.later.all().await.unwrap()[0].tags), "red green");
    verify(&db).await;
    let before = rows_of(&db.full).await;
    db.full.rebuild().await.unwrap();
    assert_eq!(rows_of(&db.full).await, before);
    verify(&db).await;
}

#[tokio::test]
async fn lists_as_of_ingest_keep_what_was_true() {
    let db: AsOfIngest = open().await;
    db.post.insert(post(1, &["t1", "t2"])).await.unwrap();
    db.tag.insert(tag("t1", "red")).await.unwrap();
    let mut batch = db.batch();
    batch.insert(&db.post, [post(2, &["t2", "t1", "t2"]), post(3, &[])]).unwrap();
    batch.insert(&db.tag, [tag("t2", "blue")]).unwrap();
    batch.commit().await.unwrap();
    db.tag.upsert(tag("t2", "green")).await.unwrap();
    db.post.insert(post(4, &["t2", "t1", "t2"])).await.unwrap();
    db.tag.delete(|row| row.id.eq("t1")).await.unwrap();
    let lists = || async {
        let rows = db.then.all().order_by(|row| row.id.asc()).await.unwrap();
        rows.iter().map(|row| names(&row.tags)).collect::<Vec<_>>()
    };
    assert_eq!(lists().await, ["- -", "blue red blue", "", "green red green"]);
    db.post.update(|row| row.id.eq(1), |row| row.title.set("again")).await.unwrap();
    db.post.delete(|row| row.id.eq(2)).await.unwrap();
    assert_eq!(lists().await, ["- green", "", "green red green"]);
    verify(&db).await;
    db.then.rebuild().await.unwrap();
    assert_eq!(lists().await, ["- green", "", "green red green"]);
}

#[tokio::test]
async fn it_is_explained_what_is_read() {
    let db: Blog = open().await;
    let explanation = db.later.explain().await.unwrap();
    let change =
        explanation.changes.iter().find(|change| change.change.contains("to which `tags` refers")).unwrap();
    assert_eq!(
        change.cost,
        "all rows of Post are read to find those whose list has their keys, and Tag to look these lists up, as it was \
         and as it is: their rows here are removed, and what they give now is added"
    );
    let explanation = db.then.explain().await.unwrap().to_string();
    assert!(explanation.contains("rows keep what they referred to when they came"), "{explanation}");
}

#[tokio::test]
async fn lists_of_what_has_no_key_are_an_error() {
    let open = |change: fn(&mut parquedb::declare::plan::Join)| async move {
        let mut definitions = Blog::definitions();
        let later = definitions.iter_mut().find(|definition| definition.name() == "Later").unwrap();
        let Definition::View(view) = later else { panic!("it is a view") };
        view.plan.joins.iter_mut().for_each(change);
        let opened = Connection::builder().with_definitions(definitions).open("memory:///").await;
        opened.unwrap_err().to_string()
    };
    let error = open(|join| join.key = "name".into()).await;
    assert!(
        error.contains("view `Later` looks up the rows of the list `tags`, but `name` is not the key"),
        "{error}"
    );
    let error = open(|join| join.required = true).await;
    assert!(error.contains("it cannot be required"), "{error}");
    let error = open(|join| join.after_unnest = true).await;
    assert!(error.contains("it cannot come after an `$unnest`"), "{error}");
}

mod keys {
    //! Keys of other types.

    use super::*;

    #[derive(Collection, Clone, Debug, PartialEq)]
    #[collection(key = id)]
    pub(crate) struct Thing {
        pub(crate) id: Uuid,
        pub(crate) name: String,
    }

    #[derive(Collection, Clone, Debug, PartialEq)]
    #[collection(key = id)]
    pub(crate) struct Day {
        pub(crate) id: parquedb::Date,
        pub(crate) sums: std::collections::BTreeMap<String, f64>,
    }

    #[derive(Collection, Clone, Debug, PartialEq)]
    pub(crate) struct Visit {
        pub(crate) things: Vec<Ref<Thing>>,
        pub(crate) days: Vec<Ref<Day>>,
        pub(crate) counts: std::collections::BTreeMap<String, i64>,
    }

    views! { pub(crate) Visits: { $from: Visit, $expand: [things, days] } }
    database! { pub(crate) struct Site { Thing, Day, Visit, Visits } }

    #[tokio::test]
    async fn keys_are_of_any_type() {
        let db = Site::open("memory:///").await.unwrap();
        let id = |last| Uuid::from_bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        let thing = |last, name: &str| Thing { id: id(last), name: name.into() };
        let day =
            |days, sum: f64| Day { id: parquedb::Date::from_days(days), sums: [("a".into(), sum)].into() };
        let visit = Visit {
            things: vec![Ref::new(id(2)), Ref::new(id(1)), Ref::new(id(2))],
            days: vec![Ref::new(parquedb::Date::from_days(3)), Ref::new(parquedb::Date::from_days(4))],
            counts: [("b".into(), 2)].into(),
        };
        db.visit.insert_many([visit.clone(), visit.clone()]).await.unwrap();
        db.thing.insert_many([thing(1, "one"), thing(2, "two")]).await.unwrap();
        db.day.insert_many([day(3, -0.0)]).await.unwrap();
        db.thing.upsert(thing(1, "uno")).await.unwrap();
        db.day.upsert(day(3, 0.5)).await.unwrap();
        let things = vec![Some(thing(2, "two")), Some(thing(1, "uno")), Some(thing(2, "two"))];
        let row = Visits { row: visit, things, days: vec![Some(day(3, 0.5)), None] };
        assert_eq!(db.visits.all().await.unwrap(), [row.clone(), row]);
        assert!(db.verify("Visits", None).await.unwrap().is_exact());
    }
}

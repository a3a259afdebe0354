//! The traps of joins that are kept up to date: rows that come before what they refer to, both in one commit,
//! rows that go and come back, references behind references.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use parquedb::{Collection, Ref, database, views};

#[derive(Collection, Clone, Debug, PartialEq)]
#[collection(key = id)]
pub(crate) struct Company {
    pub(crate) id: u32,
    pub(crate) name: String,
}

#[derive(Collection, Clone, Debug, PartialEq)]
#[collection(key = id)]
pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) bot: bool,
    pub(crate) company: Ref<Company>,
}

#[derive(Collection, Clone, Debug, PartialEq)]
#[collection(key = id)]
pub(crate) struct Change {
    pub(crate) id: i64,
    pub(crate) author: Ref<Person>,
    pub(crate) readers: Vec<Ref<Person>>,
    pub(crate) lines: i64,
}

#[derive(Collection, Clone, Debug, PartialEq)]
pub(crate) struct Comment {
    pub(crate) author: Ref<Person>,
    pub(crate) lines: i64,
}

views! {
    pub(crate) ByPeople: {
        $from: Change,
        $filter: { author.bot: false },
        $select: { id, company: author.company.name },
    }
    pub(crate) PerCompany: {
        $from: Change,
        $groupBy: [{ company: author.company.name }],
        $compute: { changes: $count(*), lines: $sum(lines), largest: $max(lines) },
    }
    pub(crate) Readers: {
        $from: Change,
        $unnest: { path: readers, keepEmpty: true, index: at },
        $select: { id, at, bot: readers.bot, company: readers.company.name, own: author.bot },
    }
    pub(crate) OfStrangers: {
        $from: [Change, Comment],
        $filter: { author: { $nin: Person, $where: { bot: false, company.name: { $ne: "Two" } } } },
        $groupBy: [{ what: $source }],
        $compute: { rows: $count(*), lines: $sum(lines) },
        $having: rows > 1,
    }
}

database! {
    pub(crate) struct Forge { Company, Person, Change, Comment, ByPeople, PerCompany, Readers, OfStrangers }
}

fn company(id: u32, name: &str) -> Company {
    Company { id, name: name.into() }
}

fn person(id: &str, bot: bool, company: u32) -> Person {
    Person { id: id.into(), bot, company: company.into() }
}

fn change(id: i64, author: &str, readers: &[&str]) -> Change {
    let readers = readers.iter().map(|reader| Ref::new(*reader)).collect();
    Change { id, author: author.into(), readers, lines: id * 10 }
}

/// What [`ByPeople`] holds, once every view is what its definition gives.
async fn by_people(db: &Forge, what: &str) -> Vec<(i64, Option<String>)> {
    for found in [
        db.by_people.verify().await.unwrap(),
        db.per_company.verify().await.unwrap(),
        db.readers.verify().await.unwrap(),
        db.of_strangers.verify().await.unwrap(),
    ] {
        assert!(found.is_exact(), "{what}: {found}");
    }
    let mut rows: Vec<_> =
        db.by_people.all().await.unwrap().into_iter().map(|row| (row.id, row.company)).collect();
    rows.sort_unstable();
    rows
}

fn row(id: i64, company: Option<&str>) -> (i64, Option<String>) {
    (id, company.map(Into::into))
}

#[tokio::test]
async fn every_side_of_a_join_reaches_the_view() {
    let db = Forge::open("memory:///").await.unwrap();
    db.change.insert_many([change(1, "ann", &["bob", "bot"]), change(2, "bob", &[])]).await.unwrap();
    let comments = ["ann", "eve"].map(|author| Comment { author: author.into(), lines: 1 });
    db.comment.insert_many(comments).await.unwrap();
    assert_eq!(by_people(&db, "nobody is there").await, []);

    db.person.insert(person("ann", false, 1)).await.unwrap();
    assert_eq!(by_people(&db, "a person after a change").await, [row(1, None)]);
    db.company.insert(company(1, "One")).await.unwrap();
    assert_eq!(by_people(&db, "a company after a person").await, [row(1, Some("One"))]);

    let mut batch = db.batch();
    batch.insert(&db.change, [change(3, "cid", &["cid", "ann"])]).unwrap();
    batch.insert(&db.person, [person("cid", false, 2), person("bob", true, 1)]).unwrap();
    batch.insert(&db.company, [company(2, "Two")]).unwrap();
    batch.commit().await.unwrap();
    assert_eq!(by_people(&db, "all in one commit").await, [row(1, Some("One")), row(3, Some("Two"))]);

    db.person.upsert(person("bob", false, 2)).await.unwrap();
    let all = [row(1, Some("One")), row(2, Some("Two")), row(3, Some("Two"))];
    assert_eq!(by_people(&db, "a bot turns out to be a person").await, all);
    db.company.delete(|company| company.id.eq(2)).await.unwrap();
    let orphans = [row(1, Some("One")), row(2, None), row(3, None)];
    assert_eq!(by_people(&db, "a company is deleted").await, orphans);
    db.company.upsert(company(2, "Two")).await.unwrap();
    assert_eq!(by_people(&db, "and restored").await, all);

    let mut batch = db.batch();
    batch.upsert(&db.person, [person("ann", false, 2), person("cid", true, 2)]).unwrap();
    batch.upsert(&db.company, [company(1, "Uno"), company(2, "Dos")]).unwrap();
    batch.upsert(&db.change, [change(2, "ann", &["ann"]), change(4, "dan", &[])]).unwrap();
    batch.commit().await.unwrap();
    assert_eq!(by_people(&db, "every side at once").await, [row(1, Some("Dos")), row(2, Some("Dos"))]);

    db.person.delete(|person| person.id.ne("cid")).await.unwrap();
    assert_eq!(by_people(&db, "all people are gone").await, []);
    db.change.delete(|change| change.id.gt(0)).await.unwrap();
    assert_eq!(by_people(&db, "and all changes").await, []);
    assert_eq!(db.per_company.all().await.unwrap(), []);
}

/// The only row of a view without keys stays in its table, with what it refers to as it is now.
#[tokio::test]
async fn the_only_row_of_a_view_follows_what_it_refers_to() {
    views! {
        pub(crate) Staff: { $from: Person, $compute: { people: $count(*), company: $max(company) } }
        pub(crate) Employer: { $from: Staff, $select: { people, name: company.name } }
        pub(crate) Employers: { $from: Staff, $groupBy: [{ name: company.name }], $compute: { people: $sum(people) } }
    }
    database! { pub(crate) struct Agency { Company, Person, Staff, Employer, Employers } }
    let db = Agency::open("memory:///").await.unwrap();
    db.company.insert(company(1, "One")).await.unwrap();
    db.person.insert_many([person("ann", false, 1), person("bob", true, 1)]).await.unwrap();
    for name in ["Eins", "Uno"] {
        // The only row of `Staff` is the same before and after.
        db.company.upsert(company(1, name)).await.unwrap();
        let employer = db.employer.all().await.unwrap();
        let held = employer.iter().map(|row| (row.people, row.name.as_deref())).collect::<Vec<_>>();
        assert_eq!(held, [(2, Some(name))]);
        let employers = db.employers.all().await.unwrap();
        let held = employers.iter().map(|row| (row.name.as_deref(), row.people)).collect::<Vec<_>>();
        assert_eq!(held, [(Some(name), 2)]);
        db.flush().await.unwrap();
    }
    // Both change in one commit.
    let mut batch = db.batch();
    batch.upsert(&db.company, [company(1, "Une")]).unwrap();
    batch.upsert(&db.person, [person("cid", true, 1)]).unwrap();
    batch.commit().await.unwrap();
    let employer = db.employer.all().await.unwrap();
    assert_eq!(
        employer.iter().map(|row| (row.people, row.name.as_deref())).collect::<Vec<_>>(),
        [(3, Some("Une"))]
    );
    db.company.delete(|row| row.id.eq(1)).await.unwrap();
    let employer = db.employer.all().await.unwrap();
    assert_eq!(employer.iter().map(|row| (row.people, row.name.as_deref())).collect::<Vec<_>>(), [(3, None)]);
    for view in ["Employer", "Employers"] {
        assert!(db.verify(view, None).await.unwrap().is_exact(), "{view}");
    }
}

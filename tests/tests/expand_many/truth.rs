//! After every step of a random history the views hold what plain Rust gives over the rows.

use super::{
    Author, Blog, Family, Full, Later, Named, Note, Noted, OverFull, PerTag, Point, Post, Tag, Then, verify,
};
use parquedb::testing::Random;
use parquedb::{CompactOptions, Ref};
use std::collections::BTreeMap;
use std::fmt::Debug;

/// What was written, and what each post found in its list when it was written.
#[derive(Default)]
struct Model {
    tags: BTreeMap<String, Tag>,
    authors: BTreeMap<u32, Author>,
    posts: BTreeMap<i64, Post>,
    then: BTreeMap<i64, Vec<Option<Tag>>>,
    notes: Vec<Note>,
}

impl Model {
    fn rows(&self, list: &[Ref<Tag>]) -> Vec<Option<Tag>> {
        list.iter().map(|tag| self.tags.get(tag.key()).cloned()).collect()
    }

    fn author(&self, key: Option<&Ref<Author>>) -> Option<Author> {
        key.and_then(|key| self.authors.get(key.key()).cloned())
    }

    fn full(&self) -> Vec<Full> {
        let row = |post: &Post| {
            let author = self.author(post.author.as_ref());
            Full {
                row: post.clone(),
                tags: self.rows(&post.tags),
                others: post.others.as_ref().map(|list| self.rows(list)),
                author_tags: author.as_ref().map(|author| self.rows(&author.tags)),
                author,
                readers: post.readers.iter().map(|reader| self.author(reader.as_ref())).collect(),
            }
        };
        self.posts.values().map(row).collect()
    }

    fn named(&self) -> Vec<Named> {
        let mut named = Vec::new();
        for post in self.posts.values() {
            for (at, tag) in self.rows(&post.tags).into_iter().enumerate() {
                let parent = tag.as_ref().and_then(|tag| tag.parent.clone());
                let above = parent.as_ref().and_then(|parent| self.tags.get(parent.key()));
                if tag.as_ref().and_then(|tag| tag.weight).is_some_and(|weight| weight <= 0) {
                    continue;
                }
                named.push(Named {
                    id: post.id,
                    at: at as u64,
                    name: tag.as_ref().map(|tag| tag.name.clone()),
                    x: tag.as_ref().map(|tag| tag.at.x),
                    above: above.map(|tag| tag.name.clone()),
                    who: self.author(post.author.as_ref()).map(|author| author.name),
                    parent,
                    tag,
                });
            }
        }
        named
    }

    fn per_tag(&self) -> Vec<PerTag> {
        let lists =
            self.posts.values().map(|post| &post.tags).chain(self.notes.iter().map(|note| &note.tags));
        let mut groups: BTreeMap<Option<String>, PerTag> = BTreeMap::new();
        for tag in lists.flat_map(|list| self.rows(list)) {
            let name = tag.as_ref().map(|tag| tag.name.clone());
            let empty = PerTag { name: name.clone(), rows: 0, weight: 0, least: None };
            let group = groups.entry(name).or_insert(empty);
            group.rows += 1;
            group.weight += tag.as_ref().and_then(|tag| tag.weight).unwrap_or(0);
            let x = tag.map(|tag| tag.at.x);
            group.least = [group.least, x].into_iter().flatten().min();
        }
        groups.into_values().collect()
    }

    fn over_full(&self) -> Vec<OverFull> {
        let rows = self.full().into_iter().flat_map(|row| {
            let names = match row.tags.is_empty() {
                true => vec![None],
                false => row.tags.iter().map(|tag| tag.as_ref().map(|tag| tag.name.clone())).collect(),
            };
            names.into_iter().map(move |name| OverFull {
                id: row.row.id,
                name,
                author: row.author.as_ref().map(|author| author.name.clone()),
                others_are_null: row.others.is_none(),
            })
        });
        rows.collect()
    }

    fn later(&self) -> Vec<Later> {
        let posts = self.posts.values().filter(|post| post.title != "hidden");
        posts.map(|post| Later { row: post.clone(), tags: self.rows(&post.tags) }).collect()
    }
}

/// As sets: the order of rows is nobody's.
fn same<T: Debug + PartialEq>(what: &str, mut found: Vec<T>, mut expected: Vec<T>) {
    let text = |row: &T| format!("{row:?}");
    found.sort_by_key(text);
    expected.sort_by_key(text);
    assert_eq!(found, expected, "{what}");
}

struct Rows(Random);

impl Rows {
    fn below(&mut self, end: u64) -> u64 {
        self.0.below(end)
    }

    fn key(&mut self) -> String {
        format!("t{}", self.below(6))
    }

    fn list(&mut self) -> Vec<Ref<Tag>> {
        // Few lists, so that many rows have the same.
        let size = self.below(4);
        (0..size).map(|_| Ref::from(self.key().as_str())).collect()
    }

    fn tag(&mut self) -> Tag {
        let name = format!("n{}", self.below(4));
        Tag {
            id: self.key(),
            name,
            weight: (!self.0.one_in(4)).then(|| i64::try_from(self.below(4)).unwrap()),
            at: Point { x: i64::try_from(self.below(3)).unwrap(), y: None },
            words: vec!["word".into(); usize::try_from(self.below(2)).unwrap()],
            parent: self.0.one_in(2).then(|| Ref::from(self.key().as_str())),
            related: self.list(),
        }
    }

    fn author(&mut self) -> Author {
        let id = u32::try_from(self.below(3)).unwrap();
        Author { id, name: format!("a{}", self.below(3)), tags: self.list() }
    }

    fn post(&mut self) -> Post {
        let reader =
            |rows: &mut Self| rows.0.one_in(2).then(|| Ref::new(u32::try_from(rows.below(4)).unwrap()));
        Post {
            id: i64::try_from(self.below(8)).unwrap(),
            title: if self.0.one_in(4) { "hidden".into() } else { format!("p{}", self.below(2)) },
            author: reader(self),
            tags: self.list(),
            others: self.0.one_in(2).then(|| self.list()),
            readers: (0..self.below(3)).map(|_| reader(self)).collect(),
        }
    }
}

async fn random_history(seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let open = || async {
        let builder = Blog::builder().log_options(|options| options.flush_after_commits = 4);
        builder.open(folder.path().to_str().unwrap()).await.unwrap()
    };
    let mut random = Rows(Random::new(seed));
    let (mut db, mut model) = (open().await, Model::default());
    db.later.refresh().await.unwrap();
    for step in 0..6 {
        let what =
            format!("seed {seed} (run it alone with PARQUEDB_SEED={seed} PARQUEDB_SEEDS=1), step {step}");
        let posts_before = model.posts.clone();
        let mut batch = db.batch();
        for _ in 0..1 + random.below(4) {
            match random.below(10) {
                0..=2 => {
                    let tag = random.tag();
                    model.tags.insert(tag.id.clone(), tag.clone());
                    batch.upsert(&db.tag, [tag]).unwrap();
                }
                3 => {
                    let key = random.key();
                    model.tags.remove(&key);
                    batch.delete(&db.tag, |row| row.id.eq(key.as_str())).unwrap();
                }
                4 => {
                    let author = random.author();
                    model.authors.insert(author.id, author.clone());
                    batch.upsert(&db.author, [author]).unwrap();
                }
                5 => {
                    let id = u32::try_from(random.below(3)).unwrap();
                    model.authors.remove(&id);
                    batch.delete(&db.author, |row| row.id.eq(id)).unwrap();
                }
                6 => {
                    let note = Note { title: format!("n{}", random.below(2)), tags: random.list() };
                    let notes = vec![note; usize::try_from(1 + random.below(2)).unwrap()];
                    model.notes.extend(notes.clone());
                    batch.insert(&db.note, &notes).unwrap();
                }
                7 => {
                    let id = i64::try_from(random.below(8)).unwrap();
                    model.posts.remove(&id);
                    batch.delete(&db.post, |row| row.id.eq(id)).unwrap();
                }
                _ => {
                    for _ in 0..1 + random.below(3) {
                        let post = random.post();
                        model.posts.insert(post.id, post.clone());
                        batch.upsert(&db.post, [post]).unwrap();
                    }
                }
            }
        }
        batch.commit().await.unwrap();
        // A row that is as it was before the batch did not come with it.
        model.then.retain(|id, _| posts_before.get(id) == model.posts.get(id));
        for (id, post) in &model.posts {
            if posts_before.get(id) != Some(post) {
                let rows = post.tags.iter().map(|tag| model.tags.get(tag.key()).cloned()).collect();
                model.then.insert(*id, rows);
            }
        }
        match random.below(9) {
            0 => db.later.refresh().await.map(drop).unwrap(),
            1 => db.flush().await.unwrap(),
            2 => {
                let options =
                    CompactOptions { min_files: 2, full: random.0.one_in(2), ..CompactOptions::default() };
                db.compact(options).await.map(drop).unwrap();
            }
            3 => db = open().await,
            4 => db.full.rebuild().await.map(drop).unwrap(),
            5 => db.then.rebuild().await.map(drop).unwrap(),
            _ => {}
        }
        same(&what, db.full.all().await.unwrap(), model.full());
        same(&what, db.named.all().await.unwrap(), model.named());
        same(&what, db.per_tag.all().await.unwrap(), model.per_tag());
        same(&what, db.over_full.all().await.unwrap(), model.over_full());
        same(&what, db.later.all().fresh().await.unwrap(), model.later());
        let noted = model.notes.iter().map(|note| Noted { row: note.clone(), tags: model.rows(&note.tags) });
        same(&what, db.noted.all().await.unwrap(), noted.collect());
        let family = model.tags.values();
        let family = family.map(|tag| Family { row: tag.clone(), related: model.rows(&tag.related) });
        same(&what, db.family.all().await.unwrap(), family.collect());
        let then = model.posts.values();
        let then = then.map(|post| Then { row: post.clone(), tags: model.then[&post.id].clone() });
        same(&what, db.then.all().await.unwrap(), then.collect());
        if step % 3 == 2 {
            db.later.refresh().await.unwrap();
            same(&what, db.later.all().await.unwrap(), model.later());
            verify(&db).await;
        }
    }
}

#[tokio::test]
async fn lists_follow_every_change_truth() {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect(name));
    let first = number("PARQUEDB_SEED").unwrap_or(1);
    for seed in first..first + number("PARQUEDB_SEEDS").unwrap_or(1) {
        random_history(seed).await;
    }
}

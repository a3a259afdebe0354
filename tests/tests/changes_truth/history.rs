//! Histories: what happens to a database.

use super::expression::{Condition, Expression, Scope};
use super::making::random_view;
use super::members::{Collection, Shape};
use super::run::START;
use super::value::{AROUND, Field, Row, Type, Value};
use super::view::{Member, View};
use parquedb::declare::node::Node;
use parquedb::testing::Random;
use std::collections::BTreeMap;

/// A database, and what happens to it.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) collections: Vec<Collection>,
    pub(super) views: Vec<View>,
    pub(super) steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    Insert(Vec<Row>),
    Upsert(Vec<Row>),
    /// The rows with the keys of these.
    Delete(Vec<Row>),
    DeleteWhere(Condition),
    /// Sets columns to values, and adds a value to the end of each column that is a list.
    Update(Condition, Vec<(usize, Expression)>),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    pub(super) id: Option<String>,
    /// Each with the position of its collection.
    pub(super) changes: Vec<(usize, Change)>,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Commit(Batch),
    /// By another process.
    CommitElsewhere(Batch),
    Together(Vec<Batch>),
    /// Of a view, or of all.
    Refresh(Option<String>),
    Flush,
    Compact {
        full: bool,
    },
    Maintain,
    Reopen,
    /// Of a view over which there is none.
    Rebuild(String),
    /// So many hours later, what has expired goes.
    Expire {
        hours: u8,
    },
}

impl Case {
    pub(super) fn random(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let random = &mut random;
        let count = 1 + random.below(3);
        let collections = (0..count).map(|index| Collection::random(random, &format!("C{index}")));
        let collections = collections.collect::<Vec<_>>();
        let mut members = collections.iter().map(member).collect::<Vec<_>>();
        let mut views = Vec::new();
        for index in 0..2 + random.below(3) {
            let view = random_view(random, &members, &format!("V{index}"));
            members.push(view.member.clone());
            views.push(view);
        }
        let mut ids = 0;
        let mut case = Self { collections, views, steps: Vec::new() };
        for _ in 0..4 + random.below(4) {
            let step = case.step(random, &mut ids);
            case.steps.push(step);
        }
        case.let_rows_expire(&mut Random::new(seed ^ 0x77_17));
        case
    }

    /// In some cases rows of a collection expire, which no view looks up, and those of views.
    fn let_rows_expire(&mut self, random: &mut Random) {
        let is_looked_up = |name: &str| {
            let mut joins = self.views.iter().flat_map(|view| &view.definition.plan.joins);
            joins.any(|join| join.member == name)
        };
        let times = |fields: &[Field]| {
            (0..fields.len()).filter(|at| fields[*at].of == Type::Time).collect::<Vec<_>>()
        };
        let after = |random: &mut Random| {
            START - AROUND - (i64::try_from(random.below(30)).unwrap() - 12) * 3_600_000_000
        };
        let all = self.collections.iter().enumerate();
        let can = all.filter(|(_, of)| !times(&of.fields).is_empty() && !is_looked_up(&of.name));
        let can = can.map(|(at, of)| (at, times(&of.fields))).collect::<Vec<_>>();
        if !can.is_empty() {
            let (at, times) = random.pick(&can).clone();
            let after = after(random);
            self.collections[at].ttl = Some((*random.pick(&times), after));
        }
        for view in &mut self.views {
            let columns = view.groups.as_ref().map_or(view.member.fields.len(), |groups| groups.keys);
            let times = times(&view.member.fields[..columns]);
            if !times.is_empty() && random.one_in(3) {
                view.expires(*random.pick(&times), after(random));
            }
        }
        let is_any = self.collections.iter().any(|collection| collection.ttl.is_some())
            || self.views.iter().any(|view| view.ttl.is_some());
        if !is_any {
            return;
        }
        for _ in 0..1 + random.below(2) {
            let at = 1 + usize::try_from(random.below(self.steps.len() as u64)).unwrap();
            let hours = u8::try_from(random.below(10)).unwrap();
            self.steps.insert(at, Step::Expire { hours });
        }
        if random.one_in(3) {
            let of = |name: &str| self.views.iter().find(|view| view.member.name == name);
            let is_last = |view: &View| {
                let name = &view.member.name;
                let mut over = self.views.iter().flat_map(|view| view.definition.plan.members());
                let mut below = view.definition.plan.members();
                !over.any(|member| member == name)
                    && below.all(|member| of(member).is_none_or(|view| view.member.streams))
            };
            let last = self.views.iter().filter(|view| is_last(view)).map(|view| view.member.name.clone());
            let last = last.collect::<Vec<_>>();
            if !last.is_empty() {
                let at = 1 + usize::try_from(random.below(self.steps.len() as u64)).unwrap();
                self.steps.insert(at, Step::Rebuild(random.pick(&last).clone()));
            }
        }
    }

    fn step(&self, random: &mut Random, ids: &mut u64) -> Step {
        match random.below(20) {
            0..=7 => Step::Commit(self.batch(random, ids)),
            8 => Step::CommitElsewhere(self.batch(random, ids)),
            9 | 10 => Step::Together((0..2 + random.below(4)).map(|_| self.batch(random, ids)).collect()),
            11 | 12 => Step::Refresh(Some(random.pick(&self.views).member.name.clone())),
            13 => Step::Refresh(None),
            14 => Step::Flush,
            15 | 16 => Step::Compact { full: random.one_in(2) },
            17 => Step::Maintain,
            18 => Step::Reopen,
            _ => {
                let mut earlier = self.steps.iter().filter_map(|step| match step {
                    Step::Commit(batch) if batch.id.is_some() => Some(batch.clone()),
                    _ => None,
                });
                match earlier.next_back() {
                    Some(again) => Step::Commit(again),
                    None => Step::Commit(self.batch(random, ids)),
                }
            }
        }
    }

    fn batch(&self, random: &mut Random, ids: &mut u64) -> Batch {
        let id = random.one_in(3).then(|| {
            *ids += 1;
            format!("batch {ids}")
        });
        let count = if random.one_in(4) { 2 + random.below(3) } else { 1 };
        let changes = (0..count).map(|_| {
            let at = usize::try_from(random.below(self.collections.len() as u64)).unwrap();
            (at, change(random, &self.collections[at]))
        });
        Batch { id, changes: changes.collect() }
    }
}

fn member(collection: &Collection) -> Member {
    let key = match collection.key.as_slice() {
        [only] => Some(collection.fields[*only].name.clone()),
        _ => None,
    };
    let (name, fields) = (collection.name.clone(), collection.fields.clone());
    Member { name, fields, inexact: Vec::new(), near: Vec::new(), streams: true, key }
}

fn change(random: &mut Random, collection: &Collection) -> Change {
    let most = if random.one_in(3) { 12 } else { 3 };
    let count = 1 + random.below(most);
    if !collection.is_keyed() {
        return Change::Insert(rows(random, collection, count, 1));
    }
    let scope = || {
        let mut scope = Scope::default();
        scope.add(&Shape::of(&collection.fields), "r", &Node::Row, false, &[]);
        scope
    };
    match random.below(10) {
        // Of many keys, so that most are new; some are not, and the batch is refused.
        0..=2 => Change::Insert(rows(random, collection, count, 40)),
        3..=6 => Change::Upsert(rows(random, collection, count, 1)),
        7 => Change::Delete(rows(random, collection, count, 1)),
        8 => Change::DeleteWhere(scope().condition(random, 1)),
        _ => {
            let scope = scope();
            let condition = scope.condition(random, 1);
            let mut assignments = BTreeMap::new();
            for _ in 0..1 + random.below(2) {
                let settable = (0..collection.fields.len()).filter(|index| {
                    !collection.key.contains(index) && item(&collection.fields[*index]).of.is_scalar()
                });
                let settable = settable.collect::<Vec<_>>();
                if settable.is_empty() {
                    break;
                }
                let column = *random.pick(&settable);
                let field = item(&collection.fields[column]);
                let value = scope.value(random, &field.of, 1);
                if value.summable && (field.nullable || !value.nullable) {
                    assignments.insert(column, value);
                }
            }
            Change::Update(condition, assignments.into_iter().collect())
        }
    }
}

/// What is set: a column, or another element of a list.
fn item(field: &Field) -> &Field {
    if let Type::List(item) = &field.of { item } else { field }
}

/// Random rows, with keys from a small range that is stretched by a factor.
fn rows(random: &mut Random, collection: &Collection, count: u64, stretch: i64) -> Vec<Row> {
    let row = |random: &mut Random| {
        let mut row = collection.fields.iter().map(|field| field.random(random)).collect::<Row>();
        if let Some(first) = collection.key.first()
            && collection.fields[*first].of == Type::Int
        {
            let key = i64::try_from(random.below(12)).unwrap();
            row[*first] = Value::Int(if stretch > 1 { key * stretch / 3 } else { key });
        }
        row
    };
    (0..count).map(|_| row(random)).collect()
}

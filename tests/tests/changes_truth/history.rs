//! Histories: what happens to a database, and what that makes of a naive model of it.

use super::expression::{Condition, Expression, Scope};
use super::members::{Collection, Shape};
use super::oracle::Oracle;
use super::run::START;
use super::value::{AROUND, Field, Row, Type, Value, text};
use super::view::{Member, View, random_view};
use parquedb::declare::node::Node;
use parquedb::testing::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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
    /// So many hours later, what has expired goes.
    Expire {
        hours: u8,
    },
}

/// What the collections hold.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) fields: Arc<BTreeMap<String, Vec<Field>>>,
    pub(super) rows: BTreeMap<String, Arc<Vec<Row>>>,
    /// What has expired, which views still count.
    pub(super) expired: BTreeMap<String, Arc<Vec<Row>>>,
    /// The positions of the columns of their keys.
    keys: Arc<BTreeMap<String, Vec<usize>>>,
    /// The commit that made it so. Several batches may be in one.
    pub(super) seq: u64,
    ids: BTreeSet<String>,
}

impl Model {
    pub(super) fn new(collections: &[Collection]) -> Self {
        let fields = collections.iter().map(|of| (of.name.clone(), of.fields.clone()));
        let rows = collections.iter().map(|of| (of.name.clone(), Arc::default()));
        let rows: BTreeMap<_, _> = rows.collect();
        let keys = collections.iter().map(|of| (of.name.clone(), of.key.clone()));
        Self {
            fields: Arc::new(fields.collect()),
            expired: rows.clone(),
            rows,
            keys: Arc::new(keys.collect()),
            seq: 0,
            ids: BTreeSet::new(),
        }
    }

    /// The model after rows have expired at a time.
    pub(super) fn expired_at(&self, collections: &[Collection], now: i64) -> Self {
        let mut model = self.clone();
        for Collection { name, ttl, .. } in collections {
            let Some((on, after)) = ttl else { continue };
            let is_old = |row: &&Row| matches!(row[*on], Value::Time(time) if time < now - after);
            let (old, left): (Vec<_>, Vec<_>) = self.rows[name].iter().partition(is_old);
            let gone = self.expired[name].iter().chain(old).cloned().collect();
            model.expired.insert(name.clone(), Arc::new(gone));
            model.rows.insert(name.clone(), Arc::new(left.into_iter().cloned().collect()));
        }
        model
    }

    pub(super) fn has_expired(&self) -> bool {
        self.expired.values().any(|rows| !rows.is_empty())
    }

    /// The rows of a collection that views count.
    pub(super) fn counted(&self, collection: &str) -> Arc<Vec<Row>> {
        match self.expired[collection].as_slice() {
            [] => Arc::clone(&self.rows[collection]),
            expired => Arc::new(self.rows[collection].iter().chain(expired).cloned().collect()),
        }
    }

    /// All rows that a collection ever had, up to the last of some models: each with the commits in which it came
    /// and went. Those that are there come first, in their order.
    pub(super) fn past(versions: &[Self], name: &str) -> Vec<(Row, i64, i64)> {
        let mut there: BTreeMap<String, (Row, i64)> = BTreeMap::new();
        let mut gone = Vec::new();
        for (at, version) in versions.iter().enumerate() {
            if versions.get(at + 1).is_some_and(|next| next.seq == version.seq) {
                continue;
            }
            let seq = i64::try_from(version.seq).unwrap();
            let mut before = std::mem::take(&mut there);
            for (number, row) in version.rows[name].iter().enumerate() {
                let id = version.identity(name, number, row);
                let came = match before.remove(&id) {
                    Some((old, came)) if text(&old) == text(row) => came,
                    Some((old, came)) => {
                        gone.push((old, came, seq));
                        seq
                    }
                    None => seq,
                };
                there.insert(id, (row.clone(), came));
            }
            gone.extend(before.into_values().map(|(row, came)| (row, came, seq)));
        }
        let last = versions.last().unwrap();
        let rows = last.rows[name].iter().enumerate().map(|(number, row)| {
            let (row, came) = there.remove(&last.identity(name, number, row)).unwrap();
            (row, came, i64::MAX)
        });
        rows.collect::<Vec<_>>().into_iter().chain(gone).collect()
    }

    /// What stays the same of a row that changes. Rows without a key only come, one after the other.
    fn identity(&self, name: &str, number: usize, row: &Row) -> String {
        match self.keys[name].as_slice() {
            [] => number.to_string(),
            key => text(&key.iter().map(|at| row[*at].clone()).collect()),
        }
    }

    /// The model after a batch; nothing when the batch must be refused.
    pub(super) async fn after(
        &self,
        oracle: &Oracle,
        collections: &[Collection],
        batch: &Batch,
    ) -> Result<Option<Self>, String> {
        let mut model = self.clone();
        if let Some(id) = &batch.id
            && !model.ids.insert(id.clone())
        {
            return Ok(Some(model));
        }
        for (collection, change) in &batch.changes {
            let collection = &collections[*collection];
            let mut rows = model.rows[&collection.name].as_ref().clone();
            if !apply(oracle, collection, change, &mut rows).await? {
                return Ok(None);
            }
            model.rows.insert(collection.name.clone(), Arc::new(rows));
        }
        Ok(Some(model))
    }
}

async fn apply(
    oracle: &Oracle,
    collection: &Collection,
    change: &Change,
    rows: &mut Vec<Row>,
) -> Result<bool, String> {
    let key = |row: &Row| text(&collection.key_of(row));
    match change {
        Change::Insert(new) => {
            for row in new {
                if collection.is_keyed() && rows.iter().any(|old| key(old) == key(row)) {
                    return Ok(false);
                }
                rows.push(row.clone());
            }
        }
        Change::Upsert(new) => {
            for row in new {
                match rows.iter_mut().find(|old| key(old) == key(row)) {
                    Some(old) => {
                        let older = collection.version.is_some_and(|at| int(&row[at]) < int(&old[at]));
                        if !older {
                            *old = row.clone();
                        }
                    }
                    None => rows.push(row.clone()),
                }
            }
        }
        Change::Delete(keys) => {
            let keys = keys.iter().map(key).collect::<BTreeSet<_>>();
            rows.retain(|row| !keys.contains(&key(row)));
        }
        Change::DeleteWhere(condition) => {
            let found = oracle.select(&collection.fields, rows, &condition.sql, &[]).await?;
            let found = found.into_iter().map(|(row, _)| row).collect::<BTreeSet<_>>();
            let mut number = 0..;
            rows.retain(|_| !found.contains(&number.next().unwrap_or_default()));
        }
        Change::Update(condition, assignments) => {
            let values = assignments.iter().map(|(_, value)| value.sql.clone()).collect::<Vec<_>>();
            let found = oracle.select(&collection.fields, rows, &condition.sql, &values).await?;
            for (row, values) in found {
                for ((column, _), value) in assignments.iter().zip(values) {
                    match (&collection.fields[*column].of, &mut rows[row][*column]) {
                        (Type::List(_), Value::List(elements)) => elements.push(value),
                        (Type::List(_), list) => *list = Value::List(vec![value]),
                        (_, old) => *old = value,
                    }
                }
            }
        }
    }
    Ok(true)
}

fn int(value: &Value) -> i64 {
    match value {
        Value::Int(value) => *value,
        other => panic!("{other:?} is no version"),
    }
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

    /// In some cases rows of a collection expire: of one that no view with references is computed from, because
    /// what an expired row referred to stays as it was.
    fn let_rows_expire(&mut self, random: &mut Random) {
        let is_joined = |name: &str| {
            let mut plans = self.views.iter().map(|view| &view.definition.plan);
            plans.any(|plan| !plan.joins.is_empty() && plan.members().any(|member| member == name))
        };
        let times = |collection: &Collection| {
            let of = |index: &usize| collection.fields[*index].of == Type::Time;
            (0..collection.fields.len()).filter(of).collect::<Vec<_>>()
        };
        let all = self.collections.iter().enumerate();
        let can = all.filter(|(_, of)| !times(of).is_empty() && !is_joined(&of.name));
        let can = can.map(|(at, of)| (at, times(of))).collect::<Vec<_>>();
        if can.is_empty() {
            return;
        }
        let (at, times) = random.pick(&can).clone();
        let horizon = AROUND + (i64::try_from(random.below(30)).unwrap() - 12) * 3_600_000_000;
        self.collections[at].ttl = Some((*random.pick(&times), START - horizon));
        for _ in 0..1 + random.below(3) {
            let at = 1 + usize::try_from(random.below(self.steps.len() as u64)).unwrap();
            let hours = u8::try_from(random.below(10)).unwrap();
            self.steps.insert(at, Step::Expire { hours });
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

//! A naive model of what the collections of a database hold.

use super::history::{Batch, Change};
use super::members::Collection;
use super::oracle::Oracle;
use super::value::{Field, Row, Type, Value, text};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A row that has expired.
#[derive(Clone, Debug)]
pub(super) struct ExpiredRow {
    pub(super) row: Row,
    /// The commit in which it came.
    pub(super) came: i64,
    /// The version of the model without it. What it refers to is from then.
    pub(super) epoch: usize,
}

/// What the collections hold.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) fields: Arc<BTreeMap<String, Vec<Field>>>,
    pub(super) rows: BTreeMap<String, Arc<Vec<Row>>>,
    /// What has expired, which views still count.
    pub(super) expired: BTreeMap<String, Arc<Vec<ExpiredRow>>>,
    /// The time before which rows of a collection have expired.
    pub(super) expired_before: BTreeMap<String, i64>,
    /// The versions in which something expired.
    pub(super) epochs: Vec<usize>,
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
        let expired = collections.iter().map(|of| (of.name.clone(), Arc::default()));
        let keys = collections.iter().map(|of| (of.name.clone(), of.key.clone()));
        Self {
            fields: Arc::new(fields.collect()),
            rows: rows.collect(),
            expired: expired.collect(),
            expired_before: BTreeMap::new(),
            epochs: Vec::new(),
            keys: Arc::new(keys.collect()),
            seq: 0,
            ids: BTreeSet::new(),
        }
    }

    /// The model that comes after some, when rows have expired at a time.
    pub(super) fn expired_at(versions: &[Self], collections: &[Collection], now: i64) -> Self {
        let last = &versions[versions.len() - 1];
        let mut model = last.clone();
        model.epochs.push(versions.len());
        for Collection { name, ttl, .. } in collections {
            let Some((on, after)) = ttl else { continue };
            let there = last.rows[name].len();
            let rows = Self::past(versions, name).into_iter().take(there);
            let (old, left): (Vec<_>, Vec<_>) =
                rows.partition(|(row, ..)| is_from_before(&row[*on], now - after));
            if old.is_empty() {
                continue;
            }
            let old = old.into_iter().map(|(row, came, _)| ExpiredRow { row, came, epoch: versions.len() });
            let gone = last.expired[name].iter().cloned().chain(old).collect();
            model.expired.insert(name.clone(), Arc::new(gone));
            model.expired_before.insert(name.clone(), now - after);
            model.rows.insert(name.clone(), Arc::new(left.into_iter().map(|(row, ..)| row).collect()));
        }
        model
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
            for (id, row) in version.identities(name).into_iter().zip(version.rows[name].iter()) {
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
        let rows = last.identities(name).into_iter().map(|id| {
            let (row, came) = there.remove(&id).unwrap();
            (row, came, i64::MAX)
        });
        rows.collect::<Vec<_>>().into_iter().chain(gone).collect()
    }

    /// What stays the same of each row when it changes. Rows without a key do not change; of equal ones none
    /// expires without the others.
    fn identities(&self, name: &str) -> Vec<String> {
        let mut equal: BTreeMap<String, usize> = BTreeMap::new();
        let identity = |row: &Row| match self.keys[name].as_slice() {
            [] => {
                let text = text(row);
                let number = equal.entry(text.clone()).or_default();
                *number += 1;
                format!("{number} {text}")
            }
            key => text(&key.iter().map(|at| row[*at].clone()).collect()),
        };
        self.rows[name].iter().map(identity).collect()
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

/// Whether rows with this time expire, when those from before another have.
pub(super) fn is_from_before(time: &Value, horizon: i64) -> bool {
    matches!(time, Value::Time(time) if *time < horizon)
}

fn int(value: &Value) -> i64 {
    match value {
        Value::Int(value) => *value,
        other => panic!("{other:?} is no version"),
    }
}

//! What operations on a keyed collection make of its rows: which rows go, and which come.
//!
//! The operations of a commit are taken one after the other, each over what those before it have left. What
//! counts in the end is the difference between the first and the last row of each key.

use super::locate::{Located, Take};
use super::step::{Engine, TableChange};
use crate::commit::KeySet;
use crate::commit::snapshot::Snapshot;
use crate::declare::assignment::Assignment;
use crate::declare::definition::CollectionDefinition;
use crate::declare::node::Node;
use crate::error::{Error, Result};
use crate::evaluate::lower::{Scope, column};
use crate::evaluate::memory;
use arrow::array::UInt32Array;
use arrow::compute::{concat_batches, interleave_record_batch, take_record_batch};
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, Rows, SortField};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder};
use datafusion::prelude::cast;
use std::collections::btree_map::Entry::Vacant;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// A change of a keyed collection.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    /// Rows whose keys are not there yet.
    Insert(RecordBatch),
    /// Rows that take the place of those with their keys.
    Upsert(RecordBatch),
    /// Keys whose rows go, if they are there.
    Delete(RecordBatch),
    /// The rows for which a condition holds go.
    DeleteWhere(Node),
    /// The rows for which a condition holds get new values.
    Update(Node, Vec<Assignment>),
}

/// What the operations of one commit make of a collection.
#[derive(Debug)]
pub(crate) struct KeyedChange {
    pub(crate) change: TableChange,
    /// The keys that were read or are written.
    pub(crate) keys: KeySet,
}

/// A row in `Working::batches`.
type Place = (usize, usize);

/// What is known of a key.
#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    /// The row that is stored, as a place in the rows found.
    stored: Option<Place>,
    /// The row after the operations so far.
    now: Option<Place>,
}

struct Working<'a> {
    engine: &'a Engine<'a>,
    snapshot: &'a Snapshot,
    collection: &'a CollectionDefinition,
    keys: RowConverter,
    versions: Option<RowConverter>,
    /// By the key in Arrow's row format.
    entries: BTreeMap<Box<[u8]>, Entry>,
    /// All rows that are spoken of, with the collection's columns.
    batches: Vec<RecordBatch>,
    /// Their versions, in an order of their own, where the collection has versions.
    ranks: Vec<Option<Rows>>,
    /// What was found in the collection: which batch it is, and where it was found.
    found: BTreeMap<usize, Located>,
    /// Conditions were evaluated over the whole collection.
    read_all: bool,
}

/// Takes operations on a collection one after the other.
pub(crate) async fn apply(
    engine: &Engine<'_>,
    snapshot: &Snapshot,
    collection: &CollectionDefinition,
    operations: &[Operation],
) -> Result<KeyedChange> {
    let named = |error: Error| error.context(format!("`{}`", collection.name));
    let mut working = Working::new(engine, snapshot, collection)?;
    working.load_all(operations).await.map_err(named)?;
    for operation in operations {
        match operation {
            Operation::Insert(rows) => working.insert(rows),
            Operation::Upsert(rows) => working.upsert(rows),
            Operation::Delete(keys) => working.delete(keys),
            Operation::DeleteWhere(condition) => working.delete_where(condition).await,
            Operation::Update(condition, assignments) => working.update(condition, assignments).await,
        }
        .map_err(named)?;
    }
    working.finish()
}

impl Operation {
    /// The rows or keys that it carries.
    pub(crate) fn batch(&self) -> Option<&RecordBatch> {
        match self {
            Operation::Insert(rows) | Operation::Upsert(rows) | Operation::Delete(rows) => Some(rows),
            Operation::DeleteWhere(_) | Operation::Update(..) => None,
        }
    }
}

impl<'a> Working<'a> {
    fn new(
        engine: &'a Engine<'a>,
        snapshot: &'a Snapshot,
        collection: &'a CollectionDefinition,
    ) -> Result<Self> {
        let sorted = |name: &String| -> Result<SortField> {
            Ok(SortField::new(collection.schema.field_with_name(name)?.data_type().clone()))
        };
        let keys = RowConverter::new(collection.key.iter().map(sorted).collect::<Result<_>>()?)?;
        let versions = match &collection.version {
            Some(version) => Some(RowConverter::new(vec![sorted(version)?])?),
            None => None,
        };
        Ok(Self {
            engine,
            snapshot,
            collection,
            keys,
            versions,
            entries: BTreeMap::new(),
            batches: Vec::new(),
            ranks: Vec::new(),
            found: BTreeMap::new(),
            read_all: false,
        })
    }

    /// The key columns of rows that have them.
    fn key_columns(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let columns = self.collection.key.iter().map(|name| rows.schema_ref().index_of(name));
        Ok(rows.project(&columns.collect::<Result<Vec<_>, _>>()?)?)
    }

    fn encoded_keys(&self, rows: &RecordBatch) -> Result<Vec<Box<[u8]>>> {
        let rows = self.keys.convert_columns(self.key_columns(rows)?.columns())?;
        Ok(rows.iter().map(|row| row.data().into()).collect())
    }

    /// Looks up all keys that operations name.
    async fn load_all(&mut self, operations: &[Operation]) -> Result<()> {
        let mut keys = Vec::new();
        for operation in operations {
            if let Operation::Insert(rows) | Operation::Upsert(rows) | Operation::Delete(rows) = operation {
                keys.push(self.key_columns(rows)?);
            }
        }
        match keys.first() {
            Some(first) => self.load(&concat_batches(first.schema_ref(), &keys)?).await,
            None => Ok(()),
        }
    }

    /// Looks up the stored rows of keys that are not known yet.
    async fn load(&mut self, keys: &RecordBatch) -> Result<()> {
        let mut unknown = Vec::new();
        for (index, key) in self.encoded_keys(keys)?.into_iter().enumerate() {
            if let Vacant(entry) = self.entries.entry(key) {
                entry.insert(Entry::default());
                unknown.push(u32::try_from(index).map_err(|_| Error::invalid("too many rows at once"))?);
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        let probes = take_record_batch(keys, &UInt32Array::from(unknown))?;
        let name = &self.collection.name;
        let located =
            self.engine.locate(self.snapshot, name, &self.collection.key, &probes, Take::All).await?;
        let columns = (0..self.collection.schema.fields().len()).collect::<Vec<_>>();
        let rows = located.rows.project(&columns)?;
        let batch = self.batches.len();
        for (row, key) in self.encoded_keys(&rows)?.into_iter().enumerate() {
            let entry = self.entries.entry(key).or_default();
            if entry.stored.is_some() {
                let key = describe(&self.key_columns(&rows)?, row);
                return Err(Error::corrupt(format!("two rows are stored with the key {key}")));
            }
            *entry = Entry { stored: Some((batch, row)), now: Some((batch, row)) };
        }
        self.push(rows)?;
        self.found.insert(batch, located);
        Ok(())
    }

    fn insert(&mut self, rows: &RecordBatch) -> Result<()> {
        let batch = self.batches.len();
        for (row, key) in self.encoded_keys(rows)?.into_iter().enumerate() {
            let entry = self.entries.entry(key).or_default();
            if entry.now.is_some() {
                return Err(Error::invalid(format!(
                    "there already is a row with the key {}: `upsert` puts a row in its place",
                    describe(&self.key_columns(rows)?, row)
                )));
            }
            entry.now = Some((batch, row));
        }
        self.push(rows.clone())?;
        Ok(())
    }

    fn upsert(&mut self, rows: &RecordBatch) -> Result<()> {
        let batch = self.batches.len();
        self.push(rows.clone())?;
        for (row, key) in self.encoded_keys(rows)?.into_iter().enumerate() {
            let now = self.entries.get(&key).and_then(|entry| entry.now);
            if !now.is_some_and(|now| self.is_older((batch, row), now)) {
                self.entries.entry(key).or_default().now = Some((batch, row));
            }
        }
        Ok(())
    }

    fn push(&mut self, rows: RecordBatch) -> Result<()> {
        let ranks = match (&self.versions, &self.collection.version) {
            (Some(converter), Some(name)) => {
                let version = Arc::clone(rows.column(rows.schema_ref().index_of(name)?));
                Some(converter.convert_columns(&[version])?)
            }
            _ => None,
        };
        self.ranks.push(ranks);
        self.batches.push(rows);
        Ok(())
    }

    /// Whether a row has a lower version than another.
    fn is_older(&self, (batch, row): Place, (other_batch, other): Place) -> bool {
        match (&self.ranks[batch], &self.ranks[other_batch]) {
            (Some(ranks), Some(others)) => ranks.row(row) < others.row(other),
            _ => false,
        }
    }

    fn delete(&mut self, keys: &RecordBatch) -> Result<()> {
        for key in self.encoded_keys(keys)? {
            self.entries.entry(key).or_default().now = None;
        }
        Ok(())
    }

    async fn delete_where(&mut self, condition: &Node) -> Result<()> {
        for key in self.matching(condition).await? {
            self.entries.entry(key).or_default().now = None;
        }
        Ok(())
    }

    async fn update(&mut self, condition: &Node, assignments: &[Assignment]) -> Result<()> {
        let keys = self.matching(condition).await?;
        let places = keys.iter().filter_map(|key| self.entries.get(key)?.now).collect::<Vec<_>>();
        let Some(rows) = self.rows_at(&places)? else { return Ok(()) };
        let updated = self.assigned(rows, assignments).await?;
        let batch = self.batches.len();
        for (row, key) in keys.into_iter().enumerate() {
            self.entries.entry(key).or_default().now = Some((batch, row));
        }
        self.push(updated)?;
        Ok(())
    }

    /// The keys of the rows, as they are by now, for which a condition holds.
    async fn matching(&mut self, condition: &Node) -> Result<BTreeSet<Box<[u8]>>> {
        self.read_all = true;
        let schema = Arc::clone(&self.collection.schema);
        let stored = self.engine.catalog.rows(self.snapshot, &self.collection.name)?;
        let mut keys = BTreeSet::new();
        for batch in self.engine.collect(filtered(stored, condition)?, &schema, &self.collection.name).await?
        {
            self.load(&self.key_columns(&batch)?).await?;
            for key in self.encoded_keys(&batch)? {
                let unchanged = self.entries.get(&key).is_some_and(|entry| entry.now == entry.stored);
                if unchanged {
                    keys.insert(key);
                }
            }
        }
        let changed = self.entries.values().filter(|entry| entry.now != entry.stored);
        let places = changed.filter_map(|entry| entry.now).collect::<Vec<_>>();
        if let Some(rows) = self.rows_at(&places)? {
            let plan = filtered(memory::rows(&self.collection.name, &schema, vec![rows])?, condition)?;
            for batch in self.engine.collect(plan, &schema, &self.collection.name).await? {
                keys.extend(self.encoded_keys(&batch)?);
            }
        }
        Ok(keys)
    }

    fn rows_at(&self, places: &[Place]) -> Result<Option<RecordBatch>> {
        if places.is_empty() {
            return Ok(None);
        }
        let batches = self.batches.iter().collect::<Vec<_>>();
        Ok(Some(interleave_record_batch(&batches, places)?))
    }

    /// The rows with new values, in the same order.
    async fn assigned(&self, rows: RecordBatch, assignments: &[Assignment]) -> Result<RecordBatch> {
        let schema = &self.collection.schema;
        let count = rows.num_rows();
        let plan = memory::rows(&self.collection.name, schema, vec![rows])?;
        let mut values = BTreeMap::new();
        for Assignment { target, value } in assignments {
            let name = match target {
                Node::Field(of, name) if **of == Node::Row => name,
                _ => {
                    return Err(Error::invalid(
                        "an update sets whole columns: set the record around the field",
                    ));
                }
            };
            if self.collection.key.contains(name) {
                return Err(Error::invalid(format!(
                    "an update cannot change `{name}`, which is part of the key: delete the row and insert another"
                )));
            }
            values.insert(name.as_str(), value);
        }
        let columns = schema.fields().iter().map(|field| -> Result<Expr> {
            let name = field.name();
            let Some(value) = values.get(name.as_str()) else { return Ok(column(name)) };
            let value = Scope::new(plan.schema()).value(value)?;
            let is_same = value.get_type(plan.schema())? == *field.data_type();
            Ok(if is_same { value } else { cast(value, field.data_type().clone()) }.alias(name))
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let plan = LogicalPlanBuilder::from(plan).project(columns)?.build()?;
        let batches = self.engine.collect(plan, schema, &self.collection.name).await?;
        let updated = concat_batches(schema, &batches)?;
        if updated.num_rows() != count {
            return Err(Error::invalid(format!("an update of {count} rows gave {}", updated.num_rows())));
        }
        Ok(updated)
    }

    /// The difference between what is stored and what is there now.
    fn finish(self) -> Result<KeyedChange> {
        let moved = |entry: &&Entry| entry.stored != entry.now;
        let both = self.entries.values().filter(moved).filter_map(|entry| entry.stored.zip(entry.now));
        let (before, after): (Vec<_>, Vec<_>) = both.unzip();
        let same = self.same(&before, &after)?;
        let (mut come, mut gone) = (Vec::new(), BTreeMap::<usize, Vec<usize>>::new());
        for entry in self.entries.values().filter(moved) {
            if entry.stored.is_some_and(|stored| same.contains(&stored)) && entry.now.is_some() {
                continue;
            }
            come.extend(entry.now);
            if let Some((batch, row)) = entry.stored {
                gone.entry(batch).or_default().push(row);
            }
        }
        let plus = self.rows_at(&come)?.into_iter().collect();
        let mut minus: Option<Located> = None;
        for (batch, rows) in gone {
            let Some(located) = self.found.get(&batch) else { continue };
            let part = located.only(&rows)?;
            minus = Some(match minus {
                Some(minus) => minus.and(part)?,
                None => part,
            });
        }
        let keys = KeySet {
            table: self.collection.name.clone(),
            hashes: self.entries.keys().map(|key| xxh3_64(key)).collect(),
            all: self.read_all,
        };
        Ok(KeyedChange { change: TableChange { plus, minus, replace: false }, keys })
    }

    /// Those of the rows before that are equal to the ones after, in all columns.
    fn same(&self, before: &[Place], after: &[Place]) -> Result<BTreeSet<Place>> {
        let (Some(old), Some(new)) = (self.rows_at(before)?, self.rows_at(after)?) else {
            return Ok(BTreeSet::new());
        };
        let fields = self.collection.schema.fields().iter();
        let converter =
            RowConverter::new(fields.map(|field| SortField::new(field.data_type().clone())).collect())?;
        let (old, new) =
            (converter.convert_columns(old.columns())?, converter.convert_columns(new.columns())?);
        let equal = old.iter().zip(new.iter()).map(|(old, new)| old == new);
        Ok(before.iter().zip(equal).filter_map(|(place, equal)| equal.then_some(*place)).collect())
    }
}

fn filtered(rows: LogicalPlan, condition: &Node) -> Result<LogicalPlan> {
    let condition = Scope::new(rows.schema()).condition(condition)?;
    Ok(LogicalPlanBuilder::from(rows).filter(condition)?.build()?)
}

/// A key as a user knows it: `(id = 7)`.
fn describe(keys: &RecordBatch, row: usize) -> String {
    let options = FormatOptions::default().with_null("null");
    let parts = keys.schema_ref().fields().iter().zip(keys.columns()).map(|(field, column)| {
        let value = ArrayFormatter::try_new(column.as_ref(), &options)
            .map_or_else(|error| error.to_string(), |formatter| formatter.value(row).to_string());
        format!("{} = {value}", field.name())
    });
    format!("({})", parts.collect::<Vec<_>>().join(", "))
}

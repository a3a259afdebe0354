//! What members must hold, by plain SQL over the rows of the model.

use super::members::{flat_table, unnested_table};
use super::model::Model;
use super::retention::Retained;
use super::value::{Field, Row, Type, Value, field, from_batches, to_batch};
use super::view::{Groups, Has, Table, View};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::future::{BoxFuture, FutureExt};
use parquedb::arrow::array::RecordBatch;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What was declared and what was written.
#[derive(Clone, Copy)]
pub(super) struct Truth<'a> {
    pub(super) views: &'a [View],
    pub(super) versions: &'a [Model],
}

impl<'a> Truth<'a> {
    pub(super) fn view(self, name: &str) -> Option<&'a View> {
        self.views.iter().find(|view| view.member.name == name)
    }
}

/// A version of the model, as it is seen by what has absorbed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct When {
    pub(super) version: usize,
    /// Views that are behind are read as a refresh would leave them.
    pub(super) fresh: bool,
}

impl When {
    pub(super) fn stored(version: usize) -> Self {
        Self { version, fresh: false }
    }

    pub(super) fn fresh(version: usize) -> Self {
        Self { version, fresh: true }
    }

    fn mark(self) -> String {
        format!("@{}{}", self.version, if self.fresh { "!" } else { "" })
    }
}

/// The rows of every member at every version of the model that was asked for.
pub(super) struct Oracle {
    session: SessionContext,
    tables: BTreeMap<String, (usize, Arc<Vec<Row>>)>,
    rows: BTreeMap<(String, When), Arc<Vec<Row>>>,
    /// Of each view of which rows have expired, what it held from then on.
    pub(super) retained: BTreeMap<String, Vec<Retained>>,
    /// A group has lost more rows than it had, and nothing here tells what its aggregates give.
    pub(super) is_beyond: bool,
}

impl Oracle {
    pub(super) fn new() -> Self {
        Self {
            session: SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1)),
            tables: BTreeMap::new(),
            rows: BTreeMap::new(),
            retained: BTreeMap::new(),
            is_beyond: false,
        }
    }

    pub(super) async fn collect(&self, sql: &str) -> Result<Vec<Row>, String> {
        let failed = |error| format!("the oracle's SQL failed: {error}\n{sql}");
        let batches = self.session.sql(sql).await.map_err(failed)?.collect().await.map_err(failed)?;
        Ok(from_batches(&batches))
    }

    pub(super) fn register(&self, name: &str, rows: RecordBatch) {
        self.session.deregister_table(quoted(name)).unwrap();
        self.session.register_batch(quoted(name), rows).unwrap();
    }

    /// The numbers of the rows for which `condition` holds, each with the values of expressions.
    pub(super) async fn select(
        &self,
        fields: &[Field],
        rows: &[Row],
        condition: &str,
        values: &[String],
    ) -> Result<Vec<(usize, Row)>, String> {
        self.register("rows", flat_table(fields, rows));
        let values = values.iter().enumerate().map(|(at, value)| format!(", {value} AS \"v{at}\""));
        let values = values.collect::<String>();
        let sql = format!("SELECT r.\"__row\"{values} FROM \"rows\" r WHERE {condition}");
        let found = self.collect(&sql).await?;
        Ok(found.into_iter().map(|mut row| (number(&row.remove(0)), row)).collect())
    }

    /// The rows of a view that its readers see.
    pub(super) fn rows<'a>(
        &'a mut self,
        truth: Truth<'a>,
        view: &'a View,
        when: When,
    ) -> BoxFuture<'a, Result<Arc<Vec<Row>>, String>> {
        async move {
            let when = self.resolved(truth, view, when);
            let key = (view.member.name.clone(), when);
            if let Some(rows) = self.rows.get(&key) {
                return Ok(Arc::clone(rows));
            }
            let rows = match self.retained_at(truth, view, when).await? {
                Some(retained) => self.left(view, &retained).await?,
                None => self.defined(truth, view, when).await?,
            };
            let rows = Arc::new(rows);
            self.rows.insert(key, Arc::clone(&rows));
            Ok(rows)
        }
        .boxed()
    }

    /// Forgets a version of the model and all later ones.
    pub(super) fn forget(&mut self, version: usize) {
        self.tables.retain(|_, (of, _)| *of < version);
        self.rows.retain(|(_, when), _| when.version < version);
        self.retained.values_mut().for_each(|retained| retained.retain(|at| at.version < version));
    }

    pub(super) fn forget_view(&mut self, name: &str) {
        self.rows.retain(|(of, _), _| of != name);
    }

    /// What a view's SQL gives over its tables.
    pub(super) async fn over_tables(
        &mut self,
        truth: Truth<'_>,
        view: &View,
        sql: &str,
        when: When,
    ) -> Result<Vec<Row>, String> {
        for table in &view.tables {
            self.table(truth, table, when).await?;
        }
        self.collect(&sql.replace("@\"", &format!("{}\"", when.mark()))).await
    }

    /// What rows add to groups, and after that these rows, with those that they refer to.
    pub(super) async fn joined(
        &mut self,
        truth: Truth<'_>,
        view: &View,
        Groups { added, from, .. }: &Groups,
        when: When,
    ) -> Result<Vec<Row>, String> {
        let all = format!("SELECT *{from}");
        self.over_tables(truth, view, &all, when).await?;
        let all = self.session.sql(&all.replace("@\"", &format!("{}\"", when.mark()))).await;
        let all = all.map_err(|error| format!("the oracle's SQL failed: {error}"))?;
        let columns =
            all.schema().iter().filter(|(_, field)| !["__row", "__went"].contains(&field.name().as_str()));
        let columns = columns.enumerate().map(|(at, (table, field))| {
            let table = table.map(|table| format!("{table}.")).unwrap_or_default();
            format!(", {table}\"{}\" AS \"__column{at}\"", field.name())
        });
        let sql = format!("SELECT {added}{}{from}", columns.collect::<String>());
        self.over_tables(truth, view, &sql, when).await
    }

    /// What a view's definition gives over the rows that it counts.
    pub(super) async fn defined(
        &mut self,
        truth: Truth<'_>,
        view: &View,
        when: When,
    ) -> Result<Vec<Row>, String> {
        let rows = self.over_tables(truth, view, &view.sql, when).await?;
        if !view.passes {
            return self.finished(view, rows).await;
        }
        let part = |name: String, row: &Value, fields: usize| match row {
            Value::Null => vec![Value::Null; fields],
            row => self.tables[&name].1[number(row)][..fields].to_vec(),
        };
        let source = view.tables.iter().find(|table| table.has == Has::Rows).unwrap();
        let fields = view.member.fields.len();
        let looked_up = view.expanded.iter().map(|table| truth.versions[0].fields[&table.member].len());
        let looked_up = looked_up.collect::<Vec<_>>();
        let own = fields - looked_up.iter().sum::<usize>();
        let tables = [source].into_iter().chain(&view.expanded).zip([own].into_iter().chain(looked_up));
        let tables = tables.map(|(table, fields)| (format!("{}{}", table.name(), when.mark()), fields));
        let tables = tables.collect::<Vec<_>>();
        let passed = rows.iter().map(|numbers| {
            let parts = tables.iter().zip(numbers);
            parts.flat_map(|((name, fields), row)| part(name.clone(), row, *fields)).collect()
        });
        Ok(passed.collect())
    }

    /// The rows of groups, where SQL gave all values that some aggregates take.
    pub(super) async fn finished(&self, view: &View, mut rows: Vec<Row>) -> Result<Vec<Row>, String> {
        let list = |value: Value| match value {
            Value::List(values) => values,
            _ => Vec::new(),
        };
        for row in &mut rows {
            let seconds = row.split_off(view.member.fields.len());
            for ((column, fold), second) in view.folds.iter().zip(seconds) {
                let values = list(std::mem::replace(&mut row[*column], Value::Null));
                let pairs = values.into_iter().zip(list(second)).collect::<Vec<_>>();
                row[*column] = fold(&pairs);
            }
        }
        self.having(view, rows).await
    }

    /// The groups for which the view's last condition holds.
    pub(super) async fn having(&self, view: &View, rows: Vec<Row>) -> Result<Vec<Row>, String> {
        let Some(having) = &view.having else { return Ok(rows) };
        let kept = self.select(&view.member.fields, &rows, having, &[]).await?;
        Ok(kept.into_iter().map(|(row, _)| rows[row].clone()).collect())
    }

    async fn table(&mut self, truth: Truth<'_>, table: &Table, when: When) -> Result<(), String> {
        let name = format!("{}{}", table.name(), when.mark());
        if self.tables.contains_key(&name) {
            return Ok(());
        }
        let (mut fields, rows) = match truth.view(&table.member) {
            Some(view) => (view.member.fields.clone(), self.counted(truth, view, when).await?),
            None => {
                let versions = &truth.versions[..=when.version];
                (truth.versions[0].fields[&table.member].clone(), of_collection(versions, table))
            }
        };
        fields.extend(["__came", "__went", "__epoch"].map(|name| field(name, Type::Int, false)));
        let batch = match &table.has {
            Has::Elements(list, keeps_empty) => unnested_table(&fields, &rows, list, *keeps_empty),
            _ => flat_table(&fields, &rows),
        };
        self.register(&name, batch);
        self.tables.insert(name, (when.version, Arc::new(rows)));
        Ok(())
    }

    /// The rows of a view that views over it count.
    async fn counted(&mut self, truth: Truth<'_>, view: &View, when: When) -> Result<Vec<Row>, String> {
        let seen = self.rows(truth, view, when).await?;
        let rows = seen.iter().map(|row| told(row, 0, i64::MAX, 0));
        let mut rows = rows.collect::<Vec<_>>();
        let when = self.resolved(truth, view, when);
        if let Some(retained) = self.retained_at(truth, view, when).await? {
            rows.extend(retained.expired.iter().map(|(row, epoch)| told(row, 0, i64::MAX, *epoch)));
        }
        Ok(rows)
    }
}

/// The rows of a collection in one of its tables.
fn of_collection(versions: &[Model], table: &Table) -> Vec<Row> {
    let (name, last) = (&table.member, &versions[versions.len() - 1]);
    if table.has == Has::Found {
        let epochs = last.epochs.iter().map(|epoch| (*epoch, &versions[*epoch]));
        let tables = [(0, last)].into_iter().chain(epochs);
        let rows = tables
            .flat_map(|(epoch, model)| model.rows[name].iter().map(move |row| told(row, 0, i64::MAX, epoch)));
        return rows.collect();
    }
    let past = Model::past(versions, name).into_iter();
    let past = past.filter(|(.., went)| table.has == Has::Past || *went == i64::MAX);
    let rows = past.map(|(row, came, went)| told(&row, came, went, 0));
    let expired = last.expired[name].iter().filter(|_| table.has != Has::Past);
    rows.chain(expired.map(|expired| told(&expired.row, expired.came, i64::MAX, expired.epoch))).collect()
}

/// A row that tells when it came and went, and to which version what it refers to belongs: 0 is the last.
fn told(row: &Row, came: i64, went: i64, epoch: usize) -> Row {
    let mut row = row.clone();
    row.extend([Value::Int(came), Value::Int(went), Value::Int(i64::try_from(epoch).unwrap())]);
    row
}

fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

fn number(value: &Value) -> usize {
    match value {
        Value::Int(value) => usize::try_from(*value).unwrap(),
        other => panic!("{other:?} is no number of a row"),
    }
}

/// Rows as a table, for messages.
pub(super) fn table(fields: &[Field], rows: &[Row]) -> String {
    let batch = to_batch(fields, rows);
    parquedb::arrow::util::pretty::pretty_format_batches(&[batch]).unwrap().to_string()
}

//! What members must hold, by plain SQL over the rows of the model.

use super::history::Model;
use super::members::{flat_table, unnested_table};
use super::value::{Field, Row, Type, Value, field, from_batches, to_batch};
use super::view::{Table, View};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::future::{BoxFuture, FutureExt};
use parquedb::arrow::array::RecordBatch;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The rows of every member at every version of the model that was asked for.
pub(super) struct Oracle {
    session: SessionContext,
    tables: BTreeSet<String>,
    rows: BTreeMap<(String, usize), Arc<Vec<Row>>>,
}

impl Oracle {
    pub(super) fn new() -> Self {
        let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        Self { session, tables: BTreeSet::new(), rows: BTreeMap::new() }
    }

    async fn collect(&self, sql: &str) -> Result<Vec<Row>, String> {
        let failed = |error| format!("the oracle's SQL failed: {error}\n{sql}");
        let batches = self.session.sql(sql).await.map_err(failed)?.collect().await.map_err(failed)?;
        Ok(from_batches(&batches))
    }

    fn register(&self, name: &str, rows: RecordBatch) {
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

    /// The rows of a member at a version of the model.
    pub(super) fn rows<'a>(
        &'a mut self,
        views: &'a [View],
        versions: &'a [Model],
        member: &'a str,
        version: usize,
    ) -> BoxFuture<'a, Result<Arc<Vec<Row>>, String>> {
        async move {
            let key = (member.to_owned(), version);
            if let Some(rows) = self.rows.get(&key) {
                return Ok(Arc::clone(rows));
            }
            let rows = match views.iter().find(|view| view.member.name == member) {
                Some(view) => Arc::new(self.view(views, versions, view, version).await?),
                None => versions[version].counted(member),
            };
            self.rows.insert(key, Arc::clone(&rows));
            Ok(rows)
        }
        .boxed()
    }

    async fn view(
        &mut self,
        views: &[View],
        versions: &[Model],
        view: &View,
        version: usize,
    ) -> Result<Vec<Row>, String> {
        for table in &view.tables {
            self.table(views, versions, table, version).await?;
        }
        let sql = view.sql.replace("@\"", &format!("@{version}\""));
        let mut rows = self.collect(&sql).await?;
        if view.passes {
            let source = &view.definition.plan.sources[0];
            let source = self.rows(views, versions, source, version).await?;
            let mut passed = rows.iter().map(|row| source[number(&row[0])].clone()).collect::<Vec<_>>();
            for (at, table) in view.expanded.iter().enumerate() {
                let fields = versions[version].fields[&table.member].len();
                // Rows that are there have the same numbers in both kinds of tables.
                let found = Model::past(&versions[..=version], &table.member);
                for (row, numbers) in passed.iter_mut().zip(&rows) {
                    match &numbers[at + 1] {
                        Value::Null => row.extend(vec![Value::Null; fields]),
                        found_at => row.extend(found[number(found_at)].0.clone()),
                    }
                }
            }
            return Ok(passed);
        }
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
        let Some(having) = &view.having else { return Ok(rows) };
        let kept = self.select(&view.member.fields, &rows, having, &[]).await?;
        Ok(kept.into_iter().map(|(row, _)| rows[row].clone()).collect())
    }

    async fn table(
        &mut self,
        views: &[View],
        versions: &[Model],
        table: &Table,
        version: usize,
    ) -> Result<(), String> {
        let name = format!("{}@{version}", table.name());
        if !self.tables.insert(name.clone()) {
            return Ok(());
        }
        let rows = self.rows(views, versions, &table.member, version).await?;
        let (fields, rows) = match views.iter().find(|view| view.member.name == table.member) {
            Some(view) => (view.member.fields.clone(), rows.as_ref().clone()),
            // Nothing is looked up where rows expire.
            None if !versions[version].expired[&table.member].is_empty() => {
                (versions[version].fields[&table.member].clone(), rows.as_ref().clone())
            }
            None => {
                // Every row of a collection tells when it came.
                let mut fields = versions[version].fields[&table.member].clone();
                fields.extend(["__came", "__went"].map(|name| field(name, Type::Int, false)));
                let past = Model::past(&versions[..=version], &table.member).into_iter();
                let past = past.filter(|(.., went)| table.past || *went == i64::MAX);
                let rows = past.map(|(mut row, came, went)| {
                    row.extend([Value::Int(came), Value::Int(went)]);
                    row
                });
                (fields, rows.collect())
            }
        };
        let batch = match &table.list {
            None => flat_table(&fields, &rows),
            Some((list, keeps_empty)) => unnested_table(&fields, &rows, list, *keeps_empty),
        };
        self.register(&name, batch);
        Ok(())
    }
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

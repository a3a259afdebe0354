//! A case on a real database in a folder, compared with the model and the oracle.

use super::history::{Batch, Case, Change, Model, Step};
use super::oracle::{Oracle, table};
use super::value::{Field, Row, Type, Value, from_batches, text, texts, to_batch, with_negative_zeros};
use super::view::View;
use parquedb::declare::assignment::Assignment;
use parquedb::declare::node::{Function, Node};
use parquedb::declare::plan::Refresh;
use parquedb::testing::Random;
use parquedb::{Clock, CompactOptions, Connection, Database, ErrorKind, ManualClock, Written};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;

/// 2024-03-01T00:00:00Z
pub(super) const START: i64 = 1_709_251_200_000_000;

/// Rows that have expired in all cases that this process ran.
pub(super) static EXPIRED: AtomicU64 = AtomicU64::new(0);

/// How much is compared after each step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Checks {
    /// A few views: planning queries takes long.
    Some,
    All,
}

pub(super) struct Run {
    case: Case,
    folder: TempDir,
    clock: Arc<ManualClock>,
    db: Connection,
    oracle: Oracle,
    /// The model after each commit.
    versions: Vec<Model>,
    /// Which of them each view that does not stream has absorbed.
    absorbed: Vec<usize>,
    random: Random,
    /// A view could not follow, because rows that it would need have expired: what it holds is not followed here.
    is_stuck: bool,
}

/// Runs a case to its end. The error is for a person.
pub(super) async fn run(case: Case, seed: u64, checks: Checks) -> Result<(), String> {
    let mut run = Run::new(case, seed).await?;
    for index in 0..run.case.steps.len() {
        let step = run.case.steps[index].clone();
        let done = run.step(&step).await;
        done.map_err(|error| format!("step {index}: {error}"))?;
        if run.is_stuck {
            return Ok(());
        }
        run.check(checks).await.map_err(|error| format!("after step {index}: {error}"))?;
    }
    run.check(checks).await.map_err(|error| format!("at the end: {error}"))?;
    run.step(&Step::Refresh(None)).await?;
    if run.is_stuck {
        return Ok(());
    }
    run.check(Checks::All).await.map_err(|error| format!("at the end, when all views are refreshed: {error}"))
}

fn failed(error: parquedb::Error) -> String {
    format!("{error:?}")
}

async fn open(case: &Case, folder: &TempDir, clock: &Arc<ManualClock>) -> Result<Connection, String> {
    let collections = case.collections.iter().map(super::members::Collection::definition);
    let definitions = collections.chain(case.views.iter().map(View::definition));
    let builder =
        Connection::builder().with_definitions(definitions).clock(Arc::clone(clock) as Arc<dyn Clock>);
    let builder = builder.log_options(|options| options.flush_after_commits = 5);
    // Rows expire in steps of their own.
    let builder = builder.maintenance(|options| options.expire_every = None);
    builder.open(folder.path().to_str().unwrap()).await.map_err(failed)
}

/// Sends a batch to a database.
pub(super) async fn commit(db: &Connection, case: &Case, batch: &Batch) -> parquedb::Result<Written> {
    let mut writing = db.batch();
    if let Some(id) = &batch.id {
        writing.id(id);
    }
    for (collection, change) in &batch.changes {
        let collection = &case.collections[*collection];
        let (name, rows) =
            (&collection.name, |rows: &[Row]| to_batch(&collection.fields, &with_negative_zeros(rows)));
        match change {
            Change::Insert(new) => writing.insert_into(name, rows(new))?,
            Change::Upsert(new) => writing.upsert_into(name, rows(new))?,
            Change::Delete(keys) => writing.delete_from(name, rows(keys))?,
            Change::DeleteWhere(condition) => writing.delete_where(name, condition.node.clone())?,
            Change::Update(condition, assignments) => {
                let assign = |(column, value): &(usize, super::expression::Expression)| {
                    let Field { name, of, .. } = &collection.fields[*column];
                    let value = match of {
                        Type::List(_) => {
                            Node::Call(Function::Append, vec![Node::Row.field(name), value.node.clone()])
                        }
                        _ => value.node.clone(),
                    };
                    Assignment::new(name, value)
                };
                let assignments = assignments.iter().map(assign).collect();
                writing.update_where(name, condition.node.clone(), assignments)?
            }
        };
    }
    writing.commit().await
}

impl Run {
    pub(super) async fn new(case: Case, seed: u64) -> Result<Self, String> {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(START));
        let db = open(&case, &folder, &clock).await?;
        let versions = vec![Model::new(&case.collections)];
        let absorbed = vec![0; case.views.len()];
        let random = Random::new(seed);
        let oracle = Oracle::new();
        Ok(Self { case, folder, clock, db, oracle, versions, absorbed, random, is_stuck: false })
    }

    pub(super) fn now(&self) -> usize {
        self.versions.len() - 1
    }

    pub(super) fn model(&self) -> &Model {
        &self.versions[self.now()]
    }

    pub(super) async fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Commit(batch) => {
                let written = commit(&self.db, &self.case, batch).await;
                self.expect(batch, written).await
            }
            Step::CommitElsewhere(batch) => {
                let url = self.folder.path().to_str().unwrap();
                let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
                let other = Connection::builder().clock(clock).open(url).await.map_err(failed)?;
                let written = commit(&other, &self.case, batch).await;
                self.expect(batch, written).await?;
                self.db.catch_up().await.map_err(failed)?;
                Ok(())
            }
            Step::Together(batches) => {
                let writes = batches.iter().map(|batch| commit(&self.db, &self.case, batch));
                let results = futures::future::join_all(writes).await;
                for (batch, written) in batches.iter().zip(results) {
                    self.expect(batch, written).await?;
                }
                Ok(())
            }
            Step::Refresh(Some(view)) => self.refresh(std::slice::from_ref(view)).await,
            Step::Refresh(None) => {
                let behind = self.case.views.iter().filter(|view| !view.member.streams);
                let behind = behind.map(|view| view.member.name.clone()).collect::<Vec<_>>();
                self.refresh(&behind).await
            }
            Step::Flush => self.db.flush().await.map_err(failed),
            Step::Compact { full } => {
                let options = CompactOptions { min_files: 2, full: *full, ..CompactOptions::default() };
                self.db.compact(options).await.map(|_| ()).map_err(failed)
            }
            Step::Maintain => {
                self.clock.advance(3_600_000_000);
                self.db.maintain().await.map_err(failed)?;
                // An hour has passed, so all that are scheduled are due.
                for at in 0..self.case.views.len() {
                    if let Refresh::Scheduled { .. } = self.case.views[at].definition.refresh {
                        self.absorbed[at] = self.now();
                    }
                }
                Ok(())
            }
            Step::Expire { hours } => {
                self.clock.advance(i64::from(*hours) * 3_600_000_000);
                let done = match self.db.expire().await {
                    Err(error) if self.is_refusal(&error) => {
                        self.is_stuck = true;
                        return Ok(());
                    }
                    done => done.map_err(failed)?,
                };
                // What was behind has absorbed everything before.
                let now = self.now();
                for (view, absorbed) in self.case.views.iter().zip(&mut self.absorbed) {
                    if done.refreshed.contains(&view.member.name) {
                        *absorbed = now;
                    }
                }
                let after = self.model().expired_at(&self.case.collections, self.clock.now());
                let gone = |model: &Model| model.expired.values().map(|rows| rows.len() as u64).sum::<u64>();
                let expected = gone(&after) - gone(self.model());
                if done.rows() != expected {
                    return Err(format!("{} rows expired instead of {expected}", done.rows()));
                }
                EXPIRED.fetch_add(expected, Ordering::Relaxed);
                self.versions.push(after);
                Ok(())
            }
            Step::Reopen => {
                self.db = open(&self.case, &self.folder, &self.clock).await?;
                Ok(())
            }
        }
    }

    /// Whether this is refused because groups would have to be computed again from rows of which some have
    /// expired.
    fn is_refusal(&self, error: &parquedb::Error) -> bool {
        self.model().has_expired()
            && error.kind() == ErrorKind::Invalid
            && error.to_string().contains("would have to be computed again from all its rows")
    }

    /// What became of a batch must be what the model says.
    async fn expect(&mut self, batch: &Batch, written: parquedb::Result<Written>) -> Result<(), String> {
        let after = self.model().after(&self.oracle, &self.case.collections, batch).await?;
        match (after, written) {
            (Some(mut model), Ok(written)) => {
                model.seq = model.seq.max(written.seq);
                self.versions.push(model);
                Ok(())
            }
            (None, Err(error)) if error.kind() == ErrorKind::Invalid => Ok(()),
            // Nothing of it was written.
            (Some(_), Err(error)) if self.is_refusal(&error) => Ok(()),
            (Some(_), Err(error)) => Err(format!("a good batch was refused: {}", failed(error))),
            (None, Ok(_)) => Err("a row was inserted whose key is there already".to_owned()),
            (None, Err(error)) => {
                Err(format!("a bad batch was refused for another reason: {}", failed(error)))
            }
        }
    }

    /// Refreshes views, and with each what it is computed from.
    pub(super) async fn refresh(&mut self, views: &[String]) -> Result<(), String> {
        for name in views {
            if !self.case.views.iter().any(|view| view.member.name == *name) {
                continue;
            }
            match self.db.refresh(name).await {
                Err(error) if self.is_refusal(&error) => {
                    self.is_stuck = true;
                    return Ok(());
                }
                done => done.map_err(|error| format!("refreshing {name}: {}", failed(error)))?,
            };
            let mut wanted = vec![name.as_str()];
            while let Some(name) = wanted.pop() {
                if let Some(at) = self.case.views.iter().position(|view| view.member.name == name) {
                    self.absorbed[at] = self.versions.len() - 1;
                    wanted.extend(self.case.views[at].definition.plan.members());
                }
            }
        }
        Ok(())
    }

    pub(super) async fn check(&mut self, checks: Checks) -> Result<(), String> {
        for index in 0..self.case.collections.len() {
            if checks == Checks::All || self.random.one_in(4) {
                let collection = self.case.collections[index].clone();
                let stored = self.db.rows(&collection.name).batches().await.map_err(failed)?;
                let stored = from_batches(&stored);
                let expected = &self.model().rows[&collection.name];
                if texts(&stored) != texts(expected) {
                    let (stored, expected) =
                        (table(&collection.fields, &stored), table(&collection.fields, expected));
                    let name = collection.name;
                    return Err(format!("{name} holds\n{stored}\nand not\n{expected}"));
                }
            }
        }
        for index in 0..self.case.views.len() {
            if checks == Checks::All || self.random.one_in(6) {
                self.check_view(index, checks == Checks::All).await?;
            }
        }
        Ok(())
    }

    async fn check_view(&mut self, index: usize, all: bool) -> Result<(), String> {
        let view = self.case.views[index].clone();
        let now = self.now();
        let seen = if view.member.streams { now } else { self.absorbed[index] };
        if all || seen == now || self.random.one_in(2) {
            self.compare(&view, seen, false).await?;
        }
        if seen != now {
            self.compare(&view, now, true).await?;
        }
        if self.random.one_in(6) {
            let name = &view.member.name;
            let found = match self.db.verify(name, None).await {
                Err(error)
                    if self.model().has_expired()
                        && error.to_string().contains("it cannot be computed again to be compared") =>
                {
                    return Ok(());
                }
                found => found.map_err(|error| format!("verify {name}: {}", failed(error)))?,
            };
            if !found.is_exact() {
                return Err(format!("verify() of {name} finds differences: {found}\n{}", plan(&view)));
            }
        }
        Ok(())
    }

    /// Compares a view's rows with what SQL gives over a version of the model.
    async fn compare(&mut self, view: &View, version: usize, fresh: bool) -> Result<(), String> {
        let name = &view.member.name;
        let rows = self.db.rows(name);
        let rows = if fresh { rows.fresh() } else { rows };
        let read = match rows.batches().await {
            Err(error) if fresh && self.is_refusal(&error) => return Ok(()),
            read => read.map_err(|error| format!("reading {name}: {}\n{}", failed(error), plan(view)))?,
        };
        let read = from_batches(&read);
        let expected = self.oracle.rows(&self.case.views, &self.versions, name, version).await?;
        if same(view, &read, &expected) {
            return Ok(());
        }
        let how = match (fresh, version == self.now()) {
            (true, _) => "read with fresh()",
            (_, true) => "that has absorbed everything",
            _ => "that is behind",
        };
        let (read, expected) = (table(&view.member.fields, &read), table(&view.member.fields, &expected));
        Err(format!("view {name} {how} holds\n{read}\nand not\n{expected}\n{}", plan(view)))
    }

    /// All rows of all views, as text.
    pub(super) async fn contents(&self) -> Result<Vec<(String, Vec<String>)>, String> {
        let mut contents = Vec::new();
        for view in &self.case.views {
            let name = &view.member.name;
            let rows = self.db.rows(name).batches().await.map_err(failed)?;
            contents.push((format!("{name}\n{}", plan(view)), texts(&from_batches(&rows))));
        }
        Ok(contents)
    }
}

/// Whether rows are the same but for what estimates may differ.
fn same(view: &View, read: &[Row], expected: &[Row]) -> bool {
    let near = view.member.near.iter().filter_map(|(name, part, apart)| {
        let at = view.member.fields.iter().position(|field| field.name == *name)?;
        Some((at, *part, *apart))
    });
    let near = near.collect::<Vec<_>>();
    if near.is_empty() {
        return texts(read) == texts(expected);
    }
    let split = |rows: &[Row]| {
        let rows = rows.iter().map(|row| {
            let mut exact = row.clone();
            near.iter().for_each(|(at, ..)| exact[*at] = Value::Null);
            let estimates = near.iter().map(|(at, ..)| row[*at].clone()).collect::<Row>();
            (text(&exact), estimates)
        });
        let mut rows = rows.collect::<Vec<_>>();
        rows.sort_by(|left, right| left.0.cmp(&right.0));
        rows
    };
    let number = |value: &Value| match value {
        Value::Int(value) => Some(*value as f64),
        Value::Float(value) => Some(*value),
        _ => None,
    };
    let is_near_number =
        |left: &Value, right: &Value, part: f64, apart: f64| match (number(left), number(right)) {
            (Some(left), Some(right)) if left.is_finite() && right.is_finite() => {
                (left - right).abs() <= right.abs() * part + apart
            }
            (left, right) => format!("{left:?}") == format!("{right:?}"),
        };
    let is_near = |left: &Value, right: &Value, part: f64, apart: f64| match (left, right) {
        (Value::List(left), Value::List(right)) => {
            let mut pairs = left.iter().zip(right);
            left.len() == right.len() && pairs.all(|(left, right)| is_near_number(left, right, part, apart))
        }
        (left, right) => is_near_number(left, right, part, apart),
    };
    let (read, expected) = (split(read), split(expected));
    read.len() == expected.len()
        && read.iter().zip(&expected).all(|(read, expected)| {
            let mut pairs = near.iter().zip(read.1.iter().zip(&expected.1));
            read.0 == expected.0
                && pairs.all(|((_, part, apart), (left, right))| is_near(left, right, *part, *apart))
        })
}

/// A view's plan and the SQL that says the same.
pub(super) fn plan(view: &View) -> String {
    let json = serde_json::to_string_pretty(&view.definition.plan).unwrap();
    let having = view.having.as_ref().map(|having| format!(" HAVING {having}")).unwrap_or_default();
    let refresh = &view.definition.refresh;
    format!("{} {refresh:?}: {json}\n{}{having}", view.member.name, view.sql)
}

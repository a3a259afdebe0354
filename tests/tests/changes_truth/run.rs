//! A case on a real database in a folder, compared with the model and the oracle.

use super::compare::same;
use super::history::{Batch, Case, Change, Step};
use super::model::Model;
use super::oracle::{Oracle, Truth, When, table};
use super::refusal::Refusal;
use super::value::{Field, Row, Type, from_batches, texts, to_batch, with_negative_zeros};
use super::view::View;
use parquedb::declare::assignment::Assignment;
use parquedb::declare::node::{Function, Node};
use parquedb::declare::plan::Refresh;
use parquedb::testing::Random;
use parquedb::{Clock, CompactOptions, Connection, Database, ErrorKind, ManualClock, Written};
use std::collections::BTreeSet;
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
    pub(super) case: Case,
    folder: TempDir,
    clock: Arc<ManualClock>,
    db: Connection,
    pub(super) oracle: Oracle,
    /// The model after each commit.
    pub(super) versions: Vec<Model>,
    /// Which of them each view that does not stream has absorbed.
    pub(super) absorbed: Vec<usize>,
    random: Random,
    /// A view could not follow, because rows that it would need have expired: what it holds is not followed here.
    pub(super) is_stuck: bool,
}

/// Runs a case to its end. The error is for a person.
pub(super) async fn run(case: Case, seed: u64, checks: Checks) -> Result<(), String> {
    let mut run = Run::new(case, seed).await?;
    for index in 0..run.case.steps.len() {
        let step = run.case.steps[index].clone();
        let done = run.step(&step).await;
        done.map_err(|error| format!("step {index}: {error}"))?;
        if run.is_over() {
            return Ok(());
        }
        run.check(checks).await.map_err(|error| format!("after step {index}: {error}"))?;
    }
    run.check(checks).await.map_err(|error| format!("at the end: {error}"))?;
    run.step(&Step::Refresh(None)).await?;
    if run.is_over() {
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

    /// Whether what comes next is not followed here.
    fn is_over(&self) -> bool {
        self.is_stuck || self.oracle.is_beyond
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
                let views = self.case.views.iter();
                let due = views.filter(|view| matches!(view.definition.refresh, Refresh::Scheduled { .. }));
                let due = due.map(|view| view.member.name.clone()).collect();
                self.absorb(due).await
            }
            Step::Expire { hours } => {
                self.clock.advance(i64::from(*hours) * 3_600_000_000);
                let done = match self.db.expire().await {
                    Err(error) if self.is_refusal(&error, self.now()).await? => {
                        self.is_stuck = true;
                        return Ok(());
                    }
                    done => done.map_err(failed)?,
                };
                // What was behind has absorbed everything before.
                self.absorb(done.refreshed.iter().cloned().collect()).await?;
                let now = self.clock.now();
                let after = Model::expired_at(&self.versions, &self.case.collections, now);
                let mut expected = 0;
                for (collection, expired) in &after.expired {
                    let gone = (expired.len() - self.model().expired[collection].len()) as u64;
                    expected += gone;
                    let reported = done.tables.get(collection).map_or(0, |table| table.rows);
                    if reported != gone {
                        return Err(format!("{reported} rows of {collection} expired instead of {gone}"));
                    }
                }
                let truth = Truth { views: &self.case.views, versions: &self.versions };
                for (at, view) in self.case.views.iter().enumerate() {
                    let absorbed =
                        if view.member.streams { self.versions.len() - 1 } else { self.absorbed[at] };
                    let name = &view.member.name;
                    let reported = done.tables.get(name).map_or(0, |table| table.rows);
                    let gone = self.oracle.expire(truth, view, absorbed, now, reported).await?.len() as u64;
                    expected += gone;
                    // A group has one state or more. Also of groups that nobody sees there are some.
                    let is_right = if view.groups.is_some() { reported >= gone } else { reported == gone };
                    if !is_right || (view.ttl.is_none() && reported > 0) {
                        return Err(format!("{reported} rows of {name} expired instead of {gone}"));
                    }
                }
                EXPIRED.fetch_add(expected, Ordering::Relaxed);
                self.versions.push(after);
                Ok(())
            }
            Step::Rebuild(name) => self.rebuild(name).await,
            Step::Reopen => {
                self.db = open(&self.case, &self.folder, &self.clock).await?;
                Ok(())
            }
        }
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
            (Some(mut model), Err(error)) => {
                // Nothing of it was written. What would have been tells whether it must not.
                model.seq += 1;
                self.versions.push(model);
                let is_refusal = self.is_refusal(&error, self.now() - 1).await;
                self.versions.pop();
                self.oracle.forget(self.versions.len());
                match is_refusal? {
                    true => Ok(()),
                    false => Err(format!("a good batch was refused: {}", failed(error))),
                }
            }
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
                Err(error) if self.is_refusal(&error, self.now()).await? => {
                    self.is_stuck = true;
                    return Ok(());
                }
                done => done.map_err(|error| format!("refreshing {name}: {}", failed(error)))?,
            };
            let mut wanted = vec![name.as_str()];
            let mut refreshed = BTreeSet::new();
            while let Some(name) = wanted.pop() {
                if let Some(view) = self.case.views.iter().find(|view| view.member.name == name) {
                    refreshed.insert(view.member.name.clone());
                    wanted.extend(view.definition.plan.members());
                }
            }
            self.absorb(refreshed).await?;
        }
        Ok(())
    }

    /// Builds a view anew over which there is none: that must be refused if it has counted what has expired.
    async fn rebuild(&mut self, name: &str) -> Result<(), String> {
        let views = &self.case.views;
        let Some(view) = views.iter().find(|view| view.member.name == name).cloned() else { return Ok(()) };
        match (self.of_rebuilding(&view).await?, self.db.rebuild(name).await) {
            (Refusal::Maybe | Refusal::Must, Err(error))
                if error.kind() == ErrorKind::Invalid
                    && error.to_string().contains("it cannot be built anew") =>
            {
                Ok(())
            }
            (Refusal::Must, Ok(())) => {
                Err(format!("{name} was built anew without what has expired\n{}", plan(&view)))
            }
            (_, Err(error)) => Err(format!("{name} was not built anew: {}\n{}", failed(error), plan(&view))),
            (_, Ok(())) => {
                self.oracle.built_anew(&view);
                self.absorb(BTreeSet::from([name.to_owned()])).await
            }
        }
    }

    /// Views have absorbed everything.
    async fn absorb(&mut self, views: BTreeSet<String>) -> Result<(), String> {
        let now = self.now();
        let truth = Truth { views: &self.case.views, versions: &self.versions };
        // Those that others are computed from come first.
        for (view, absorbed) in self.case.views.iter().zip(&mut self.absorbed) {
            if views.contains(&view.member.name) {
                *absorbed = now;
                self.oracle.absorb(truth, view, now).await?;
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
            // Rows that have expired since it absorbed something have gone.
            let retained = self.oracle.retained.get(&view.member.name).and_then(|retained| retained.last());
            let version = retained.map_or(seen, |retained| retained.version.max(seen));
            self.compare(&view, When::stored(version)).await?;
        }
        if seen != now {
            self.compare(&view, When::fresh(now)).await?;
        }
        if self.random.one_in(6) {
            let name = &view.member.name;
            let refusal = self.of_verifying(&view).await?;
            let found = match self.db.verify(name, None).await {
                Err(error)
                    if refusal != Refusal::No
                        && error.to_string().contains("it cannot be computed again to be compared") =>
                {
                    return Ok(());
                }
                found => found.map_err(|error| format!("verify {name}: {}", failed(error)))?,
            };
            if refusal == Refusal::Must {
                return Err(format!(
                    "verify() of {name} compares what has expired: {found}\n{}",
                    plan(&view)
                ));
            }
            if !found.is_exact() {
                return Err(format!("verify() of {name} finds differences: {found}\n{}", plan(&view)));
            }
        }
        Ok(())
    }

    /// Compares a view's rows with what SQL gives over a version of the model.
    async fn compare(&mut self, view: &View, when: When) -> Result<(), String> {
        let name = &view.member.name;
        let rows = self.db.rows(name);
        let rows = if when.fresh { rows.fresh() } else { rows };
        let read = match rows.batches().await {
            Err(error) if when.fresh && self.is_refusal(&error, self.now()).await? => return Ok(()),
            read => read.map_err(|error| format!("reading {name}: {}\n{}", failed(error), plan(view)))?,
        };
        let read = from_batches(&read);
        let truth = Truth { views: &self.case.views, versions: &self.versions };
        let expected = self.oracle.rows(truth, view, when).await?;
        if self.oracle.is_beyond || same(view, &read, &expected) {
            return Ok(());
        }
        let how = match (when.fresh, when.version == self.now()) {
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

/// A view's plan and the SQL that says the same.
pub(super) fn plan(view: &View) -> String {
    let json = serde_json::to_string_pretty(&view.definition.plan).unwrap();
    let having = view.having.as_ref().map(|having| format!(" HAVING {having}")).unwrap_or_default();
    let refresh = &view.definition.refresh;
    let ttl = view.definition.ttl.as_ref().map(|ttl| format!(" {ttl:?}")).unwrap_or_default();
    format!("{} {refresh:?}{ttl}: {json}\n{}{having}", view.member.name, view.sql)
}

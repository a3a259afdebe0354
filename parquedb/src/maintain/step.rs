//! One view brought to a snapshot: what of its table goes, and what comes.

use super::cancel::cancel;
use super::freshness::{Freshness, freshness};
use super::locate::{LocateCache, Located, Take, locate};
use crate::commit::snapshot::{ADDED_COLUMN, Cursor, Snapshot, removed_table};
use crate::commit::{Changes, TableRemoval, TableWrite};
use crate::declare::definition::ViewDefinition;
use crate::error::{Error, Result};
use crate::evaluate::catalog::Catalog;
use crate::evaluate::difference::{Difference, has_changed};
use crate::evaluate::memory::{self, union};
use crate::evaluate::prepare::{Inputs, Restriction};
use crate::evaluate::view;
use arrow::array::BooleanArray;
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use std::collections::HashSet;
use std::sync::Arc;

/// What computing views takes.
#[derive(Clone, Copy)]
pub(crate) struct Engine<'a> {
    pub(crate) session: &'a SessionContext,
    pub(crate) catalog: &'a Catalog,
    pub(crate) located: &'a LocateCache,
}

/// How a view's table changes.
#[derive(Debug, Default)]
pub(crate) struct TableChange {
    /// The rows, or states, that come.
    pub(crate) plus: Vec<RecordBatch>,
    /// Those that go.
    pub(crate) minus: Option<Located>,
    /// All that was there before goes.
    pub(crate) replace: bool,
}

/// The parts of a view's inputs that have changed.
struct Changed {
    come: Vec<Inputs>,
    gone: Vec<Inputs>,
}

impl TableChange {
    /// Whether nothing changes.
    pub(crate) fn is_empty(&self) -> bool {
        let gone = self.minus.as_ref().map_or(0, |located| located.rows.num_rows());
        self.plus.is_empty() && gone == 0 && !self.replace
    }

    /// Adds the change of the table `name` to a commit.
    pub(crate) fn add_to(self, name: &str, is_view: bool, snapshot: &Snapshot, changes: &mut Changes) {
        let Self { plus, minus, replace } = self;
        let removed = removed_table(name);
        if replace && snapshot.tables.contains_key(&removed) {
            // Whoever reads this table must read all of it anew.
            changes.writes.push(TableWrite { table: removed.clone(), is_view, batches: Vec::new(), replace });
        }
        if replace || !plus.is_empty() {
            changes.writes.push(TableWrite { table: name.to_owned(), is_view, batches: plus, replace });
        }
        if let Some(located) = minus.filter(|located| located.rows.num_rows() > 0) {
            let runs = located.removal();
            let batches = vec![located.rows];
            changes.writes.push(TableWrite { table: removed, is_view, batches, replace: false });
            changes.removals.push(TableRemoval { table: name.to_owned(), runs });
        }
    }
}

impl Engine<'_> {
    /// How a view's table changes when the view is brought to the snapshot; nothing when it is there.
    pub(crate) async fn step(&self, snapshot: &Snapshot, name: &str) -> Result<Option<TableChange>> {
        let view = self.catalog.view(name)?;
        let change = match (freshness(self.catalog, snapshot, name)?, snapshot.cursors.get(name)) {
            (Freshness::Fresh, _) => return Ok(None),
            (Freshness::Stale, Some(cursor)) => self.follow(snapshot, view, cursor).await,
            _ => self.rebuild(snapshot, view).await,
        };
        change.map(Some).map_err(|error| error.context(format!("view `{name}`")))
    }

    /// All rows of the view, from all rows of its sources. Refused where some of these have expired that the view
    /// has counted.
    pub(super) async fn rebuild(&self, snapshot: &Snapshot, view: &ViewDefinition) -> Result<TableChange> {
        self.check_rebuild(snapshot, view)?;
        self.build(snapshot, view).await
    }

    /// All rows of the view, from all rows that its sources have.
    pub(super) async fn build(&self, snapshot: &Snapshot, view: &ViewDefinition) -> Result<TableChange> {
        let inputs = self.catalog.inputs_at(snapshot, view)?;
        let plus = self.stored(view, view::delta_plan(view, &inputs)?).await?;
        Ok(TableChange { plus, minus: None, replace: true })
    }

    /// What the changes of the sources since the cursor make of the view's table.
    async fn follow(
        &self,
        snapshot: &Snapshot,
        view: &ViewDefinition,
        cursor: &Cursor,
    ) -> Result<TableChange> {
        if is_merged_across(snapshot, cursor) {
            return self.rebuild(snapshot, view).await;
        }
        let Changed { come, gone } = self.changed(snapshot, view, cursor).await?;
        if !view::groups(view) {
            let plus = self.delta(view, &come).await?;
            let minus = self.delta(view, &gone).await?;
            return self.change_rows(snapshot, view, plus, minus).await;
        }
        if gone.is_empty() {
            let plus = self.delta(view, &come).await?;
            return Ok(TableChange { plus, ..TableChange::default() });
        }
        let nothing = self.catalog.no_inputs(view)?;
        if view::can_negate(view, &nothing)? {
            let taken = self.delta(view, &gone).await?;
            let stored = self.catalog.stored_schema(&view.name)?;
            let negated = view::negated(view, &nothing, memory::rows("gone", stored, taken.clone())?)?;
            let states = union(plans(view, &come)?.into_iter().chain(negated))?;
            let Some(states) = states else { return Ok(TableChange::default()) };
            let states = self.stored(view, view::merge_plan(view, &nothing, states)?).await?;
            return self.take_back(snapshot, view, states, &taken).await;
        }
        let keys = come.iter().chain(&gone).map(|inputs| view::keys_plan(view, inputs));
        let Some(keys) = union(keys.collect::<Result<Vec<_>>>()?)? else { return Ok(TableChange::default()) };
        self.change_groups(snapshot, view, keys).await
    }

    /// Rows that come and go. Those that go are found by their values.
    pub(crate) async fn change_rows(
        &self,
        snapshot: &Snapshot,
        view: &ViewDefinition,
        plus: Vec<RecordBatch>,
        minus: Vec<RecordBatch>,
    ) -> Result<TableChange> {
        let schema = self.catalog.stored_schema(&view.name)?;
        let (plus, minus) = cancel(schema, plus, minus)?;
        let minus = match minus.is_empty() {
            true => None,
            false => {
                let probes = concat_batches(schema, &minus)?;
                let by = schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
                let found = self.locate(snapshot, &view.name, &by, &probes, Take::OneEach).await?;
                let expired = self.lost(snapshot, view)?.own_expired(&probes, &found.missing);
                let missing = found.missing.len() - expired.len();
                if missing > 0 {
                    return Err(Error::corrupt(format!(
                        "it does not hold {missing} of {} rows that it should: verify it, and rebuild it with \
                         `rebuild()`",
                        probes.num_rows()
                    )));
                }
                Some(found)
            }
        };
        Ok(TableChange { plus, minus, replace: false })
    }

    /// The groups with these keys, computed again.
    async fn change_groups(
        &self,
        snapshot: &Snapshot,
        view: &ViewDefinition,
        keys: LogicalPlan,
    ) -> Result<TableChange> {
        let inputs = self.catalog.inputs_at(snapshot, view)?;
        let by = view::keys(view).iter().map(|key| key.name.clone()).collect::<Vec<_>>();
        let lost = self.lost(snapshot, view)?;
        if by.is_empty() {
            lost.check_groups(view, &RecordBatch::new_empty(Arc::new(Schema::empty())))?;
            // The only group: whatever is stored goes.
            let plus = self.stored(view, view::delta_plan(view, &inputs)?).await?;
            let minus = self.everything(snapshot, &view.name).await?;
            return Ok(TableChange { plus, minus, replace: false });
        }
        let schema =
            Arc::new(self.catalog.stored_schema(&view.name)?.project(&(0..by.len()).collect::<Vec<_>>())?);
        let keys = self.collect(keys, &schema, &view.name).await?;
        // Each part gave its keys once, but several may have given the same.
        let keys = distinct(&schema, &keys)?;
        if keys.num_rows() == 0 {
            return Ok(TableChange::default());
        }
        lost.check_groups(view, &keys)?;
        let wanted = memory::rows("keys", &schema, vec![keys.clone()])?;
        let plus = self.stored(view, view::groups_plan(view, &inputs, wanted)?).await?;
        let minus = self.locate(snapshot, &view.name, &by, &keys, Take::All).await?;
        Ok(TableChange { plus, minus: Some(minus), replace: false })
    }
}

impl Engine<'_> {
    /// The parts of the view's inputs that have changed since the cursor.
    ///
    /// A row counts that came or went, with what it refers to now or referred to then. So does one that stayed
    /// while something that it refers to changed: as it was, and as it is. No row counts twice.
    async fn changed(&self, snapshot: &Snapshot, view: &ViewDefinition, cursor: &Cursor) -> Result<Changed> {
        let catalog = self.catalog;
        let may_lose_rows = catalog.may_lose_rows(view);
        let seen = |member: &str| cursor.sources.get(member).map_or(0, |seen| seen.seq);
        let commits = view.plan.looks_back();
        let joined = |as_of: bool, since: u64| -> Result<Vec<LogicalPlan>> {
            let joins = view
                .plan
                .joins
                .iter()
                .map(|join| catalog.joined(snapshot, join, as_of.then(|| seen(&join.member)), since));
            joins.collect()
        };
        // Rows that have come since look up nothing that was gone before.
        let since = view.plan.sources.iter().map(|source| seen(source)).min().unwrap_or(0);
        let mut changed = Changed { come: Vec::new(), gone: Vec::new() };
        let (mut come, mut gone) = (Vec::new(), Vec::new());
        let (mut any_come, mut any_gone) = (false, false);
        for source in &view.plan.sources {
            let Difference { plus, minus } =
                catalog.source_difference(snapshot, view, source, seen(source))?;
            any_come |= has_changed(snapshot, source, seen(source));
            any_gone |= minus.is_some();
            come.push(plus);
            gone.push(minus.map_or_else(|| catalog.no_source_rows(view, source), Ok)?);
        }
        if any_come {
            changed.come.push(Inputs {
                sources: come,
                joined: joined(false, since)?,
                restriction: None,
                may_lose_rows,
                commits,
            });
        }
        if any_gone {
            changed.gone.push(Inputs {
                sources: gone,
                joined: joined(true, 0)?,
                restriction: None,
                may_lose_rows,
                commits,
            });
        }
        let mut keys_before: Vec<(usize, LogicalPlan)> = Vec::new();
        for (index, join) in view.plan.joins.iter().enumerate() {
            if join.as_of_ingest || !has_changed(snapshot, &join.member, seen(&join.member)) {
                continue;
            }
            let member = self.changed_member(snapshot, join, seen(&join.member)).await?;
            let among = member.among()?;
            let restriction =
                Restriction { join: index, among: among.clone(), not_among: keys_before.clone() };
            let mut stayed = Vec::new();
            for name in &view.plan.sources {
                stayed.push(match commits {
                    true => catalog.source_unchanged(snapshot, view, name, seen(name))?,
                    false => self.referring(snapshot, name, seen(name), join, &member.keys).await?,
                });
            }
            for (parts, as_of) in [(&mut changed.come, false), (&mut changed.gone, true)] {
                let mut joined = joined(as_of, 0)?;
                // A list may refer to others of the member's rows as well.
                if let Some((is, was)) = member.rows.as_ref().filter(|_| !join.many) {
                    joined[index] = if as_of { was.clone() } else { is.clone() };
                }
                let inputs =
                    Inputs { sources: stayed.clone(), joined, restriction: None, may_lose_rows, commits };
                parts.push(inputs.restricted(restriction.clone()));
            }
            keys_before.push((index, among));
        }
        Ok(changed)
    }

    /// What the view stores for these inputs.
    async fn delta(&self, view: &ViewDefinition, inputs: &[Inputs]) -> Result<Vec<RecordBatch>> {
        match union(plans(view, inputs)?)? {
            Some(plan) => self.stored(view, plan).await,
            None => Ok(Vec::new()),
        }
    }

    /// Runs a plan of what a view stores.
    pub(super) async fn stored(&self, view: &ViewDefinition, plan: LogicalPlan) -> Result<Vec<RecordBatch>> {
        self.collect(plan, self.catalog.stored_schema(&view.name)?, &view.name).await
    }

    pub(crate) async fn collect(
        &self,
        plan: LogicalPlan,
        schema: &SchemaRef,
        owner: &str,
    ) -> Result<Vec<RecordBatch>> {
        let frame = self.session.execute_logical_plan(plan).await?;
        let batches = frame.collect().await?;
        batches
            .iter()
            .filter(|batch| batch.num_rows() > 0)
            .map(|batch| view::conform(batch, schema, owner))
            .collect()
    }

    /// All that a member's table holds.
    pub(super) async fn everything(&self, snapshot: &Snapshot, name: &str) -> Result<Option<Located>> {
        let schema = self.catalog.stored_schema(name)?;
        let stored = self.collect(self.catalog.stored(snapshot, name)?, schema, name).await?;
        if stored.is_empty() {
            return Ok(None);
        }
        let by = schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
        Ok(Some(self.locate(snapshot, name, &by, &concat_batches(schema, &stored)?, Take::OneEach).await?))
    }

    /// Finds rows of a member's table by some columns.
    pub(crate) async fn locate(
        &self,
        snapshot: &Snapshot,
        name: &str,
        by: &[String],
        probes: &RecordBatch,
        take: Take,
    ) -> Result<Located> {
        let schema = self.catalog.stored_schema(name)?;
        match snapshot.tables.get(name) {
            Some(table) => locate(self.located, self.session, name, schema, table, by, probes, take).await,
            None => Ok(Located::nothing(schema, probes.num_rows())),
        }
    }
}

fn plans(view: &ViewDefinition, inputs: &[Inputs]) -> Result<Vec<LogicalPlan>> {
    inputs.iter().map(|inputs| view::delta_plan(view, inputs)).collect()
}

/// Whether states that the view has absorbed were merged with later ones, so that nobody can tell them apart any
/// more. Compaction does not do that, but another process's may have chosen its files just before the view was
/// refreshed.
pub(crate) fn is_merged_across(snapshot: &Snapshot, cursor: &Cursor) -> bool {
    cursor.sources.iter().any(|(source, seen)| {
        let files = snapshot.tables.get(source).map(|table| table.files.iter());
        files
            .into_iter()
            .flatten()
            .any(|file| file.merged && (file.first_seq..file.last_seq).contains(&seen.seq))
    })
}

/// The rows, each once.
pub(super) fn distinct(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<RecordBatch> {
    let rows = concat_batches(schema, batches)?;
    let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
    let encoded = RowConverter::new(fields)?.convert_columns(rows.columns())?;
    let mut seen = HashSet::new();
    let first = encoded.iter().map(|row| seen.insert(row)).collect::<Vec<_>>();
    Ok(filter_record_batch(&rows, &BooleanArray::from(first))?)
}

/// Removed rows without the commit in which each had come in.
pub(super) fn without_added(rows: &RecordBatch) -> Result<RecordBatch> {
    let columns =
        (0..rows.num_columns()).filter(|index| rows.schema_ref().field(*index).name() != ADDED_COLUMN);
    Ok(rows.project(&columns.collect::<Vec<_>>())?)
}

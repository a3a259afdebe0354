//! The inputs of a view as they are and were. Of a view that looks up rows as of ingest, the sources tell the commit
//! that each row came in, and the members that are looked up so are given with their past: all their rows ever, each
//! with the commits between which it was there.

use super::catalog::Catalog;
use super::difference::{Difference, removed_schema};
use super::lower::column;
use super::prepare::Inputs;
use super::scan;
use crate::commit::snapshot::{ADDED_COLUMN, SEQ_COLUMN, Snapshot, removed_table};
use crate::declare::definition::{Definition, ViewDefinition};
use crate::declare::plan::Join;
use crate::error::{Error, Result};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, lit};

/// The `UInt64` column of a member's past: the commit in which the row went; none of those that are there.
pub(crate) const GONE_COLUMN: &str = "__gone";

impl Catalog {
    /// A view's inputs at a snapshot.
    pub(crate) fn inputs_at(&self, snapshot: &Snapshot, view: &ViewDefinition) -> Result<Inputs> {
        let commits = view.plan.looks_back();
        let sources = view.plan.sources.iter().map(|name| match commits {
            true => self.stored_until(snapshot, name, snapshot.seq, true),
            false => self.rows(snapshot, name),
        });
        let sources = sources.collect::<Result<_>>()?;
        let joined = view.plan.joins.iter().map(|join| self.joined(snapshot, join, None, 0));
        let joined = joined.collect::<Result<_>>()?;
        Ok(Inputs { sources, joined, restriction: None, may_lose_rows: self.may_lose_rows(view), commits })
    }

    /// A view's inputs as they were after the commits that it has seen of each member.
    pub(crate) fn inputs_as_of(
        &self,
        snapshot: &Snapshot,
        view: &ViewDefinition,
        seen: impl Fn(&str) -> u64,
    ) -> Result<Inputs> {
        let commits = view.plan.looks_back();
        let sources = view.plan.sources.iter().map(|name| match commits {
            true => self.stored_as_of(snapshot, name, seen(name), true),
            false => self.rows_as_of(snapshot, name, seen(name)),
        });
        let sources = sources.collect::<Result<_>>()?;
        let joined =
            view.plan.joins.iter().map(|join| self.joined(snapshot, join, Some(seen(&join.member)), 0));
        let joined = joined.collect::<Result<_>>()?;
        Ok(Inputs { sources, joined, restriction: None, may_lose_rows: self.may_lose_rows(view), commits })
    }

    /// How a view's source has changed since a commit.
    pub(crate) fn source_difference(
        &self,
        snapshot: &Snapshot,
        view: &ViewDefinition,
        source: &str,
        seq: u64,
    ) -> Result<Difference> {
        match view.plan.looks_back() {
            true => self.stored_difference(snapshot, source, seq, true),
            false => self.difference(snapshot, source, seq),
        }
    }

    /// The rows of a view's source that have not changed since a commit.
    pub(crate) fn source_unchanged(
        &self,
        snapshot: &Snapshot,
        view: &ViewDefinition,
        source: &str,
        seq: u64,
    ) -> Result<LogicalPlan> {
        match view.plan.looks_back() {
            true => self.stored_until(snapshot, source, seq, true),
            false => self.unchanged(snapshot, source, seq),
        }
    }

    /// No rows of a view's source.
    pub(crate) fn no_source_rows(&self, view: &ViewDefinition, source: &str) -> Result<LogicalPlan> {
        match view.plan.looks_back() {
            true => scan::rows_with_commits(source, self.stored_schema(source)?, None),
            false => self.no_rows(source),
        }
    }

    /// The rows of a member that is looked up: now or after a commit. As of ingest: those of its past that were still
    /// there after the commit `since`, whatever the other says.
    pub(crate) fn joined(
        &self,
        snapshot: &Snapshot,
        join: &Join,
        as_of: Option<u64>,
        since: u64,
    ) -> Result<LogicalPlan> {
        match (join.as_of_ingest, as_of) {
            (true, _) => self.past(snapshot, &join.member, since),
            (false, Some(seq)) => self.rows_as_of(snapshot, &join.member, seq),
            (false, None) => self.rows(snapshot, &join.member),
        }
    }

    /// All rows of a collection that were there after the commit `since` or later.
    fn past(&self, snapshot: &Snapshot, name: &str, since: u64) -> Result<LogicalPlan> {
        let schema = self.stored_schema(name)?;
        let columns = || schema.fields().iter().map(|field| column(field.name()));
        let there = scan::rows_with_commits(name, schema, snapshot.tables.get(name).map(AsRef::as_ref))?;
        let times = [column(SEQ_COLUMN).alias(ADDED_COLUMN), lit(u64::MAX).alias(GONE_COLUMN)];
        let there = LogicalPlanBuilder::from(there).project(columns().chain(times))?;
        let removed = removed_table(name);
        let gone = snapshot.tables.get(&removed).filter(|table| table.changed > since && table.rows > 0);
        let Some(gone) = gone else { return Ok(there.build()?) };
        let gone = scan::rows_after(&removed, &removed_schema(schema), gone, since, true)?;
        let times = [column(ADDED_COLUMN), column(SEQ_COLUMN).alias(GONE_COLUMN)];
        let gone = LogicalPlanBuilder::from(gone).project(columns().chain(times))?.build()?;
        Ok(there.union(gone)?.build()?)
    }

    /// An error if a view looks up rows as of the commit of rows that have none.
    pub(super) fn check_looks_back(&self, view: &ViewDefinition) -> Result<()> {
        let is_view = |name: &&str| matches!(self.get(name), Ok(Definition::View(_)));
        let sources = || view.plan.sources.iter().map(String::as_str);
        let looked_up = view.plan.joins.iter().filter(|join| join.as_of_ingest);
        let looked_up = looked_up.map(|join| join.member.as_str());
        match sources().chain(looked_up).find(is_view).filter(|_| view.plan.looks_back()) {
            Some(name) => Err(Error::invalid(format!(
                "view `{}` looks rows up as of ingest, but `{name}` is a view, whose rows come whenever it is \
                 refreshed: expand the reference in a view over the collection",
                view.name
            ))),
            None => Ok(()),
        }
    }
}

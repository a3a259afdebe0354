//! A member's rows as they were after an earlier commit, and how they have changed since.
//!
//! Rows that were removed from a table `X` are kept in a table `X.removed`, each with the commit in which it
//! had come in. So what stood after commit `seq` is what stands now and came in up to `seq`, with what was
//! removed later and had come in up to `seq`.

use super::catalog::Catalog;
use super::lower::column;
use super::{scan, view};
pub(crate) use crate::commit::snapshot::removed_schema;
use crate::commit::snapshot::{ADDED_COLUMN, SEQ_COLUMN, Snapshot, removed_table};
use crate::declare::definition::{Definition, ViewDefinition};
use crate::error::Result;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, lit};

/// How a member's rows, as a reader sees them, have changed since a commit. A row that is in both has not
/// changed.
#[derive(Debug, Clone)]
pub(crate) struct Difference {
    /// The rows that have come.
    pub(crate) plus: LogicalPlan,
    /// The rows that have gone; nothing when there are none for sure.
    pub(crate) minus: Option<LogicalPlan>,
}

impl Catalog {
    /// How a member's rows have changed since commit `seq`.
    pub(crate) fn difference(&self, snapshot: &Snapshot, name: &str, seq: u64) -> Result<Difference> {
        let view = match self.get(name)? {
            Definition::View(view) if view::groups(view) => view,
            _ => return self.stored_difference(snapshot, name, seq, false),
        };
        if view::keys(view).is_empty() {
            if !has_changed(snapshot, name, seq) {
                return Ok(Difference { plus: self.no_rows(name)?, minus: None });
            }
            let plus = self.rows(snapshot, name)?;
            return Ok(Difference { plus, minus: Some(self.rows_as_of(snapshot, name, seq)?) });
        }
        let keys = self.changed_groups(snapshot, view, seq)?;
        let of_those = |stored| -> Result<LogicalPlan> {
            self.results(view, view::states_of(view, stored, keys.clone())?)
        };
        Ok(Difference {
            plus: of_those(self.stored(snapshot, name)?)?,
            minus: Some(of_those(self.stored_as_of(snapshot, name, seq, false)?)?),
        })
    }

    /// How what a member's table holds has changed since commit `seq`; if wanted, with the commit that each row came
    /// in.
    pub(super) fn stored_difference(
        &self,
        snapshot: &Snapshot,
        name: &str,
        seq: u64,
        commits: bool,
    ) -> Result<Difference> {
        let plus = self.stored_after(snapshot, name, seq, commits)?;
        Ok(Difference { plus, minus: self.removed_since(snapshot, name, seq, commits)? })
    }

    /// A member's rows, as a reader sees them, that have not changed since commit `seq`.
    pub(crate) fn unchanged(&self, snapshot: &Snapshot, name: &str, seq: u64) -> Result<LogicalPlan> {
        let view = match self.get(name)? {
            Definition::View(view) if view::groups(view) => view,
            _ => return self.stored_until(snapshot, name, seq, false),
        };
        if view::keys(view).is_empty() {
            let has_changed = has_changed(snapshot, name, seq);
            return if has_changed { self.no_rows(name) } else { self.rows(snapshot, name) };
        }
        let changed = self.changed_groups(snapshot, view, seq)?;
        self.results(view, view::states_of_others(view, self.stored(snapshot, name)?, changed)?)
    }

    /// The keys of a view's groups whose states have changed since commit `seq`.
    fn changed_groups(&self, snapshot: &Snapshot, view: &ViewDefinition, seq: u64) -> Result<LogicalPlan> {
        let come = self.stored_after(snapshot, &view.name, seq, false)?;
        let changed = match self.removed_since(snapshot, &view.name, seq, false)? {
            Some(gone) => LogicalPlanBuilder::from(come).union(gone)?.build()?,
            None => come,
        };
        let keys = view::key_columns_of(view, changed)?;
        Ok(LogicalPlanBuilder::from(keys).distinct()?.build()?)
    }

    /// A member's rows as a reader saw them after commit `seq`.
    pub(crate) fn rows_as_of(&self, snapshot: &Snapshot, name: &str, seq: u64) -> Result<LogicalPlan> {
        let stored = self.stored_as_of(snapshot, name, seq, false)?;
        match self.get(name)? {
            Definition::Collection(_) => Ok(stored),
            Definition::View(view) => self.results(view, stored),
        }
    }

    /// What a member's table holds now and did not hold after commit `seq`.
    fn stored_after(&self, snapshot: &Snapshot, name: &str, seq: u64, commits: bool) -> Result<LogicalPlan> {
        let schema = self.stored_schema(name)?;
        match snapshot.tables.get(name) {
            Some(table) => scan::rows_after(name, schema, table, seq, commits),
            None => self.nothing_stored(name, commits),
        }
    }

    fn nothing_stored(&self, name: &str, commits: bool) -> Result<LogicalPlan> {
        let schema = self.stored_schema(name)?;
        if commits { scan::rows_with_commits(name, schema, None) } else { scan::all_rows(name, schema, None) }
    }

    /// What a member's table held after commit `seq`.
    pub(super) fn stored_as_of(
        &self,
        snapshot: &Snapshot,
        name: &str,
        seq: u64,
        commits: bool,
    ) -> Result<LogicalPlan> {
        let still = self.stored_until(snapshot, name, seq, commits)?;
        let gone = self.removed_since(snapshot, name, seq, commits)?;
        Ok(match gone {
            Some(gone) => LogicalPlanBuilder::from(still).union(gone)?.build()?,
            None => still,
        })
    }

    /// What a member's table holds now and held after commit `seq` already.
    pub(super) fn stored_until(
        &self,
        snapshot: &Snapshot,
        name: &str,
        seq: u64,
        commits: bool,
    ) -> Result<LogicalPlan> {
        let schema = self.stored_schema(name)?;
        match snapshot.tables.get(name) {
            Some(table) => scan::rows_until(name, schema, table, seq, commits),
            None => self.nothing_stored(name, commits),
        }
    }

    /// What a member's table held after commit `seq` and does not hold any more; nothing when no row was
    /// removed since.
    fn removed_since(
        &self,
        snapshot: &Snapshot,
        name: &str,
        seq: u64,
        commits: bool,
    ) -> Result<Option<LogicalPlan>> {
        let removed = removed_table(name);
        let Some(table) = snapshot.tables.get(&removed).filter(|table| table.changed > seq && table.rows > 0)
        else {
            return Ok(None);
        };
        let stored = self.stored_schema(name)?;
        let later = scan::rows_after(&removed, &removed_schema(stored), table, seq, false)?;
        let mut columns = stored.fields().iter().map(|field| column(field.name())).collect::<Vec<_>>();
        columns.extend(commits.then(|| column(ADDED_COLUMN).alias(SEQ_COLUMN)));
        let plan = LogicalPlanBuilder::from(later)
            .filter(column(ADDED_COLUMN).lt_eq(lit(seq)))?
            .project(columns)?
            .build()?;
        Ok(Some(plan))
    }

    /// What a view's readers see of what it stores.
    pub(crate) fn results(&self, view: &ViewDefinition, stored: LogicalPlan) -> Result<LogicalPlan> {
        view::result_plan(view, &self.no_inputs(view)?, stored)
    }
}

/// Whether a member's table changed after a commit.
pub(crate) fn has_changed(snapshot: &Snapshot, member: &str, seq: u64) -> bool {
    snapshot.tables.get(member).is_some_and(|table| table.changed > seq)
}

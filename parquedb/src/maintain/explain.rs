//! How a view is kept: its plans, its states, and what each kind of change costs.

use super::lost::Lost;
use super::step::Engine;
use crate::commit::snapshot::Snapshot;
use crate::declare::definition::ViewDefinition;
use crate::declare::plan::{Output, Refresh};
use crate::error::{Error, Result};
use crate::evaluate::candidates::CANDIDATES;
use crate::evaluate::catalog::Catalog;
use crate::evaluate::state::ROWS_COLUMN;
use crate::evaluate::view::{self, StoredColumn, TakesRowsBack};
use datafusion::logical_expr::LogicalPlan;
use serde::Serialize;
use std::fmt;

/// How a view is kept.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The view.
    pub view: String,
    /// The members it is computed from.
    pub members: Vec<String>,
    /// When it absorbs their changes.
    pub refresh: Refresh,
    /// What it stores.
    pub columns: Vec<ExplainedColumn>,
    /// What each kind of change costs, and why.
    pub changes: Vec<ExplainedChange>,
    /// From the rows of its sources to what it stores.
    pub plan: String,
    /// From stored states to those that take them away; nothing for a view that does not do that.
    pub removal_plan: Option<String>,
    /// From what it stores to the rows that its readers see.
    pub read_plan: String,
}

/// A column that a view stores.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ExplainedColumn {
    /// Its name.
    pub name: String,
    /// Its Arrow type.
    pub data_type: String,
    /// What it is.
    pub what: String,
}

/// A kind of change and what it costs.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ExplainedChange {
    /// The change.
    pub change: String,
    /// What is done about it.
    pub cost: String,
}

/// Explains a view at a snapshot.
pub(crate) fn explain(engine: &Engine<'_>, snapshot: &Snapshot, name: &str) -> Result<Explanation> {
    let Engine { session, catalog, .. } = *engine;
    let definition = catalog.view(name)?;
    let lost = engine.lost(snapshot, definition)?;
    let inputs = catalog.no_inputs(definition)?;
    let optimized = |plan: LogicalPlan| -> Result<String> {
        Ok(session.state().optimize(&plan)?.display_indent().to_string())
    };
    let stored = catalog.no_states(name)?;
    let removal_plan = match view::groups(definition) && catalog.may_lose_rows(definition) {
        true => view::negated(definition, &inputs, stored.clone())?.map(optimized).transpose()?,
        false => None,
    };
    Ok(Explanation {
        view: name.to_owned(),
        members: definition.plan.members().map(str::to_owned).collect(),
        refresh: definition.refresh.clone(),
        columns: columns(catalog, definition)?,
        changes: changes(catalog, definition, &lost)?,
        plan: optimized(view::delta_plan(definition, &inputs)?)?,
        removal_plan,
        read_plan: optimized(view::result_plan(definition, &inputs, stored)?)?,
    })
}

/// The columns whose aggregates take rows back in this way.
fn taking_back(catalog: &Catalog, view: &ViewDefinition, how: TakesRowsBack) -> Result<Vec<String>> {
    let stored = view::stored_columns_of(view, &catalog.no_inputs(view)?)?;
    let names = stored.into_iter().filter(|column| column.is_state && column.takes_rows_back == how);
    Ok(names.map(|column| column.owner).collect())
}

/// An error if the view says that it must never be computed again, and some change would make it so.
fn check_strict(catalog: &Catalog, view: &ViewDefinition) -> Result<()> {
    if !view.strict || !view::groups(view) || !catalog.may_lose_rows(view) {
        return Ok(());
    }
    let never = taking_back(catalog, view, TakesRowsBack::Never)?;
    let running_out = taking_back(catalog, view, TakesRowsBack::WhileCandidatesLast)?;
    let (columns, problem) = match (never.is_empty(), running_out.is_empty()) {
        (true, true) => return Ok(()),
        (false, _) => (never, "cannot take rows back".to_owned()),
        (true, false) => (
            running_out,
            format!("can take rows back only while one of the {CANDIDATES} best values is left"),
        ),
    };
    Err(Error::invalid(format!(
        "view `{}` is strictly incremental, but rows of {} may go, and {} {problem}: their groups would be computed \
         again. Use other aggregates, or leave out `incremental: strict`",
        view.name,
        view.plan.source_names(),
        quoted(&columns),
    )))
}

/// The same of all views.
pub(crate) fn check_all_strict(catalog: &Catalog) -> Result<()> {
    catalog.views().try_for_each(|view| check_strict(catalog, view))
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn columns(catalog: &Catalog, view: &ViewDefinition) -> Result<Vec<ExplainedColumn>> {
    let stored = view::stored_columns_of(view, &catalog.no_inputs(view)?)?;
    let explained =
        stored.into_iter().map(|StoredColumn { field, owner, is_state, takes_rows_back, holds }| {
            let what = match (is_state, takes_rows_back) {
                (false, _) if view::groups(view) => "group key".to_owned(),
                (false, _) => "column".to_owned(),
                (true, _) if owner == ROWS_COLUMN => holds.to_owned(),
                (true, TakesRowsBack::Always) => {
                    format!("state of `{owner}` ({holds}), from which rows can be taken away")
                }
                (true, TakesRowsBack::WhileCandidatesLast) => format!(
                    "state of `{owner}` ({holds}), from which rows can be taken away while one of the {CANDIDATES} best \
                     values is left"
                ),
                (true, TakesRowsBack::Never) => {
                    format!("state of `{owner}` ({holds}), from which rows cannot be taken away")
                }
            };
            ExplainedColumn { name: field.name().clone(), data_type: field.data_type().to_string(), what }
        });
    Ok(explained.collect())
}

fn changes(catalog: &Catalog, view: &ViewDefinition, lost: &Lost) -> Result<Vec<ExplainedChange>> {
    let plan = &view.plan;
    let sources = plan.source_names();
    let groups = view::groups(view);
    let is_alone = plan.sources.len() == 1 && plan.joins.is_empty();
    let when = match (&view.refresh, is_alone) {
        (Refresh::Streaming, true) => "in the commit of the rows, by a plan that was prepared once",
        (Refresh::Streaming, false) => "in the commit of the rows, by a plan made for it",
        (Refresh::Scheduled { .. }, _) => "when the view is due, all together",
        (Refresh::Manual, _) => "when the view is refreshed, all together",
    };
    let what = if groups { "one state for each group among the new rows" } else { "the rows they give" };
    let mut changes = vec![ExplainedChange {
        change: format!("rows of {sources} come"),
        cost: format!("{what}: appended {when}"),
    }];
    let gone = if !plan.sources.iter().any(|source| catalog.loses_rows(source)) {
        "cannot happen: rows are only appended there".to_owned()
    } else {
        lost_rows(catalog, view)?
    };
    changes.push(ExplainedChange { change: format!("rows of {sources} go or change"), cost: gone });
    for join in &plan.joins {
        if join.as_of_ingest {
            changes.push(ExplainedChange {
                change: format!("rows of {} change, to which `{}` refers", join.member, join.name),
                cost: "nothing: rows keep what they referred to when they came".to_owned(),
            });
            continue;
        }
        let then = match groups {
            true => lost_rows(catalog, view)?,
            false => "their rows here are removed, and what they give now is added".to_owned(),
        };
        let whose = match join.many {
            true => format!(
                "all rows of {sources} are read to find those whose list has their keys, and {} to look these lists up, \
                 as it was and as it is",
                join.member
            ),
            false => "the rows that refer to them, as they were and as they are".to_owned(),
        };
        changes.push(ExplainedChange {
            change: format!("rows of {} change, to which `{}` refers", join.member, join.name),
            cost: format!("{whose}: {then}"),
        });
    }
    for source in &view.plan.sources {
        if let Some(ttl) = catalog.get(source)?.ttl() {
            changes.push(ExplainedChange {
                change: format!("rows of {source} expire, {} after `{}`", duration(ttl.after), ttl.on),
                cost: "nothing: they still count here, and go once the view has absorbed them".to_owned(),
            });
        }
    }
    if let Some(ttl) = &view.ttl {
        changes.push(ExplainedChange {
            change: format!("rows of the view expire, {} after `{}`", duration(ttl.after), ttl.on),
            cost: "they go; views over it still count them".to_owned(),
        });
    }
    for what in lost.describe() {
        let cost = "the view cannot be built anew, nor what they counted in be computed again".to_owned();
        changes.push(ExplainedChange { change: what, cost });
    }
    Ok(changes)
}

/// Microseconds as a person writes them.
fn duration(micros: i64) -> String {
    let seconds = micros / 1_000_000;
    let units = [(86_400, "d"), (3600, "h"), (60, "m")];
    let (unit, name) = units.into_iter().find(|(unit, _)| seconds % unit == 0).unwrap_or((1, "s"));
    format!("{}{name}", seconds / unit)
}

fn lost_rows(catalog: &Catalog, view: &ViewDefinition) -> Result<String> {
    if !view::groups(view) {
        return Ok("what the rows gave is found by its values, in an index in memory, and removed".to_owned());
    }
    let never = taking_back(catalog, view, TakesRowsBack::Never)?;
    let running_out = taking_back(catalog, view, TakesRowsBack::WhileCandidatesLast)?;
    let taken = "one state for each group among them, which takes them away: appended";
    if never.is_empty() && running_out.is_empty() {
        return Ok(taken.to_owned());
    }
    let groups = match &view.plan.output {
        Output::Groups { keys, .. } if keys.is_empty() => "the only group is",
        _ => "the groups they belong to are",
    };
    let sources = view.plan.source_names();
    Ok(match never.is_empty() {
        false => format!(
            "{groups} computed again from all rows of {sources}, because {} cannot take rows back",
            quoted(&never)
        ),
        true => format!(
            "{taken}. Where none of the {CANDIDATES} best values of {} is left, {groups} computed again from all rows of \
             {sources}",
            quoted(&running_out)
        ),
    })
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "view {}, from {}", self.view, self.members.join(", "))?;
        for ExplainedChange { change, cost } in &self.changes {
            writeln!(f, "  {change}:\n    {cost}")?;
        }
        writeln!(f, "stored:")?;
        for ExplainedColumn { name, data_type, what } in &self.columns {
            writeln!(f, "  {name}: {data_type}, {what}")?;
        }
        let mut plan = |title: &str, plan: &str| {
            writeln!(f, "{title}:")?;
            plan.lines().try_for_each(|line| writeln!(f, "  {line}"))
        };
        plan("from source rows to what is stored", &self.plan)?;
        if let Some(removal) = &self.removal_plan {
            plan("from states to those that take them away", removal)?;
        }
        plan("from what is stored to the view's rows", &self.read_plan)
    }
}

//! What cannot be computed any more: a view has counted rows that have expired since.

use super::step::Engine;
use crate::commit::snapshot::{Expired, Snapshot, Table};
use crate::declare::definition::ViewDefinition;
use crate::declare::node::{Function, Node};
use crate::declare::plan::{Column, Output};
use crate::error::{Error, Result};
use crate::evaluate::lower::column;
use crate::evaluate::view;
use crate::types::Timestamp;
use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::record_batch::RecordBatch;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, lit};

/// What has expired of what a view has counted, and of what it held itself.
#[derive(Debug, Default)]
pub(crate) struct Lost {
    parts: Vec<Part>,
}

/// Rows of one member.
#[derive(Debug)]
struct Part {
    member: String,
    is_own: bool,
    expired: Expired,
    /// A column of the view: where it is null, or not before the time, nothing has expired of what the row or the
    /// group is computed from.
    told_by: Option<String>,
}

impl Engine<'_> {
    /// What has expired of what a view has counted since it was built.
    pub(crate) fn lost(&self, snapshot: &Snapshot, view: &ViewDefinition) -> Result<Lost> {
        let mut lost = Lost::default();
        let Some(table) = snapshot.tables.get(&view.name) else { return Ok(lost) };
        for source in &view.plan.sources {
            let Some(expired) = expired_since(snapshot, source, table) else { continue };
            let told_by = expired.on.as_ref().and_then(|on| told_by(view, on));
            lost.parts.push(Part { member: source.clone(), is_own: false, expired, told_by });
        }
        if let Some(expired) = expired_since(snapshot, &view.name, table) {
            let told_by = expired.on.clone().filter(|on| view.schema.field_with_name(on).is_ok());
            lost.parts.push(Part { member: view.name.clone(), is_own: true, expired, told_by });
        }
        Ok(lost)
    }

    /// An error if building the view anew would leave out what it has counted, or bring back what views over it
    /// have counted already.
    pub(super) fn check_rebuild(&self, snapshot: &Snapshot, view: &ViewDefinition) -> Result<()> {
        let name = &view.name;
        let lost = self.lost(snapshot, view)?;
        let Some(part) = lost.parts.iter().find(|part| !part.is_own || self.is_counted(snapshot, name))
        else {
            return Ok(());
        };
        let Part { member, expired, .. } = part;
        Err(Error::invalid(format!(
            "it cannot be built anew: {} rows of `{member}` from before {} have expired since it was built, and {}. \
             Go on with the definition that it was built by, or declare the new one under another name, which then \
             holds what is left. To give up what has expired, use `rebuild_from_remaining(\"{name}\")`",
            expired.rows,
            Timestamp::from_micros(expired.before),
            if part.is_own { "views over it have counted them" } else { "it has counted them" },
        )))
    }

    /// Whether a view over this one has counted rows of it that have expired.
    fn is_counted(&self, snapshot: &Snapshot, name: &str) -> bool {
        let mut over = super::expire::views_over(self.catalog, name);
        over.any(|over| {
            snapshot.tables.get(over).is_some_and(|table| expired_since(snapshot, name, table).is_some())
        })
    }
}

/// What has expired of a member since a view's table was begun.
fn expired_since(snapshot: &Snapshot, member: &str, view: &Table) -> Option<Expired> {
    let expired = snapshot.tables.get(member)?.expired.clone()?;
    (expired.seq > view.identity).then_some(expired)
}

/// A column of a view that holds the time by which source rows expire, or that time cut to a unit, which is never
/// later.
fn told_by(view: &ViewDefinition, on: &str) -> Option<String> {
    let is_time = |node: &Node| matches!(node, Node::Field(of, name) if **of == Node::Row && name == on);
    let tells = |column: &&Column| match &column.value {
        Node::Call(Function::Truncate, arguments) => arguments.last().is_some_and(is_time),
        value => is_time(value),
    };
    match &view.plan.output {
        Output::Source => Some(on.to_owned()),
        Output::Rows(columns) => columns.iter().find(tells).map(|column| column.name.clone()),
        Output::Groups { keys, .. } => keys.iter().find(tells).map(|key| key.name.clone()),
    }
}

impl Lost {
    /// The time from which on nothing has expired, of what can be computed.
    pub(crate) fn since(&self) -> Option<Timestamp> {
        self.parts.iter().map(|part| part.expired.before).max().map(Timestamp::from_micros)
    }

    /// What has expired, in words.
    pub(crate) fn describe(&self) -> impl Iterator<Item = String> {
        self.parts.iter().map(|Part { member, expired, .. }| {
            let before = Timestamp::from_micros(expired.before);
            format!("{} rows of {member} from before {before} have expired since it was built", expired.rows)
        })
    }

    /// The rows of a view, or of what it stores, of which nothing has expired.
    ///
    /// # Errors
    /// When they cannot be told.
    pub(super) fn whole(&self, rows: LogicalPlan) -> Result<LogicalPlan> {
        let mut rows = LogicalPlanBuilder::from(rows);
        for part in &self.parts {
            let Some(name) = &part.told_by else { return Err(part.untold()) };
            let zone = match rows.schema().field_with_unqualified_name(name)?.data_type() {
                arrow::datatypes::DataType::Timestamp(_, zone) => zone.clone(),
                _ => return Err(part.untold()),
            };
            let before = lit(ScalarValue::TimestampMicrosecond(Some(part.expired.before), zone));
            rows = rows.filter(column(name).is_null().or(column(name).gt_eq(before)))?;
        }
        Ok(rows.build()?)
    }

    /// An error if something has expired of the groups with these keys.
    pub(super) fn check_groups(&self, view: &ViewDefinition, keys: &RecordBatch) -> Result<()> {
        for part in &self.parts {
            let times = part.told_by.as_ref().and_then(|name| keys.column_by_name(name));
            let times = times.and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
            let is_whole = |times: &arrow::array::TimestampMicrosecondArray| {
                (0..times.len()).all(|at| times.is_null(at) || times.value(at) >= part.expired.before)
            };
            if times.is_none_or(|times| !is_whole(times)) {
                let Part { member, expired, .. } = part;
                let what = if view::keys(view).is_empty() { "its only group" } else { "a group of it" };
                return Err(Error::invalid(format!(
                    "{what} would have to be computed again from all its rows, because some aggregate cannot take rows \
                     back, but rows of `{member}` from before {} have expired, and they may have been among them. Leave \
                     these rows as they are, or use aggregates that take rows back, as `explain(\"{}\")` tells",
                    Timestamp::from_micros(expired.before),
                    view.name
                )));
            }
        }
        Ok(())
    }

    /// The positions of a view's rows that have expired themselves, among these.
    pub(super) fn own_expired(&self, rows: &RecordBatch, positions: &[usize]) -> Vec<usize> {
        let own = self.parts.iter().find(|part| part.is_own);
        let times = own.and_then(|part| {
            let column = rows.column_by_name(part.told_by.as_ref()?)?;
            Some((column.as_primitive_opt::<TimestampMicrosecondType>()?, part.expired.before))
        });
        let Some((times, before)) = times else { return Vec::new() };
        let is_old = |at: &usize| !times.is_null(*at) && times.value(*at) < before;
        positions.iter().copied().filter(is_old).collect()
    }
}

impl Part {
    fn untold(&self) -> Error {
        let Self { member, expired, is_own, .. } = self;
        Error::invalid(format!(
            "it cannot be computed again to be compared: {} rows of `{member}` from before {} have expired since it was \
             built, and {}",
            expired.rows,
            Timestamp::from_micros(expired.before),
            if *is_own {
                "not always by the same column"
            } else {
                "no column of it tells where they counted"
            },
        ))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_bucket_tells_what_has_expired_and_another_time_does_not() {
        let time = Node::Row.field("at");
        let hour = Node::Call(
            Function::Truncate,
            vec![Node::Literal(crate::declare::node::Literal::Text("hour".to_owned())), time.clone()],
        );
        let view = |keys: Vec<(&str, Node)>| ViewDefinition {
            name: "V".to_owned(),
            table: "v".to_owned(),
            schema: Arc::new(arrow::datatypes::Schema::empty()),
            plan: crate::declare::plan::ViewPlan {
                sources: vec!["S".to_owned()],
                joins: Vec::new(),
                filter: None,
                unnest: None,
                condition: None,
                output: Output::Groups {
                    keys: keys
                        .into_iter()
                        .map(|(name, value)| Column { name: name.to_owned(), value })
                        .collect(),
                    aggregates: Vec::new(),
                },
                having: None,
            },
            refresh: crate::declare::plan::Refresh::Manual,
            strict: false,
            ttl: None,
        };
        assert_eq!(
            told_by(&view(vec![("n", Node::Row.field("n")), ("h", hour.clone())]), "at").unwrap(),
            "h"
        );
        assert_eq!(told_by(&view(vec![("exact", time.clone())]), "at").unwrap(), "exact");
        assert_eq!(told_by(&view(vec![("h", hour)]), "sent"), None);
        assert_eq!(told_by(&view(vec![("inner", Node::Element.field("at"))]), "at"), None);
        assert_eq!(told_by(&view(vec![]), "at"), None);
    }
}

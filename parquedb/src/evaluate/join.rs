//! One reference of a view: the rows with what they refer to.

mod list_key;
mod many;

use super::lower::{Scope, column, joined_column};
use super::past::GONE_COLUMN;
use super::prepare::Restriction;
use crate::commit::snapshot::{ADDED_COLUMN, SEQ_COLUMN};
use crate::declare::node::Node;
use crate::declare::plan::{Join, ViewPlan};
use crate::error::Result;
use datafusion::common::JoinType;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use std::collections::BTreeSet;

/// The column of keys to restrict a reference to.
const RESTRICTION_COLUMN: &str = "__restriction";

/// The rows, each with those columns of the member's row it refers to that the view uses. A member has one row of
/// a key at a time, so that no row comes out twice. With `commits`, a row that is looked up as of ingest is one that was
/// there after the commit of the row that refers to it.
pub(super) fn join(
    rows: LogicalPlan,
    join: &Join,
    plan: &ViewPlan,
    member: &LogicalPlan,
    commits: bool,
) -> Result<LogicalPlan> {
    let mut used = BTreeSet::from([join.key.as_str()]);
    for expression in plan.expressions() {
        expression.walk(&mut |node| match node {
            Node::Field(of, name) if matches!(&**of, Node::Joined(of) if *of == join.name) => {
                used.insert(name);
            }
            _ => {}
        });
    }
    let back = join.as_of_ingest && commits;
    if back {
        used.extend([ADDED_COLUMN, GONE_COLUMN]);
    }
    let was_there = back.then(|| was_there(join, SEQ_COLUMN));
    let columns = used.into_iter().map(|name| column(name).alias(joined_column(&join.name, name)));
    let member = LogicalPlanBuilder::from(member.clone()).project(columns)?.build()?;
    let kind = if join.required { JoinType::Inner } else { JoinType::Left };
    on_key(rows, join, member, &joined_column(&join.name, &join.key), kind, was_there)
}

/// The rows, each with the list of the member's rows that its list of references refers to. The lists are looked up as
/// `listed` has them: the rows themselves, or others with the same columns of which none is missing.
pub(super) fn join_many(
    rows: LogicalPlan,
    listed: &LogicalPlan,
    join: &Join,
    member: &LogicalPlan,
    commits: bool,
) -> Result<LogicalPlan> {
    many::join(rows, listed, join, member, join.as_of_ingest && commits)
}

/// Whether a row of a member's past was there after the commit in a column.
fn was_there(join: &Join, commit: &str) -> Expr {
    let joined = |name: &str| column(&joined_column(&join.name, name));
    joined(ADDED_COLUMN).lt_eq(column(commit)).and(column(commit).lt(joined(GONE_COLUMN)))
}

/// The rows that the restriction leaves before the join at `position` is done. Lists of references are taken from
/// `listed`, as in [`join_many`].
pub(super) fn restrict(
    mut rows: LogicalPlan,
    listed: &LogicalPlan,
    join: &Join,
    position: usize,
    restriction: Option<&Restriction>,
) -> Result<LogicalPlan> {
    let Some(restriction) = restriction else { return Ok(rows) };
    let not_among = restriction.not_among.iter().filter(|(of, _)| *of == position);
    let among = (restriction.join == position).then_some(&restriction.among);
    let sets = not_among
        .map(|(_, keys)| (keys, JoinType::LeftAnti))
        .chain(among.map(|keys| (keys, JoinType::LeftSemi)));
    for (keys, kind) in sets {
        let key = keys.schema().columns().into_iter().next();
        let key = key.ok_or_else(|| crate::Error::invalid("a restriction needs a column of keys"))?;
        let key = Expr::Column(key).alias(RESTRICTION_COLUMN);
        let keys = LogicalPlanBuilder::from(keys.clone()).project([key])?.build()?;
        rows = match join.many {
            true => many::with_some(rows, listed, join, keys, RESTRICTION_COLUMN, kind)?,
            false => on_key(rows, join, keys, RESTRICTION_COLUMN, kind, None)?,
        };
    }
    Ok(rows)
}

/// The rows joined with others by their reference, and where a condition over both holds. A reference that is null finds nothing.
fn on_key(
    rows: LogicalPlan,
    join: &Join,
    others: LogicalPlan,
    key: &str,
    kind: JoinType,
    condition: Option<Expr>,
) -> Result<LogicalPlan> {
    let reference = Scope::new(rows.schema()).value(&join.reference)?;
    let keys = (vec![reference], vec![column(key)]);
    Ok(LogicalPlanBuilder::from(rows).join_with_expr_keys(others, kind, keys, condition)?.build()?)
}

#[cfg(test)]
mod tests;

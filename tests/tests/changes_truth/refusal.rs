//! Where something must be refused, because it would need rows that have expired.

use super::model::is_from_before;
use super::oracle::{Truth, When};
use super::retention::without;
use super::run::Run;
use super::view::View;
use parquedb::ErrorKind;
use parquedb::declare::node::{Function, Node};
use parquedb::declare::plan::{Column, Output};

/// Aggregates that may need all rows of a group when some go: those that find candidates while these last, and
/// one that never takes a row back.
const MAY_NEED_ALL_ROWS: [&str; 8] = ["min", "max", "any", "first", "last", "arg_min", "arg_max", "uniq"];

/// What has expired of what a view counts, or of itself.
struct Part {
    /// The time by which it expired, and before which.
    on: String,
    before: i64,
    /// The version without the last of it.
    epoch: usize,
    is_own: bool,
}

/// Whether something must be refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Refusal {
    No,
    /// What has expired gave nothing that the view would hold, as it held nothing.
    Maybe,
    Must,
}

impl Run {
    fn expired(&self, member: &str, is_own: bool) -> Option<Part> {
        if let Some(collection) = self.case.collections.iter().find(|collection| collection.name == member) {
            let on = collection.fields[collection.ttl?.0].name.clone();
            let before = *self.model().expired_before.get(member)?;
            return Some(Part { on, before, epoch: self.model().expired[member].last()?.epoch, is_own });
        }
        let view = self.case.views.iter().find(|view| view.member.name == member)?;
        let last = self.oracle.retained.get(member)?.last()?;
        let on = view.member.fields[view.ttl?.0].name.clone();
        Some(Part { on, before: last.before, epoch: last.epoch, is_own })
    }

    fn parts(&self, view: &View) -> Vec<Part> {
        let sources = view.definition.plan.sources.iter();
        let sources = sources.filter_map(|source| self.expired(source, false));
        sources.chain(self.expired(&view.member.name, true)).collect()
    }

    /// Whether `verify()` must be refused, because no column of a view tells where expired rows counted.
    pub(super) async fn of_verifying(&mut self, view: &View) -> Result<Refusal, String> {
        let untold = self.parts(view).into_iter();
        let untold = untold.filter(|part| !part.is_own && told_by(view, &part.on).is_none());
        self.refusal(view, untold.collect()).await
    }

    /// Whether a view over which there is none must not be built anew, because it has counted what has expired.
    pub(super) async fn of_rebuilding(&mut self, view: &View) -> Result<Refusal, String> {
        let counted = self.parts(view).into_iter().filter(|part| !part.is_own);
        self.refusal(view, counted.collect()).await
    }

    async fn refusal(&mut self, view: &View, parts: Vec<Part>) -> Result<Refusal, String> {
        let mut refusal = Refusal::No;
        for Part { epoch, .. } in parts {
            let truth = Truth { views: &self.case.views, versions: &self.versions };
            let held = self.oracle.given(truth, view, When::stored(epoch)).await?;
            refusal = match (refusal, held.is_empty()) {
                (Refusal::No | Refusal::Maybe, true) => Refusal::Maybe,
                _ => Refusal::Must,
            };
        }
        Ok(refusal)
    }

    /// Whether this is refused because groups would have to be computed again from rows of which some have expired,
    /// when views that have absorbed a version, or what they say that they have, were to absorb the last one.
    pub(super) async fn is_refusal(
        &mut self,
        error: &parquedb::Error,
        streamed: usize,
    ) -> Result<bool, String> {
        let text = error.to_string();
        if error.kind() != ErrorKind::Invalid
            || !text.contains("would have to be computed again from all its rows")
        {
            return Ok(false);
        }
        let named = |view: &&View| text.contains(&format!("view `{}`", view.member.name));
        let Some(at) = self.case.views.iter().position(|view| named(&view)) else {
            return Err(format!("no view is named: {text}"));
        };
        let view = self.case.views[at].clone();
        let Some(groups) = &view.groups else { return Err(format!("it has no groups: {text}")) };
        if !groups.aggregates.iter().any(|(name, _)| MAY_NEED_ALL_ROWS.contains(name)) {
            return Err(format!("its aggregates take rows back: {text}"));
        }
        let absorbed = if view.member.streams { streamed } else { self.absorbed[at] };
        let truth = Truth { views: &self.case.views, versions: &self.versions };
        let before = self.oracle.joined(truth, &view, groups, When::stored(absorbed)).await?;
        let after = self.oracle.joined(truth, &view, groups, When::fresh(self.now())).await?;
        // A row that changes goes and comes, even if its group would be the same.
        let gone = without(&before, &after);
        let needs_expired = self.parts(&view).iter().any(|part| match group_told_by(&view, part) {
            None => !gone.is_empty(),
            Some(key) => gone.iter().any(|row| is_from_before(&row[key], part.before)),
        });
        if needs_expired { Ok(true) } else { Err(format!("nothing that has expired is needed: {text}")) }
    }
}

/// The key of a view's groups that tells what has expired.
fn group_told_by(view: &View, part: &Part) -> Option<usize> {
    if part.is_own { view.ttl.map(|(on, _)| on) } else { told_by(view, &part.on) }
}

/// The column of a view that holds the time by which rows of its sources expire, or a bucket of it.
fn told_by(view: &View, on: &str) -> Option<usize> {
    let is_time = |node: &Node| *node == Node::Row.field(on);
    let tells = |column: &Column| match &column.value {
        Node::Call(Function::Truncate, arguments) => arguments.last().is_some_and(is_time),
        value => is_time(value),
    };
    match &view.definition.plan.output {
        Output::Source => view.member.fields.iter().position(|field| field.name == on),
        Output::Rows(columns) => columns.iter().position(tells),
        Output::Groups { keys, .. } => keys.iter().position(tells),
    }
}

//! Everything that a view's expressions name.

use super::expr::Expr;
use super::path::{FieldPath, Step};
use super::view::View;
use proc_macro2::Span;

/// Which rows a path is over.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Those that `$filter` tests.
    Filtered,
    /// Those after `$expand`.
    Expanded,
    /// Those after `$unnest`.
    Unnested,
}

impl View {
    /// The expressions over the rows of the sources.
    pub(crate) fn expressions(&self) -> impl Iterator<Item = &Expr> {
        let columns = self.select.iter().chain(&self.group_by).flatten().map(|column| &column.value);
        let aggregates = self.compute.iter().flatten().flat_map(|aggregate| aggregate.expressions());
        self.filter.iter().chain(&self.condition).chain(columns).chain(aggregates)
    }

    /// The paths into the rows after `$filter`, to be changed.
    pub(crate) fn paths_after_filter(&mut self) -> Vec<&mut FieldPath> {
        let mut paths: Vec<_> = self.unnest.iter_mut().map(|unnest| &mut unnest.list).collect();
        let columns = self.select.iter_mut().chain(&mut self.group_by).flatten();
        let columns = columns.map(|column| &mut column.value);
        let aggregates = self.compute.iter_mut().flatten().flat_map(|aggregate| {
            aggregate.argument.iter_mut().chain(&mut aggregate.by).chain(&mut aggregate.filter)
        });
        for expression in self.condition.iter_mut().chain(columns).chain(aggregates) {
            expression.paths_mut(&mut paths);
        }
        paths
    }

    /// The paths into the rows of the sources, in the order of the view's steps, and which rows each is over.
    pub(crate) fn paths(&self) -> Vec<(&FieldPath, Stage)> {
        let mut paths = Vec::new();
        let before = usize::from(self.filter.is_some());
        for (position, expression) in self.expressions().enumerate() {
            if position == before {
                paths.extend(self.unnest.as_ref().map(|unnest| (&unnest.list, Stage::Expanded)));
            }
            let stage = match (position >= before, &self.unnest) {
                (false, _) => Stage::Filtered,
                (true, None) => Stage::Expanded,
                (true, Some(_)) => Stage::Unnested,
            };
            expression.walk(&mut |part| match part {
                Expr::Path(path) if !(stage == Stage::Unnested && self.is_index(path)) => {
                    paths.push((path, stage));
                }
                _ => {}
            });
        }
        paths
    }

    /// Whether a path after the `$unnest` is the position of the element.
    pub(crate) fn is_index(&self, path: &FieldPath) -> bool {
        let index = self.unnest.as_ref().and_then(|unnest| unnest.index.as_ref());
        matches!((index, &path.0[..]), (Some(index), [Step::Field(name), ..]) if name == index)
    }

    /// Where the view names `$source`, if it does.
    pub(crate) fn source_name(&self) -> Option<Span> {
        self.expressions().find_map(Expr::source_name)
    }
}

/// Calls a method of each part of an expression, of which there is a reference of either kind.
macro_rules! each_part {
    ($whole:expr, $method:ident($argument:expr)) => {
        match $whole {
            Expr::Path(_) | Expr::Constant(_) | Expr::Bound | Expr::Source(_) => {}
            Expr::Tests(left, right)
            | Expr::Compare(left, _, right, _)
            | Expr::TextTest(left, _, right, _)
            | Expr::Arithmetic(left, _, right, _) => {
                left.$method($argument);
                right.$method($argument);
            }
            // The condition of `InMembers` is over rows of another record.
            Expr::In { value, .. }
            | Expr::InMembers { value, .. }
            | Expr::All { value, .. }
            | Expr::Not(value)
            | Expr::Exists(value, _)
            | Expr::Regex(value, _)
            | Expr::Size(value, _)
            | Expr::Negate(value)
            | Expr::TextFunction(_, value, _)
            | Expr::Truncate(_, value) => value.$method($argument),
            Expr::And(parts) | Expr::Or(parts) | Expr::Coalesce(parts, _) | Expr::Concat(parts) => {
                for part in parts {
                    part.$method($argument);
                }
            }
            Expr::Cond(condition, value, otherwise, _) => {
                condition.$method($argument);
                value.$method($argument);
                otherwise.$method($argument);
            }
        }
    };
}

impl Expr {
    /// Where the expression names `$source`, if it does.
    pub(crate) fn source_name(&self) -> Option<Span> {
        let mut found = None;
        self.walk(&mut |part| match part {
            Expr::Source(span) => found = found.or(Some(*span)),
            Expr::InMembers { condition: Some(condition), .. } => {
                found = found.or_else(|| condition.source_name());
            }
            _ => {}
        });
        found
    }

    /// Visits the expression and its parts.
    pub(crate) fn walk<'e>(&'e self, visit: &mut dyn FnMut(&'e Expr)) {
        visit(self);
        each_part!(self, walk(visit));
    }

    /// The paths in the expression, to be changed.
    fn paths_mut<'e>(&'e mut self, paths: &mut Vec<&'e mut FieldPath>) {
        match self {
            Expr::Path(path) => paths.push(path),
            whole => each_part!(whole, paths_mut(paths)),
        }
    }
}

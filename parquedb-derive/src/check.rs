//! Everything that can be judged from the tokens alone.

mod expand;

use crate::errors::Errors;
use crate::names::nearest;
use crate::parse::columns::text;
use crate::parse::expr::Expr;
use crate::parse::view::View;
use proc_macro2::Ident;
use quote::ToTokens;
use std::collections::{HashMap, HashSet};
use syn::spanned::Spanned;

/// Records every mistake; a view that cannot be expanded is left out of what it returns.
pub(crate) fn check(views: Vec<View>, errors: &mut Errors) -> Vec<View> {
    cycles(&views, errors);
    let mut names = HashSet::new();
    views
        .into_iter()
        .filter_map(|mut view| {
            if !names.insert(view.name.to_string()) {
                errors.at(view.name.span(), format!("view `{}` is declared twice", view.name));
                return None;
            }
            expand::names(&mut view, errors);
            columns(&mut view, errors);
            sources(&mut view, errors);
            ttl(&mut view, errors);
            complete(&view, errors).then_some(view)
        })
        .collect()
}

/// Whether the view has what its expansion needs.
fn complete(view: &View, errors: &mut Errors) -> bool {
    let name = &view.name;
    let seen = |directive: &str| view.seen.iter().any(|seen| seen == directive);
    if !seen("from") {
        errors.at(
            name.span(),
            format!(
                "view `{name}` has no `$from`; a declaration without `$from` is a collection: use `#[derive(Collection)]`"
            ),
        );
    }
    let groups = seen("groupBy") || seen("compute");
    if seen("select") && groups {
        errors.at(
            name.span(),
            format!(
                "view `{name}` has `$select` and also groups: name the columns in `$groupBy` and `$compute`"
            ),
        );
    }
    let passes = !seen("select") && !groups;
    if passes && (seen("unnest") || view.from.len() > 1) {
        let why = if seen("unnest") { "makes rows of elements" } else { "has several sources" };
        errors.at(
            name.span(),
            format!(
                "view `{name}` {why}: it needs `$select`, or `$groupBy` and `$compute`, to name its columns"
            ),
        );
        return false;
    }
    if seen("where") && !seen("unnest") && !seen("expand") {
        errors.at(name.span(), format!("view `{name}` has `$where` without `$unnest`: use `$filter`"));
    }
    if seen("having") && !groups {
        errors.at(
            name.span(),
            format!(
                "view `{name}` has `$having` without `$groupBy` or `$compute`: `$filter` decides which rows count"
            ),
        );
    }
    let columns = view.select.iter().chain(&view.group_by).any(|columns| !columns.is_empty())
        || view.compute.as_ref().is_some_and(|columns| !columns.is_empty());
    !view.from.is_empty() && (columns || passes) && !(view.select.is_some() && groups)
}

/// Records what does not fit the number of sources, and drops repeated ones.
fn sources(view: &mut View, errors: &mut Errors) {
    let name = &view.name;
    let mut seen = HashSet::new();
    view.from.retain(|path| {
        let text = path.to_token_stream().to_string();
        let is_new = seen.insert(text.clone());
        if !is_new {
            errors.at(path.span(), format!("view `{name}` already has the source `{text}`"));
        }
        is_new
    });
    if let (1, Some(span)) = (seen.len(), view.source_name()) {
        errors.at(
            span,
            format!(
                "`$source` tells several sources apart, but view `{name}` has one: use a text, or `$from: [A, B]`"
            ),
        );
    }
    let Some(having) = &view.having else { return };
    let mut mistakes = Vec::new();
    having.walk(&mut |part| match part {
        Expr::Source(span) => mistakes.push((
            *span,
            "`$having` tests the view's own columns: give `$source` a name in `$groupBy` and use that",
        )),
        Expr::InMembers { span, .. } => {
            mistakes.push((*span, "`$having` tests the view's own columns: look for keys in `$filter`"));
        }
        _ => {}
    });
    if !mistakes.is_empty() {
        mistakes.into_iter().for_each(|(span, message)| errors.at(span, message));
        view.having = None;
    }
}

/// Records the columns that are there already, and drops them.
fn columns(view: &mut View, errors: &mut Errors) {
    let mut names = HashSet::new();
    let owner = &view.name;
    let mut is_new = |name: &Ident| {
        let is_new = names.insert(text(name));
        if !is_new {
            errors.at(name.span(), format!("view `{owner}` already has a column `{}`", text(name)));
        }
        is_new
    };
    for columns in [&mut view.select, &mut view.group_by].into_iter().flatten() {
        columns.retain(|column| is_new(&column.name));
    }
    if let Some(columns) = &mut view.compute {
        columns.retain(|column| is_new(&column.name));
    }
}

/// Records a `$ttl` on what groups do not have from the beginning, and drops it.
fn ttl(view: &mut View, errors: &mut Errors) {
    let Some(ttl) = &view.ttl else { return };
    let groups = view.group_by.is_some() || view.compute.is_some();
    let keys = view.group_by.iter().flatten().map(|key| text(&key.name)).collect::<Vec<_>>();
    if !groups || keys.contains(&text(&ttl.on)) {
        return;
    }
    let on = text(&ttl.on);
    let is_aggregate = view.compute.iter().flatten().any(|column| text(&column.name) == on);
    let why = match (is_aggregate, nearest(&on, keys.iter().map(String::as_str))) {
        (true, _) => format!("`{on}` is an aggregate, which changes as rows come"),
        (false, Some(near)) => format!("there is no key `{on}`, did you mean `{near}`?"),
        (false, None) => format!("there is no key `{on}`"),
    };
    errors.at(ttl.on.span(), format!("groups of view `{}` expire by one of their keys: {why}", view.name));
    view.ttl = None;
}

/// Views of one block that are computed from themselves. (Across blocks, rustc reports the cycle.)
fn cycles(views: &[View], errors: &mut Errors) {
    let graph = graph(views);
    for view in views {
        let name = view.name.to_string();
        if let Some(trail) = trail(&graph, &name, &name, &mut HashSet::new()) {
            let trail = trail.join(" -> ");
            errors.at(view.name.span(), format!("view `{name}` is computed from itself: {name} -> {trail}"));
        }
    }
}

/// The views of this block that each view is computed from.
fn graph(views: &[View]) -> HashMap<String, Vec<String>> {
    let names: HashSet<String> = views.iter().map(|view| view.name.to_string()).collect();
    let sources = |view: &View| {
        let sources = view.from.iter().filter_map(|path| path.get_ident()).map(ToString::to_string);
        sources.filter(|source| names.contains(source)).collect()
    };
    views.iter().map(|view| (view.name.to_string(), sources(view))).collect()
}

/// A way from the sources of one view to another.
fn trail(
    graph: &HashMap<String, Vec<String>>,
    from: &str,
    to: &str,
    seen: &mut HashSet<String>,
) -> Option<Vec<String>> {
    for source in graph.get(from)? {
        if source == to {
            return Some(vec![source.clone()]);
        }
        if seen.insert(source.clone())
            && let Some(mut rest) = trail(graph, source, to, seen)
        {
            rest.insert(0, source.clone());
            return Some(rest);
        }
    }
    None
}

/// Names of the views that are on a cycle or computed from one that is: their types cannot be inferred.
pub(crate) fn cyclic(views: &[View]) -> HashSet<String> {
    let graph = graph(views);
    let on_cycle = |name: &str| trail(&graph, name, name, &mut HashSet::new()).is_some();
    let cycles: Vec<&String> = graph.keys().filter(|name| on_cycle(name)).collect();
    let reaches = |name: &String| {
        cycles.iter().any(|cycle| *cycle == name || trail(&graph, name, cycle, &mut HashSet::new()).is_some())
    };
    graph.keys().filter(|name| reaches(name)).cloned().collect()
}

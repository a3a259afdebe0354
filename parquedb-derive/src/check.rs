//! Everything that can be judged from the tokens alone.

use crate::errors::Errors;
use crate::parse::columns::text;
use crate::parse::view::View;
use proc_macro2::Ident;
use std::collections::{HashMap, HashSet};

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
            columns(&mut view, errors);
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
    if !seen("select") && !groups {
        errors.at(
            name.span(),
            format!("view `{name}` needs `$select`, or `$groupBy` and `$compute`: they name its columns"),
        );
    }
    if seen("where") && !seen("unnest") {
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
    view.from.is_some() && columns && !(view.select.is_some() && groups)
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

/// Views of one block that are computed from themselves. (Across blocks, rustc reports the cycle.)
fn cycles(views: &[View], errors: &mut Errors) {
    let by_name: HashMap<String, &View> = views.iter().map(|view| (view.name.to_string(), view)).collect();
    for view in views {
        let name = view.name.to_string();
        let mut trail = vec![name.clone()];
        let mut at = view;
        while let Some(next) = at
            .from
            .as_ref()
            .and_then(|path| path.get_ident())
            .and_then(|source| by_name.get(&source.to_string()))
        {
            let next_name = next.name.to_string();
            if next_name == name {
                trail.push(next_name);
                let trail = trail.join(" -> ");
                errors.at(view.name.span(), format!("view `{name}` is computed from itself: {trail}"));
                break;
            }
            if trail.contains(&next_name) {
                break;
            }
            trail.push(next_name);
            at = next;
        }
    }
}

/// Names of the views that are on a cycle: their types cannot be inferred.
pub(crate) fn cyclic(views: &[View]) -> HashSet<String> {
    let by_name: HashMap<String, &View> = views.iter().map(|view| (view.name.to_string(), view)).collect();
    let source = |view: &View| view.from.as_ref().and_then(|path| path.get_ident()).map(ToString::to_string);
    let ends = |view: &View| {
        let mut seen = HashSet::from([view.name.to_string()]);
        let mut next = source(view);
        while let Some(name) = next {
            let Some(view) = by_name.get(&name) else { return true };
            if !seen.insert(name) {
                return false;
            }
            next = source(view);
        }
        true
    };
    views.iter().filter(|view| !ends(view)).map(|view| view.name.to_string()).collect()
}

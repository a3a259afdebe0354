//! Everything that can be judged from the tokens alone.

use crate::errors::Errors;
use crate::parse::columns::text;
use crate::parse::view::View;
use std::collections::{HashMap, HashSet};

/// Records every mistake; a view that cannot be expanded is left out of what it returns.
pub(crate) fn check(views: Vec<View>, errors: &mut Errors) -> Vec<View> {
    cycles(&views, errors);
    let mut names = HashSet::new();
    views
        .into_iter()
        .filter(|view| {
            if !names.insert(view.name.to_string()) {
                errors.at(view.name.span(), format!("view `{}` is declared twice", view.name));
                return false;
            }
            columns(view, errors);
            complete(view, errors)
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
    let columns = view.select.is_some() || view.group_by.is_some() || view.compute.is_some();
    view.from.is_some() && columns && !(view.select.is_some() && groups)
}

fn columns(view: &View, errors: &mut Errors) {
    let mut names = HashSet::new();
    let columns = view.select.iter().chain(&view.group_by).flatten().map(|column| &column.name);
    for name in columns.chain(view.compute.iter().flatten().map(|column| &column.name)) {
        if !names.insert(text(name)) {
            errors.at(name.span(), format!("view `{}` already has a column `{}`", view.name, text(name)));
        }
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

//! The names of expansions: what `$flatten` says, else the path. Where expressions use them, they become the paths.

use crate::errors::Errors;
use crate::names::nearest;
use crate::parse::expand::Expansion;
use crate::parse::expr::Expr;
use crate::parse::path::{FieldPath, Step};
use crate::parse::view::View;
use proc_macro2::Span;
use std::collections::HashSet;
use syn::Ident;
use syn::ext::IdentExt;

/// Names the expansions, and puts their paths in the place of their names. What is wrong is recorded and dropped.
pub(super) fn names(view: &mut View, errors: &mut Errors) {
    let owner = view.name.to_string();
    let mut seen = HashSet::new();
    view.expand.retain(|expansion| {
        let text = expansion.path.text();
        let is_new = seen.insert(text.clone());
        if !is_new {
            errors.at(expansion.path.span(), format!("view `{owner}` already expands `{text}`"));
        }
        is_new
    });
    renamed(view, errors);
    below_lists(view, errors);
    let mut names = HashSet::new();
    let flatten = &view.flatten;
    view.expand.retain_mut(|expansion| match name(&expansion.path, flatten) {
        Some(name) => {
            let text = name.unraw().to_string();
            let mistake = if text == "row" {
                Some("`row` is the source's row: give this expansion another name with `$flatten`".to_owned())
            } else if names.insert(text.clone()) {
                None
            } else {
                Some(format!("view `{owner}` already has an expansion `{text}`: rename one with `$flatten`"))
            };
            expansion.name = name;
            mistake.is_none_or(|mistake| {
                errors.at(expansion.path.span(), mistake);
                false
            })
        }
        None => {
            let text = expansion.path.text();
            errors.at(
                expansion.path.span(),
                format!("this expansion needs a name: `$flatten: {{ {text}: name }}`"),
            );
            false
        }
    });
    let View { expand, filter, .. } = view;
    let mut early = None;
    if let Some(filter) = filter {
        filter.walk(&mut |part| {
            if let Expr::Path(path) = part
                && let Some(expansion) = named(expand, path)
            {
                early = early.take().or_else(|| Some((path.clone(), behind(expansion, path))));
            }
        });
    }
    if let Some((path, behind)) = early {
        let (path, behind, at) = (path.text(), behind.text(), path.span());
        errors.at(at, format!("`$filter` comes before `$expand`: write `{behind}` for `{path}`"));
        view.filter = None;
    }
    let expansions = std::mem::take(&mut view.expand);
    for path in view.paths_after_filter() {
        if let Some(expansion) = named(&expansions, path) {
            *path = behind(expansion, path);
        }
    }
    view.expand = expansions;
}

/// Records expansions that start from an element of what is expanded too, and drops them. After `$expand` such an element
/// is a row of the list, and not what the other expansion looks up.
fn below_lists(view: &mut View, errors: &mut Errors) {
    let owner = view.name.to_string();
    let paths: Vec<_> = view.expand.iter().map(|expansion| expansion.path.clone()).collect();
    view.expand.retain(|expansion| {
        let steps = &expansion.path.0;
        let positions = (1..steps.len()).filter(|at| matches!(steps[*at], Step::At(_)));
        let mut lists = positions.map(|at| FieldPath(steps[..at].to_vec()).text());
        let Some(list) = lists.find(|list| paths.iter().any(|path| path.text() == *list)) else { return true };
        let text = expansion.path.text();
        errors.at(
            expansion.path.span(),
            format!(
                "view `{owner}` expands `{list}`, in whose rows `{text}` is to be found: leave out one of them, or expand \
                 one in a view over the other"
            ),
        );
        false
    });
}

/// Records the names of what is not expanded.
fn renamed(view: &mut View, errors: &mut Errors) {
    let View { name: owner, expand, flatten, .. } = view;
    let known: Vec<String> = expand.iter().map(|expansion| expansion.path.text()).collect();
    let mut seen = HashSet::new();
    flatten.retain(|(path, _)| {
        let text = path.text();
        let is_known = known.contains(&text);
        let is_new = seen.insert(text.clone());
        if !is_known {
            let hint = match nearest(&text, known.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None if known.is_empty() => format!("add `$expand: [{text}]`"),
                None => format!("it expands `{}`", known.join("`, `")),
            };
            errors.at(
                path.span(),
                format!("`$flatten` names `{text}`, which view `{owner}` does not expand: {hint}"),
            );
        } else if !is_new {
            errors.at(path.span(), format!("`$flatten` already names `{text}`"));
        }
        is_known && is_new
    });
}

/// The name of the longest part of the path that has one, with the rest of the path; nothing where that has a
/// position.
fn name(path: &FieldPath, flatten: &[(FieldPath, Ident)]) -> Option<Ident> {
    let steps = &path.0;
    let start = (1..=steps.len()).rev().find_map(|length| {
        let part = FieldPath(steps[..length].to_vec()).text();
        let (_, name) = flatten.iter().find(|(path, _)| path.text() == part)?;
        Some((name.clone(), length))
    });
    let (named, rest) = match start {
        Some((name, length)) if length == steps.len() => return Some(name),
        Some((name, length)) => (Some(name.unraw().to_string()), &steps[length..]),
        None => (None, &steps[..]),
    };
    let rest = rest.iter().map(|step| match step {
        Step::Field(name) => Some(name.unraw().to_string()),
        Step::At(_) => None,
    });
    let parts = named.map(Some).into_iter().chain(rest).collect::<Option<Vec<_>>>()?;
    let text = parts.join("_");
    Some(syn::parse_str(&text).unwrap_or_else(|_| Ident::new_raw(&text, Span::call_site())))
}

/// The expansion that a path starts from by its name, where that is not its path already.
fn named<'e>(expansions: &'e [Expansion], path: &FieldPath) -> Option<&'e Expansion> {
    let Some(Step::Field(first)) = path.0.first() else { return None };
    let mut expansions = expansions.iter();
    expansions.find(|expansion| expansion.name == *first && first.unraw() != expansion.path.text())
}

/// The path with that of the expansion in the place of its name, whose token it keeps.
fn behind(expansion: &Expansion, path: &FieldPath) -> FieldPath {
    let at = path.0.first().map_or_else(Span::call_site, |step| FieldPath(vec![step.clone()]).span());
    let mut steps = expansion.path.0.clone();
    let last = steps.len().saturating_sub(1);
    for (position, step) in steps.iter_mut().enumerate() {
        let span = if position == last { at } else { Span::call_site() };
        match step {
            Step::Field(name) => name.set_span(span),
            Step::At(literal) => literal.set_span(span),
        }
    }
    steps.extend_from_slice(&path.0[1..]);
    FieldPath(steps)
}

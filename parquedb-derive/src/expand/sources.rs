//! The sources of a view: their names in its expansion, and what several of them must have in common.

use super::passed::passes;
use super::paths::target;
use super::types::Scope;
use super::view::without_span;
use crate::names;
use crate::parse::columns::text;
use crate::parse::path::Step;
use crate::parse::refresh::Refresh;
use crate::parse::view::View;
use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use std::collections::{BTreeSet, HashSet};
use syn::Path;
use syn::spanned::Spanned;

/// The names of all sources but the first, which row types follow from.
pub(crate) fn others(view: &View, scope: &Scope) -> Vec<Ident> {
    (1..view.from.len()).map(|position| scope.name(&format!("Source{position}"))).collect()
}

/// The types of all members that the view is computed from, as a list of pairs: its sources, and what its paths look
/// through references into. Whatever is not a reference stands for no member.
pub(crate) fn members(view: &View, scope: &mut Scope) -> TokenStream {
    let mut holders: Vec<Ident> = Vec::new();
    for (path, stage) in view.paths() {
        holders.extend(scope.holders(path, stage));
    }
    if passes(view) {
        for (position, expansion) in view.expand.iter().enumerate() {
            let mut types = scope.expanded(&expansion.path).1;
            types.pop();
            holders.extend(types.into_iter().chain([scope.expansion(position).reference]));
        }
    }
    let mut seen = HashSet::new();
    holders.retain(|holder| seen.insert(holder.clone()));
    let sources = std::iter::once(scope.source()).chain(others(view, scope));
    let mut members: Vec<_> = sources.map(|source| quote!(#source)).collect();
    members.extend(holders.iter().map(target));
    members.append(&mut scope.members);
    members.into_iter().rev().fold(quote!(()), |rest, member| quote!((#member, #rest)))
}

/// Defines the names of the sources and checks that the view can follow each.
pub(crate) fn declare(view: &View, scope: &Scope) -> TokenStream {
    let first = scope.source();
    let mut out = TokenStream::new();
    for (path, name) in view.from.iter().zip(std::iter::once(first.clone()).chain(others(view, scope))) {
        let follow = follow(view, path, &name);
        let shared = (name != first).then(|| shared_fields(view, scope, path, &name));
        out.extend(quote! {
            #[doc(hidden)]
            #[allow(non_camel_case_types)]
            type #name = #path;
            #follow
            #shared
        });
    }
    out
}

/// Checks that the source has the fields that the view uses, with the types of the first source.
fn shared_fields(view: &View, scope: &Scope, path: &Path, other: &Ident) -> TokenStream {
    let first = scope.source();
    let owner = &view.name;
    let other_text = path_text(path);
    let mut seen = BTreeSet::new();
    let fields = view.paths().into_iter().filter_map(|(path, _)| match path.0.first() {
        Some(Step::Field(name)) => Some(without_span(name)),
        _ => None,
    });
    let checks = fields.filter(|field| seen.insert(field.to_string())).map(|field| {
        let field_text = text(&field);
        let key = names::field_key(&field_text);
        let missing = format!(
            "view `{owner}`: its source `{other_text}` has no field `{field_text}`: every source of a view needs the \
             fields that the view uses"
        );
        // The empty struct carries the field's name into the error about its types.
        quote_spanned! {path.span()=>
            const _: () = {
                const __FIRST: usize =
                    ::parquedb::__private::index_of(<#first as ::parquedb::__private::Record>::KEYS, #key);
                const __OTHER: usize =
                    ::parquedb::__private::index_of(<#other as ::parquedb::__private::Record>::KEYS, #key);
                const __FIRST_EXPANDED: usize =
                    ::parquedb::__private::index_of(<#first as ::parquedb::__private::Record>::EXPANDED, #key);
                const __OTHER_EXPANDED: usize =
                    ::parquedb::__private::index_of(<#other as ::parquedb::__private::Record>::EXPANDED, #key);
                const __IN_FIRST: bool = __FIRST != 65535 || __FIRST_EXPANDED != 65535;
                const __IN_OTHER: bool = __OTHER != 65535 || __OTHER_EXPANDED != 65535;
                const __BOTH: bool = __IN_FIRST && __IN_OTHER;
                #[allow(non_camel_case_types, dead_code)]
                struct #field;
                ::std::assert!(!__IN_FIRST || __IN_OTHER, #missing);
                ::parquedb::__private::same_type::<
                    <#first as ::parquedb::__private::FieldAt<__FIRST, __FIRST_EXPANDED>>::Type,
                    <#other as ::parquedb::__private::FieldAt<__OTHER, __OTHER_EXPANDED>>::Type,
                    #field,
                    __BOTH,
                >();
            };
        }
    });
    checks.collect()
}

fn path_text(path: &Path) -> String {
    path.segments.last().map(|segment| text(&segment.ident)).unwrap_or_default()
}

/// A check that a streaming view's source streams. Only constants know that: the source may be declared
/// in another block or another crate.
fn follow(view: &View, path: &Path, source: &Ident) -> Option<TokenStream> {
    if !matches!(view.refresh, None | Some(Refresh::Streaming)) {
        return None;
    }
    let name = &view.name;
    let from = path_text(path);
    let message = |why: &str| {
        format!(
            "view `{name}`: a streaming view cannot follow `{from}`, which {why}: declare `$refresh` with a schedule \
             or `mode: manual`"
        )
    };
    let (scheduled, manual) = (message("is scheduled"), message("is refreshed manually"));
    Some(quote_spanned! {name.span()=>
        const _: () = match <#source as ::parquedb::__private::Declared>::CHANGES {
            ::parquedb::__private::Changes::Streamed => {}
            ::parquedb::__private::Changes::Scheduled => ::std::panic!(#scheduled),
            ::parquedb::__private::Changes::Manual => ::std::panic!(#manual),
        };
    })
}

//! The types along a path, from the row through its fields, elements and expansions.

use super::types::Scope;
use crate::names;
use crate::parse::path::{FieldPath, Step};
use crate::parse::walk::Stage;
use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;

/// Marks the key of a path that leads through an expansion.
const EXPANDED: char = '^';

/// The names of what is known of a view's expansion.
pub(crate) struct Expansion {
    /// The type of the field.
    pub(crate) field: Ident,
    /// Whether it is a list of references.
    pub(crate) many: Ident,
    /// The type that refers to a row: the field's, or that of its elements.
    pub(crate) reference: Ident,
    /// The type of its elements, if it is a list of references.
    pub(crate) element: Ident,
}

/// The type at the end of a path, and what was found on the way.
struct Walked {
    ty: TokenStream,
    /// The name of the type at the end, without what makes it null.
    last: Option<Ident>,
    /// The names of the types at all of its steps.
    types: Vec<Ident>,
    /// What the path looks up although it ends there.
    element: Option<Ident>,
}

impl Scope<'_> {
    /// How many steps of the path lead to the element of the view's `$unnest`; none if it leads elsewhere.
    pub(crate) fn element_steps(&self, path: &FieldPath) -> Option<usize> {
        let unnest = &self.view.unnest.as_ref().filter(|_| self.stage == Stage::Unnested)?.list;
        let steps = unnest.0.len();
        (path.0.len() >= steps && FieldPath(path.0[..steps].to_vec()).text() == unnest.text())
            .then_some(steps)
    }

    /// The type at the end of a path. Each prefix gets a named type, so that the next step can project
    /// from it, and a named nullability: once a step can be null, so is everything behind it.
    pub(super) fn path(&mut self, path: &FieldPath) -> TokenStream {
        self.steps(path).ty
    }

    /// The names of the types of everything that a path looks into.
    pub(crate) fn holders(&mut self, path: &FieldPath, stage: Stage) -> Vec<Ident> {
        let before = std::mem::replace(&mut self.stage, stage);
        let mut holders = match &path.0[..] {
            [holder @ .., _] if !holder.is_empty() => self.steps(&FieldPath(holder.to_vec())).types,
            _ => Vec::new(),
        };
        if self.position(&path.0).is_some() {
            holders.extend(self.steps(path).element);
        }
        self.stage = before;
        holders
    }

    /// The type of the field that an expansion is of, and the names of the types of everything that it looks into, the
    /// field last.
    pub(crate) fn expanded(&mut self, path: &FieldPath) -> (TokenStream, Vec<Ident>) {
        let before = std::mem::replace(&mut self.stage, Stage::Filtered);
        let Walked { ty, types, .. } = self.steps(path);
        self.stage = before;
        (ty, types)
    }

    /// The position of the expansion that the steps from a row lead to, where paths see it.
    pub(crate) fn position(&self, steps: &[Step]) -> Option<usize> {
        if self.stage == Stage::Filtered || self.view.expand.is_empty() {
            return None;
        }
        let text = FieldPath(steps.to_vec()).text();
        self.view.expand.iter().position(|expansion| expansion.path.text() == text)
    }

    /// The type at the end of a path, and the names of the types at all of its steps.
    fn steps(&mut self, path: &FieldPath) -> Walked {
        let mut walked = Walked {
            ty: quote!(::parquedb::__private::Unknown),
            last: None,
            types: Vec::new(),
            element: None,
        };
        let element = self.element_steps(path);
        let mut key = String::new();
        let mut current: Option<Ident> = None;
        let mut null = quote!(::parquedb::__private::NotNull);
        if self.stage == Stage::Unnested && self.view.is_index(path) {
            return Walked { ty: self.index_type(), ..walked };
        }
        if let (Some(steps), Some(unnest)) = (element, self.view.unnest.as_ref()) {
            self.stage = Stage::Expanded;
            let list = self.steps(&unnest.list).last;
            self.stage = Stage::Unnested;
            key = format!("*{}", unnest.list.text());
            if unnest.keep_empty {
                null = quote!(::parquedb::__private::Nullable);
            }
            let (item, item_null) =
                self.define(&key, quote!(<#list as ::parquedb::__private::Shape>::Item), &null, None);
            walked.ty = quote!(<#null as ::parquedb::__private::Nullability>::Wrap<#item>);
            walked.types.push(item.clone());
            current = Some(item);
            null = quote!(#item_null);
            if steps == path.0.len() {
                return Walked { last: current, ..walked };
            }
        }
        for (at, step) in path.0.iter().enumerate().skip(element.unwrap_or(0)) {
            let before = key.clone();
            let (declared, index) = match step {
                Step::Field(name) => {
                    let text = name.unraw().to_string();
                    key += &if key.is_empty() { text.clone() } else { format!(".{text}") };
                    let source = self.source();
                    let owner = match &current {
                        None => quote!(#source),
                        Some(current) => quote!(<#current as ::parquedb::__private::Shape>::Inner),
                    };
                    let index = self.name(&format!("I{}", self.aliases.len()));
                    let expansion = self.name(&format!("E{}", self.aliases.len()));
                    let hash = names::field_key(&text);
                    let container = current.as_ref().map(|current| self.container(current, &before, &text));
                    let lookup = quote! {
                        #container
                        #[doc(hidden)]
                        #[allow(non_upper_case_globals, dead_code)]
                        const #index: usize =
                            ::parquedb::__private::index_of(<#owner as ::parquedb::__private::Record>::KEYS, #hash);
                        #[doc(hidden)]
                        #[allow(non_upper_case_globals, dead_code)]
                        const #expansion: usize = ::parquedb::__private::index_of(
                            <#owner as ::parquedb::__private::Record>::EXPANDED, #hash
                        );
                    };
                    (
                        quote!(<#owner as ::parquedb::__private::FieldAt<#index, #expansion>>::Type),
                        Some(lookup),
                    )
                }
                Step::At(_) => {
                    key += &FieldPath(vec![step.clone()]).text();
                    null = quote!(::parquedb::__private::Nullable);
                    (quote!(<#current as ::parquedb::__private::Shape>::Item), None)
                }
            };
            let before = null.clone();
            let (mut ty, mut ty_null) = self.define(&key, declared, &before, index);
            // No step of the element is an expansion: those come before `$unnest`.
            match self.position(&path.0[..=at]).filter(|_| element.is_none()) {
                None => walked.types.push(ty.clone()),
                Some(position) => {
                    let Expansion { many, reference, element, .. } = self.expansion(position);
                    key.push(EXPANDED);
                    let seen = quote! {
                        <::parquedb::__private::Expansion<#ty, #many> as ::parquedb::__private::Expands>::Seen
                    };
                    (ty, ty_null) = self.define(&key, seen, &before, None);
                    walked.types.push(reference);
                    walked.element = Some(element);
                }
            }
            walked.ty = quote!(<#before as ::parquedb::__private::Nullability>::Wrap<#ty>);
            null = quote!(#ty_null);
            current = Some(ty);
        }
        Walked { last: current, ..walked }
    }

    /// The names of what is known of an expansion, by its position.
    pub(crate) fn expansion(&self, position: usize) -> Expansion {
        Expansion {
            field: self.name(&format!("F{position}")),
            many: self.name(&format!("Many{position}")),
            reference: self.name(&format!("R{position}")),
            element: self.name(&format!("L{position}")),
        }
    }

    /// The type of the element's position: null where there is no element.
    fn index_type(&self) -> TokenStream {
        if self.view.unnest.as_ref().is_some_and(|unnest| unnest.keep_empty) {
            quote!(::std::option::Option<u64>)
        } else {
            quote!(u64)
        }
    }

    /// Names the type of a path prefix and whether it can be null, once.
    fn define(
        &mut self,
        key: &str,
        declared: TokenStream,
        null: &TokenStream,
        before: Option<TokenStream>,
    ) -> (Ident, Ident) {
        if let Some(known) = self.aliases.get(key) {
            return known.clone();
        }
        let count = self.aliases.len();
        let (ty, ty_null) = (self.name(&format!("T{count}")), self.name(&format!("N{count}")));
        self.tokens.extend(quote! {
            #before
            #[doc(hidden)]
            #[allow(non_camel_case_types, dead_code)]
            type #ty = #declared;
            #[doc(hidden)]
            #[allow(non_camel_case_types, dead_code)]
            type #ty_null =
                <#null as ::parquedb::__private::Nullability>::Or<<#ty as ::parquedb::__private::Shape>::Open>;
        });
        self.aliases.insert(key.to_owned(), (ty.clone(), ty_null.clone()));
        (ty, ty_null)
    }

    /// A check that the path does not look into every element of a list, with the ways out.
    fn container(&self, current: &Ident, before: &str, field: &str) -> TokenStream {
        let before = before.trim_start_matches('*').replace(EXPANDED, "");
        let message = format!(
            "view `{}`: `{before}.{field}` goes through `{before}`, which has many elements: make each of them a row \
             (`$unnest: {before}`) or take one (`{before}[0].{field}`)",
            self.view.name
        );
        quote_spanned! {self.view.name.span()=>
            const _: () = ::std::assert!(!::parquedb::__private::is_container::<#current>(), #message);
        }
    }
}

/// What a type refers to, if it is one of references.
pub(crate) fn target(of: &Ident) -> TokenStream {
    quote!(<#of as ::parquedb::__private::Shape>::Target)
}

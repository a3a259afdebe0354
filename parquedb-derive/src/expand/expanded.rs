//! Expansions: references whose rows are there beside those that refer to them. In a view without columns of its
//! own, the row is the source's with one more field for each.

use super::passed::{around, passes};
use super::paths;
use super::sources;
use super::types::Scope;
use crate::implement::{self, Columns, Handles, Implemented, Rest, allowed, once, own_schema, private};
use crate::names;
use crate::parse::columns::text;
use crate::parse::expand::Expansion;
use crate::parse::expr::Expr;
use crate::parse::view::View;
use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};

/// The steps of the definition that expand: columns, where the view has none of its own, else names for its
/// expressions, which were replaced by paths already.
pub(super) fn values(view: &View, scope: &mut Scope) -> TokenStream {
    if view.expand.is_empty() {
        return TokenStream::new();
    }
    let passes = passes(view);
    let steps = view.expand.iter().enumerate().map(|(position, expansion)| {
        declare(scope, position, expansion);
        let reference = scope.reference(&Expr::Path(expansion.path.clone()));
        let name = text(&expansion.name);
        // The reference carries its span, or errors point at the whole macro call.
        let at = quote_spanned!(expansion.path.span()=> __reference);
        let expand = match passes {
            true => quote!(__plan.expand(#at, #name);),
            false => quote!(::parquedb::__private::refers(#at);),
        };
        let time = expansion.as_of_ingest.map(|_| quote!(__plan.as_of_ingest(__reference);));
        quote!({
            let __reference = #reference;
            #expand
            #time
        })
    });
    let steps: TokenStream = steps.collect();
    let own = passes.then(|| quote!(__plan.pass();));
    quote!(#own #steps)
}

/// Names what is known of an expansion.
fn declare(scope: &mut Scope, position: usize, expansion: &Expansion) {
    let ty = scope.expanded(&expansion.path).0;
    let paths::Expansion { field, many, reference, element } = scope.expansion(position);
    let private = quote!(::parquedb::__private);
    scope.tokens.extend(quote! {
        #[doc(hidden)]
        #[allow(non_camel_case_types)]
        type #field = #ty;
        #[doc(hidden)]
        #[allow(non_upper_case_globals)]
        const #many: bool = #private::is_many::<#field>();
        #[doc(hidden)]
        #[allow(non_camel_case_types, dead_code)]
        type #reference = <#private::Expansion<#field, #many> as #private::Expands>::Reference;
        #[doc(hidden)]
        #[allow(non_camel_case_types, dead_code)]
        type #element = <#private::Expansion<#field, #many> as #private::Expands>::Element;
    });
}

/// Checks of the names that only constants know.
pub(super) fn checks(view: &View, scope: &Scope) -> TokenStream {
    if view.expand.is_empty() {
        return TokenStream::new();
    }
    let (source, owner) = (scope.source(), text(&view.name));
    let mut out = TokenStream::new();
    for expansion in view.expand.iter().filter(|expansion| expansion.path.text() != text(&expansion.name)) {
        let name = text(&expansion.name);
        let key = names::field_key(&name);
        let message = format!(
            "view `{owner}`: the expansion of `{path}` is called `{name}`, as a field of its source is: give it \
             another name with `$flatten`",
            path = expansion.path.text(),
        );
        // With the span of an index it would look like a number that is written with a zero before it.
        let unknown = proc_macro2::Literal::usize_unsuffixed(65535);
        out.extend(quote_spanned! {expansion.path.span()=>
            const _: () = ::std::assert!(
                ::parquedb::__private::index_of(<#source as ::parquedb::__private::Record>::KEYS, #key) == #unknown,
                #message
            );
        });
    }
    for (position, expansion) in view.expand.iter().enumerate() {
        let path = expansion.path.text();
        let Some((renamed, _)) = view.flatten.iter().find(|(renamed, _)| renamed.text() == path) else {
            continue;
        };
        let many = scope.expansion(position).many;
        let message = format!(
            "view `{owner}`: `$flatten` names the columns of one row, but `{path}` is a list of references, whose rows \
             are one column: leave it out of `$flatten`"
        );
        out.extend(quote_spanned! {renamed.span()=>
            const _: () = ::std::assert!(!#many, #message);
        });
    }
    if let Some(span) = view.expand.iter().find_map(|expansion| expansion.as_of_ingest) {
        let sources = std::iter::once(source.clone()).chain(sources::others(view, scope));
        let checks = sources.map(|mut source| {
            source.set_span(span);
            quote_spanned!(span=> ::parquedb::__private::is_written::<#source>();)
        });
        out.extend(quote! {
            const _: () = {
                #(#checks)*
            };
        });
    }
    if !passes(view) {
        return out;
    }
    let again = format!(
        "view `{owner}`: its source has expansions already: expand all references in one view, or name the columns \
         with `$select`"
    );
    let expansions = view.expand.iter().enumerate().map(|(position, expansion)| {
        let name = text(&expansion.name);
        let paths::Expansion { field, many, .. } = scope.expansion(position);
        quote!((#name, ::parquedb::__private::expansion_columns::<#field>(), #many))
    });
    let expansions: Vec<_> = expansions.collect();
    out.extend(quote_spanned! {view.name.span()=>
        const _: () = {
            ::std::assert!(<#source as ::parquedb::__private::Record>::EXPANDED.is_empty(), #again);
            if let ::std::option::Option::Some(message) = ::parquedb::__private::repeated_column(
                #owner,
                <#source as ::parquedb::__private::Record>::COLUMNS,
                &[#(#expansions),*],
            ) {
                ::std::panic!("{}", message.as_str());
            }
        };
    });
    out
}

/// The row struct and its implementations. Nothing here knows a field of the source or of a row referred to.
pub(super) fn row(view: &View, scope: &Scope) -> TokenStream {
    let (ident, vis) = (&view.name, &view.visibility);
    let source = scope.source();
    let name = text(ident);
    let (private, allowed) = (private(), allowed());
    let (mut fields, mut names, mut docs, mut of, mut types) = (vec![], vec![], vec![], vec![], vec![]);
    for (position, expansion) in view.expand.iter().enumerate() {
        let paths::Expansion { field: ty, many, .. } = scope.expansion(position);
        fields.push(field(expansion));
        docs.push(format!(" What `{}` refers to, if it is there.", expansion.path.text()));
        names.push(text(&expansion.name));
        types.push(quote!(<#private::Expansion<#ty, #many> as #private::Expands>::Row));
        of.push(ty);
    }
    let keys: Vec<_> = names.iter().map(|name| names::field_key(name)).collect();
    let indexes = (0..types.len()).map(proc_macro2::Literal::usize_unsuffixed);
    let handles = generated("Fields", ident, "");
    let (builder, reader) = (generated("Builder", ident, "__"), generated("Reader", ident, "__"));
    let (row, at) = (Ident::new("__row", Span::mixed_site()), Ident::new("__at", Span::mixed_site()));
    let row_struct = around(
        view,
        &source,
        &quote! {
            #(
                #[doc = #docs]
                pub #fields: #types,
            )*
        },
    );
    let handles_struct = implement::handles(&Handles {
        ident: &handles,
        of: ident,
        name: &name,
        vis,
        fields: quote! {
            #(
                #[doc = #docs]
                #vis #fields: <#types as #private::Shape>::Handle<N>,
            )*
            #row: <#source as #private::Record>::Handles<N>,
        },
        at: &at,
        also: quote! {
            #[automatically_derived]
            impl<N: #private::Nullability> ::std::ops::Deref for #handles<N> {
                type Target = <#source as #private::Record>::Handles<N>;
                fn deref(&self) -> &Self::Target {
                    &self.#row
                }
            }
        },
    });
    let reader_of = |(of, name): (&Ident, &String)| quote!(#private::ColumnReader::new(&#private::expanded_rows::<#of>(array, #name)?, #name)?);
    let columns = implement::columns(&Columns {
        of: ident,
        vis,
        builder: &builder,
        reader: &reader,
        idents: &fields.iter().collect::<Vec<_>>(),
        types: &types,
        readers: of.iter().zip(&names).map(reader_of).collect(),
        rest: Rest {
            builder: quote!(<#source as #private::ColumnValue>::Builder),
            reader: quote!(<#source as #private::ColumnValue>::Reader),
            with_capacity: quote!(#private::ColumnBuilder::with_capacity(capacity)),
            append: quote!(#private::ColumnBuilder::append(&mut self.#row, &value.row);),
            append_null: quote!(#private::ColumnBuilder::append_null(&mut self.#row);),
            finish: quote! {
                #private::finish_expanded(fields, #private::ColumnBuilder::finish(self.#row)?, columns)
            },
            open: TokenStream::new(),
            opened: quote!(#private::ColumnReader::new(array, path)?),
            is_null: quote!(#private::ColumnReader::is_null(&self.#row, index)),
            check: TokenStream::new(),
            read: quote!(row: #private::ColumnReader::read(&self.#row, index)?,),
            ident: row.clone(),
        },
    });
    let arrow_fields = quote! {
        #private::expanded_fields(
            &<#source as #private::Record>::fields(),
            &[#(#private::expansion_fields::<#of, #types>(#names)),*],
        )
    };
    let source_names = super::passed::names(&source);
    let implementations = implement::implement(&Implemented {
        ident,
        name: &name,
        constants: quote! {
            #source_names
            const EXPANDED: &'static [u64] = &[#(#keys),*];
        },
        handles: quote!(#handles<N>),
        handles_at: quote! {
            #handles {
                #(#fields: <#types as #private::Shape>::handle::<N>(
                    #private::expanded_row::<#of>(&at, #names)
                ),)*
                #row: <#source as #private::Record>::handles::<N>(::std::clone::Clone::clone(&at)),
                #at: at,
            }
        },
        fields: once("FIELDS", &quote!(#private::Fields), &arrow_fields),
        field_at: quote! {
            #[automatically_derived]
            impl<const I: usize> #private::FieldAt<I> for #ident
            where
                #source: #private::FieldAt<I>,
            {
                type Type = <#source as #private::FieldAt<I>>::Type;
            }
            #(
                #[automatically_derived]
                impl<const I: usize> #private::FieldAt<I, #indexes> for #ident {
                    type Type = #types;
                }
            )*
        },
        key: (quote!(#private::Unknown), ""),
        builder: quote!(#builder),
        reader: quote!(#reader),
        columns,
        schema: own_schema(),
    });
    quote! {
        #row_struct

        #[doc(hidden)]
        #allowed
        const _: () = {
            #handles_struct
            #implementations
        };
    }
}

/// The field of the row struct. A name that `$flatten` gives keeps its place; else the token belongs to the path.
fn field(expansion: &Expansion) -> Ident {
    match expansion.path.last_field() {
        Some(last) if *last == expansion.name => super::view::without_span(&expansion.name),
        _ => expansion.name.clone(),
    }
}

fn generated(what: &str, of: &Ident, before: &str) -> Ident {
    format_ident!("{before}{}{what}", syn::ext::IdentExt::unraw(of), span = Span::call_site())
}

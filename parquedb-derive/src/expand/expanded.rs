//! Expansions: references whose rows are there beside those that refer to them. In a view without columns of its
//! own, the row is the source's with one more field for each.

use super::passed::passes;
use super::paths;
use super::sources;
use super::types::Scope;
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
    let (name, visibility, attributes) = (&view.name, &view.visibility, &view.attributes);
    let source = scope.source();
    let record_name = text(name);
    let private = quote!(::parquedb::__private);
    let documented = attributes.iter().any(|attribute| attribute.path().is_ident("doc"));
    let documentation = (!documented).then(|| {
        let text = format!(" Rows of the view `{name}`.");
        quote!(#[doc = #text])
    });
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
    let handles = generated("Fields", name, "");
    let (builder, reader) = (generated("Builder", name, "__"), generated("Reader", name, "__"));
    let (row, at) = (Ident::new("__row", Span::mixed_site()), Ident::new("__at", Span::mixed_site()));
    let handles_doc = format!("The fields of `{record_name}`, as closures and views see them.");
    quote! {
        #documentation
        #(#attributes)*
        #[derive(::std::fmt::Debug, ::std::clone::Clone, ::std::cmp::PartialEq)]
        #visibility struct #name {
            /// The row of the source.
            pub row: #source,
            #(
                #[doc = #docs]
                pub #fields: #types,
            )*
        }

        impl ::std::ops::Deref for #name {
            type Target = #source;
            fn deref(&self) -> &#source {
                &self.row
            }
        }

        #[doc(hidden)]
        #[allow(
            non_snake_case, non_camel_case_types, unused_qualifications, unreachable_pub,
            missing_debug_implementations, clippy::all, clippy::pedantic, clippy::nursery, clippy::restriction
        )]
        const _: () = {
            #[doc = #handles_doc]
            #visibility struct #handles<N: #private::Nullability> {
                #(
                    #[doc = #docs]
                    #visibility #fields: <#types as #private::Shape>::Handle<N>,
                )*
                #row: <#source as #private::Record>::Handles<N>,
                #at: #private::Node,
            }

            #[automatically_derived]
            impl<N: #private::Nullability> ::std::ops::Deref for #handles<N> {
                type Target = <#source as #private::Record>::Handles<N>;
                fn deref(&self) -> &Self::Target {
                    &self.#row
                }
            }

            #[automatically_derived]
            impl<N: #private::Nullability> ::std::clone::Clone for #handles<N> {
                fn clone(&self) -> Self {
                    <#name as #private::Record>::handles::<N>(::std::clone::Clone::clone(&self.#at))
                }
            }

            #[automatically_derived]
            impl<N: #private::Nullability> ::std::fmt::Debug for #handles<N> {
                fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                    ::std::fmt::Debug::fmt(&self.#at, f)
                }
            }

            #[automatically_derived]
            impl<N: #private::Nullability> #private::Handle for #handles<N> {
                type Type = N::Wrap<#name>;
                fn node(&self) -> #private::Node {
                    ::std::clone::Clone::clone(&self.#at)
                }
            }

            #[automatically_derived]
            impl #private::Record for #name {
                const NAME: &'static str = #record_name;
                const FIELDS: &'static [&'static str] = <#source as #private::Record>::FIELDS;
                const KEYS: &'static [u64] = <#source as #private::Record>::KEYS;
                const COLUMNS: &'static [&'static str] = <#source as #private::Record>::COLUMNS;
                const EXPANDED: &'static [u64] = &[#(#keys),*];
                type Handles<N: #private::Nullability> = #handles<N>;
                fn handles<N: #private::Nullability>(at: #private::Node) -> #handles<N> {
                    #handles {
                        #(#fields: <#types as #private::Shape>::handle::<N>(
                            #private::expanded_row::<#of>(&at, #names)
                        ),)*
                        #row: <#source as #private::Record>::handles::<N>(::std::clone::Clone::clone(&at)),
                        #at: at,
                    }
                }
                fn fields() -> #private::Fields {
                    static FIELDS: ::std::sync::OnceLock<#private::Fields> = ::std::sync::OnceLock::new();
                    ::std::clone::Clone::clone(FIELDS.get_or_init(|| #private::expanded_fields(
                        &<#source as #private::Record>::fields(),
                        &[#(#private::expansion_fields::<#of, #types>(#names)),*],
                    )))
                }
            }

            #[automatically_derived]
            impl<const I: usize> #private::FieldAt<I> for #name
            where
                #source: #private::FieldAt<I>,
            {
                type Type = <#source as #private::FieldAt<I>>::Type;
            }
            #(
                #[automatically_derived]
                impl<const I: usize> #private::FieldAt<I, #indexes> for #name {
                    type Type = #types;
                }
            )*

            #[automatically_derived]
            impl #private::Keyed for #name {
                type Key = #private::Unknown;
                const KEY: &'static str = "";
            }

            #[automatically_derived]
            impl #private::Shape for #name {
                type Bare = Self;
                type Inner = Self;
                type Item = #private::Unknown;
                type Null = #private::NotNull;
                type Open = #private::NotNull;
                type Target = #private::Unknown;
                type Optional = ::std::option::Option<Self>;
                type Sum = #private::Unknown;
                type Mean = #private::Unknown;
                type Handle<N: #private::Nullability> = #handles<N>;
                fn handle<N: #private::Nullability>(at: #private::Node) -> #handles<N> {
                    <Self as #private::Record>::handles::<N>(at)
                }
            }

            #[automatically_derived]
            impl #private::NotOptional for #name {}

            #[automatically_derived]
            impl #private::ColumnValue for #name {
                type Builder = #builder;
                type Reader = #reader;
                const NULLABLE: bool = false;
                fn data_type() -> #private::DataType {
                    #private::DataType::Struct(<Self as #private::Record>::fields())
                }
            }

            #[doc(hidden)]
            #visibility struct #builder {
                #row: <#source as #private::ColumnValue>::Builder,
                #(#fields: <#types as #private::ColumnValue>::Builder,)*
            }

            #[automatically_derived]
            impl #private::ColumnBuilder for #builder {
                type Value = #name;
                fn with_capacity(capacity: usize) -> Self {
                    Self {
                        #row: #private::ColumnBuilder::with_capacity(capacity),
                        #(#fields: #private::ColumnBuilder::with_capacity(capacity),)*
                    }
                }
                fn append(&mut self, value: &#name) {
                    #private::ColumnBuilder::append(&mut self.#row, &value.row);
                    #(#private::ColumnBuilder::append(&mut self.#fields, &value.#fields);)*
                }
                fn append_null(&mut self) {
                    #private::ColumnBuilder::append_null(&mut self.#row);
                    #(#private::ColumnBuilder::append_null(&mut self.#fields);)*
                }
                fn finish(self) -> #private::Result<#private::ArrayRef> {
                    #private::finish_expanded(
                        <#name as #private::Record>::fields(),
                        #private::ColumnBuilder::finish(self.#row)?,
                        ::std::vec![#(#private::ColumnBuilder::finish(self.#fields)?),*],
                    )
                }
            }

            #[doc(hidden)]
            #visibility struct #reader {
                #row: <#source as #private::ColumnValue>::Reader,
                #(#fields: <#types as #private::ColumnValue>::Reader,)*
            }

            #[automatically_derived]
            impl #private::ColumnReader for #reader {
                type Value = #name;
                fn new(array: &#private::ArrayRef, path: &str) -> #private::Result<Self> {
                    ::std::result::Result::Ok(Self {
                        #row: #private::ColumnReader::new(array, path)?,
                        #(#fields: #private::ColumnReader::new(
                            &#private::expanded_rows::<#of>(array, #names)?,
                            #names,
                        )?,)*
                    })
                }
                fn is_null(&self, index: usize) -> bool {
                    #private::ColumnReader::is_null(&self.#row, index)
                }
                fn read(&self, index: usize) -> #private::Result<#name> {
                    ::std::result::Result::Ok(#name {
                        row: #private::ColumnReader::read(&self.#row, index)?,
                        #(#fields: #private::ColumnReader::read(&self.#fields, index)?,)*
                    })
                }
            }

            #[automatically_derived]
            impl #private::Row for #name {
                fn schema() -> #private::SchemaRef {
                    static SCHEMA: ::std::sync::OnceLock<#private::SchemaRef> = ::std::sync::OnceLock::new();
                    ::std::clone::Clone::clone(SCHEMA.get_or_init(|| {
                        ::std::sync::Arc::new(#private::Schema::new(<Self as #private::Record>::fields()))
                    }))
                }
            }
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

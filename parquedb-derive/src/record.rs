//! What collections and views emit alike: fields by name, typed handles, Arrow conversion.

use crate::names::field_key;
use proc_macro2::{Literal, Span, TokenStream};
use quote::{format_ident, quote};
use syn::ext::IdentExt;
use syn::{Attribute, Ident, Visibility};

/// A struct of named fields.
pub(crate) struct Record<'a> {
    /// The struct, which the caller emits or the user wrote.
    pub(crate) ident: &'a Ident,
    /// What the record is called in definitions.
    pub(crate) name: &'a str,
    /// The struct's visibility, also that of its handles.
    pub(crate) vis: &'a Visibility,
    /// Its fields in declaration order.
    pub(crate) fields: Vec<RecordField>,
    /// The position of the one field that is its key.
    pub(crate) key: Option<usize>,
}

/// One field of a record.
pub(crate) struct RecordField {
    /// The field in Rust.
    pub(crate) ident: Ident,
    /// The column's name.
    pub(crate) stored: String,
    /// The field's type, as tokens.
    pub(crate) ty: TokenStream,
    /// Its doc comments.
    pub(crate) docs: Vec<Attribute>,
}

/// The doc comments among `attributes`.
pub(crate) fn docs(attributes: &[Attribute]) -> Vec<Attribute> {
    attributes.iter().filter(|attribute| attribute.path().is_ident("doc")).cloned().collect()
}

/// Implements `Record`, `FieldAt`, `Shape`, `ColumnValue` and `Row`.
///
/// The struct's own field names are repeated with their spans only as fields, never in strings that
/// come before them: editors find the meaning of a token by its position.
pub(crate) fn expand(record: &Record<'_>) -> TokenStream {
    let Record { ident, name, vis, fields, .. } = record;
    let private = quote!(::parquedb::__private);
    let handles = format_ident!("{}Fields", ident.unraw(), span = Span::call_site());
    let builder = format_ident!("__{}Builder", ident.unraw(), span = Span::call_site());
    let reader = format_ident!("__{}Reader", ident.unraw(), span = Span::call_site());
    let at = Ident::new("__at", Span::mixed_site());
    let nulls = Ident::new("__nulls", Span::mixed_site());

    let idents: Vec<_> = fields.iter().map(|field| &field.ident).collect();
    let types: Vec<_> = fields.iter().map(|field| &field.ty).collect();
    let stored: Vec<_> = fields.iter().map(|field| &field.stored).collect();
    let names: Vec<_> = fields.iter().map(|field| field.ident.unraw().to_string()).collect();
    let keys: Vec<_> = names.iter().map(|name| field_key(name)).collect();
    let indexes: Vec<_> = (0..fields.len()).map(Literal::usize_unsuffixed).collect();
    let (key, key_type) = match record.key.and_then(|key| fields.get(key)) {
        Some(RecordField { stored, ty, .. }) => (stored.as_str(), quote!(#ty)),
        None => ("", quote!(#private::Unknown)),
    };
    let handle_docs = fields.iter().zip(&names).map(|(field, name)| {
        if field.docs.is_empty() {
            let text = format!("The field `{name}`.");
            quote!(#[doc = #text])
        } else {
            let docs = &field.docs;
            quote!(#(#docs)*)
        }
    });
    let handles_doc = format!("The fields of `{}`, as closures and views see them.", ident.unraw());

    quote! {
        #[doc(hidden)]
        #[allow(
            non_snake_case, non_camel_case_types, unused_qualifications, unreachable_pub,
            missing_debug_implementations, clippy::all, clippy::pedantic, clippy::nursery, clippy::restriction
        )]
        const _: () = {
            #[doc = #handles_doc]
            #vis struct #handles<N: #private::Nullability> {
                #(#handle_docs #vis #idents: <#types as #private::Shape>::Handle<N>,)*
                #at: #private::Node,
            }

            #[automatically_derived]
            impl<N: #private::Nullability> ::std::clone::Clone for #handles<N> {
                fn clone(&self) -> Self {
                    <#ident as #private::Record>::handles::<N>(::std::clone::Clone::clone(&self.#at))
                }
            }

            #[automatically_derived]
            impl<N: #private::Nullability> ::std::fmt::Debug for #handles<N> {
                fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                    ::std::fmt::Debug::fmt(&self.#at, f)
                }
            }

            impl<N: #private::Nullability> #handles<N> {
                /// Whether the record is there: not null.
                #[must_use]
                #vis fn exists(&self) -> #private::Expr<bool> {
                    #private::exists(self)
                }
            }

            #[automatically_derived]
            impl<N: #private::Nullability> #private::Handle for #handles<N> {
                type Type = N::Wrap<#ident>;
                fn node(&self) -> #private::Node {
                    ::std::clone::Clone::clone(&self.#at)
                }
            }

            #[automatically_derived]
            impl #private::Record for #ident {
                const NAME: &'static str = #name;
                const FIELDS: &'static [&'static str] = &[#(#names),*];
                const KEYS: &'static [u64] = &[#(#keys),*];
                const COLUMNS: &'static [&'static str] = &[#(#stored),*];
                type Handles<N: #private::Nullability> = #handles<N>;
                fn handles<N: #private::Nullability>(at: #private::Node) -> #handles<N> {
                    #handles {
                        #(#idents: <#types as #private::Shape>::handle::<N>(#private::Node::field(&at, #stored)),)*
                        #at: at,
                    }
                }
                fn fields() -> #private::Fields {
                    static FIELDS: ::std::sync::OnceLock<#private::Fields> = ::std::sync::OnceLock::new();
                    ::std::clone::Clone::clone(FIELDS.get_or_init(|| {
                        <#private::Fields as ::std::convert::From<_>>::from(::std::vec![
                            #(<#types as #private::ColumnValue>::field(#stored)),*
                        ])
                    }))
                }
            }

            #[automatically_derived]
            impl #private::Keyed for #ident {
                type Key = #key_type;
                const KEY: &'static str = #key;
            }

            #[automatically_derived]
            impl #private::FieldAt<65535> for #ident {
                type Type = #private::Unknown;
            }
            #(
                #[automatically_derived]
                impl #private::FieldAt<#indexes> for #ident {
                    type Type = #types;
                }
            )*

            #[automatically_derived]
            impl #private::Shape for #ident {
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
            impl #private::NotOptional for #ident {}

            #[automatically_derived]
            impl #private::ColumnValue for #ident {
                type Builder = #builder;
                type Reader = #reader;
                const NULLABLE: bool = false;
                fn data_type() -> #private::DataType {
                    #private::DataType::Struct(<Self as #private::Record>::fields())
                }
            }

            #[doc(hidden)]
            #vis struct #builder {
                #(#idents: <#types as #private::ColumnValue>::Builder,)*
                #nulls: #private::NullBufferBuilder,
            }

            #[automatically_derived]
            impl #private::ColumnBuilder for #builder {
                type Value = #ident;
                fn with_capacity(capacity: usize) -> Self {
                    Self {
                        #(#idents: #private::ColumnBuilder::with_capacity(capacity),)*
                        #nulls: #private::NullBufferBuilder::new(capacity),
                    }
                }
                fn append(&mut self, value: &#ident) {
                    #(#private::ColumnBuilder::append(&mut self.#idents, &value.#idents);)*
                    self.#nulls.append_non_null();
                }
                fn append_null(&mut self) {
                    #(#private::ColumnBuilder::append_null(&mut self.#idents);)*
                    self.#nulls.append_null();
                }
                fn finish(self) -> #private::Result<#private::ArrayRef> {
                    #private::finish_struct(
                        <#ident as #private::Record>::fields(),
                        ::std::vec![#(#private::ColumnBuilder::finish(self.#idents)?),*],
                        self.#nulls,
                    )
                }
            }

            #[doc(hidden)]
            #vis struct #reader {
                #(#idents: <#types as #private::ColumnValue>::Reader,)*
                #nulls: #private::Nulls,
            }

            #[automatically_derived]
            impl #private::ColumnReader for #reader {
                type Value = #ident;
                fn new(array: &#private::ArrayRef, path: &str) -> #private::Result<Self> {
                    let columns =
                        #private::StructColumns::new(array, path, &<#ident as #private::Record>::fields())?;
                    ::std::result::Result::Ok(Self {
                        #(#idents: columns.reader(#stored)?,)*
                        #nulls: columns.nulls(),
                    })
                }
                fn is_null(&self, index: usize) -> bool {
                    self.#nulls.is_null(index)
                }
                fn read(&self, index: usize) -> #private::Result<#ident> {
                    self.#nulls.check(index)?;
                    ::std::result::Result::Ok(#ident {
                        #(#idents: #private::ColumnReader::read(&self.#idents, index)?,)*
                    })
                }
            }

            #[automatically_derived]
            impl #private::Row for #ident {
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

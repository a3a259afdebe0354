//! What every record emits, whatever it is made of: its traits, its handles, its columns in Arrow.
//!
//! Records differ in where their fields come from: a struct has its own, the row of a view may have those of its
//! source, alone or with others beside them.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::Visibility;

/// The path of what the macros expand to.
pub(crate) fn private() -> TokenStream {
    quote!(::parquedb::__private)
}

/// The lints that generated code is not checked by.
pub(crate) fn allowed() -> TokenStream {
    quote! {
        #[allow(
            non_snake_case, non_camel_case_types, unused_qualifications, unreachable_pub,
            missing_debug_implementations, clippy::all, clippy::pedantic, clippy::nursery, clippy::restriction
        )]
    }
}

/// A value of this type that is made once.
pub(crate) fn once(name: &str, ty: &TokenStream, value: &TokenStream) -> TokenStream {
    let name = quote::format_ident!("{name}");
    quote! {
        static #name: ::std::sync::OnceLock<#ty> = ::std::sync::OnceLock::new();
        ::std::clone::Clone::clone(#name.get_or_init(|| #value))
    }
}

/// The schema of a record as a value that is made once.
pub(crate) fn own_schema() -> TokenStream {
    let private = private();
    let schema = quote! {
        ::std::sync::Arc::new(#private::Schema::new(<Self as #private::Record>::fields()))
    };
    once("SCHEMA", &quote!(#private::SchemaRef), &schema)
}

/// A record, by what tells it from others.
pub(crate) struct Implemented<'a> {
    pub(crate) ident: &'a Ident,
    /// What it is called in definitions.
    pub(crate) name: &'a str,
    /// The constants of `Record` but for its name.
    pub(crate) constants: TokenStream,
    /// The type of its handles, over the nullability `N`.
    pub(crate) handles: TokenStream,
    /// The handles of the record found at `at`.
    pub(crate) handles_at: TokenStream,
    /// Its Arrow fields.
    pub(crate) fields: TokenStream,
    /// Its implementations of `FieldAt`.
    pub(crate) field_at: TokenStream,
    /// The type of its key and the key's column.
    pub(crate) key: (TokenStream, &'a str),
    /// The types that collect it and read it, with what they need.
    pub(crate) builder: TokenStream,
    pub(crate) reader: TokenStream,
    pub(crate) columns: TokenStream,
    pub(crate) schema: TokenStream,
}

/// Implements `Record`, `FieldAt`, `Keyed`, `Shape`, `NotOptional`, `ColumnValue` and `Row`.
pub(crate) fn implement(record: &Implemented<'_>) -> TokenStream {
    let Implemented { ident, name, constants, handles, handles_at, fields, field_at, .. } = record;
    let Implemented { key: (key_type, key), builder, reader, columns, schema, .. } = record;
    let private = private();
    quote! {
        #[automatically_derived]
        impl #private::Record for #ident {
            const NAME: &'static str = #name;
            #constants
            type Handles<N: #private::Nullability> = #handles;
            fn handles<N: #private::Nullability>(at: #private::Node) -> #handles {
                #handles_at
            }
            fn fields() -> #private::Fields {
                #fields
            }
        }

        #field_at

        #[automatically_derived]
        impl #private::Keyed for #ident {
            type Key = #key_type;
            const KEY: &'static str = #key;
        }

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
            type Handle<N: #private::Nullability> = #handles;
            fn handle<N: #private::Nullability>(at: #private::Node) -> #handles {
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

        #columns

        #[automatically_derived]
        impl #private::Row for #ident {
            fn schema() -> #private::SchemaRef {
                #schema
            }
        }
    }
}

/// The struct of handles of a record.
pub(crate) struct Handles<'a> {
    pub(crate) ident: &'a Ident,
    /// The record, and what it is called.
    pub(crate) of: &'a Ident,
    pub(crate) name: &'a str,
    pub(crate) vis: &'a Visibility,
    /// Its fields with their documentation.
    pub(crate) fields: TokenStream,
    /// The field with the place where the record is found.
    pub(crate) at: &'a Ident,
    /// What else it implements.
    pub(crate) also: TokenStream,
}

/// The struct, which can be cloned, printed and selected.
pub(crate) fn handles(handles: &Handles<'_>) -> TokenStream {
    let Handles { ident, of, name, vis, fields, at, also } = handles;
    let private = private();
    let doc = format!("The fields of `{name}`, as closures and views see them.");
    quote! {
        #[doc = #doc]
        #vis struct #ident<N: #private::Nullability> {
            #fields
            #at: #private::Node,
        }

        #also

        #[automatically_derived]
        impl<N: #private::Nullability> ::std::clone::Clone for #ident<N> {
            fn clone(&self) -> Self {
                <#of as #private::Record>::handles::<N>(::std::clone::Clone::clone(&self.#at))
            }
        }

        #[automatically_derived]
        impl<N: #private::Nullability> ::std::fmt::Debug for #ident<N> {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Debug::fmt(&self.#at, f)
            }
        }

        #[automatically_derived]
        impl<N: #private::Nullability> #private::Handle for #ident<N> {
            type Type = N::Wrap<#of>;
            fn node(&self) -> #private::Node {
                ::std::clone::Clone::clone(&self.#at)
            }
        }
    }
}

/// What collects and reads a record field by field.
pub(crate) struct Columns<'a> {
    pub(crate) of: &'a Ident,
    pub(crate) vis: &'a Visibility,
    pub(crate) builder: &'a Ident,
    pub(crate) reader: &'a Ident,
    /// The fields, with their types and the expressions that make their readers, of `array` at `path`.
    pub(crate) idents: &'a [&'a Ident],
    pub(crate) types: &'a [TokenStream],
    pub(crate) readers: Vec<TokenStream>,
    pub(crate) rest: Rest,
}

/// What is collected and read beside the fields.
pub(crate) struct Rest {
    /// Its field in both structs, and what that is there.
    pub(crate) ident: Ident,
    pub(crate) builder: TokenStream,
    pub(crate) reader: TokenStream,
    /// The builder for so many rows.
    pub(crate) with_capacity: TokenStream,
    /// Collects from `value`, or a null.
    pub(crate) append: TokenStream,
    pub(crate) append_null: TokenStream,
    /// The array, of `fields` and the arrays `columns`.
    pub(crate) finish: TokenStream,
    /// Comes before the readers.
    pub(crate) open: TokenStream,
    /// Its reader.
    pub(crate) opened: TokenStream,
    /// Whether the record at `index` is null.
    pub(crate) is_null: TokenStream,
    /// Comes before reading the record at `index`.
    pub(crate) check: TokenStream,
    /// What it gives to the struct.
    pub(crate) read: TokenStream,
}

/// The two structs.
pub(crate) fn columns(columns: &Columns<'_>) -> TokenStream {
    let Columns { of, vis, builder, reader, idents, types, readers, rest } = columns;
    let Rest { ident: other, builder: other_builder, reader: other_reader, with_capacity, append, .. } = rest;
    let Rest { append_null, finish, open, opened, is_null, check, read, .. } = rest;
    let private = private();
    quote! {
        #[doc(hidden)]
        #vis struct #builder {
            #(#idents: <#types as #private::ColumnValue>::Builder,)*
            #other: #other_builder,
        }

        #[automatically_derived]
        impl #private::ColumnBuilder for #builder {
            type Value = #of;
            fn with_capacity(capacity: usize) -> Self {
                Self {
                    #(#idents: #private::ColumnBuilder::with_capacity(capacity),)*
                    #other: #with_capacity,
                }
            }
            fn append(&mut self, value: &#of) {
                #(#private::ColumnBuilder::append(&mut self.#idents, &value.#idents);)*
                #append
            }
            fn append_null(&mut self) {
                #(#private::ColumnBuilder::append_null(&mut self.#idents);)*
                #append_null
            }
            fn finish(self) -> #private::Result<#private::ArrayRef> {
                let fields = <#of as #private::Record>::fields();
                let columns = ::std::vec![#(#private::ColumnBuilder::finish(self.#idents)?),*];
                #finish
            }
        }

        #[doc(hidden)]
        #vis struct #reader {
            #(#idents: <#types as #private::ColumnValue>::Reader,)*
            #other: #other_reader,
        }

        #[automatically_derived]
        impl #private::ColumnReader for #reader {
            type Value = #of;
            fn new(array: &#private::ArrayRef, path: &str) -> #private::Result<Self> {
                #open
                ::std::result::Result::Ok(Self {
                    #(#idents: #readers,)*
                    #other: #opened,
                })
            }
            fn is_null(&self, index: usize) -> bool {
                #is_null
            }
            fn read(&self, index: usize) -> #private::Result<#of> {
                #check
                ::std::result::Result::Ok(#of {
                    #(#idents: #private::ColumnReader::read(&self.#idents, index)?,)*
                    #read
                })
            }
        }
    }
}

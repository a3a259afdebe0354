//! The row of a view that gives its source's rows: the source's row, with a type of its own.

use crate::parse::columns::text;
use crate::parse::view::View;
use proc_macro2::{Ident, TokenStream};
use quote::quote;

/// Whether the view gives its source's rows.
pub(crate) fn passes(view: &View) -> bool {
    view.select.is_none() && view.group_by.is_none() && view.compute.is_none()
}

/// The row struct and its implementations. Nothing here knows the source's fields: names, types and handles are
/// the source's own.
pub(crate) fn row(view: &View, source: &Ident) -> TokenStream {
    let (name, visibility, attributes) = (&view.name, &view.visibility, &view.attributes);
    let record_name = text(name);
    let private = quote!(::parquedb::__private);
    let documented = attributes.iter().any(|attribute| attribute.path().is_ident("doc"));
    let documentation = (!documented).then(|| {
        let text = format!(" Rows of the view `{name}`.");
        quote!(#[doc = #text])
    });
    quote! {
        #documentation
        #(#attributes)*
        #[derive(::std::fmt::Debug, ::std::clone::Clone, ::std::cmp::PartialEq)]
        #visibility struct #name {
            /// The row of the source.
            pub row: #source,
        }

        impl ::std::ops::Deref for #name {
            type Target = #source;
            fn deref(&self) -> &#source {
                &self.row
            }
        }

        #[doc(hidden)]
        const _: () = {
            #[automatically_derived]
            impl #private::Passed for #name {
                type Source = #source;
                fn around(row: #source) -> Self {
                    Self { row }
                }
                fn row(&self) -> &#source {
                    &self.row
                }
            }

            #[automatically_derived]
            impl #private::Record for #name {
                const NAME: &'static str = #record_name;
                const FIELDS: &'static [&'static str] = <#source as #private::Record>::FIELDS;
                const KEYS: &'static [u64] = <#source as #private::Record>::KEYS;
                const COLUMNS: &'static [&'static str] = <#source as #private::Record>::COLUMNS;
                const EXPANDED: &'static [u64] = <#source as #private::Record>::EXPANDED;
                type Handles<N: #private::Nullability> = <#source as #private::Record>::Handles<N>;
                fn handles<N: #private::Nullability>(at: #private::Node) -> Self::Handles<N> {
                    <#source as #private::Record>::handles::<N>(at)
                }
                fn fields() -> #private::Fields {
                    <#source as #private::Record>::fields()
                }
            }

            #[automatically_derived]
            impl<const I: usize, const E: usize> #private::FieldAt<I, E> for #name
            where
                #source: #private::FieldAt<I, E>,
            {
                type Type = <#source as #private::FieldAt<I, E>>::Type;
            }

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
                type Handle<N: #private::Nullability> = <#source as #private::Record>::Handles<N>;
                fn handle<N: #private::Nullability>(at: #private::Node) -> Self::Handle<N> {
                    <#source as #private::Record>::handles::<N>(at)
                }
            }

            #[automatically_derived]
            impl #private::NotOptional for #name {}

            #[automatically_derived]
            impl #private::ColumnValue for #name {
                type Builder = #private::PassedBuilder<Self>;
                type Reader = #private::PassedReader<Self>;
                const NULLABLE: bool = false;
                fn data_type() -> #private::DataType {
                    #private::DataType::Struct(<Self as #private::Record>::fields())
                }
            }

            #[automatically_derived]
            impl #private::Row for #name {
                fn schema() -> #private::SchemaRef {
                    <#source as #private::Row>::schema()
                }
            }
        };
    }
}

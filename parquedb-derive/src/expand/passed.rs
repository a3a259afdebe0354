//! The row of a view that gives its source's rows: the source's row, with a type of its own.

use super::view::documentation;
use crate::implement::{self, Implemented, private};
use crate::parse::columns::text;
use crate::parse::view::View;
use proc_macro2::{Ident, TokenStream};
use quote::quote;

/// Whether the view gives its source's rows.
pub(crate) fn passes(view: &View) -> bool {
    view.select.is_none() && view.group_by.is_none() && view.compute.is_none()
}

/// The struct of a row around its source's, to which it dereferences, with further fields.
pub(super) fn around(view: &View, source: &Ident, fields: &TokenStream) -> TokenStream {
    let (name, visibility, attributes) = (&view.name, &view.visibility, &view.attributes);
    let documentation = documentation(view);
    quote! {
        #documentation
        #(#attributes)*
        #[derive(::std::fmt::Debug, ::std::clone::Clone, ::std::cmp::PartialEq)]
        #visibility struct #name {
            /// The row of the source.
            pub row: #source,
            #fields
        }

        impl ::std::ops::Deref for #name {
            type Target = #source;
            fn deref(&self) -> &#source {
                &self.row
            }
        }
    }
}

/// The names of the source's fields.
pub(super) fn names(source: &Ident) -> TokenStream {
    let private = private();
    quote! {
        const FIELDS: &'static [&'static str] = <#source as #private::Record>::FIELDS;
        const KEYS: &'static [u64] = <#source as #private::Record>::KEYS;
        const COLUMNS: &'static [&'static str] = <#source as #private::Record>::COLUMNS;
    }
}

/// The row struct and its implementations. Nothing here knows the source's fields: names, types and handles are
/// the source's own.
pub(super) fn row(view: &View, source: &Ident) -> TokenStream {
    let name = &view.name;
    let private = private();
    let row = around(view, source, &TokenStream::new());
    let names = names(source);
    let implementations = implement::implement(&Implemented {
        ident: name,
        name: &text(name),
        constants: quote! {
            #names
            const EXPANDED: &'static [u64] = <#source as #private::Record>::EXPANDED;
        },
        handles: quote!(<#source as #private::Record>::Handles<N>),
        handles_at: quote!(<#source as #private::Record>::handles::<N>(at)),
        fields: quote!(<#source as #private::Record>::fields()),
        field_at: quote! {
            #[automatically_derived]
            impl<const I: usize, const E: usize> #private::FieldAt<I, E> for #name
            where
                #source: #private::FieldAt<I, E>,
            {
                type Type = <#source as #private::FieldAt<I, E>>::Type;
            }
        },
        key: (quote!(#private::Unknown), ""),
        builder: quote!(#private::PassedBuilder<Self>),
        reader: quote!(#private::PassedReader<Self>),
        columns: TokenStream::new(),
        schema: quote!(<#source as #private::Row>::schema()),
    });
    quote! {
        #row

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

            #implementations
        };
    }
}

//! Structs of named fields, as collections and the rows of most views are: fields by name, typed handles, Arrow
//! conversion.

use crate::implement::{self, Columns, Handles, Implemented, Rest, allowed, once, own_schema, private};
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

/// The struct's handles and everything that it implements.
///
/// The struct's own field names are repeated with their spans only as fields, never in strings that
/// come before them: editors find the meaning of a token by its position.
pub(crate) fn expand(record: &Record<'_>) -> TokenStream {
    let Record { ident, name, vis, fields, .. } = record;
    let (private, allowed) = (private(), allowed());
    let generated = |before: &str, after: &str| {
        format_ident!("{before}{}{after}", ident.unraw(), span = Span::call_site())
    };
    let handles = generated("", "Fields");
    let (builder, reader) = (generated("__", "Builder"), generated("__", "Reader"));
    let at = Ident::new("__at", Span::mixed_site());
    let nulls = Ident::new("__nulls", Span::mixed_site());

    let idents: Vec<_> = fields.iter().map(|field| &field.ident).collect();
    let types: Vec<_> = fields.iter().map(|field| field.ty.clone()).collect();
    let stored: Vec<_> = fields.iter().map(|field| &field.stored).collect();
    let names: Vec<_> = fields.iter().map(|field| field.ident.unraw().to_string()).collect();
    let keys: Vec<_> = names.iter().map(|name| field_key(name)).collect();
    let indexes: Vec<_> = (0..fields.len()).map(Literal::usize_unsuffixed).collect();
    let key = match record.key.and_then(|key| fields.get(key)) {
        Some(RecordField { stored, ty, .. }) => (quote!(#ty), stored.as_str()),
        None => (quote!(#private::Unknown), ""),
    };
    let docs = fields.iter().zip(&names).map(|(field, name)| {
        if field.docs.is_empty() {
            let text = format!("The field `{name}`.");
            quote!(#[doc = #text])
        } else {
            let docs = &field.docs;
            quote!(#(#docs)*)
        }
    });
    let handles_struct = implement::handles(&Handles {
        ident: &handles,
        of: ident,
        name: &ident.unraw().to_string(),
        vis,
        fields: quote!(#(#docs #vis #idents: <#types as #private::Shape>::Handle<N>,)*),
        at: &at,
        also: quote! {
            impl<N: #private::Nullability> #handles<N> {
                /// Whether the record is there: not null.
                #[must_use]
                #vis fn exists(&self) -> #private::Expr<bool> {
                    #private::exists(self)
                }
            }
        },
    });
    let columns = implement::columns(&Columns {
        of: ident,
        vis,
        builder: &builder,
        reader: &reader,
        idents: &idents,
        types: &types,
        readers: stored.iter().map(|stored| quote!(columns.reader(#stored)?)).collect(),
        rest: Rest {
            builder: quote!(#private::NullBufferBuilder),
            reader: quote!(#private::Nulls),
            with_capacity: quote!(#private::NullBufferBuilder::new(capacity)),
            append: quote!(self.#nulls.append_non_null();),
            append_null: quote!(self.#nulls.append_null();),
            finish: quote!(#private::finish_struct(fields, columns, self.#nulls)),
            open: quote! {
                let columns =
                    #private::StructColumns::new(array, path, &<#ident as #private::Record>::fields())?;
            },
            opened: quote!(columns.nulls()),
            is_null: quote!(self.#nulls.is_null(index)),
            check: quote!(self.#nulls.check(index)?;),
            read: TokenStream::new(),
            ident: nulls,
        },
    });
    let arrow_fields = quote! {
        <#private::Fields as ::std::convert::From<_>>::from(::std::vec![
            #(<#types as #private::ColumnValue>::field(#stored)),*
        ])
    };
    let implementations = implement::implement(&Implemented {
        ident,
        name,
        constants: quote! {
            const FIELDS: &'static [&'static str] = &[#(#names),*];
            const KEYS: &'static [u64] = &[#(#keys),*];
            const COLUMNS: &'static [&'static str] = &[#(#stored),*];
        },
        handles: quote!(#handles<N>),
        handles_at: quote! {
            #handles {
                #(#idents: <#types as #private::Shape>::handle::<N>(#private::Node::field(&at, #stored)),)*
                #at: at,
            }
        },
        fields: once("FIELDS", &quote!(#private::Fields), &arrow_fields),
        field_at: quote! {
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
        },
        key,
        builder: quote!(#builder),
        reader: quote!(#reader),
        columns,
        schema: own_schema(),
    });
    quote! {
        #[doc(hidden)]
        #allowed
        const _: () = {
            #handles_struct
            #implementations
        };
    }
}

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

pub(crate) fn derive(input: TokenStream) -> TokenStream {
    let input: syn::DeriveInput = syn::parse2(input).unwrap();
    let syn::Data::Struct(syn::DataStruct { fields: syn::Fields::Named(fields), .. }) = &input.data else {
        panic!()
    };
    let fields: Vec<_> = fields
        .named
        .iter()
        .map(|f| {
            let t = &f.ty;
            (f.ident.clone().unwrap(), quote!(#t))
        })
        .collect();
    let name = &input.ident;
    let record = record(name, &input.vis, &fields);
    quote! { #record
        impl ::parquedb::__private::Declared for #name {
            type Source = ::parquedb::__private::Unknown;
            fn definition() -> ::parquedb::__private::Definition { unimplemented!() }
        }
    }
}

pub(crate) fn record(
    name: &syn::Ident,
    vis: &syn::Visibility,
    fields: &[(syn::Ident, TokenStream)],
) -> TokenStream {
    let handles = format_ident!("{name}Fields");
    let idents: Vec<_> = fields.iter().map(|f| &f.0).collect();
    let types: Vec<_> = fields.iter().map(|f| &f.1).collect();
    let names: Vec<_> = idents.iter().map(|i| i.to_string()).collect();
    let index = (0..fields.len()).map(proc_macro2::Literal::usize_unsuffixed);
    let keys: Vec<_> = names.iter().map(|n| crate::names::key(n)).collect();
    let text = name.to_string();
    let at = syn::Ident::new("__at", proc_macro2::Span::mixed_site());
    quote! {
        const _: () = {
            use ::parquedb::__private as p;
            #[allow(non_snake_case)]
            #vis struct #handles<N: p::Nullability> {
                #(#vis #idents: <#types as p::Shape>::Handle<N>,)*
                #at: p::Node,
            }
            impl<N: p::Nullability> p::Handle for #handles<N> {
                type Type = N::Wrap<#name>;
                fn node(&self) -> p::Node { self.#at.clone() }
            }
            impl p::Record for #name {
                const NAME: &'static str = #text;
                const FIELDS: &'static [&'static str] = &[#(#names),*];
                const KEYS: &'static [u64] = &[#(#keys),*];
                type Handles<N: p::Nullability> = #handles<N>;
                fn handles<N: p::Nullability>(at: p::Node) -> #handles<N> {
                    #handles { #at: at.clone(), #(#idents: <#types as p::Shape>::handle::<N>(at.field(#names)),)* }
                }
                fn fields() -> p::Fields { p::Fields::empty() }
            }
            impl p::FieldAt<65535> for #name { type Type = p::Unknown; }
            #(impl p::FieldAt<#index> for #name { type Type = #types; })*
            impl p::Shape for #name {
                type Sum = p::Unknown;
                type Mean = p::Unknown;
                type Bare = Self;
                type Inner = Self;
                type Item = p::Unknown;
                type Null = p::NotNull;
                type Optional = Option<Self>;
                type Handle<N: p::Nullability> = #handles<N>;
                fn handle<N: p::Nullability>(at: p::Node) -> #handles<N> { <Self as p::Record>::handles::<N>(at) }
            }
        };
    }
}

//! `database!`: a struct with one handle for each collection and view.

use crate::errors::{Errors, parse_all, split};
use crate::names::snake_case;
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use std::collections::HashMap;
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Attribute, Path, Result, Token, Visibility, braced};

struct Database {
    attributes: Vec<Attribute>,
    visibility: Visibility,
    name: Ident,
    members: Vec<Member>,
}

struct Member {
    attributes: Vec<Attribute>,
    path: Path,
    name: String,
    span: Span,
}

pub(crate) fn expand(input: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let parsed = parse_all(input, |input| parse(input, &mut errors));
    let Some(mut database) = errors.check(parsed) else { return errors.into_tokens() };
    let mut seen: HashMap<String, String> = HashMap::new();
    let name = database.name.clone();
    database.members.retain(|member| {
        let table = snake_case(&member.name);
        match seen.insert(table.clone(), member.name.clone()) {
            None => true,
            Some(other) if other == member.name => {
                errors.at(member.span, format!("`{name}` already declares `{other}`"));
                false
            }
            Some(other) => {
                errors.at(
                    member.span,
                    format!("`{}` and `{other}` would both be the table `{table}`", member.name),
                );
                false
            }
        }
    });
    let mut out = emit(&database);
    out.extend(errors.into_tokens());
    out
}

fn parse(input: ParseStream, errors: &mut Errors) -> Result<Database> {
    let attributes = input.call(Attribute::parse_outer)?;
    let visibility = input.parse()?;
    input.parse::<Token![struct]>()?;
    let name: Ident = input.parse()?;
    let body;
    braced!(body in input);
    let members: Vec<Member> = split(body.parse()?)
        .into_iter()
        .filter_map(|part| {
            errors.check(parse_all(part, |input| {
                let attributes = input.call(Attribute::parse_outer)?;
                let path = input.call(Path::parse_mod_style)?;
                let (name, span) = path
                    .segments
                    .last()
                    .map(|segment| (segment.ident.unraw().to_string(), segment.ident.span()))
                    .unwrap_or_else(|| (String::new(), Span::call_site()));
                Ok(Member { attributes, path, name, span })
            }))
        })
        .collect();
    if members.is_empty() && errors.is_empty() {
        errors.at(name.span(), format!("`{name}` declares no collection and no view"));
    }
    Ok(Database { attributes, visibility, name, members })
}

fn emit(database: &Database) -> TokenStream {
    let Database { attributes, visibility, name, members } = database;
    let documented = attributes.iter().any(|attribute| attribute.path().is_ident("doc"));
    let documentation = (!documented).then(|| {
        let text = format!(" The database `{name}`.");
        quote!(#[doc = #text])
    });
    let paths: Vec<_> = members.iter().map(|member| &member.path).collect();
    let fields: Vec<_> = members
        .iter()
        .map(|member| {
            syn::parse_str::<Ident>(&snake_case(&member.name))
                .unwrap_or_else(|_| Ident::new_raw(&snake_case(&member.name), Span::call_site()))
        })
        .collect();
    let declarations = members.iter().zip(&fields).map(|(member, field)| {
        let Member { attributes, path, name, .. } = member;
        let documented = attributes.iter().any(|attribute| attribute.path().is_ident("doc"));
        let documentation = (!documented).then(|| {
            let text = format!(" The rows of `{name}`.");
            quote!(#[doc = #text])
        });
        quote! {
            #documentation
            #(#attributes)*
            pub #field: <#path as ::parquedb::__private::Member>::Handle
        }
    });
    // Which source is missing is known only to the types; the member's own span tells which view needs it.
    let checks = members.iter().map(|member| {
        let path = &member.path;
        let span = member.span;
        quote::quote_spanned!(span=> ::parquedb::__private::members_are_declared::<#path, #name>();)
    });
    quote! {
        #documentation
        #(#attributes)*
        #visibility struct #name {
            #(#declarations,)*
            __connection: ::parquedb::__private::Connection,
        }

        impl #name {
            /// Opens the database at a URL: `memory:///`, `file:///data/events` or `s3://bucket/prefix`.
            ///
            /// # Errors
            ///
            /// When the URL cannot be understood or the store does not answer, and when what is stored does
            /// not fit the declaration.
            pub async fn open(url: impl ::std::convert::AsRef<str>) -> ::parquedb::Result<Self> {
                <Self as ::parquedb::Database>::builder().open(url).await
            }

            /// Opens the database with other settings than the usual ones.
            #[must_use]
            pub fn builder() -> ::parquedb::Builder<Self> {
                <Self as ::parquedb::Database>::builder()
            }
        }

        impl ::parquedb::Database for #name {
            fn definitions() -> ::std::vec::Vec<::parquedb::__private::Definition> {
                ::std::vec![#(<#paths as ::parquedb::__private::Declared>::definition()),*]
            }
            fn attach(connection: ::parquedb::__private::Connection) -> Self {
                Self {
                    #(#fields: <#paths as ::parquedb::__private::Member>::attach(&connection),)*
                    __connection: connection,
                }
            }
            fn connection(&self) -> &::parquedb::__private::Connection {
                &self.__connection
            }
        }

        #[automatically_derived]
        impl ::std::fmt::Debug for #name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.debug_struct(::std::stringify!(#name)).finish_non_exhaustive()
            }
        }

        impl ::std::ops::Deref for #name {
            type Target = ::parquedb::__private::Connection;
            fn deref(&self) -> &Self::Target {
                &self.__connection
            }
        }

        #(impl ::parquedb::__private::MemberOf<#name> for #paths {})*

        const _: () = {
            #[allow(dead_code)]
            fn members() {
                #(#checks)*
            }
        };
    }
}

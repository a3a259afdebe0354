//! `#[derive(Collection)]`: parse, check, expand.

use crate::names::{is_plain, nearest, snake_case};
use crate::parse::ttl::duration;
use crate::record::{self, Record, RecordField};
use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::meta::ParseNestedMeta;
use syn::punctuated::Punctuated;
use syn::{Data, DeriveInput, Error, Fields, Ident, LitStr, Result, Token, parenthesized, token};

const ON_STRUCT: &[&str] = &["key", "version", "ttl", "on", "name", "table"];
const ON_FIELD: &[&str] = &["rename"];

/// What `#[collection(...)]` on the struct says.
#[derive(Default)]
struct Options {
    key: Option<Vec<Ident>>,
    version: Option<Ident>,
    ttl: Option<(i64, Span)>,
    on: Option<Ident>,
    name: Option<LitStr>,
    table: Option<LitStr>,
}

/// Mistakes found so far, reported together.
#[derive(Default)]
struct Mistakes(Option<Error>);

impl Mistakes {
    fn add(&mut self, error: Error) {
        match &mut self.0 {
            Some(all) => all.combine(error),
            None => self.0 = Some(error),
        }
    }

    fn note<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }

    fn finish(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}

/// The implementations for a struct.
pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let mut mistakes = Mistakes::default();
    if !input.generics.params.is_empty() {
        mistakes.add(Error::new_spanned(
            &input.generics,
            "a collection cannot be generic: its columns must be known; declare one struct for each type",
        ));
    }
    let mut options = Options::default();
    for attribute in &input.attrs {
        if attribute.path().is_ident("collection") {
            mistakes.note(attribute.parse_nested_meta(|meta| options.parse(&meta)));
        } else if attribute.path().is_ident("key") {
            mistakes.add(Error::new_spanned(
                attribute,
                "`#[key]` belongs on a field; here, write `#[collection(key = ...)]`",
            ));
        }
    }
    let fields = match named_fields(input) {
        Ok(fields) => fields,
        Err(error) => {
            mistakes.add(error);
            mistakes.finish()?;
            return Ok(TokenStream::new());
        }
    };

    let mut columns: Vec<RecordField> = Vec::new();
    let mut marked: Vec<Ident> = Vec::new();
    for field in fields {
        let Some(ident) = field.ident.clone() else { continue };
        let mut stored = None;
        for attribute in &field.attrs {
            if attribute.path().is_ident("key") {
                mistakes.note(attribute.meta.require_path_only().map(|_| ()));
                marked.push(ident.clone());
            } else if attribute.path().is_ident("collection") {
                mistakes.note(attribute.parse_nested_meta(|meta| parse_rename(&meta, &mut stored)));
            }
        }
        let span = stored.as_ref().map_or_else(|| ident.span(), LitStr::span);
        let stored = stored.map_or_else(|| ident.unraw().to_string(), |name| name.value());
        if let Some(other) = columns.iter().find(|column| column.stored.eq_ignore_ascii_case(&stored)) {
            let message = format!("the column `{stored}` is already that of the field `{}`", other.ident);
            mistakes.add(Error::new(span, message));
        }
        let ty = &field.ty;
        columns.push(RecordField { ident, stored, ty: quote!(#ty), docs: record::docs(&field.attrs) });
    }

    let key_fields = match (&options.key, marked.first()) {
        (Some(_), Some(mark)) => {
            mistakes.add(Error::new(
                mark.span(),
                "the key is already named by `#[collection(key = ...)]`: use one of the two",
            ));
            Vec::new()
        }
        (Some(key), None) => key.clone(),
        (None, _) => marked,
    };
    let key: Vec<_> =
        key_fields.iter().filter_map(|field| mistakes.note(column_of(field, &columns))).collect();
    if let Some(twice) =
        key_fields.iter().enumerate().find(|(index, field)| key_fields[..*index].contains(field))
    {
        mistakes.add(Error::new(twice.1.span(), format!("`{}` is in the key twice", twice.1)));
    }
    let version = options.version.as_ref().and_then(|field| mistakes.note(column_of(field, &columns)));
    if let (Some(version), true) = (&options.version, key_fields.is_empty()) {
        mistakes.add(Error::new(
            version.span(),
            "`version` decides between rows of one key, but there is no key: add `key = ...`",
        ));
    }
    let on = options.on.as_ref().and_then(|field| mistakes.note(column_of(field, &columns)));
    match (&options.ttl, &options.on) {
        (Some((_, span)), None) => {
            mistakes.add(Error::new(*span, "`ttl` needs the field with the rows' time: add `on = ...`"))
        }
        (None, Some(on)) => {
            mistakes.add(Error::new(on.span(), "`on` says by which field rows expire: add `ttl = \"7d\"`"));
        }
        _ => {}
    }
    let name = options.name.map_or_else(|| input.ident.unraw().to_string(), |name| name.value());
    let table = options.table.map_or_else(|| snake_case(&name), |table| table.value());
    mistakes.finish()?;

    let position = match &key[..] {
        [only] => columns.iter().position(|column| column.stored == *only),
        _ => None,
    };
    let references = references(&columns);
    let timed = options.on.as_ref().and_then(|on| {
        let wanted = on.unraw().to_string();
        let ty = &columns.iter().find(|column| column.ident.unraw() == wanted)?.ty;
        Some(quote_spanned!(on.span()=> const _: () = ::parquedb::__private::expires_by::<#ty>();))
    });
    let record = record::expand(&Record {
        ident: &input.ident,
        name: &name,
        vis: &input.vis,
        fields: columns,
        key: position,
    });
    let ident = &input.ident;
    let version = match version {
        Some(version) => quote!(::std::option::Option::Some(::std::convert::Into::into(#version))),
        None => quote!(::std::option::Option::None),
    };
    let ttl = match (options.ttl, on) {
        (Some((after, _)), Some(on)) => quote! {
            ::std::option::Option::Some(::parquedb::__private::Ttl {
                after: #after,
                on: ::std::convert::Into::into(#on),
            })
        },
        _ => quote!(::std::option::Option::None),
    };
    let referable = position.map(|_| {
        quote! {
            #[automatically_derived]
            impl ::parquedb::__private::Referable for #ident {}
        }
    });
    Ok(quote! {
        #record
        #referable
        #references
        #timed

        #[automatically_derived]
        impl ::parquedb::__private::Declared for #ident {
            type Members = ();
            fn definition() -> ::parquedb::__private::Definition {
                ::parquedb::__private::Definition::Collection(::parquedb::__private::CollectionDefinition {
                    name: ::std::convert::Into::into(#name),
                    table: ::std::convert::Into::into(#table),
                    schema: <Self as ::parquedb::__private::Row>::schema(),
                    key: ::std::vec![#(::std::convert::Into::into(#key)),*],
                    version: #version,
                    ttl: #ttl,
                })
            }
        }

        #[automatically_derived]
        impl ::parquedb::__private::CollectionRecord for #ident {}

        #[automatically_derived]
        impl ::parquedb::__private::Member for #ident {
            type Handle = ::parquedb::__private::CollectionHandle<Self>;
            fn attach(connection: &::parquedb::__private::Connection) -> Self::Handle {
                ::parquedb::__private::CollectionHandle::attach(connection)
            }
        }
    })
}

/// Checks that what fields refer to has a key. Only the types know; a field that names no `Ref` needs no check.
fn references(columns: &[RecordField]) -> TokenStream {
    fn names_a_reference(tokens: TokenStream) -> bool {
        tokens.into_iter().any(|token| match token {
            TokenTree::Ident(name) => name == "Ref",
            TokenTree::Group(group) => names_a_reference(group.stream()),
            _ => false,
        })
    }
    let of_references = columns.iter().filter(|column| names_a_reference(column.ty.clone()));
    let checks = of_references.map(|column| {
        let ty = &column.ty;
        quote_spanned!(column.ident.span()=> const _: () = ::parquedb::__private::target_has_key::<#ty>();)
    });
    checks.collect()
}

/// The fields, or why the item cannot be a collection.
fn named_fields(input: &DeriveInput) -> Result<impl Iterator<Item = &syn::Field>> {
    let (what, found) = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) if fields.named.is_empty() => {
                ("a struct without fields", Err(data.struct_token.span))
            }
            Fields::Named(fields) => ("", Ok(fields.named.iter())),
            Fields::Unnamed(fields) => ("a tuple struct", Err(fields.paren_token.span.join())),
            Fields::Unit => ("a struct without fields", Err(data.struct_token.span)),
        },
        Data::Enum(data) => ("an enum", Err(data.enum_token.span)),
        Data::Union(data) => ("a union", Err(data.union_token.span)),
    };
    found.map_err(|span| {
        Error::new(
            span,
            format!("`#[derive(Collection)]` needs a struct with named fields, but this is {what}"),
        )
    })
}

impl Options {
    fn parse(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        match option_name(meta)?.as_str() {
            "key" => set(&mut self.key, meta, field_names),
            "version" => set(&mut self.version, meta, field_name),
            "ttl" => set(&mut self.ttl, meta, |input| {
                let literal: LitStr = input.parse()?;
                Ok((duration(&literal)?, literal.span()))
            }),
            "on" => set(&mut self.on, meta, field_name),
            "name" => set(&mut self.name, meta, plain_name),
            "table" => set(&mut self.table, meta, plain_name),
            other => Err(unknown(meta, other, ON_STRUCT, "a collection")),
        }
    }
}

fn parse_rename(meta: &ParseNestedMeta<'_>, stored: &mut Option<LitStr>) -> Result<()> {
    match option_name(meta)?.as_str() {
        "rename" => set(stored, meta, |input| {
            let name: LitStr = input.parse()?;
            if name.value().is_empty() {
                return Err(Error::new(name.span(), "a column needs a name"));
            }
            Ok(name)
        }),
        other => Err(unknown(meta, other, ON_FIELD, "a field")),
    }
}

fn option_name(meta: &ParseNestedMeta<'_>) -> Result<String> {
    meta.path.get_ident().map(|name| name.unraw().to_string()).ok_or_else(|| meta.error("expected one name"))
}

/// Sets an option that may be given once.
fn set<T>(
    option: &mut Option<T>,
    meta: &ParseNestedMeta<'_>,
    parse: impl FnOnce(syn::parse::ParseStream<'_>) -> Result<T>,
) -> Result<()> {
    let value = parse(meta.value()?)?;
    if option.replace(value).is_some() {
        return Err(meta.error("this option is given twice"));
    }
    Ok(())
}

fn unknown(meta: &ParseNestedMeta<'_>, found: &str, known: &[&str], of: &str) -> Error {
    let list = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let hint = nearest(found, known.iter().copied()).map(|name| format!(", did you mean `{name}`?"));
    meta.error(format!("unknown option `{found}`{}; {of} has: {list}", hint.unwrap_or_default()))
}

fn field_name(input: syn::parse::ParseStream<'_>) -> Result<Ident> {
    if input.peek(LitStr) {
        let literal: LitStr = input.parse()?;
        let message = format!("name the field without quotes: `{}`", literal.value());
        return Err(Error::new(literal.span(), message));
    }
    Ident::parse_any(input)
}

fn field_names(input: syn::parse::ParseStream<'_>) -> Result<Vec<Ident>> {
    if !input.peek(token::Paren) {
        return Ok(vec![field_name(input)?]);
    }
    let content;
    let paren = parenthesized!(content in input);
    let names = Punctuated::<Ident, Token![,]>::parse_terminated_with(&content, field_name)?;
    if names.is_empty() {
        return Err(Error::new(
            paren.span.join(),
            "a key needs a field; leave `key` out for rows that are only appended",
        ));
    }
    Ok(names.into_iter().collect())
}

fn plain_name(input: syn::parse::ParseStream<'_>) -> Result<LitStr> {
    let name: LitStr = input.parse()?;
    if is_plain(&name.value()) {
        return Ok(name);
    }
    let message = "a name here has letters, digits and underscores only, and does not begin with a digit";
    Err(Error::new(name.span(), message))
}

/// The stored name of the column of `field`.
fn column_of(field: &Ident, columns: &[RecordField]) -> Result<String> {
    let wanted = field.unraw().to_string();
    let names: Vec<_> = columns.iter().map(|column| column.ident.unraw().to_string()).collect();
    match names.iter().position(|name| *name == wanted) {
        Some(index) => Ok(columns[index].stored.clone()),
        None => {
            let hint = nearest(&wanted, names.iter().map(String::as_str));
            let hint = hint.map(|name| format!(", did you mean `{name}`?")).unwrap_or_default();
            let list = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            Err(Error::new(field.span(), format!("there is no field `{wanted}`{hint}; there are: {list}")))
        }
    }
}

//! One view: its definition, its types, its row struct.

use super::expanded;
use super::passed::{self, passes};
use super::sources;
use super::types::Scope;
use crate::errors::Errors;
use crate::names;
use crate::parse::columns::text;
use crate::parse::constant::Constant;
use crate::parse::expr::Expr;
use crate::parse::path::{FieldPath, Step};
use crate::parse::refresh::Refresh;
use crate::parse::ttl::Ttl;
use crate::parse::view::View;
use crate::parse::walk::Stage;
use crate::record::{self, Record, RecordField};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::Attribute;

/// A column of the row struct.
struct Field<'a> {
    attributes: &'a [Attribute],
    name: Ident,
    ty: TokenStream,
    documentation: String,
}

pub(crate) fn expand(view: &View, errors: &mut Errors) -> TokenStream {
    if view.from.is_empty() {
        return TokenStream::new();
    }
    let name = &view.name;
    let mut scope = Scope::new(view);
    let source = scope.source();
    let others = sources::others(view, &scope);
    reject_untyped(view, errors);

    let filter = view.filter.as_ref().map(|filter| {
        let filter = scope.value(filter);
        quote!(__plan.filter(#filter);)
    });
    let expand = expanded::values(view, &mut scope);
    scope.stage = Stage::Expanded;
    let unnest = view.unnest.as_ref().map(|unnest| {
        let reference = scope.reference(&Expr::Path(unnest.list.clone()));
        let element = element_name(&unnest.list);
        let (unnest_list, null) =
            if unnest.keep_empty { ("unnest_or_null", "Nullable") } else { ("unnest", "NotNull") };
        let (unnest_list, null) = (format_ident!("{unnest_list}"), format_ident!("{null}"));
        let index = unnest.index.as_ref();
        let index =
            index.map(|index| quote!(let #index = __plan.element_index::<::parquedb::__private::#null>();));
        quote! {
            let #element = __plan.#unnest_list(#reference);
            #index
        }
    });
    if view.unnest.is_some() {
        scope.stage = Stage::Unnested;
    }
    let condition = view.condition.as_ref().map(|condition| {
        let condition = scope.value(condition);
        quote!(__plan.condition(#condition);)
    });

    let mut fields = Vec::new();
    let mut values = Vec::new();
    for column in view.select.iter().chain(&view.group_by).flatten() {
        let ty = scope.ty(&column.value);
        let alias = scope.name(&format!("C{}", fields.len()));
        let value = scope.reference(&column.value);
        values.push(quote!(__plan.column::<#alias>(#value);));
        fields.push(Field {
            attributes: &column.attributes,
            name: field_name(&column.name, &column.value),
            ty,
            documentation: describe(&column.value),
        });
    }
    for column in view.compute.iter().flatten() {
        let ty = scope.aggregate(column);
        let alias = scope.name(&format!("C{}", fields.len()));
        let value = scope.aggregate_value(column);
        values.push(quote!(__plan.aggregate::<#alias>(#value);));
        let argument = column.argument.as_ref().map_or_else(|| "*".to_owned(), describe);
        let filter = if column.filter.is_some() { ", with a filter" } else { "" };
        fields.push(Field {
            attributes: &column.attributes,
            name: column.name.clone(),
            ty,
            documentation: format!("{} of {argument}{filter}", column.function),
        });
    }

    let mut rows = Scope::of_rows(view);
    let having = view.having.as_ref().map(|having| {
        let source = rows.source();
        let having = rows.value(having);
        quote! {
            let __row =
                <#source as ::parquedb::__private::Record>::handles::<::parquedb::__private::NotNull>(
                    ::parquedb::__private::Node::Row,
                );
            __plan.having(#having);
        }
    });
    rows.only_own_columns(view.having.as_ref());
    let ttl = view.ttl.as_ref().map(|Ttl { after, on }| {
        let (source, span) = (rows.source(), on.span());
        let on = rows.reference(&Expr::Path(FieldPath(vec![Step::Field(on.clone())])));
        // All of the call carries the column's place, or errors point at the whole macro call.
        let set = quote_spanned!(span=> __plan.ttl(#after, #on););
        quote! {
            let __row =
                <#source as ::parquedb::__private::Record>::handles::<::parquedb::__private::NotNull>(
                    ::parquedb::__private::Node::Row,
                );
            #set
        }
    });

    let groups = view.group_by.is_some() || view.compute.is_some();
    let passes = passes(view);
    let finish = match (passes, groups) {
        (true, _) if view.expand.is_empty() => quote!(source_rows),
        (_, true) => quote!(groups),
        _ => quote!(rows),
    };
    let refresh = refresh(view);
    let strict = view.strict.then(|| quote!(__plan.strict();));
    let changes = changes(view);
    let sources = sources::declare(view, &scope);
    let members = sources::members(view, &mut scope);
    let table = names::snake_case(&text(name));
    let aliases: Vec<_> = (0..fields.len()).map(|position| scope.name(&format!("C{position}"))).collect();
    let checks = expanded::checks(view, &scope);
    let row = match (passes, view.expand.is_empty()) {
        (true, true) => passed::row(view, &source),
        (true, false) => expanded::row(view, &scope),
        _ => row(view, &fields),
    };
    let (types, types_of_rows) = (&scope.tokens, &rows.tokens);
    let types_of: Vec<_> = fields.iter().map(|field| &field.ty).collect();
    quote! {
        impl ::parquedb::__private::Declared for #name {
            type Members = #members;
            const CHANGES: ::parquedb::__private::Changes = #changes;
            #[allow(unused_variables, clippy::all, clippy::pedantic)]
            fn definition() -> ::parquedb::__private::Definition {
                let __row =
                    <#source as ::parquedb::__private::Record>::handles::<::parquedb::__private::NotNull>(
                        ::parquedb::__private::Node::Row,
                    );
                let mut __plan = ::parquedb::__private::ViewBuilder::<#source, #name>::new();
                #(__plan.also_from::<#others>();)*
                #filter
                #expand
                #unnest
                #condition
                #(#values)*
                #having
                #strict
                #ttl
                __plan.#finish(#table, #refresh)
            }
        }
        #sources
        #types
        #checks
        #types_of_rows
        #(
            #[doc(hidden)]
            #[allow(non_camel_case_types)]
            type #aliases = #types_of;
        )*
        #row
        impl ::parquedb::__private::ViewRecord for #name {}
        #[automatically_derived]
        impl ::parquedb::__private::Member for #name {
            type Handle = ::parquedb::__private::ViewHandle<Self>;
            fn attach(connection: &::parquedb::__private::Connection) -> Self::Handle {
                ::parquedb::__private::ViewHandle::attach(connection)
            }
        }
    }
}

/// The name under which a view's expressions see the element of its `$unnest`. The user's own token
/// belongs to the list.
fn element_name(list: &FieldPath) -> Ident {
    match &list.0[..] {
        [Step::Field(name)] => without_span(name),
        _ => format_ident!("__element"),
    }
}

/// The same name without the place where the user wrote it.
pub(super) fn without_span(name: &Ident) -> Ident {
    let mut name = name.clone();
    name.set_span(Span::call_site());
    name
}

/// Where a column is named after its field, the user's token belongs to the value.
fn field_name(name: &Ident, value: &Expr) -> Ident {
    match value {
        Expr::Path(path) if path.last_field().is_some_and(|last| last == name) => without_span(name),
        _ => name.clone(),
    }
}

/// What a column is computed from, for its documentation.
fn describe(value: &Expr) -> String {
    match value {
        Expr::Path(path) => format!("`{}`", path.text()),
        Expr::Truncate(unit, value) => format!("{} cut to its {unit}", describe(value)),
        Expr::Constant(_) => "a constant".to_owned(),
        _ => "an expression".to_owned(),
    }
}

/// Columns whose type nothing tells.
fn reject_untyped(view: &View, errors: &mut Errors) {
    for column in view.select.iter().chain(&view.group_by).flatten() {
        if let Expr::Constant(Constant::Null(span)) = &column.value {
            errors
                .at(*span, format!("nothing tells the type of column `{}`: it is always null", column.name));
        }
    }
}

fn documented(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| attribute.path().is_ident("doc"))
}

/// The documentation of a view's row, where the user wrote none.
pub(super) fn documentation(view: &View) -> Option<TokenStream> {
    (!documented(&view.attributes)).then(|| {
        let text = format!(" Rows of the view `{}`.", view.name);
        quote!(#[doc = #text])
    })
}

fn row(view: &View, fields: &[Field]) -> TokenStream {
    let attributes = &view.attributes;
    let name = &view.name;
    let visibility = &view.visibility;
    let record_name = text(name);
    let record = record::expand(&Record {
        ident: name,
        name: &record_name,
        vis: visibility,
        fields: fields
            .iter()
            .map(|field| RecordField {
                ident: field.name.clone(),
                stored: text(&field.name),
                ty: field.ty.clone(),
                docs: record::docs(field.attributes),
            })
            .collect(),
        key: None,
    });
    let documentation = documentation(view);
    let columns = fields.iter().map(|field| {
        let Field { attributes, name, ty, documentation } = field;
        let documentation = (!documented(attributes)).then(|| {
            let text = format!(" Computed: {documentation}.");
            quote!(#[doc = #text])
        });
        quote! {
            #documentation
            #(#attributes)*
            pub #name: #ty
        }
    });
    quote! {
        #documentation
        #(#attributes)*
        #[derive(::std::fmt::Debug, ::std::clone::Clone, ::std::cmp::PartialEq)]
        #visibility struct #name {
            #(#columns,)*
        }
        #record
    }
}

fn refresh(view: &View) -> TokenStream {
    match &view.refresh {
        None | Some(Refresh::Streaming) => quote!(::parquedb::__private::Refresh::Streaming),
        Some(Refresh::Manual) => quote!(::parquedb::__private::Refresh::Manual),
        Some(Refresh::Scheduled { schedule, tz }) => {
            let tz = match tz {
                Some(tz) => quote!(::std::option::Option::Some(::std::string::String::from(#tz))),
                None => quote!(::std::option::Option::None),
            };
            quote! {
                ::parquedb::__private::Refresh::Scheduled { schedule: ::std::string::String::from(#schedule), tz: #tz }
            }
        }
    }
}

/// How this view's changes reach the views over it.
fn changes(view: &View) -> TokenStream {
    match &view.refresh {
        Some(Refresh::Scheduled { .. }) => quote!(::parquedb::__private::Changes::Scheduled),
        Some(Refresh::Manual) => quote!(::parquedb::__private::Changes::Manual),
        _ => quote!(::parquedb::__private::Changes::Streamed),
    }
}

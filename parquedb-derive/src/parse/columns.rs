//! `$select`, `$groupBy` and `$compute`.

use super::aggregates::{Aggregate, aggregate, is_only_an_aggregate};
use super::dollar::dollar;
use super::expr::{Expr, UNITS};
use super::path::{FieldPath, Step};
use crate::errors::{Errors, parse_all, split};
use proc_macro2::TokenStream;
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Attribute, Ident, Result, Token, braced, bracketed, token};

/// A column or a group key.
pub(crate) struct Column {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) name: Ident,
    pub(crate) value: Expr,
}

/// The tokens between braces, or an error that names the directive.
pub(crate) fn braces(directive: &Ident, input: ParseStream) -> Result<TokenStream> {
    if !input.peek(token::Brace) {
        return Err(syn::Error::new(
            directive.span(),
            format!("`${directive}` takes an object: `${directive}: {{ .. }}`"),
        ));
    }
    let body;
    braced!(body in input);
    body.parse()
}

/// `{ script_name, level: logs.level }`.
pub(crate) fn select(directive: &Ident, input: ParseStream, errors: &mut Errors) -> Result<Vec<Column>> {
    let columns = split(braces(directive, input)?);
    if columns.is_empty() {
        errors.at(directive.span(), "`$select` needs at least one column");
    }
    Ok(columns.into_iter().filter_map(|part| errors.check(parse_all(part, select_column))).collect())
}

fn select_column(input: ParseStream) -> Result<Column> {
    let attributes = input.call(Attribute::parse_outer)?;
    let name: Ident = input.parse()?;
    if input.peek(Token![.]) || input.peek(token::Bracket) {
        return Err(syn::Error::new(
            name.span(),
            format!("a path needs a column name before it: `name: {name}..`"),
        ));
    }
    let value = if input.parse::<Option<Token![:]>>()?.is_some() {
        if input.peek(Token![$])
            && let Ok(operator) = dollar(&input.fork())
            && is_only_an_aggregate(&operator)
        {
            let aggregate = dollar(input)?;
            return Err(syn::Error::new(
                aggregate.span(),
                format!("`${aggregate}` is an aggregate: put it into `$compute` instead of `$select`"),
            ));
        }
        input.parse()?
    } else {
        Expr::Path(FieldPath(vec![Step::Field(name.clone())]))
    };
    Ok(Column { attributes, name, value })
}

/// `[script_name, { method: event.request.method }, { hour: timestamp }]`.
pub(crate) fn group_by(directive: &Ident, input: ParseStream, errors: &mut Errors) -> Result<Vec<Column>> {
    if !input.peek(token::Bracket) {
        return Err(syn::Error::new(
            directive.span(),
            "`$groupBy` takes a list: `$groupBy: [script_name, { hour: timestamp }]`",
        ));
    }
    let body;
    bracketed!(body in input);
    let keys = split(body.parse()?);
    if keys.is_empty() {
        errors
            .at(directive.span(), "`$groupBy` needs at least one key; leave it out to compute over all rows");
    }
    Ok(keys.into_iter().filter_map(|part| errors.check(parse_all(part, group_key))).collect())
}

fn group_key(input: ParseStream) -> Result<Column> {
    let attributes = input.call(Attribute::parse_outer)?;
    if input.peek(token::Brace) {
        let body;
        braced!(body in input);
        let attributes = if attributes.is_empty() { body.call(Attribute::parse_outer)? } else { attributes };
        let name: Ident = body.parse()?;
        body.parse::<Token![:]>()?;
        let value: Expr = body.parse()?;
        if !body.is_empty() {
            return Err(body.error("expected `}`: write each key in braces of its own"));
        }
        let value = if UNITS.iter().any(|unit| name == unit) {
            Expr::Truncate(name.clone(), value.into())
        } else {
            value
        };
        return Ok(Column { attributes, name, value });
    }
    let path: FieldPath = input.parse()?;
    let Some(name) = path.last_field().cloned() else {
        return Err(syn::Error::new(
            path.span(),
            format!("this key needs a name: `{{ name: {} }}`", path.text()),
        ));
    };
    Ok(Column { attributes, name, value: Expr::Path(path) })
}

/// `{ request_count: $count(*), avg_latency: { $avg: latency } }`.
pub(crate) fn compute(directive: &Ident, input: ParseStream, errors: &mut Errors) -> Result<Vec<Aggregate>> {
    let columns = split(braces(directive, input)?);
    if columns.is_empty() {
        errors.at(directive.span(), "`$compute` needs at least one aggregate");
    }
    Ok(columns.into_iter().filter_map(|part| errors.check(parse_all(part, aggregate))).collect())
}

/// The name of a column as text.
pub(crate) fn text(name: &Ident) -> String {
    name.unraw().to_string()
}

//! `$select`, `$groupBy` and `$compute`.

use super::expr::{Constant, Expr, FieldPath, PLANNED, UNITS, dollar, dollars, not_supported};
use crate::errors::{Errors, parse_all, split};
use crate::names::nearest;
use proc_macro2::{Span, TokenStream};
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Attribute, Ident, Result, Token, braced, bracketed, parenthesized, token};

/// A column or a group key.
pub(crate) struct Column {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) name: Ident,
    pub(crate) value: Expr,
}

/// A column of `$compute`.
pub(crate) struct Aggregate {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) name: Ident,
    /// The function's name in `parquedb::__private`.
    pub(crate) function: &'static str,
    pub(crate) span: Span,
    /// Absent for counting rows.
    pub(crate) argument: Option<Expr>,
    pub(crate) filter: Option<Expr>,
}

impl Aggregate {
    /// The expressions over the rows of a group.
    pub(crate) fn expressions(&self) -> impl Iterator<Item = &Expr> {
        self.argument.iter().chain(&self.filter)
    }
}

const AGGREGATES: [(&str, &str); 6] = [
    ("count", "count"),
    ("sum", "sum"),
    ("avg", "avg"),
    ("min", "min"),
    ("max", "max"),
    ("countDistinct", "count_distinct"),
];

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
            && AGGREGATES.iter().any(|(aggregate, _)| operator == aggregate)
        {
            let aggregate = dollar(input)?;
            return Err(syn::Error::new(
                aggregate.span(),
                format!("`${aggregate}` is an aggregate: put it into `$compute` instead of `$select`"),
            ));
        }
        input.parse()?
    } else {
        Expr::Path(FieldPath(vec![super::expr::Step::Field(name.clone())]))
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

fn aggregate(input: ParseStream) -> Result<Aggregate> {
    let attributes = input.call(Attribute::parse_outer)?;
    let name: Ident = input.parse()?;
    input.parse::<Token![:]>()?;
    let (operator, arguments) = if input.peek(token::Brace) {
        let body;
        braced!(body in input);
        if !body.peek(Token![$]) {
            return Err(body.error("expected an aggregate, as in `{ $avg: latency }`"));
        }
        let operator = dollar(&body)?;
        body.parse::<Token![:]>()?;
        (operator, body.parse()?)
    } else if input.peek(Token![$]) {
        let operator = dollar(input)?;
        if operator == "count" && input.is_empty() {
            (operator, TokenStream::new())
        } else {
            if !input.peek(token::Paren) {
                return Err(syn::Error::new(
                    operator.span(),
                    format!("`${operator}` needs its argument: `${operator}(..)`"),
                ));
            }
            let arguments;
            parenthesized!(arguments in input);
            (operator, arguments.parse()?)
        }
    } else {
        return Err(input
            .error(format!("`{name}` needs an aggregate, as in `{{ $avg: latency }}` or `$avg(latency)`")));
    };
    let Some((_, function)) = AGGREGATES.iter().find(|(aggregate, _)| operator == aggregate) else {
        return Err(unknown_aggregate(&operator));
    };
    let mut argument = None;
    let mut star = false;
    let mut filter = None;
    for (position, part) in split(arguments).into_iter().enumerate() {
        parse_all(part, |input| {
            if input.peek(Token![$]) && input.peek3(Token![:]) && !input.peek3(Token![::]) {
                let directive = dollar(input)?;
                input.parse::<Token![:]>()?;
                if directive != "filter" {
                    return Err(if PLANNED.contains(&directive.to_string().as_str()) {
                        not_supported(&directive, "inside an aggregate", &["filter"])
                    } else {
                        syn::Error::new(
                            directive.span(),
                            format!("unknown option `${directive}`, expected `$filter`"),
                        )
                    });
                }
                filter = Some(input.parse::<Expr>()?);
            } else if position > 0 {
                return Err(input.error(format!("`${operator}` takes one value, and `$filter: ..` after it")));
            } else if input.peek(Token![*]) {
                let token = input.parse::<Token![*]>()?;
                if operator != "count" {
                    return Err(syn::Error::new(
                        token.span,
                        format!("`*` counts rows; `${operator}` needs a field"),
                    ));
                }
                star = true;
            } else {
                argument = Some(input.parse::<Expr>()?);
            }
            Ok(())
        })?;
    }
    if argument.is_none() && !star && operator != "count" {
        return Err(syn::Error::new(
            operator.span(),
            format!("`${operator}` needs a value: `${operator}(field)`"),
        ));
    }
    if let Some(constant) = argument.as_ref().and_then(Expr::constant) {
        let number = matches!(constant, Constant::Int { .. } | Constant::Float { .. });
        if operator != "sum" || !number {
            return Err(syn::Error::new(
                constant.span(),
                format!("`${operator}` of a constant says nothing; give it a field"),
            ));
        }
    }
    Ok(Aggregate { attributes, name, function, span: operator.span(), argument, filter })
}

fn unknown_aggregate(operator: &Ident) -> syn::Error {
    let names: Vec<&str> = AGGREGATES.iter().map(|(name, _)| *name).collect();
    let found = operator.to_string();
    if PLANNED.contains(&found.as_str()) {
        return not_supported(operator, "aggregates", &names);
    }
    match nearest(&found, names.iter().copied()) {
        Some(near) => {
            syn::Error::new(operator.span(), format!("unknown aggregate `${found}`, did you mean `${near}`?"))
        }
        None => syn::Error::new(
            operator.span(),
            format!("`${found}` is not an aggregate, expected one of {}", dollars(&names)),
        ),
    }
}

/// The name of a column as text.
pub(crate) fn text(name: &Ident) -> String {
    name.unraw().to_string()
}

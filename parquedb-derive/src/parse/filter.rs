//! Objects: `{ outcome: { $ne: "ok" } }`, `{ $or: [..] }`, `{ $ne: [outcome, "ok"] }`.

use super::constant::constants;
use super::dollar::{dollar, unknown_operator};
use super::expr::{Comparison, Expr, UNITS};
use super::infix::list;
use super::operator::{operator, regex_test, size_test, text_test};
use super::path::FieldPath;
use crate::errors::{parse_all, split};
use proc_macro2::{Span, TokenStream};
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Ident, LitBool, Path, Result, Token, braced, bracketed, token};

/// The inside of an object: a conjunction of field tests and operators.
pub(crate) fn object(tokens: TokenStream, span: Span) -> Result<Expr> {
    let mut all = Vec::new();
    for part in split(tokens) {
        all.push(parse_all(part, entry)?);
    }
    match all.len() {
        0 => Err(syn::Error::new(span, "expected a field or an `$operator`")),
        1 => Ok(all.swap_remove(0)),
        _ => Ok(Expr::And(all)),
    }
}

/// `field: test` or `$operator: arguments`.
fn entry(input: ParseStream) -> Result<Expr> {
    if input.peek(Token![$]) {
        let name = dollar(input)?;
        if name == "switch" && input.peek(token::Brace) {
            return Err(syn::Error::new(name.span(), "write `$switch { condition => value, _ => value }`"));
        }
        input.parse::<Token![:]>()?;
        if name == "source" {
            return tested(Expr::Source(name.span()), input);
        }
        let arguments = if input.peek(token::Bracket) {
            let arguments;
            bracketed!(arguments in input);
            list(arguments.parse()?)?
        } else {
            vec![input.parse()?]
        };
        return operator(&name, arguments);
    }
    let field = input.fork().parse::<Ident>().ok();
    if let Some(unit) = field.filter(|name| UNITS.iter().any(|unit| name == unit)) {
        // `{ hour: timestamp }` is a bucket where its value is a field, else a test of a field `hour`.
        let fork = input.fork();
        fork.parse::<Ident>()?;
        if fork.parse::<Token![:]>().is_ok() && fork.peek(Ident) && !fork.peek(LitBool) && !is_null(&fork) {
            input.parse::<Ident>()?;
            input.parse::<Token![:]>()?;
            return Ok(Expr::Truncate(unit, Box::new(input.parse()?)));
        }
    }
    if !input.peek(Ident::peek_any) {
        return Err(input.error("expected a field or an `$operator`"));
    }
    let path: FieldPath = input.parse()?;
    if !input.peek(Token![:]) {
        return Err(input.error(format!("expected `:` and a test, as in `{}: \"value\"`", path.text())));
    }
    input.parse::<Token![:]>()?;
    tested(Expr::Path(path), input)
}

/// A value or tests, which the value before must fulfil.
fn tested(value: Expr, input: ParseStream) -> Result<Expr> {
    if input.peek(token::Brace) {
        let fork = input.fork();
        let inner;
        braced!(inner in fork);
        if inner.peek(Token![$]) {
            let tests;
            braced!(tests in input);
            let span = tests.span();
            let tests: TokenStream = tests.parse()?;
            if split(tests.clone()).len() == 1 {
                return field_tests(&value, tests, span);
            }
            // The field's tokens may come out only once: the tests share a reference to it.
            return Ok(Expr::Tests(value.into(), field_tests(&Expr::Bound, tests, span)?.into()));
        }
        return Err(input
            .error("expected a value or tests, as in `{ $gte: 400 }`; for a nested field write `a.b: ..`"));
    }
    let right: Expr = input.parse()?;
    Expr::compare(value, Comparison::Eq, right, Span::call_site())
}

fn is_null(input: ParseStream) -> bool {
    input.fork().parse::<Ident>().is_ok_and(|name| name == "null")
}

/// `{ $gte: 400, $lt: 500 }`: all of them.
fn field_tests(value: &Expr, tokens: TokenStream, span: Span) -> Result<Expr> {
    let mut all = Vec::new();
    for part in split(tokens) {
        let last = all.last_mut();
        if let Some(test) = parse_all(part, |input| match member_condition(last, input)? {
            true => Ok(None),
            false => field_test(value, input).map(Some),
        })? {
            all.push(test);
        }
    }
    match all.len() {
        0 => Err(syn::Error::new(span, "expected a test, as in `{ $gte: 400 }`")),
        1 => Ok(all.swap_remove(0)),
        _ => Ok(Expr::And(all)),
    }
}

/// `$where: condition` after `$in: Collection`: takes it, and tells whether it was there.
fn member_condition(before: Option<&mut Expr>, input: ParseStream) -> Result<bool> {
    let fork = input.fork();
    if !dollar(&fork).is_ok_and(|name| name == "where") {
        return Ok(false);
    }
    let name = dollar(input)?;
    input.parse::<Token![:]>()?;
    match before {
        Some(Expr::InMembers { condition: condition @ None, .. }) => {
            *condition = Some(Box::new(input.parse()?));
            Ok(true)
        }
        _ => Err(syn::Error::new(
            name.span(),
            "`$where` stands after the collection whose rows it tests: `{ $in: Members, $where: { active: true } }`",
        )),
    }
}

/// `$operator: argument` for the field before it.
fn field_test(value: &Expr, input: ParseStream) -> Result<Expr> {
    let name = dollar(input)?;
    let span = name.span();
    input.parse::<Token![:]>()?;
    let text = name.to_string();
    let comparison = match text.as_str() {
        "eq" => Some(Comparison::Eq),
        "ne" => Some(Comparison::Ne),
        "gt" => Some(Comparison::Gt),
        "gte" => Some(Comparison::Ge),
        "lt" => Some(Comparison::Lt),
        "lte" => Some(Comparison::Le),
        _ => None,
    };
    if let Some(comparison) = comparison {
        return Expr::compare(value.clone(), comparison, input.parse()?, span);
    }
    match text.as_str() {
        "exists" => {
            let exists: LitBool = input
                .parse()
                .map_err(|error| syn::Error::new(error.span(), "`$exists` takes `true` or `false`"))?;
            Ok(Expr::Exists(value.clone().into(), exists.value))
        }
        "in" | "nin" | "all" => {
            if text != "all" && input.peek(Ident) {
                let members = input.call(Path::parse_mod_style)?;
                let value = value.clone().into();
                return Ok(Expr::InMembers { value, members, condition: None, negated: text == "nin", span });
            }
            if !input.peek(token::Bracket) {
                return Err(syn::Error::new(
                    span,
                    format!("`${name}` takes a list: `{{ ${name}: [\"a\", \"b\"] }}`"),
                ));
            }
            let values;
            bracketed!(values in input);
            let list = constants(values.parse()?, &name)?;
            if text == "all" {
                return Ok(Expr::All { value: value.clone().into(), list });
            }
            Ok(Expr::In { value: value.clone().into(), list, negated: text == "nin" })
        }
        "startsWith" | "endsWith" | "contains" => Ok(text_test(value.clone(), &name, input.parse()?)),
        "regex" => regex_test(value.clone(), &input.parse()?, span),
        "size" => size_test(value.clone(), &input.parse()?, span),
        "not" => {
            let tests;
            braced!(tests in input);
            Ok(Expr::Not(field_tests(value, tests.parse()?, tests.span())?.into()))
        }
        "lower" | "upper" | "length" | "concat" | "coalesce" | "cond" | "switch" | "add" | "subtract"
        | "multiply" | "divide" | "mod" | "and" | "or" | "nor" => Err(syn::Error::new(
            span,
            format!(
                "`${name}` is not a test of a field; use it in an expression, as in `{{ ${name}: [..] }}` or `${name}(..)`"
            ),
        )),
        _ => Err(unknown_operator(&name)),
    }
}

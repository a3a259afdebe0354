//! Operators that stand before their arguments: `$lower(x)`, `{ $lower: x }`.

use super::constant::Constant;
use super::dollar::unknown_operator;
use super::expr::{Arithmetic, Comparison, Expr};
use proc_macro2::Span;
use syn::{Ident, Result};

/// Tests of a text against a text, named as the methods of `Expr`.
pub(crate) const TEXT_TESTS: [(&str, &str); 3] =
    [("startsWith", "starts_with"), ("endsWith", "ends_with"), ("contains", "contains")];

/// The arguments of an operator, of which there must be exactly `N`.
fn exactly<const N: usize>(name: &Ident, arguments: Vec<Expr>, usage: &str) -> Result<[Expr; N]> {
    let found = arguments.len();
    arguments.try_into().map_err(|_| {
        syn::Error::new(
            name.span(),
            format!(
                "`${name}` takes {N} argument{}, found {found}: `{usage}`",
                if N == 1 { "" } else { "s" }
            ),
        )
    })
}

fn at_least(name: &Ident, arguments: Vec<Expr>, least: usize, usage: &str) -> Result<Vec<Expr>> {
    if arguments.len() < least {
        return Err(syn::Error::new(
            name.span(),
            format!("`${name}` takes at least {least} arguments: `{usage}`"),
        ));
    }
    Ok(arguments)
}

/// `$name(arguments)` and `{ $name: [arguments] }`.
pub(crate) fn operator(name: &Ident, arguments: Vec<Expr>) -> Result<Expr> {
    let span = name.span();
    let text = name.to_string();
    let comparison = |arguments, comparison| {
        let [left, right] = exactly(name, arguments, &format!("${name}(field, value)"))?;
        Expr::compare(left, comparison, right, span)
    };
    let arithmetic = |arguments, operator| {
        let arguments = at_least(name, arguments, 2, &format!("${name}(a, b)"))?;
        let mut arguments = arguments.into_iter();
        let first = arguments.next().ok_or_else(|| syn::Error::new(span, "needs a number"))?;
        arguments.try_fold(first, |left, right| Expr::arithmetic(left, operator, right, span))
    };
    match text.as_str() {
        "eq" => comparison(arguments, Comparison::Eq),
        "ne" => comparison(arguments, Comparison::Ne),
        "gt" => comparison(arguments, Comparison::Gt),
        "gte" => comparison(arguments, Comparison::Ge),
        "lt" => comparison(arguments, Comparison::Lt),
        "lte" => comparison(arguments, Comparison::Le),
        "and" => Ok(Expr::And(arguments)),
        "or" => Ok(Expr::Or(arguments)),
        "nor" => Ok(Expr::Not(Expr::Or(arguments).into())),
        "not" => exactly(name, arguments, "$not(condition)").map(|[condition]| Expr::Not(condition.into())),
        "exists" => {
            exactly(name, arguments, "$exists(field)").map(|[field]| Expr::Exists(field.into(), true))
        }
        "startsWith" | "endsWith" | "contains" => {
            let [value, part] = exactly(name, arguments, &format!("${name}(field, \"text\")"))?;
            Ok(text_test(value, name, part))
        }
        "regex" => {
            let [value, regex] = exactly(name, arguments, "$regex(field, \"expression\")")?;
            regex_test(value, &regex, span)
        }
        "size" => {
            let [value, size] = exactly(name, arguments, "$size(list, 3)")?;
            size_test(value, &size, span)
        }
        "in" | "nin" | "all" => Err(syn::Error::new(
            span,
            format!("write it as a test of a field: `{{ field: {{ ${name}: [..] }} }}`"),
        )),
        "add" => arithmetic(arguments, Arithmetic::Add),
        "subtract" => arithmetic(arguments, Arithmetic::Subtract),
        "multiply" => arithmetic(arguments, Arithmetic::Multiply),
        "divide" => arithmetic(arguments, Arithmetic::Divide),
        "mod" => arithmetic(arguments, Arithmetic::Remainder),
        "cond" => {
            let [condition, value, otherwise] = exactly(name, arguments, "$cond(condition, then, else)")?;
            Ok(Expr::Cond(condition.into(), value.into(), otherwise.into(), span))
        }
        "coalesce" => Ok(Expr::Coalesce(at_least(name, arguments, 2, "$coalesce(field, otherwise)")?, span)),
        "concat" => Ok(Expr::Concat(at_least(name, arguments, 2, "$concat(a, b)")?)),
        "lower" => exactly(name, arguments, "$lower(text)")
            .map(|[value]| Expr::TextFunction("lower", value.into(), span)),
        "upper" => exactly(name, arguments, "$upper(text)")
            .map(|[value]| Expr::TextFunction("upper", value.into(), span)),
        "length" => exactly(name, arguments, "$length(text)")
            .map(|[value]| Expr::TextFunction("length", value.into(), span)),
        _ => Err(unknown_operator(name)),
    }
}

pub(crate) fn text_test(value: Expr, name: &Ident, part: Expr) -> Expr {
    let method =
        TEXT_TESTS.iter().find(|(operator, _)| name == operator).map_or("contains", |(_, method)| method);
    Expr::TextTest(value.into(), method, part.into(), name.span())
}

pub(crate) fn regex_test(value: Expr, regex: &Expr, span: Span) -> Result<Expr> {
    let Some(Constant::Text(regex)) = regex.constant() else {
        return Err(syn::Error::new(span, "`$regex` needs its expression as a text: `{ $regex: \"^5..\" }`"));
    };
    if let Err(error) = regex_syntax::parse(&regex.value()) {
        return Err(syn::Error::new(
            regex.span(),
            format!("invalid regular expression: {}", last_line(&error)),
        ));
    }
    Ok(Expr::Regex(value.into(), regex.clone()))
}

/// `regex-syntax` draws the expression with a mark under the mistake; what went wrong is its last line.
fn last_line(error: &regex_syntax::Error) -> String {
    let text = error.to_string();
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

pub(crate) fn size_test(value: Expr, size: &Expr, span: Span) -> Result<Expr> {
    match size.constant() {
        Some(Constant::Int { negative: false, literal }) if literal.base10_parse::<u32>().is_ok() => {
            Ok(Expr::Size(value.into(), literal.clone()))
        }
        _ => Err(syn::Error::new(span, "`$size` needs a number of elements: `{ $size: 3 }`")),
    }
}

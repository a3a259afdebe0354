//! Expressions: paths, literals, infix operators and `$operators` in both spellings.

use super::aggregates::AGGREGATES;
use super::filter;
use crate::errors::{parse_all, split};
use crate::names::nearest;
use proc_macro2::{Span, TokenStream};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{Ident, Lit, LitBool, LitInt, LitStr, Result, Token, braced, bracketed, parenthesized, token};

/// One step of a path.
#[derive(Clone)]
pub(crate) enum Step {
    Field(Ident),
    At(Lit),
}

/// `event.request.url`, `exceptions[0].name`, `tags["tier"]`.
#[derive(Clone)]
pub(crate) struct FieldPath(pub(crate) Vec<Step>);

/// A constant.
#[derive(Clone)]
pub(crate) enum Constant {
    Null(Span),
    Bool(LitBool),
    Text(LitStr),
    Int { negative: bool, literal: LitInt },
    Float { negative: bool, literal: syn::LitFloat },
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// Tests of a text against a text, named as the methods of `Expr`.
pub(crate) const TEXT_TESTS: [(&str, &str); 3] =
    [("startsWith", "starts_with"), ("endsWith", "ends_with"), ("contains", "contains")];

#[derive(Clone)]
pub(crate) enum Expr {
    Path(FieldPath),
    Constant(Constant),
    /// Several tests of one value, in which it is [`Expr::Bound`].
    Tests(Box<Expr>, Box<Expr>),
    Bound,
    Compare(Box<Expr>, Comparison, Box<Expr>, Span),
    In {
        value: Box<Expr>,
        list: Vec<Constant>,
        negated: bool,
    },
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Exists(Box<Expr>, bool),
    /// A method of `Expr` that tests a text against a text.
    TextTest(Box<Expr>, &'static str, Box<Expr>, Span),
    Regex(Box<Expr>, LitStr),
    Size(Box<Expr>, LitInt),
    All {
        value: Box<Expr>,
        list: Vec<Constant>,
    },
    Arithmetic(Box<Expr>, Arithmetic, Box<Expr>, Span),
    Negate(Box<Expr>),
    Cond(Box<Expr>, Box<Expr>, Box<Expr>, Span),
    Coalesce(Vec<Expr>, Span),
    Concat(Vec<Expr>),
    /// `lower`, `upper` or `length`.
    TextFunction(&'static str, Box<Expr>, Span),
    Truncate(Ident, Box<Expr>),
    /// A key is one of a collection's, of a row for which a condition holds.
    InMembers {
        value: Box<Expr>,
        members: syn::Path,
        condition: Option<Box<Expr>>,
        negated: bool,
        span: Span,
    },
    /// The name of the source that the row came from.
    Source(Span),
}

pub(crate) const UNITS: [&str; 7] = ["minute", "hour", "day", "week", "month", "quarter", "year"];

/// Operators that stand before their arguments: `$lower(x)` or `{ $lower: x }`.
const OPERATORS: [&str; 31] = [
    "eq",
    "ne",
    "gt",
    "gte",
    "lt",
    "lte",
    "in",
    "nin",
    "exists",
    "and",
    "or",
    "nor",
    "not",
    "startsWith",
    "endsWith",
    "contains",
    "regex",
    "size",
    "all",
    "add",
    "subtract",
    "multiply",
    "divide",
    "mod",
    "cond",
    "switch",
    "coalesce",
    "lower",
    "upper",
    "length",
    "concat",
];

/// Parts of the language that are designed and not built.
pub(crate) const PLANNED: [&str; 35] = [
    "partitionBy",
    "orderBy",
    "limit",
    "sealAfter",
    "backend",
    "ingest",
    "hash",
    "bucket",
    "split",
    "substr",
    "cast",
    "host",
    "pathname",
    "elemMatch",
    "mod",
    "dayOfWeek",
    "hourOfDay",
    "year",
    "month",
    "day",
    "hour",
    "minute",
    "second",
    "trim",
    "abs",
    "round",
    "floor",
    "ceil",
    "sqrt",
    "if",
    "ifNull",
    "dateTrunc",
    "trunc",
    "toString",
    "toDate",
];

/// The error of an operator that does not exist or is not built.
pub(crate) fn unknown_operator(name: &Ident) -> syn::Error {
    let found = name.to_string();
    if AGGREGATES.iter().any(|aggregate| aggregate.name == found) {
        return syn::Error::new(
            name.span(),
            format!("`${found}` is an aggregate: it can only be the value of a column in `$compute`"),
        );
    }
    if PLANNED.contains(&found.as_str()) {
        return not_supported(name, "operators", &OPERATORS);
    }
    match nearest(&found, OPERATORS) {
        Some(near) => {
            syn::Error::new(name.span(), format!("unknown operator `${found}`, did you mean `${near}`?"))
        }
        None => syn::Error::new(
            name.span(),
            format!("unknown operator `${found}`, expected one of {}", dollars(&OPERATORS)),
        ),
    }
}

/// The error of a part of the language that is not built.
pub(crate) fn not_supported(name: &Ident, what: &str, supported: &[&str]) -> syn::Error {
    syn::Error::new(
        name.span(),
        format!("`${name}` is not supported yet; supported {what}: {}", dollars(supported)),
    )
}

pub(crate) fn dollars(names: &[&str]) -> String {
    names.iter().map(|name| format!("${name}")).collect::<Vec<_>>().join(", ")
}

/// `$name`.
pub(crate) fn dollar(input: ParseStream) -> Result<Ident> {
    input.parse::<Token![$]>()?;
    input.call(Ident::parse_any)
}

impl FieldPath {
    pub(crate) fn span(&self) -> Span {
        match self.0.last() {
            Some(Step::Field(name)) => name.span(),
            Some(Step::At(position)) => position.span(),
            None => Span::call_site(),
        }
    }

    /// The path as the user wrote it.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        for step in &self.0 {
            match step {
                Step::Field(name) if out.is_empty() => out += &name.unraw().to_string(),
                Step::Field(name) => out += &format!(".{}", name.unraw()),
                Step::At(Lit::Str(key)) => out += &format!("[{:?}]", key.value()),
                Step::At(Lit::Int(position)) => out += &format!("[{}]", position.base10_digits()),
                Step::At(_) => out += "[?]",
            }
        }
        out
    }

    /// The field that a column is named after when it has no name of its own.
    pub(crate) fn last_field(&self) -> Option<&Ident> {
        match self.0.last() {
            Some(Step::Field(name)) => Some(name),
            _ => None,
        }
    }
}

/// A field named as a keyword, `event.type`, which Rust writes `event.r#type`.
fn raw(name: Ident) -> Ident {
    let text = name.to_string();
    let cannot_be_raw = ["self", "Self", "super", "crate", "_"].contains(&text.as_str());
    if cannot_be_raw || syn::parse_str::<Ident>(&text).is_ok() {
        name
    } else {
        Ident::new_raw(&text, name.span())
    }
}

impl Parse for FieldPath {
    fn parse(input: ParseStream) -> Result<Self> {
        let mut steps = vec![Step::Field(input.parse()?)];
        loop {
            if input.peek(Token![.]) {
                let dot = input.parse::<Token![.]>()?;
                // `event.` while typing: keep expanding, so that the editor can complete it.
                let next = if input.peek(Ident::peek_any) {
                    raw(input.call(Ident::parse_any)?)
                } else {
                    Ident::new("__", dot.span)
                };
                steps.push(Step::Field(next));
            } else if input.peek(token::Bracket) {
                let position;
                bracketed!(position in input);
                let literal: Lit = position.parse().map_err(|error| {
                    syn::Error::new(
                        error.span(),
                        "expected a position from zero (`list[0]`) or a key (`map[\"key\"]`)",
                    )
                })?;
                if !position.is_empty() || !matches!(literal, Lit::Int(_) | Lit::Str(_)) {
                    return Err(syn::Error::new(
                        literal.span(),
                        "expected a position from zero (`list[0]`) or a key (`map[\"key\"]`)",
                    ));
                }
                steps.push(Step::At(literal));
            } else {
                return Ok(FieldPath(steps));
            }
        }
    }
}

impl Constant {
    pub(crate) fn span(&self) -> Span {
        match self {
            Constant::Null(span) => *span,
            Constant::Bool(literal) => literal.span,
            Constant::Text(literal) => literal.span(),
            Constant::Int { literal, .. } => literal.span(),
            Constant::Float { literal, .. } => literal.span(),
        }
    }

    fn is_zero(&self) -> bool {
        match self {
            Constant::Int { literal, .. } => literal.base10_parse::<u64>().is_ok_and(|value| value == 0),
            Constant::Float { literal, .. } => literal.base10_parse::<f64>().is_ok_and(|value| value == 0.0),
            _ => false,
        }
    }

    fn from_literal(literal: Lit, negative: bool) -> Result<Self> {
        match literal {
            Lit::Int(literal) => {
                let in_range = if negative {
                    literal.base10_parse::<u64>().is_ok_and(|value| value <= i64::MIN.unsigned_abs())
                } else {
                    literal.base10_parse::<u64>().is_ok()
                };
                if !in_range {
                    return Err(syn::Error::new(literal.span(), "this number does not fit into 64 bits"));
                }
                if !literal.suffix().is_empty() {
                    return Err(syn::Error::new(
                        literal.span(),
                        "write the number without a type: it takes the field's",
                    ));
                }
                Ok(Constant::Int { negative, literal })
            }
            Lit::Float(literal) if literal.suffix().is_empty() => Ok(Constant::Float { negative, literal }),
            Lit::Str(literal) if !negative => Ok(Constant::Text(literal)),
            Lit::Bool(literal) if !negative => Ok(Constant::Bool(literal)),
            other => {
                Err(syn::Error::new(other.span(), "expected a number, a text, `true`, `false` or `null`"))
            }
        }
    }
}

impl Parse for Constant {
    fn parse(input: ParseStream) -> Result<Self> {
        let negative = input.parse::<Option<Token![-]>>()?.is_some();
        if !negative && input.peek(Ident) {
            let name: Ident = input.parse()?;
            if name == "null" {
                return Ok(Constant::Null(name.span()));
            }
            return Err(syn::Error::new(
                name.span(),
                "expected a constant: a number, a text, `true`, `false` or `null`",
            ));
        }
        let literal: Lit = input.parse().map_err(|error| {
            syn::Error::new(error.span(), "expected a constant: a number, a text, `true`, `false` or `null`")
        })?;
        Self::from_literal(literal, negative)
    }
}

impl Expr {
    pub(crate) fn constant(&self) -> Option<&Constant> {
        match self {
            Expr::Constant(constant) => Some(constant),
            _ => None,
        }
    }

    /// Compares two values. A constant goes to the right, `null` becomes a test for existence.
    pub(crate) fn compare(left: Expr, comparison: Comparison, right: Expr, span: Span) -> Result<Expr> {
        match (left, right) {
            (Expr::Constant(left), Expr::Constant(_)) => {
                Err(syn::Error::new(left.span(), "this compares two constants; one side must be a field"))
            }
            (left @ Expr::Constant(_), right) => {
                let swapped = match comparison {
                    Comparison::Lt => Comparison::Gt,
                    Comparison::Le => Comparison::Ge,
                    Comparison::Gt => Comparison::Lt,
                    Comparison::Ge => Comparison::Le,
                    same => same,
                };
                Self::compare(right, swapped, left, span)
            }
            (left, Expr::Constant(Constant::Null(null))) => match comparison {
                Comparison::Eq => Ok(Expr::Exists(left.into(), false)),
                Comparison::Ne => Ok(Expr::Exists(left.into(), true)),
                _ => Err(syn::Error::new(null, "`null` has no order; test with `== null` or `$exists`")),
            },
            (left, right) => Ok(Expr::Compare(left.into(), comparison, right.into(), span)),
        }
    }

    fn arithmetic(left: Expr, operator: Arithmetic, right: Expr, span: Span) -> Result<Expr> {
        for side in [&left, &right] {
            if let Some(constant @ (Constant::Null(_) | Constant::Bool(_) | Constant::Text(_))) =
                side.constant()
            {
                return Err(syn::Error::new(constant.span(), "only numbers can be calculated with"));
            }
        }
        if let (Some(left), Some(_)) = (left.constant(), right.constant()) {
            return Err(syn::Error::new(
                left.span(),
                "this calculates with two constants; write their result",
            ));
        }
        if let (Arithmetic::Divide | Arithmetic::Remainder, Some(constant)) = (operator, right.constant())
            && constant.is_zero()
        {
            return Err(syn::Error::new(constant.span(), "this divides by zero"));
        }
        Ok(Expr::Arithmetic(left.into(), operator, right.into(), span))
    }
}

impl Parse for Expr {
    fn parse(input: ParseStream) -> Result<Self> {
        binary(input, 0)
    }
}

enum Infix {
    Or,
    And,
    Compare(Comparison),
    Arithmetic(Arithmetic),
}

/// The next infix operator, its level of precedence and its number of characters.
fn infix(input: ParseStream) -> Option<(Infix, u8, usize)> {
    use Arithmetic::{Add, Divide, Multiply, Remainder, Subtract};
    use Comparison::{Eq, Ge, Gt, Le, Lt, Ne};
    Some(if input.peek(Token![||]) {
        (Infix::Or, 1, 2)
    } else if input.peek(Token![&&]) {
        (Infix::And, 2, 2)
    } else if input.peek(Token![==]) {
        (Infix::Compare(Eq), 3, 2)
    } else if input.peek(Token![!=]) {
        (Infix::Compare(Ne), 3, 2)
    } else if input.peek(Token![>=]) {
        (Infix::Compare(Ge), 3, 2)
    } else if input.peek(Token![<=]) {
        (Infix::Compare(Le), 3, 2)
    } else if input.peek(Token![>]) {
        (Infix::Compare(Gt), 3, 1)
    } else if input.peek(Token![<]) {
        (Infix::Compare(Lt), 3, 1)
    } else if input.peek(Token![+]) {
        (Infix::Arithmetic(Add), 4, 1)
    } else if input.peek(Token![-]) {
        (Infix::Arithmetic(Subtract), 4, 1)
    } else if input.peek(Token![*]) {
        (Infix::Arithmetic(Multiply), 5, 1)
    } else if input.peek(Token![/]) {
        (Infix::Arithmetic(Divide), 5, 1)
    } else if input.peek(Token![%]) {
        (Infix::Arithmetic(Remainder), 5, 1)
    } else {
        return None;
    })
}

fn binary(input: ParseStream, above: u8) -> Result<Expr> {
    let mut left = unary(input)?;
    while let Some((operator, level, width)) = infix(input) {
        if level <= above {
            break;
        }
        let span = input.span();
        for _ in 0..width {
            input.parse::<proc_macro2::Punct>()?;
        }
        let right = binary(input, level)?;
        left = match operator {
            Infix::Or => match left {
                Expr::Or(mut all) => {
                    all.push(right);
                    Expr::Or(all)
                }
                left => Expr::Or(vec![left, right]),
            },
            Infix::And => match left {
                Expr::And(mut all) => {
                    all.push(right);
                    Expr::And(all)
                }
                left => Expr::And(vec![left, right]),
            },
            Infix::Compare(comparison) => Expr::compare(left, comparison, right, span)?,
            Infix::Arithmetic(operator) => Expr::arithmetic(left, operator, right, span)?,
        };
    }
    Ok(left)
}

fn unary(input: ParseStream) -> Result<Expr> {
    if input.peek(Token![!]) {
        input.parse::<Token![!]>()?;
        return Ok(Expr::Not(unary(input)?.into()));
    }
    if input.peek(Token![-]) && !input.peek2(Lit) {
        input.parse::<Token![-]>()?;
        return Ok(Expr::Negate(unary(input)?.into()));
    }
    atom(input)
}

fn atom(input: ParseStream) -> Result<Expr> {
    if input.peek(Token![$]) {
        let name = dollar(input)?;
        if name == "source" && !input.peek(token::Paren) {
            return Ok(Expr::Source(name.span()));
        }
        if name == "switch" {
            let arms;
            braced!(arms in input);
            return switch(&name, arms.parse()?);
        }
        if !input.peek(token::Paren) {
            return Err(syn::Error::new(
                name.span(),
                format!("`${name}` needs its arguments: `${name}(..)`"),
            ));
        }
        let arguments;
        parenthesized!(arguments in input);
        return operator(&name, list(arguments.parse()?)?);
    }
    if input.peek(token::Paren) {
        let inner;
        parenthesized!(inner in input);
        let expr = inner.parse()?;
        return if inner.is_empty() { Ok(expr) } else { Err(inner.error("expected an operator or `)`")) };
    }
    if input.peek(token::Brace) {
        let body;
        braced!(body in input);
        return filter::object(body.parse()?, body.span());
    }
    if input.peek(Lit) || input.peek(Token![-]) {
        return Ok(Expr::Constant(input.parse()?));
    }
    if input.peek(Ident) && !input.peek2(Token![.]) && !input.peek2(token::Bracket) {
        let fork = input.fork();
        if fork.parse::<Ident>()? == "null" {
            return Ok(Expr::Constant(input.parse()?));
        }
    }
    if !input.peek(Ident::peek_any) {
        return Err(input.error("expected a field, a constant or an `$operator`"));
    }
    Ok(Expr::Path(input.parse()?))
}

/// Comma-separated expressions.
pub(crate) fn list(tokens: TokenStream) -> Result<Vec<Expr>> {
    split(tokens).into_iter().map(|part| parse_all(part, Expr::parse)).collect()
}

/// Comma-separated constants.
pub(crate) fn constants(tokens: TokenStream, name: &Ident) -> Result<Vec<Constant>> {
    let list: Vec<_> =
        split(tokens).into_iter().map(|part| parse_all(part, Constant::parse)).collect::<Result<_>>()?;
    if list.is_empty() {
        return Err(syn::Error::new(name.span(), format!("`${name}` needs at least one value")));
    }
    Ok(list)
}

/// `{ condition => value, …, _ => value }`.
fn switch(name: &Ident, tokens: TokenStream) -> Result<Expr> {
    let mut arms = Vec::new();
    let mut otherwise = None;
    for part in split(tokens) {
        parse_all(part, |arm| {
            if arm.peek(Token![_]) {
                arm.parse::<Token![_]>()?;
                arm.parse::<Token![=>]>()?;
                otherwise = Some(arm.parse::<Expr>()?);
            } else {
                let condition: Expr = arm.parse()?;
                arm.parse::<Token![=>]>()?;
                arms.push((condition, arm.parse::<Expr>()?));
            }
            Ok(())
        })?;
    }
    let otherwise = otherwise.ok_or_else(|| {
        syn::Error::new(name.span(), "`$switch` needs a final arm for everything else: `_ => ..`")
    })?;
    Ok(arms.into_iter().rev().fold(otherwise, |otherwise, (condition, value)| {
        Expr::Cond(condition.into(), value.into(), otherwise.into(), name.span())
    }))
}

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

//! The aggregates of `$compute`: their names, their arguments.

use super::constant::Constant;
use super::dollar::{PLANNED, dollar, dollars, not_supported};
use super::expr::Expr;
use crate::errors::{parse_all, split};
use crate::names::nearest;
use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use syn::parse::ParseStream;
use syn::{Attribute, Ident, Result, Token, braced, parenthesized, token};

/// A column of `$compute`.
pub(crate) struct Aggregate {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) name: Ident,
    /// The function's name in `parquedb::__private`.
    pub(crate) function: &'static str,
    pub(crate) span: Span,
    pub(crate) takes: Takes,
    /// Absent for counting rows.
    pub(crate) argument: Option<Expr>,
    /// The second value, or `$orderBy`.
    pub(crate) by: Option<Expr>,
    pub(crate) constants: Vec<Constant>,
    pub(crate) filter: Option<Expr>,
}

/// An aggregate of the language.
pub(crate) struct Known {
    pub(crate) name: &'static str,
    function: &'static str,
    takes: Takes,
}

/// The arguments of an aggregate, in their order.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Takes {
    /// `(x)`
    Value,
    /// `(condition)`
    Condition,
    /// `(x, y)`
    Two,
    /// `(x, $orderBy: t)`
    Ordered,
    /// `(0.95, x)`
    Quantile,
    /// `([0.5, 0.95], x)`
    Quantiles,
    /// `(10, x)`
    Size,
    /// `(x, [0, 10, 100])`
    Bounds,
    /// `(map)`, or `(key, x)`
    Map,
}

const fn known(name: &'static str, function: &'static str, takes: Takes) -> Known {
    Known { name, function, takes }
}

pub(crate) const AGGREGATES: [Known; 29] = [
    known("count", "count", Takes::Value),
    known("countIf", "count_if", Takes::Condition),
    known("sum", "sum", Takes::Value),
    known("avg", "avg", Takes::Value),
    known("min", "min", Takes::Value),
    known("max", "max", Takes::Value),
    known("any", "any_value", Takes::Value),
    known("first", "first", Takes::Ordered),
    known("last", "last", Takes::Ordered),
    known("argMin", "arg_min", Takes::Two),
    known("argMax", "arg_max", Takes::Two),
    known("countDistinct", "count_distinct", Takes::Value),
    known("uniq", "uniq", Takes::Value),
    known("median", "median", Takes::Value),
    known("quantile", "quantile", Takes::Quantile),
    known("quantiles", "quantiles", Takes::Quantiles),
    known("quantileExact", "quantile_exact", Takes::Quantile),
    known("variance", "variance", Takes::Value),
    known("stddev", "stddev", Takes::Value),
    known("corr", "corr", Takes::Two),
    known("topK", "top_k", Takes::Size),
    known("collect", "collect", Takes::Value),
    known("collectSet", "collect_set", Takes::Value),
    known("and", "all_true", Takes::Value),
    known("or", "any_true", Takes::Value),
    known("bitAnd", "bit_and", Takes::Value),
    known("bitOr", "bit_or", Takes::Value),
    known("histogram", "histogram", Takes::Bounds),
    known("sumMap", "sum_map", Takes::Map),
];

impl Takes {
    fn usage(self) -> &'static str {
        match self {
            Takes::Value => "(field)",
            Takes::Condition => "(condition)",
            Takes::Two => "(field, other_field)",
            Takes::Ordered => "(field, $orderBy: other_field)",
            Takes::Quantile => "(0.95, field)",
            Takes::Quantiles => "([0.5, 0.95], field)",
            Takes::Size => "(10, field)",
            Takes::Bounds => "(field, [10, 100])",
            Takes::Map => "(map)` or `$sumMap(key, field)",
        }
    }

    fn count(self) -> usize {
        match self {
            Takes::Value | Takes::Condition | Takes::Ordered => 1,
            _ => 2,
        }
    }
}

/// Whether the name is an aggregate's and no operator's.
pub(crate) fn is_only_an_aggregate(name: &Ident) -> bool {
    name != "and" && name != "or" && AGGREGATES.iter().any(|aggregate| name == aggregate.name)
}

/// `name: $aggregate(..)` or `name: { $aggregate: .. }`.
pub(crate) fn aggregate(input: ParseStream) -> Result<Aggregate> {
    let attributes = input.call(Attribute::parse_outer)?;
    let name: Ident = input.parse()?;
    input.parse::<Token![:]>()?;
    let (operator, arguments) = operator_and_arguments(&name, input)?;
    let Some(known) = AGGREGATES.iter().find(|aggregate| operator == aggregate.name) else {
        return Err(unknown_aggregate(&operator));
    };
    let takes = known.takes;
    let mut parsed = Aggregate {
        attributes,
        name,
        function: known.function,
        span: operator.span(),
        takes,
        argument: None,
        by: None,
        constants: Vec::new(),
        filter: None,
    };
    let (options, mut values): (Vec<_>, Vec<_>) = split(arguments).into_iter().partition(is_option);
    for option in options {
        parse_all(option, |input| parsed.option(&operator, input))?;
    }
    if let [only] = &values[..]
        && takes.count() > 1
        && let Some(list) = bracketed_list(only)
    {
        values = list;
    }
    if operator == "count" && (values.is_empty() || is_star(&values[0])) && values.len() < 2 {
        return Ok(parsed);
    }
    if let Some(star) = values.iter().find(|value| is_star(value)) {
        let span = star.clone().into_iter().next().map_or(operator.span(), |star| star.span());
        return Err(syn::Error::new(span, format!("`*` counts rows; `${operator}` needs a field")));
    }
    if let Some(extra) = values.get(takes.count()) {
        return Err(parsed.extra(&operator, extra));
    }
    if values.is_empty() && takes == Takes::Value {
        return Err(syn::Error::new(
            operator.span(),
            format!("`${operator}` needs a value: `${operator}(field)`"),
        ));
    }
    let is_map = takes == Takes::Map && values.len() == 1;
    if values.len() < takes.count() && !is_map {
        let usage = takes.usage();
        return Err(syn::Error::new(
            operator.span(),
            format!("`${operator}` is written `${operator}{usage}`"),
        ));
    }
    let mut values = values.into_iter();
    let mut next = || values.next().unwrap_or_default();
    match takes {
        Takes::Value | Takes::Condition | Takes::Ordered => parsed.value(&operator, next())?,
        Takes::Map if is_map => parsed.value(&operator, next())?,
        Takes::Map => {
            parsed.function = "sum_by_key";
            parsed.by = Some(value(&operator, next())?);
            parsed.value(&operator, next())?;
        }
        Takes::Two => {
            parsed.value(&operator, next())?;
            parsed.by = Some(value(&operator, next())?);
        }
        Takes::Quantile => {
            parsed.constants = vec![parse_all(next(), quantile)?];
            parsed.value(&operator, next())?;
        }
        Takes::Quantiles => {
            parsed.constants = constants(&operator, next())?
                .into_iter()
                .map(|part| parse_all(part, quantile))
                .collect::<Result<_>>()?;
            parsed.value(&operator, next())?;
        }
        Takes::Size => {
            parsed.constants = vec![parse_all(next(), size)?];
            parsed.value(&operator, next())?;
        }
        Takes::Bounds => {
            parsed.value(&operator, next())?;
            parsed.constants = constants(&operator, next())?
                .into_iter()
                .map(|part| parse_all(part, |input| input.parse()))
                .collect::<Result<_>>()?;
            ascending(&parsed.constants)?;
        }
    }
    if takes == Takes::Ordered && parsed.by.is_none() {
        return Err(syn::Error::new(
            operator.span(),
            format!(
                "`${operator}` needs an order, `${operator}(field, $orderBy: other_field)`: which row came first \
                 to the database depends on how batches arrived"
            ),
        ));
    }
    Ok(parsed)
}

fn operator_and_arguments(name: &Ident, input: ParseStream) -> Result<(Ident, TokenStream)> {
    if input.peek(token::Brace) {
        let body;
        braced!(body in input);
        if !body.peek(Token![$]) {
            return Err(body.error("expected an aggregate, as in `{ $avg: latency }`"));
        }
        let operator = dollar(&body)?;
        body.parse::<Token![:]>()?;
        Ok((operator, body.parse()?))
    } else if input.peek(Token![$]) {
        let operator = dollar(input)?;
        if operator == "count" && input.is_empty() {
            return Ok((operator, TokenStream::new()));
        }
        if !input.peek(token::Paren) {
            return Err(syn::Error::new(
                operator.span(),
                format!("`${operator}` needs its argument: `${operator}(..)`"),
            ));
        }
        let arguments;
        parenthesized!(arguments in input);
        Ok((operator, arguments.parse()?))
    } else {
        Err(input
            .error(format!("`{name}` needs an aggregate, as in `{{ $avg: latency }}` or `$avg(latency)`")))
    }
}

impl Aggregate {
    /// The expressions over the rows of a group.
    pub(crate) fn expressions(&self) -> impl Iterator<Item = &Expr> {
        self.argument.iter().chain(&self.by).chain(&self.filter)
    }

    /// `$filter: condition` or `$orderBy: field`.
    fn option(&mut self, operator: &Ident, input: ParseStream) -> Result<()> {
        let option = dollar(input)?;
        input.parse::<Token![:]>()?;
        if option == "filter" {
            self.filter = Some(input.parse()?);
        } else if option == "orderBy" && self.takes == Takes::Ordered {
            self.by = Some(input.parse()?);
        } else if option == "orderBy" {
            return Err(syn::Error::new(
                option.span(),
                format!("`${operator}` takes no `$orderBy`; `$first` and `$last` do"),
            ));
        } else if PLANNED.contains(&option.to_string().as_str()) {
            return Err(not_supported(&option, "inside an aggregate", &["filter", "orderBy"]));
        } else {
            return Err(syn::Error::new(
                option.span(),
                format!("unknown option `${option}`, expected `$filter`"),
            ));
        }
        Ok(())
    }

    fn value(&mut self, operator: &Ident, tokens: TokenStream) -> Result<()> {
        self.argument = Some(value(operator, tokens)?);
        Ok(())
    }

    /// The error of a value too many.
    fn extra(&self, operator: &Ident, extra: &TokenStream) -> syn::Error {
        let span = extra.clone().into_iter().next().map_or(operator.span(), |token| token.span());
        let message = match self.takes {
            Takes::Value => format!("`${operator}` takes one value, and `$filter: ..` after it"),
            takes => format!("`${operator}` is written `${operator}{}`", takes.usage()),
        };
        syn::Error::new(span, message)
    }
}

fn value(operator: &Ident, tokens: TokenStream) -> Result<Expr> {
    let value = parse_all(tokens, |input| input.parse::<Expr>())?;
    if let Some(constant) = value.constant() {
        let number = matches!(constant, Constant::Int { .. } | Constant::Float { .. });
        if operator != "sum" || !number {
            return Err(syn::Error::new(
                constant.span(),
                format!("`${operator}` of a constant says nothing; give it a field"),
            ));
        }
    }
    Ok(value)
}

/// A part of one.
fn quantile(input: ParseStream) -> Result<Constant> {
    let constant: Constant = input.parse()?;
    match number(&constant) {
        Some(quantile) if (0.0..=1.0).contains(&quantile) => Ok(constant),
        _ => Err(syn::Error::new(constant.span(), "a quantile is a number from 0.0 to 1.0")),
    }
}

fn size(input: ParseStream) -> Result<Constant> {
    let constant: Constant = input.parse()?;
    match &constant {
        Constant::Int { negative: false, literal }
            if literal.base10_parse::<u32>().is_ok_and(|size| size > 0) =>
        {
            Ok(constant)
        }
        _ => Err(syn::Error::new(constant.span(), "expected how many values: a number above zero")),
    }
}

fn number(constant: &Constant) -> Option<f64> {
    let (negative, value) = match constant {
        Constant::Int { negative, literal } => (negative, literal.base10_parse::<f64>().ok()?),
        Constant::Float { negative, literal } => (negative, literal.base10_parse::<f64>().ok()?),
        _ => return None,
    };
    Some(if *negative { -value } else { value })
}

/// Bounds that are numbers rise.
fn ascending(bounds: &[Constant]) -> Result<()> {
    for pair in bounds.windows(2) {
        if let (Some(before), Some(after)) = (number(&pair[0]), number(&pair[1]))
            && before >= after
        {
            return Err(syn::Error::new(
                pair[1].span(),
                "the bounds of a `$histogram` rise from each to the next",
            ));
        }
    }
    match bounds.iter().find(|bound| matches!(bound, Constant::Null(_))) {
        Some(null) => Err(syn::Error::new(null.span(), "a bound is not null")),
        None => Ok(()),
    }
}

/// The parts of a list in brackets.
fn constants(operator: &Ident, tokens: TokenStream) -> Result<Vec<TokenStream>> {
    match bracketed_list(&tokens) {
        Some(list) if !list.is_empty() => Ok(list),
        _ => {
            let span = tokens.into_iter().next().map_or(operator.span(), |token| token.span());
            Err(syn::Error::new(span, "expected a list of constants: `[..]`"))
        }
    }
}

fn bracketed_list(tokens: &TokenStream) -> Option<Vec<TokenStream>> {
    let mut tokens = tokens.clone().into_iter();
    match (tokens.next(), tokens.next()) {
        (Some(TokenTree::Group(group)), None) if group.delimiter() == Delimiter::Bracket => {
            Some(split(group.stream()))
        }
        _ => None,
    }
}

/// `$name: ..`
fn is_option(tokens: &TokenStream) -> bool {
    let mut tokens = tokens.clone().into_iter();
    let is_punct = |token: Option<TokenTree>, character| matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == character);
    is_punct(tokens.next(), '$')
        && matches!(tokens.next(), Some(TokenTree::Ident(_)))
        && is_punct(tokens.next(), ':')
}

fn is_star(tokens: &TokenStream) -> bool {
    let mut tokens = tokens.clone().into_iter();
    matches!((tokens.next(), tokens.next()), (Some(TokenTree::Punct(punct)), None) if punct.as_char() == '*')
}

fn unknown_aggregate(operator: &Ident) -> syn::Error {
    let names: Vec<&str> = AGGREGATES.iter().map(|aggregate| aggregate.name).collect();
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

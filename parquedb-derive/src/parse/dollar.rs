//! Names with a `$`: those that are known, and what is said of others.

use super::aggregates::AGGREGATES;
use crate::names::nearest;
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Ident, Result, Token};

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

//! The aggregates, each with what it must give: SQL, or a plain computation over the values of a group.

use super::fold::{self, Fold};
use super::value::Type;
use parquedb::declare::plan::Aggregate;

/// Which values an aggregate takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Takes {
    Nothing,
    Any,
    /// Integers, or floats of which sums are exact.
    Number,
    Of(&'static Type),
    /// Any value, and another one to order by.
    Ordered,
    /// Two numbers.
    TwoNumbers,
    /// A map from text to integers.
    Sums,
    /// An integer, and a text to add it by.
    ByKey,
}

/// What an aggregate gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Gives {
    Count,
    /// What it takes; zero of nothing.
    SameOrZero,
    /// What it takes; null of nothing.
    SameOrNull,
    /// A float; null of nothing.
    Float,
    Bool,
    Int,
    /// A list of what it takes.
    List,
    Counts,
    /// A list of floats; null of nothing.
    Floats,
    Sums,
}

/// How it is computed: `{x}` is the value, or null where an inner filter leaves the row out.
#[derive(Clone, Copy)]
pub(super) enum Truth {
    Sql(&'static str),
    /// With floats, of which NaN is the greatest.
    SqlOfFloats(&'static str, &'static str),
    /// Over the rows of a group that the inner filter leaves.
    Fold(Fold),
    /// The same; the result may differ by so much of itself, and by so much.
    Near(Fold, f64, f64),
    NearSql(&'static str, f64, f64),
}

pub(super) struct Kind {
    /// As in a definition's JSON form.
    pub(super) name: &'static str,
    pub(super) parameters: &'static str,
    pub(super) takes: Takes,
    pub(super) gives: Gives,
    pub(super) truth: Truth,
}

const fn kind(name: &'static str, takes: Takes, gives: Gives, truth: Truth) -> Kind {
    Kind { name, parameters: "[]", takes, gives, truth }
}

const fn with(
    name: &'static str,
    parameters: &'static str,
    takes: Takes,
    gives: Gives,
    truth: Truth,
) -> Kind {
    Kind { name, parameters, takes, gives, truth }
}

const LEAST_FLOAT: &str = "coalesce(min({x}) FILTER (WHERE NOT isnan({x})), min({x}))";
const GREATEST_FLOAT: &str =
    "CASE WHEN count(*) FILTER (WHERE isnan({x})) > 0 THEN 'NaN'::double ELSE max({x}) END";

#[rustfmt::skip]
const KINDS: &[Kind] = &[
    kind("count", Takes::Nothing, Gives::Count, Truth::Sql("count({x})")),
    kind("count", Takes::Any, Gives::Count, Truth::Sql("count({x})")),
    kind("count_distinct", Takes::Any, Gives::Count, Truth::Sql("count(DISTINCT {x})")),
    kind("sum", Takes::Number, Gives::SameOrZero,
        Truth::SqlOfFloats("coalesce(sum({x}), 0)", "coalesce(sum({x}), 0.0) + 0.0")),
    kind("avg", Takes::Number, Gives::Float, Truth::Sql("avg({x}) + 0.0")),
    kind("min", Takes::Any, Gives::SameOrNull, Truth::SqlOfFloats("min({x})", LEAST_FLOAT)),
    kind("max", Takes::Any, Gives::SameOrNull, Truth::SqlOfFloats("max({x})", GREATEST_FLOAT)),
    kind("any", Takes::Any, Gives::SameOrNull, Truth::SqlOfFloats("min({x})", LEAST_FLOAT)),
    kind("and", Takes::Of(&Type::Bool), Gives::Bool, Truth::Sql("bool_and({x})")),
    kind("or", Takes::Of(&Type::Bool), Gives::Bool, Truth::Sql("bool_or({x})")),
    kind("bit_and", Takes::Of(&Type::Int), Gives::Int, Truth::Sql("bit_and({x})")),
    kind("bit_or", Takes::Of(&Type::Int), Gives::Int, Truth::Sql("bit_or({x})")),
    kind("variance", Takes::Number, Gives::Float, Truth::Near(fold::variance, 1e-9, 1e-9)),
    kind("stddev", Takes::Number, Gives::Float, Truth::Near(fold::stddev, 1e-9, 1e-9)),
    kind("first", Takes::Ordered, Gives::SameOrNull, Truth::Fold(fold::first)),
    kind("last", Takes::Ordered, Gives::SameOrNull, Truth::Fold(fold::last)),
    kind("arg_min", Takes::Ordered, Gives::SameOrNull, Truth::Fold(fold::arg_min)),
    kind("arg_max", Takes::Ordered, Gives::SameOrNull, Truth::Fold(fold::arg_max)),
    kind("uniq", Takes::Any, Gives::Count, Truth::NearSql("count(DISTINCT {x})", 0.05, 1.0)),
    with("quantile", "[{\"float\":0.5}]", Takes::Number, Gives::Float, Truth::Near(fold::middle_float, 0.01, 0.0)),
    with("quantiles", "[{\"float\":0.5},{\"float\":0.9}]", Takes::Number, Gives::Floats,
        Truth::Near(fold::two_quantiles, 0.01, 0.0)),
    kind("corr", Takes::TwoNumbers, Gives::Float, Truth::Near(fold::correlation, 1e-9, 1e-9)),
    kind("sum_map", Takes::Sums, Gives::Sums, Truth::Fold(fold::sums_by_key)),
    kind("sum_map", Takes::ByKey, Gives::Sums, Truth::Fold(fold::sums_by_key)),
    with("quantile_exact", "[{\"float\":0.5}]", Takes::Any, Gives::SameOrNull, Truth::Fold(fold::middle)),
    with("top_k", "[{\"int\":2}]", Takes::Any, Gives::List, Truth::Fold(fold::top_two)),
    kind("collect", Takes::Any, Gives::List, Truth::Fold(fold::collect)),
    kind("collect_set", Takes::Any, Gives::List, Truth::Fold(fold::collect_set)),
    with("histogram", "[{\"int\":0},{\"int\":4}]", Takes::Of(&Type::Int), Gives::Counts, Truth::Fold(fold::histogram)),
];

/// The aggregates that the library has.
pub(super) fn kinds() -> Vec<&'static Kind> {
    let known = |name: &str| serde_json::from_value::<Aggregate>(serde_json::json!(name)).is_ok();
    KINDS.iter().filter(|kind| known(kind.name)).collect()
}

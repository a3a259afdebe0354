//! Typed aggregates: what `$compute` builds.

use super::expr::{Chosen, Expr, Mapped};
use super::node::{Literal, Node};
use super::operand::{Boolean, Integer, Numeric, Ordered, Predicate, Summand, Summands, Text};
use super::plan::{Aggregate, AggregateColumn};
use super::shape::Shape;
use std::collections::BTreeMap;
use std::marker::PhantomData;

/// An aggregate over the rows of a group that yields a `T`.
#[derive(Debug, Clone)]
pub struct Aggregated<T> {
    aggregate: Aggregate,
    argument: Option<Node>,
    by: Option<Node>,
    parameters: Vec<Literal>,
    filter: Option<Node>,
    of: PhantomData<fn() -> T>,
}

impl<T> Aggregated<T> {
    fn new(aggregate: Aggregate, argument: Option<Node>) -> Self {
        Self { aggregate, argument, by: None, parameters: Vec::new(), filter: None, of: PhantomData }
    }

    fn of<A>(aggregate: Aggregate, value: &Expr<A>) -> Self {
        Self::new(aggregate, Some(value.clone().into_node()))
    }

    fn by<B>(self, by: &Expr<B>) -> Self {
        Self { by: Some(by.clone().into_node()), ..self }
    }

    fn with(self, parameters: Vec<Literal>) -> Self {
        Self { parameters, ..self }
    }

    /// Over those rows of the group for which the condition holds.
    #[must_use]
    pub fn filtered(self, condition: impl Predicate) -> Self {
        let condition = condition.node();
        let filter = match self.filter {
            Some(filter) => Node::Call(super::node::Function::And, vec![filter, condition]),
            None => condition,
        };
        Self { filter: Some(filter), ..self }
    }

    /// Null when there is no value to aggregate.
    #[must_use]
    pub fn optional(self) -> Aggregated<T::Optional>
    where
        T: Shape,
    {
        let Self { aggregate, argument, by, parameters, filter, .. } = self;
        Aggregated { aggregate, argument, by, parameters, filter, of: PhantomData }
    }

    /// The aggregate as the column `name`.
    #[must_use]
    pub fn into_column(self, name: &str) -> AggregateColumn {
        let Self { aggregate, argument, by, parameters, filter, .. } = self;
        AggregateColumn { name: name.to_owned(), aggregate, argument, by, parameters, filter }
    }
}

/// Number of rows.
#[must_use]
pub fn count_rows() -> Aggregated<u64> {
    Aggregated::new(Aggregate::Count, None)
}

/// Number of rows for which the condition holds.
#[must_use]
pub fn count_if(condition: impl Predicate) -> Aggregated<u64> {
    count_rows().filtered(condition)
}

/// Number of non-null values.
#[must_use]
pub fn count<T: Shape>(value: &Expr<T>) -> Aggregated<u64> {
    Aggregated::of(Aggregate::Count, value)
}

/// Number of distinct non-null values.
#[must_use]
pub fn count_distinct<T: Shape>(value: &Expr<T>) -> Aggregated<u64> {
    Aggregated::of(Aggregate::CountDistinct, value)
}

/// Estimated number of distinct non-null values.
#[must_use]
pub fn uniq<T: Ordered>(value: &Expr<T>) -> Aggregated<u64> {
    Aggregated::of(Aggregate::Uniq, value)
}

/// Sum of the non-null values; zero of none.
#[must_use]
pub fn sum<T: Numeric>(value: &Expr<T>) -> Aggregated<T::Sum> {
    Aggregated::of(Aggregate::Sum, value)
}

/// Mean of the non-null values.
#[must_use]
pub fn avg<T: Numeric>(value: &Expr<T>) -> Aggregated<T::Mean> {
    Aggregated::of(Aggregate::Avg, value)
}

/// Sample variance of the non-null values.
#[must_use]
pub fn variance<T: Numeric>(value: &Expr<T>) -> Aggregated<Option<f64>> {
    Aggregated::of(Aggregate::Variance, value)
}

/// Sample standard deviation of the non-null values.
#[must_use]
pub fn stddev<T: Numeric>(value: &Expr<T>) -> Aggregated<Option<f64>> {
    Aggregated::of(Aggregate::Stddev, value)
}

/// Correlation of the values of the rows that have both.
#[must_use]
pub fn corr<T: Numeric, U: Numeric>(value: &Expr<T>, with: &Expr<U>) -> Aggregated<Option<f64>> {
    Aggregated::of(Aggregate::Corr, value).by(with)
}

/// Least non-null value.
#[must_use]
pub fn min<T: Ordered>(value: &Expr<T>) -> Aggregated<T> {
    Aggregated::of(Aggregate::Min, value)
}

/// Greatest non-null value.
#[must_use]
pub fn max<T: Ordered>(value: &Expr<T>) -> Aggregated<T> {
    Aggregated::of(Aggregate::Max, value)
}

/// Some non-null value: the least, because that one depends on nothing but the rows.
#[must_use]
pub fn any_value<T: Ordered>(value: &Expr<T>) -> Aggregated<T> {
    Aggregated::of(Aggregate::Any, value)
}

/// The value of the row with the least order key.
#[must_use]
pub fn first<T: Ordered, B: Ordered>(value: &Expr<T>, by: &Expr<B>) -> Aggregated<T> {
    Aggregated::of(Aggregate::First, value).by(by)
}

/// The value of the row with the greatest order key.
#[must_use]
pub fn last<T: Ordered, B: Ordered>(value: &Expr<T>, by: &Expr<B>) -> Aggregated<T> {
    Aggregated::of(Aggregate::Last, value).by(by)
}

/// The value where another is least, of the rows that have both.
#[must_use]
pub fn arg_min<T: Ordered, B: Ordered>(value: &Expr<T>, by: &Expr<B>) -> Aggregated<Chosen<T, B>> {
    Aggregated::of(Aggregate::ArgMin, value).by(by)
}

/// The value where another is greatest, of the rows that have both.
#[must_use]
pub fn arg_max<T: Ordered, B: Ordered>(value: &Expr<T>, by: &Expr<B>) -> Aggregated<Chosen<T, B>> {
    Aggregated::of(Aggregate::ArgMax, value).by(by)
}

/// A quantile within one percent.
#[must_use]
pub fn quantile<T: Numeric>(quantile: f64, value: &Expr<T>) -> Aggregated<T::Mean> {
    Aggregated::of(Aggregate::Quantile, value).with(vec![Literal::Float(quantile)])
}

/// The middle value within one percent.
#[must_use]
pub fn median<T: Numeric>(value: &Expr<T>) -> Aggregated<T::Mean> {
    quantile(0.5, value)
}

/// Several quantiles within one percent.
#[must_use]
pub fn quantiles<T: Numeric, const N: usize>(
    quantiles: [f64; N],
    value: &Expr<T>,
) -> Aggregated<Mapped<T, Vec<f64>>> {
    Aggregated::of(Aggregate::Quantiles, value).with(quantiles.map(Literal::Float).into())
}

/// A quantile exactly: one of the values.
#[must_use]
pub fn quantile_exact<T: Ordered>(quantile: f64, value: &Expr<T>) -> Aggregated<T> {
    Aggregated::of(Aggregate::QuantileExact, value).with(vec![Literal::Float(quantile)])
}

/// The `size` values that occur most often, that first.
#[must_use]
pub fn top_k<T: Ordered>(size: u32, value: &Expr<T>) -> Aggregated<Vec<T::Bare>> {
    Aggregated::of(Aggregate::TopK, value).with(vec![Literal::Int(i64::from(size))])
}

/// All non-null values in order.
#[must_use]
pub fn collect<T: Ordered>(value: &Expr<T>) -> Aggregated<Vec<T::Bare>> {
    Aggregated::of(Aggregate::Collect, value)
}

/// The distinct non-null values in order.
#[must_use]
pub fn collect_set<T: Ordered>(value: &Expr<T>) -> Aggregated<Vec<T::Bare>> {
    Aggregated::of(Aggregate::CollectSet, value)
}

/// Whether all non-null values are true.
#[must_use]
pub fn all_true<T: Boolean>(value: &Expr<T>) -> Aggregated<T> {
    Aggregated::of(Aggregate::And, value)
}

/// Whether any non-null value is true.
#[must_use]
pub fn any_true<T: Boolean>(value: &Expr<T>) -> Aggregated<T> {
    Aggregated::of(Aggregate::Or, value)
}

/// The bits that all non-null values have.
#[must_use]
pub fn bit_and<T: Integer>(value: &Expr<T>) -> Aggregated<T> {
    Aggregated::of(Aggregate::BitAnd, value)
}

/// The bits that any non-null value has.
#[must_use]
pub fn bit_or<T: Integer>(value: &Expr<T>) -> Aggregated<T> {
    Aggregated::of(Aggregate::BitOr, value)
}

/// The sum of each key of maps.
#[must_use]
pub fn sum_map<M: Summands>(map: &Expr<M>) -> Aggregated<BTreeMap<String, <M::Item as Shape>::Sum>>
where
    M::Item: Summand,
{
    Aggregated::of(Aggregate::SumMap, map)
}

/// The sum of the values of each key.
#[must_use]
pub fn sum_by_key<K: Text, V: Summand>(
    key: &Expr<K>,
    value: &Expr<V>,
) -> Aggregated<BTreeMap<String, V::Sum>> {
    Aggregated::of(Aggregate::SumMap, value).by(key)
}

/// How many values are below the first bound, between each and the next, and from the last on.
#[must_use]
pub fn histogram<T: Ordered>(
    value: &Expr<T>,
    bounds: impl FnOnce(&Expr<T>) -> Vec<Literal>,
) -> Aggregated<Vec<u64>> {
    Aggregated::of(Aggregate::Histogram, value).with(bounds(value))
}

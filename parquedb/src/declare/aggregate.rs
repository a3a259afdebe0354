//! Typed aggregates: what `$compute` builds.

use super::expr::Expr;
use super::node::Node;
use super::operand::{Numeric, Ordered, Predicate};
use super::plan::{Aggregate, AggregateColumn};
use super::shape::Shape;
use std::marker::PhantomData;

/// An aggregate over the rows of a group that yields a `T`.
#[derive(Debug, Clone)]
pub struct Aggregated<T> {
    aggregate: Aggregate,
    argument: Option<Node>,
    filter: Option<Node>,
    of: PhantomData<fn() -> T>,
}

impl<T> Aggregated<T> {
    fn new(aggregate: Aggregate, argument: Option<Node>) -> Self {
        Self { aggregate, argument, filter: None, of: PhantomData }
    }

    /// Over those rows of the group for which the condition holds.
    #[must_use]
    pub fn filtered(self, condition: impl Predicate) -> Self {
        Self { filter: Some(condition.node()), ..self }
    }

    /// Null when there is no value to aggregate.
    #[must_use]
    pub fn optional(self) -> Aggregated<T::Optional>
    where
        T: Shape,
    {
        Aggregated {
            aggregate: self.aggregate,
            argument: self.argument,
            filter: self.filter,
            of: PhantomData,
        }
    }

    /// The aggregate as the column `name`.
    #[must_use]
    pub fn into_column(self, name: &str) -> AggregateColumn {
        AggregateColumn {
            name: name.to_owned(),
            aggregate: self.aggregate,
            argument: self.argument,
            filter: self.filter,
        }
    }
}

/// Number of rows.
#[must_use]
pub fn count_rows() -> Aggregated<u64> {
    Aggregated::new(Aggregate::Count, None)
}

/// Number of non-null values.
#[must_use]
pub fn count<T: Shape>(value: &Expr<T>) -> Aggregated<u64> {
    Aggregated::new(Aggregate::Count, Some(value.clone().into_node()))
}

/// Number of distinct non-null values.
#[must_use]
pub fn count_distinct<T: Shape>(value: &Expr<T>) -> Aggregated<u64> {
    Aggregated::new(Aggregate::CountDistinct, Some(value.clone().into_node()))
}

/// Sum of the non-null values; zero of none.
#[must_use]
pub fn sum<T: Numeric>(value: &Expr<T>) -> Aggregated<T::Sum> {
    Aggregated::new(Aggregate::Sum, Some(value.clone().into_node()))
}

/// Mean of the non-null values.
#[must_use]
pub fn avg<T: Numeric>(value: &Expr<T>) -> Aggregated<T::Mean> {
    Aggregated::new(Aggregate::Avg, Some(value.clone().into_node()))
}

/// Least non-null value.
#[must_use]
pub fn min<T: Ordered>(value: &Expr<T>) -> Aggregated<T> {
    Aggregated::new(Aggregate::Min, Some(value.clone().into_node()))
}

/// Greatest non-null value.
#[must_use]
pub fn max<T: Ordered>(value: &Expr<T>) -> Aggregated<T> {
    Aggregated::new(Aggregate::Max, Some(value.clone().into_node()))
}

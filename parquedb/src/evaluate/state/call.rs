//! One aggregate of a view, as its states need it.

use crate::declare::node::Literal;
use crate::declare::plan::{Aggregate, AggregateColumn};
use crate::error::{Error, Result};
use crate::evaluate::lower::{Scope, scalar};
use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::logical_expr::{Expr, ExprFunctionExt, ExprSchemable, lit};
use datafusion::prelude::cast;

/// An aggregate with its arguments as expressions over the source's rows.
pub(super) struct Call<'a> {
    column: &'a AggregateColumn,
    input: &'a DFSchema,
    argument: Option<Expr>,
    by: Option<Expr>,
    filter: Option<Expr>,
    may_lose_rows: bool,
}

impl<'a> Call<'a> {
    pub(super) fn new(column: &'a AggregateColumn, input: &'a DFSchema, may_lose_rows: bool) -> Result<Self> {
        let scope = Scope::new(input);
        Ok(Self {
            column,
            input,
            argument: column.argument.as_ref().map(|argument| scope.value(argument)).transpose()?,
            by: column.by.as_ref().map(|by| scope.value(by)).transpose()?,
            filter: column.filter.as_ref().map(|filter| scope.condition(filter)).transpose()?,
            may_lose_rows,
        })
    }

    pub(super) fn aggregate(&self) -> Aggregate {
        self.column.aggregate
    }

    /// Whether rows that were counted may go again.
    pub(super) fn may_lose_rows(&self) -> bool {
        self.may_lose_rows
    }

    /// The view's column, which also names an aggregate's only or main state.
    pub(super) fn name(&self) -> &str {
        &self.column.name
    }

    /// The name of a state beside others. Columns of views have no `$` in their names.
    pub(super) fn part(&self, part: &str) -> String {
        format!("{}${part}", self.column.name)
    }

    pub(super) fn optional_value(&self) -> Option<Expr> {
        self.argument.clone()
    }

    pub(super) fn value(&self) -> Result<Expr> {
        self.argument.clone().ok_or_else(|| self.invalid("this aggregate needs a value to aggregate"))
    }

    /// The second value: what is picked by, or correlated with.
    pub(super) fn by(&self) -> Result<Expr> {
        self.by.clone().ok_or_else(|| self.invalid("this aggregate needs a second value"))
    }

    pub(super) fn optional_by(&self) -> Option<Expr> {
        self.by.clone()
    }

    pub(super) fn kind(&self, value: &Expr) -> Result<DataType> {
        Ok(value.get_type(self.input)?)
    }

    /// How many different values, null included, an expression can have; nothing where they are many.
    pub(super) fn different_values(&self, value: &Expr) -> Result<Option<usize>> {
        let null = usize::from(self.may_be_null(value)?);
        Ok((self.kind(value)? == DataType::Boolean).then_some(2 + null))
    }

    pub(super) fn may_be_null(&self, value: &Expr) -> Result<bool> {
        Ok(value.nullable(self.input)?)
    }

    /// The value as a float.
    pub(super) fn float(&self, value: Expr) -> Result<Expr> {
        Ok(match self.kind(&value)? {
            DataType::Float64 => value,
            _ => cast(value, DataType::Float64),
        })
    }

    /// The aggregate function over the rows that count.
    pub(super) fn over(&self, function: Expr) -> Result<Expr> {
        self.over_rows_where(function, None)
    }

    /// The aggregate function over those of the rows that count for which a condition holds.
    pub(super) fn over_rows_where(&self, function: Expr, condition: Option<Expr>) -> Result<Expr> {
        match [self.filter.clone(), condition].into_iter().flatten().reduce(Expr::and) {
            Some(filter) => Ok(function.filter(filter).build()?),
            None => Ok(function),
        }
    }

    /// The constants of the aggregate.
    pub(super) fn parameters(&self) -> &[Literal] {
        &self.column.parameters
    }

    /// The constants of the aggregate in the type of a value.
    pub(super) fn parameters_as(&self, kind: &DataType) -> Result<Vec<Expr>> {
        self.parameters().iter().map(|literal| Ok(lit(scalar(literal)?.cast_to(kind)?))).collect()
    }

    /// The first constant, a whole number above zero.
    pub(super) fn size(&self) -> Result<u64> {
        match self.parameters() {
            [Literal::Int(size)] if *size > 0 => Ok(size.unsigned_abs()),
            _ => Err(self.invalid("this aggregate needs a number above zero")),
        }
    }

    /// The constants as parts of one, from zero to one.
    pub(super) fn quantiles(&self) -> Result<Vec<f64>> {
        let quantiles = self.parameters().iter().map(|literal| match literal {
            Literal::Float(quantile) if (0.0..=1.0).contains(quantile) => Ok(*quantile),
            _ => Err(self.invalid("a quantile is a number from 0.0 to 1.0")),
        });
        let quantiles = quantiles.collect::<Result<Vec<_>>>()?;
        if quantiles.is_empty() {
            Err(self.invalid("this aggregate needs a quantile"))
        } else {
            Ok(quantiles)
        }
    }

    pub(super) fn invalid(&self, problem: &str) -> Error {
        Error::invalid(format!("column `{}`: {problem}", self.column.name))
    }
}

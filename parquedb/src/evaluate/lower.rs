//! Expressions of the language as DataFusion expressions.
//!
//! The language's predicates are two-valued (null equals null and nothing else; an order comparison
//! with a null is false), DataFusion's are three-valued. Where a null result would be taken as false
//! anyway, as at the root of a filter, the plain comparison is used: it can skip row groups. Where it
//! would not, as under a `$not` or in a selected column, the null is removed explicitly.

use super::arithmetic::{self, Arithmetic};
use crate::declare::node::{Function, Literal, Node};
use crate::error::{Error, Result};
use arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::functions::{core, regex, string, unicode};
use datafusion::functions_nested::expr_fn as nested;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator, binary_expr, lit, when};
use datafusion::prelude::{cast, date_bin, date_trunc};
use std::sync::Arc;

/// The column that holds the element of the unnested list while a view's plan runs.
pub(crate) const ELEMENT_COLUMN: &str = "__element";

/// The column that holds the element's position.
pub(crate) const ELEMENT_INDEX_COLUMN: &str = "__element_index";

/// The column that holds the name of the source that a row came from.
pub(crate) const SOURCE_COLUMN: &str = "__source";

/// The column that holds a field of a joined row while a view's plan runs.
pub(crate) fn joined_column(join: &str, field: &str) -> String {
    format!("__{join}.{field}")
}

/// The column that holds the rows that a list of references refers to while a view's plan runs. No field's name has a
/// `$`.
pub(crate) fn rows_column(join: &str) -> String {
    joined_column(join, "$rows")
}

/// The functions that give a truth, as a pattern: a match that uses it still has to name all others.
macro_rules! truth {
    () => {
        Function::Eq
            | Function::Ne
            | Function::Lt
            | Function::Le
            | Function::Gt
            | Function::Ge
            | Function::In
            | Function::NotIn
            | Function::And
            | Function::Or
            | Function::Not
            | Function::Exists
            | Function::StartsWith
            | Function::EndsWith
            | Function::Contains
            | Function::Regex
            | Function::Size
            | Function::All
    };
}

/// What an expression is lowered against: the columns it may name and their types.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'a> {
    schema: &'a DFSchema,
}

/// What becomes of a null truth value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NullTruth {
    /// The reader takes null as false, so it may stay.
    ReadAsFalse,
    /// It must be false.
    MustBeFalse,
}

impl<'a> Scope<'a> {
    pub(crate) fn new(schema: &'a DFSchema) -> Self {
        Self { schema }
    }

    /// A condition for a filter: rows where it gives null are dropped, as where it gives false.
    pub(crate) fn condition(&self, node: &Node) -> Result<Expr> {
        self.predicate(node, NullTruth::ReadAsFalse)
    }

    /// The value of an expression.
    pub(crate) fn value(&self, node: &Node) -> Result<Expr> {
        Ok(match node {
            Node::Row => return Err(Error::invalid("a whole row cannot be used as a value")),
            Node::Element => column(ELEMENT_COLUMN),
            Node::ElementIndex => cast(column(ELEMENT_INDEX_COLUMN), DataType::UInt64),
            Node::SourceName => column(SOURCE_COLUMN),
            Node::Joined(name) => {
                let rows = rows_column(name);
                if self.schema.has_column_with_unqualified_name(&rows) {
                    return Ok(column(&rows));
                }
                return Err(Error::invalid(format!("the whole row of `{name}` cannot be used as a value")));
            }
            Node::Referred(referred) => {
                return Err(Error::invalid(format!(
                    "fields of the `{}` that a row refers to can be used in views only, and not in `$having`: select them in \
                     a view",
                    referred.member
                )));
            }
            Node::Field(of, name) => {
                if let Some(name) = whole_column(of, name) {
                    return Ok(column(&name));
                }
                let field = core::expr_fn::get_field(self.unguarded(of)?, name.as_str());
                match self.nullable_struct(of, name)? {
                    Some(holder) => when(holder.is_not_null(), field).end()?,
                    None => field,
                }
            }
            Node::Assembled(record) => {
                let mut parts = Vec::with_capacity(2 * record.fields.len());
                for (name, value) in &record.fields {
                    parts.extend([lit(name.as_str()), self.value(value)?]);
                }
                let key = self.value(&node.field(&record.key))?;
                when(key.is_not_null(), core::expr_fn::named_struct(parts)).end()?
            }
            Node::Index(of, index) => nested::array_element(self.value(of)?, lit(i64::from(*index) + 1)),
            Node::Key(of, key) => core::expr_fn::get_field(self.value(of)?, key.as_str()),
            Node::Literal(literal) => lit(scalar(literal)?),
            Node::List(_) => return Err(Error::invalid("a list of constants is not a value")),
            Node::Call(function, arguments) => self.call(*function, arguments)?,
        })
    }

    /// A path without the check of [`Scope::nullable_struct`].
    fn unguarded(&self, node: &Node) -> Result<Expr> {
        match node {
            Node::Field(of, name) if whole_column(of, name).is_none() => {
                Ok(core::expr_fn::get_field(self.unguarded(of)?, name.as_str()))
            }
            other => self.value(other),
        }
    }

    /// The struct whose null must make the field null, if the field does not know it itself. A field that
    /// can be null is null in a null struct. One that cannot has some value there, as arrays must, which
    /// DataFusion's field access gives as if it were meant.
    fn nullable_struct(&self, of: &Node, name: &str) -> Result<Option<Expr>> {
        match self.unguarded(of)?.get_type(self.schema)? {
            DataType::Struct(fields) if fields.find(name).is_some_and(|(_, field)| !field.is_nullable()) => {
                self.first_nullable(of)
            }
            _ => Ok(None),
        }
    }

    /// The path itself if it can be null, else the nearest struct around it that can.
    fn first_nullable(&self, path: &Node) -> Result<Option<Expr>> {
        let Node::Field(of, name) = path else { return Ok(Some(self.value(path)?)) };
        if let Some(name) = whole_column(of, name) {
            let nullable = self.schema.field_with_unqualified_name(&name)?.is_nullable();
            return Ok(if nullable { Some(column(&name)) } else { None });
        }
        match self.unguarded(of)?.get_type(self.schema)? {
            DataType::Struct(fields) if fields.find(name).is_some_and(|(_, field)| !field.is_nullable()) => {
                self.first_nullable(of)
            }
            _ => Ok(Some(self.unguarded(path)?)),
        }
    }

    fn call(&self, function: Function, arguments: &[Node]) -> Result<Expr> {
        use Function as F;
        Ok(match function {
            truth!() => self.truth(function, arguments, NullTruth::MustBeFalse)?,
            F::Add => self.arithmetic(Arithmetic::Add, Operator::Plus, arguments)?,
            F::Subtract => self.arithmetic(Arithmetic::Subtract, Operator::Minus, arguments)?,
            F::Multiply => self.arithmetic(Arithmetic::Multiply, Operator::Multiply, arguments)?,
            F::Remainder => {
                let [dividend, divisor] = self.two(function, arguments)?;
                let divisor = self.null_if_zero(divisor, &arguments[1])?;
                self.arithmetic_of(Arithmetic::Remainder, Operator::Modulo, dividend, divisor)?
            }
            F::Divide => {
                let [dividend, divisor] = self.two(function, arguments)?;
                let divisor =
                    self.null_if_zero(cast(divisor, arrow::datatypes::DataType::Float64), &arguments[1])?;
                arithmetic::canonical(cast(dividend, arrow::datatypes::DataType::Float64) / divisor)
            }
            F::Negate => {
                let value = self.value(one(function, arguments)?)?;
                let zero = match value.get_type(self.schema).map_err(Error::from)? {
                    kind if kind.is_floating() => {
                        return Ok(arithmetic::canonical(Expr::Negative(Box::new(value))));
                    }
                    kind if kind.is_integer() => lit(0_i64),
                    _ => return Ok(Expr::Negative(Box::new(value))),
                };
                self.arithmetic_of(Arithmetic::Subtract, Operator::Minus, zero, value)?
            }
            F::Cond => {
                let [condition, then, otherwise] = exactly(function, arguments)?;
                when(self.condition(condition)?, self.value(then)?).otherwise(self.value(otherwise)?)?
            }
            F::Coalesce => core::expr_fn::coalesce(self.values(arguments)?),
            F::Lower => string::expr_fn::lower(self.value(one(function, arguments)?)?),
            F::Upper => string::expr_fn::upper(self.value(one(function, arguments)?)?),
            F::Length => unicode::expr_fn::character_length(self.value(one(function, arguments)?)?),
            F::Concat => string::expr_fn::concat(self.values(arguments)?),
            F::Append => {
                let [list, element] = self.two(function, arguments)?;
                nested::array_append(list, element)
            }
            F::Truncate => self.truncate(arguments)?,
        })
    }

    fn predicate(&self, node: &Node, null: NullTruth) -> Result<Expr> {
        match node {
            Node::Call(function, arguments) if matches!(function, truth!()) => {
                self.truth(*function, arguments, null)
            }
            other => {
                let value = self.value(other)?;
                self.settle(value, null)
            }
        }
    }

    fn truth(&self, function: Function, arguments: &[Node], null: NullTruth) -> Result<Expr> {
        use Function as F;
        let negated = |function| self.truth(function, arguments, NullTruth::MustBeFalse);
        Ok(match function {
            F::And => self.all_of(arguments, null, Operator::And, true)?,
            F::Or => self.all_of(arguments, null, Operator::Or, false)?,
            F::Not => !self.predicate(one(function, arguments)?, NullTruth::MustBeFalse)?,
            F::Exists => self.value(one(function, arguments)?)?.is_not_null(),
            F::Eq | F::Ne => {
                let [left, right] = self.two(function, arguments)?;
                let (left_null, right_null) = (self.nullable(&left)?, self.nullable(&right)?);
                let plain = !left_null && !right_null
                    || function == F::Eq && null == NullTruth::ReadAsFalse && !(left_null && right_null);
                binary_expr(
                    left,
                    match (function, plain) {
                        (F::Eq, true) => Operator::Eq,
                        (F::Eq, false) => Operator::IsNotDistinctFrom,
                        (_, true) => Operator::NotEq,
                        (_, false) => Operator::IsDistinctFrom,
                    },
                    right,
                )
            }
            F::Lt => self.compare(Operator::Lt, arguments, null)?,
            F::Le => self.compare(Operator::LtEq, arguments, null)?,
            F::Gt => self.compare(Operator::Gt, arguments, null)?,
            F::Ge => self.compare(Operator::GtEq, arguments, null)?,
            F::In => {
                let [value, list] = exactly(function, arguments)?;
                let value = self.value(value)?;
                let (constants, with_null) = constants(list)?;
                let member = value.clone().in_list(constants, false);
                if with_null {
                    self.settle(member, NullTruth::MustBeFalse)?.or(value.is_null())
                } else {
                    self.settle(member, null)?
                }
            }
            F::NotIn => !negated(F::In)?,
            F::StartsWith => self.text(string::expr_fn::starts_with, arguments, null)?,
            F::EndsWith => self.text(string::expr_fn::ends_with, arguments, null)?,
            F::Contains => self.text(string::expr_fn::contains, arguments, null)?,
            F::Regex => {
                let [value, pattern] = self.two(function, arguments)?;
                self.settle(regex::expr_fn::regexp_like(value, pattern, None), null)?
            }
            F::Size => {
                let [list, size] = self.two(function, arguments)?;
                let length = cast(nested::array_length(list), arrow::datatypes::DataType::Int64);
                self.settle(length.eq(size), null)?
            }
            F::All => {
                let [list, members] = exactly(function, arguments)?;
                let (constants, with_null) = constants(members)?;
                if with_null {
                    return Err(Error::invalid("`$all` does not take null: use `$exists`"));
                }
                self.settle(nested::array_has_all(self.value(list)?, nested::make_array(constants)), null)?
            }
            _ => return Err(Error::invalid(format!("`{function:?}` is not a condition"))),
        })
    }

    fn all_of(&self, arguments: &[Node], null: NullTruth, operator: Operator, empty: bool) -> Result<Expr> {
        let mut terms = arguments.iter().map(|argument| self.predicate(argument, null));
        let Some(first) = terms.next() else { return Ok(lit(empty)) };
        terms.try_fold(first?, |all, term| Ok(binary_expr(all, operator, term?)))
    }

    fn compare(&self, operator: Operator, arguments: &[Node], null: NullTruth) -> Result<Expr> {
        let [left, right] = exactly(Function::Lt, arguments)?;
        let comparison = binary_expr(self.value(left)?, operator, self.value(right)?);
        self.settle(comparison, null)
    }

    fn text(&self, test: fn(Expr, Expr) -> Expr, arguments: &[Node], null: NullTruth) -> Result<Expr> {
        let [value, part] = self.two(Function::Contains, arguments)?;
        self.settle(test(value, part), null)
    }

    /// A truth value without nulls, unless they may stay or cannot occur.
    fn settle(&self, truth: Expr, null: NullTruth) -> Result<Expr> {
        if null == NullTruth::ReadAsFalse || !self.nullable(&truth)? {
            return Ok(truth);
        }
        Ok(core::expr_fn::coalesce(vec![truth, lit(false)]))
    }

    fn nullable(&self, expression: &Expr) -> Result<bool> {
        Ok(expression.nullable(self.schema)?)
    }

    fn arithmetic(&self, checked: Arithmetic, operator: Operator, arguments: &[Node]) -> Result<Expr> {
        let [left, right] = self.two(Function::Add, arguments)?;
        self.arithmetic_of(checked, operator, left, right)
    }

    /// Integers through checked functions, everything else through DataFusion's operator, which wraps
    /// integers but is exact or IEEE for decimals and floats.
    fn arithmetic_of(
        &self,
        checked: Arithmetic,
        operator: Operator,
        left: Expr,
        right: Expr,
    ) -> Result<Expr> {
        let (left_type, right_type) = (left.get_type(self.schema)?, right.get_type(self.schema)?);
        if left_type.is_integer() && right_type.is_integer() {
            return Ok(arithmetic::function(checked).call(vec![left, right]));
        }
        let result = Expr::BinaryExpr(BinaryExpr::new(Box::new(left), operator, Box::new(right)));
        let float = left_type.is_floating() || right_type.is_floating();
        Ok(if float { arithmetic::canonical(result) } else { result })
    }

    fn null_if_zero(&self, divisor: Expr, node: &Node) -> Result<Expr> {
        let is_other_constant = match node {
            Node::Literal(Literal::Int(value)) => *value != 0,
            Node::Literal(Literal::UInt(value)) => *value != 0,
            Node::Literal(Literal::Float(value)) => *value != 0.0,
            _ => false,
        };
        if is_other_constant {
            return Ok(divisor);
        }
        let zero = ScalarValue::new_zero(&divisor.get_type(self.schema)?)?;
        Ok(core::expr_fn::nullif(divisor, lit(zero)))
    }

    fn truncate(&self, arguments: &[Node]) -> Result<Expr> {
        let [unit, time] = exactly(Function::Truncate, arguments)?;
        let Node::Literal(Literal::Text(unit)) = unit else {
            return Err(Error::invalid("a time bucket needs the name of its unit"));
        };
        let time = self.value(time)?;
        // Units of one length in UTC are plain arithmetic; the calendar's are not.
        const MINUTE: i64 = 60_000_000_000;
        const MONDAY: i64 = 4 * 24 * 60 * 60 * 1_000_000;
        let (nanoseconds, origin) = match unit.as_str() {
            "minute" => (MINUTE, 0),
            "hour" => (60 * MINUTE, 0),
            "day" => (24 * 60 * MINUTE, 0),
            "week" => (7 * 24 * 60 * MINUTE, MONDAY),
            "month" | "quarter" | "year" => return Ok(date_trunc(lit(unit.as_str()), time)),
            other => return Err(Error::invalid(format!("`{other}` is not a unit of time"))),
        };
        let width = ScalarValue::IntervalMonthDayNano(Some(
            arrow::datatypes::IntervalMonthDayNanoType::make_value(0, 0, nanoseconds),
        ));
        let origin = ScalarValue::TimestampMicrosecond(Some(origin), Some(utc()));
        Ok(date_bin(lit(width), time, lit(origin)))
    }

    fn values(&self, nodes: &[Node]) -> Result<Vec<Expr>> {
        nodes.iter().map(|node| self.value(node)).collect()
    }

    fn two(&self, function: Function, arguments: &[Node]) -> Result<[Expr; 2]> {
        let [left, right] = exactly(function, arguments)?;
        Ok([self.value(left)?, self.value(right)?])
    }
}

/// The column that holds a field of the row itself or of a joined row.
fn whole_column(of: &Node, field: &str) -> Option<String> {
    match of {
        Node::Row => Some(field.to_owned()),
        Node::Joined(join) => Some(joined_column(join, field)),
        _ => None,
    }
}

/// A column by its exact name.
pub(crate) fn column(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

fn utc() -> Arc<str> {
    Arc::from("UTC")
}

fn exactly<const N: usize>(function: Function, arguments: &[Node]) -> Result<&[Node; N]> {
    arguments
        .try_into()
        .map_err(|_| Error::invalid(format!("`{function:?}` takes {N} arguments, found {}", arguments.len())))
}

fn one(function: Function, arguments: &[Node]) -> Result<&Node> {
    exactly::<1>(function, arguments).map(|[argument]| argument)
}

/// The constants of a list without its nulls, and whether there was one.
fn constants(node: &Node) -> Result<(Vec<Expr>, bool)> {
    let Node::List(literals) = node else {
        return Err(Error::invalid("expected a list of constants"));
    };
    let with_null = literals.contains(&Literal::Null);
    let constants = literals
        .iter()
        .filter(|literal| **literal != Literal::Null)
        .map(|literal| Ok(lit(scalar(literal)?)))
        .collect::<Result<_>>()?;
    Ok((constants, with_null))
}

/// A constant.
pub(crate) fn scalar(literal: &Literal) -> Result<ScalarValue> {
    Ok(match literal {
        Literal::Null => ScalarValue::Null,
        Literal::Bool(value) => ScalarValue::Boolean(Some(*value)),
        Literal::Int(value) => ScalarValue::Int64(Some(*value)),
        Literal::UInt(value) => ScalarValue::UInt64(Some(*value)),
        Literal::Float(value) => ScalarValue::Float64(Some(*value + 0.0)),
        Literal::SpecialFloat(text) => ScalarValue::Float64(Some(
            text.parse().map_err(|_| Error::corrupt(format!("`{text}` is not a float")))?,
        )),
        Literal::Text(text) => ScalarValue::Utf8(Some(text.clone())),
        Literal::Bytes(bytes) => ScalarValue::Binary(Some(bytes.clone())),
        Literal::Timestamp(micros) => ScalarValue::TimestampMicrosecond(Some(*micros), Some(utc())),
        Literal::Date(days) => ScalarValue::Date32(Some(*days)),
        Literal::Decimal(unscaled, precision, scale) => ScalarValue::Decimal128(
            Some(unscaled.parse().map_err(|_| Error::corrupt(format!("`{unscaled}` is not an integer")))?),
            *precision,
            *scale,
        ),
        Literal::Id(bytes) => ScalarValue::FixedSizeBinary(16, Some(bytes.to_vec())),
    })
}

//! What an expression is, and what is put together to one.

use super::constant::Constant;
use super::path::FieldPath;
use proc_macro2::Span;
use syn::{Ident, LitInt, LitStr, Result};

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

    pub(crate) fn arithmetic(left: Expr, operator: Arithmetic, right: Expr, span: Span) -> Result<Expr> {
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

//! What the expansion of `views!` calls, and nobody else.

use super::{Chosen, Expr, Handle, Mapped, TimeUnit};
use crate::declare::node::{Function, Literal, Node};
use crate::declare::operand::{Addend, Alternative, Constant, Divisor, List, Number, Predicate, Text, Time};
use crate::declare::shape::Shape;

/// A constant of type `T`.
#[doc(hidden)]
pub fn literal<T>(value: impl Constant<T>) -> Expr<T> {
    Expr::new(Node::Literal(value.literal()))
}

/// The null of type `T`.
#[doc(hidden)]
#[must_use]
pub fn null<T: Shape>() -> Expr<T::Optional> {
    Expr::new(Node::Literal(Literal::Null))
}

/// The expression that a handle stands for: of a reference, its key.
#[doc(hidden)]
pub fn expr<H: Handle>(handle: &H) -> Expr<H::Type> {
    Expr::new(handle.node())
}

/// A condition as data.
#[doc(hidden)]
pub fn condition(predicate: impl Predicate) -> Node {
    predicate.node()
}

/// Whether all conditions hold.
#[doc(hidden)]
pub fn all(conditions: impl Into<Vec<Node>>) -> Expr<bool> {
    Expr::new(Node::Call(Function::And, conditions.into()))
}

/// Whether some condition holds.
#[doc(hidden)]
pub fn any(conditions: impl Into<Vec<Node>>) -> Expr<bool> {
    Expr::new(Node::Call(Function::Or, conditions.into()))
}

/// Whether the condition does not hold.
#[doc(hidden)]
#[must_use]
pub fn not(condition: Node) -> Expr<bool> {
    Expr::new(Node::Call(Function::Not, vec![condition]))
}

/// Whether the value, which may be a nested record, is not null.
#[doc(hidden)]
pub fn exists<H: Handle>(value: &H) -> Expr<bool> {
    Expr::new(Node::Call(Function::Exists, vec![value.node()]))
}

/// A constant that a field can be compared with, checked at its own place in a list.
#[doc(hidden)]
pub fn member<T: Shape, C: Constant<T::Bare>>(_: &Expr<T>, value: C) -> Literal {
    value.literal()
}

/// A constant that the elements of a list can be compared with.
#[doc(hidden)]
pub fn element<T: List, C: Constant<<T::Item as Shape>::Bare>>(_: &Expr<T>, value: C) -> Literal {
    value.literal()
}

/// The null of a list of constants.
#[doc(hidden)]
pub const NULL: Literal = Literal::Null;

/// `$in`, `$nin` and `$all` over constants that were checked one by one.
#[doc(hidden)]
pub fn among<T>(function: Function, value: &Expr<T>, list: Vec<Literal>) -> Expr<bool> {
    Expr::new(Node::Call(function, vec![value.node.clone(), Node::List(list)]))
}

/// Quotient by a constant that is not zero.
#[doc(hidden)]
pub fn divided_by_nonzero<T: Number>(value: &Expr<T>, divisor: impl Divisor) -> Expr<T::Mean> {
    Expr::new(Node::Call(Function::Divide, vec![value.node.clone(), divisor.node()]))
}

/// Remainder by a constant that is not zero.
#[doc(hidden)]
pub fn remainder_by_nonzero<T: Number, R: Addend<T::Sum>>(
    value: &Expr<T>,
    divisor: R,
) -> Expr<Mapped<T, T::Sum>> {
    Expr::new(Node::Call(Function::Remainder, vec![value.node.clone(), divisor.node()]))
}

/// The first value where the condition holds, else the second.
#[doc(hidden)]
pub fn cond<A: Shape, B: Alternative<A::Bare>>(
    condition: impl Predicate,
    value: Expr<A>,
    otherwise: Expr<B>,
) -> Expr<Chosen<A, B>> {
    Expr::new(Node::Call(Function::Cond, vec![condition.node(), value.node, otherwise.node]))
}

/// The first value, or the second where that is null.
#[doc(hidden)]
pub fn coalesce<A: Shape, B: Alternative<A::Bare>>(
    value: Expr<A>,
    otherwise: Expr<B>,
) -> Expr<Mapped<B, A::Bare>> {
    Expr::new(Node::Call(Function::Coalesce, vec![value.node, otherwise.node]))
}

/// A part of a `$concat`.
#[doc(hidden)]
pub fn part<T: Text>(value: &Expr<T>) -> Node {
    value.node.clone()
}

/// Texts joined.
#[doc(hidden)]
#[must_use]
pub fn concat(parts: Vec<Node>) -> Expr<String> {
    Expr::new(Node::Call(Function::Concat, parts))
}

/// A timestamp cut to a unit.
#[doc(hidden)]
pub fn truncate<T: Time>(unit: TimeUnit, value: &Expr<T>) -> Expr<T> {
    let unit = Node::Literal(Literal::Text(unit.name().to_owned()));
    Expr::new(Node::Call(Function::Truncate, vec![unit, value.node.clone()]))
}

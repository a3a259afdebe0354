//! Typed expressions: what record handles give, what closures of queries and the expansion of
//! `views!` build. Types exist only at compile time; the expression itself is a [`Node`].

mod expansion;
mod operators;
mod time_unit;

use super::node::{Function, Literal, Node};
use super::operand::{
    Addend, Constant, Divisor, List, Number, Operand, Ordered, Position, Signed, Text, Time,
};
use super::shape::{Nullability, Nullable, Shape};
use std::fmt;
use std::marker::PhantomData;

#[doc(hidden)]
pub use expansion::{
    NULL, all, among, any, coalesce, concat, cond, condition, divided_by_nonzero, element, exists, expr,
    literal, member, not, null, part, remainder_by_nonzero, truncate,
};
pub use time_unit::TimeUnit;

/// A typed expression over one row.
///
/// ```
/// # use parquedb::{Collection, database};
/// # #[derive(Collection, Debug, Clone)]
/// # pub struct Event { pub outcome: String, pub status: Option<u16> }
/// # database! { pub struct Log { Event } }
/// # #[tokio::main] async fn main() -> parquedb::Result<()> {
/// # let db = Log::open("memory:///").await?;
/// let bad = db.event.find(|event| event.outcome.ne("ok").and(event.status.ge(500))).await?;
/// # Ok(()) }
/// ```
///
/// Conditions are two-valued: null equals null and nothing else, and `<`, `<=`, `>`, `>=` with a null
/// are false.
pub struct Expr<T> {
    node: Node,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for Expr<T> {
    fn clone(&self) -> Self {
        Self::new(self.node.clone())
    }
}

impl<T> fmt::Debug for Expr<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.node.fmt(f)
    }
}

/// Something that stands for a value of a row: an expression or the handles of a nested record.
pub trait Handle {
    /// The value's type.
    type Type: Shape;
    /// Where the value is found or how it is computed.
    fn node(&self) -> Node;
}

impl<T: Shape> Handle for Expr<T> {
    type Type = T;
    fn node(&self) -> Node {
        self.node.clone()
    }
}

/// `U`, nullable if either is.
pub type Either<N, M, U> = <<N as Nullability>::Or<M> as Nullability>::Wrap<U>;

/// What `+` and `*` of an `A` and a `B` yield: the sum's type, nullable if either is.
pub type Calculated<A, B> = Either<<A as Shape>::Null, <B as Shape>::Null, <A as Shape>::Sum>;

/// What `-` of an `A` and a `B` yields: as [`Calculated`], but always signed.
pub type Difference<A, B> =
    Either<<A as Shape>::Null, <B as Shape>::Null, <<A as Shape>::Sum as Signed>::Difference>;

/// What choosing between an `A` and a `B` yields: nullable if either is.
pub type Chosen<A, B> = Either<<A as Shape>::Null, <B as Shape>::Null, <A as Shape>::Bare>;

/// The `U` computed from a `T`: null where that is null.
pub type Mapped<T, U> = <<T as Shape>::Null as Nullability>::Wrap<U>;

/// A sort order: nulls come last either way.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// What is sorted by.
    pub node: Node,
    /// Whether the greatest value comes first.
    pub descending: bool,
}

impl<T> Expr<T> {
    /// The expression computed by `node`, which must yield a `T`.
    #[must_use]
    pub fn new(node: Node) -> Self {
        Self { node, of: PhantomData }
    }

    /// The untyped expression.
    #[must_use]
    pub fn into_node(self) -> Node {
        self.node
    }

    fn call<U, const N: usize>(function: Function, arguments: [Node; N]) -> Expr<U> {
        Expr::new(Node::Call(function, arguments.into()))
    }

    /// Whether the value is not null.
    #[must_use]
    pub fn exists(&self) -> Expr<bool> {
        Self::call(Function::Exists, [self.node.clone()])
    }

    /// Whether the value is null.
    #[must_use]
    pub fn is_null(&self) -> Expr<bool> {
        Self::call(Function::Not, [self.exists().node])
    }
}

// The names are those of the comparisons they build; `PartialEq` and friends cannot return them.
#[allow(clippy::should_implement_trait)]
impl<T: Shape> Expr<T> {
    fn binary<U>(&self, function: Function, right: Node) -> Expr<U> {
        Self::call(function, [self.node.clone(), right])
    }

    /// Whether both are equal; null equals null.
    pub fn eq<R: Operand<T::Bare>>(&self, right: R) -> Expr<bool> {
        self.binary(Function::Eq, right.node())
    }

    /// Whether they differ; null differs from every value.
    pub fn ne<R: Operand<T::Bare>>(&self, right: R) -> Expr<bool> {
        self.binary(Function::Ne, right.node())
    }

    /// Whether this is less; false if either is null.
    pub fn lt<R: Operand<T::Bare>>(&self, right: R) -> Expr<bool>
    where
        T: Ordered,
    {
        self.binary(Function::Lt, right.node())
    }

    /// Whether this is less or equal; false if either is null.
    pub fn le<R: Operand<T::Bare>>(&self, right: R) -> Expr<bool>
    where
        T: Ordered,
    {
        self.binary(Function::Le, right.node())
    }

    /// Whether this is greater; false if either is null.
    pub fn gt<R: Operand<T::Bare>>(&self, right: R) -> Expr<bool>
    where
        T: Ordered,
    {
        self.binary(Function::Gt, right.node())
    }

    /// Whether this is greater or equal; false if either is null.
    pub fn ge<R: Operand<T::Bare>>(&self, right: R) -> Expr<bool>
    where
        T: Ordered,
    {
        self.binary(Function::Ge, right.node())
    }

    /// Whether the value is one of the list.
    pub fn is_in<R: Constant<T::Bare>>(&self, list: impl IntoIterator<Item = R>) -> Expr<bool> {
        self.binary(Function::In, Node::List(list.into_iter().map(Constant::literal).collect()))
    }

    /// Whether the value is none of the list.
    pub fn not_in<R: Constant<T::Bare>>(&self, list: impl IntoIterator<Item = R>) -> Expr<bool> {
        self.binary(Function::NotIn, Node::List(list.into_iter().map(Constant::literal).collect()))
    }

    /// Whether the text starts with the other.
    pub fn starts_with<R: Operand<String>>(&self, right: R) -> Expr<bool>
    where
        T: Text,
    {
        self.binary(Function::StartsWith, right.node())
    }

    /// Whether the text ends with the other.
    pub fn ends_with<R: Operand<String>>(&self, right: R) -> Expr<bool>
    where
        T: Text,
    {
        self.binary(Function::EndsWith, right.node())
    }

    /// Whether the text contains the other.
    pub fn contains<R: Operand<String>>(&self, right: R) -> Expr<bool>
    where
        T: Text,
    {
        self.binary(Function::Contains, right.node())
    }

    /// Whether the regular expression (syntax of the `regex` crate) matches somewhere in the text. In
    /// `views!` the expression is checked when the program compiles, here when the query is planned.
    pub fn matches(&self, regex: impl Into<String>) -> Expr<bool>
    where
        T: Text,
    {
        self.binary(Function::Regex, Node::Literal(Literal::Text(regex.into())))
    }

    /// Whether the list has this many elements.
    pub fn size(&self, elements: u32) -> Expr<bool>
    where
        T: List,
    {
        self.binary(Function::Size, Node::Literal(Literal::Int(i64::from(elements))))
    }

    /// Whether the list contains every element of the other.
    pub fn contains_all<R: Constant<<T::Item as Shape>::Bare>>(
        &self,
        elements: impl IntoIterator<Item = R>,
    ) -> Expr<bool>
    where
        T: List,
    {
        self.binary(Function::All, Node::List(elements.into_iter().map(Constant::literal).collect()))
    }

    /// The element of a list at a position from zero, or the value of a map's key; null where there is
    /// none.
    pub fn at<P: Position<T::Bare>>(&self, position: P) -> <T::Item as Shape>::Handle<Nullable> {
        T::Item::handle(position.step(self.node.clone()))
    }

    /// Sum. A result outside its type is an error, never a wrapped value.
    pub fn plus<R: Addend<T::Sum>>(&self, right: R) -> Expr<Either<T::Null, R::Null, T::Sum>>
    where
        T: Number,
    {
        self.binary(Function::Add, right.node())
    }

    /// Product. A result outside its type is an error, never a wrapped value.
    pub fn times<R: Addend<T::Sum>>(&self, right: R) -> Expr<Either<T::Null, R::Null, T::Sum>>
    where
        T: Number,
    {
        self.binary(Function::Multiply, right.node())
    }

    /// Difference, which is signed. A result outside its type is an error, never a wrapped value.
    pub fn minus<R: Addend<T::Sum>>(
        &self,
        right: R,
    ) -> Expr<Either<T::Null, R::Null, <T::Sum as Signed>::Difference>>
    where
        T: Number,
        T::Sum: Signed,
    {
        self.binary(Function::Subtract, right.node())
    }

    /// Quotient, a float; null where the divisor is zero.
    pub fn divided_by<R: Divisor>(&self, right: R) -> Expr<Option<f64>>
    where
        T: Number,
    {
        self.binary(Function::Divide, right.node())
    }

    /// Remainder, with the sign of the dividend; null where the divisor is zero.
    pub fn remainder<R: Addend<T::Sum>>(&self, right: R) -> Expr<<T::Sum as Shape>::Optional>
    where
        T: Number,
    {
        self.binary(Function::Remainder, right.node())
    }

    /// The number with its sign changed.
    pub fn negate(&self) -> Expr<Mapped<T, <T::Sum as Signed>::Difference>>
    where
        T: Number,
        T::Sum: Signed,
    {
        Self::call(Function::Negate, [self.node.clone()])
    }

    /// The text in lower case.
    #[must_use]
    pub fn lower(&self) -> Expr<T>
    where
        T: Text,
    {
        Self::call(Function::Lower, [self.node.clone()])
    }

    /// The text in upper case.
    #[must_use]
    pub fn upper(&self) -> Expr<T>
    where
        T: Text,
    {
        Self::call(Function::Upper, [self.node.clone()])
    }

    /// The number of characters of the text.
    pub fn length(&self) -> Expr<Mapped<T, u64>>
    where
        T: Text,
    {
        Self::call(Function::Length, [self.node.clone()])
    }

    /// The text followed by the other; a null counts as empty.
    pub fn concat<R: Operand<String>>(&self, right: R) -> Expr<String>
    where
        T: Text,
    {
        self.binary(Function::Concat, right.node())
    }

    /// This value, or the other where this is null.
    pub fn coalesce<R: Operand<T::Bare>>(&self, otherwise: R) -> Expr<T> {
        self.binary(Function::Coalesce, otherwise.node())
    }

    /// The timestamp cut to a unit, in UTC.
    #[must_use]
    pub fn truncate(&self, unit: TimeUnit) -> Expr<T>
    where
        T: Time,
    {
        truncate(unit, self)
    }

    /// Least first, nulls last.
    pub fn asc(&self) -> Order
    where
        T: Ordered,
    {
        Order { node: self.node.clone(), descending: false }
    }

    /// Greatest first, nulls last.
    pub fn desc(&self) -> Order
    where
        T: Ordered,
    {
        Order { node: self.node.clone(), descending: true }
    }
}

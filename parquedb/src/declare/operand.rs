//! What an expression may be compared and calculated with. Every rule here is a trait with its own
//! compiler message, so that one mistake in a view or a query is one readable error.

use super::expr::Expr;
use super::node::{Literal, Node};
use super::shape::{NotNull, Nullability, Shape, Unknown};
use crate::types::{Bytes, Date, Decimal, Json, Timestamp, Ulid, Uuid};
use std::collections::{BTreeMap, HashMap};

/// A constant that a field of bare type `B` may be compared with.
#[diagnostic::on_unimplemented(
    message = "a `{B}` field cannot be compared with `{Self}`",
    label = "expected a `{B}`"
)]
pub trait Constant<B> {
    /// The constant as data.
    fn literal(self) -> Literal;
}

/// A constant or an expression that a field of bare type `B` may be compared with.
#[diagnostic::on_unimplemented(
    message = "a `{B}` field cannot be compared with `{Self}`",
    label = "expected a `{B}`"
)]
pub trait Operand<B> {
    /// The operand as data.
    fn node(self) -> Node;
}

macro_rules! constants {
    ($([$($generics:tt)*] $literal:ty => $bare:ty, $value:ident => $expression:expr;)*) => { $(
        #[diagnostic::do_not_recommend]
        impl<$($generics)*> Constant<$bare> for $literal {
            fn literal(self) -> Literal {
                let $value = self;
                $expression
            }
        }
        #[diagnostic::do_not_recommend]
        impl<$($generics)*> Operand<$bare> for $literal {
            fn node(self) -> Node {
                Node::Literal(<Self as Constant<$bare>>::literal(self))
            }
        }
    )* };
}

macro_rules! integer_constants {
    ($($bare:ty: $($literal:ty),*;)*) => { $($(
        constants! { [] $literal => $bare, value => integer(i128::from(value)); }
    )*)* };
}

/// The narrowest form of an integer; the types admit nothing outside `i64` and `u64`.
fn integer(value: i128) -> Literal {
    match (i64::try_from(value), u64::try_from(value)) {
        (Ok(value), _) => Literal::Int(value),
        (_, Ok(value)) => Literal::UInt(value),
        _ => Literal::Null,
    }
}

/// A float in the form that JSON can hold.
#[must_use]
pub(crate) fn float(value: f64) -> Literal {
    if value.is_finite() { Literal::Float(value) } else { Literal::SpecialFloat(value.to_string()) }
}

integer_constants! {
    i8: i8, i32, i64, u64;
    i16: i16, i32, i64, u64;
    i32: i32, i64, u64;
    i64: i32, i64, u64;
    u8: u8, i32, i64, u64;
    u16: u16, i32, i64, u64;
    u32: u32, i32, i64, u64;
    u64: i32, i64, u64;
}

constants! {
    [] bool => bool, value => Literal::Bool(value);
    [] &str => String, value => Literal::Text(value.to_owned());
    [] String => String, value => Literal::Text(value);
    [] &String => String, value => Literal::Text(value.clone());
    [] f64 => f64, value => float(value);
    [] f32 => f64, value => float(f64::from(value));
    [] i32 => f64, value => float(f64::from(value));
    [] f64 => f32, value => float(value);
    [] f32 => f32, value => float(f64::from(value));
    [] i32 => f32, value => float(f64::from(value));
    [] Timestamp => Timestamp, value => Literal::Timestamp(value.as_micros());
    [] Date => Date, value => Literal::Date(value.as_days());
    [] Uuid => Uuid, value => Literal::Id(value.into_bytes());
    [] Ulid => Ulid, value => Literal::Id(value.to_bytes());
    [] Bytes => Bytes, value => Literal::Bytes(value.to_vec());
    [] &[u8] => Bytes, value => Literal::Bytes(value.to_vec());
    [] Json => Json, value => Literal::Text(value.into_string());
    [const P: u8, const S: i8] Decimal<P, S> => Decimal<P, S>, value => Literal::Decimal(value.unscaled().to_string(), P, S);
    [const P: u8, const S: i8] i32 => Decimal<P, S>, value => Literal::Decimal(value.to_string(), 10, 0);
}

#[diagnostic::do_not_recommend]
impl<B: Constant<B>> Constant<B> for Option<B> {
    fn literal(self) -> Literal {
        self.map_or(Literal::Null, Constant::literal)
    }
}

#[diagnostic::do_not_recommend]
impl<B: Constant<B>> Operand<B> for Option<B> {
    fn node(self) -> Node {
        Node::Literal(self.literal())
    }
}

/// Types of fields that may be compared with a field of bare type `B`: itself, optional or not. Named
/// type by type, because a mismatch is then reported as an [`Operand`] that does not fit.
pub trait Comparable<B>: Shape {}

macro_rules! comparable {
    ($([$($generics:tt)*] $type:ty;)*) => { $(
        #[diagnostic::do_not_recommend]
        impl<$($generics)*> Comparable<$type> for $type {}
        #[diagnostic::do_not_recommend]
        impl<$($generics)*> Comparable<Unknown> for $type {}
    )* };
}
comparable! {
    [] i8; [] i16; [] i32; [] i64; [] u8; [] u16; [] u32; [] u64; [] f32; [] f64; [] bool; [] String;
    [] Bytes; [] Timestamp; [] Date; [] Uuid; [] Ulid; [] Json;
    [const P: u8, const S: i8] Decimal<P, S>;
    [T: Shape] Vec<T>;
    [V: Shape] BTreeMap<String, V>;
    [V: Shape] HashMap<String, V>;
}
#[diagnostic::do_not_recommend]
impl<T: Comparable<B>, B> Comparable<B> for Option<T> {}
#[diagnostic::do_not_recommend]
impl<B> Comparable<B> for Unknown {}

#[diagnostic::do_not_recommend]
impl<T: Comparable<B>, B> Operand<B> for Expr<T> {
    fn node(self) -> Node {
        self.into_node()
    }
}

#[diagnostic::do_not_recommend]
impl<T: Comparable<B>, B> Operand<B> for &Expr<T> {
    fn node(self) -> Node {
        self.clone().into_node()
    }
}

/// What `$filter`, `$where`, `find` and the logical operators take.
#[diagnostic::on_unimplemented(
    message = "`$filter` needs a true-or-false expression",
    label = "this is not a condition",
    note = "compare it with something: `outcome: {{ $ne: \"ok\" }}` or `outcome != \"ok\"`"
)]
pub trait Predicate {
    /// The condition as data.
    fn node(self) -> Node;
}

impl Predicate for Expr<bool> {
    fn node(self) -> Node {
        self.into_node()
    }
}

/// A null is not true.
#[diagnostic::do_not_recommend]
impl Predicate for Expr<Option<bool>> {
    fn node(self) -> Node {
        self.eq(true).into_node()
    }
}

/// What can be added up and averaged.
#[diagnostic::on_unimplemented(
    message = "this aggregate needs a numeric field, but this one is `{Self}`",
    label = "`{Self}` is not a number"
)]
pub trait Numeric: Shape {}

/// What `$bitAnd` and `$bitOr` take.
#[diagnostic::on_unimplemented(
    message = "`$bitAnd` and `$bitOr` need an integer, but this one is `{Self}`",
    label = "`{Self}` is not an integer"
)]
pub trait Integer: Shape {}

/// What `$sumMap` adds up.
#[diagnostic::on_unimplemented(
    message = "`$sumMap` adds integers and decimals, but this is `{Self}`",
    label = "`{Self}` is neither",
    note = "group by the key to add floats: `$groupBy: [key], $compute: {{ total: $sum(value) }}`"
)]
pub trait Summand: Shape {}

/// What `$sumMap` takes, if not a key and a value.
#[diagnostic::on_unimplemented(
    message = "`$sumMap` needs a map, or a key and a value, but this is `{Self}`",
    label = "`{Self}` is not a map"
)]
pub trait Summands: Shape {}

/// What `$and` and `$or` of a group take.
#[diagnostic::on_unimplemented(
    message = "`$and` and `$or` of a group need a true-or-false field, but this one is `{Self}`",
    label = "`{Self}` is not a `bool`"
)]
pub trait Boolean: Shape {}

/// What `+ - * / %` take on their left side.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be calculated with",
    label = "`{Self}` is not a number"
)]
pub trait Number: Shape {}

#[diagnostic::do_not_recommend]
impl<T: Numeric> Number for T {}

/// What can be cut to an hour or a day.
#[diagnostic::on_unimplemented(message = "`{Self}` is not a timestamp", label = "cannot be bucketed by time")]
pub trait Time: Shape {}

/// What tells when a row expires.
#[diagnostic::on_unimplemented(message = "`{Self}` is not a timestamp", label = "rows do not expire by this")]
pub trait ExpiresBy: Shape {}

/// Compiles only if rows can expire by a field of this type.
pub const fn expires_by<T: ExpiresBy>() {}

/// What text functions and tests take.
#[diagnostic::on_unimplemented(message = "`{Self}` is not text", label = "expected a `String`")]
pub trait Text: Shape {}

/// What `$unnest`, `$size` and `$all` take.
#[diagnostic::on_unimplemented(message = "`{Self}` is not a list", label = "expected a `Vec`")]
pub trait List: Shape {}

/// What has a least and a greatest value.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no order",
    label = "cannot be sorted, nor compared with `<`, `$min` or `$max`"
)]
pub trait Ordered: Shape {}

macro_rules! mark {
    ($($mark:ident: $($of:ty),*;)*) => { $($(
        impl $mark for $of {}
    )*)* };
}

mark! {
    Numeric: i8, i16, i32, i64, u8, u16, u32, u64, f32, f64;
    Integer: i8, i16, i32, i64, u8, u16, u32, u64;
    Summand: i8, i16, i32, i64, u8, u16, u32, u64;
    Boolean: bool;
    Text: String;
    Ordered: i8, i16, i32, i64, u8, u16, u32, u64, f32, f64, bool, String, Bytes, Timestamp, Date, Uuid, Ulid;
    Time: Timestamp;
    ExpiresBy: Timestamp;
}

impl<T: Shape> List for Vec<T> {}
impl<V: Shape> Summands for BTreeMap<String, V> {}
impl<V: Shape> Summands for HashMap<String, V> {}
impl<const P: u8, const S: i8> Summand for Decimal<P, S> {}
impl<const P: u8, const S: i8> Numeric for Decimal<P, S> {}
impl<const P: u8, const S: i8> Ordered for Decimal<P, S> {}

macro_rules! mark_optional {
    ($($mark:ident),*) => { $(
        #[diagnostic::do_not_recommend]
        impl $mark for Unknown {}
        #[diagnostic::do_not_recommend]
        impl<T: $mark> $mark for Option<T> {}
    )* };
}
mark_optional!(Numeric, Integer, Summand, Summands, Boolean, Time, ExpiresBy, Text, List, Ordered);

/// Where an element of a container of bare type `B` is found.
#[diagnostic::on_unimplemented(
    message = "`{B}` has no element at `{Self}`",
    label = "a list takes a position from zero, a map takes a key"
)]
pub trait Position<B> {
    /// The path one step further.
    fn step(self, node: Node) -> Node;
}

#[diagnostic::do_not_recommend]
impl<T> Position<Vec<T>> for u32 {
    fn step(self, node: Node) -> Node {
        Node::Index(Box::new(node), self)
    }
}

#[diagnostic::do_not_recommend]
impl<V> Position<BTreeMap<String, V>> for &str {
    fn step(self, node: Node) -> Node {
        Node::Key(Box::new(node), self.to_owned())
    }
}

#[diagnostic::do_not_recommend]
impl<V> Position<HashMap<String, V>> for &str {
    fn step(self, node: Node) -> Node {
        Node::Key(Box::new(node), self.to_owned())
    }
}

#[diagnostic::do_not_recommend]
impl Position<Unknown> for u32 {
    fn step(self, node: Node) -> Node {
        node
    }
}

#[diagnostic::do_not_recommend]
impl Position<Unknown> for &str {
    fn step(self, node: Node) -> Node {
        node
    }
}

/// What may be added to a number whose sums are of type `S`.
#[diagnostic::on_unimplemented(
    message = "numbers of type `{S}` cannot be calculated with `{Self}`",
    label = "not a number of the same kind"
)]
pub trait Addend<S> {
    /// Whether it can be null.
    type Null: Nullability;
    /// The number as data.
    fn node(self) -> Node;
}

macro_rules! addends {
    ($($sum:ty: $($literal:ty),*;)*) => { $($(
        #[diagnostic::do_not_recommend]
        impl Addend<$sum> for $literal {
            type Null = NotNull;
            fn node(self) -> Node {
                <Self as Operand<$sum>>::node(self)
            }
        }
    )*)* };
}
addends! {
    i64: i32, i64;
    u64: i32, u64;
    f64: i32, f32, f64;
}

#[diagnostic::do_not_recommend]
impl<const S: i8> Addend<Decimal<38, S>> for i32 {
    type Null = NotNull;
    fn node(self) -> Node {
        <Self as Operand<Decimal<38, S>>>::node(self)
    }
}

#[diagnostic::do_not_recommend]
impl<const P: u8, const S: i8> Addend<Decimal<38, S>> for Decimal<P, S> {
    type Null = NotNull;
    fn node(self) -> Node {
        <Self as Operand<Decimal<P, S>>>::node(self)
    }
}

/// Numbers whose sums are of type `S`. Named type by type, as [`Comparable`].
pub trait Summed<S>: Shape {}

macro_rules! summed {
    ($($sum:ty: $($type:ty),*;)*) => { $($(
        #[diagnostic::do_not_recommend]
        impl Summed<$sum> for $type {}
        #[diagnostic::do_not_recommend]
        impl Summed<Unknown> for $type {}
    )*)* };
}
summed! {
    i64: i8, i16, i32, i64;
    u64: u8, u16, u32, u64;
    f64: f32, f64;
}
#[diagnostic::do_not_recommend]
impl<const P: u8, const S: i8> Summed<Decimal<38, S>> for Decimal<P, S> {}
#[diagnostic::do_not_recommend]
impl<T: Summed<S>, S> Summed<S> for Option<T> {}
#[diagnostic::do_not_recommend]
impl<S> Summed<S> for Unknown {}

macro_rules! addends_of_unknown {
    ($($literal:ty),*) => { $(
        #[diagnostic::do_not_recommend]
        impl Addend<Unknown> for $literal {
            type Null = NotNull;
            fn node(self) -> Node {
                Node::Literal(Literal::Null)
            }
        }
    )* };
}
addends_of_unknown!(i32, i64, u64, f32, f64);

#[diagnostic::do_not_recommend]
impl<T: Summed<S>, S> Addend<S> for Expr<T> {
    type Null = T::Null;
    fn node(self) -> Node {
        self.into_node()
    }
}

#[diagnostic::do_not_recommend]
impl<T: Summed<S>, S> Addend<S> for &Expr<T> {
    type Null = T::Null;
    fn node(self) -> Node {
        self.clone().into_node()
    }
}

/// What a number may be divided by: any number, because the quotient is a float.
#[diagnostic::on_unimplemented(message = "a number cannot be divided by `{Self}`", label = "not a number")]
pub trait Divisor {
    /// The divisor as data.
    fn node(self) -> Node;
}

macro_rules! divisors {
    ($($literal:ty => $as:ty),*) => { $(
        #[diagnostic::do_not_recommend]
        impl Divisor for $literal {
            fn node(self) -> Node {
                <Self as Operand<$as>>::node(self)
            }
        }
    )* };
}
divisors!(i32 => i64, i64 => i64, u64 => u64, f32 => f64, f64 => f64);

#[diagnostic::do_not_recommend]
impl<T: Number> Divisor for Expr<T> {
    fn node(self) -> Node {
        self.into_node()
    }
}

#[diagnostic::do_not_recommend]
impl<T: Number> Divisor for &Expr<T> {
    fn node(self) -> Node {
        self.clone().into_node()
    }
}

/// What subtracting and negating sums of this type yields: unsigned numbers become signed.
pub trait Signed: Shape {
    /// The type of a difference.
    type Difference: Shape;
}

impl Signed for i64 {
    type Difference = i64;
}
impl Signed for u64 {
    type Difference = i64;
}
impl Signed for f64 {
    type Difference = f64;
}
impl<const P: u8, const S: i8> Signed for Decimal<P, S> {
    type Difference = Self;
}
#[diagnostic::do_not_recommend]
impl Signed for Unknown {
    type Difference = Unknown;
}

/// Types between which `$cond` and `$coalesce` may choose, given that another choice is an `A`.
#[diagnostic::on_unimplemented(
    message = "the values to choose from have different types: `{A}` and `{Self}`",
    label = "expected a `{A}`"
)]
pub trait Alternative<A>: Shape {}

#[diagnostic::do_not_recommend]
impl<T: Comparable<A>, A> Alternative<A> for T {}

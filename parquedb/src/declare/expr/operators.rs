//! Conditions joined, and Rust's operators on expressions.

use super::{Either, Expr, all, any, not};
use crate::declare::operand::{Addend, Divisor, Number, Predicate, Signed};
use crate::declare::shape::Shape;

#[allow(clippy::should_implement_trait)]
impl Expr<bool> {
    /// Whether both hold.
    pub fn and(self, other: impl Predicate) -> Expr<bool> {
        all([self.node, other.node()])
    }

    /// Whether one of them holds.
    pub fn or(self, other: impl Predicate) -> Expr<bool> {
        any([self.node, other.node()])
    }

    /// Whether it does not hold.
    #[must_use]
    pub fn not(self) -> Expr<bool> {
        not(self.node)
    }
}

impl<P: Predicate> std::ops::BitAnd<P> for Expr<bool> {
    type Output = Expr<bool>;
    fn bitand(self, other: P) -> Expr<bool> {
        self.and(other)
    }
}

impl<P: Predicate> std::ops::BitOr<P> for Expr<bool> {
    type Output = Expr<bool>;
    fn bitor(self, other: P) -> Expr<bool> {
        self.or(other)
    }
}

impl std::ops::Not for Expr<bool> {
    type Output = Expr<bool>;
    fn not(self) -> Expr<bool> {
        not(self.node)
    }
}

impl<T: Number, R: Addend<T::Sum>> std::ops::Add<R> for Expr<T> {
    type Output = Expr<Either<T::Null, R::Null, T::Sum>>;
    fn add(self, right: R) -> Self::Output {
        self.plus(right)
    }
}

impl<T: Number, R: Addend<T::Sum>> std::ops::Mul<R> for Expr<T> {
    type Output = Expr<Either<T::Null, R::Null, T::Sum>>;
    fn mul(self, right: R) -> Self::Output {
        self.times(right)
    }
}

impl<T: Number, R: Addend<T::Sum>> std::ops::Sub<R> for Expr<T>
where
    T::Sum: Signed,
{
    type Output = Expr<Either<T::Null, R::Null, <T::Sum as Signed>::Difference>>;
    fn sub(self, right: R) -> Self::Output {
        self.minus(right)
    }
}

impl<T: Number, R: Divisor> std::ops::Div<R> for Expr<T> {
    type Output = Expr<Option<f64>>;
    fn div(self, right: R) -> Self::Output {
        self.divided_by(right)
    }
}

impl<T: Number, R: Addend<T::Sum>> std::ops::Rem<R> for Expr<T> {
    type Output = Expr<<T::Sum as Shape>::Optional>;
    fn rem(self, right: R) -> Self::Output {
        self.remainder(right)
    }
}

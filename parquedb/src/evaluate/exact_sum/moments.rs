//! Variance and correlation from exact sums. The differences of like numbers that make the usual formulas
//! lose their digits are taken of integers; only the result is rounded.

use super::Total;
use num_bigint::{BigInt, BigUint, Sign};

/// The sample variance of so many values, from their sum and that of their squares.
pub(super) fn variance(count: i64, sum: &Total, squares: &Total) -> Option<f64> {
    Some(scaled_variance(count, sum, squares)?.value(-2148))
}

/// The square root of the sample variance, which may be a float where that is too great for one.
pub(super) fn deviation(count: i64, sum: &Total, squares: &Total) -> Option<f64> {
    Some(scaled_variance(count, sum, squares)?.root().value(-1074))
}

fn scaled_variance(count: i64, sum: &Total, squares: &Total) -> Option<Scaled> {
    if count < 2 {
        return None;
    }
    if sum.not_finite().is_some() {
        return Some(Scaled { float: f64::NAN, exponent: 0 });
    }
    let sum = integer(sum);
    let pairs = BigInt::from(count) * (count - 1);
    Some(Scaled::of(&spread(count, &sum, &sum, &integer(squares))).over(Scaled::of(&pairs)))
}

/// Pearson's coefficient, from the sums of x, y, xx, yy and xy.
pub(super) fn correlation(count: i64, sums: &[Total; 5]) -> Option<f64> {
    if count < 2 {
        return None;
    }
    let is_constant = |sum: usize, squares: usize| {
        let [sum, squares] = [sum, squares].map(|at| &sums[at]);
        let is_finite = sum.not_finite().is_none();
        is_finite && {
            let total = integer(sum);
            spread(count, &total, &total, &integer(squares)).sign() != Sign::Plus
        }
    };
    if is_constant(0, 2) || is_constant(1, 3) {
        return None;
    }
    if sums[..2].iter().any(|sum| sum.not_finite().is_some()) {
        return Some(f64::NAN);
    }
    let [x, y, xx, yy, xy] = sums.each_ref().map(integer);
    let (xx, yy) = (spread(count, &x, &x, &xx), spread(count, &y, &y, &yy));
    let root = Scaled::of(&(xx * yy)).root();
    Some(Scaled::of(&spread(count, &x, &y, &xy)).over(root).value(0).clamp(-1.0, 1.0))
}

/// `count` times the sum of products, less the product of the sums.
fn spread(count: i64, x: &BigInt, y: &BigInt, products: &BigInt) -> BigInt {
    products * count - x * y
}

fn integer(total: &Total) -> BigInt {
    let sign = if total.negative { Sign::Minus } else { Sign::Plus };
    BigInt::from_biguint(sign, BigUint::from_slice(&total.digits) << (32 * total.first))
}

/// A number of any size: a float times a power of two.
#[derive(Clone, Copy)]
struct Scaled {
    float: f64,
    exponent: i64,
}

impl Scaled {
    /// The uppermost bits of the number.
    fn of(number: &BigInt) -> Self {
        // An even exponent has a root.
        let exponent = number.bits().saturating_sub(126) / 2 * 2;
        let upper = i128::try_from(number >> exponent).unwrap_or_default();
        Self { float: upper as f64, exponent: i64::try_from(exponent).unwrap_or_default() }
    }

    fn over(self, divisor: Self) -> Self {
        Self { float: self.float / divisor.float, exponent: self.exponent - divisor.exponent }
    }

    fn root(self) -> Self {
        Self { float: self.float.sqrt(), exponent: self.exponent / 2 }
    }

    /// The number times two to the power of `exponent`.
    fn value(self, exponent: i64) -> f64 {
        let (mut value, mut left) = (self.float, self.exponent + exponent);
        while left != 0 && value != 0.0 && value.is_finite() {
            let step = left.clamp(-512, 512);
            value *= f64::from_bits(((1023 + step) as u64) << 52);
            left -= step;
        }
        value
    }
}

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{ExactSum, Total};
use crate::testing::Random;
use num_bigint::BigInt;

/// A float of any exponent, small or great, often one whose sum cancels.
fn float(random: &mut Random) -> f64 {
    let value = match random.below(8) {
        0 => f64::from_bits(random.next()),
        1 => f64::from_bits(random.below(1 << 52)),
        2 => *random.pick(&[0.0, -0.0, f64::MAX, f64::MIN_POSITIVE, 5e-324, 1e16, -1e16, 1.0]),
        3 => random.below(1000) as f64 / 10.0,
        4 => f64::from_bits((random.below(60) + 1000) << 52 | random.below(1 << 52)),
        _ => random.below(1 << 53) as f64 * 2_f64.powi(random.below(80) as i32 - 60),
    };
    let value = if random.one_in(2) { -value } else { value };
    if value.is_finite() { value } else { 1.5 }
}

fn floats(random: &mut Random) -> Vec<f64> {
    let mut values = (0..random.below(80)).map(|_| float(random)).collect::<Vec<_>>();
    if random.one_in(2) {
        let taken = values.iter().take(random.below(80) as usize).map(|value| -value).collect::<Vec<_>>();
        values.extend(taken);
    }
    values
}

/// The float times 2^1074.
fn integer(value: f64) -> BigInt {
    let bits = value.to_bits();
    let (exponent, fraction) = (bits >> 52 & 0x7ff, bits & ((1 << 52) - 1));
    let magnitude = if exponent == 0 {
        BigInt::from(fraction)
    } else {
        BigInt::from(fraction | 1 << 52) << (exponent - 1)
    };
    if value < 0.0 { -magnitude } else { magnitude }
}

/// The float nearest to an integer times 2^-1074: the nearer of two neighbours, found by bisection.
fn nearest(number: &BigInt) -> f64 {
    let magnitude = BigInt::from(number.magnitude().clone());
    let (mut low, mut high) = (0_u64, f64::INFINITY.to_bits());
    while high - low > 1 {
        let middle = low.midpoint(high);
        if integer(f64::from_bits(middle)) <= magnitude { low = middle } else { high = middle }
    }
    let infinite = high == f64::INFINITY.to_bits();
    let above = if infinite { BigInt::from(1) << (1024 + 1074) } else { integer(f64::from_bits(high)) };
    let (down, up) = (&magnitude - integer(f64::from_bits(low)), above - &magnitude);
    let bits = if down < up || down == up && low % 2 == 0 { low } else { high };
    let value = f64::from_bits(bits);
    if number.sign() == num_bigint::Sign::Minus { -value } else { value }
}

fn sum<const W: usize>(values: &[f64]) -> ExactSum<W> {
    let mut sum = ExactSum::default();
    values.iter().for_each(|value| sum.add(*value));
    sum
}

#[test]
fn the_sum_is_the_nearest_float_to_the_exact_one() {
    let random = &mut Random::new(1);
    for _ in 0..400 {
        let values = floats(random);
        let exact: BigInt = values.iter().map(|value| integer(*value)).sum();
        let total = sum::<4>(&values).total();
        assert_eq!(total.value().to_bits(), (nearest(&exact) + 0.0).to_bits(), "{values:?}");
        assert_eq!(total, sum::<8>(&values).total());
    }
}

#[test]
fn many_values_do_not_leave_their_limbs() {
    for value in [f64::MAX, -f64::MAX, 1.999_999_999, -5e-324, 3.0] {
        let total = sum::<4>(&vec![value; 100_000]).total();
        let exact = integer(value) * 100_000;
        assert_eq!(total.value().to_bits(), nearest(&exact).to_bits(), "{value}");
        assert_eq!(total.mean(100_000), value, "{value}");
    }
}

#[test]
fn sums_merge_in_any_order_and_can_be_taken_back() {
    let random = &mut Random::new(2);
    for _ in 0..300 {
        let (kept, removed) = (floats(random), floats(random));
        let mut all = sum::<8>(&removed);
        all.add_total(&sum::<4>(&kept).total());
        let stored = Total::decode(&all.total().encode()).unwrap();
        assert_eq!(stored, all.total());
        let mut left = ExactSum::<8>::default();
        left.add_total(&sum::<4>(&removed).total().negated());
        left.add_total(&stored);
        assert_eq!(left.total(), sum::<4>(&kept).total());
    }
}

#[test]
fn values_that_are_not_finite_can_be_taken_back() {
    let values = [1.0, f64::INFINITY, f64::NAN, 2.5];
    let mut all = sum::<4>(&values);
    assert!(all.total().value().is_nan());
    all.add_total(&sum::<4>(&[f64::NAN]).total().negated());
    assert_eq!(all.total().value(), f64::INFINITY);
    all.add(f64::NEG_INFINITY);
    assert!(all.total().value().is_nan());
    all.add_total(&sum::<4>(&[f64::INFINITY, f64::NEG_INFINITY]).total().negated());
    assert_eq!(all.total().value(), 3.5);
    assert_eq!(all.total().encode(), sum::<4>(&[3.5]).total().encode());
}

#[test]
fn products_are_exact() {
    let random = &mut Random::new(3);
    for _ in 0..200 {
        let (left, right) = (floats(random), floats(random));
        let mut sum = ExactSum::<8>::default();
        let mut exact = BigInt::ZERO;
        for (left, right) in left.iter().zip(&right) {
            sum.add_product(*left, *right);
            exact += integer(*left) * integer(*right);
        }
        let Total { negative, first, digits, .. } = sum.total();
        let found = BigInt::from(num_bigint::BigUint::from_slice(&digits) << (32 * first));
        assert_eq!(if negative { -found } else { found }, exact);
    }
}

#[test]
fn damaged_sums_are_errors() {
    for bytes in [&[][..], &[1], &[2, 0], &[1, 2, 0, 0], &[1, 0, 200, 1, 0, 0, 0], &[1, 0, 3, 1, 0, 0]] {
        assert!(Total::decode(bytes).is_err(), "{bytes:?}");
    }
}

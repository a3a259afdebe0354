//! Quantiles with a relative error of at most one percent: values are counted by buckets that grow with
//! them, the DDSketch of C. Masson, J. E. Rim and H. K. Lee, "DDSketch: a fast and fully-mergeable quantile
//! sketch with relative-error guarantees" (2019), <https://arxiv.org/abs/1908.10693>. Its logarithm is
//! interpolated by a cubic polynomial between powers of two, as in the authors' implementations: it is made of
//! additions and multiplications only, which are the same on every machine, as `ln` is not. Counts are neither
//! collapsed nor estimated, so states are added and subtracted exactly.

use super::function::ColumnFunction;
use arrow::array::{ArrayRef, AsArray, Float64Array, Int32Array};
use arrow::datatypes::{DataType, Float64Type, Int32Type};
use datafusion::logical_expr::Expr;
use std::sync::Arc;

/// Buckets between a power of two and the next. The logarithm rises by at least 10/7 per factor of e, so a
/// bucket's bounds are within exp(7/350) of each other, and its middle within one percent of both.
const BUCKETS_PER_OCTAVE: f64 = 35.0;

/// What is added to a bucket's number, so that those of positive numbers are positive.
const OFFSET: i32 = 40_000;

const INFINITE: i32 = 1_000_000;
const NAN: i32 = 2_000_000;

/// The number of the bucket of a float. The numbers are ordered as the floats.
pub(crate) fn sketch_bucket(value: Expr) -> Expr {
    let compute = |columns: &[ArrayRef], _: &DataType| {
        let buckets: Int32Array = columns[0].as_primitive::<Float64Type>().unary(bucket);
        Ok(Arc::new(buckets) as ArrayRef)
    };
    ColumnFunction::new("sketch_bucket", |_| Ok(DataType::Int32), compute).call(vec![value])
}

/// The float that stands for a bucket.
pub(crate) fn sketch_value(bucket: Expr) -> Expr {
    let compute = |columns: &[ArrayRef], _: &DataType| {
        let values: Float64Array = columns[0].as_primitive::<Int32Type>().unary(middle);
        Ok(Arc::new(values) as ArrayRef)
    };
    ColumnFunction::new("sketch_value", |_| Ok(DataType::Float64), compute).call(vec![bucket])
}

fn bucket(value: f64) -> i32 {
    if value.is_nan() {
        return NAN;
    }
    let magnitude = value.abs();
    let bucket = if magnitude == 0.0 {
        0
    } else if magnitude.is_infinite() {
        INFINITE
    } else {
        // Floats below 2^-1022 have no leading one.
        let (bits, scale) = if magnitude < f64::MIN_POSITIVE {
            ((magnitude * 2_f64.powi(54)).to_bits(), 54)
        } else {
            (magnitude.to_bits(), 0)
        };
        let exponent = (bits >> 52) as i32 - 1023 - scale;
        let fraction = f64::from_bits(bits & ((1 << 52) - 1) | 1023 << 52) - 1.0;
        let position = BUCKETS_PER_OCTAVE * (f64::from(exponent) + logarithm(fraction));
        let number = position.floor() as i32;
        number + OFFSET
    };
    if value < 0.0 { -bucket } else { bucket }
}

/// About the logarithm to base two of `1 + fraction`, from 0 to 1 as the fraction does.
fn logarithm(fraction: f64) -> f64 {
    ((6.0 / 35.0 * fraction - 3.0 / 5.0) * fraction + 10.0 / 7.0) * fraction
}

/// The fraction of a logarithm. The function rises, so halves of the interval are tried.
fn fraction(of: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if logarithm(middle) <= of { low = middle } else { high = middle }
    }
    low
}

/// The value that is as near, relatively, to the lower bound of a bucket as to the upper.
fn middle(bucket: i32) -> f64 {
    if bucket < 0 {
        return -middle(-bucket);
    }
    match bucket {
        0 => return 0.0,
        NAN => return f64::NAN,
        INFINITE => return f64::INFINITY,
        _ => {}
    }
    let octave = (bucket - OFFSET).div_euclid(BUCKETS_PER_OCTAVE as i32);
    let bound = |number: i32| {
        let logarithm = f64::from(number) / BUCKETS_PER_OCTAVE - f64::from(octave);
        if logarithm >= 1.0 { 2.0 } else { 1.0 + fraction(logarithm) }
    };
    let (lower, upper) = (bound(bucket - OFFSET), bound(bucket - OFFSET + 1));
    let significand = 2.0 * lower * upper / (lower + upper);
    // In two steps, because neither power may leave the range. The middle of the last bucket does.
    let half = octave / 2;
    (significand * 2_f64.powi(half) * 2_f64.powi(octave - half)).min(f64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{bucket, middle};
    use crate::testing::Random;

    #[test]
    fn a_bucket_is_within_one_percent_of_its_values() {
        let random = &mut Random::new(1);
        let mut values = vec![1.0, 2.0, f64::MIN_POSITIVE, f64::MAX, 1.0 - f64::EPSILON, 0.1, 1e-300];
        values.extend((0..100_000).map(|_| f64::from_bits(random.next() >> 1)));
        for value in values.into_iter().filter(|value| value.is_normal()) {
            let found = middle(bucket(value));
            assert!((found - value).abs() <= value * 0.01, "{value}: {found}");
            assert_eq!(bucket(-value), -bucket(value));
            assert_eq!(bucket(found), bucket(value), "{value}: {found}");
        }
        for value in [0.0, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(middle(bucket(value)), value);
        }
        assert!(middle(bucket(f64::NAN)).is_nan());
    }

    #[test]
    fn buckets_are_ordered_as_values() {
        let random = &mut Random::new(2);
        let mut values = (0..10_000).map(|_| f64::from_bits(random.next())).collect::<Vec<_>>();
        values.retain(|value| !value.is_nan());
        values.sort_by(f64::total_cmp);
        assert!(values.windows(2).all(|pair| bucket(pair[0]) <= bucket(pair[1])));
        assert!(bucket(f64::INFINITY) < bucket(f64::NAN));
    }
}

//! Sums, means and moments of floats against big integers and the textbook's two passes.

use super::harness::{Tried, by, of, seeds};
use crate::declare::plan::Aggregate;
use crate::testing::Random;
use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Float64Type};
use num_bigint::BigInt;
use std::sync::Arc;

/// Floats in their one form, as columns have them.
fn float(random: &mut Random) -> Option<f64> {
    let value = match random.below(12) {
        0 => return None,
        1 => f64::NAN,
        2 => *random.pick(&[f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN_POSITIVE, 5e-324]),
        3 => f64::from_bits(random.next()),
        4 | 5 => *random.pick(&[1e300, -1e300, 1e16, 1.0, 0.1]),
        _ => random.below(2000) as f64 / 8.0 - 100.0,
    };
    Some(if value.is_nan() { f64::NAN } else { value + 0.0 })
}

fn column(rows: &[Option<f64>]) -> Vec<(Field, ArrayRef)> {
    let values: Float64Array = rows.iter().copied().collect();
    vec![(Field::new("x", DataType::Float64, true), Arc::new(values))]
}

/// The sum in units of 2^-1074, unless something is not finite.
fn exact(values: &[f64]) -> Result<BigInt, f64> {
    let not_finite =
        values.iter().filter(|value| !value.is_finite()).copied().reduce(|left, right| left + right);
    if let Some(value) = not_finite {
        return Err(if value.is_nan() { f64::NAN } else { value });
    }
    Ok(values.iter().map(|value| integer(*value)).sum())
}

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

/// Sums that a float and its neighbours must be compared with as integers.
fn is_nearest(found: f64, exact: &BigInt) -> bool {
    let distance = |value: f64| BigInt::from((integer(value) - exact).magnitude().clone());
    found.is_infinite() && exact.bits() > 1024 + 1073
        || found.is_finite()
            && distance(found) <= distance(found.next_up().min(f64::MAX))
            && distance(found) <= distance(found.next_down().max(f64::MIN))
}

#[test]
fn sums_of_floats_do_not_depend_on_their_order() {
    for seed in seeds(6) {
        let random = &mut Random::new(seed);
        let finite = random.one_in(2);
        let rows = (0..random.below(60)).map(|_| float(random)).collect::<Vec<_>>();
        let rows =
            rows.into_iter().filter(|row| !finite || row.is_none_or(f64::is_finite)).collect::<Vec<_>>();
        // The result is checked apart, so that the laws compare only results with one another.
        let sums = |rows: &[Option<f64>]| {
            let values = rows.iter().flatten().copied().collect::<Vec<_>>();
            let mut sum = crate::evaluate::exact_sum::ExactSum::<4>::default();
            values.iter().for_each(|value| sum.add(*value));
            let found = sum.total().value();
            match exact(&values) {
                Ok(exact) => assert!(is_nearest(found, &exact), "seed {seed}: {found} of {values:?}"),
                Err(special) => {
                    assert!(special.to_bits() == found.to_bits() || special.is_nan() && found.is_nan())
                }
            }
            (found, sum.total().mean(values.len() as i64), values.len())
        };
        Tried::check(&of(Aggregate::Sum), seed, &rows, column, |rows| format!("{:?}", sums(rows).0 + 0.0));
        Tried::check(&of(Aggregate::Avg), seed, &rows, column, |rows| match sums(rows) {
            (.., 0) => "null".to_owned(),
            (_, mean, _) => format!("{:?}", mean + 0.0),
        });
    }
}

/// The sample covariance in two passes.
fn covariance(pairs: &[(f64, f64)]) -> f64 {
    let count = pairs.len() as f64;
    let mean_x = pairs.iter().map(|pair| pair.0).sum::<f64>() / count;
    let mean_y = pairs.iter().map(|pair| pair.1).sum::<f64>() / count;
    pairs.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>() / (count - 1.0)
}

fn pair_columns(rows: &[(Option<f64>, Option<f64>)]) -> Vec<(Field, ArrayRef)> {
    let x: Float64Array = rows.iter().map(|row| row.0).collect();
    let t: Float64Array = rows.iter().map(|row| row.1).collect();
    vec![
        (Field::new("x", DataType::Float64, true), Arc::new(x)),
        (Field::new("t", DataType::Float64, true), Arc::new(t)),
    ]
}

fn near(found: Option<f64>, expected: Option<f64>) -> bool {
    match (found, expected) {
        (Some(found), Some(expected)) => (found - expected).abs() <= 1e-9 * expected.abs().max(1e-9),
        (found, expected) => found == expected,
    }
}

#[test]
fn moments_are_those_of_the_textbook() {
    for seed in seeds(4) {
        let random = &mut Random::new(seed);
        // Far from zero, where the usual formula loses all digits.
        let offset = *random.pick(&[0.0, 1e8, -1e12]);
        let rows = (0..random.below(40))
            .map(|_| {
                let mut value = || (!random.one_in(6)).then(|| offset + random.below(1000) as f64 / 4.0);
                (value(), value())
            })
            .collect::<Vec<_>>();
        for aggregate in [of(Aggregate::Variance), of(Aggregate::Stddev), by(Aggregate::Corr)] {
            // Each result is compared with the textbook, then the laws by its own digits.
            let result = |rows: &[(Option<f64>, Option<f64>)]| {
                let columns = pair_columns(rows);
                let groups: ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![0; rows.len()]));
                let batch =
                    RecordBatch::try_from_iter_with_nullable(
                        std::iter::once(("g", groups, false)).chain(columns.into_iter().map(
                            |(field, array)| (if field.name() == "x" { "x" } else { "t" }, array, true),
                        )),
                    )
                    .unwrap();
                let tried = Tried::new(&aggregate, batch.schema_ref(), false);
                let found = tried.result(&[tried.over_rows(&batch)]);
                let found = found.as_primitive::<Float64Type>().iter().next().unwrap();
                let x = rows.iter().filter_map(|row| row.0).map(|x| (x, x)).collect::<Vec<_>>();
                let pairs = rows.iter().filter_map(|row| row.0.zip(row.1)).collect::<Vec<_>>();
                let expected = match aggregate.aggregate {
                    Aggregate::Variance => (x.len() > 1).then(|| covariance(&x)),
                    Aggregate::Stddev => (x.len() > 1).then(|| covariance(&x).sqrt()),
                    _ => {
                        let side = |of: fn(&(f64, f64)) -> f64| {
                            covariance(&pairs.iter().map(|pair| (of(pair), of(pair))).collect::<Vec<_>>())
                        };
                        let spread = side(|pair| pair.0) * side(|pair| pair.1);
                        (pairs.len() > 1 && spread > 0.0).then(|| covariance(&pairs) / spread.sqrt())
                    }
                };
                assert!(near(found, expected), "seed {seed}: {found:?}, {expected:?} of {rows:?}");
                found.map_or_else(|| "null".to_owned(), |found| format!("{found:?}"))
            };
            Tried::check(&aggregate, seed, &rows, pair_columns, result);
        }
    }
}

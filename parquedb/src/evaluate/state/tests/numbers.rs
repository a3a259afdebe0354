//! Counts, sums, means, extremes.

use super::harness::{Tried, of, seeds};
use crate::declare::plan::Aggregate;
use crate::testing::Random;
use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{DataType, Field};
use std::collections::BTreeSet;
use std::sync::Arc;

fn integers(random: &mut Random) -> Vec<Option<i64>> {
    let count = random.below(60);
    (0..count)
        .map(|_| match random.below(6) {
            0 => None,
            1 => Some(random.next() as i64 >> 8),
            _ => Some(random.below(9) as i64 - 4),
        })
        .collect()
}

fn integer_column(rows: &[Option<i64>]) -> Vec<(Field, ArrayRef)> {
    let values: Int64Array = rows.iter().copied().collect();
    vec![(Field::new("x", DataType::Int64, true), Arc::new(values))]
}

fn present(rows: &[Option<i64>]) -> Vec<i64> {
    rows.iter().flatten().copied().collect()
}

fn or_null(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "null".to_owned(), |value| value.to_string())
}

#[test]
fn integers_are_counted_and_added() {
    for seed in seeds(3) {
        let rows = integers(&mut Random::new(seed));
        let check = |aggregate, expected: &dyn Fn(&[i64]) -> String| {
            Tried::check(&of(aggregate), seed, &rows, integer_column, |rows| expected(&present(rows)));
        };
        check(Aggregate::Count, &|values| values.len().to_string());
        check(Aggregate::Sum, &|values| values.iter().sum::<i64>().to_string());
        check(Aggregate::Min, &|values| or_null(values.iter().min()));
        check(Aggregate::Max, &|values| or_null(values.iter().max()));
        check(Aggregate::CountDistinct, &|values| values.iter().collect::<BTreeSet<_>>().len().to_string());
        check(Aggregate::Avg, &|values| {
            let sum: i128 = values.iter().map(|value| i128::from(*value)).sum();
            let mean = sum as f64 / values.len() as f64;
            if values.is_empty() { "null".to_owned() } else { format!("{mean:?}") }
        });
    }
}

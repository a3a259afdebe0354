//! Ordered picks, and counts of true and of bits.

use super::harness::{Tried, by, of, seeds};
use crate::declare::plan::Aggregate;
use crate::testing::Random;
use arrow::array::{ArrayRef, BooleanArray, Int8Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field};
use std::sync::Arc;

type Row = (Option<String>, Option<i64>);

fn rows(random: &mut Random) -> Vec<Row> {
    (0..random.below(40))
        .map(|_| {
            let value = (!random.one_in(4)).then(|| random.pick(&["", "a", "b", "ä", "ab"]).to_string());
            (value, (!random.one_in(4)).then(|| random.below(6) as i64 - 3))
        })
        .collect()
}

fn columns(rows: &[Row]) -> Vec<(Field, ArrayRef)> {
    let x: StringArray = rows.iter().map(|row| row.0.clone()).collect();
    let t: Int64Array = rows.iter().map(|row| row.1).collect();
    vec![
        (Field::new("x", DataType::Utf8, true), Arc::new(x)),
        (Field::new("t", DataType::Int64, true), Arc::new(t)),
    ]
}

fn shown(value: Option<String>) -> String {
    value.unwrap_or_else(|| "null".to_owned())
}

#[test]
fn the_order_key_picks_and_then_the_value() {
    for seed in seeds(4) {
        let rows = rows(&mut Random::new(seed));
        let check = |aggregate, expected: &dyn Fn(&[Row]) -> Option<String>| {
            Tried::check(&by(aggregate), seed, &rows, columns, |rows| shown(expected(rows)));
        };
        // Nulls come last either way.
        check(Aggregate::First, &|rows| {
            let key = |row: &&Row| (row.1.is_none(), row.1, row.0.is_none(), row.0.clone());
            rows.iter().min_by_key(key).and_then(|row| row.0.clone())
        });
        check(Aggregate::Last, &|rows| {
            rows.iter().max_by_key(|row| (row.1, row.0.clone())).and_then(|row| row.0.clone())
        });
        let both =
            |rows: &[Row]| rows.iter().filter_map(|row| Some((row.1?, row.0.clone()?))).collect::<Vec<_>>();
        check(Aggregate::ArgMin, &|rows| both(rows).into_iter().min().map(|row| row.1));
        check(Aggregate::ArgMax, &|rows| both(rows).into_iter().max().map(|row| row.1));
        check(Aggregate::Any, &|rows| rows.iter().filter_map(|row| row.0.clone()).min());
    }
}

#[test]
fn truths_and_bits_are_counted() {
    for seed in seeds(4) {
        let random = &mut Random::new(seed);
        let truths = (0..random.below(12)).map(|_| (!random.one_in(4)).then(|| !random.one_in(4)));
        let truths = truths.collect::<Vec<_>>();
        let truth_column = |rows: &[Option<bool>]| -> Vec<(Field, ArrayRef)> {
            let values: BooleanArray = rows.iter().copied().collect();
            vec![(Field::new("x", DataType::Boolean, true), Arc::new(values))]
        };
        let null = |value: Option<String>| shown(value);
        Tried::check(&of(Aggregate::And), seed, &truths, truth_column, |rows| {
            null(rows.iter().flatten().copied().reduce(|a, b| a && b).map(|value| value.to_string()))
        });
        Tried::check(&of(Aggregate::Or), seed, &truths, truth_column, |rows| {
            null(rows.iter().flatten().copied().reduce(|a, b| a || b).map(|value| value.to_string()))
        });
        let numbers = (0..random.below(12)).map(|_| (!random.one_in(4)).then(|| random.next() as i8));
        let numbers = numbers.collect::<Vec<_>>();
        let number_column = |rows: &[Option<i8>]| -> Vec<(Field, ArrayRef)> {
            let values: Int8Array = rows.iter().copied().collect();
            vec![(Field::new("x", DataType::Int8, true), Arc::new(values))]
        };
        Tried::check(&of(Aggregate::BitAnd), seed, &numbers, number_column, |rows| {
            null(rows.iter().flatten().copied().reduce(|a, b| a & b).map(|value| value.to_string()))
        });
        Tried::check(&of(Aggregate::BitOr), seed, &numbers, number_column, |rows| {
            null(rows.iter().flatten().copied().reduce(|a, b| a | b).map(|value| value.to_string()))
        });
    }
}

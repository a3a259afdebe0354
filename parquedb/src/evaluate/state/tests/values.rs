//! Aggregates over the distinct values of a group, and sketches.

use super::harness::{Tried, by, of, seeds, with};
use crate::declare::node::Literal;
use crate::declare::plan::Aggregate;
use crate::testing::Random;
use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Float64Type};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

type Text = Option<&'static str>;

fn texts(random: &mut Random) -> Vec<Text> {
    let all = ["", "a", "b", "c", "ä", "ab", "ba", "long text with more than thirty-two bytes in it"];
    (0..random.below(60)).map(|_| (!random.one_in(5)).then(|| *random.pick(&all))).collect()
}

fn text_column(rows: &[Text]) -> Vec<(Field, ArrayRef)> {
    let values: StringArray = rows.iter().copied().collect();
    vec![(Field::new("x", DataType::Utf8, true), Arc::new(values))]
}

fn list<T: ToString>(values: impl IntoIterator<Item = T>) -> String {
    format!("[{}]", values.into_iter().map(|value| value.to_string()).collect::<Vec<_>>().join(", "))
}

#[test]
fn values_are_collected_and_counted() {
    for seed in seeds(4) {
        let rows = texts(&mut Random::new(seed));
        let sorted = |rows: &[Text]| {
            let mut values = rows.iter().flatten().copied().collect::<Vec<_>>();
            values.sort_unstable();
            values
        };
        let check = |aggregate, expected: &dyn Fn(&[Text]) -> String| {
            Tried::check(&aggregate, seed, &rows, text_column, expected);
        };
        check(of(Aggregate::Collect), &|rows| list(sorted(rows)));
        check(of(Aggregate::CollectSet), &|rows| list(sorted(rows).into_iter().collect::<BTreeSet<_>>()));
        check(of(Aggregate::CountDistinct), &|rows| {
            sorted(rows).into_iter().collect::<BTreeSet<_>>().len().to_string()
        });
        check(of(Aggregate::Uniq), &|rows| {
            sorted(rows).into_iter().collect::<BTreeSet<_>>().len().to_string()
        });
        check(with(Aggregate::TopK, vec![Literal::Int(3)]), &|rows| {
            let mut counts = BTreeMap::new();
            sorted(rows).into_iter().for_each(|value| *counts.entry(value).or_insert(0) += 1);
            let mut counts = counts.into_iter().collect::<Vec<_>>();
            counts.sort_by_key(|(value, count)| (-count, *value));
            list(counts.into_iter().take(3).map(|(value, _)| value))
        });
        for quantile in [0.0, 0.3, 0.5, 1.0] {
            check(with(Aggregate::QuantileExact, vec![Literal::Float(quantile)]), &|rows| {
                let values = sorted(rows);
                let rank = (quantile * values.len() as f64).ceil().max(1.0) as usize;
                values.get(rank - 1).map_or_else(|| "null".to_owned(), ToString::to_string)
            });
        }
    }
}

#[test]
fn histograms_lose_no_value() {
    for seed in seeds(4) {
        let random = &mut Random::new(seed);
        let rows = (0..random.below(60))
            .map(|_| (!random.one_in(5)).then(|| random.below(30) as i64 - 5))
            .collect::<Vec<_>>();
        let column = |rows: &[Option<i64>]| -> Vec<(Field, ArrayRef)> {
            let values: Int64Array = rows.iter().copied().collect();
            vec![(Field::new("x", DataType::Int64, true), Arc::new(values))]
        };
        let aggregate = with(Aggregate::Histogram, vec![Literal::Int(0), Literal::Int(10), Literal::Int(11)]);
        Tried::check(&aggregate, seed, &rows, column, |rows| {
            let mut counts = [0; 4];
            for value in rows.iter().flatten() {
                counts[[0, 10, 11].iter().filter(|bound| value >= bound).count()] += 1;
            }
            list(counts)
        });
    }
}

#[test]
fn quantiles_are_within_one_percent() {
    for seed in seeds(4) {
        let random = &mut Random::new(seed);
        let rows = (0..random.below(60))
            .map(|_| match random.below(8) {
                0 => None,
                1 => Some(*random.pick(&[0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e-300])),
                _ => Some((random.below(100_000) as f64 - 50_000.0) / 7.0),
            })
            .collect::<Vec<_>>();
        let column = |rows: &[Option<f64>]| -> Vec<(Field, ArrayRef)> {
            let values: Float64Array = rows.iter().copied().collect();
            vec![(Field::new("x", DataType::Float64, true), Arc::new(values))]
        };
        for (aggregate, quantiles) in
            [(Aggregate::Quantile, vec![0.5]), (Aggregate::Quantiles, vec![0.0, 0.25, 0.9, 1.0])]
        {
            let aggregate = with(aggregate, quantiles.iter().copied().map(Literal::Float).collect());
            // Each result is compared with the exact quantile, then the laws by its own digits.
            Tried::check(&aggregate, seed, &rows, column, |rows| {
                let groups: ArrayRef = Arc::new(Int64Array::from(vec![0; rows.len()]));
                let (_, values) = column(rows).remove(0);
                let batch =
                    RecordBatch::try_from_iter_with_nullable([("g", groups, false), ("x", values, true)])
                        .unwrap();
                let tried = Tried::new(&aggregate, batch.schema_ref(), false);
                let result = tried.result(&[tried.over_rows(&batch)]);
                let shown = super::harness::shown(&result)[0].clone();
                let mut sorted = rows.iter().flatten().copied().collect::<Vec<_>>();
                sorted.sort_by(f64::total_cmp);
                if sorted.is_empty() {
                    assert_eq!(shown, "null");
                    return shown;
                }
                let found = match result.as_list_opt::<i32>() {
                    Some(lists) => lists.value(0),
                    None => result,
                };
                for (found, quantile) in found.as_primitive::<Float64Type>().values().iter().zip(&quantiles) {
                    let rank = (quantile * sorted.len() as f64).ceil().max(1.0) as usize;
                    let exact = sorted[rank - 1];
                    let near = (found - exact).abs() <= 0.01 * exact.abs();
                    assert!(near || found.to_bits() == exact.to_bits(), "seed {seed}: {found} {exact}");
                }
                shown
            });
        }
    }
}

#[test]
fn sums_by_key_are_those_of_the_keys_that_have_values() {
    type Row = (Option<String>, Option<i64>);
    for seed in seeds(3) {
        let random = &mut Random::new(seed);
        let row = |random: &mut Random| -> Row {
            let key = (!random.one_in(5)).then(|| random.pick(&["", "a", "b", "ä"]).to_string());
            (key, (!random.one_in(5)).then(|| *random.pick(&[0, 1, -1, i64::MAX / 64, i64::MIN / 64])))
        };
        let rows = (0..random.below(60)).map(|_| row(random)).collect::<Vec<_>>();
        let columns = |rows: &[Row]| -> Vec<(Field, ArrayRef)> {
            let x: Int64Array = rows.iter().map(|row| row.1).collect();
            let t: StringArray = rows.iter().map(|row| row.0.clone()).collect();
            vec![
                (Field::new("x", DataType::Int64, true), Arc::new(x)),
                (Field::new("t", DataType::Utf8, true), Arc::new(t)),
            ]
        };
        Tried::check(&by(Aggregate::SumMap), seed, &rows, columns, |rows| {
            let mut sums = BTreeMap::new();
            for (key, value) in rows {
                if let (Some(key), Some(value)) = (key, value) {
                    *sums.entry(key).or_insert(0) += value;
                }
            }
            let entries = sums.iter().map(|(key, sum)| format!("{key}: {sum}"));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        });
    }
}

//! What the views must hold, by plain SQL over flat tables that this file makes from the rows.

use super::rows::{Payment, Reading};
use datafusion::prelude::{SessionConfig, SessionContext};
use parquedb::Timestamp;
use parquedb::arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use parquedb::arrow::datatypes::DataType;
use parquedb::arrow::util::display::array_value_to_string;
use std::collections::BTreeSet;
use std::sync::Arc;

const MICROS: i64 = 1_000_000;

/// The start of the unit of time that contains `at`, by the calendar and not by a database.
fn bucket(at: Timestamp, unit: &str) -> Timestamp {
    const DAY: i64 = 86_400 * MICROS;
    let micros = at.as_micros();
    let day = micros.div_euclid(DAY);
    let (year, month) = year_month(day);
    Timestamp::from_micros(match unit {
        "minute" => micros.div_euclid(60 * MICROS) * 60 * MICROS,
        "hour" => micros.div_euclid(3600 * MICROS) * 3600 * MICROS,
        "day" => day * DAY,
        // 1970-01-01 was a Thursday.
        "week" => (day - (day + 3).rem_euclid(7)) * DAY,
        "month" => first_day(year, month) * DAY,
        "quarter" => first_day(year, (month - 1) / 3 * 3 + 1) * DAY,
        "year" => first_day(year, 1) * DAY,
        other => panic!("{other}"),
    })
}

fn year_month(day: i64) -> (i64, i64) {
    let mut year = 1970 + day.div_euclid(366);
    while first_day(year + 1, 1) <= day {
        year += 1;
    }
    while first_day(year, 1) > day {
        year -= 1;
    }
    let month = (1..=12).rev().find(|month| first_day(year, *month) <= day).unwrap();
    (year, month)
}

fn first_day(year: i64, month: i64) -> i64 {
    let before = year - 1;
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let days = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let months: i64 = days[..usize::try_from(month - 1).unwrap()].iter().sum();
    before * 365 + before / 4 - before / 100 + before / 400 - 719_162 + months
}

fn ints<T>(rows: &[T], of: impl Fn(&T) -> Option<i64>) -> ArrayRef {
    Arc::new(rows.iter().map(of).collect::<Int64Array>())
}

fn floats<T>(rows: &[T], of: impl Fn(&T) -> Option<f64>) -> ArrayRef {
    Arc::new(rows.iter().map(of).collect::<Float64Array>())
}

fn texts<T>(rows: &[T], of: impl Fn(&T) -> Option<&str>) -> ArrayRef {
    Arc::new(rows.iter().map(of).collect::<StringArray>())
}

fn truths<T>(rows: &[T], of: impl Fn(&T) -> Option<bool>) -> ArrayRef {
    Arc::new(rows.iter().map(of).collect::<BooleanArray>())
}

fn times<T>(rows: &[T], of: impl Fn(&T) -> Option<Timestamp>) -> ArrayRef {
    let micros = rows.iter().map(|row| of(row).map(Timestamp::as_micros));
    Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}

fn table(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))
        .unwrap()
}

/// A session with the rows as flat tables.
pub(crate) fn session(readings: &[Reading], payments: &[Payment]) -> SessionContext {
    let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    let r = readings;
    let amounts = r.iter().map(|row| row.amount.map(|amount| amount.unscaled())).collect::<Decimal128Array>();
    let mut columns = vec![
        ("id", ints(r, |row| Some(row.id))),
        ("tiny", ints(r, |row| Some(row.tiny.into()))),
        ("short", ints(r, |row| Some(row.short.into()))),
        ("medium", ints(r, |row| Some(row.medium.into()))),
        ("big", ints(r, |row| Some(row.big))),
        ("unsigned_tiny", ints(r, |row| Some(row.unsigned_tiny.into()))),
        ("unsigned_short", ints(r, |row| Some(row.unsigned_short.into()))),
        ("unsigned_", ints(r, |row| Some(row.unsigned.into()))),
        ("unsigned_big", ints(r, |row| i64::try_from(row.unsigned_big).ok())),
        ("half", floats(r, |row| Some(row.half.into()))),
        ("value", floats(r, |row| Some(row.value))),
        ("ratio", floats(r, |row| row.ratio)),
        ("score", ints(r, |row| row.score.map(i64::from))),
        ("flag", truths(r, |row| row.flag)),
        ("kind", texts(r, |row| Some(&row.kind))),
        ("name", texts(r, |row| row.name.as_deref())),
        ("amount", Arc::new(amounts.with_precision_and_scale(12, 2).unwrap()) as ArrayRef),
        ("at", times(r, |row| Some(row.at))),
        ("ended", times(r, |row| row.ended)),
        ("words", ints(r, |row| i64::try_from(row.words.len()).ok())),
        (
            "x_and_y",
            truths(r, |row| Some(["x", "y"].iter().all(|word| row.words.iter().any(|other| other == word)))),
        ),
        ("host", texts(r, |row| row.origin.as_ref().map(|origin| origin.host.as_str()))),
        ("place", truths(r, |row| row.origin.as_ref()?.place.as_ref().map(|_| true))),
        ("city", texts(r, |row| row.origin.as_ref()?.place.as_ref()?.city.as_deref())),
        ("zone", ints(r, |row| Some(row.origin.as_ref()?.place.as_ref()?.zone.into()))),
        ("first", texts(r, |row| Some(row.items.first()?.sku.as_str()))),
        ("second_price", floats(r, |row| row.items.get(1)?.price)),
        ("env", texts(r, |row| row.labels.get("env").map(String::as_str))),
        ("word", texts(r, |row| row.words.first().map(String::as_str))),
    ];
    let units = ["minute", "hour", "day", "week", "month", "quarter", "year"];
    let at_names = units.map(|unit| format!("at_{unit}"));
    let ended_names = units.map(|unit| format!("ended_{unit}"));
    for (index, unit) in units.into_iter().enumerate() {
        columns.push((&at_names[index], times(r, |row| Some(bucket(row.at, unit)))));
        columns.push((&ended_names[index], times(r, |row| row.ended.map(|time| bucket(time, unit)))));
    }
    session.register_batch("r", table(columns)).unwrap();

    let items = r.iter().flat_map(|row| row.items.iter().map(move |item| (row, item))).collect::<Vec<_>>();
    session
        .register_batch(
            "i",
            table(vec![
                ("id", ints(&items, |(row, _)| Some(row.id))),
                ("kind", texts(&items, |(row, _)| Some(&row.kind))),
                ("at", times(&items, |(row, _)| Some(row.at))),
                ("host", texts(&items, |(row, _)| Some(&row.origin.as_ref()?.host))),
                ("sku", texts(&items, |(_, item)| Some(&item.sku))),
                ("quantity", ints(&items, |(_, item)| Some(item.quantity.into()))),
                ("price", floats(&items, |(_, item)| item.price)),
            ]),
        )
        .unwrap();
    let words = r.iter().flat_map(|row| row.words.iter().map(move |word| (row.id, word))).collect::<Vec<_>>();
    session
        .register_batch(
            "w",
            table(vec![
                ("id", ints(&words, |(id, _)| Some(*id))),
                ("word", texts(&words, |(_, word)| Some(word))),
            ]),
        )
        .unwrap();
    session
        .register_batch(
            "p",
            table(vec![
                ("id", ints(payments, |row| Some(row.id))),
                ("cents", ints(payments, |row| Some(row.cents))),
                ("payer", texts(payments, |row| row.payer.as_deref())),
                ("at", times(payments, |row| Some(row.at))),
                ("at_day", times(payments, |row| Some(bucket(row.at, "day")))),
            ]),
        )
        .unwrap();
    session
}

/// Rows as text: first what must be the same to the last digit, then the floats that may differ a little.
fn rows(batches: &[RecordBatch], inexact: &BTreeSet<usize>) -> Vec<(Vec<String>, Vec<Option<f64>>)> {
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let (mut exact, mut near) = (Vec::new(), Vec::new());
            for (index, column) in batch.columns().iter().enumerate() {
                if inexact.contains(&index) {
                    let text = array_value_to_string(column, row).unwrap();
                    near.push(if column.is_null(row) { None } else { Some(text.parse::<f64>().unwrap()) });
                } else if column.is_null(row) {
                    exact.push("null".to_owned());
                } else if matches!(column.data_type(), DataType::Float32 | DataType::Float64) {
                    let value = array_value_to_string(column, row).unwrap().parse::<f64>().unwrap();
                    assert!(value != 0.0 || value.is_sign_positive(), "a negative zero");
                    exact.push(format!("{value}"));
                } else {
                    exact.push(format!("'{}'", array_value_to_string(column, row).unwrap()));
                }
            }
            rows.push((exact, near));
        }
    }
    rows.sort_by(|left, right| left.partial_cmp(right).unwrap_or_else(|| left.0.cmp(&right.0)));
    rows
}

fn close(left: Option<f64>, right: Option<f64>) -> bool {
    match (left, right) {
        (Some(left), Some(right)) => {
            left == right
                || (left.is_nan() && right.is_nan())
                || (left - right).abs() <= 1e-9 * (1.0 + left.abs().max(right.abs()))
        }
        (left, right) => left.is_none() && right.is_none(),
    }
}

/// Asserts that both hold the same rows, in whatever order.
pub(crate) fn assert_same(
    view: &str,
    inexact: &str,
    actual: &[RecordBatch],
    expected: &[RecordBatch],
    context: &str,
) {
    let inexact = inexact
        .split_whitespace()
        .filter_map(|name| actual.first().map(|batch| batch.schema().index_of(name).unwrap()))
        .collect::<BTreeSet<_>>();
    let (actual, expected) = (rows(actual, &inexact), rows(expected, &inexact));
    if actual.len() == expected.len()
        && actual.iter().zip(&expected).all(|(left, right)| {
            left.0 == right.0 && left.1.iter().zip(&right.1).all(|(left, right)| close(*left, *right))
        })
    {
        return;
    }
    let missing = expected.iter().filter(|row| !actual.iter().any(|other| other.0 == row.0)).take(3);
    let extra = actual.iter().filter(|row| !expected.iter().any(|other| other.0 == row.0)).take(3);
    panic!(
        "view `{view}` is wrong, {context}: {} rows instead of {}\nmissing: {:?}\ntoo many: {:?}",
        actual.len(),
        expected.len(),
        missing.collect::<Vec<_>>(),
        extra.collect::<Vec<_>>()
    );
}

//! Whether a view holds what it must.

use super::value::{Row, Value, text, texts};
use super::view::View;

/// Whether rows are the same but for what estimates may differ.
pub(super) fn same(view: &View, read: &[Row], expected: &[Row]) -> bool {
    let near = view.member.near.iter().filter_map(|(name, part, apart)| {
        let at = view.member.fields.iter().position(|field| field.name == *name)?;
        Some((at, *part, *apart))
    });
    let near = near.collect::<Vec<_>>();
    if near.is_empty() {
        return texts(read) == texts(expected);
    }
    let split = |rows: &[Row]| {
        let rows = rows.iter().map(|row| {
            let mut exact = row.clone();
            near.iter().for_each(|(at, ..)| exact[*at] = Value::Null);
            let estimates = near.iter().map(|(at, ..)| row[*at].clone()).collect::<Row>();
            (text(&exact), estimates)
        });
        let mut rows = rows.collect::<Vec<_>>();
        rows.sort_by(|left, right| left.0.cmp(&right.0));
        rows
    };
    let number = |value: &Value| match value {
        Value::Int(value) => Some(*value as f64),
        Value::Float(value) => Some(*value),
        _ => None,
    };
    let is_near_number =
        |left: &Value, right: &Value, part: f64, apart: f64| match (number(left), number(right)) {
            (Some(left), Some(right)) if left.is_finite() && right.is_finite() => {
                (left - right).abs() <= right.abs() * part + apart
            }
            (left, right) => format!("{left:?}") == format!("{right:?}"),
        };
    let is_near = |left: &Value, right: &Value, part: f64, apart: f64| match (left, right) {
        (Value::List(left), Value::List(right)) => {
            let mut pairs = left.iter().zip(right);
            left.len() == right.len() && pairs.all(|(left, right)| is_near_number(left, right, part, apart))
        }
        (left, right) => is_near_number(left, right, part, apart),
    };
    let (read, expected) = (split(read), split(expected));
    read.len() == expected.len()
        && read.iter().zip(&expected).all(|(read, expected)| {
            let mut pairs = near.iter().zip(read.1.iter().zip(&expected.1));
            read.0 == expected.0
                && pairs.all(|((_, part, apart), (left, right))| is_near(left, right, *part, *apart))
        })
}

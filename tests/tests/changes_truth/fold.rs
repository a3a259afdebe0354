//! What aggregates give, computed plainly from the values of a group: of each row that counts, the value and the
//! second value.

use super::value::Value;
use std::cmp::Ordering;
use std::collections::BTreeMap;

pub(super) type Pairs = [(Value, Value)];
pub(super) type Fold = fn(&Pairs) -> Value;

/// The order of values of one type; null is greatest.
fn order(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Greater,
        (_, Value::Null) => Ordering::Less,
        (Value::Int(left), Value::Int(right)) | (Value::Time(left), Value::Time(right)) => left.cmp(right),
        (Value::Float(left), Value::Float(right)) => left.total_cmp(right),
        (Value::Text(left), Value::Text(right)) => left.cmp(right),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (left, right) => panic!("{left:?} and {right:?} have no order"),
    }
}

fn is_null(value: &Value) -> bool {
    matches!(value, Value::Null)
}

/// The values that are not null, in order.
fn sorted(rows: &Pairs) -> Vec<Value> {
    let mut values = rows.iter().map(|(x, _)| x.clone()).filter(|x| !is_null(x)).collect::<Vec<_>>();
    values.sort_by(order);
    values
}

fn rank(rows: &Pairs, quantile: f64) -> Value {
    let values = sorted(rows);
    let rank = (quantile * values.len() as f64).ceil().max(1.0) as usize;
    values.get(rank - 1).cloned().unwrap_or(Value::Null)
}

pub(super) fn middle(rows: &Pairs) -> Value {
    rank(rows, 0.5)
}

pub(super) fn middle_float(rows: &Pairs) -> Value {
    float(&middle(rows)).map_or(Value::Null, Value::Float)
}

pub(super) fn collect(rows: &Pairs) -> Value {
    Value::List(sorted(rows))
}

pub(super) fn collect_set(rows: &Pairs) -> Value {
    let mut values = sorted(rows);
    values.dedup_by(|left, right| order(left, right).is_eq());
    Value::List(values)
}

pub(super) fn top_two(rows: &Pairs) -> Value {
    let values = sorted(rows);
    let mut counted: Vec<(Value, usize)> = Vec::new();
    for value in values {
        match counted.last_mut() {
            Some((last, count)) if order(last, &value).is_eq() => *count += 1,
            _ => counted.push((value, 1)),
        }
    }
    // The lesser of equally frequent ones stays first.
    counted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    Value::List(counted.into_iter().take(2).map(|(value, _)| value).collect())
}

pub(super) fn histogram(rows: &Pairs) -> Value {
    let mut counts = BTreeMap::from([(0, 0), (1, 0), (2, 0)]);
    for value in sorted(rows).iter().filter_map(float) {
        *counts.entry([0.0, 4.0].iter().filter(|bound| value >= **bound).count()).or_insert(0) += 1;
    }
    Value::List(counts.into_values().map(Value::Int).collect())
}

/// By the second value, and then by the first. Rows without a second value come last either way.
pub(super) fn first(rows: &Pairs) -> Value {
    let least = rows.iter().min_by(|(x, t), (other, than)| order(t, than).then_with(|| order(x, other)));
    least.map_or(Value::Null, |(x, _)| x.clone())
}

pub(super) fn last(rows: &Pairs) -> Value {
    let nulls_least = |left: &Value, right: &Value| match (is_null(left), is_null(right)) {
        (false, false) => order(left, right),
        (left, right) => right.cmp(&left),
    };
    let greatest =
        rows.iter().max_by(|(x, t), (other, than)| nulls_least(t, than).then_with(|| nulls_least(x, other)));
    greatest.map_or(Value::Null, |(x, _)| x.clone())
}

fn both(rows: &Pairs) -> Vec<(Value, Value)> {
    rows.iter().filter(|(x, t)| !is_null(x) && !is_null(t)).cloned().collect()
}

pub(super) fn arg_min(rows: &Pairs) -> Value {
    first(&both(rows))
}

pub(super) fn arg_max(rows: &Pairs) -> Value {
    last(&both(rows))
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Int(value) => Some(*value as f64),
        Value::Float(value) => Some(*value),
        _ => None,
    }
}

/// The sums are exact, as the values are multiples of a power of two and small.
pub(super) fn variance(rows: &Pairs) -> Value {
    let values = rows.iter().filter_map(|(x, _)| float(x)).collect::<Vec<_>>();
    if values.len() < 2 {
        return Value::Null;
    }
    let n = values.len() as f64;
    let (sum, squares) = (values.iter().sum::<f64>(), values.iter().map(|x| x * x).sum::<f64>());
    Value::Float((n * squares - sum * sum) / (n * (n - 1.0)))
}

pub(super) fn stddev(rows: &Pairs) -> Value {
    match variance(rows) {
        Value::Float(variance) => Value::Float(variance.sqrt()),
        other => other,
    }
}

pub(super) fn two_quantiles(rows: &Pairs) -> Value {
    let quantiles = [0.5, 0.9].map(|quantile| float(&rank(rows, quantile)));
    match quantiles {
        [Some(middle), Some(high)] => Value::List(vec![Value::Float(middle), Value::Float(high)]),
        _ => Value::Null,
    }
}

/// Pearson's coefficient. The sums are exact as those of the variance.
pub(super) fn correlation(rows: &Pairs) -> Value {
    let pairs = rows.iter().filter_map(|(x, y)| Some((float(x)?, float(y)?))).collect::<Vec<_>>();
    let n = pairs.len() as f64;
    let sum = |of: &dyn Fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>();
    let (x, y) = (sum(&|pair| pair.0), sum(&|pair| pair.1));
    let (xx, yy) = (sum(&|pair| pair.0 * pair.0), sum(&|pair| pair.1 * pair.1));
    let (of_x, of_y) = (n * xx - x * x, n * yy - y * y);
    if pairs.len() < 2 || of_x == 0.0 || of_y == 0.0 {
        return Value::Null;
    }
    Value::Float((n * sum(&|pair| pair.0 * pair.1) - x * y) / (of_x.sqrt() * of_y.sqrt()))
}

/// Of maps, or of values by the keys beside them.
pub(super) fn sums_by_key(rows: &Pairs) -> Value {
    let mut sums = BTreeMap::new();
    let mut add = |key: &Value, value: &Value| {
        if let (Value::Text(key), Value::Int(value)) = (key, value) {
            *sums.entry(key.clone()).or_insert(0) += value;
        }
    };
    for (value, key) in rows {
        match value {
            Value::List(pairs) => pairs.iter().for_each(|pair| match pair {
                Value::Struct(parts) => add(&parts[0], &parts[1]),
                other => panic!("{other:?} is no pair"),
            }),
            value => add(key, value),
        }
    }
    let pairs = sums.into_iter().map(|(key, sum)| Value::Struct(vec![Value::Text(key), Value::Int(sum)]));
    Value::List(pairs.collect())
}

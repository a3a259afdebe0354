//! The stored states of fixed rows. Today's code must make the same states and read those that were
//! written once. The files are never rewritten: another format has another number and files of its own.
//! `PARQUEDB_BLESS=1` writes the file of an aggregate that has none.

use super::harness::{Tried, by, of, shown, with};
use crate::declare::node::{Literal, Node};
use crate::declare::plan::{Aggregate, AggregateColumn};
use crate::evaluate::state::FORMAT;
use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int8Array, Int64Array, Int64Builder, MapBuilder,
    RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray, UInt64Array,
};
use arrow::compute::concat_batches;
use arrow::json::{LineDelimitedWriter, ReaderBuilder};
use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

/// Two groups, one of them without values, with columns of several types.
fn rows() -> RecordBatch {
    let columns: [(&str, ArrayRef, bool); 9] = [
        ("g", Arc::new(Int64Array::from(vec![0, 0, 0, 0, 1, 0])), false),
        (
            "float",
            Arc::new(Float64Array::from(vec![
                Some(0.1),
                Some(-1e300),
                Some(2.5),
                Some(5e-324),
                None,
                Some(2.5),
            ])),
            true,
        ),
        (
            "special",
            Arc::new(Float64Array::from(vec![
                Some(1.0),
                Some(f64::NAN),
                Some(f64::INFINITY),
                Some(f64::NEG_INFINITY),
                None,
                Some(f64::NAN),
            ])),
            true,
        ),
        (
            "integer",
            Arc::new(Int64Array::from(vec![Some(7), Some(i64::MAX), Some(-3), None, None, Some(7)])),
            true,
        ),
        (
            "text",
            Arc::new(StringArray::from(vec![Some("b"), Some(""), None, Some("ä"), None, Some("b")])),
            true,
        ),
        (
            "truth",
            Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true), None, Some(true)])),
            true,
        ),
        ("small", Arc::new(Int8Array::from(vec![Some(-1), Some(6), None, Some(3), None, Some(2)])), true),
        (
            "price",
            Arc::new(
                Decimal128Array::from(vec![Some(125), Some(-50), None, Some(1), None, Some(0)])
                    .with_precision_and_scale(10, 2)
                    .unwrap(),
            ),
            true,
        ),
        (
            "time",
            Arc::new(
                TimestampMicrosecondArray::from(vec![Some(5), Some(9), Some(5), None, None, Some(-1)])
                    .with_timezone("UTC"),
            ),
            true,
        ),
    ];
    let mut counts = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    let maps: [Option<&[(&str, Option<i64>)]>; 6] = [
        Some(&[("a", Some(5)), ("b", Some(i64::MAX))]),
        Some(&[]),
        Some(&[("b", Some(-7)), ("ä", None)]),
        Some(&[("a", Some(-5))]),
        None,
        Some(&[("", Some(-1))]),
    ];
    for map in maps {
        for (key, value) in map.into_iter().flatten() {
            counts.keys().append_value(key);
            counts.values().append_option(*value);
        }
        counts.append(map.is_some()).unwrap();
    }
    let counts: ArrayRef = Arc::new(counts.finish());
    let big: ArrayRef = Arc::new(UInt64Array::from_iter_values([1, u64::MAX, 2, 3, 4, 5]));
    RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().chain([("big", big, false), ("counts", counts, true)]),
    )
    .unwrap()
}

/// The states of rows that may go, where they are others.
fn candidates() -> Vec<(&'static str, AggregateColumn)> {
    let names = ["min", "max_float", "any", "first", "last", "arg_min", "arg_max"];
    let kept =
        ["kept_min", "kept_max_float", "kept_any", "kept_first", "kept_last", "kept_arg_min", "kept_arg_max"];
    let of = |name: &str| {
        let aggregate = aggregates().into_iter().find(|(known, _)| *known == name).unwrap().1;
        // JSON has no NaN, which is a candidate as others.
        let is_special = aggregate.argument == Some(Node::Row.field("special"));
        let argument = if is_special { Some(Node::Row.field("float")) } else { aggregate.argument };
        AggregateColumn { argument, ..aggregate }
    };
    kept.into_iter().zip(names.map(of)).collect()
}

/// Every state format, by the name of its file.
fn aggregates() -> Vec<(&'static str, AggregateColumn)> {
    use Aggregate as A;
    let named = |field: &str, column: AggregateColumn| AggregateColumn {
        argument: Some(Node::Row.field(field)),
        by: column.by.map(|_| Node::Row.field("time")),
        ..column
    };
    let correlated = AggregateColumn { by: Some(Node::Row.field("small")), ..named("float", of(A::Corr)) };
    let bounds = vec![Literal::Int(0), Literal::Int(7)];
    vec![
        ("count", named("text", of(A::Count))),
        ("sum_integer", named("big", of(A::Sum))),
        ("sum_decimal", named("price", of(A::Sum))),
        ("sum_float", named("float", of(A::Sum))),
        ("sum_special", named("special", of(A::Sum))),
        ("avg_integer", named("integer", of(A::Avg))),
        ("avg_float", named("float", of(A::Avg))),
        ("variance", named("small", of(A::Variance))),
        ("stddev", named("float", of(A::Stddev))),
        ("corr", correlated),
        ("min", named("text", of(A::Min))),
        ("max_float", named("special", of(A::Max))),
        ("any", named("time", of(A::Any))),
        ("first", named("text", by(A::First))),
        ("last", named("float", by(A::Last))),
        ("arg_min", named("small", by(A::ArgMin))),
        ("arg_max", named("price", by(A::ArgMax))),
        ("count_distinct", named("integer", of(A::CountDistinct))),
        ("uniq_text", named("text", of(A::Uniq))),
        ("uniq_integer", named("integer", of(A::Uniq))),
        ("uniq_float", named("float", of(A::Uniq))),
        ("uniq_decimal", named("price", of(A::Uniq))),
        ("uniq_truth", named("truth", of(A::Uniq))),
        ("quantile", named("float", with(A::Quantile, vec![Literal::Float(0.5)]))),
        ("quantiles", named("special", with(A::Quantiles, vec![Literal::Float(0.0), Literal::Float(0.9)]))),
        ("quantile_exact", named("text", with(A::QuantileExact, vec![Literal::Float(0.5)]))),
        ("top_k", named("text", with(A::TopK, vec![Literal::Int(2)]))),
        ("collect", named("integer", of(A::Collect))),
        ("collect_set", named("time", of(A::CollectSet))),
        ("and", named("truth", of(A::And))),
        ("or", named("truth", of(A::Or))),
        ("bit_and", named("small", of(A::BitAnd))),
        ("bit_or", named("big", of(A::BitOr))),
        ("histogram", named("integer", with(A::Histogram, bounds))),
        ("sum_map", named("counts", of(A::SumMap))),
        (
            "sum_map_by_key",
            AggregateColumn { by: Some(Node::Row.field("text")), ..named("price", of(A::SumMap)) },
        ),
    ]
}

/// A line of JSON per state, then the results.
fn written(states: &RecordBatch, results: &[String]) -> String {
    let mut lines = Vec::new();
    LineDelimitedWriter::new(&mut lines).write(states).unwrap();
    let lines = String::from_utf8(lines).unwrap();
    format!("{lines}{}\n", serde_json::to_string(results).unwrap())
}

#[test]
fn states_of_earlier_versions_are_read_and_made_as_they_were() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("src/evaluate/state/tests/golden/version_{FORMAT}"));
    let rows = rows();
    let of_lasting = aggregates().into_iter().map(|(name, aggregate)| (name, aggregate, false));
    let of_others = candidates().into_iter().map(|(name, aggregate)| (name, aggregate, true));
    for (name, aggregate, may_lose_rows) in of_lasting.chain(of_others) {
        let tried = Tried::new(&aggregate, rows.schema_ref(), may_lose_rows);
        let made = tried.merge(&[tried.over_rows(&rows)]);
        let order = arrow::compute::sort_to_indices(made.column(0), None, None).unwrap();
        let made = arrow::compute::take_record_batch(&made, &order).unwrap();
        let now = written(&made, &shown(&tried.result(std::slice::from_ref(&made))));
        let file = folder.join(format!("{name}.jsonl"));
        if !file.exists() && std::env::var_os("PARQUEDB_BLESS").is_some() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&file, &now).unwrap();
        }
        let stored = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert_eq!(now, stored, "{name}: today's states are others than those of format {FORMAT}");

        let (states, results) = stored.trim_end().rsplit_once('\n').unwrap();
        let reader = ReaderBuilder::new(tried.stored_schema()).build(Cursor::new(states)).unwrap();
        let read = reader.collect::<Result<Vec<_>, _>>().unwrap();
        let read = concat_batches(&tried.stored_schema(), &read).unwrap();
        let found = shown(&tried.result(std::slice::from_ref(&read)));
        assert_eq!(serde_json::to_string(&found).unwrap(), results, "{name}");
    }
}

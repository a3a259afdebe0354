//! Types and values of the test's own, their Arrow form, and random ones.

use parquedb::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, ListArray, MapArray, RecordBatch,
    RecordBatchOptions, StringArray, StructArray, TimestampMicrosecondArray,
};
use parquedb::arrow::buffer::{NullBuffer, OffsetBuffer};
use parquedb::arrow::compute::cast;
use parquedb::arrow::datatypes::{self, DataType, Float64Type, Int64Type, Schema, SchemaRef, TimeUnit};
use parquedb::testing::Random;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Type {
    Int,
    Float,
    Text,
    Bool,
    Time,
    /// The position of an element: an integer that is never negative.
    Index,
    /// A map from text to integers; its values are lists of pairs.
    Sums,
    List(Box<Field>),
    Struct(Vec<Field>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) of: Type,
    pub(super) nullable: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Int(i64),
    Float(f64),
    Text(String),
    Bool(bool),
    /// Microseconds since 1970.
    Time(i64),
    List(Vec<Value>),
    Struct(Vec<Value>),
}

pub(super) type Row = Vec<Value>;

pub(super) const SCALARS: [Type; 5] = [Type::Int, Type::Float, Type::Text, Type::Bool, Type::Time];

pub(super) const WORDS: [&str; 7] = ["", "a", "b", "ann", "Anna", "bob", "Zoë"];

/// 2024-01-30T23:00:00Z: a month, a day and an hour end soon after.
pub(super) const AROUND: i64 = 1_706_655_600_000_000;

pub(super) fn field(name: &str, of: Type, nullable: bool) -> Field {
    Field { name: name.to_owned(), of, nullable }
}

impl Field {
    fn arrow(&self) -> datatypes::Field {
        datatypes::Field::new(&self.name, self.of.arrow(), self.nullable)
    }

    pub(super) fn random(&self, random: &mut Random) -> Value {
        if self.nullable && random.one_in(4) { Value::Null } else { self.of.random(random) }
    }
}

impl Type {
    fn arrow(&self) -> DataType {
        match self {
            Type::Int => DataType::Int64,
            Type::Float => DataType::Float64,
            Type::Text => DataType::Utf8,
            Type::Bool => DataType::Boolean,
            Type::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Type::Index => DataType::UInt64,
            Type::Sums => DataType::Map(Arc::new(sums_entries()), false),
            Type::List(item) => DataType::List(Arc::new(item.arrow())),
            Type::Struct(fields) => DataType::Struct(fields.iter().map(Field::arrow).collect()),
        }
    }

    pub(super) fn is_scalar(&self) -> bool {
        !matches!(self, Type::Sums | Type::List(_) | Type::Struct(_))
    }

    /// Small values, of which many are equal. Sums of the floats are exact in any order.
    pub(super) fn random(&self, random: &mut Random) -> Value {
        let number = |random: &mut Random, to: i64| i64::try_from(random.below(to as u64)).unwrap();
        match self {
            Type::Int => Value::Int(number(random, 16) - 4),
            Type::Float if random.one_in(20) => Value::Float(f64::NAN),
            Type::Float => Value::Float((number(random, 64) - 16) as f64 / 8.0),
            Type::Text => Value::Text((*random.pick(&WORDS)).to_owned()),
            Type::Bool => Value::Bool(random.one_in(2)),
            Type::Time => Value::Time(AROUND + number(random, 50) * 1_800_000_000 + number(random, 2)),
            Type::Index => Value::Int(number(random, 3)),
            Type::Sums => {
                let mut keys = WORDS.to_vec();
                keys.retain(|_| random.one_in(3));
                let pair =
                    |key: &str| Value::Struct(vec![Value::Text(key.to_owned()), Type::Int.random(random)]);
                Value::List(keys.into_iter().map(pair).collect())
            }
            Type::List(item) => Value::List((0..random.below(4)).map(|_| item.random(random)).collect()),
            Type::Struct(fields) => Value::Struct(fields.iter().map(|field| field.random(random)).collect()),
        }
    }

    /// What an array holds where the record around it is null.
    fn filler(&self) -> Value {
        match self {
            Type::Int => Value::Int(0),
            Type::Float => Value::Float(0.0),
            Type::Text => Value::Text(String::new()),
            Type::Bool => Value::Bool(false),
            Type::Time => Value::Time(0),
            Type::Index => Value::Int(0),
            Type::Sums | Type::List(_) => Value::List(Vec::new()),
            Type::Struct(fields) => Value::Struct(fields.iter().map(Field::filler).collect()),
        }
    }

    fn array(&self, values: &[Value]) -> ArrayRef {
        macro_rules! scalars {
            ($array:ty, $variant:path) => {
                values
                    .iter()
                    .map(|value| match value {
                        $variant(value) => Some(value.clone()),
                        _ => None,
                    })
                    .collect::<$array>()
            };
        }
        let valid = || NullBuffer::from_iter(values.iter().map(|value| !matches!(value, Value::Null)));
        match self {
            Type::Int => Arc::new(scalars!(Int64Array, Value::Int)),
            Type::Float => Arc::new(scalars!(Float64Array, Value::Float)),
            Type::Text => Arc::new(scalars!(StringArray, Value::Text)),
            Type::Bool => Arc::new(scalars!(BooleanArray, Value::Bool)),
            Type::Time => Arc::new(scalars!(TimestampMicrosecondArray, Value::Time).with_timezone("UTC")),
            Type::Index => {
                let wide = cast(&Type::Int.array(values), &DataType::UInt64);
                wide.unwrap()
            }
            Type::Sums => {
                let maps = values.iter().map(|value| match value {
                    Value::List(pairs) => pairs.as_slice(),
                    _ => &[],
                });
                let parts = |at: usize| {
                    let parts = maps.clone().flatten().map(move |pair| match pair {
                        Value::Struct(parts) => parts[at].clone(),
                        other => panic!("{other:?} is no pair"),
                    });
                    parts.collect::<Vec<_>>()
                };
                let columns = vec![Type::Text.array(&parts(0)), Type::Int.array(&parts(1))];
                let entries = sums_entries();
                let DataType::Struct(fields) = entries.data_type().clone() else { panic!("{entries}") };
                let offsets = OffsetBuffer::from_lengths(maps.clone().map(<[Value]>::len));
                let pairs = StructArray::new(fields, columns, None);
                Arc::new(MapArray::new(Arc::new(entries), offsets, pairs, Some(valid()), false))
            }
            Type::List(item) => {
                let lists = values.iter().map(|value| match value {
                    Value::List(elements) => elements.as_slice(),
                    _ => &[],
                });
                let elements = lists.clone().flatten().cloned().collect::<Vec<_>>();
                let offsets = OffsetBuffer::from_lengths(lists.map(<[Value]>::len));
                let array = item.of.array(&elements);
                Arc::new(ListArray::new(Arc::new(item.arrow()), offsets, array, Some(valid())))
            }
            Type::Struct(fields) => {
                let columns = fields.iter().enumerate().map(|(index, field)| {
                    let column = values.iter().map(|value| match value {
                        Value::Struct(parts) => parts[index].clone(),
                        _ => field.filler(),
                    });
                    field.of.array(&column.collect::<Vec<_>>())
                });
                let columns = columns.collect();
                Arc::new(StructArray::new(fields.iter().map(Field::arrow).collect(), columns, Some(valid())))
            }
        }
    }
}

fn sums_entries() -> datatypes::Field {
    let key = datatypes::Field::new("keys", DataType::Utf8, false);
    let value = datatypes::Field::new("values", DataType::Int64, false);
    datatypes::Field::new("entries", DataType::Struct(vec![key, value].into()), false)
}

impl Field {
    fn filler(&self) -> Value {
        if self.nullable { Value::Null } else { self.of.filler() }
    }
}

pub(super) fn schema(fields: &[Field]) -> SchemaRef {
    Arc::new(Schema::new(fields.iter().map(Field::arrow).collect::<Vec<_>>()))
}

pub(super) fn to_batch(fields: &[Field], rows: &[Row]) -> RecordBatch {
    let columns = fields.iter().enumerate().map(|(index, field)| {
        let values = rows.iter().map(|row| row[index].clone()).collect::<Vec<_>>();
        field.of.array(&values)
    });
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(schema(fields), columns.collect(), &options).unwrap()
}

pub(super) fn from_batches(batches: &[RecordBatch]) -> Vec<Row> {
    let rows = batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch, row)));
    rows.map(|(batch, row)| batch.columns().iter().map(|column| value_at(column, row)).collect()).collect()
}

fn value_at(array: &ArrayRef, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Int64 => Value::Int(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => Value::Float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
        DataType::Timestamp(_, _) => {
            let micros = cast(&array.slice(row, 1), &DataType::Int64).unwrap();
            Value::Time(micros.as_primitive::<Int64Type>().value(0))
        }
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => {
            let text = cast(&array.slice(row, 1), &DataType::Utf8).unwrap();
            Value::Text(text.as_string::<i32>().value(0).to_owned())
        }
        DataType::List(_) => {
            let elements = array.as_list::<i32>().value(row);
            Value::List((0..elements.len()).map(|index| value_at(&elements, index)).collect())
        }
        DataType::Map(_, _) => {
            let pairs: ArrayRef = Arc::new(array.as_map().value(row));
            Value::List((0..pairs.len()).map(|index| value_at(&pairs, index)).collect())
        }
        DataType::Struct(_) => {
            Value::Struct(array.as_struct().columns().iter().map(|column| value_at(column, row)).collect())
        }
        kind if kind.is_integer() || matches!(kind, DataType::Decimal128(_, 0)) => {
            let wide = cast(&array.slice(row, 1), &DataType::Int64).unwrap();
            Value::Int(wide.as_primitive::<Int64Type>().value(0))
        }
        other => panic!("the test knows no values of type {other}"),
    }
}

/// The same rows, where every zero of a float in a row of an odd number is negative, which is the same.
pub(super) fn with_negative_zeros(rows: &[Row]) -> Vec<Row> {
    fn negative(value: &Value) -> Value {
        match value {
            Value::Float(0.0) => Value::Float(-0.0),
            Value::List(values) => Value::List(values.iter().map(negative).collect()),
            Value::Struct(values) => Value::Struct(values.iter().map(negative).collect()),
            other => other.clone(),
        }
    }
    let rows = rows.iter().enumerate();
    rows.map(|(number, row)| if number % 2 == 1 { row.iter().map(negative).collect() } else { row.clone() })
        .collect()
}

/// A row's text: two rows are the same if their texts are.
pub(super) fn text(row: &Row) -> String {
    let parts = row.iter().map(|value| match value {
        Value::Null => "null".to_owned(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => format!("{value:?}"),
        Value::Text(value) => format!("{value:?}"),
        Value::Bool(value) => value.to_string(),
        Value::Time(value) => format!("@{value}"),
        Value::List(values) => format!("[{}]", text(values)),
        Value::Struct(values) => format!("{{{}}}", text(values)),
    });
    parts.collect::<Vec<_>>().join(", ")
}

/// The rows' texts in an order of their own.
pub(super) fn texts(rows: &[Row]) -> Vec<String> {
    let mut texts = rows.iter().map(text).collect::<Vec<_>>();
    texts.sort_unstable();
    texts
}

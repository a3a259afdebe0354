//! Rows to Arrow and back: every type, at depth, with nulls at every level, through memory, IPC and Parquet.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use parquedb::declare::declared::Declared;
use parquedb::declare::definition::Definition;
use parquedb::declare::node::{Function, Node};
use parquedb::declare::record::Record;
use parquedb::declare::shape::NotNull;
use parquedb::{Bytes, Collection, Date, Decimal, Json, Row, Timestamp, Ulid, Uuid};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

#[derive(Collection, Debug, Clone, PartialEq)]
#[collection(key = (tenant, id), version = updated_at)]
struct Everything {
    id: u64,
    /// Whose row it is.
    #[collection(rename = "tenantId")]
    tenant: String,
    updated_at: Timestamp,
    values: Values,
    maybe: Option<Values>,
    list: Vec<Values>,
    maybe_list: Option<Vec<Option<Values>>>,
    deep: Option<Level1>,
    tree: BTreeMap<String, Vec<Option<Values>>>,
}

#[derive(Collection, Debug, Clone, PartialEq)]
struct Values {
    a: i8,
    b: i16,
    c: i32,
    d: i64,
    e: u8,
    f: u16,
    g: u32,
    h: u64,
    i: f32,
    j: f64,
    k: bool,
    l: String,
    m: Bytes,
    n: Timestamp,
    o: Date,
    p: Decimal<38, 9>,
    q: Uuid,
    r: Ulid,
    s: Json,
    options: Options,
}

#[derive(Collection, Debug, Clone, PartialEq, Default)]
struct Options {
    a: Option<i8>,
    b: Option<i16>,
    c: Option<i32>,
    d: Option<i64>,
    e: Option<u8>,
    f: Option<u16>,
    g: Option<u32>,
    h: Option<u64>,
    i: Option<f32>,
    j: Option<f64>,
    k: Option<bool>,
    l: Option<String>,
    m: Option<Bytes>,
    n: Option<Timestamp>,
    o: Option<Date>,
    p: Option<Decimal<5, 2>>,
    q: Option<Uuid>,
    r: Option<Ulid>,
    s: Option<Json>,
}

#[derive(Collection, Debug, Clone, PartialEq)]
struct Level1 {
    next: Option<Level2>,
    number: i64,
}

#[derive(Collection, Debug, Clone, PartialEq)]
struct Level2 {
    levels: Vec<Option<Level3>>,
    by_name: HashMap<String, Option<Level3>>,
    r#type: Option<Vec<Vec<Option<String>>>>,
}

#[derive(Collection, Debug, Clone, PartialEq)]
struct Level3 {
    jsons: Vec<Option<Json>>,
    ids: BTreeMap<String, Uuid>,
    amount: Option<Decimal<18, 4>>,
    values: Option<Options>,
}

/// SplitMix64: enough to draw rows from, the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Often an extreme: 0, 1, -1, the least, the greatest.
    fn bits(&mut self) -> u64 {
        match self.below(8) {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << 63,
            3 => (1 << 63) - 1,
            4 => 1,
            _ => self.next(),
        }
    }

    fn float(&mut self) -> f64 {
        // Not NaN, which equals nothing, and not -0.0, which is stored as 0.0.
        match self.below(6) {
            0 => 0.0,
            1 => f64::INFINITY,
            2 => f64::NEG_INFINITY,
            3 => f64::MIN_POSITIVE / 2.0,
            _ => f64::from(self.next() as i32) / 7.0,
        }
    }

    fn text(&mut self) -> String {
        let alphabet = ['a', 'Z', '0', ' ', '"', '\\', '\n', '\0', 'é', '日', '🦀'];
        (0..self.below(12)).map(|_| alphabet[self.below(alphabet.len() as u64) as usize]).collect()
    }

    fn bytes(&mut self) -> Bytes {
        (0..self.below(20)).map(|_| self.next() as u8).collect::<Vec<_>>().into()
    }

    fn unscaled(&mut self, digits: u32) -> i128 {
        let limit = 10_i128.pow(digits);
        match self.below(4) {
            0 => limit - 1,
            1 => 1 - limit,
            _ => (i128::from(self.next()) * i128::from(self.next() >> 1)) % limit,
        }
    }

    fn json(&mut self) -> Json {
        match self.below(4) {
            0 => Json::parse("null").unwrap(),
            1 => Json::parse("{\"b\": [1, 2.50],  \"a\": {}}").unwrap(),
            2 => Json::from(serde_json::json!({ "text": self.text(), "n": self.next() })),
            _ => Json::from(serde_json::Value::String(self.text())),
        }
    }

    fn option<T>(&mut self, draw: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(3) > 0).then(|| draw(self))
    }

    fn list<T>(&mut self, mut draw: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(4)).map(|_| draw(self)).collect()
    }

    fn map<M: FromIterator<(String, T)>, T>(&mut self, mut draw: impl FnMut(&mut Self) -> T) -> M {
        (0..self.below(4)).map(|_| (self.text(), draw(self))).collect()
    }

    fn options(&mut self) -> Options {
        Options {
            a: self.option(|r| r.bits() as i8),
            b: self.option(|r| r.bits() as i16),
            c: self.option(|r| r.bits() as i32),
            d: self.option(|r| r.bits() as i64),
            e: self.option(|r| r.bits() as u8),
            f: self.option(|r| r.bits() as u16),
            g: self.option(|r| r.bits() as u32),
            h: self.option(Random::bits),
            i: self.option(|r| r.float() as f32),
            j: self.option(Random::float),
            k: self.option(|r| r.below(2) == 1),
            l: self.option(Random::text),
            m: self.option(Random::bytes),
            n: self.option(|r| Timestamp::from_micros(r.bits() as i64)),
            o: self.option(|r| Date::from_days(r.bits() as i32)),
            p: self.option(|r| Decimal::from_unscaled(r.unscaled(5)).unwrap()),
            q: self.option(|r| Uuid::from_u64_pair(r.bits(), r.bits())),
            r: self.option(|r| Ulid(u128::from(r.bits()) << 64 | u128::from(r.bits()))),
            s: self.option(Random::json),
        }
    }

    fn values(&mut self) -> Values {
        Values {
            a: self.bits() as i8,
            b: self.bits() as i16,
            c: self.bits() as i32,
            d: self.bits() as i64,
            e: self.bits() as u8,
            f: self.bits() as u16,
            g: self.bits() as u32,
            h: self.bits(),
            i: self.float() as f32,
            j: self.float(),
            k: self.below(2) == 1,
            l: self.text(),
            m: self.bytes(),
            n: Timestamp::from_micros(self.bits() as i64),
            o: Date::from_days(self.bits() as i32),
            p: Decimal::from_unscaled(self.unscaled(38)).unwrap(),
            q: Uuid::from_u64_pair(self.bits(), self.bits()),
            r: Ulid(u128::from(self.bits()) << 64 | u128::from(self.bits())),
            s: self.json(),
            options: self.options(),
        }
    }

    fn level3(&mut self) -> Level3 {
        Level3 {
            jsons: self.list(|r| r.option(Random::json)),
            ids: self.map(|r| Uuid::from_u64_pair(r.bits(), r.bits())),
            amount: self.option(|r| Decimal::from_unscaled(r.unscaled(18)).unwrap()),
            values: self.option(Random::options),
        }
    }

    fn level2(&mut self) -> Level2 {
        Level2 {
            levels: self.list(|r| r.option(Random::level3)),
            by_name: self.map(|r| r.option(Random::level3)),
            r#type: self.option(|r| r.list(|r| r.list(|r| r.option(Random::text)))),
        }
    }

    fn everything(&mut self) -> Everything {
        Everything {
            id: self.bits(),
            tenant: self.text(),
            updated_at: Timestamp::from_micros(self.bits() as i64),
            values: self.values(),
            maybe: self.option(Random::values),
            list: self.list(Random::values),
            maybe_list: self.option(|r| r.list(|r| r.option(Random::values))),
            deep: self.option(|r| Level1 { next: r.option(Random::level2), number: r.bits() as i64 }),
            tree: self.map(|r| r.list(|r| r.option(Random::values))),
        }
    }
}

fn through_ipc(batch: &RecordBatch) -> RecordBatch {
    let mut bytes = Vec::new();
    let mut writer = arrow::ipc::writer::StreamWriter::try_new(&mut bytes, &batch.schema()).unwrap();
    writer.write(batch).unwrap();
    writer.finish().unwrap();
    drop(writer);
    arrow::ipc::reader::StreamReader::try_new(bytes.as_slice(), None).unwrap().next().unwrap().unwrap()
}

fn through_parquet(batch: &RecordBatch) -> RecordBatch {
    let mut bytes = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    let reader =
        parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).unwrap();
    let schema = Arc::clone(reader.schema());
    let batches: Vec<_> = reader.with_batch_size(1 << 20).build().unwrap().map(Result::unwrap).collect();
    arrow::compute::concat_batches(&schema, &batches).unwrap()
}

fn seeds() -> std::ops::Range<u64> {
    let read = |name, default| std::env::var(name).map_or(default, |text| text.parse().expect(name));
    let first = read("PARQUEDB_SEED", 1);
    first..first + read("PARQUEDB_SEEDS", 20)
}

#[test]
fn rows_truth_survive_memory_ipc_and_parquet() {
    for seed in seeds() {
        let mut random = Random(seed);
        let rows: Vec<_> = (0..random.below(40)).map(|_| random.everything()).collect();
        let batch = Everything::to_batch(&rows).unwrap();
        assert_eq!(batch.schema(), Everything::schema(), "PARQUEDB_SEED={seed}");
        assert_eq!(Everything::from_batch(&batch).unwrap(), rows, "in memory, PARQUEDB_SEED={seed}");
        // Equal rows give equal batches, whatever the order inside a HashMap.
        assert_eq!(Everything::to_batch(&rows.clone()).unwrap(), batch, "PARQUEDB_SEED={seed}");
        if rows.len() > 3 {
            assert_eq!(
                Everything::from_batch(&batch.slice(1, 2)).unwrap(),
                rows[1..3],
                "slice, PARQUEDB_SEED={seed}"
            );
        }
        let sent = through_ipc(&batch);
        assert_eq!(sent.schema(), batch.schema(), "PARQUEDB_SEED={seed}");
        assert_eq!(Everything::from_batch(&sent).unwrap(), rows, "through IPC, PARQUEDB_SEED={seed}");
        let stored = through_parquet(&batch);
        assert_eq!(stored.schema(), batch.schema(), "PARQUEDB_SEED={seed}");
        assert_eq!(Everything::from_batch(&stored).unwrap(), rows, "through Parquet, PARQUEDB_SEED={seed}");
    }
}

#[test]
fn columns_have_the_documented_types() {
    let schema = Everything::schema();
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(
        names,
        ["id", "tenantId", "updated_at", "values", "maybe", "list", "maybe_list", "deep", "tree"]
    );
    assert_eq!(
        schema.field(2),
        &Field::new("updated_at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false)
    );
    assert!(schema.field(4).is_nullable() && !schema.field(3).is_nullable());
    let DataType::Struct(values) = schema.field(3).data_type() else { panic!("a struct") };
    let field = |name| values.find(name).unwrap().1;
    assert_eq!(field("p").data_type(), &DataType::Decimal128(38, 9));
    assert_eq!(field("q").data_type(), &DataType::FixedSizeBinary(16));
    assert_eq!(field("q").metadata()["ARROW:extension:name"], "arrow.uuid");
    assert_eq!(field("s").metadata()["ARROW:extension:name"], "arrow.json");
    assert!(field("r").metadata().is_empty());
    let DataType::List(item) = schema.field(5).data_type() else { panic!("a list") };
    assert!(item.name() == "item" && !item.is_nullable());
}

#[test]
fn definition_names_stored_columns() {
    let Definition::Collection(definition) = Everything::definition() else { panic!("a collection") };
    assert_eq!(definition.name, "Everything");
    assert_eq!(definition.table, "everything");
    assert_eq!(definition.key, ["tenantId", "id"]);
    assert_eq!(definition.version.as_deref(), Some("updated_at"));
    assert_eq!(Everything::FIELDS[1], "tenant");
}

#[test]
fn handles_follow_stored_names() {
    let row = Everything::handles::<NotNull>(Node::Row);
    assert_eq!(row.tenant.clone().into_node(), Node::Row.field("tenantId"));
    let maybe = row.maybe.clone();
    assert_eq!(maybe.options.l.into_node(), Node::Row.field("maybe").field("options").field("l"));
    assert_eq!(
        row.deep.clone().exists().into_node(),
        Node::Call(Function::Exists, vec![Node::Row.field("deep")])
    );
}

#[derive(Collection, Debug, PartialEq)]
struct Small {
    #[key]
    name: String,
    count: Option<i64>,
    inner: Option<Inner>,
}

#[derive(Collection, Debug, PartialEq)]
struct Inner {
    float: f64,
    json: Json,
}

fn batch(columns: Vec<(&str, Arc<dyn Array>)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))
        .unwrap()
}

fn small_inner() -> Arc<dyn Array> {
    let rows = [
        Small { name: "a".into(), count: None, inner: None },
        Small { name: "b".into(), count: None, inner: None },
    ];
    Arc::clone(Small::to_batch(&rows).unwrap().column(2))
}

#[test]
fn columns_are_found_by_name_in_any_layout() {
    let found = Small::from_batch(&batch(vec![
        ("extra", Arc::new(Int64Array::from(vec![1, 2]))),
        ("inner", small_inner()),
        ("count", Arc::new(Int64Array::from(vec![None, Some(2)]))),
        ("name", Arc::new(arrow::array::StringViewArray::from(vec!["x", "a text longer than twelve bytes"]))),
    ]));
    let found = found.unwrap();
    assert_eq!(found[0].name, "x");
    assert_eq!(
        found[1],
        Small { name: "a text longer than twelve bytes".into(), count: Some(2), inner: None }
    );
}

#[test]
fn mistakes_name_the_column_and_both_types() {
    let names: Arc<dyn Array> = Arc::new(StringArray::from(vec!["a", "b"]));
    let counts: Arc<dyn Array> = Arc::new(Int64Array::from(vec![1, 2]));
    let cases: Vec<(Vec<(&str, Arc<dyn Array>)>, &str)> = vec![
        (
            vec![("name", names.clone()), ("inner", small_inner())],
            "Small: there is no column `count`; there are: name, inner",
        ),
        (
            vec![("name", counts.clone()), ("count", counts.clone()), ("inner", small_inner())],
            "Small: column `name` should be Utf8 but is Int64",
        ),
        (
            vec![
                ("name", Arc::new(StringArray::from(vec![Some("a"), None]))),
                ("count", counts.clone()),
                ("inner", small_inner()),
            ],
            "Small: column `name`, value 1: it is null, but the field is not an `Option`",
        ),
    ];
    for (columns, message) in cases {
        assert_eq!(Small::from_batch(&batch(columns)).unwrap_err().to_string(), message);
    }
    let wrong =
        Small::from_batch(&batch(vec![("name", names), ("count", counts.clone()), ("inner", counts)]));
    assert!(wrong.unwrap_err().to_string().starts_with("Small: column `inner` should be Struct("));
}

#[test]
fn stored_text_that_is_not_json_is_an_error() {
    let fields = Inner::schema();
    let columns: Vec<Arc<dyn Array>> =
        vec![Arc::new(arrow::array::Float64Array::from(vec![1.0])), Arc::new(StringArray::from(vec!["{"]))];
    let error = Inner::from_batch(&RecordBatch::try_new(fields, columns).unwrap()).unwrap_err();
    assert!(
        error.to_string().starts_with("Inner: column `json`, value 0: a Json value is not JSON text"),
        "{error}"
    );
}

#[test]
fn floats_are_canonical() {
    let negative_nan = f64::from_bits(0xfff8_0000_0000_0001);
    let rows: Vec<_> = [-0.0, f64::NAN, negative_nan, -1.5]
        .into_iter()
        .map(|float| Inner { float, json: Json::parse("1").unwrap() })
        .collect();
    let batch = Inner::to_batch(&rows).unwrap();
    let stored = batch.column(0).as_primitive::<arrow::datatypes::Float64Type>();
    let bits: Vec<_> = stored.values().iter().map(|float| float.to_bits()).collect();
    assert_eq!(bits, [0, 0x7ff8_0000_0000_0000, 0x7ff8_0000_0000_0000, (-1.5_f64).to_bits()]);
}

#[test]
fn children_of_a_null_record_are_null() {
    let inner = small_inner();
    let inner = inner.as_struct();
    assert_eq!((inner.null_count(), inner.column(0).null_count(), inner.column(1).null_count()), (2, 2, 2));
}

#[test]
fn no_rows_are_a_batch_too() {
    let batch = Everything::to_batch(&[]).unwrap();
    assert_eq!(batch.num_rows(), 0);
    assert!(Everything::from_batch(&through_parquet(&batch)).unwrap().is_empty());
    assert_ne!(Schema::empty(), *Everything::schema());
}

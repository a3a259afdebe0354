//! Collections made from a seed, and what SQL and the language see of a member's rows: a flat column for each
//! path that leads to a scalar.

use super::value::{Field, Row, Type, Value, field, schema, to_batch};
use parquedb::arrow::array::RecordBatch;
use parquedb::declare::definition::{CollectionDefinition, Definition, Ttl};
use parquedb::declare::node::Node;
use parquedb::testing::Random;

#[derive(Clone, Debug)]
pub(super) struct Collection {
    pub(super) name: String,
    /// Positions of the key's columns; none when rows are only appended.
    pub(super) key: Vec<usize>,
    pub(super) version: Option<usize>,
    /// The column by which rows expire, and after how many microseconds.
    pub(super) ttl: Option<(usize, i64)>,
    pub(super) fields: Vec<Field>,
}

impl Collection {
    pub(super) fn definition(&self) -> Definition {
        Definition::Collection(CollectionDefinition {
            name: self.name.clone(),
            table: self.name.to_lowercase(),
            schema: schema(&self.fields),
            key: self.key.iter().map(|index| self.fields[*index].name.clone()).collect(),
            version: self.version.map(|index| self.fields[index].name.clone()),
            ttl: self.ttl.map(|(on, after)| Ttl { after, on: self.fields[on].name.clone() }),
        })
    }

    pub(super) fn key_of(&self, row: &Row) -> Row {
        self.key.iter().map(|index| row[*index].clone()).collect()
    }

    pub(super) fn is_keyed(&self) -> bool {
        !self.key.is_empty()
    }

    /// A random collection. All take their columns from one pool, so that several have some in common.
    pub(super) fn random(random: &mut Random, name: &str) -> Self {
        let item = Type::Struct(vec![
            field("sku", Type::Text, false),
            field("quantity", Type::Int, false),
            field("price", Type::Float, true),
        ]);
        let place = Type::Struct(vec![field("zone", Type::Int, false), field("city", Type::Text, true)]);
        let origin = Type::Struct(vec![field("host", Type::Text, false), field("place", place, true)]);
        let list = |of, nullable| Type::List(Box::new(field("item", of, nullable)));
        let pool = [
            field("n", Type::Int, false),
            field("m", Type::Int, true),
            field("x", Type::Float, false),
            field("y", Type::Float, true),
            field("s", Type::Text, false),
            field("t", Type::Text, true),
            field("b", Type::Bool, false),
            field("c", Type::Bool, true),
            field("at", Type::Time, false),
            field("until", Type::Time, true),
            field("refers", Type::Int, true),
            field("tags", list(Type::Text, false), false),
            field("counts", list(Type::Int, true), true),
            field("items", list(item, false), false),
            field("usage", Type::Sums, true),
            field("origin", origin.clone(), false),
            field("maker", origin, true),
        ];
        let mut fields = Vec::new();
        let mut key = Vec::new();
        if !random.one_in(4) {
            fields.push(field("id", Type::Int, false));
            key.push(0);
            if random.one_in(4) {
                fields.push(field("part", Type::Text, false));
                key.push(1);
            }
        }
        let version = (!key.is_empty() && random.one_in(2)).then(|| {
            fields.push(field("version", Type::Int, false));
            fields.len() - 1
        });
        let wanted = 3 + random.below(6);
        fields.extend(pool.into_iter().filter(|_| random.below(16) < wanted));
        if fields.len() == key.len() + usize::from(version.is_some()) {
            fields.push(field("n", Type::Int, false));
        }
        Self { name: name.to_owned(), key, version, ttl: None, fields }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    Field(usize),
    First,
    /// How many elements a list has.
    Size,
    /// Whether a value is there.
    Present,
}

/// A column of the flat table of a member.
#[derive(Clone, Debug)]
pub(super) struct Flat {
    /// Its name in SQL.
    pub(super) sql: String,
    pub(super) node: Node,
    pub(super) of: Type,
    pub(super) nullable: bool,
    path: Vec<Step>,
}

/// What can be said about the rows of a member, or about the elements of a list.
#[derive(Clone, Debug, Default)]
pub(super) struct Shape {
    pub(super) scalars: Vec<Flat>,
    /// Whether a nested record is there.
    pub(super) records: Vec<Flat>,
    /// Maps from text to integers.
    pub(super) maps: Vec<Flat>,
    /// The sizes of lists, with the lists' nodes.
    pub(super) lists: Vec<(Flat, Field)>,
}

impl Shape {
    pub(super) fn of(fields: &[Field]) -> Self {
        let mut shape = Self::default();
        for (index, field) in fields.iter().enumerate() {
            shape.add(Flat {
                sql: field.name.clone(),
                node: Node::Row.field(&field.name),
                of: field.of.clone(),
                nullable: field.nullable,
                path: vec![Step::Field(index)],
            });
        }
        shape
    }

    /// The element of a list whose elements are like this.
    pub(super) fn of_element(item: &Field, keeps_empty: bool) -> Self {
        let mut shape = Self::default();
        shape.add(Flat {
            sql: "element".to_owned(),
            node: Node::Element,
            of: item.of.clone(),
            nullable: item.nullable || keeps_empty,
            path: Vec::new(),
        });
        shape
    }

    /// The position of that element.
    pub(super) fn of_index(keeps_empty: bool) -> Self {
        let mut shape = Self::default();
        shape.add(Flat {
            sql: "element_index".to_owned(),
            node: Node::ElementIndex,
            of: Type::Index,
            nullable: keeps_empty,
            path: Vec::new(),
        });
        shape
    }

    /// Leaves out columns and what is in them.
    pub(super) fn hide(&mut self, columns: &[(String, f64, f64)]) {
        let is_shown = |flat: &Flat| {
            let within =
                |name: &str| flat.sql.strip_prefix(name).is_some_and(|rest| matches!(rest, "" | "[0]" | "#"));
            !columns.iter().any(|(name, ..)| within(name))
        };
        self.scalars.retain(is_shown);
        self.lists.retain(|(size, _)| is_shown(size));
    }

    fn add(&mut self, flat: Flat) {
        let step = |step| flat.path.iter().copied().chain([step]).collect::<Vec<_>>();
        match &flat.of {
            Type::Struct(fields) => {
                for (index, field) in fields.iter().enumerate() {
                    self.add(Flat {
                        sql: format!("{}.{}", flat.sql, field.name),
                        node: flat.node.field(&field.name),
                        of: field.of.clone(),
                        nullable: field.nullable || flat.nullable,
                        path: step(Step::Field(index)),
                    });
                }
                let path = step(Step::Present);
                self.records.push(Flat { sql: format!("{}?", flat.sql), of: Type::Bool, path, ..flat });
            }
            Type::List(item) => {
                let item = item.as_ref().clone();
                if item.of.is_scalar() {
                    self.add(Flat {
                        sql: format!("{}[0]", flat.sql),
                        node: Node::Index(Box::new(flat.node.clone()), 0),
                        of: item.of.clone(),
                        nullable: true,
                        path: step(Step::First),
                    });
                }
                let path = step(Step::Size);
                let size = Flat { sql: format!("{}#", flat.sql), of: Type::Int, path, ..flat };
                self.lists.push((size, item));
            }
            Type::Sums => self.maps.push(flat),
            _ => self.scalars.push(flat),
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Flat> {
        self.scalars
            .iter()
            .chain(&self.records)
            .chain(&self.maps)
            .chain(self.lists.iter().map(|(size, _)| size))
    }

    /// A table of rows, given each as the records around it: its own, the element of a list and its position.
    fn table(shapes: &[&Shape], rows: &[Vec<Value>]) -> RecordBatch {
        let flats = shapes.iter().enumerate().flat_map(|(at, shape)| shape.all().map(move |flat| (at, flat)));
        let flats = flats.collect::<Vec<_>>();
        let mut fields =
            flats.iter().map(|(_, flat)| field(&flat.sql, flat.of.clone(), true)).collect::<Vec<_>>();
        fields.push(field("__row", Type::Int, false));
        let rows = rows.iter().enumerate().map(|(number, row)| {
            let mut flat = flats.iter().map(|(at, flat)| get(&row[*at], &flat.path)).collect::<Vec<_>>();
            flat.push(Value::Int(i64::try_from(number).unwrap()));
            flat
        });
        to_batch(&fields, &rows.collect::<Vec<_>>())
    }
}

fn get(value: &Value, path: &[Step]) -> Value {
    let Some((step, rest)) = path.split_first() else { return value.clone() };
    match (step, value) {
        (Step::Present, value) => Value::Bool(!matches!(value, Value::Null)),
        (Step::Field(index), Value::Struct(parts)) => get(&parts[*index], rest),
        (Step::First, Value::List(values)) => values.first().map_or(Value::Null, |value| get(value, rest)),
        (Step::Size, Value::List(values)) => Value::Int(i64::try_from(values.len()).unwrap()),
        _ => Value::Null,
    }
}

/// The flat table of a member's rows.
pub(super) fn flat_table(fields: &[Field], rows: &[Row]) -> RecordBatch {
    let rows = rows.iter().map(|row| vec![Value::Struct(row.clone())]).collect::<Vec<_>>();
    Shape::table(&[&Shape::of(fields)], &rows)
}

/// The flat table with a row for each element of a list.
pub(super) fn unnested_table(fields: &[Field], rows: &[Row], list: &str, keeps_empty: bool) -> RecordBatch {
    let shape = Shape::of(fields);
    let (size, item) = shape.lists.iter().find(|(size, _)| size.sql == format!("{list}#")).unwrap();
    let path = &size.path[..size.path.len() - 1];
    let mut unnested = Vec::new();
    for row in rows {
        let row = Value::Struct(row.clone());
        let elements = match get(&row, path) {
            Value::List(elements) => elements,
            _ => Vec::new(),
        };
        if elements.is_empty() && keeps_empty {
            unnested.push(vec![row, Value::Null, Value::Null]);
        } else {
            let elements = (0..).zip(elements);
            unnested.extend(elements.map(|(index, element)| vec![row.clone(), element, Value::Int(index)]));
        }
    }
    let (element, index) = (Shape::of_element(item, keeps_empty), Shape::of_index(keeps_empty));
    Shape::table(&[&shape, &element, &index], &unnested)
}

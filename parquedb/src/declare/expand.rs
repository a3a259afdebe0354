//! `$expand`: the columns of a row that is referred to, flat beside those of the row that refers to it; of a list of
//! references, one column with the list of the rows.

use super::expr::Handle;
use super::many::is_many;
use super::node::{Assembled, Node};
use super::record::{Keyed, Record, Referable};
use super::shape::{Shape, Unknown};
use crate::ingest::ColumnValue;
use crate::types::Ref;
use arrow::datatypes::{Field, Fields};

/// What the column with the rows that a list refers to has in the place of a field's name.
pub const ROWS: &str = "rows";

/// Fields that are a reference or a list of references.
#[diagnostic::on_unimplemented(
    message = "`$expand` needs a reference or a list of references, but this field is a `{Self}`",
    label = "not a `Ref`, nor a `Vec` of them",
    note = "a reference is a `Ref<T>` or an `Option<Ref<T>>`, a list of references a `Vec<Ref<T>>` or an \
            `Option<Vec<Ref<T>>>`"
)]
pub trait Refers: Shape {}

#[diagnostic::do_not_recommend]
impl<T: Referable> Refers for Ref<T> {}
#[diagnostic::do_not_recommend]
impl<T: Referable> Refers for Option<Ref<T>> {}
#[diagnostic::do_not_recommend]
impl<T: Referable> Refers for Vec<Ref<T>> {}
#[diagnostic::do_not_recommend]
impl<T: Referable> Refers for Option<Vec<Ref<T>>> {}
#[diagnostic::do_not_recommend]
impl<T: Referable> Refers for Vec<Option<Ref<T>>> {}
#[diagnostic::do_not_recommend]
impl<T: Referable> Refers for Option<Vec<Option<Ref<T>>>> {}
#[diagnostic::do_not_recommend]
impl Refers for Unknown {}

/// Compiles only if the field is a reference or a list of them.
pub const fn refers<H: Handle<Type: Refers>>(_: &H) {}

/// The column that an expansion called `name` makes of a field.
#[must_use]
pub fn expanded_column(name: &str, field: &str) -> String {
    format!("{name}_{field}")
}

/// The columns that the expansion `name` of a field of type `T` makes: those of the row, which may be missing; of a
/// list of references, one with rows as `R`.
#[must_use]
pub fn expansion_fields<T: Shape, R: ColumnValue>(name: &str) -> Fields {
    if is_many::<T>() {
        return vec![R::field(&expanded_column(name, ROWS))].into();
    }
    let fields = <T::Target as Record>::fields();
    let fields = fields.iter().map(|field| {
        let column = expanded_column(name, field.name());
        Field::clone(field).with_name(column).with_nullable(true)
    });
    fields.collect()
}

/// What the names of an expansion's columns end with.
#[must_use]
pub const fn expansion_columns<T: Shape>() -> &'static [&'static str] {
    if is_many::<T>() { &[ROWS] } else { <T::Target as Record>::COLUMNS }
}

/// The columns of a source with those of its expansions.
#[must_use]
pub fn expanded_fields(source: &Fields, expansions: &[Fields]) -> Fields {
    source.iter().chain(expansions.iter().flatten()).cloned().collect()
}

/// What a field of type `T` refers to, in the columns of its expansion `name` in the row at `of`.
#[must_use]
pub fn expanded_row<T: Shape>(of: &Node, name: &str) -> Node {
    if is_many::<T>() {
        return of.field(&expanded_column(name, ROWS));
    }
    let field = |field: &str| (field.to_owned(), of.field(&expanded_column(name, field)));
    let fields = <T::Target as Record>::fields().iter().map(|stored| field(stored.name())).collect();
    Node::Assembled(Box::new(Assembled { key: <T::Target as Keyed>::KEY.to_owned(), fields }))
}

/// A text made by the compiler, of at most 1000 bytes.
#[derive(Debug, Clone, Copy)]
pub struct ConstText {
    bytes: [u8; 1000],
    length: usize,
}

impl ConstText {
    const fn with(mut self, text: &str) -> Self {
        let text = text.as_bytes();
        let mut index = 0;
        while index < text.len() && self.length < self.bytes.len() {
            self.bytes[self.length] = text[index];
            self.length += 1;
            index += 1;
        }
        self
    }

    /// The text.
    #[must_use]
    pub const fn as_str(&self) -> &str {
        match str::from_utf8(self.bytes.split_at(self.length).0) {
            Ok(text) => text,
            Err(_) => "two columns have one name",
        }
    }
}

/// What is wrong where two columns of an expanded row have one name. Each expansion has its name, what the names of its
/// columns end with, and whether it is of a list of references.
#[must_use]
pub const fn repeated_column(
    view: &str,
    columns: &[&str],
    expansions: &[(&str, &[&str], bool)],
) -> Option<ConstText> {
    let mut at = 0;
    while at < expansions.len() {
        let (name, fields, many) = expansions[at];
        let mut field = 0;
        while field < fields.len() {
            let mut other = 0;
            let mut repeated = false;
            while other < columns.len() {
                repeated |= is_joined(columns[other], name, fields[field]);
                other += 1;
            }
            let mut other = 0;
            while other < at {
                let (other_name, other_fields, _) = expansions[other];
                let mut index = 0;
                while index < other_fields.len() {
                    repeated |= are_joined(name, fields[field], other_name, other_fields[index]);
                    index += 1;
                }
                other += 1;
            }
            if repeated {
                let text = ConstText { bytes: [0; 1000], length: 0 };
                let text =
                    text.with("view `").with(view).with("` would have two columns `").with(name).with("_");
                let text = text.with(fields[field]);
                return Some(if many {
                    text.with("`: name the columns with `$select`")
                } else {
                    text.with("`: give the expansion `").with(name).with("` another name with `$flatten`")
                });
            }
            field += 1;
        }
        at += 1;
    }
    None
}

/// Whether a name is that of an expansion's column.
const fn is_joined(column: &str, name: &str, field: &str) -> bool {
    let column = column.as_bytes();
    let mut index = 0;
    while index < column.len() && index < name.len() + field.len() + 1 {
        if column[index] != byte_at(name, field, index) {
            return false;
        }
        index += 1;
    }
    column.len() == name.len() + field.len() + 1
}

/// Whether two expansions make columns of one name.
const fn are_joined(name: &str, field: &str, other_name: &str, other_field: &str) -> bool {
    if name.len() + field.len() != other_name.len() + other_field.len() {
        return false;
    }
    let mut index = 0;
    while index <= name.len() + field.len() {
        if byte_at(name, field, index) != byte_at(other_name, other_field, index) {
            return false;
        }
        index += 1;
    }
    true
}

/// A byte of a name and a field with a `_` between them.
const fn byte_at(name: &str, field: &str, index: usize) -> u8 {
    let (name, field) = (name.as_bytes(), field.as_bytes());
    if index < name.len() {
        name[index]
    } else if index == name.len() {
        b'_'
    } else {
        field[index - name.len() - 1]
    }
}

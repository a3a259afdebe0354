//! `$expand`: the columns of a row that is referred to, flat beside those of the row that refers to it.

use super::expr::Handle;
use super::node::{Assembled, Node};
use super::record::{Keyed, Referable};
use super::shape::{Shape, Unknown};
use crate::types::Ref;
use arrow::datatypes::{Field, Fields};

/// Fields that are a reference to one row.
#[diagnostic::on_unimplemented(
    message = "`$expand` needs a reference to one row, but this field is a `{Self}`",
    label = "not a `Ref` or an `Option` of one",
    note = "a reference is a `Ref<T>` or an `Option<Ref<T>>`; `$unnest` makes each element of a `Vec<Ref<T>>` a row, which \
            paths look through"
)]
pub trait Refers: Shape {}

#[diagnostic::do_not_recommend]
impl<T: Referable> Refers for Ref<T> {}
#[diagnostic::do_not_recommend]
impl<T: Referable> Refers for Option<Ref<T>> {}
#[diagnostic::do_not_recommend]
impl Refers for Unknown {}

/// Compiles only if the field refers to one row.
pub const fn refers<H: Handle<Type: Refers>>(_: &H) {}

/// The column that an expansion called `name` makes of a field.
#[must_use]
pub fn expanded_column(name: &str, field: &str) -> String {
    format!("{name}_{field}")
}

/// The columns of a source with those of the rows that it refers to, which may be missing.
#[must_use]
pub fn expanded_fields(source: &Fields, expansions: &[(&str, Fields)]) -> Fields {
    let mut fields = source.iter().cloned().collect::<Vec<_>>();
    for (name, expansion) in expansions {
        fields.extend(expansion.iter().map(|field| {
            let field = Field::clone(field);
            let column = expanded_column(name, field.name());
            field.with_name(column).with_nullable(true).into()
        }));
    }
    fields.into()
}

/// The row of `T` in the columns of the expansion `name` of the row at `of`.
#[must_use]
pub fn expanded_row<T: Keyed>(of: &Node, name: &str) -> Node {
    let field = |field: &str| (field.to_owned(), of.field(&expanded_column(name, field)));
    let fields = T::fields().iter().map(|stored| field(stored.name())).collect();
    Node::Assembled(Box::new(Assembled { key: T::KEY.to_owned(), fields }))
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

/// What is wrong where two columns of an expanded row have one name. Each expansion has its name, and the columns of
/// the row referred to.
#[must_use]
pub const fn repeated_column(
    view: &str,
    columns: &[&str],
    expansions: &[(&str, &[&str])],
) -> Option<ConstText> {
    let mut at = 0;
    while at < expansions.len() {
        let (name, fields) = expansions[at];
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
                let (other_name, other_fields) = expansions[other];
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
                let text = text.with(fields[field]).with("`: give the expansion `").with(name);
                return Some(text.with("` another name with `$flatten`"));
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

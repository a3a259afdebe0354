//! Record types: structs with named, typed fields that views and queries can look into.

use super::node::Node;
use super::shape::{Nullability, Shape, Unknown};
use crate::ingest::ColumnValue;
use arrow::datatypes::Fields;

/// Something with named, typed fields: a collection, a nested struct or a view.
///
/// Implemented by `#[derive(Collection)]` and by `views!`, never by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the source of a view",
    label = "not a collection, stream or view",
    note = "add `#[derive(Collection)]` to `{Self}`, or name a view declared with `views!`"
)]
pub trait Record: Sized + Send + Sync + 'static {
    /// The struct's name.
    const NAME: &'static str;
    /// The fields' Rust names, in declaration order.
    const FIELDS: &'static [&'static str];
    /// [`crate::__private::field_key`] of each of `FIELDS`, in the same order.
    const KEYS: &'static [u64];
    /// The stored names of the fields, in the same order.
    const COLUMNS: &'static [&'static str] = Self::FIELDS;
    /// The keys of the names that a view's `$expand` adds to its source's fields.
    const EXPANDED: &'static [u64] = &[];
    /// The struct of typed handles that closures and views look fields up in.
    type Handles<N: Nullability>;
    /// Handles for the record found at `at`.
    fn handles<N: Nullability>(at: Node) -> Self::Handles<N>;
    /// The Arrow fields of the stored record, in declaration order.
    fn fields() -> Fields;
}

/// A record with the key by which others refer to it. Total: one that cannot be referred to has no key.
///
/// Implemented by `#[derive(Collection)]` and by `views!`, never by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be referred to",
    label = "not a collection with a key",
    note = "a reference is to a collection: add `#[derive(Collection)]` and `#[collection(key = ..)]` to `{Self}`"
)]
pub trait Keyed: Record + Shape {
    /// The key's type, or [`Unknown`].
    type Key: Shape + ColumnValue;
    /// The key's column.
    const KEY: &'static str;
}

#[diagnostic::do_not_recommend]
impl Keyed for Unknown {
    type Key = Unknown;
    const KEY: &'static str = "?";
}

/// Collections with a key of one field.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be referred to: it has no key of one field",
    label = "refers to a `{Self}`",
    note = "give the collection a key: `#[collection(key = id)]`"
)]
pub trait Referable: Keyed {}

#[diagnostic::do_not_recommend]
impl Referable for Unknown {}

/// The declared type of the `I`-th field of a record, unless an expansion has the name: then of the `E`-th of these.
pub trait FieldAt<const I: usize, const E: usize = 65535> {
    /// The field's type, or [`Unknown`] where there is no such field.
    type Type: Shape;
}

/// The index at which a field that does not exist is found.
pub const UNKNOWN_FIELD: usize = 65535;

impl FieldAt<65535> for Unknown {
    type Type = Unknown;
}

/// Position of a field by the hash of its name. Total, so that a lookup in types never fails and only
/// the field access on the handle is reported. Hashes rather than strings, because rust-analyzer's
/// constant evaluation loses track of a slice of four or more `&str`.
#[must_use]
pub const fn index_of(keys: &[u64], key: u64) -> usize {
    let mut index = 0;
    while index < keys.len() {
        if keys[index] == key {
            return index;
        }
        index += 1;
    }
    UNKNOWN_FIELD
}

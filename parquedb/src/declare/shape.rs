//! How a Rust type behaves as a field: what it opens into, what its aggregates yield, how
//! nullability spreads through a path. Every associated type is total: an impossible step gives
//! [`Unknown`], so that one mistake is one compiler error.

mod values;

use super::node::Node;
use super::record::{Keyed, Record};
use arrow::datatypes::Fields;

/// Stands in for the type of a field that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unknown;

#[diagnostic::do_not_recommend]
impl Record for Unknown {
    const NAME: &'static str = "?";
    const FIELDS: &'static [&'static str] = &[];
    const KEYS: &'static [u64] = &[];
    type Handles<N: Nullability> = ();
    fn handles<N: Nullability>(_: Node) {}
    fn fields() -> Fields {
        Fields::empty()
    }
}

/// Whether the path so far can be null.
pub trait Nullability: 'static {
    /// `T`, or its optional form.
    type Wrap<T: Shape>: Shape;
    /// Nullable if either is.
    type Or<M: Nullability>: Nullability;
    /// That of the fields of a row referred to, which may be missing.
    type Through: Nullability;
    /// Whether the path is null only where a row referred to is missing.
    const REQUIRED: bool;
}

/// No step of the path can be null.
#[derive(Debug, Clone, Copy)]
pub struct NotNull;

/// Some step of the path can be null.
#[derive(Debug, Clone, Copy)]
pub struct Nullable;

/// No step of the path is optional, but it leads through a reference whose row may be missing.
#[derive(Debug, Clone, Copy)]
pub struct Referring;

impl Nullability for NotNull {
    type Wrap<T: Shape> = T;
    type Or<M: Nullability> = M;
    type Through = Referring;
    const REQUIRED: bool = true;
}

impl Nullability for Nullable {
    type Wrap<T: Shape> = T::Optional;
    type Or<M: Nullability> = Nullable;
    type Through = Nullable;
    const REQUIRED: bool = false;
}

impl Nullability for Referring {
    type Wrap<T: Shape> = T::Optional;
    type Or<M: Nullability> = Nullable;
    type Through = Referring;
    const REQUIRED: bool = true;
}

/// How a Rust type behaves as a field.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the type of a field",
    label = "not a column type",
    note = "a nested struct needs `#[derive(Collection)]`; integers, floats, `bool`, `String`, `Option`, `Vec`, maps \
            from `String` and the types of `parquedb::types` are columns as they are"
)]
pub trait Shape: 'static {
    /// The type without `Option`.
    type Bare: Shape;
    /// The record a further `.field` looks into.
    type Inner: Record;
    /// The element a `[index]`, a `["key"]` or `$unnest` gives.
    type Item: Shape;
    /// Whether the field itself can be null.
    type Null: Nullability;
    /// Whether its fields can be null for its sake: where it is, or where what it refers to is missing.
    type Open: Nullability;
    /// What it refers to, where it is a reference.
    type Target: Keyed;
    /// The type with `Option`, once.
    type Optional: Shape;
    /// What `$sum`, `+` and `*` yield.
    type Sum: Shape;
    /// What `$avg` and `/` yield: null exactly when the input can be.
    type Mean: Shape;
    /// What closures and views get to look the field up further.
    type Handle<N: Nullability>;
    /// The handle of the field found at `at`.
    fn handle<N: Nullability>(at: Node) -> Self::Handle<N>;
}

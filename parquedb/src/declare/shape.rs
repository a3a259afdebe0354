//! How a Rust type behaves as a field: what it opens into, what its aggregates yield, how
//! nullability spreads through a path. Every associated type is total: an impossible step gives
//! [`Unknown`], so that one mistake is one compiler error.

mod values;

use super::node::Node;
use super::record::Record;
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
}

/// No step of the path can be null.
#[derive(Debug, Clone, Copy)]
pub struct NotNull;

/// Some step of the path can be null.
#[derive(Debug, Clone, Copy)]
pub struct Nullable;

impl Nullability for NotNull {
    type Wrap<T: Shape> = T;
    type Or<M: Nullability> = M;
}

impl Nullability for Nullable {
    type Wrap<T: Shape> = T::Optional;
    type Or<M: Nullability> = Nullable;
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

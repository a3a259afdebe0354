//! Lists of references: what `$expand` makes of them, as a type, as a handle and as an expression.

use super::expr::{Expr, Handle};
use super::node::{Node, Referred};
use super::record::{Keyed, Record};
use super::reference::is_reference;
use super::shape::{Nullability, Shape, Unknown};
use std::marker::PhantomData;

/// Whether a field of this type is a list of references.
#[must_use]
pub const fn is_many<T: Shape>() -> bool {
    is_reference::<T::Item>()
}

/// What a list of references refers to, of type `T`.
type Target<T> = <<T as Shape>::Item as Shape>::Target;

/// The rows that a list of references refers to: as many as it has elements, with null in the place of one that is
/// missing. Null where the list is.
type Rows<T> = <<T as Shape>::Null as Nullability>::Wrap<Vec<Option<Target<T>>>>;

/// An expansion of a field of type `T`; `MANY` is whether that is a list of references.
#[derive(Debug)]
pub struct Expansion<T, const MANY: bool>(PhantomData<fn() -> T>);

/// What is known of an expansion. Total, as everything about types of fields.
pub trait Expands {
    /// What refers to a row: the field, or an element of it.
    type Reference: Shape;
    /// What is looked up even where a path ends at the field: an element of a list of references.
    type Element: Shape;
    /// What paths see in the place of the field after `$expand`. A reference stays one, which paths look through.
    type Seen: Shape;
    /// What the row of a view without columns of its own gets.
    type Row: Shape;
}

impl<T: Shape> Expands for Expansion<T, false> {
    type Reference = T;
    type Element = Unknown;
    type Seen = T;
    type Row = Option<T::Target>;
}

impl<T: Shape> Expands for Expansion<T, true> {
    type Reference = T::Item;
    type Element = T::Item;
    type Seen = Rows<T>;
    type Row = Rows<T>;
}

/// The handle of a field that may be expanded.
pub trait Expandable<const MANY: bool>: Handle {
    /// What paths see in its place.
    type Seen;
    /// That handle.
    fn seen(&self) -> Self::Seen;
}

impl<H: Handle + Clone> Expandable<false> for H {
    type Seen = H;
    fn seen(&self) -> H {
        self.clone()
    }
}

impl<H: Handle> Expandable<true> for H {
    type Seen = Expr<Rows<H::Type>>;
    fn seen(&self) -> Self::Seen {
        Expr::new(found_rows::<Target<H::Type>>(self.node()))
    }
}

/// What paths see in the place of a field that is expanded.
pub fn seen<const MANY: bool, H: Expandable<MANY>>(field: &H) -> H::Seen {
    field.seen()
}

/// The rows of `T` with the keys in a list.
pub(super) fn found_rows<T: Keyed>(keys: Node) -> Node {
    Node::Referred(Box::new(Referred {
        reference: keys,
        member: <T as Record>::NAME.to_owned(),
        key: T::KEY.to_owned(),
        required: false,
        many: true,
    }))
}

//! What a view is computed from, as the compiler checks it.

use super::declared::{CollectionRecord, Declared};
use super::expr::Expr;
use super::node::Node;
use super::shape::{Shape, Unknown};

/// The members of the database `Db`.
#[diagnostic::on_unimplemented(
    message = "`{Db}` does not declare `{Self}`",
    label = "a view of `{Db}` is computed from `{Self}`",
    note = "add `{Self}` to the members of `{Db}`"
)]
pub trait MemberOf<Db> {}

#[diagnostic::do_not_recommend]
impl<Db> MemberOf<Db> for Unknown {}

/// A list of members of `Db`: each is a pair with the rest of the list.
pub trait MembersOf<Db> {}

impl<Db> MembersOf<Db> for () {}
impl<Db, M: MemberOf<Db>, Rest: MembersOf<Db>> MembersOf<Db> for (M, Rest) {}

/// Compiles only if `Db` has everything that `V` is computed from.
pub const fn members_are_declared<V: Declared, Db>()
where
    V::Members: MembersOf<Db>,
{
}

/// Records whose rows come in the commit that writes them, and keep it.
#[diagnostic::on_unimplemented(
    message = "`asOf` needs rows that are written, but `{Self}` is a view",
    label = "its rows come whenever it is refreshed",
    note = "expand the reference in a view over the collection"
)]
pub trait Written {}

#[diagnostic::do_not_recommend]
impl<T: CollectionRecord> Written for T {}

/// Compiles only if the rows of `T` are written by the program.
pub const fn is_written<T: Written>() {}

/// The name of the source that a row of a view with several sources came from.
#[must_use]
pub fn source_name() -> Expr<String> {
    Expr::new(Node::SourceName)
}

/// `B` if both are there, else `A`: then the mistake is another one.
#[derive(Debug)]
pub struct Compared<A, B, const BOTH: bool>(std::marker::PhantomData<(A, B)>);

/// What is left to compare.
pub trait Other {
    /// The type.
    type Type: Shape;
}

impl<A: Shape, B: Shape> Other for Compared<A, B, false> {
    type Type = A;
}
impl<A: Shape, B: Shape> Other for Compared<A, B, true> {
    type Type = B;
}

/// `A` itself.
#[diagnostic::on_unimplemented(
    message = "the field `{Field}` is a `{Self}` here, but a `{A}` in the first source of the view",
    label = "its `{Field}` has another type",
    note = "every source of a view needs the fields that the view uses, with the same types"
)]
pub trait SameAs<A, Field> {}

impl<A, Field> SameAs<A, Field> for A {}

/// Compiles only if a field has one type in two sources.
pub const fn same_type<A: Shape, B: Shape, Field, const BOTH: bool>()
where
    Compared<A, B, BOTH>: Other<Type: SameAs<A, Field>>,
{
}

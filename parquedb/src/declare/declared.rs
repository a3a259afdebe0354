//! What a database can be made of.

use super::definition::Definition;
use super::view::Changes;
use crate::ingest::Row;

/// A collection or a view: something a database can have as a member.
///
/// Implemented by `#[derive(Collection)]` and by `views!`, never by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a collection nor a view",
    label = "not a collection, stream or view",
    note = "add `#[derive(Collection)]` to `{Self}`, or name a view declared with `views!`"
)]
pub trait Declared: Row {
    /// What the rows of a view are computed from, as a list of pairs: `(A, (B, ()))`. Nothing for a collection.
    type Members;
    /// How its changes reach the views over it.
    const CHANGES: Changes = Changes::Streamed;
    /// The declaration as data.
    fn definition() -> Definition;
}

/// A collection, whose rows the program writes.
pub trait CollectionRecord: Declared {}

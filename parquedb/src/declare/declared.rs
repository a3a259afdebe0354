//! temporary
use super::definition::Definition;
use super::record::Record;
/// Temporary.
pub trait Declared: Record {
    /// Source
    type Source: Record;
    /// How its changes reach the views over it.
    const CHANGES: super::view::Changes = super::view::Changes::Streamed;
    /// Definition
    fn definition() -> Definition;
}

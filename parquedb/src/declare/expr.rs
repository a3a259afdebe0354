//! Typed expressions.

use super::node::Node;
use std::fmt;
use std::marker::PhantomData;

/// A typed expression over one row (or, for aggregates, one group).
pub struct Expr<T> {
    node: Node,
    value: PhantomData<fn() -> T>,
}

impl<T> Expr<T> {
    /// The expression `node`, whose value is a `T`.
    #[must_use]
    pub fn new(node: Node) -> Self {
        Self { node, value: PhantomData }
    }

    /// The untyped form.
    #[must_use]
    pub fn into_node(self) -> Node {
        self.node
    }
}

impl<T> Clone for Expr<T> {
    fn clone(&self) -> Self {
        Self::new(self.node.clone())
    }
}

impl<T> fmt::Debug for Expr<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expr").field(&self.node).finish()
    }
}

//! What an update sets: `.update(|row| row.id.eq(7), |row| row.status.set("paid"))`.

use super::expr::Expr;
use super::node::{Function, Literal, Node};
use super::operand::{Addend, Constant, List, Numeric, Operand};
use super::shape::{NotNull, Shape};

/// A new value of a column.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "an assignment does nothing until it is given to an update"]
pub struct Assignment {
    pub(crate) target: Node,
    pub(crate) value: Node,
}

impl Assignment {
    /// Sets the column `column` to what an expression over the row gives.
    pub fn new(column: &str, value: Node) -> Self {
        Self { target: Node::Row.field(column), value }
    }
}

/// The assignments of one update: one, or several as a tuple, an array or a vector.
pub trait Assignments {
    /// The assignments in order. Each sees the row as it was before the update.
    fn list(self) -> Vec<Assignment>;
}

impl Assignments for Assignment {
    fn list(self) -> Vec<Assignment> {
        vec![self]
    }
}

impl Assignments for Vec<Assignment> {
    fn list(self) -> Vec<Assignment> {
        self
    }
}

impl<const N: usize> Assignments for [Assignment; N] {
    fn list(self) -> Vec<Assignment> {
        self.into()
    }
}

impl<T: Shape> Expr<T> {
    fn assign(&self, value: Node) -> Assignment {
        Assignment { target: self.clone().into_node(), value }
    }

    /// Sets the column to a constant or to what an expression over the row gives.
    pub fn set<R: Operand<T::Bare>>(&self, value: R) -> Assignment {
        self.assign(value.node())
    }

    /// Adds to the column. Leaving its type is an error, and so nothing is written.
    pub fn add<R: Addend<T::Sum>>(&self, value: R) -> Assignment
    where
        T: Numeric,
    {
        self.assign(Node::Call(Function::Add, vec![self.clone().into_node(), value.node()]))
    }

    /// Appends an element to the list.
    pub fn push<R: Constant<<T::Item as Shape>::Bare>>(&self, element: R) -> Assignment
    where
        T: List,
    {
        let element = Node::Literal(element.literal());
        self.assign(Node::Call(Function::Append, vec![self.clone().into_node(), element]))
    }
}

impl<T: Shape<Null = NotNull>> Expr<Option<T>> {
    /// Sets the column to null.
    pub fn unset(&self) -> Assignment {
        self.assign(Node::Literal(Literal::Null))
    }
}

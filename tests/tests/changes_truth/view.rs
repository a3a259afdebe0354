//! Views, each with the SQL that says what it must hold.

use super::fold::Fold;
use super::value::Field;
use parquedb::declare::definition::{Definition, Ttl, ViewDefinition};

/// What a view can be computed from.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) fields: Vec<Field>,
    /// Columns of which sums depend on the order of the rows.
    pub(super) inexact: Vec<String>,
    /// Columns that are estimates, with how much they may differ, of their value and at all. Nothing is computed
    /// from them.
    pub(super) near: Vec<(String, f64, f64)>,
    pub(super) streams: bool,
    /// The key by which others refer to it.
    pub(super) key: Option<String>,
}

/// A table that SQL reads: a member's rows, or a row for each element of a list of theirs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Table {
    pub(super) member: String,
    pub(super) has: Has,
}

/// What is in a table.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Has {
    /// The rows that count.
    Rows,
    /// A row for each element of a list of theirs; also of one that is empty.
    Elements(String, bool),
    /// The rows that live references find: those that are there, and those that were when rows expired.
    Found,
    /// All rows that ever were, with the commits in which they came and went.
    Past,
}

impl Table {
    pub(super) fn name(&self) -> String {
        let member = &self.member;
        match &self.has {
            Has::Rows => member.clone(),
            Has::Elements(list, keeps_empty) => {
                format!("{member}/{list}{}", if *keeps_empty { "+" } else { "" })
            }
            Has::Found => format!("{member}^"),
            Has::Past => format!("{member}~"),
        }
    }

    /// `@` stands for the version of the rows.
    pub(super) fn sql(&self) -> String {
        format!("\"{}@\"", self.name())
    }
}

#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) definition: ViewDefinition,
    pub(super) member: Member,
    pub(super) tables: Vec<Table>,
    pub(super) sql: String,
    /// The SQL gives the numbers of the source's rows.
    pub(super) passes: bool,
    /// And then those of the rows in these tables, or null.
    pub(super) expanded: Vec<Table>,
    /// Columns for which the SQL gives all values of a group. The second values are in columns after all others,
    /// in this order.
    pub(super) folds: Vec<(usize, Fold)>,
    pub(super) having: Option<String>,
    /// The column by which rows expire, and after how many microseconds.
    pub(super) ttl: Option<(usize, i64)>,
    /// Of a view that groups.
    pub(super) groups: Option<Groups>,
}

/// How groups are made of what their rows add to them.
#[derive(Clone, Debug)]
pub(super) struct Groups {
    /// The columns of what rows add: the keys first, as in the view, and then what aggregates take.
    pub(super) fields: Vec<Field>,
    pub(super) keys: usize,
    /// These columns in SQL.
    pub(super) added: String,
    /// The tables that they are from, and the conditions.
    pub(super) from: String,
    /// The SQL that makes groups of it, where `{rows}` stands for its table.
    pub(super) merged: String,
    /// For each aggregate its name and the column that it takes.
    pub(super) aggregates: Vec<(&'static str, String)>,
}

impl View {
    /// Lets its rows expire by a column, so many microseconds later.
    pub(super) fn expires(&mut self, column: usize, after: i64) {
        self.ttl = Some((column, after));
        self.definition.ttl = Some(Ttl { after, on: self.member.fields[column].name.clone() });
    }

    pub(super) fn definition(&self) -> Definition {
        Definition::View(self.definition.clone())
    }
}

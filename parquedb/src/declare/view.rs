//! Building a view's definition from typed expressions: what `views!` expands to.

use super::aggregate::Aggregated;
use super::definition::{Definition, Ttl, ViewDefinition};
use super::expand::{ROWS, Refers, expanded_column};
use super::expr::{Expr, Handle};
use super::many::{found_rows, is_many};
use super::node::Node;
use super::operand::{ExpiresBy, List, Predicate};
use super::plan::{AggregateColumn, Column, Join, Output, Refresh, Unnest, ViewPlan};
use super::record::Record;
use super::reference::{found, resolve};
use super::shape::{NotNull, Nullability, Nullable, Shape};
use crate::ingest::Row;
use std::marker::PhantomData;

/// A view under construction. `S` is its source, `V` its row struct, whose fields name the columns.
///
/// Each column is given with the type that `views!` inferred for the row struct's field, so the two
/// inferences must agree for the program to compile.
#[derive(Debug)]
pub struct ViewBuilder<S, V> {
    others: Vec<String>,
    filter: Option<Node>,
    /// The references whose rows are those of the time of ingest.
    as_of_ingest: Vec<Node>,
    unnest: Option<Unnest>,
    condition: Option<Node>,
    columns: Vec<Column>,
    aggregates: Vec<AggregateColumn>,
    having: Option<Node>,
    strict: bool,
    ttl: Option<Ttl>,
    of: PhantomData<fn(S) -> V>,
}

impl<S, V> Default for ViewBuilder<S, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S, V> ViewBuilder<S, V> {
    /// A view over `S` without any step.
    #[must_use]
    pub fn new() -> Self {
        Self {
            others: Vec::new(),
            filter: None,
            as_of_ingest: Vec::new(),
            unnest: None,
            condition: None,
            columns: Vec::new(),
            aggregates: Vec::new(),
            having: None,
            strict: false,
            ttl: None,
            of: PhantomData,
        }
    }
}

impl<S, V: Row> ViewBuilder<S, V> {
    /// Takes the rows of another source too.
    pub fn also_from<T: Record>(&mut self) {
        self.others.push(T::NAME.to_owned());
    }

    /// Keeps the source rows for which the condition holds.
    pub fn filter(&mut self, condition: impl Predicate) {
        self.filter = Some(condition.node());
    }

    /// Makes each element of the list a row; returns the element's handle.
    pub fn unnest<T: List>(&mut self, list: &Expr<T>) -> <T::Item as Shape>::Handle<NotNull> {
        let list = list.clone().into_node();
        self.unnest = Some(Unnest { list, keep_empty: false, with_index: false });
        T::Item::handle(Node::Element)
    }

    /// Refuses to be a view whose groups would have to be computed again (`incremental: strict`).
    pub fn strict(&mut self) {
        self.strict = true;
    }

    /// The view's rows expire so many microseconds after the time in one of its columns.
    pub fn ttl<T: ExpiresBy>(&mut self, after: i64, on: &impl Handle<Type = T>) {
        if let Node::Field(_, name) = on.node() {
            self.ttl = Some(Ttl { after, on: name });
        }
    }

    /// The same, but a row without elements stays, with a null one.
    pub fn unnest_or_null<T: List>(&mut self, list: &Expr<T>) -> <T::Item as Shape>::Handle<Nullable> {
        let list = list.clone().into_node();
        self.unnest = Some(Unnest { list, keep_empty: true, with_index: false });
        T::Item::handle(Node::Element)
    }

    /// The position of the element, from zero; null where there is none.
    pub fn element_index<N: Nullability>(&mut self) -> Expr<N::Wrap<u64>> {
        if let Some(unnest) = &mut self.unnest {
            unnest.with_index = true;
        }
        Expr::new(Node::ElementIndex)
    }

    /// Keeps the rows after the unnest for which the condition holds.
    pub fn condition(&mut self, condition: impl Predicate) {
        self.condition = Some(condition.node());
    }

    /// The source's columns.
    pub fn pass(&mut self)
    where
        S: Record,
    {
        for field in &S::fields() {
            self.columns.push(Column { name: field.name().clone(), value: Node::Row.field(field.name()) });
        }
    }

    /// The columns of the row that a reference refers to, each named with `name` before its own; of a list of
    /// references, one column with the rows.
    pub fn expand<H: Handle<Type: Refers>>(&mut self, reference: &H, name: &str) {
        if is_many::<H::Type>() {
            let value = found_rows::<<<H::Type as Shape>::Item as Shape>::Target>(reference.node());
            self.columns.push(Column { name: expanded_column(name, ROWS), value });
            return;
        }
        let row = found::<<H::Type as Shape>::Target>(reference.node());
        for field in &<<H::Type as Shape>::Target as Record>::fields() {
            let value = row.field(field.name());
            self.columns.push(Column { name: expanded_column(name, field.name()), value });
        }
    }

    /// Takes what a reference, or a list of them, refers to as it was after the commit in which the source row came,
    /// wherever the view looks through it.
    pub fn as_of_ingest<H: Handle<Type: Refers>>(&mut self, reference: &H) {
        self.as_of_ingest.push(reference.node());
    }

    /// The next column or group key, of type `T`.
    pub fn column<T: Shape>(&mut self, value: &impl Handle<Type = T>) {
        self.columns.push(Column { name: self.next_name(), value: value.node() });
    }

    /// The next aggregate, of type `T`.
    pub fn aggregate<T>(&mut self, value: Aggregated<T>) {
        self.aggregates.push(value.into_column(&self.next_name()));
    }

    /// Keeps the view's own rows for which the condition over them holds.
    pub fn having(&mut self, condition: impl Predicate) {
        self.having = Some(condition.node());
    }

    fn next_name(&self) -> String {
        let position = self.columns.len() + self.aggregates.len();
        V::FIELDS.get(position).map_or_else(|| format!("column_{position}"), |name| (*name).to_owned())
    }

    fn finish(
        mut self,
        output: impl FnOnce(Vec<Column>, Vec<AggregateColumn>) -> Output,
        table: &str,
        refresh: Refresh,
    ) -> Definition
    where
        S: Record,
    {
        let joins = self.resolve();
        Definition::View(ViewDefinition {
            name: V::NAME.to_owned(),
            table: table.to_owned(),
            schema: V::schema(),
            plan: ViewPlan {
                sources: std::iter::once(S::NAME.to_owned()).chain(self.others).collect(),
                joins,
                filter: self.filter,
                unnest: self.unnest,
                condition: self.condition,
                output: output(self.columns, self.aggregates),
                having: self.having,
            },
            refresh,
            strict: self.strict,
            ttl: self.ttl,
        })
    }

    /// The joins behind all references that are looked through.
    fn resolve(&mut self) -> Vec<Join> {
        let mut joins = Vec::new();
        if let Some(node) = &mut self.filter {
            resolve(node, &mut joins, true);
        }
        let list = self.unnest.iter_mut().map(|unnest| &mut unnest.list);
        let values = self.columns.iter_mut().map(|column| &mut column.value);
        let aggregates = self.aggregates.iter_mut().flat_map(AggregateColumn::expressions_mut);
        for node in list.chain(&mut self.condition).chain(values).chain(aggregates) {
            resolve(node, &mut joins, false);
        }
        for mut reference in std::mem::take(&mut self.as_of_ingest) {
            // What it is behind may not be used, and then is not joined.
            resolve(&mut reference, &mut joins.clone(), false);
            // An element of a list of references is one of them.
            let is_of = |join: &Join| match &join.reference {
                Node::Index(list, _) if **list == reference => true,
                other => *other == reference,
            };
            joins.iter_mut().filter(|join| is_of(join)).for_each(|join| join.as_of_ingest = true);
        }
        joins.sort_by_key(|join: &Join| join.after_unnest);
        joins
    }

    /// The definition of a view with its source's rows.
    #[must_use]
    pub fn source_rows(self, table: &str, refresh: Refresh) -> Definition
    where
        S: Record,
    {
        self.finish(|_, _| Output::Source, table, refresh)
    }

    /// The definition of a view with one row per row.
    #[must_use]
    pub fn rows(self, table: &str, refresh: Refresh) -> Definition
    where
        S: Record,
    {
        self.finish(|columns, _| Output::Rows(columns), table, refresh)
    }

    /// The definition of a view with one row per group.
    #[must_use]
    pub fn groups(self, table: &str, refresh: Refresh) -> Definition
    where
        S: Record,
    {
        self.finish(|keys, aggregates| Output::Groups { keys, aggregates }, table, refresh)
    }
}

/// How a record's changes reach the views over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changes {
    /// In the commit that makes them: a streaming view can follow.
    Streamed,
    /// A view that is refreshed by a schedule.
    Scheduled,
    /// A view that is refreshed when asked.
    Manual,
}

/// Marks the row structs of views.
pub trait ViewRecord: super::declared::Declared {}

/// Whether a path through a field of this type looks into every element of a list or a map.
#[must_use]
pub const fn is_container<T: Shape>() -> bool {
    <T::Inner as Record>::KEYS.is_empty() && !<<T::Item as Shape>::Inner as Record>::KEYS.is_empty()
}

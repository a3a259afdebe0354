//! Views made from a seed.

use super::aggregate::{Gives, Kind, Takes, Truth, kinds};
use super::expression::{Condition, Expression, Scope, truncated};
use super::fold::Fold;
use super::members::Shape;
use super::value::{Field, Type, field, schema};
use super::view::{Groups, Has, Member, Table, View};
use parquedb::declare::node::Node;
use parquedb::declare::plan::{AggregateColumn, Column, Join, Output, Refresh, Unnest};
use parquedb::testing::Random;
use serde_json::json;
use std::collections::BTreeSet;
use std::fmt::Write;

/// A view under construction.
struct Making<'a> {
    random: &'a mut Random,
    members: &'a [Member],
    scope: Scope,
    sources: Vec<Member>,
    tables: Vec<Table>,
    joins: Vec<Join>,
    joined: String,
    /// For each join the table and its fields.
    looked_up: Vec<(Table, Vec<Field>)>,
}

pub(super) fn random_view(random: &mut Random, members: &[Member], name: &str) -> View {
    let first = random.pick(members).clone();
    let mut fields = first.fields.clone();
    let mut sources = vec![first];
    for other in members {
        let common = fields.iter().filter(|field| other.fields.contains(field)).cloned().collect::<Vec<_>>();
        let is_new = !sources.iter().any(|source| source.name == other.name);
        if is_new && !Shape::of(&common).scalars.is_empty() && random.one_in(6) {
            fields = common;
            sources.push(other.clone());
        }
    }
    let (scope, tables) = (Scope::default(), Vec::new());
    let (joins, joined, looked_up) = (Vec::new(), String::new(), Vec::new());
    let mut making = Making { random, members, scope, sources, tables, joins, joined, looked_up };
    making.view(&fields, name)
}

impl Making<'_> {
    fn view(&mut self, fields: &[Field], name: &str) -> View {
        let inexact = self.sources.iter().flat_map(|source| source.inexact.clone()).collect::<Vec<_>>();
        let mut shape = Shape::of(fields);
        for source in &self.sources {
            shape.hide(&source.near);
        }
        self.scope.add(&shape, "r", &Node::Row, false, &inexact);
        if self.sources.len() > 1 {
            self.scope.columns.push(Expression {
                node: Node::SourceName,
                sql: "r.\"__source\"".to_owned(),
                of: Type::Text,
                nullable: false,
                summable: true,
            });
        }
        for _ in 0..2 {
            if self.random.one_in(4) {
                self.join(false);
            }
        }
        let filter = self.random.one_in(2).then(|| self.scope.condition(self.random, 2));
        let mut unnest = None;
        let mut element = None;
        if !self.scope.lists.is_empty() && self.random.one_in(2) {
            let own = self.scope.lists.iter().filter(|(list, _, _)| list.sql.starts_with("r."));
            let own = own.cloned().collect::<Vec<_>>();
            if !own.is_empty() {
                let (list, item, path) = self.random.pick(&own).clone();
                let keep_empty = self.random.one_in(3);
                let mut shape = Shape::of_element(&item, keep_empty);
                let with_index = self.random.one_in(2);
                if with_index {
                    shape.scalars.extend(Shape::of_index(keep_empty).scalars);
                }
                self.scope.add(&shape, "r", &Node::Row, false, &[]);
                unnest = Some(Unnest { list: list.node, keep_empty, with_index });
                element = Some((path, shape, keep_empty));
                if self.random.one_in(4) {
                    self.join(true);
                }
            }
        }
        let condition =
            (unnest.is_some() && self.random.one_in(2)).then(|| self.scope.condition(self.random, 1));
        let from = self.from(&shape, element);
        let conditions = [&filter, &condition].into_iter().flatten().map(|condition| condition.sql.as_str());
        let conditions = conditions.collect::<Vec<_>>().join(" AND ");
        let from = if conditions.is_empty() { from } else { format!("{from} WHERE {conditions}") };
        let passes = self.sources.len() == 1 && unnest.is_none() && self.random.one_in(6);
        let (output, mut view) = match (passes, self.random.one_in(3)) {
            (true, _) => self.pass(&from, name),
            (_, true) => self.rows(&from, name),
            _ => self.groups(&from, name),
        };
        let mut having = None;
        if matches!(output, Output::Groups { .. }) && self.random.one_in(4) {
            let mut scope = Scope::default();
            let mut shape = Shape::of(&view.member.fields);
            shape.hide(&view.member.near);
            scope.add(&shape, "r", &Node::Row, false, &[]);
            let condition = scope.condition(self.random, 1);
            view.having = Some(condition.sql);
            having = Some(condition.node);
        }
        let node = |condition: Option<Condition>| condition.map(|condition| condition.node);
        let plan = &mut view.definition.plan;
        plan.sources = self.sources.iter().map(|source| source.name.clone()).collect();
        plan.joins = std::mem::take(&mut self.joins);
        plan.filter = node(filter);
        plan.unnest = unnest;
        plan.condition = node(condition);
        plan.output = output;
        plan.having = having;
        let plan = &view.definition.plan;
        let streams = |name: &str| self.members.iter().any(|member| member.name == name && member.streams);
        view.member.streams = plan.members().all(streams) && !self.random.one_in(3);
        if !view.member.streams {
            // What is scheduled absorbs what streams: of other views it would matter when they were refreshed.
            view.definition.refresh = match plan.members().all(streams) && self.random.one_in(2) {
                true => Refresh::Scheduled { schedule: "0 * * * *".to_owned(), tz: None },
                false => Refresh::Manual,
            };
        }
        view
    }

    /// Looks up a row of a keyed collection.
    fn join(&mut self, after_unnest: bool) {
        let keyed = self.members.iter().filter(|member| member.key.is_some()).collect::<Vec<_>>();
        if keyed.is_empty() || !super::JOINS {
            return;
        }
        let member = (*self.random.pick(&keyed)).clone();
        let integers = self.scope.columns.iter().filter(|column| column.of == Type::Int);
        let integers = integers.filter(|column| !after_unnest || column.sql.starts_with("r.\"element"));
        let integers = integers.cloned().collect::<Vec<_>>();
        if integers.is_empty() {
            return;
        }
        let reference = self.random.pick(&integers).clone();
        let name = format!("j{}", self.joins.len());
        let required = self.random.one_in(4);
        let key = member.key.clone().unwrap_or_default();
        // Views have no key, and the names of collections begin with `C`.
        let are_written = self.sources.iter().all(|source| source.name.starts_with('C'));
        let as_of_ingest = are_written && self.random.one_in(3);
        let has = if as_of_ingest { Has::Past } else { Has::Found };
        let table = Table { member: member.name.clone(), has };
        let kind = if required { "JOIN" } else { "LEFT JOIN" };
        write!(self.joined, " {kind} {} {name} ON {name}.\"{key}\" = {}", table.sql(), reference.sql)
            .unwrap();
        let there = match as_of_ingest {
            true => format!("{name}.\"__came\" <= r.\"__came\" AND r.\"__came\" < {name}.\"__went\""),
            false => format!("{name}.\"__epoch\" = r.\"__epoch\""),
        };
        write!(self.joined, " AND {there}").unwrap();
        self.tables.push(table.clone());
        self.looked_up.push((table, member.fields.clone()));
        let root = Node::Joined(name.clone());
        self.scope.add(&Shape::of(&member.fields), &name, &root, !required, &member.inexact);
        let member = member.name;
        self.joins.push(Join {
            name,
            member,
            reference: reference.node,
            key,
            required,
            as_of_ingest,
            after_unnest,
            many: false,
        });
    }

    /// The rows of all sources with what they refer to.
    fn from(&mut self, shape: &Shape, element: Option<(String, Shape, bool)>) -> String {
        let has = match &element {
            Some((path, _, keeps_empty)) => Has::Elements(path.clone(), *keeps_empty),
            None => Has::Rows,
        };
        let tables =
            self.sources.iter().map(|source| Table { member: source.name.clone(), has: has.clone() });
        let tables = tables.collect::<Vec<_>>();
        let rows = match tables.as_slice() {
            [only] => only.sql(),
            several => {
                let columns = shape.all().chain(element.iter().flat_map(|(_, shape, _)| shape.all()));
                // The source's name first: there may be no column.
                let columns = columns.map(|flat| format!(", \"{}\"", flat.sql)).collect::<String>();
                let came = if self.joins.iter().any(|join| join.as_of_ingest) { ", \"__came\"" } else { "" };
                let part = |table: &Table| {
                    let Table { member, .. } = table;
                    format!(
                        "SELECT '{member}' AS \"__source\"{columns}{came}, \"__epoch\" FROM {}",
                        table.sql()
                    )
                };
                format!("({})", several.iter().map(part).collect::<Vec<_>>().join(" UNION ALL "))
            }
        };
        self.tables.extend(tables);
        format!(" FROM {rows} r{}", self.joined)
    }

    fn made(&mut self, name: &str, fields: Vec<Field>, inexact: Vec<String>, sql: String) -> View {
        // From its stored form, as that may get more fields, which all have defaults.
        let definition = json!({
            "name": name,
            "table": name.to_lowercase(),
            "schema": schema(&fields),
            "plan": { "sources": [], "output": "source" },
            "refresh": { "mode": "streaming" },
        });
        View {
            definition: serde_json::from_value(definition).unwrap(),
            member: Member {
                name: name.to_owned(),
                fields,
                inexact,
                near: Vec::new(),
                streams: true,
                key: None,
            },
            tables: std::mem::take(&mut self.tables),
            sql,
            passes: false,
            expanded: Vec::new(),
            folds: Vec::new(),
            having: None,
            ttl: None,
            groups: None,
        }
    }

    /// The source's rows as they are, or with all rows that they refer to.
    fn pass(&mut self, from: &str, name: &str) -> (Output, View) {
        let source = self.sources[0].clone();
        let looked_up = std::mem::take(&mut self.looked_up);
        let mut fields = source.fields.clone();
        let own = fields.iter().map(|field| (field.name.clone(), Node::Row.field(&field.name)));
        let mut columns = own.collect::<Vec<_>>();
        for (join, (_, joined)) in self.joins.iter().zip(&looked_up) {
            for Field { name, of, .. } in joined {
                let column = format!("{}_{name}", join.name);
                columns.push((column.clone(), Node::Joined(join.name.clone()).field(name)));
                fields.push(field(&column, of.clone(), true));
            }
        }
        let names = columns.iter().map(|(name, _)| name).collect::<BTreeSet<_>>();
        if !looked_up.is_empty() && names.len() == columns.len() && self.random.one_in(2) {
            let rows = self.joins.iter().map(|join| format!(", {}.\"__row\"", join.name)).collect::<String>();
            let sql = format!("SELECT r.\"__row\"{rows}{from}");
            let view = self.made(name, fields, source.inexact, sql);
            let member = Member { near: source.near, ..view.member };
            let expanded = looked_up.into_iter().map(|(table, _)| table).collect();
            let columns = columns.into_iter().map(|(name, value)| Column { name, value }).collect();
            return (Output::Rows(columns), View { passes: true, member, expanded, ..view });
        }
        let view = self.made(name, source.fields, source.inexact, format!("SELECT r.\"__row\"{from}"));
        let member = Member { near: source.near, ..view.member };
        (Output::Source, View { passes: true, member, ..view })
    }

    fn rows(&mut self, from: &str, name: &str) -> (Output, View) {
        let values =
            (0..1 + self.random.below(5)).map(|_| self.scope.any(self.random, 2)).collect::<Vec<_>>();
        let Named { fields, inexact, columns, sql } = named("c", &values);
        (Output::Rows(columns), self.made(name, fields, inexact, format!("SELECT {sql}{from}")))
    }

    fn groups(&mut self, from: &str, name: &str) -> (Output, View) {
        let keys = (0..self.random.below(3)).map(|_| self.key()).collect::<Vec<_>>();
        let Named { mut fields, mut inexact, columns: keys, sql: inner } = named("k", &keys);
        let mut inner = if inner.is_empty() { Vec::new() } else { vec![inner] };
        let (mut added, mut taken) = (fields.clone(), Vec::new());
        let mut outer = keys.iter().map(|key| format!("\"{}\"", key.name)).collect::<Vec<_>>();
        let (mut aggregates, mut folds, mut near, mut seconds) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let wanted = self.random.below(4).max(u64::from(keys.is_empty()));
        let kinds = kinds();
        for index in 0..wanted {
            let kind = *self.random.pick(&kinds);
            let Some(value) = self.argument(kind) else { continue };
            let by = match kind.takes {
                Takes::Ordered => Some(self.scope.any(self.random, 0)),
                Takes::TwoNumbers => Some(self.number(0)),
                Takes::ByKey => Some(self.scope.value(self.random, &Type::Text, 0)),
                _ => None,
            };
            if kind.takes == Takes::TwoNumbers && by.as_ref().is_some_and(|by| !by.summable) {
                continue;
            }
            let filter = self.random.one_in(3).then(|| self.scope.condition(self.random, 1));
            let column = format!("a{index}");
            let is_folded = matches!(kind.truth, Truth::Fold(_) | Truth::Near(..));
            added.push(field(&column, value.of.clone(), true));
            taken.push((kind.name, column.clone()));
            inner.push(match &filter {
                Some(filter) if !is_folded => {
                    format!("CASE WHEN {} THEN {} END AS \"{column}\"", filter.sql, value.sql)
                }
                _ => format!("{} AS \"{column}\"", value.sql),
            });
            let of_floats = value.of == Type::Float;
            let mut fold_of = |fold: Fold| {
                let counts = filter.as_ref().map_or("true", |filter| &filter.sql);
                let type_of_by = by.as_ref().map_or(Type::Bool, |by| by.of.clone());
                added.push(field(&format!("{column}f"), Type::Bool, true));
                added.push(field(&format!("{column}y"), type_of_by, true));
                let by = by.as_ref().map_or("true", |by| &by.sql);
                inner.push(format!("{counts} AS \"{column}f\", {by} AS \"{column}y\""));
                folds.push((fields.len(), fold));
                seconds.push(format!("array_agg(\"{column}y\") FILTER (WHERE \"{column}f\")"));
                format!("array_agg({{x}}) FILTER (WHERE \"{column}f\")")
            };
            let aggregate = match kind.truth {
                Truth::SqlOfFloats(_, sql) if of_floats => sql.to_owned(),
                Truth::Sql(sql) | Truth::SqlOfFloats(sql, _) | Truth::NearSql(sql, ..) => sql.to_owned(),
                Truth::Fold(fold) | Truth::Near(fold, ..) => fold_of(fold),
            };
            if let Truth::Near(_, part, apart) | Truth::NearSql(_, part, apart) = kind.truth {
                near.push((column.clone(), part, apart));
            }
            outer.push(aggregate.replace("{x}", &format!("\"{column}\"")));
            let list = |of| Type::List(Box::new(field("item", of, false)));
            let (of, nullable) = match kind.gives {
                Gives::Count => (Type::Int, false),
                Gives::SameOrZero => (value.of.clone(), false),
                Gives::SameOrNull => (value.of.clone(), true),
                Gives::Float => (Type::Float, true),
                Gives::Bool => (Type::Bool, true),
                Gives::Int => (Type::Int, true),
                Gives::List => (list(value.of.clone()), false),
                Gives::Counts => (list(Type::Int), false),
                Gives::Floats => (list(Type::Float), true),
                Gives::Sums => (Type::Sums, false),
            };
            if kind.gives == Gives::Float || !value.summable {
                inexact.push(column.clone());
            }
            fields.push(field(&column, of, nullable));
            aggregates.push(aggregate_column(&column, kind, &value, by, filter));
        }
        if outer.is_empty() {
            // None of the aggregates found a value to take.
            inner.push("1 AS \"a9\"".to_owned());
            added.push(field("a9", Type::Int, false));
            taken.push(("count", "a9".to_owned()));
            outer.push("count(\"a9\")".to_owned());
            fields.push(field("a9", Type::Int, false));
            aggregates.push(serde_json::from_value(json!({ "name": "a9", "aggregate": "count" })).unwrap());
        }
        outer.extend(seconds);
        let mut merged = format!("SELECT {} FROM {{rows}}", outer.join(", "));
        if !keys.is_empty() {
            let keys = keys.iter().map(|key| format!("\"{}\"", key.name)).collect::<Vec<_>>();
            write!(merged, " GROUP BY {}", keys.join(", ")).unwrap();
        }
        let sql = format!("SELECT {}{from}", inner.join(", "));
        let view = self.made(name, fields, inexact, merged.replace("{rows}", &format!("({sql})")));
        let member = Member { near, ..view.member };
        let groups = Groups {
            fields: added,
            keys: keys.len(),
            added: inner.join(", "),
            from: from.to_owned(),
            merged,
            aggregates: taken,
        };
        (Output::Groups { keys, aggregates }, View { folds, member, groups: Some(groups), ..view })
    }

    fn key(&mut self) -> Expression {
        match self.scope.column(self.random, &Type::Time) {
            Some(time) if self.random.one_in(2) => truncated(self.random, time),
            _ => {
                let depth = u32::from(self.random.one_in(3));
                self.scope.any(self.random, depth)
            }
        }
    }

    fn number(&mut self, depth: u32) -> Expression {
        let of = self.random.pick(&[Type::Int, Type::Float]).clone();
        self.scope.value(self.random, &of, depth)
    }

    /// A random value that an aggregate takes.
    fn argument(&mut self, kind: &Kind) -> Option<Expression> {
        let depth = u32::from(self.random.one_in(3));
        let value = match kind.takes {
            Takes::Nothing => {
                let node = Node::Row;
                Expression { node, sql: "1".to_owned(), of: Type::Int, nullable: false, summable: true }
            }
            Takes::Any | Takes::Ordered => self.scope.any(self.random, depth),
            Takes::Number | Takes::TwoNumbers => self.number(depth),
            Takes::Of(of) => self.scope.value(self.random, of, depth),
            Takes::ByKey => self.scope.value(self.random, &Type::Int, depth),
            Takes::Sums if self.scope.maps.is_empty() => return None,
            Takes::Sums => self.random.pick(&self.scope.maps).clone(),
        };
        let adds = matches!(kind.takes, Takes::Number | Takes::TwoNumbers);
        (value.summable || !adds).then_some(value)
    }
}

fn aggregate_column(
    name: &str,
    kind: &Kind,
    value: &Expression,
    by: Option<Expression>,
    filter: Option<Condition>,
) -> AggregateColumn {
    let mut json = json!({ "name": name, "aggregate": kind.name });
    if kind.takes != Takes::Nothing {
        json["argument"] = serde_json::to_value(&value.node).unwrap();
    }
    if let Some(by) = by {
        json["by"] = serde_json::to_value(by.node).unwrap();
    }
    if kind.parameters != "[]" {
        json["parameters"] = serde_json::from_str(kind.parameters).unwrap();
    }
    if let Some(filter) = filter {
        json["filter"] = serde_json::to_value(filter.node).unwrap();
    }
    serde_json::from_value(json).unwrap()
}

struct Named {
    fields: Vec<Field>,
    inexact: Vec<String>,
    columns: Vec<Column>,
    sql: String,
}

/// Expressions as numbered columns.
fn named(prefix: &str, values: &[Expression]) -> Named {
    let mut named =
        Named { fields: Vec::new(), inexact: Vec::new(), columns: Vec::new(), sql: String::new() };
    let mut sql = Vec::new();
    for (index, value) in values.iter().enumerate() {
        let name = format!("{prefix}{index}");
        sql.push(format!("{} AS \"{name}\"", value.sql));
        if !value.summable {
            named.inexact.push(name.clone());
        }
        named.fields.push(field(&name, value.of.clone(), value.nullable));
        named.columns.push(Column { name, value: value.node.clone() });
    }
    named.sql = sql.join(", ");
    named
}

//! Random expressions, each in the language's form and in SQL's.

use super::members::{Flat, Shape};
use super::value::{Field, SCALARS, Type, Value, WORDS};
use parquedb::declare::node::{Function, Literal, Node};
use parquedb::testing::Random;

/// An expression in both forms.
#[derive(Clone, Debug)]
pub(super) struct Expression {
    pub(super) node: Node,
    pub(super) sql: String,
    pub(super) of: Type,
    pub(super) nullable: bool,
    /// Sums of such values are exact in any order.
    pub(super) summable: bool,
}

/// A condition in both forms.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    pub(super) node: Node,
    pub(super) sql: String,
}

/// What expressions may speak of.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    pub(super) columns: Vec<Expression>,
    records: Vec<Condition>,
    /// Maps from text to integers.
    pub(super) maps: Vec<Expression>,
    /// Lists with their sizes in SQL.
    pub(super) lists: Vec<(Expression, Field, String)>,
}

impl Scope {
    /// Adds what a shape has, from the SQL table `alias`. `root` takes the place of the row.
    pub(super) fn add(
        &mut self,
        shape: &Shape,
        alias: &str,
        root: &Node,
        optional: bool,
        inexact: &[String],
    ) {
        let sql = |flat: &Flat| format!("{alias}.\"{}\"", flat.sql);
        let expression = |flat: &Flat| Expression {
            node: rooted(&flat.node, root),
            sql: sql(flat),
            of: flat.of.clone(),
            nullable: flat.nullable || optional,
            summable: !inexact.contains(&flat.sql),
        };
        self.columns.extend(shape.scalars.iter().map(expression));
        self.maps.extend(shape.maps.iter().map(expression));
        self.records.extend(shape.records.iter().map(|flat| Condition {
            node: Node::Call(Function::Exists, vec![rooted(&flat.node, root)]),
            sql: format!("coalesce({}, false)", sql(flat)),
        }));
        self.lists.extend(shape.lists.iter().map(|(flat, item)| {
            let name = flat.sql.trim_end_matches('#').to_owned();
            (expression(flat), item.clone(), name)
        }));
    }

    pub(super) fn has(&self, of: &Type) -> bool {
        self.columns.iter().any(|column| column.of == *of)
    }

    pub(super) fn column(&self, random: &mut Random, of: &Type) -> Option<Expression> {
        let columns = self.columns.iter().filter(|column| column.of == *of).collect::<Vec<_>>();
        (!columns.is_empty()).then(|| (*random.pick(&columns)).clone())
    }

    /// A random value of a random type that some column has.
    pub(super) fn any(&self, random: &mut Random, depth: u32) -> Expression {
        let types = SCALARS.iter().chain([&Type::Index]).filter(|of| self.has(of)).collect::<Vec<_>>();
        let of = if types.is_empty() { &Type::Int } else { *random.pick(&types) };
        self.value(random, of, depth)
    }

    /// A random value of a type.
    pub(super) fn value(&self, random: &mut Random, of: &Type, depth: u32) -> Expression {
        let plain = |random: &mut Random| self.column(random, of).unwrap_or_else(|| literal(random, of));
        if depth == 0 || random.one_in(2) {
            return if random.one_in(8) { literal(random, of) } else { plain(random) };
        }
        let depth = depth - 1;
        match random.below(4) {
            0 => {
                let condition = self.condition(random, depth);
                let (then, otherwise) = (self.value(random, of, depth), self.value(random, of, depth));
                let sql = format!("CASE WHEN {} THEN {} ELSE {} END", condition.sql, then.sql, otherwise.sql);
                let nullable = then.nullable || otherwise.nullable;
                let summable = then.summable && otherwise.summable;
                call(
                    Function::Cond,
                    vec![condition.node, then.node, otherwise.node],
                    sql,
                    of,
                    nullable,
                    summable,
                )
            }
            1 => {
                let (first, second) = (plain(random), self.value(random, of, depth));
                let sql = format!("coalesce({}, {})", first.sql, second.sql);
                let nullable = first.nullable && second.nullable;
                let summable = first.summable && second.summable;
                call(Function::Coalesce, vec![first.node, second.node], sql, of, nullable, summable)
            }
            _ => self.function(random, of, depth),
        }
    }

    /// A function that gives values of a type.
    fn function(&self, random: &mut Random, of: &Type, depth: u32) -> Expression {
        let value = self.value(random, of, depth);
        let nullable = value.nullable;
        match of {
            Type::Index => value,
            Type::Int => {
                let other = self.value(random, of, depth);
                let either = nullable || other.nullable;
                let two = vec![value.node.clone(), other.node];
                let constant = 2 + i64::try_from(random.below(3)).unwrap();
                let with_constant = vec![value.node.clone(), Node::Literal(Literal::Int(constant))];
                let (value, other) = (value.sql, other.sql);
                match random.below(5) {
                    0 => call(Function::Add, two, format!("({value} + {other})"), of, either, true),
                    1 => call(Function::Subtract, two, format!("({value} - {other})"), of, either, true),
                    2 => {
                        let sql = format!("({value} * {constant})");
                        call(Function::Multiply, with_constant, sql, of, nullable, true)
                    }
                    3 => {
                        let sql = format!("({value} % {constant})");
                        call(Function::Remainder, with_constant, sql, of, nullable, true)
                    }
                    _ => call(
                        Function::Negate,
                        vec![two[0].clone()],
                        format!("(0 - {value})"),
                        of,
                        nullable,
                        true,
                    ),
                }
            }
            Type::Float if random.one_in(4) => {
                let (value, by) =
                    (self.value(random, &Type::Int, depth), self.value(random, &Type::Int, depth));
                let sql = format!(
                    "(cast({} AS double) / nullif(cast({} AS double), 0.0) + 0.0)",
                    value.sql, by.sql
                );
                call(Function::Divide, vec![value.node, by.node], sql, of, true, false)
            }
            Type::Float => {
                let other = self.value(random, of, depth);
                let summable = value.summable && other.summable;
                let either = nullable || other.nullable;
                let two = vec![value.node.clone(), other.node];
                match random.below(3) {
                    0 => {
                        let sql = format!("({} + {} + 0.0)", value.sql, other.sql);
                        call(Function::Add, two, sql, of, either, summable)
                    }
                    1 => {
                        let sql = format!("({} - {} + 0.0)", value.sql, other.sql);
                        call(Function::Subtract, two, sql, of, either, summable)
                    }
                    _ => {
                        let constant = Node::Literal(Literal::Float(-1.5));
                        let sql = format!("({} * (-1.5) + 0.0)", value.sql);
                        call(
                            Function::Multiply,
                            vec![value.node, constant],
                            sql,
                            of,
                            nullable,
                            value.summable,
                        )
                    }
                }
            }
            Type::Text => match random.below(3) {
                0 => call(
                    Function::Lower,
                    vec![value.node],
                    format!("lower({})", value.sql),
                    of,
                    nullable,
                    true,
                ),
                1 => call(
                    Function::Upper,
                    vec![value.node],
                    format!("upper({})", value.sql),
                    of,
                    nullable,
                    true,
                ),
                _ => {
                    let other = self.value(random, of, depth);
                    let sql = format!("(coalesce({}, '') || coalesce({}, ''))", value.sql, other.sql);
                    call(Function::Concat, vec![value.node, other.node], sql, of, false, true)
                }
            },
            Type::Bool => {
                let Condition { node, sql } = self.condition(random, depth);
                // As a value a condition alone may be null.
                call(Function::And, vec![node], sql, of, false, true)
            }
            _ => truncated(random, value),
        }
    }

    /// A random condition. Conditions are never null.
    pub(super) fn condition(&self, random: &mut Random, depth: u32) -> Condition {
        if depth > 0 && random.one_in(3) {
            let (left, right) = (self.condition(random, depth - 1), self.condition(random, depth - 1));
            return match random.below(3) {
                0 => truth(
                    Function::And,
                    vec![left.node, right.node],
                    format!("({} AND {})", left.sql, right.sql),
                ),
                1 => truth(
                    Function::Or,
                    vec![left.node, right.node],
                    format!("({} OR {})", left.sql, right.sql),
                ),
                _ => truth(Function::Not, vec![left.node], format!("(NOT {})", left.sql)),
            };
        }
        if !self.records.is_empty() && random.one_in(6) {
            return random.pick(&self.records).clone();
        }
        if !self.lists.is_empty() && random.one_in(6) {
            let (list, _, _) = random.pick(&self.lists);
            let size = i64::try_from(random.below(4)).unwrap();
            let arguments = vec![list.node.clone(), Node::Literal(Literal::Int(size))];
            return truth(Function::Size, arguments, format!("coalesce({} = {size}, false)", list.sql));
        }
        let value = self.any(random, depth);
        match (&value.of, random.below(6)) {
            (_, 0) => truth(Function::Exists, vec![value.node], format!("({} IS NOT NULL)", value.sql)),
            (_, 1) if value.of != Type::Bool => {
                let constants =
                    (0..1 + random.below(3)).map(|_| constant(random, &value.of)).collect::<Vec<_>>();
                let list = constants.iter().map(|(_, sql)| sql.as_str()).collect::<Vec<_>>().join(", ");
                let mut literals = constants.iter().map(|(literal, _)| literal.clone()).collect::<Vec<_>>();
                let mut sql = format!("coalesce({} IN ({list}), false)", value.sql);
                if random.one_in(3) {
                    literals.push(Literal::Null);
                    sql = format!("({sql} OR {} IS NULL)", value.sql);
                }
                let arguments = vec![value.node, Node::List(literals)];
                match random.one_in(2) {
                    true => truth(Function::In, arguments, sql),
                    false => truth(Function::NotIn, arguments, format!("(NOT {sql})")),
                }
            }
            (Type::Text, 2 | 3) => {
                let part = *random.pick(&WORDS);
                let (function, sql) = match random.below(3) {
                    0 => (Function::StartsWith, format!("starts_with({}, '{part}')", value.sql)),
                    1 => (Function::EndsWith, format!("ends_with({}, '{part}')", value.sql)),
                    _ => (Function::Contains, format!("(strpos({}, '{part}') > 0)", value.sql)),
                };
                let arguments = vec![value.node, Node::Literal(Literal::Text(part.to_owned()))];
                truth(function, arguments, format!("coalesce({sql}, false)"))
            }
            (Type::Bool, 2 | 3) => {
                Condition { sql: format!("coalesce({}, false)", value.sql), node: value.node }
            }
            (of, chance) => {
                let other = match random.one_in(2) {
                    true => literal(random, of),
                    false => self.value(random, of, depth.saturating_sub(1)),
                };
                let (left, right) = (&value.sql, &other.sql);
                let compared = |sign: &str| format!("coalesce({left} {sign} {right}, false)");
                let functions = if value.of == Type::Bool { 2 } else { 6 };
                let (function, sql) = match (random.below(functions) + chance) % functions {
                    0 => (Function::Eq, format!("({left} IS NOT DISTINCT FROM {right})")),
                    1 => (Function::Ne, format!("({left} IS DISTINCT FROM {right})")),
                    2 => (Function::Lt, compared("<")),
                    3 => (Function::Le, compared("<=")),
                    4 => (Function::Gt, compared(">")),
                    _ => (Function::Ge, compared(">=")),
                };
                truth(function, vec![value.node, other.node], sql)
            }
        }
    }
}

/// A time cut to a random unit.
pub(super) fn truncated(random: &mut Random, time: Expression) -> Expression {
    let unit = *random.pick(&["minute", "hour", "day", "week", "month", "quarter", "year"]);
    let sql = format!("date_trunc('{unit}', {})", time.sql);
    let arguments = vec![Node::Literal(Literal::Text(unit.to_owned())), time.node];
    call(Function::Truncate, arguments, sql, &Type::Time, time.nullable, true)
}

fn rooted(node: &Node, root: &Node) -> Node {
    match node {
        Node::Row => root.clone(),
        Node::Field(of, name) => Node::Field(Box::new(rooted(of, root)), name.clone()),
        Node::Index(of, index) => Node::Index(Box::new(rooted(of, root)), *index),
        other => other.clone(),
    }
}

fn truth(function: Function, arguments: Vec<Node>, sql: String) -> Condition {
    Condition { node: Node::Call(function, arguments), sql }
}

fn call(
    function: Function,
    arguments: Vec<Node>,
    sql: String,
    of: &Type,
    nullable: bool,
    summable: bool,
) -> Expression {
    Expression { node: Node::Call(function, arguments), sql, of: of.clone(), nullable, summable }
}

pub(super) fn literal(random: &mut Random, of: &Type) -> Expression {
    let (literal, sql) = constant(random, of);
    Expression { node: Node::Literal(literal), sql, of: of.clone(), nullable: false, summable: true }
}

fn constant(random: &mut Random, of: &Type) -> (Literal, String) {
    match of.random(random) {
        Value::Int(value) => (Literal::Int(value), format!("({value})")),
        Value::Float(value) if value.is_nan() => (Literal::Float(0.0), "(0.0)".to_owned()),
        // A constant may be a negative zero.
        Value::Float(0.0) => (Literal::Float(*random.pick(&[0.0, -0.0])), "(0.0)".to_owned()),
        Value::Float(value) => (Literal::Float(value), format!("({value:?})")),
        Value::Text(value) => (Literal::Text(value.clone()), format!("'{value}'")),
        Value::Bool(value) => (Literal::Bool(value), value.to_string()),
        Value::Time(value) => {
            let sql = format!("arrow_cast({value}, 'Timestamp(Microsecond, Some(\"UTC\"))')");
            (Literal::Timestamp(value), sql)
        }
        other => panic!("no constants like {other:?}"),
    }
}

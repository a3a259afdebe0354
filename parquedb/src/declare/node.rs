//! The untyped form of an expression: what typed handles build, what a definition stores, and what
//! the query planner lowers to DataFusion. It is data only and has one canonical JSON form, so a
//! definition's hash does not depend on the version of any library.

use serde::{Deserialize, Serialize};

/// One expression over a row, or a step of a path into it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Node {
    /// The row itself. Only ever the innermost node of a path.
    Row,
    /// The current element of the list named by the view's `$unnest`.
    Element,
    /// Its position in the list, from zero.
    ElementIndex,
    /// The row that the view's [`Join`](super::plan::Join) of this name found: only ever the innermost node of a
    /// path. Of a list of references it is the list of the rows, which is a value.
    Joined(String),
    /// The row that a reference refers to. Only handles give it: in a definition it is a [`Node::Joined`].
    Referred(Box<Referred>),
    /// The name of the source that the row came from, when the view has several.
    SourceName,
    /// A record put together from other values.
    Assembled(Box<Assembled>),
    /// A named field of a row or of a nested record; null where the record is null.
    Field(Box<Node>, String),
    /// An element of a list by its position from zero; null where there is none.
    Index(Box<Node>, u32),
    /// The value of a key of a map; null where there is none.
    Key(Box<Node>, String),
    /// A constant.
    Literal(Literal),
    /// A list of constants: the right side of `$in`, `$nin` and `$all`.
    List(Vec<Literal>),
    /// A function of other expressions.
    Call(Function, Vec<Node>),
}

impl Node {
    /// The field `name` of this record.
    #[must_use]
    pub fn field(&self, name: &str) -> Node {
        if let Node::Assembled(record) = self
            && let Some((_, value)) = record.fields.iter().find(|(field, _)| field == name)
        {
            return value.clone();
        }
        Node::Field(Box::new(self.clone()), name.to_owned())
    }

    /// Visits the expression and its parts, each after what it is made of.
    pub fn walk<'n>(&'n self, visit: &mut dyn FnMut(&'n Node)) {
        match self {
            Node::Referred(referred) => referred.reference.walk(visit),
            Node::Field(of, _) | Node::Index(of, _) | Node::Key(of, _) => of.walk(visit),
            Node::Call(_, arguments) => arguments.iter().for_each(|argument| argument.walk(visit)),
            Node::Assembled(record) => record.fields.iter().for_each(|(_, value)| value.walk(visit)),
            Node::Row
            | Node::Element
            | Node::ElementIndex
            | Node::Joined(_)
            | Node::SourceName
            | Node::Literal(_)
            | Node::List(_) => {}
        }
        visit(self);
    }
}

/// A reference that is looked through.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Referred {
    /// The reference's value.
    pub reference: Node,
    /// The member referred to.
    pub member: String,
    /// The member's key column.
    pub key: String,
    /// Neither the reference nor one before it is optional.
    pub required: bool,
    /// It is a list of references, and what is meant is the list of the rows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub many: bool,
}

/// A record whose fields are values of their own. It is null where its key is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assembled {
    /// The name of a field that is null only where the record is.
    pub key: String,
    /// The fields by their names.
    pub fields: Vec<(String, Node)>,
}

/// A constant. Decimals carry their unscaled value as text, because JSON numbers lose digits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Literal {
    /// The absent value.
    Null,
    /// True or false.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// An integer above the range of `i64`.
    UInt(u64),
    /// A finite float.
    Float(f64),
    /// A float JSON has no number for: `NaN`, `inf` or `-inf`, as Rust prints it.
    SpecialFloat(String),
    /// UTF-8 text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// Days since 1970-01-01.
    Date(i32),
    /// An unscaled decimal with its precision and scale.
    Decimal(String, u8, i8),
    /// The sixteen bytes of a UUID or ULID.
    Id([u8; 16]),
}

/// What a [`Node::Call`] computes. Predicates are two-valued: see `docs/design/semantics.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Function {
    /// Both sides equal, where null equals null.
    Eq,
    /// Not [`Function::Eq`].
    Ne,
    /// Less; false with a null on either side, as are the next three.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
    /// The first argument equals one of the list.
    In,
    /// Not [`Function::In`].
    NotIn,
    /// All arguments hold; true of none.
    And,
    /// Some argument holds; false of none.
    Or,
    /// The argument does not hold.
    Not,
    /// The argument is not null.
    Exists,
    /// Text starts with text.
    StartsWith,
    /// Text ends with text.
    EndsWith,
    /// Text contains text.
    Contains,
    /// Text matches a regular expression (the `regex` crate's syntax) somewhere.
    Regex,
    /// A list has this many elements.
    Size,
    /// A list contains every element of a list of constants.
    All,
    /// Sum of two numbers; leaving the type is an error, as in the next four.
    Add,
    /// Difference.
    Subtract,
    /// Product.
    Multiply,
    /// Quotient, always a float; null where the divisor is zero.
    Divide,
    /// Remainder with the sign of the dividend; null where the divisor is zero.
    Remainder,
    /// The number with its sign changed.
    Negate,
    /// Condition, value if it holds, value if not.
    Cond,
    /// The first argument that is not null.
    Coalesce,
    /// Text in lower case.
    Lower,
    /// Text in upper case.
    Upper,
    /// Number of characters of a text.
    Length,
    /// Texts joined; null arguments count as empty.
    Concat,
    /// A list with one more element at its end; of null the element alone.
    Append,
    /// A timestamp cut to its unit, in UTC: the unit's name, then the timestamp. Units: `minute`,
    /// `hour`, `day`, `week` (from Monday), `month`, `quarter`, `year`.
    Truncate,
}

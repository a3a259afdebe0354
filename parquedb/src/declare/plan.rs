//! A view's plan as data: what `views!` builds and the runtime lowers to one DataFusion plan.

use super::node::{Literal, Node};
use serde::{Deserialize, Serialize};

/// What a view computes. The steps run in the order of the fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ViewPlan {
    /// Names of the source records, of which all rows count: collections, streams or other views. At least
    /// one (`$from`).
    pub sources: Vec<String>,
    /// The rows that a source row refers to, each found by its key. A later one may start from an earlier
    /// one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joins: Vec<Join>,
    /// Which source rows count (`$filter`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Node>,
    /// The list whose elements become rows (`$unnest`). Afterwards [`Node::Element`] is the element.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unnest: Option<Unnest>,
    /// Which rows count after the unnest (`$where`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<Node>,
    /// What comes out.
    pub output: Output,
    /// Which of the view's rows come out after all (`$having`): over the view's own columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub having: Option<Node>,
}

impl ViewPlan {
    /// Every member that the view is computed from: its sources, then what they refer to. One may be there
    /// several times.
    pub fn members(&self) -> impl Iterator<Item = &str> {
        let joined = self.joins.iter().map(|join| join.member.as_str());
        self.sources.iter().map(String::as_str).chain(joined)
    }

    /// The members whose changes change the view: all but those that are looked up as of ingest alone.
    pub fn triggers(&self) -> impl Iterator<Item = &str> {
        let live = self.joins.iter().filter(|join| !join.as_of_ingest).map(|join| join.member.as_str());
        self.sources.iter().map(String::as_str).chain(live)
    }

    /// Whether rows are looked up as they were when the source row came.
    #[must_use]
    pub fn looks_back(&self) -> bool {
        self.joins.iter().any(|join| join.as_of_ingest)
    }

    /// Every expression over the rows of the sources and what they refer to.
    pub fn expressions(&self) -> impl Iterator<Item = &Node> {
        let (columns, aggregates): (&[Column], &[AggregateColumn]) = match &self.output {
            Output::Source => (&[], &[]),
            Output::Rows(columns) => (columns, &[]),
            Output::Groups { keys, aggregates } => (keys, aggregates),
        };
        let references = self.joins.iter().map(|join| &join.reference);
        let list = self.unnest.iter().map(|unnest| &unnest.list);
        let aggregates = aggregates.iter().flat_map(AggregateColumn::expressions);
        let values = columns.iter().map(|column| &column.value).chain(aggregates);
        references.chain(&self.filter).chain(list).chain(&self.condition).chain(values)
    }

    /// The names of all sources, for messages.
    #[must_use]
    pub fn source_names(&self) -> String {
        self.sources.join(", ")
    }
}

/// A row of another member that a row refers to: at most one, as its key is unique. Or the rows that it refers to by a
/// list of references.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Join {
    /// The path of the reference, `customer` or `customer.organization`, or `*.product` below the element of the
    /// view's `$unnest`: what [`Node::Joined`] names it by.
    pub name: String,
    /// The member referred to.
    pub member: String,
    /// The reference's value over the source row and the joins before.
    pub reference: Node,
    /// The member's key column.
    pub key: String,
    /// Rows without a counterpart do not count. Otherwise the counterpart's fields are null.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// The row is the one that was there after the commit in which the source row came, whatever became of it since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub as_of_ingest: bool,
    /// The reference is below the element of the view's `$unnest`: the join comes after that, and after all joins
    /// of which this is not so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub after_unnest: bool,
    /// The reference is a list of them. What is found is the list of their rows, one for each element in its place,
    /// with null for a row that is missing; null where the list is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub many: bool,
}

/// The list whose elements become rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unnest {
    /// The list.
    pub list: Node,
    /// A row whose list is empty or null stays, with a null element.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep_empty: bool,
    /// [`Node::ElementIndex`] is used.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub with_index: bool,
}

/// The rows a view gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// The source's columns, unchanged: a view with neither `$select` nor `$groupBy` nor `$compute`.
    Source,
    /// One row per row (`$select`).
    Rows(Vec<Column>),
    /// One row per distinct key (`$groupBy`, `$compute`); one row in all when there are no keys.
    Groups {
        /// The group keys, first columns of the view.
        keys: Vec<Column>,
        /// The aggregates, the columns after the keys.
        aggregates: Vec<AggregateColumn>,
    },
}

/// A named expression.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// The view's column.
    pub name: String,
    /// Its value.
    pub value: Node,
}

/// A named aggregate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AggregateColumn {
    /// The view's column.
    pub name: String,
    /// What is computed over the group.
    pub aggregate: Aggregate,
    /// Of which value; absent only for counting rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argument: Option<Node>,
    /// The second value, for aggregates that take one: what `$first` orders by, what `$argMin` is least
    /// of, what `$corr` correlates with, by what `$sumMap` adds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Node>,
    /// Constants: the quantiles, the size of a `$topK`, the bounds of a `$histogram`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<Literal>,
    /// Over which rows of the group (an inner `$filter`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Node>,
}

impl AggregateColumn {
    /// The expressions over the rows of a group.
    pub fn expressions(&self) -> impl Iterator<Item = &Node> {
        self.argument.iter().chain(&self.by).chain(&self.filter)
    }

    /// The same, to be changed.
    pub fn expressions_mut(&mut self) -> impl Iterator<Item = &mut Node> {
        self.argument.iter_mut().chain(&mut self.by).chain(&mut self.filter)
    }
}

/// The aggregates. All but `$count: *`, `$first` and `$last` skip nulls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// Number of rows, or of non-null values when there is an argument.
    Count,
    /// Sum; zero of none.
    Sum,
    /// Mean; null of none.
    Avg,
    /// Sample variance; null of fewer than two values.
    Variance,
    /// Sample standard deviation; null of fewer than two values.
    Stddev,
    /// Pearson's coefficient of correlation; null of fewer than two pairs, or where one side is constant.
    Corr,
    /// Least value; null of none.
    Min,
    /// Greatest value; null of none.
    Max,
    /// Some value; null of none.
    Any,
    /// The value, null or not, of the row with the least order key.
    First,
    /// The value, null or not, of the row with the greatest order key.
    Last,
    /// The value where another is least; null of none.
    ArgMin,
    /// The value where another is greatest; null of none.
    ArgMax,
    /// Number of distinct values, exactly.
    CountDistinct,
    /// Number of distinct values, estimated.
    Uniq,
    /// A quantile within one percent; null of none.
    Quantile,
    /// Several quantiles within one percent; null of none.
    Quantiles,
    /// A quantile; null of none.
    QuantileExact,
    /// The values that occur most often.
    TopK,
    /// All values in order.
    Collect,
    /// The distinct values in order.
    CollectSet,
    /// Whether all are true; null of none.
    And,
    /// Whether any is true; null of none.
    Or,
    /// The bits that all have; null of none.
    BitAnd,
    /// The bits that any has; null of none.
    BitOr,
    /// How many values are below the first bound, between each and the next, and from the last on.
    Histogram,
    /// The sum of each key: of maps, or of a value by another.
    SumMap,
}

/// When a view absorbs its source's changes (`$refresh`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "mode")]
pub enum Refresh {
    /// In the commit that changes the source.
    #[default]
    Streaming,
    /// At the times of a five-field cron expression, in UTC or in the named time zone.
    Scheduled {
        /// The cron expression.
        schedule: String,
        /// An IANA time zone name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tz: Option<String>,
    },
    /// Only when asked.
    Manual,
}

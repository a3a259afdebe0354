//! What timestamps can be cut to.

/// The units a timestamp can be cut to, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimeUnit {
    /// Sixty seconds.
    Minute,
    /// Sixty minutes.
    Hour,
    /// A calendar day.
    Day,
    /// Seven days from Monday.
    Week,
    /// A calendar month.
    Month,
    /// Three months from January, April, July or October.
    Quarter,
    /// A calendar year.
    Year,
}

impl TimeUnit {
    /// The name [`Function::Truncate`](crate::declare::node::Function::Truncate) takes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            TimeUnit::Minute => "minute",
            TimeUnit::Hour => "hour",
            TimeUnit::Day => "day",
            TimeUnit::Week => "week",
            TimeUnit::Month => "month",
            TimeUnit::Quarter => "quarter",
            TimeUnit::Year => "year",
        }
    }
}

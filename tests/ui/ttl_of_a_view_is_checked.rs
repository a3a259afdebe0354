#[path = "support/tail.rs"]
mod tail;
#[allow(unused_imports)]
use tail::*;

#[derive(Collection, Debug, Clone, PartialEq)]
pub struct Visit {
    pub page: String,
    pub at: Timestamp,
}

views! {
    pub Hourly: {
        $from: TailEvents,
        $groupBy: [script_name, { hour: event_timestamp }],
        $compute: { events: $count(*), last: $max(event_timestamp) },
        $ttl: { after: "90 days", on: hour },
    }
    pub Aggregated: {
        $from: TailEvents,
        $groupBy: [script_name, { hour: event_timestamp }],
        $compute: { events: $count(*), last: $max(event_timestamp) },
        $ttl: { after: "90d", on: last },
    }
    pub Misspelt: {
        $from: TailEvents,
        $groupBy: [script_name, { hour: event_timestamp }],
        $compute: { events: $count(*) },
        $ttl: { after: "90d", on: hours },
    }
    pub Untimed: {
        $from: TailEvents,
        $groupBy: [script_name, { hour: event_timestamp }],
        $compute: { events: $count(*) },
        $ttl: { after: "90d", on: script_name },
    }
    pub Selected: {
        $from: TailEvents,
        $select: { outcome, at: event_timestamp },
        $ttl: { after: "90d", on: outcome },
    }
    pub Passed: {
        $from: Visit,
        $filter: page == "/",
        $ttl: { after: "90d", on: timestamp },
    }
    pub Incomplete: {
        $from: TailEvents,
        $select: { at: event_timestamp },
        $ttl: { after: "90d" },
    }
    pub Unknown: {
        $from: TailEvents,
        $select: { at: event_timestamp },
        $ttl: { after: "90d", on: at, order: 1 },
    }
}

fn main() {}

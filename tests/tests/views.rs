//! Views over the tail worker's events.
#![allow(missing_docs, dead_code)]
use parquedb::Timestamp;
use parquedb::{Collection, database, views};
use std::collections::BTreeMap;
mod tail {
    use super::*;
    #[derive(Debug, Clone, PartialEq, Collection)]
    pub struct TailEvents {
        pub script_name: Option<String>,
        pub outcome: String,
        pub event_timestamp: Timestamp,
        pub event: Option<FetchEvent>,
        pub logs: Vec<LogLine>,
        pub exceptions: Vec<Exception>,
        pub wall_time: f64,
        pub tags: BTreeMap<String, String>,
        pub keywords: Vec<String>,
    }
    #[derive(Debug, Clone, PartialEq, Collection)]
    pub struct FetchEvent { pub request: Request, pub response: Option<Response> }
    #[derive(Debug, Clone, PartialEq, Collection)]
    pub struct Request { pub url: String, pub method: String, pub cf: Option<Cf> }
    #[derive(Debug, Clone, PartialEq, Collection)]
    pub struct Response { pub status: u16 }
    #[derive(Debug, Clone, PartialEq, Collection)]
    pub struct Cf { pub colo: String, pub country: Option<String> }
    #[derive(Debug, Clone, PartialEq, Collection)]
    pub struct LogLine { pub level: String, pub message: String, pub timestamp: Timestamp }
    #[derive(Debug, Clone, PartialEq, Collection)]
    pub struct Exception { pub name: String, pub message: String }
}
use tail::TailEvents;

views! {
    /// One row per log line.
    pub WorkerLogs: {
        $from: TailEvents,
        $unnest: logs,
        $select: {
            script_name,
            level: logs.level, message: logs.message, timestamp: logs.timestamp,
            colo: event.request.cf.colo,
        },
    }
    pub WorkerErrors: {
        $from: TailEvents,
        $filter: { $or: [{ outcome: { $ne: "ok" } }, { exceptions[0]: { $exists: true } }] },
        $select: {
            script_name, outcome,
            exception_name: exceptions[0].name, exception_message: exceptions[0].message,
            url: event.request.url, status: event.response.status,
            colo: event.request.cf.colo, timestamp: event_timestamp,
        },
    }
    pub WorkerRequests: {
        $from: TailEvents,
        $filter: { event: { $exists: true } },
        $select: {
            script_name, method: event.request.method, url: event.request.url,
            status: event.response.status, outcome, colo: event.request.cf.colo,
            country: event.request.cf.country, latency: wall_time, timestamp: event_timestamp,
        },
    }
    pub EndpointMetrics: {
        $from: WorkerRequests,
        $groupBy: [script_name, method, { hour: timestamp }],
        $compute: {
            request_count: { $count: * },
            avg_latency: { $avg: latency },
            error_rate: { $avg: { $cond: [{ $ne: [outcome, "ok"] }, 1, 0] } },
        },
        $refresh: { mode: scheduled, schedule: "0 * * * *" },
    }
    pub Everything: {
        $from: TailEvents,
        $filter: {
            event.response.status: { $gte: 400, $lt: 600 },
            outcome: { $in: ["ok", "exception", null] },
            script_name: { $startsWith: "api-", $not: { $regex: "^x.*" } },
            keywords: { $all: ["a"], $size: 3 },
            tags["tier"]: "gold",
            $nor: [{ outcome: "canceled" }, wall_time > 100 && wall_time <= 200.5],
            event.response: null,
        },
        $select: {
            severity: $switch { wall_time > 10 => "slow", outcome != "ok" => "bad", _ => "fine" },
            tier: tags["tier"],
            ratio: wall_time / 2,
            sum: event.response.status + 1,
            less: 1 - event.response.status,
            both: wall_time * 2.5 + -1,
            quotient: wall_time / wall_time,
            left: event.response.status % 7,
            upper: $upper(outcome),
            length: { $length: script_name },
            name: $coalesce(script_name, "none"),
            text: $concat(outcome, "-", script_name),
            maybe: $cond(outcome == "ok", event.response.status, null),
            mixed: $cond(outcome == "ok", 1, 0.5),
            day: { day: event_timestamp },
            failed: outcome != "ok",
            negative: -wall_time,
        },
    }
}

database! {
    /// The database.
    pub struct ObsDb { TailEvents, WorkerLogs, WorkerErrors, WorkerRequests, EndpointMetrics }
}

#[test]
fn types_are_inferred() {
    fn log(row: WorkerLogs) -> (Option<String>, String, String, Timestamp, Option<String>) {
        (row.script_name, row.level, row.message, row.timestamp, row.colo)
    }
}

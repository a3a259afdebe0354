//! Views over the tail worker's events.
#![allow(missing_docs, dead_code, clippy::unwrap_used, clippy::panic)]

use parquedb::declare::declared::Declared;
use parquedb::declare::definition::Definition;
use parquedb::{Collection, Database, Timestamp, database, views};
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
    pub struct FetchEvent {
        pub request: Request,
        pub response: Option<Response>,
    }
    #[derive(Debug, Clone, PartialEq, Collection)]
    pub struct Request {
        pub url: String,
        pub method: String,
        pub cf: Option<Cf>,
    }
    #[derive(Debug, Clone, PartialEq, Collection)]
    pub struct Response {
        pub status: u16,
    }
    #[derive(Debug, Clone, PartialEq, Collection)]
    pub struct Cf {
        pub colo: String,
        pub country: Option<String>,
    }
    #[derive(Debug, Clone, PartialEq, Collection)]
    pub struct LogLine {
        pub level: String,
        pub message: String,
        pub timestamp: Timestamp,
    }
    #[derive(Debug, Clone, PartialEq, Collection)]
    pub struct Exception {
        pub name: String,
        pub message: String,
    }
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
            known: { $cond: [$exists(event), 1, 2] },
            whole: event,
            mention: { $eq: ["ok", outcome] },
            inside: $length($lower($coalesce(event.request.cf.country, "??"))),
        },
    }
}

database! {
    /// The database.
    pub struct ObsDb { TailEvents, WorkerLogs, WorkerErrors, WorkerRequests, EndpointMetrics }
}

/// The plan of a view as the log stores it.
fn plan<V: Declared>() -> serde_json::Value {
    match V::definition() {
        Definition::View(view) => serde_json::json!({
            "name": view.name, "table": view.table, "plan": view.plan, "refresh": view.refresh,
        }),
        Definition::Collection(collection) => panic!("`{}` is not a view", collection.name),
    }
}

fn json<V: Declared>() -> String {
    serde_json::to_string_pretty(&plan::<V>()).unwrap()
}

#[test]
fn plan_of_worker_logs() {
    insta::assert_snapshot!(json::<WorkerLogs>());
}

#[test]
fn plan_of_worker_errors() {
    insta::assert_snapshot!(json::<WorkerErrors>());
}

#[test]
fn plan_of_worker_requests() {
    insta::assert_snapshot!(json::<WorkerRequests>());
}

#[test]
fn plan_of_endpoint_metrics() {
    insta::assert_snapshot!(json::<EndpointMetrics>());
}

#[test]
fn plan_of_every_operator() {
    insta::assert_snapshot!(json::<Everything>());
}

#[test]
fn columns_are_null_where_a_step_of_their_path_can_be() {
    let nullable = |definition: Definition| -> Vec<String> {
        definition
            .schema()
            .fields()
            .iter()
            .map(|field| {
                format!(
                    "{}: {}{}",
                    field.name(),
                    field.data_type(),
                    if field.is_nullable() { "?" } else { "" }
                )
            })
            .collect()
    };
    insta::assert_debug_snapshot!((
        nullable(WorkerLogs::definition()),
        nullable(WorkerErrors::definition()),
        nullable(EndpointMetrics::definition()),
        nullable(Everything::definition()),
    ));
}

#[test]
fn types_are_inferred() {
    let _ = WorkerLogs {
        script_name: None::<String>,
        level: String::new(),
        message: String::new(),
        timestamp: Timestamp::MIN,
        colo: None::<String>,
    };
    let _ = EndpointMetrics {
        script_name: None::<String>,
        method: None::<String>,
        hour: Timestamp::MIN,
        request_count: 0_u64,
        avg_latency: 0.0_f64,
        error_rate: 0.0_f64,
    };
}

#[test]
fn a_database_lists_its_members_in_order() {
    let names: Vec<String> =
        ObsDb::definitions().iter().map(|definition| definition.table().to_owned()).collect();
    assert_eq!(names, ["tail_events", "worker_logs", "worker_errors", "worker_requests", "endpoint_metrics"]);
}

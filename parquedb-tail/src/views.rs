//! The views over tail events, and the database of both.

use crate::dead_letter::DeadLetters;
use crate::event::TailEvents;

parquedb::views! {
    /// One row per log line.
    pub WorkerLogs: {
        $from: TailEvents,
        $unnest: logs,
        $select: {
            script_name,
            level: logs.level,
            message: logs.message,
            timestamp: logs.timestamp,
            colo: event.request.cf.colo,
        },
    }

    /// Invocations that failed: their outcome is not `ok`, or they left an exception uncaught. Neither
    /// implies the other.
    pub WorkerErrors: {
        $from: TailEvents,
        $filter: { $or: [{ outcome: { $ne: "ok" } }, { exceptions[0]: { $exists: true } }] },
        $select: {
            script_name,
            outcome,
            exception_name: exceptions[0].name,
            exception_message: exceptions[0].message,
            url: event.request.url,
            status: event.response.status,
            colo: event.request.cf.colo,
            timestamp: event_timestamp,
        },
    }

    /// Invocations that were HTTP requests.
    pub WorkerRequests: {
        $from: TailEvents,
        $filter: { event.request: { $exists: true } },
        $select: {
            script_name,
            method: event.request.method,
            url: event.request.url,
            status: event.response.status,
            outcome,
            colo: event.request.cf.colo,
            country: event.request.cf.country,
            latency: wall_time,
            timestamp: event_timestamp,
        },
    }

    /// Requests per Worker, method and hour; refreshed every hour.
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
}

parquedb::database! {
    /// Tail events, what could not be read as one, and the views over them.
    pub struct TailDb {
        TailEvents,
        DeadLetters,
        WorkerLogs,
        WorkerErrors,
        WorkerRequests,
        EndpointMetrics,
    }
}

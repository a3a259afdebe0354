//! The example of the reference, inside a function as documentation tests have it.

fn main() {
    use parquedb::{Collection, Timestamp, views};

    #[derive(Collection)]
    pub struct Requests {
        pub worker: Option<String>,
        pub outcome: String,
        pub at: Timestamp,
        pub latency: f64,
        pub fetch: Option<Fetch>,
        pub logs: Vec<Line>,
    }

    #[derive(Debug, Clone, PartialEq, Collection)]
    pub struct Fetch {
        pub url: String,
        pub status: Option<u16>,
    }

    #[derive(Debug, Clone, PartialEq, Collection)]
    pub struct Line {
        pub level: String,
        pub message: String,
    }

    views! {
        /// Requests that failed.
        pub Failures: {
            $from: Requests,
            $filter: { $or: [{ outcome: { $ne: "ok" } }, { fetch.status: { $gte: 500 } }] },
            $select: { worker, outcome, url: fetch.url, status: fetch.status, at },
        }
        /// One row per line that a worker logged.
        pub Lines: {
            $from: Requests,
            $unnest: logs,
            $where: logs.level != "debug",
            $select: { worker, level: logs.level, message: logs.message, at },
        }
        /// How every worker did in every hour.
        pub Hourly: {
            $from: Requests,
            $groupBy: [worker, { hour: at }],
            $compute: {
                requests: $count(*),
                failed: $count(*, $filter: outcome != "ok"),
                latency: $avg(latency),
            },
            $refresh: { schedule: "0 * * * *" },
        }
    }

    let failure = Failures {
        worker: None,
        outcome: "exception".into(),
        url: None,          // Option<String>: `fetch` may be null
        status: Some(500),  // Option<u16>
        at: Timestamp::from_micros(0),
    };
    let _ = failure;
}

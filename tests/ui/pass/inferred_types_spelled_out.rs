#[path = "../support/tail.rs"]
mod tail;
#[allow(unused_imports)]
use tail::*;

views! {
    pub Types: {
        $from: TailEvents,
        $groupBy: [script_name, { url: event.url }, { day: event_timestamp }],
        $compute: {
            rows: $count,
            urls: { $count: event.url },
            ok: { $count: *, $filter: { outcome: "ok" } },
            distinct: $countDistinct(outcome),
            retried: $sum(retries),
            statuses: $sum(event.status),
            constant: $sum(10),
            mean: $avg(wall_time),
            mean_status: $avg(event.status),
            mean_ok: { $avg: wall_time, $filter: outcome == "ok" },
            least: $min(outcome),
            greatest: $max(event.url),
            slowest_ok: $max(wall_time, $filter: { outcome: "ok", retries: { $lt: 3 } }),
        },
    }
    pub Totals: {
        $from: TailEvents,
        $compute: { rows: $count(*), total: $sum(wall_time), mean: $avg(wall_time), last: $max(event_timestamp) },
        $refresh: { mode: manual },
    }
}

fn main() {
    let _ = Types {
        script_name: None::<String>,
        url: None::<String>,
        day: Timestamp::MIN,
        rows: 0u64,
        urls: 0u64,
        ok: 0u64,
        distinct: 0u64,
        retried: 0u64,
        statuses: 0u64,
        constant: 0i64,
        mean: 0f64,
        mean_status: None::<f64>,
        mean_ok: None::<f64>,
        least: String::new(),
        greatest: None::<String>,
        slowest_ok: None::<f64>,
    };
    let _ = Totals { rows: 0u64, total: 0f64, mean: None::<f64>, last: None::<Timestamp> };
}

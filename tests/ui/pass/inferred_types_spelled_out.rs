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
    pub Aggregates: {
        $from: TailEvents,
        $groupBy: [outcome],
        $compute: {
            failed: $countIf(outcome != "ok"),
            workers: $uniq(script_name),
            some: $any(script_name),
            some_url: $any(event.url),
            first: $first(wall_time, $orderBy: event_timestamp),
            last: { $last: script_name, $orderBy: event_timestamp },
            last_ok: $last(retries, $orderBy: event_timestamp, $filter: retries > 0),
            slowest: $argMax(retries, wall_time),
            fastest: { $argMin: [outcome, event.status] },
            median: $median(wall_time),
            p95: $quantile(0.95, event.status),
            parts: $quantiles([0, 0.5, 1], wall_time),
            parts_of_some: $quantiles([0.5], event.status),
            exact: $quantileExact(0.5, retries),
            variance: $variance(wall_time),
            stddev: $stddev(retries),
            corr: $corr(wall_time, retries),
            top: $topK(3, script_name),
            all: $collect(event.status),
            set: $collectSet(outcome),
            always: $and(outcome == "ok"),
            ever: $or(outcome == "ok", $filter: retries > 0),
            bits: $bitAnd(retries),
            some_bits: $bitOr(event.status),
            times: $histogram(wall_time, [0.1, 1, 10]),
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
    let _ = Aggregates {
        outcome: String::new(),
        failed: 0u64,
        workers: 0u64,
        some: None::<String>,
        some_url: None::<String>,
        first: 0f64,
        last: None::<String>,
        last_ok: None::<u16>,
        slowest: 0u16,
        fastest: None::<String>,
        median: 0f64,
        p95: None::<f64>,
        parts: Vec::<f64>::new(),
        parts_of_some: None::<Vec<f64>>,
        exact: 0u16,
        variance: None::<f64>,
        stddev: None::<f64>,
        corr: None::<f64>,
        top: Vec::<String>::new(),
        all: Vec::<u16>::new(),
        set: Vec::<String>::new(),
        always: true,
        ever: None::<bool>,
        bits: 0u16,
        some_bits: None::<u16>,
        times: Vec::<u64>::new(),
    };
    let _ = Totals { rows: 0u64, total: 0f64, mean: None::<f64>, last: None::<Timestamp> };
}

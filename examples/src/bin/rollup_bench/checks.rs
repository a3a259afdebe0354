//! Compares the views with plain SQL over the file, and times queries.

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use parquedb::Connection;
use parquedb_cli::terminal::Failure;
use std::path::Path;
use std::time::Instant;

/// Of a view: what it holds, and the same from the file. Sums of fractions are rounded, because their order of
/// addition differs.
struct Check {
    /// The views there must be.
    views: u8,
    of_view: &'static str,
    of_input: &'static str,
}

const CHECKS: [Check; 5] = [
    Check {
        views: 1,
        of_view: "select count(*) as groups, sum(requests) as requests, min(min_value) as low, \
           max(max_value) as high, round(sum(sum_value) / 1000) as total, sum(sum_bytes) as bytes, \
           round(sum(avg_value), 3) as averages \
         from hourly",
        of_input: "select count(*) as groups, sum(requests) as requests, min(low) as low, max(high) as high, \
           round(sum(total) / 1000) as total, sum(bytes) as bytes, round(sum(average), 3) as averages \
         from (select count(*) as requests, min(value) as low, max(value) as high, sum(value) as total, \
             sum(bytes) as bytes, avg(value) as average \
           from input group by account_id, service_name, metric_name, date_trunc('hour', ts))",
    },
    // Each quantile against the value of its rank.
    Check {
        views: 1,
        of_view: "with ranked as ( \
             select account_id, service_name, metric_name, date_trunc('hour', ts) as hour, value, \
               row_number() over (partition by account_id, service_name, metric_name, date_trunc('hour', ts) \
                 order by value) as rank, \
               count(*) over (partition by account_id, service_name, metric_name, date_trunc('hour', ts)) as n \
             from metrics), \
           exact as ( \
             select account_id, service_name, metric_name, hour, \
               max(case when rank = ceil(0.5 * n) then value end) as p50, \
               max(case when rank = ceil(0.95 * n) then value end) as p95, \
               max(case when rank = ceil(0.99 * n) then value end) as p99 \
             from ranked group by account_id, service_name, metric_name, hour) \
         select count(*) as groups, count(*) filter (where \
           abs(hourly.quantiles[1] - p50) > 0.01 * p50 or abs(hourly.quantiles[2] - p95) > 0.01 * p95 \
           or abs(hourly.quantiles[3] - p99) > 0.01 * p99) as more_than_a_hundredth_off \
         from hourly join exact on hourly.account_id = exact.account_id \
           and hourly.service_name = exact.service_name and hourly.metric_name = exact.metric_name \
           and hourly.hour = exact.hour",
        of_input: "select count(*) as groups, 0 as more_than_a_hundredth_off \
         from (select distinct account_id, service_name, metric_name, date_trunc('hour', ts) from input)",
    },
    Check {
        views: 2,
        of_view: "select count(*) as groups, sum(requests) as requests, sum(errors) as errors, \
           round(sum(avg_value), 3) as averages from performance",
        of_input: "select count(*) as groups, sum(requests) as requests, sum(errors) as errors, \
           round(sum(average), 3) as averages \
         from (select count(*) as requests, count(*) filter (where status >= '400') as errors, \
             avg(value) as average \
           from input where metric_name = 'container_http_requests_duration_seconds_total' \
           group by account_id, service_name, date_trunc('minute', ts))",
    },
    // The estimates of distinct pods, each a few rows' worth, against the exact counts.
    Check {
        views: 2,
        of_view: "select count(*) as groups, count(*) filter (where abs(pods - exact) > 0.05 * exact + 1) as far_off \
         from performance join ( \
           select account_id as account, service_name as service, date_trunc('minute', ts) as at, \
             cast(count(distinct pod) as bigint) as exact \
           from metrics where metric_name = 'container_http_requests_duration_seconds_total' \
           group by account_id, service_name, date_trunc('minute', ts)) \
         on account_id = account and service_name = service and minute = at",
        of_input: "select count(*) as groups, 0 as far_off from (select distinct account_id, service_name, \
             date_trunc('minute', ts) \
           from input where metric_name = 'container_http_requests_duration_seconds_total')",
    },
    Check {
        views: 3,
        of_view: "select count(*) as failed, round(sum(value) / 1000) as total, count(distinct pod) as pods \
         from errors",
        of_input: "select count(*) as failed, round(sum(value) / 1000) as total, count(distinct pod) as pods \
         from input where status >= '400'",
    },
];

/// Compares the first `views` views with the file. Gives what to report.
pub(super) async fn check(connection: &Connection, input: &Path, views: u8) -> Result<String, Failure> {
    let plain = SessionContext::new();
    plain.register_parquet("input", input.display().to_string(), ParquetReadOptions::default()).await?;
    for Check { of_view, of_input, .. } in CHECKS.iter().filter(|check| check.views <= views) {
        let view = shown(&connection.sql(of_view).await?.collect().await?)?;
        let expected = shown(&plain.sql(of_input).await?.collect().await?)?;
        if view != expected {
            return Err(Failure::new(format!("a view is wrong: {of_view}\n{view}\nexpected\n{expected}")));
        }
    }
    Ok(format!("{views} views equal the same computed from the file"))
}

fn shown(batches: &[RecordBatch]) -> Result<String, Failure> {
    Ok(pretty_format_batches(batches)?.to_string())
}

/// Milliseconds of one account's hours, from the view and from the rows.
pub(super) async fn query_times(connection: &Connection) -> Result<(f64, f64), Failure> {
    let view = median_time(connection, "select * from hourly where account_id = 'acct-3'").await?;
    let raw = median_time(
        connection,
        "select account_id, service_name, metric_name, date_trunc('hour', ts), count(*), avg(value), min(value), \
           max(value), sum(value), sum(bytes), approx_percentile_cont(value, 0.5), \
           approx_percentile_cont(value, 0.95), approx_percentile_cont(value, 0.99) \
         from metrics where account_id = 'acct-3' \
         group by account_id, service_name, metric_name, date_trunc('hour', ts)",
    )
    .await?;
    Ok((view, raw))
}

async fn median_time(connection: &Connection, query: &str) -> Result<f64, Failure> {
    let mut times = Vec::new();
    for _ in 0..5 {
        let started = Instant::now();
        connection.sql(query).await?.collect().await?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

//! Compares the views with plain SQL over the file, and times queries.

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use parquedb::Connection;
use parquedb_cli::terminal::Failure;
use std::path::Path;
use std::time::Instant;

/// Per view: what the view holds, and the same from the file. Sums of fractions are rounded, because
/// their order of addition differs.
const CHECKS: [(&str, &str); 3] = [
    (
        "select count(*) as groups, sum(requests) as requests, min(min_value) as low, max(max_value) as high, \
           round(sum(sum_value) / 1000) as total, sum(sum_bytes) as bytes, round(sum(avg_value), 3) as averages \
         from hourly",
        "select count(*) as groups, sum(requests) as requests, min(low) as low, max(high) as high, \
           round(sum(total) / 1000) as total, sum(bytes) as bytes, round(sum(average), 3) as averages \
         from (select count(*) as requests, min(value) as low, max(value) as high, sum(value) as total, \
             sum(bytes) as bytes, avg(value) as average \
           from input group by account_id, service_name, metric_name, date_trunc('hour', ts))",
    ),
    (
        "select count(*) as groups, sum(pods) as pods, sum(requests) as requests, sum(errors) as errors, \
           round(sum(avg_value), 3) as averages, round(sum(max_value), 3) as high from performance",
        "select count(*) as groups, sum(pods) as pods, sum(requests) as requests, sum(errors) as errors, \
           round(sum(average), 3) as averages, round(sum(high), 3) as high \
         from (select count(distinct pod) as pods, count(*) as requests, \
             count(*) filter (where status >= '400') as errors, avg(value) as average, max(value) as high \
           from input where metric_name = 'container_http_requests_duration_seconds_total' \
           group by account_id, service_name, date_trunc('minute', ts))",
    ),
    (
        "select count(*) as failed, round(sum(value) / 1000) as total, count(distinct pod) as pods from errors",
        "select count(*) as failed, round(sum(value) / 1000) as total, count(distinct pod) as pods \
         from input where status >= '400'",
    ),
];

/// Compares the first `views` views with the file. Gives what to report.
pub(super) async fn check(connection: &Connection, input: &Path, views: u8) -> Result<String, Failure> {
    let plain = SessionContext::new();
    plain.register_parquet("input", input.display().to_string(), ParquetReadOptions::default()).await?;
    for (of_view, of_input) in &CHECKS[..usize::from(views)] {
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
           max(value), sum(value), sum(bytes) \
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

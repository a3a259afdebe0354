//! Metrics in the text format of Prometheus.

use super::metrics::{Metrics, Quantiles};
use crate::maintain::Freshness;
use std::fmt::Write;

/// Metrics of one name after the other, each with its help and type before its values.
struct Exposition(String);

impl Exposition {
    fn begin(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP parquedb_{name} {help}\n# TYPE parquedb_{name} {kind}");
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: &str) {
        self.0.push_str("parquedb_");
        self.0.push_str(name);
        for (index, (label, content)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            let content = content.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{before}{label}=\"{content}\"");
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.begin(name, kind, help);
        self.value(name, &[], &value.to_string());
    }

    /// Values are divided by `per`.
    fn summary(&mut self, name: &str, help: &str, of: &Quantiles, per: u64) {
        let value = |number: u64| match per {
            1 => number.to_string(),
            _ => (number as f64 / per as f64).to_string(),
        };
        self.begin(name, "summary", help);
        // The quantile of nothing is not a number.
        let quantile = |number: u64| if of.count == 0 { "NaN".to_owned() } else { value(number) };
        for (quantile_name, number) in [("0.5", of.p50), ("0.9", of.p90), ("0.99", of.p99), ("1", of.max)] {
            self.value(name, &[("quantile", quantile_name)], &quantile(number));
        }
        self.value(&format!("{name}_sum"), &[], &value(of.sum));
        self.value(&format!("{name}_count"), &[], &of.count.to_string());
    }
}

impl Metrics {
    /// The metrics in the text format of Prometheus, version 0.0.4. All names begin with `parquedb_`;
    /// durations are in seconds, sizes in bytes.
    #[must_use]
    pub fn to_prometheus(&self) -> String {
        let mut text = Exposition(String::new());
        self.requests_to(&mut text);
        let counters = [
            ("commits_total", "Commits made by this process.", self.commits),
            ("rebases_total", "Commits that lost their slot and moved on.", self.rebases),
            ("conflicts_total", "Changes that did not go with another commit.", self.conflicts),
            ("flushes_total", "Moves of inline rows to files.", self.flushes),
            ("checkpoints_total", "Checkpoints written.", self.checkpoints),
            ("compactions_total", "Commits that joined small files.", self.compactions),
            ("expiries_total", "Commits that took expired rows out.", self.expiries),
        ];
        for (name, help, value) in counters {
            text.one(name, "counter", help, value);
        }
        let micros = 1_000_000;
        text.summary("commit_duration_seconds", "Time of a commit.", &self.commit_micros, micros);
        text.summary(
            "write_duration_seconds",
            "Time of a write, waiting included.",
            &self.write_micros,
            micros,
        );
        text.summary("group_batches", "Batches in one commit.", &self.group_batches, 1);
        let gauges = [
            ("head_seq", "The last commit known here.", self.head),
            ("queue_batches", "Batches that wait to be committed.", self.queue.batches),
            ("queue_outside_batches", "Batches without room to wait.", self.queue.outside),
            ("queue_bytes", "Bytes of batches waiting or being committed.", self.queue.bytes),
            ("queue_most_bytes", "The most bytes that waited.", self.queue.most_bytes),
        ];
        for (name, help, value) in gauges {
            text.one(name, "gauge", help, value);
        }
        self.members_to(&mut text);
        self.views_to(&mut text);
        text.0
    }

    fn requests_to(&self, text: &mut Exposition) {
        let requests = &self.requests;
        text.begin("requests_total", "counter", "Requests to the store.");
        let kinds = [
            ("put", requests.put),
            ("get", requests.get),
            ("head", requests.head),
            ("list", requests.list),
            ("delete", requests.delete),
        ];
        for (kind, value) in kinds {
            text.value("requests_total", &[("kind", kind)], &value.to_string());
        }
        text.begin("request_bytes_total", "counter", "Bytes sent to and read from the store.");
        for (direction, value) in [("written", requests.bytes_written), ("read", requests.bytes_read)] {
            text.value("request_bytes_total", &[("direction", direction)], &value.to_string());
        }
    }

    fn members_to(&self, text: &mut Exposition) {
        type Value = fn(&super::metrics::MemberMetrics) -> u64;
        let all: [(&str, &str, &str, Value); 7] = [
            ("rows_written_total", "counter", "Rows written by this process.", |member| member.rows_written),
            ("rows_expired_total", "counter", "Rows or states that expired.", |member| member.rows_expired),
            ("files_expired_total", "counter", "Files that expired whole.", |member| member.files_expired),
            ("member_rows", "gauge", "Rows or states stored.", |member| member.rows),
            ("member_files", "gauge", "Parquet files.", |member| member.files),
            ("member_file_bytes", "gauge", "Bytes in Parquet files.", |member| member.file_bytes),
            ("member_inline_bytes", "gauge", "Bytes inside commits.", |member| member.inline_bytes),
        ];
        for (name, metric, help, value) in all {
            text.begin(name, metric, help);
            for member in &self.members {
                let kind = if member.is_view { "view" } else { "collection" };
                text.value(name, &[("member", &member.name), ("kind", kind)], &value(member).to_string());
            }
        }
    }

    fn views_to(&self, text: &mut Exposition) {
        text.begin("view_lag_commits", "gauge", "Commits since the view absorbed its source.");
        for view in &self.views {
            text.value("view_lag_commits", &[("view", &view.name)], &view.commits.to_string());
        }
        text.begin("view_lag_seconds", "gauge", "Time since a view that is behind was refreshed.");
        for view in &self.views {
            let seconds = view.micros as f64 / 1e6;
            text.value("view_lag_seconds", &[("view", &view.name)], &seconds.to_string());
        }
        text.begin("view_state", "gauge", "1 for the state that the view is in.");
        for view in &self.views {
            let is = [
                ("fresh", view.freshness == Freshness::Fresh),
                ("stale", view.freshness == Freshness::Stale),
                ("invalid", matches!(view.freshness, Freshness::Invalid { .. })),
            ];
            for (state, holds) in is {
                text.value(
                    "view_state",
                    &[("view", &view.name), ("state", state)],
                    if holds { "1" } else { "0" },
                );
            }
        }
    }
}

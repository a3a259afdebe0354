//! What the views over tail events must hold, computed from the JSON text of the events alone.
//!
//! Nothing here uses the decoder, the declarations or the database: what it says and what a database
//! holds agree only if both are right. Rows are compared as multisets of JSON arrays, one value per
//! column in the view's order, with times in microseconds since 1970.

use parquedb::Timestamp;
use parquedb_tail::{EndpointMetrics, WorkerErrors, WorkerLogs, WorkerRequests};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The columns of each view by its table name, and how a column's value is written in JSON output.
pub const TABLES: [(&str, &[(&str, Column)]); 4] = [
    (
        "worker_logs",
        &[
            ("script_name", Column::Plain),
            ("level", Column::Plain),
            ("message", Column::Json),
            ("timestamp", Column::Time),
            ("colo", Column::Plain),
        ],
    ),
    (
        "worker_errors",
        &[
            ("script_name", Column::Plain),
            ("outcome", Column::Plain),
            ("exception_name", Column::Plain),
            ("exception_message", Column::Plain),
            ("url", Column::Plain),
            ("status", Column::Plain),
            ("colo", Column::Plain),
            ("timestamp", Column::Time),
        ],
    ),
    (
        "worker_requests",
        &[
            ("script_name", Column::Plain),
            ("method", Column::Plain),
            ("url", Column::Plain),
            ("status", Column::Plain),
            ("outcome", Column::Plain),
            ("colo", Column::Plain),
            ("country", Column::Plain),
            ("latency", Column::Plain),
            ("timestamp", Column::Time),
        ],
    ),
    (
        "endpoint_metrics",
        &[
            ("script_name", Column::Plain),
            ("method", Column::Plain),
            ("hour", Column::Time),
            ("request_count", Column::Plain),
            ("avg_latency", Column::Float),
            ("error_rate", Column::Float),
        ],
    ),
];

/// How JSON output holds a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// As the value itself.
    Plain,
    /// As a number that is compared to the last bit.
    Float,
    /// As the text of a JSON value.
    Json,
    /// As text of a time.
    Time,
}

/// A multiset of rows.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Rows(BTreeMap<String, u64>);

impl Rows {
    /// Adds a row.
    pub fn push(&mut self, row: &Value) {
        *self.0.entry(row.to_string()).or_default() += 1;
    }

    /// The number of rows, doubles counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// The rows, doubles repeated, as values.
    ///
    /// # Panics
    /// When a row is not the JSON it was made from.
    pub fn values(&self) -> impl Iterator<Item = Value> + '_ {
        self.0.iter().flat_map(|(row, &count)| (0..count).map(|_| parse(row)))
    }

    /// The first rows that only one side has, or that it has more often; nothing when both are equal.
    #[must_use]
    pub fn difference(&self, expected: &Rows) -> Option<String> {
        let mut lines = Vec::new();
        for row in self.0.keys().chain(expected.0.keys().filter(|row| !self.0.contains_key(*row))) {
            let (found, wanted) =
                (self.0.get(row).copied().unwrap_or(0), expected.0.get(row).copied().unwrap_or(0));
            if found != wanted {
                let short: String = row.chars().take(400).collect();
                lines.push(format!("{found} instead of {wanted} times: {short}"));
            }
        }
        let total = lines.len();
        lines.truncate(5);
        (total > 0).then(|| format!("{total} rows differ:\n{}", lines.join("\n")))
    }
}

impl FromIterator<Value> for Rows {
    fn from_iter<I: IntoIterator<Item = Value>>(rows: I) -> Self {
        let mut all = Self::default();
        rows.into_iter().for_each(|row| all.push(&row));
        all
    }
}

/// What the four views hold over some events.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Views {
    /// Rows of `WorkerLogs`.
    pub worker_logs: Rows,
    /// Rows of `WorkerErrors`.
    pub worker_errors: Rows,
    /// Rows of `WorkerRequests`.
    pub worker_requests: Rows,
    /// Rows of `EndpointMetrics` once it has absorbed them all.
    pub endpoint_metrics: Rows,
}

impl Views {
    /// The rows of the views over events, each the JSON text of one.
    ///
    /// # Panics
    /// When a text is not a tail event: the test's data is wrong.
    #[must_use]
    pub fn of<'a>(events: impl IntoIterator<Item = &'a str>) -> Self {
        let mut views = Self::default();
        let mut groups: BTreeMap<String, (Value, Group)> = BTreeMap::new();
        for text in events {
            let event = parse(text);
            for log in list(&event["logs"]) {
                views.worker_logs.push(&json!([
                    event["scriptName"],
                    log["level"],
                    log["message"],
                    micros(&log["timestamp"]),
                    text_of(&event["event"]["request"]["cf"]["colo"]),
                ]));
            }
            let exceptions = list(&event["exceptions"]);
            let request = &event["event"]["request"];
            let status = &event["event"]["response"]["status"];
            let colo = text_of(&request["cf"]["colo"]);
            let time = micros(&event["eventTimestamp"]);
            if event["outcome"] != "ok" || !exceptions.is_empty() {
                let first = exceptions.first().unwrap_or(&Value::Null);
                views.worker_errors.push(&json!([
                    event["scriptName"],
                    event["outcome"],
                    first["name"],
                    first["message"],
                    request["url"],
                    status,
                    colo,
                    time,
                ]));
            }
            if request.is_null() {
                continue;
            }
            views.worker_requests.push(&json!([
                event["scriptName"],
                request["method"],
                request["url"],
                status,
                event["outcome"],
                colo,
                text_of(&request["cf"]["country"]),
                event["wallTime"],
                time,
            ]));
            let hour = time.div_euclid(3_600_000_000) * 3_600_000_000;
            let key = json!([event["scriptName"], request["method"], hour]);
            let (_, group) = groups.entry(key.to_string()).or_insert_with(|| (key, Group::default()));
            group.requests += 1;
            group.failed += i64::from(event["outcome"] != "ok");
            if let Some(latency) = event["wallTime"].as_i64() {
                group.latency += latency;
                group.timed += 1;
            }
        }
        views.endpoint_metrics = groups
            .into_values()
            .map(|(key, group)| {
                json!([
                    key[0],
                    key[1],
                    key[2],
                    group.requests,
                    ratio(group.latency, group.timed),
                    ratio(group.failed, group.requests),
                ])
            })
            .collect();
        views
    }

    /// The rows of a view by its name in SQL.
    ///
    /// # Panics
    /// For another name than those of [`TABLES`].
    #[must_use]
    #[expect(clippy::panic, reason = "the test asks for what there is not")]
    pub fn table(&self, name: &str) -> &Rows {
        match name {
            "worker_logs" => &self.worker_logs,
            "worker_errors" => &self.worker_errors,
            "worker_requests" => &self.worker_requests,
            "endpoint_metrics" => &self.endpoint_metrics,
            other => panic!("`{other}` is no view of this test"),
        }
    }
}

#[derive(Default)]
struct Group {
    requests: i64,
    failed: i64,
    latency: i64,
    timed: i64,
}

#[expect(clippy::cast_precision_loss, reason = "the sums of the tests are far below 2^53")]
fn ratio(sum: i64, count: i64) -> Option<f64> {
    (count > 0).then(|| sum as f64 / count as f64)
}

/// A row of `WorkerLogs` as it is compared.
#[must_use]
pub fn log(row: &WorkerLogs) -> Value {
    let message = parse(row.message.as_str());
    json!([row.script_name, row.level, message, row.timestamp.as_micros(), row.colo])
}

/// A row of `WorkerErrors` as it is compared.
#[must_use]
pub fn error(row: &WorkerErrors) -> Value {
    json!([
        row.script_name,
        row.outcome,
        row.exception_name,
        row.exception_message,
        row.url,
        row.status,
        row.colo,
        row.timestamp.as_micros(),
    ])
}

/// A row of `WorkerRequests` as it is compared.
#[must_use]
pub fn request(row: &WorkerRequests) -> Value {
    json!([
        row.script_name,
        row.method,
        row.url,
        row.status,
        row.outcome,
        row.colo,
        row.country,
        row.latency,
        row.timestamp.as_micros(),
    ])
}

/// A row of `EndpointMetrics` as it is compared.
#[must_use]
pub fn metric(row: &EndpointMetrics) -> Value {
    json!([
        row.script_name,
        row.method,
        row.hour.as_micros(),
        row.request_count,
        row.avg_latency,
        row.error_rate,
    ])
}

/// Rows of a view from lines of JSON, one object each, in which null columns may be absent.
///
/// # Panics
/// When a line is no such object.
#[must_use]
#[expect(clippy::expect_used, reason = "output of another form fails the test")]
pub fn from_lines(table: &str, lines: &str) -> Rows {
    let columns = TABLES.iter().find(|(name, _)| *name == table).expect("the name of a view").1;
    lines
        .lines()
        .map(|line| {
            let row: BTreeMap<String, &RawValue> = serde_json::from_str(line).expect("one object per line");
            assert!(row.keys().all(|key| columns.iter().any(|(name, _)| name == key)), "{line}");
            let value = |&(name, column): &(&str, Column)| {
                let value = row.get(name).map_or(Value::Null, |value| parse(value.get()));
                match column {
                    _ if value.is_null() => value,
                    Column::Plain => value,
                    // serde_json may be off by the last bit.
                    Column::Float => row[name].get().parse::<f64>().expect("a number").into(),
                    Column::Json => parse(value.as_str().expect("JSON is text")),
                    Column::Time => {
                        let time = value.as_str().expect("a time is text").parse::<Timestamp>();
                        time.expect("a time in ISO 8601").as_micros().into()
                    }
                }
            };
            Value::Array(columns.iter().map(value).collect())
        })
        .collect()
}

/// A JSON value of any depth, in which each half of a surrogate pair that lacks the other is U+FFFD.
///
/// # Panics
/// When the text is not JSON: the test's data is wrong.
#[must_use]
#[expect(clippy::expect_used, reason = "the test's data is wrong")]
pub fn parse(text: &str) -> Value {
    let text = pair_surrogates(text);
    let mut reader = serde_json::Deserializer::from_str(&text);
    reader.disable_recursion_limit();
    let mut values = reader.into_iter();
    let value = values.next().expect("a JSON value").expect("JSON");
    assert!(values.next().is_none(), "more than one JSON value: {text}");
    value
}

/// The text with the escapes of lone surrogates replaced, read from left to right one escape at a time.
fn pair_surrogates(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // The escape of a high surrogate that waits for its low one.
    let mut waiting: Option<&str> = None;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let escape = rest.get(..6).filter(|escape| escape.starts_with("\\u"));
        let unit = escape.and_then(|escape| u32::from_str_radix(&escape[2..], 16).ok());
        let high = waiting.take();
        match (unit, escape) {
            (Some(0xDC00..=0xDFFF), Some(low)) => match high {
                Some(high) => out.extend([high, low]),
                None => out.push('\u{fffd}'),
            },
            _ => {
                if high.is_some() {
                    out.push('\u{fffd}');
                }
                match (unit, escape) {
                    (Some(0xD800..=0xDBFF), Some(high)) => waiting = Some(high),
                    (Some(_), Some(other)) => out.push_str(other),
                    _ if first == '\\' => out.extend(rest.chars().take(2)),
                    _ => out.push(first),
                }
            }
        }
        let taken = match (unit, first) {
            (Some(_), _) => 6,
            (None, '\\') => rest.chars().take(2).map(char::len_utf8).sum(),
            (None, first) => first.len_utf8(),
        };
        rest = &rest[taken..];
    }
    out
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Text, or null for anything else: a Worker may put anything into `cf`.
fn text_of(value: &Value) -> Value {
    if value.is_string() { value.clone() } else { Value::Null }
}

#[expect(clippy::expect_used, reason = "the test's data is wrong")]
fn micros(millis: &Value) -> i64 {
    millis.as_i64().expect("milliseconds since 1970") * 1000
}

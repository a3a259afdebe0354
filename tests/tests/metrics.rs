//! What a database says of itself in numbers and spans, against what was done to it.

use parquedb::object_store::ObjectStore;
use parquedb::object_store::memory::InMemory;
use parquedb::{
    Clock, Collection, Freshness, LedgerPart, ManualClock, Metrics, Store, Timestamp, database, views,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

#[derive(Collection, Clone, Debug)]
pub(crate) struct Trip {
    pub(crate) id: i64,
    pub(crate) city: String,
    pub(crate) meters: i64,
}
views! {
    pub(crate) Far: { $from: Trip, $filter: meters > 5000, $select: { id, meters } }
    pub(crate) Cities: {
        $from: Trip,
        $groupBy: [city],
        $compute: { n: $count(*), meters: $sum(meters) },
        $refresh: { mode: manual },
    }
}
database! { pub(crate) struct Trips { Trip, Far, Cities } }

/// Kept for an hour.
#[derive(Collection, Clone, Debug)]
#[collection(ttl = "1h", on = at)]
pub(crate) struct Ping {
    pub(crate) id: i64,
    pub(crate) at: Timestamp,
}
views! {
    pub(crate) Hours: {
        $from: Ping, $groupBy: [{ hour: at }], $compute: { n: $count(*) }, $ttl: { after: "1h", on: hour },
    }
}
database! { pub(crate) struct Pings { Ping, Hours } }

const SECOND: i64 = 1_000_000;

fn trips(first: i64, count: i64) -> Vec<Trip> {
    (first..first + count).map(|id| Trip { id, city: format!("city {}", id % 4), meters: id * 100 }).collect()
}

struct Place {
    inner: Arc<dyn ObjectStore>,
    clock: Arc<ManualClock>,
}

impl Place {
    fn new() -> Self {
        Self { inner: Arc::new(InMemory::new()), clock: Arc::new(ManualClock::new(1_760_000_000 * SECOND)) }
    }

    async fn open(&self) -> Trips {
        let store = Store::new(Arc::clone(&self.inner), "");
        Trips::builder().clock(self.clock.clone()).open_store(store).await.unwrap()
    }
}

/// The samples of a text in Prometheus' format, after checking that each metric has one type and one help
/// before its samples, and that none is there twice.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let (mut helped, mut typed) = (BTreeSet::new(), BTreeMap::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(!help.is_empty() && helped.insert(name.to_owned()), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge", "summary"].contains(&kind), "{line}");
            assert!(
                helped.contains(name) && typed.insert(name.to_owned(), kind.to_owned()).is_none(),
                "{line}"
            );
        } else {
            let (key, value) = line.rsplit_once(' ').unwrap();
            let name = key.split('{').next().unwrap();
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{line}");
            let base = name.strip_suffix("_sum").or(name.strip_suffix("_count")).unwrap_or(name);
            let kind = typed.get(base).or_else(|| typed.get(name)).expect(line);
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(key.matches('"').count() % 2 == 0 && key.contains('{') == key.ends_with('}'), "{line}");
            assert!(samples.insert(key.to_owned(), value.parse().unwrap()).is_none(), "{line}");
        }
    }
    samples
}

#[tokio::test]
async fn metrics_say_what_was_done_and_what_there_is() {
    let place = Place::new();
    let db = place.open().await;
    let empty = db.metrics();
    assert_eq!((empty.rows, empty.view_rows, empty.write_micros.count, empty.flushes), (0, 0, 0, 0));
    assert!(empty.views.iter().all(|view| view.freshness == Freshness::Fresh), "{empty:?}");

    db.trip.insert_many(trips(0, 100)).await.unwrap();
    assert!(db.cities.refresh().await.unwrap());
    let refreshed = db.seq();
    place.clock.advance(7 * SECOND);
    db.trip.insert_many(trips(100, 20)).await.unwrap();
    db.trip.insert_many(trips(120, 3)).await.unwrap();
    db.flush().await.unwrap();
    db.trip.insert_many(trips(200, 1)).await.unwrap();

    let metrics = db.metrics();
    assert_eq!(metrics.head, db.seq());
    assert_eq!(metrics.requests, db.requests());
    // The declaration, four inserts, a refresh and a flush.
    assert_eq!((metrics.commits, metrics.flushes, metrics.checkpoints), (7, 1, 1));
    let far = (0..124).map(|id| if id == 123 { 200 } else { id }).filter(|id| id * 100 > 5000).count() as u64;
    assert_eq!((metrics.rows, metrics.view_rows), (124, far + 4));
    assert_eq!((metrics.rebases, metrics.conflicts), (0, 0));
    assert_eq!(
        (metrics.write_micros.count, metrics.commit_micros.count),
        (4, 6),
        "a flush is no commit of a caller"
    );
    assert_eq!(
        (metrics.group_batches.count, metrics.group_batches.sum, metrics.group_batches.max),
        (4, 4, 1)
    );
    assert!(metrics.write_micros.max >= metrics.write_micros.p50 && metrics.write_micros.p50 > 0);
    assert_eq!((metrics.queue.batches, metrics.queue.outside, metrics.queue.bytes), (0, 0, 0));
    assert!(metrics.queue.most_bytes > 1000);

    let member = |name: &str| metrics.members.iter().find(|member| member.name == name).unwrap();
    let trip = member("Trip");
    assert_eq!((trip.is_view, trip.rows, trip.files, trip.rows_written), (false, 124, 1, 124));
    assert!(trip.file_bytes > 500 && trip.inline_bytes > 100, "{trip:?}");
    let cities = member("Cities");
    assert_eq!((cities.is_view, cities.rows, cities.files, cities.inline_bytes), (true, 4, 1, 0));

    let view = |name: &str| metrics.views.iter().find(|view| view.name == name).unwrap();
    assert_eq!((&view("Far").freshness, view("Far").commits, view("Far").micros), (&Freshness::Fresh, 0, 0));
    let cities = view("Cities");
    assert_eq!(
        (&cities.freshness, cities.seq),
        (&Freshness::Stale, Some(refreshed - 1)),
        "all before its own commit"
    );
    assert_eq!((cities.commits, cities.micros), (db.seq() - refreshed + 1, 7 * SECOND));

    let shown = metrics.to_string();
    for expected in ["rows written", "Trip", "stale", "p99", "batches per commit"] {
        assert!(shown.contains(expected), "{expected} is not in\n{shown}");
    }
    let json = serde_json::to_value(&metrics).unwrap();
    assert_eq!(json["requests"]["put"], json!(metrics.requests.put));
    assert_eq!(json["views"][0]["state"], json!("stale"), "{json}");
    exposes(&metrics);
}

fn exposes(metrics: &Metrics) {
    let samples = samples(&metrics.to_prometheus());
    for (key, expected) in [
        ("parquedb_requests_total{kind=\"put\"}", metrics.requests.put),
        ("parquedb_request_bytes_total{direction=\"written\"}", metrics.requests.bytes_written),
        ("parquedb_commits_total", metrics.commits),
        ("parquedb_commit_duration_seconds_count", metrics.commit_micros.count),
        ("parquedb_group_batches{quantile=\"0.99\"}", metrics.group_batches.p99),
        ("parquedb_head_seq", metrics.head),
        ("parquedb_rows_written_total{member=\"Trip\",kind=\"collection\"}", metrics.rows),
        ("parquedb_member_files{member=\"Far\",kind=\"view\"}", 1),
        ("parquedb_view_lag_commits{view=\"Cities\"}", metrics.views[0].commits),
        ("parquedb_view_lag_seconds{view=\"Cities\"}", 7),
        ("parquedb_view_state{view=\"Cities\",state=\"stale\"}", 1),
        ("parquedb_view_state{view=\"Cities\",state=\"fresh\"}", 0),
    ] {
        assert_eq!(samples.get(key), Some(&(expected as f64)), "{key}");
    }
    let median = samples["parquedb_write_duration_seconds{quantile=\"0.5\"}"];
    assert!((median * 1e6 - metrics.write_micros.p50 as f64).abs() < 1.0, "{median}");
}

#[tokio::test]
async fn joined_files_are_compactions_and_change_no_row() {
    let place = Place::new();
    let db = place.open().await;
    for step in 0..5 {
        db.trip.insert_many(trips(step * 10, 10)).await.unwrap();
        db.flush().await.unwrap();
    }
    let files =
        |metrics: &Metrics| metrics.members.iter().find(|member| member.name == "Trip").unwrap().files;
    let before = db.metrics();
    assert_eq!((before.compactions, files(&before)), (0, 5));
    db.maintain().await.unwrap();
    let after = db.metrics();
    assert!(after.compactions >= 1 && files(&after) < 5, "{after}");
    assert_eq!((after.rows, after.view_rows), (before.rows, before.view_rows));
    assert_eq!(samples(&after.to_prometheus())["parquedb_compactions_total"], after.compactions as f64);
}

#[tokio::test]
async fn what_expires_is_counted_for_each_collection_and_view() {
    let place = Place::new();
    let store = Store::new(Arc::clone(&place.inner), "");
    let db = Pings::builder().clock(place.clock.clone()).open_store(store).await.unwrap();
    let now = place.clock.now();
    let ping = |id: i64, at: i64| Ping { id, at: Timestamp::from_micros(at) };
    // A file that expires whole, one of which rows stay, and rows inside a commit.
    db.ping.insert_many((0..30).map(|id| ping(id, now)).collect::<Vec<_>>()).await.unwrap();
    db.flush().await.unwrap();
    let later = |id: i64| ping(id, if id < 35 { now } else { now + 3 * 3600 * SECOND });
    db.ping.insert_many((30..40).map(later).collect::<Vec<_>>()).await.unwrap();
    db.flush().await.unwrap();
    db.ping.insert_many([ping(40, now), ping(41, now)]).await.unwrap();
    let of = |metrics: &Metrics, name: &str| {
        let member = metrics.members.iter().find(|member| member.name == name).unwrap();
        (member.rows_expired, member.files_expired)
    };
    db.expire().await.unwrap();
    let before = db.metrics();
    assert_eq!((before.expiries, of(&before, "Ping"), of(&before, "Hours")), (0, (0, 0), (0, 0)));
    place.clock.advance(2 * 3600 * SECOND);
    let report = db.expire().await.unwrap();
    let after = db.metrics();
    assert_eq!((after.expiries, of(&after, "Ping")), (1, (37, 1)));
    assert_eq!(after.members.iter().map(|member| member.rows_expired).sum::<u64>(), report.rows());
    let (states, files) = of(&after, "Hours");
    assert_eq!((states, files), (report.tables["Hours"].rows, report.tables["Hours"].files));
    assert!(states >= 1, "{after}");
    assert_eq!(after.rows, before.rows, "what goes is not written");
    let samples = samples(&after.to_prometheus());
    for (key, expected) in [
        ("parquedb_expiries_total", 1),
        ("parquedb_rows_expired_total{member=\"Ping\",kind=\"collection\"}", 37),
        ("parquedb_files_expired_total{member=\"Ping\",kind=\"collection\"}", 1),
        ("parquedb_rows_expired_total{member=\"Hours\",kind=\"view\"}", states),
    ] {
        assert_eq!(samples.get(key), Some(&(expected as f64)), "{key}");
    }
    let shown = after.to_string();
    assert!(shown.contains("rows expired") && shown.contains("expiries"), "{shown}");
}

#[tokio::test]
async fn lost_slots_are_rebases_and_what_does_not_go_together_a_conflict() {
    let place = Place::new();
    let (one, two) = (place.open().await, place.open().await);
    one.trip.insert_many(trips(0, 10)).await.unwrap();
    two.trip.insert_many(trips(10, 10)).await.unwrap();
    assert_eq!((one.metrics().rebases, two.metrics().rebases), (0, 1));
    assert_eq!(two.metrics().conflicts, 0);
    assert!(one.cities.refresh().await.unwrap());
    // Computed from a snapshot that does not know of the other's refresh.
    two.cities.refresh().await.unwrap();
    assert_eq!(two.metrics().conflicts, 1);
    assert_eq!(one.metrics().conflicts + one.metrics().rebases, 1, "one had not seen the second insert");
}

#[tokio::test]
async fn the_ledger_attributes_every_request_and_byte() {
    let place = Place::new();
    let db = place.open().await;
    for batch in 0..5 {
        db.trip.insert_many(trips(batch * 100, 100)).await.unwrap();
    }
    let ledger = db.ledger();
    assert_eq!(ledger.total(), db.requests());
    let (trip, far) = (ledger.member("Trip").unwrap(), ledger.member("Far").unwrap());
    assert_eq!((trip.requests.put, far.requests.put), (0, 0), "all rows are inside commits");
    let log = ledger.entries.iter().find(|entry| entry.part == LedgerPart::Log).unwrap();
    let inside: u64 = ledger.entries.iter().map(|entry| entry.bytes_in_commits).sum();
    assert!(trip.bytes_in_commits > far.bytes_in_commits && far.bytes_in_commits > 1000, "{ledger}");
    assert!(inside < log.requests.bytes_written && inside * 2 > log.requests.bytes_written, "{ledger}");

    db.flush().await.unwrap();
    assert!(db.cities.refresh().await.unwrap());
    assert_eq!(db.far.all().count().await.unwrap(), 449);
    let ledger = db.ledger();
    assert_eq!(ledger.total(), db.requests());
    let (trip, far, cities) =
        (ledger.member("Trip").unwrap(), ledger.member("Far").unwrap(), ledger.member("Cities").unwrap());
    assert_eq!((trip.requests.put, far.requests.put, cities.requests.put), (1, 1, 0));
    assert!(trip.requests.get > 0 && trip.requests.bytes_read > 0, "the refresh has read it: {ledger}");
    assert!(far.requests.get > 0 && cities.requests.get == 0 && cities.bytes_in_commits > 0, "{ledger}");
    let sizes = db.metrics();
    let size = |name: &str| sizes.members.iter().find(|member| member.name == name).unwrap().file_bytes;
    assert_eq!((trip.requests.bytes_written, far.requests.bytes_written), (size("Trip"), size("Far")));

    let parts: Vec<String> = ledger.entries.iter().map(|entry| entry.part.to_string()).collect();
    assert_eq!(parts, ["Trip", "Cities", "Far", "log", "checkpoints", "HEAD", "other"]);
    let shown = ledger.to_string();
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), parts.len() + 2);
    assert!(lines.iter().all(|line| line.chars().count() == lines[0].chars().count()), "{shown}");
    let json = serde_json::to_value(&ledger).unwrap();
    assert_eq!(json["entries"][0]["part"], json!("collection"));
    assert_eq!(json["entries"][0]["name"], json!("Trip"));
    assert_eq!(json["entries"][0]["put"], json!(1));
}

/// Keeps the spans that ended, with their fields.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<(String, Value)>>>);

#[derive(Default)]
struct Fields(serde_json::Map<String, Value>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name().to_owned(), json!(format!("{value:?}")));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), json!(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), json!(value));
    }
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        context.span(id).unwrap().extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        values.record(context.span(id).unwrap().extensions_mut().get_mut::<Fields>().unwrap());
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        if span.metadata().target().starts_with("parquedb") {
            let fields = span.extensions_mut().remove::<Fields>().unwrap();
            self.0.lock().unwrap().push((span.name().to_owned(), Value::Object(fields.0)));
        }
    }
}

#[tokio::test]
async fn spans_say_what_each_step_did() {
    let spans = Spans::default();
    // With one subscriber alone, `tracing` asks the one of whatever thread meets a span first, and there are
    // other tests.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let subscriber = tracing_subscriber::registry().with(spans.clone());
    let _guard = tracing::subscriber::set_default(subscriber);
    let place = Place::new();
    let (db, other) = (place.open().await, place.open().await);
    db.trip.insert_many(trips(0, 100)).await.unwrap();
    spans.0.lock().unwrap().clear();

    other.trip.insert_many(trips(100, 10)).await.unwrap();
    let inserted = other.seq();
    db.catch_up().await.unwrap();
    db.cities.refresh().await.unwrap();
    db.flush().await.unwrap();

    let spans = spans.0.lock().unwrap().clone();
    let named = |name: &str| {
        spans.iter().filter(|(span, _)| span == name).map(|(_, fields)| fields).collect::<Vec<_>>()
    };
    let commits = named("commit");
    assert_eq!(commits.len(), 2, "{spans:?}");
    let lost = commits[0];
    assert_eq!((&lost["seq"], &lost["attempts"]), (&json!(inserted), &json!(2)));
    assert_eq!((&lost["tables"], &lost["rows"]), (&json!(2), &json!(20)), "a collection and a view");
    assert!(lost["bytes"].as_u64().unwrap() > 500);
    assert_eq!(named("catch_up"), [&json!({ "seq": inserted, "commits": 1 })]);
    assert_eq!(named("refresh"), [&json!({ "view": "Cities" })]);
    let flush = named("flush")[0];
    assert_eq!((&flush["seq"], &flush["tables"]), (&json!(db.seq()), &json!(3)));
    assert_eq!(flush["rows"], json!(110 + 59 + 4), "the rows that were moved");
    let checkpoint = named("checkpoint")[0];
    assert_eq!(checkpoint["seq"], json!(db.seq()));
    assert!(checkpoint["bytes"].as_u64().unwrap() > 500);
}

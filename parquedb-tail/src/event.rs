//! One invocation of a Worker, as a Tail Worker or Logpush reports it.
//!
//! Every key the runtime is known to send has a typed column. A key without a column goes, with its
//! value, into `rest` of the nearest struct, so a row gives back the item it came from
//! ([`TailEvents::to_item`]).

mod rebuild;

use parquedb::{Collection, Json, Timestamp};
use std::collections::BTreeMap;

/// One invocation of a Worker.
#[derive(Collection, Debug, Clone, PartialEq)]
pub struct TailEvents {
    /// The Worker's name. Null in local development.
    pub script_name: Option<String>,
    /// How the invocation ended: `ok`, `exception`, `exceededCpu`, `canceled`, … (an open set). It can
    /// be `ok` with exceptions (a failed `waitUntil`), and not `ok` without any.
    pub outcome: String,
    /// When the invocation began. The runtime types it as nullable but always sends it; an item
    /// without it is a dead letter, since no view could place it in time.
    pub event_timestamp: Timestamp,
    /// Milliseconds from begin to end. Older runtimes do not report it.
    pub wall_time: Option<i64>,
    /// Milliseconds of processor time. Older runtimes do not report it.
    pub cpu_time: Option<i64>,
    /// Whether the runtime dropped logs, or the request, to stay within 256 KiB.
    pub truncated: bool,
    /// `stateless`, `durableObject`, `workflow`.
    pub execution_model: Option<String>,
    /// The named entrypoint or class that ran; null for the default one.
    pub entrypoint: Option<String>,
    /// The Durable Object's id, 64 hexadecimal digits.
    pub durable_object_id: Option<String>,
    /// The deployed version.
    pub script_version: Option<ScriptVersion>,
    /// The dispatch namespace of Workers for Platforms.
    pub dispatch_namespace: Option<String>,
    /// Tags of the script.
    pub script_tags: Vec<String>,
    /// Attributes set on the tail stream: an object of booleans, numbers and strings.
    pub tail_attributes: Option<Json>,
    /// The preview deployment that ran.
    pub preview: Option<Preview>,
    /// Console calls, in order. Many share one timestamp: the clock stands still between I/O.
    pub logs: Vec<LogLine>,
    /// Uncaught exceptions, in order.
    pub exceptions: Vec<Exception>,
    /// Messages published on `node:diagnostics_channel`.
    pub diagnostics_channel_events: Vec<DiagnosticsChannelEvent>,
    /// What caused the invocation.
    pub event: Option<Event>,
    /// Keys without a column, as a JSON object.
    pub rest: Option<Json>,
}

/// A deployed version of a Worker.
#[derive(Collection, Debug, Clone, PartialEq)]
pub struct ScriptVersion {
    /// The version's id.
    pub id: Option<String>,
    /// The tag given at deployment.
    pub tag: Option<String>,
    /// The message given at deployment.
    pub message: Option<String>,
    /// Keys without a column, as a JSON object.
    pub rest: Option<Json>,
}

/// A preview deployment.
#[derive(Collection, Debug, Clone, PartialEq)]
pub struct Preview {
    /// The preview's id.
    pub id: Option<String>,
    /// Its part of the URL.
    pub slug: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Keys without a column, as a JSON object.
    pub rest: Option<Json>,
}

/// One console call.
#[derive(Collection, Debug, Clone, PartialEq)]
pub struct LogLine {
    /// `debug`, `info`, `log`, `warn` or `error`.
    pub level: String,
    /// The arguments: a JSON list of any values.
    pub message: Json,
    /// When it was called.
    pub timestamp: Timestamp,
    /// A JSON list parallel to `message`: null, or `{name, message, stack}` of an error argument.
    pub error_info: Option<Json>,
    /// Keys without a column, as a JSON object.
    pub rest: Option<Json>,
}

/// One uncaught exception.
#[derive(Collection, Debug, Clone, PartialEq)]
pub struct Exception {
    /// The class; custom names arrive as `Error`.
    pub name: String,
    /// Its message, cut by the runtime at 4,096 characters.
    pub message: String,
    /// When it was thrown.
    pub timestamp: Timestamp,
    /// The stack; absent for long messages and older runtimes.
    pub stack: Option<String>,
    /// Keys without a column, as a JSON object.
    pub rest: Option<Json>,
}

/// One message on a diagnostics channel.
#[derive(Collection, Debug, Clone, PartialEq)]
pub struct DiagnosticsChannelEvent {
    /// The channel's name.
    pub channel: String,
    /// When it was published.
    pub timestamp: Timestamp,
    /// The message; absent when it was `undefined`.
    pub message: Option<Json>,
    /// Keys without a column, as a JSON object.
    pub rest: Option<Json>,
}

/// What caused an invocation. Which fields are set depends on `kind`.
#[derive(Collection, Debug, Clone, PartialEq)]
pub struct Event {
    /// `fetch`, `rpc`, `scheduled`, `queue`, `email`, `tail`, `websocket`, `alarm`, `hibernate`,
    /// `notice` (of `wrangler tail`), or `custom` where the runtime tells nothing.
    pub kind: String,
    /// The request of a `fetch`.
    pub request: Option<Request>,
    /// The answer of a `fetch`; absent after an uncaught exception and for WebSocket upgrades.
    pub response: Option<Response>,
    /// The method an `rpc` called.
    pub rpc_method: Option<String>,
    /// The cron expression of a `scheduled` run.
    pub cron: Option<String>,
    /// When a `scheduled` run or an `alarm` was due.
    pub scheduled_time: Option<Timestamp>,
    /// The queue whose messages arrived.
    pub queue: Option<String>,
    /// How many of its messages.
    pub batch_size: Option<i64>,
    /// The sender of an `email`.
    pub mail_from: Option<String>,
    /// The recipient of an `email`.
    pub rcpt_to: Option<String>,
    /// The size of an `email` in bytes.
    pub raw_size: Option<i64>,
    /// The invocations a `tail` was told of.
    pub consumed_events: Vec<ConsumedEvent>,
    /// What happened on a hibernatable WebSocket.
    pub web_socket: Option<WebSocketEvent>,
    /// Why a Durable Object hibernated.
    pub reason: Option<String>,
    /// Keys without a column, as a JSON object.
    pub rest: Option<Json>,
}

impl Event {
    /// An event of which only the kind is known.
    pub(crate) fn of_kind(kind: String) -> Self {
        Self {
            kind,
            request: None,
            response: None,
            rpc_method: None,
            cron: None,
            scheduled_time: None,
            queue: None,
            batch_size: None,
            mail_from: None,
            rcpt_to: None,
            raw_size: None,
            consumed_events: Vec::new(),
            web_socket: None,
            reason: None,
            rest: None,
        }
    }
}

/// The request of a `fetch` invocation.
#[derive(Collection, Debug, Clone, PartialEq)]
pub struct Request {
    /// The URL, with ids redacted by the runtime. Empty when the request alone was too large.
    pub url: String,
    /// The HTTP method.
    pub method: String,
    /// Headers by lowercase name; the runtime redacts secrets.
    pub headers: BTreeMap<String, String>,
    /// What Cloudflare knows of the connection; absent on subrequests.
    pub cf: Option<Cf>,
    /// Keys without a column, as a JSON object.
    pub rest: Option<Json>,
}

/// The answer of a `fetch` invocation.
#[derive(Collection, Debug, Clone, PartialEq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// Keys without a column, as a JSON object.
    pub rest: Option<Json>,
}

/// What Cloudflare knows of a connection. A Worker may put anything into `cf` of a subrequest, so a
/// value of another type than its column, and null, goes to `rest`.
#[derive(Collection, Debug, Clone, PartialEq, Default)]
pub struct Cf {
    /// The data centre that took the request, an IATA code.
    pub colo: Option<String>,
    /// Two-letter country code.
    pub country: Option<String>,
    /// `1` in the European Union.
    pub is_eu_country: Option<String>,
    /// City.
    pub city: Option<String>,
    /// Region.
    pub region: Option<String>,
    /// Code of the region.
    pub region_code: Option<String>,
    /// Metropolitan area code.
    pub metro_code: Option<String>,
    /// Postal code.
    pub postal_code: Option<String>,
    /// Two-letter continent code.
    pub continent: Option<String>,
    /// IANA time zone.
    pub timezone: Option<String>,
    /// Degrees north, as text.
    pub latitude: Option<String>,
    /// Degrees east, as text.
    pub longitude: Option<String>,
    /// Number of the client's autonomous system.
    pub asn: Option<i64>,
    /// Its owner.
    pub as_organization: Option<String>,
    /// `HTTP/1.1`, `HTTP/2`, `HTTP/3`.
    pub http_protocol: Option<String>,
    /// Version of TLS.
    pub tls_version: Option<String>,
    /// Cipher of TLS.
    pub tls_cipher: Option<String>,
    /// Round-trip time to the client over TCP in milliseconds.
    pub client_tcp_rtt: Option<i64>,
    /// `Accept-Encoding` as the client sent it.
    pub client_accept_encoding: Option<String>,
    /// HTTP/2 priority.
    pub request_priority: Option<String>,
    /// State of the connection to the origin.
    pub edge_request_keep_alive_status: Option<i64>,
    /// Keys without a column (`botManagement`, `tlsClientAuth`, …), as a JSON object.
    pub rest: Option<Json>,
}

/// One invocation a Tail Worker was told of.
#[derive(Collection, Debug, Clone, PartialEq)]
pub struct ConsumedEvent {
    /// The producing Worker's name.
    pub script_name: Option<String>,
    /// Keys without a column, as a JSON object.
    pub rest: Option<Json>,
}

/// What happened on a hibernatable WebSocket.
#[derive(Collection, Debug, Clone, PartialEq)]
pub struct WebSocketEvent {
    /// `message`, `close` or `error`.
    pub event_type: String,
    /// The close code.
    pub code: Option<i64>,
    /// Whether it closed cleanly.
    pub was_clean: Option<bool>,
    /// Keys without a column, as a JSON object.
    pub rest: Option<Json>,
}

//! One item into one row, for both formats.
//!
//! A TailItem has camelCase keys, a Logpush record of `workers_trace_events` PascalCase ones; otherwise
//! they name the same things, so each column lists both names.

use super::object::{
    Any, Is, Key, Maybe, MaybeAny, MaybeInteger, MaybeMoment, Millis, OrDefault, Rest, read_object,
};
use crate::event::{
    Cf, ConsumedEvent, DiagnosticsChannelEvent, Event, Exception, LogLine, Preview, Request, Response,
    ScriptVersion, TailEvents, WebSocketEvent,
};
use parquedb::{Json, Timestamp};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;

/// The columns of both formats, and what only Logpush says.
struct Item {
    script_name: Option<String>,
    outcome: String,
    event_timestamp: Timestamp,
    wall_time: Option<i64>,
    cpu_time: Option<i64>,
    truncated: bool,
    execution_model: Option<String>,
    entrypoint: Option<String>,
    durable_object_id: Option<String>,
    script_version: Option<ScriptVersion>,
    dispatch_namespace: Option<String>,
    script_tags: Vec<String>,
    tail_attributes: Option<Json>,
    preview: Option<Preview>,
    logs: Vec<LogLine>,
    exceptions: Vec<Exception>,
    diagnostics_channel_events: Vec<DiagnosticsChannelEvent>,
    event: Option<Event>,
    event_type: Option<String>,
    rest: Option<Json>,
}

read_object!(Item as "a tail event (a JSON object)" {
    script_name: Maybe<String> = "scriptName" | "ScriptName",
    outcome: Is<String> = "outcome" | "Outcome",
    event_timestamp: Millis = "eventTimestamp" | "EventTimestampMs",
    wall_time: MaybeInteger = "wallTime" | "WallTimeMs",
    cpu_time: MaybeInteger = "cpuTime" | "CPUTimeMs",
    truncated: OrDefault<bool> = "truncated",
    execution_model: Maybe<String> = "executionModel",
    entrypoint: Maybe<String> = "entrypoint" | "Entrypoint",
    durable_object_id: Maybe<String> = "durableObjectId",
    script_version: Maybe<ScriptVersion> = "scriptVersion" | "ScriptVersion",
    dispatch_namespace: Maybe<String> = "dispatchNamespace" | "DispatchNamespace",
    script_tags: OrDefault<Vec<String>> = "scriptTags" | "ScriptTags",
    tail_attributes: MaybeAny = "tailAttributes",
    preview: Maybe<Preview> = "preview",
    logs: OrDefault<Vec<LogLine>> = "logs" | "Logs",
    exceptions: OrDefault<Vec<Exception>> = "exceptions" | "Exceptions",
    diagnostics_channel_events: OrDefault<Vec<DiagnosticsChannelEvent>> = "diagnosticsChannelEvents",
    event: Maybe<Event> = "event" | "Event",
    event_type: Maybe<String> = "EventType",
});

read_object!(ScriptVersion as "a script version (a JSON object)" {
    id: Maybe<String> = "id" | "ID" | "Id",
    tag: Maybe<String> = "tag" | "Tag",
    message: Maybe<String> = "message" | "Message",
});

read_object!(Preview as "a preview (a JSON object)" {
    id: Maybe<String> = "id",
    slug: Maybe<String> = "slug",
    name: Maybe<String> = "name",
});

read_object!(LogLine as "a log line (a JSON object)" {
    level: Is<String> = "level" | "Level",
    message: Any = "message" | "Message",
    timestamp: Millis = "timestamp" | "TimestampMs",
    error_info: MaybeAny = "errorInfo",
});

read_object!(Exception as "an exception (a JSON object)" {
    name: Is<String> = "name" | "Name",
    message: Is<String> = "message" | "Message",
    timestamp: Millis = "timestamp" | "TimestampMs",
    stack: Maybe<String> = "stack" | "Stack",
});

read_object!(DiagnosticsChannelEvent as "a diagnostics channel event (a JSON object)" {
    channel: Is<String> = "channel",
    timestamp: Millis = "timestamp",
    message: MaybeAny = "message",
});

/// What an item says of its cause; the kind follows from which keys there are.
struct Cause {
    request: Option<Request>,
    response: Option<Response>,
    rpc_method: Option<String>,
    cron: Option<String>,
    scheduled_time: Option<Timestamp>,
    queue: Option<String>,
    batch_size: Option<i64>,
    mail_from: Option<String>,
    rcpt_to: Option<String>,
    raw_size: Option<i64>,
    consumed_events: Option<Vec<ConsumedEvent>>,
    web_socket: Option<WebSocketEvent>,
    reason: Option<String>,
    rest: Option<Json>,
}

read_object!(Cause as "what caused the invocation (a JSON object)" {
    request: Maybe<Request> = "request" | "Request",
    response: Maybe<Response> = "response" | "Response",
    rpc_method: Maybe<String> = "rpcMethod" | "RpcMethod" | "RPCMethod",
    cron: Maybe<String> = "cron" | "Cron",
    scheduled_time: MaybeMoment = "scheduledTime" | "ScheduledTime" | "ScheduledTimeMs",
    queue: Maybe<String> = "queue" | "Queue",
    batch_size: MaybeInteger = "batchSize" | "BatchSize",
    mail_from: Maybe<String> = "mailFrom" | "MailFrom",
    rcpt_to: Maybe<String> = "rcptTo" | "RcptTo",
    raw_size: MaybeInteger = "rawSize" | "RawSize",
    consumed_events: Maybe<Vec<ConsumedEvent>> = "consumedEvents" | "ConsumedEvents",
    web_socket: Maybe<WebSocketEvent> = "getWebSocketEvent" | "GetWebSocketEvent",
    reason: Maybe<String> = "reason",
});

read_object!(Request as "a request (a JSON object)" {
    url: Is<String> = "url" | "URL" | "Url",
    method: Is<String> = "method" | "Method",
    headers: OrDefault<BTreeMap<String, String>> = "headers" | "Headers",
    cf: Maybe<Cf> = "cf" | "CF" | "Cf",
});

read_object!(Response as "a response (a JSON object)" {
    status: Is<u16> = "status" | "Status",
});

read_object!(ConsumedEvent as "a consumed event (a JSON object)" {
    script_name: Maybe<String> = "scriptName" | "ScriptName",
});

read_object!(WebSocketEvent as "a WebSocket event (a JSON object)" {
    event_type: Is<String> = "webSocketEventType" | "WebSocketEventType",
    code: MaybeInteger = "code" | "Code",
    was_clean: Maybe<bool> = "wasClean" | "WasClean",
});

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let cause = Cause::deserialize(deserializer)?;
        let kind = kind(&cause);
        Ok(Self {
            kind: kind.to_owned(),
            request: cause.request,
            response: cause.response,
            rpc_method: cause.rpc_method,
            cron: cause.cron,
            scheduled_time: cause.scheduled_time,
            queue: cause.queue,
            batch_size: cause.batch_size,
            mail_from: cause.mail_from,
            rcpt_to: cause.rcpt_to,
            raw_size: cause.raw_size,
            consumed_events: cause.consumed_events.unwrap_or_default(),
            web_socket: cause.web_socket,
            reason: cause.reason,
            rest: cause.rest,
        })
    }
}

/// There is no kind in a TailItem: the keys tell, in this order.
fn kind(cause: &Cause) -> &'static str {
    if cause.request.is_some() {
        "fetch"
    } else if cause.rpc_method.is_some() {
        "rpc"
    } else if cause.cron.is_some() {
        "scheduled"
    } else if cause.queue.is_some() {
        "queue"
    } else if cause.mail_from.is_some() {
        "email"
    } else if cause.consumed_events.is_some() {
        "tail"
    } else if cause.web_socket.is_some() {
        "websocket"
    } else if cause.scheduled_time.is_some() {
        "alarm"
    } else if cause.reason.is_some() {
        "hibernate"
    } else if cause.rest.as_ref().is_some_and(|rest| rest.as_str().contains("\"overload")) {
        "notice"
    } else {
        "custom"
    }
}

impl<'de> Deserialize<'de> for Cf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(CfVisitor)
    }
}

struct CfVisitor;

impl<'de> Visitor<'de> for CfVisitor {
    type Value = Cf;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the properties of a connection (a JSON object)")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Cf, A::Error> {
        let mut cf = Cf::default();
        let mut rest = Rest::default();
        while let Some(Key(key)) = map.next_key()? {
            let value: &'de RawValue = map.next_value()?;
            let text = match key.as_ref() {
                "colo" => &mut cf.colo,
                "country" => &mut cf.country,
                "isEUCountry" => &mut cf.is_eu_country,
                "city" => &mut cf.city,
                "region" => &mut cf.region,
                "regionCode" => &mut cf.region_code,
                "metroCode" => &mut cf.metro_code,
                "postalCode" => &mut cf.postal_code,
                "continent" => &mut cf.continent,
                "timezone" => &mut cf.timezone,
                "latitude" => &mut cf.latitude,
                "longitude" => &mut cf.longitude,
                "asOrganization" => &mut cf.as_organization,
                "httpProtocol" => &mut cf.http_protocol,
                "tlsVersion" => &mut cf.tls_version,
                "tlsCipher" => &mut cf.tls_cipher,
                "clientAcceptEncoding" => &mut cf.client_accept_encoding,
                "requestPriority" => &mut cf.request_priority,
                "asn" | "clientTcpRtt" | "edgeRequestKeepAliveStatus" => {
                    let number = match key.as_ref() {
                        "asn" => &mut cf.asn,
                        "clientTcpRtt" => &mut cf.client_tcp_rtt,
                        _ => &mut cf.edge_request_keep_alive_status,
                    };
                    match value.get().parse::<i64>() {
                        Ok(read) => *number = Some(read),
                        Err(_) => rest.keep(&key, value),
                    }
                    continue;
                }
                _ => {
                    rest.keep(&key, value);
                    continue;
                }
            };
            match value.get().starts_with('"').then(|| serde_json::from_str::<String>(value.get())) {
                Some(Ok(read)) => *text = Some(read),
                _ => rest.keep(&key, value),
            }
        }
        cf.rest = rest.finish()?;
        Ok(cf)
    }
}

/// What the text of one item holds.
#[derive(Debug)]
pub(super) enum Content {
    /// An invocation.
    Event(Box<TailEvents>),
    /// The body Logpush sends to try an endpoint out.
    Test,
}

/// Reads one item. `text` is one JSON value without unpaired surrogates.
pub(super) fn read(text: &str) -> Result<Content, serde_json::Error> {
    let first = first_key(text);
    if first == Some("content") && is_test(text) {
        return Ok(Content::Test);
    }
    let item: Item = serde_json::from_str(text)?;
    let logpush = first.is_some_and(|key| key.starts_with(|first: char| first.is_ascii_uppercase()));
    // Only Logpush names the kind of an event.
    let logpush = logpush || item.event_type.is_some();
    Ok(Content::Event(Box::new(if logpush { from_logpush(item) } else { from_item(item) })))
}

/// The first key of an object, if it has no escapes.
fn first_key(text: &str) -> Option<&str> {
    let key = text.trim_start().strip_prefix('{')?.trim_start().strip_prefix('"')?;
    key.split_once('"').map(|(key, _)| key)
}

fn is_test(text: &str) -> bool {
    serde_json::from_str::<BTreeMap<String, String>>(text).is_ok_and(|object| {
        object.len() == 1 && matches!(object.get("content").map(String::as_str), Some("tests" | "test"))
    })
}

fn from_item(item: Item) -> TailEvents {
    TailEvents {
        script_name: item.script_name,
        outcome: item.outcome,
        event_timestamp: item.event_timestamp,
        wall_time: item.wall_time,
        cpu_time: item.cpu_time,
        truncated: item.truncated,
        execution_model: item.execution_model,
        entrypoint: item.entrypoint,
        durable_object_id: item.durable_object_id,
        script_version: item.script_version,
        dispatch_namespace: item.dispatch_namespace,
        script_tags: item.script_tags,
        tail_attributes: item.tail_attributes,
        preview: item.preview,
        logs: item.logs,
        exceptions: item.exceptions,
        diagnostics_channel_events: item.diagnostics_channel_events,
        event: item.event,
        rest: item.rest,
    }
}

/// What Logpush writes where a TailItem has nothing: empty text, and a mark where it cut logs short.
fn from_logpush(mut item: Item) -> TailEvents {
    let event_type = item.event_type.take();
    let mut row = from_item(item);
    for name in [&mut row.script_name, &mut row.entrypoint, &mut row.dispatch_namespace] {
        name.take_if(|name| name.is_empty());
    }
    row.script_version.take_if(|version| {
        let empty = |text: &Option<String>| text.as_deref().unwrap_or_default().is_empty();
        empty(&version.id) && empty(&version.tag) && empty(&version.message) && version.rest.is_none()
    });
    if let Some(event_type) = event_type {
        let kind = match event_type.as_str() {
            "worker_rpc" => "rpc".to_owned(),
            "hibernatable_web_socket" => "websocket".to_owned(),
            _ => event_type,
        };
        match &mut row.event {
            Some(event) => event.kind = kind,
            None => row.event = Some(Event::of_kind(kind)),
        }
    }
    const CUT: &str = "<<<Logpush:";
    row.truncated |= row.logs.iter().any(|log| log.message.as_str().contains(CUT))
        || row.exceptions.iter().any(|exception| exception.message.contains(CUT));
    row
}

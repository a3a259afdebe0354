//! A row back to the JSON of the item it came from.

use super::{
    Cf, ConsumedEvent, DiagnosticsChannelEvent, Event, Exception, LogLine, Preview, Request, Response,
    ScriptVersion, TailEvents, WebSocketEvent,
};
use parquedb::{Json, Timestamp};
use std::fmt::Write;

impl TailEvents {
    /// The JSON text of the TailItem this row came from.
    ///
    /// Equal to what arrived as a JSON value, save that an optional key that was null is absent, an
    /// absent `scriptName` is null, an absent list is empty (`scriptTags`: an empty one is absent), an
    /// unpaired surrogate is U+FFFD, and a row that came through Logpush takes the names of a TailItem.
    #[must_use]
    pub fn to_item(&self) -> String {
        let mut object = Object::open();
        object.integer("wallTime", self.wall_time);
        object.integer("cpuTime", self.cpu_time);
        object.put("truncated", |out| push(out, self.truncated));
        object.text("executionModel", self.execution_model.as_deref());
        object.text("outcome", Some(&self.outcome));
        match &self.script_name {
            None => object.put("scriptName", |out| out.push_str("null")),
            name => object.text("scriptName", name.as_deref()),
        }
        object.text("entrypoint", self.entrypoint.as_deref());
        object.text("durableObjectId", self.durable_object_id.as_deref());
        object.nested("scriptVersion", self.script_version.as_ref(), script_version);
        object.text("dispatchNamespace", self.dispatch_namespace.as_deref());
        if !self.script_tags.is_empty() {
            object.list("scriptTags", &self.script_tags, |tag| quoted(tag));
        }
        object.json("tailAttributes", self.tail_attributes.as_ref());
        object.nested("preview", self.preview.as_ref(), preview);
        object.list("diagnosticsChannelEvents", &self.diagnostics_channel_events, diagnostics);
        object.list("exceptions", &self.exceptions, exception);
        object.list("logs", &self.logs, log);
        object.time("eventTimestamp", Some(self.event_timestamp));
        object.nested("event", self.event.as_ref(), event);
        object.close(self.rest.as_ref())
    }
}

/// A JSON object being written.
struct Object(String);

impl Object {
    fn open() -> Self {
        Self("{".to_owned())
    }

    fn put(&mut self, key: &str, value: impl FnOnce(&mut String)) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(&quoted(key));
        self.0.push(':');
        value(&mut self.0);
    }

    fn text(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.put(key, |out| out.push_str(&quoted(value)));
        }
    }

    fn integer(&mut self, key: &str, value: Option<i64>) {
        if let Some(value) = value {
            self.put(key, |out| push(out, value));
        }
    }

    fn time(&mut self, key: &str, value: Option<Timestamp>) {
        self.integer(key, value.map(Timestamp::as_millis));
    }

    fn json(&mut self, key: &str, value: Option<&Json>) {
        if let Some(value) = value {
            self.put(key, |out| out.push_str(value.as_str()));
        }
    }

    fn nested<T>(&mut self, key: &str, value: Option<&T>, write: fn(&T) -> String) {
        if let Some(value) = value {
            self.put(key, |out| out.push_str(&write(value)));
        }
    }

    fn list<T>(&mut self, key: &str, values: &[T], write: fn(&T) -> String) {
        let items: Vec<String> = values.iter().map(write).collect();
        self.put(key, |out| {
            out.push('[');
            out.push_str(&items.join(","));
            out.push(']');
        });
    }

    /// Ends the object with the members of `rest`, itself an object.
    fn close(mut self, rest: Option<&Json>) -> String {
        let members = rest.map(|rest| rest.as_str().trim()).and_then(|text| text.strip_prefix('{'));
        match members {
            Some(members) if self.0.len() > 1 => {
                self.0.push(',');
                self.0.push_str(members);
            }
            Some(members) => self.0.push_str(members),
            None => self.0.push('}'),
        }
        self.0
    }
}

fn push(out: &mut String, value: impl std::fmt::Display) {
    // Writing to a `String` cannot fail.
    let _ = write!(out, "{value}");
}

fn quoted(text: impl AsRef<str>) -> String {
    serde_json::Value::from(text.as_ref()).to_string()
}

fn script_version(version: &ScriptVersion) -> String {
    let mut object = Object::open();
    object.text("id", version.id.as_deref());
    object.text("tag", version.tag.as_deref());
    object.text("message", version.message.as_deref());
    object.close(version.rest.as_ref())
}

fn preview(preview: &Preview) -> String {
    let mut object = Object::open();
    object.text("id", preview.id.as_deref());
    object.text("slug", preview.slug.as_deref());
    object.text("name", preview.name.as_deref());
    object.close(preview.rest.as_ref())
}

fn diagnostics(event: &DiagnosticsChannelEvent) -> String {
    let mut object = Object::open();
    object.text("channel", Some(&event.channel));
    object.time("timestamp", Some(event.timestamp));
    object.json("message", event.message.as_ref());
    object.close(event.rest.as_ref())
}

fn exception(exception: &Exception) -> String {
    let mut object = Object::open();
    object.text("name", Some(&exception.name));
    object.text("message", Some(&exception.message));
    object.time("timestamp", Some(exception.timestamp));
    object.text("stack", exception.stack.as_deref());
    object.close(exception.rest.as_ref())
}

fn log(log: &LogLine) -> String {
    let mut object = Object::open();
    object.json("message", Some(&log.message));
    object.text("level", Some(&log.level));
    object.time("timestamp", Some(log.timestamp));
    object.json("errorInfo", log.error_info.as_ref());
    object.close(log.rest.as_ref())
}

fn event(event: &Event) -> String {
    let mut object = Object::open();
    object.nested("request", event.request.as_ref(), request);
    object.nested("response", event.response.as_ref(), response);
    object.text("rpcMethod", event.rpc_method.as_deref());
    object.text("cron", event.cron.as_deref());
    match event.scheduled_time {
        // The runtime sends an alarm's time as text and a cron run's as a number.
        Some(at) if event.kind == "alarm" => object.text("scheduledTime", Some(&iso(at))),
        at => object.time("scheduledTime", at),
    }
    object.text("queue", event.queue.as_deref());
    object.integer("batchSize", event.batch_size);
    object.text("mailFrom", event.mail_from.as_deref());
    object.text("rcptTo", event.rcpt_to.as_deref());
    object.integer("rawSize", event.raw_size);
    if event.kind == "tail" || !event.consumed_events.is_empty() {
        object.list("consumedEvents", &event.consumed_events, consumed);
    }
    object.nested("getWebSocketEvent", event.web_socket.as_ref(), web_socket);
    object.text("reason", event.reason.as_deref());
    object.close(event.rest.as_ref())
}

fn request(request: &Request) -> String {
    let mut object = Object::open();
    object.text("url", Some(&request.url));
    object.text("method", Some(&request.method));
    object.put("headers", |out| {
        let mut headers = Object::open();
        for (name, value) in &request.headers {
            headers.text(name, Some(value));
        }
        out.push_str(&headers.close(None));
    });
    object.nested("cf", request.cf.as_ref(), cf);
    object.close(request.rest.as_ref())
}

fn response(response: &Response) -> String {
    let mut object = Object::open();
    object.integer("status", Some(i64::from(response.status)));
    object.close(response.rest.as_ref())
}

fn cf(cf: &Cf) -> String {
    let mut object = Object::open();
    object.text("colo", cf.colo.as_deref());
    object.text("country", cf.country.as_deref());
    object.text("isEUCountry", cf.is_eu_country.as_deref());
    object.text("city", cf.city.as_deref());
    object.text("region", cf.region.as_deref());
    object.text("regionCode", cf.region_code.as_deref());
    object.text("metroCode", cf.metro_code.as_deref());
    object.text("postalCode", cf.postal_code.as_deref());
    object.text("continent", cf.continent.as_deref());
    object.text("timezone", cf.timezone.as_deref());
    object.text("latitude", cf.latitude.as_deref());
    object.text("longitude", cf.longitude.as_deref());
    object.integer("asn", cf.asn);
    object.text("asOrganization", cf.as_organization.as_deref());
    object.text("httpProtocol", cf.http_protocol.as_deref());
    object.text("tlsVersion", cf.tls_version.as_deref());
    object.text("tlsCipher", cf.tls_cipher.as_deref());
    object.integer("clientTcpRtt", cf.client_tcp_rtt);
    object.text("clientAcceptEncoding", cf.client_accept_encoding.as_deref());
    object.text("requestPriority", cf.request_priority.as_deref());
    object.integer("edgeRequestKeepAliveStatus", cf.edge_request_keep_alive_status);
    object.close(cf.rest.as_ref())
}

fn consumed(event: &ConsumedEvent) -> String {
    let mut object = Object::open();
    match &event.script_name {
        None => object.put("scriptName", |out| out.push_str("null")),
        name => object.text("scriptName", name.as_deref()),
    }
    object.close(event.rest.as_ref())
}

fn web_socket(event: &WebSocketEvent) -> String {
    let mut object = Object::open();
    object.text("webSocketEventType", Some(&event.event_type));
    object.integer("code", event.code);
    if let Some(clean) = event.was_clean {
        object.put("wasClean", |out| push(out, clean));
    }
    object.close(event.rest.as_ref())
}

/// A moment as JavaScript's `Date.toISOString` writes it.
fn iso(at: Timestamp) -> String {
    crate::decode::time::to_iso(at.as_millis())
}

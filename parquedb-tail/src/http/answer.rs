//! What the endpoint says.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

/// An answer: a status and a JSON object.
#[derive(Debug)]
pub struct Answer {
    status: StatusCode,
    body: serde_json::Value,
    retry_after: Option<u32>,
}

impl Answer {
    /// 200 with a body.
    #[must_use]
    pub fn ok(body: serde_json::Value) -> Self {
        Self { status: StatusCode::OK, body, retry_after: None }
    }

    /// An error status with its reason.
    #[must_use]
    pub fn error(status: StatusCode, reason: impl Into<String>) -> Self {
        Self { status, body: serde_json::json!({ "error": reason.into() }), retry_after: None }
    }

    /// 503 with the seconds after which to come back.
    #[must_use]
    pub fn retry(reason: impl Into<String>, seconds: u32) -> Self {
        Self { retry_after: Some(seconds), ..Self::error(StatusCode::SERVICE_UNAVAILABLE, reason) }
    }

    /// The same answer with the byte of the body that caused it.
    #[must_use]
    pub fn at(mut self, offset: u64) -> Self {
        self.body["offset"] = offset.into();
        self
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The reason of an error, otherwise nothing.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.body.get("error").and_then(serde_json::Value::as_str).unwrap_or_default()
    }

    /// The HTTP response.
    #[must_use]
    pub fn into_response(self) -> Response {
        let mut response = Response::new(format!("{}\n", self.body).into());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

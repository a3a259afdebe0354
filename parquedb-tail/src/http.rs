//! The HTTP endpoint that Tail Workers and Logpush post to.
//!
//! A Tail Worker sends one small request per invocation and nobody repeats it unless the Worker does.
//! So a request is answered only once its events are durable, an item that cannot be read is kept as a
//! dead letter instead of refused, and requests that arrive together share one commit of the database.

mod answer;

pub use answer::Answer;

use crate::decode::{BodyError, Decoded, decode, inflate, is_gzip};
use crate::sink::{Sink, Stored};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// The header that names a batch, so that sending it again stores nothing twice.
pub const BATCH_ID: &str = "x-tail-batch-id";

/// Longest batch id in bytes.
const MAX_BATCH_ID: usize = 256;
/// Bodies above this are decoded off the threads that answer requests.
const LARGE_BODY: usize = 64 * 1024;
/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(30);

/// How the endpoint behaves.
#[derive(Clone)]
pub struct Options {
    /// The bearer token every post must show; none accepts all.
    pub token: Option<String>,
    /// Largest body in bytes, before and after decompression.
    pub max_body: usize,
    /// How many posts may be under way at once; more are told to come back.
    pub max_in_flight: usize,
}

impl std::fmt::Debug for Options {
    /// Does not show the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("max_body", &self.max_body)
            .field("max_in_flight", &self.max_in_flight)
            .finish()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self { token: None, max_body: 10_000_000, max_in_flight: 256 }
    }
}

struct Endpoint<S> {
    sink: Arc<S>,
    token: Option<blake3::Hash>,
    max_body: usize,
    in_flight: Semaphore,
    started: Instant,
    posts: AtomicU64,
    accepted: AtomicU64,
    dead_letters: AtomicU64,
}

/// The routes: `POST /` and `POST /ingest` store, `GET /health` tells that the server runs.
pub fn router<S: Sink>(sink: Arc<S>, options: &Options) -> Router {
    let endpoint = Arc::new(Endpoint {
        sink,
        token: options.token.as_ref().map(|token| blake3::hash(token.as_bytes())),
        max_body: options.max_body,
        in_flight: Semaphore::new(options.max_in_flight),
        started: Instant::now(),
        posts: AtomicU64::new(0),
        accepted: AtomicU64::new(0),
        dead_letters: AtomicU64::new(0),
    });
    Router::new()
        .route("/", post(ingest::<S>))
        .route("/ingest", post(ingest::<S>))
        .route("/health", get(health::<S>))
        .fallback(async || {
            Answer::error(StatusCode::NOT_FOUND, "post events to / or /ingest").into_response()
        })
        .with_state(endpoint)
}

async fn health<S: Sink>(State(endpoint): State<Arc<Endpoint<S>>>) -> Response {
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    Answer::ok(serde_json::json!({
        "status": "ok",
        "uptime_seconds": endpoint.started.elapsed().as_secs(),
        "posts": count(&endpoint.posts),
        "accepted": count(&endpoint.accepted),
        "dead_letters": count(&endpoint.dead_letters),
    }))
    .into_response()
}

async fn ingest<S: Sink>(State(endpoint): State<Arc<Endpoint<S>>>, request: Request) -> Response {
    endpoint.posts.fetch_add(1, Ordering::Relaxed);
    let answer = endpoint.ingest(request).await.unwrap_or_else(|answer| {
        tracing::warn!(status = answer.status().as_u16(), reason = answer.reason(), "post refused");
        answer
    });
    answer.into_response()
}

impl<S: Sink> Endpoint<S> {
    async fn ingest(&self, request: Request) -> Result<Answer, Answer> {
        let (head, body) = request.into_parts();
        self.authorize(&head.headers)?;
        let id = batch_id(&head.headers)?;
        accept_encoding(&head.headers)?;
        let Ok(_permit) = self.in_flight.try_acquire() else {
            return Err(Answer::retry("too many requests are under way", 1));
        };
        let body = self.receive(&head.headers, body).await?;
        // A compressed body may be a thousand times larger than it looks.
        let large = body.len() > if is_gzip(&body) { LARGE_BODY / 64 } else { LARGE_BODY };
        let (limit, received) = (self.max_body, self.sink.now());
        let source = id.as_ref().map_or_else(|| "http".to_owned(), |id| format!("http {id}"));
        let read = move || {
            let body = inflate(body, limit)?;
            decode(&body, &source, received)
        };
        let decoded = if large {
            tokio::task::spawn_blocking(read)
                .await
                .map_err(|_| Answer::error(StatusCode::INTERNAL_SERVER_ERROR, "the server is stopping"))?
        } else {
            read()
        };
        self.store(decoded.map_err(|error| refuse(&error))?, id).await
    }

    /// Hashes are compared in constant time, so the answer's timing tells nothing of the token.
    fn authorize(&self, headers: &HeaderMap) -> Result<(), Answer> {
        let Some(token) = &self.token else { return Ok(()) };
        let shown =
            headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
                let (scheme, token) = value.split_once(' ')?;
                scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
            });
        match shown {
            Some(shown) if blake3::hash(shown.as_bytes()) == *token => Ok(()),
            Some(_) => Err(Answer::error(StatusCode::UNAUTHORIZED, "the bearer token is wrong")),
            None => Err(Answer::error(
                StatusCode::UNAUTHORIZED,
                "a bearer token is required (authorization: Bearer …)",
            )),
        }
    }

    async fn receive(&self, headers: &HeaderMap, body: Body) -> Result<bytes::Bytes, Answer> {
        let limit = self.max_body;
        let too_large = || refuse(&BodyError::TooLarge { limit, decompressed: false });
        if length_hint(headers) > limit {
            return Err(too_large());
        }
        match tokio::time::timeout(BODY_TIME, to_bytes(body, limit)).await {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(error)) if chain(&error).any(|cause| cause.to_string().contains("length limit")) => {
                Err(too_large())
            }
            Ok(Err(error)) => {
                Err(Answer::error(StatusCode::BAD_REQUEST, format!("the body did not arrive: {error}")))
            }
            Err(_) => Err(Answer::error(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in 30 s")),
        }
    }

    async fn store(&self, decoded: Decoded, id: Option<String>) -> Result<Answer, Answer> {
        let (accepted, dead) = (decoded.events.len() as u64, decoded.dead_letters.len() as u64);
        let mut stored = None;
        if accepted + dead > 0 {
            if let Some(first) = decoded.dead_letters.first() {
                tracing::warn!(dead_letters = dead, reason = first.reason, "items kept as dead letters");
            }
            let named = id.is_some();
            let commit =
                self.sink.store(decoded.events, decoded.dead_letters, id.map(|id| format!("http:{id}")));
            stored = Some(commit.await.map_err(|error| unavailable(&error, named))?);
        }
        let repeated = stored.is_some_and(|stored| stored.repeated);
        if !repeated {
            self.accepted.fetch_add(accepted, Ordering::Relaxed);
            self.dead_letters.fetch_add(dead, Ordering::Relaxed);
        }
        Ok(Answer::ok(serde_json::json!({
            "accepted": accepted,
            "dead_letters": dead,
            "repeated": repeated,
            "seq": stored.map(|stored: Stored| stored.seq),
        })))
    }
}

/// The body's length as its sender tells it; 0 when it does not.
fn length_hint(headers: &HeaderMap) -> usize {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    length.and_then(|length| length.parse().ok()).unwrap_or(0)
}

fn batch_id(headers: &HeaderMap) -> Result<Option<String>, Answer> {
    let Some(value) = headers.get(BATCH_ID) else { return Ok(None) };
    match value.to_str().map(str::trim) {
        Ok(id) if !id.is_empty() && id.len() <= MAX_BATCH_ID => Ok(Some(id.to_owned())),
        _ => Err(Answer::error(
            StatusCode::BAD_REQUEST,
            format!("{BATCH_ID} must be 1 to {MAX_BATCH_ID} visible ASCII characters"),
        )),
    }
}

fn accept_encoding(headers: &HeaderMap) -> Result<(), Answer> {
    for value in headers.get_all(header::CONTENT_ENCODING) {
        let name = value.to_str().unwrap_or("?").trim().to_ascii_lowercase();
        if !matches!(name.as_str(), "" | "identity" | "gzip" | "x-gzip") {
            return Err(Answer::error(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                format!("content-encoding `{name}` is not supported: send gzip or none"),
            ));
        }
    }
    Ok(())
}

/// A body that cannot be read.
fn refuse(error: &BodyError) -> Answer {
    match error {
        BodyError::TooLarge { .. } => Answer::error(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
        BodyError::Gzip(cause) => Answer::error(StatusCode::BAD_REQUEST, format!("{error}: {cause}")),
        BodyError::Split(split) => Answer::error(StatusCode::BAD_REQUEST, error.to_string()).at(split.offset),
    }
}

/// A commit that failed.
fn unavailable(error: &parquedb::Error, named: bool) -> Answer {
    use parquedb::ErrorKind;
    tracing::error!(kind = ?error.kind(), error = %error, "commit failed");
    match error.kind() {
        ErrorKind::Unavailable | ErrorKind::Conflict | ErrorKind::Closed => {
            Answer::retry(error.to_string(), 2)
        }
        ErrorKind::OutcomeUnknown if named => Answer::retry(error.to_string(), 2),
        ErrorKind::OutcomeUnknown => Answer::error(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("{error}; without {BATCH_ID} sending it again may store it twice"),
        ),
        _ => Answer::error(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// An error and its causes.
pub(crate) fn chain<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

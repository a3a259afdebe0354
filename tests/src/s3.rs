//! An S3 server in memory on loopback, with faults on order.
//!
//! It speaks the real protocol (signatures, XML, status codes) to real clients over real sockets, so
//! a test sees what its client makes of a fault: what it retries, what it hides, what it misreads.
//! Conditional writes are atomic.

mod fault;
mod objects;

pub use fault::{Effect, Fault, Operation};

use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use object_store::aws::AmazonS3Builder;
use objects::Objects;
use s3s::Body;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// The access key that the server accepts.
pub const ACCESS_KEY: &str = "parquedb-test";
/// The secret key that the server accepts.
pub const SECRET_KEY: &str = "parquedb-test-secret";
/// The region that clients sign for.
pub const REGION: &str = "us-east-1";

/// A running server. It serves on a thread of its own until dropped.
pub struct S3Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    objects: Objects,
    service: S3Service,
    requests: Mutex<Vec<(Operation, String)>>,
    script: Mutex<Vec<Fault>>,
}

impl S3Server {
    /// Starts a server without buckets on a free port of the loopback interface.
    ///
    /// # Panics
    /// When the machine gives no port or no thread: the calling test cannot run.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test without its server has failed")]
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("binding a loopback port");
        listener.set_nonblocking(true).expect("making the listener non-blocking");
        let address = listener.local_addr().expect("the listener's address");
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("starting a runtime");

        let objects = Objects::default();
        let mut builder = S3ServiceBuilder::new(objects.clone());
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let shared = Arc::new(Shared {
            objects,
            service: builder.build(),
            requests: Mutex::default(),
            script: Mutex::default(),
        });

        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("s3-server".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    tokio::select! {
                        () = accept(listener, serving) => {}
                        _ = stopped => {}
                    }
                });
            })
            .expect("starting the server's thread");
        Self { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// The server's URL, `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Creates an empty bucket, unless it exists.
    pub fn create_bucket(&self, name: &str) {
        self.shared.objects.lock().buckets.entry(name.to_owned()).or_default();
    }

    /// A client's configuration for a bucket of this server.
    #[must_use]
    pub fn client(&self, bucket: &str) -> AmazonS3Builder {
        AmazonS3Builder::new()
            .with_endpoint(self.endpoint())
            .with_allow_http(true)
            .with_region(REGION)
            .with_access_key_id(ACCESS_KEY)
            .with_secret_access_key(SECRET_KEY)
            .with_bucket_name(bucket)
    }

    /// The environment that points a program's S3 client at this server.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT", self.endpoint()),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
        ]
    }

    /// The keys of a bucket with their sizes in bytes, in key order. Empty for a missing bucket.
    #[must_use]
    pub fn objects(&self, bucket: &str) -> Vec<(String, u64)> {
        let state = self.shared.objects.lock();
        let objects = state.buckets.get(bucket).into_iter().flatten();
        objects.map(|(key, stored)| (key.clone(), stored.bytes.len() as u64)).collect()
    }

    /// Has the server take every put from now on, whatever `If-None-Match` and `If-Match` say, as some do.
    pub fn ignore_conditions(&self) {
        self.shared.objects.lock().ignores_conditions = true;
    }

    /// How many requests of each operation came in since the start or the last [`Self::forget`],
    /// those that met a fault included.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<Operation, u64> {
        let mut counts = BTreeMap::new();
        for (operation, _) in lock(&self.shared.requests).iter() {
            *counts.entry(*operation).or_default() += 1;
        }
        counts
    }

    /// The same requests in their order, each with its key (empty for a bucket's).
    #[must_use]
    pub fn requests(&self) -> Vec<(Operation, String)> {
        lock(&self.shared.requests).clone()
    }

    /// Forgets all requests so far.
    pub fn forget(&self) {
        lock(&self.shared.requests).clear();
    }

    /// Has the next request of this operation meet a fault.
    pub fn fail_next(&self, operation: Operation, effect: Effect) {
        self.fail(Fault::on(operation, effect));
    }

    /// Adds a fault to the script. Of several faults that match a request, the oldest acts.
    pub fn fail(&self, fault: Fault) {
        lock(&self.shared.script).push(fault);
    }

    /// Drops all faults of the script.
    pub fn heal(&self) {
        lock(&self.shared.script).clear();
    }

    /// How many faults of the script have not acted yet, or not for the last time.
    #[must_use]
    pub fn pending_faults(&self) -> usize {
        lock(&self.shared.script).len()
    }
}

impl fmt::Debug for S3Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Server").field("endpoint", &self.endpoint()).finish_non_exhaustive()
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        // Either fails only when the thread has ended by itself, which is what is wanted.
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::expect_used, reason = "a test without its server has failed")]
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("registering the listener");
    loop {
        // An accept fails when the client is gone already; the next one may not.
        let Ok((stream, _)) = listener.accept().await else { continue };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(move |request| serve(Arc::clone(&shared), request));
            // A connection fails when its client goes away or when a fault closes it.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// Closes the connection: the way a fault gives no answer.
#[derive(Debug)]
struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("closed by a fault")
    }
}

impl std::error::Error for Closed {}

type Served = Result<Response<Body>, Box<dyn std::error::Error + Send + Sync>>;

async fn serve(shared: Arc<Shared>, request: Request<Incoming>) -> Served {
    // The whole request is read before any fault acts, so that it can be applied without its client.
    let (parts, body) = request.into_parts();
    let body = Body::from(body).store_all_limited(usize::MAX).await?;
    let request = Request::from_parts(parts, Body::from(body));

    let (operation, key) = classify(&request);
    lock(&shared.requests).push((operation, key.clone()));
    let effect = fault::take(&mut lock(&shared.script), operation, &key);
    let Some(effect) = effect else { return apply(&shared, request).await };
    match effect {
        Effect::Refuse(status) => refusal(status),
        Effect::Drop => Err(Closed.into()),
        Effect::ApplyThenRefuse(status) => {
            apply(&shared, request).await?;
            refusal(status)
        }
        Effect::ApplyThenDrop => {
            apply(&shared, request).await?;
            Err(Closed.into())
        }
        Effect::ApplyThenDelay(time) => {
            let answer = apply(&shared, request).await;
            tokio::time::sleep(time).await;
            answer
        }
        Effect::ApplyLater(time) => {
            tokio::spawn(async move {
                tokio::time::sleep(time).await;
                // Nobody waits for this answer.
                let _ = apply(&shared, request).await;
            });
            Err(Closed.into())
        }
        Effect::Delay(time) => {
            tokio::time::sleep(time).await;
            apply(&shared, request).await
        }
        Effect::CutBody | Effect::ShortBody | Effect::FlipBit => {
            spoil(apply(&shared, request).await?, effect).await
        }
    }
}

async fn apply(shared: &Shared, request: Request<Body>) -> Served {
    shared.service.call(request).await.map_err(Into::into)
}

/// The operation of a request and the key it is about.
fn classify(request: &Request<Body>) -> (Operation, String) {
    let path = request.uri().path().trim_start_matches('/');
    let key = path.split_once('/').map(|(_, key)| percent_decode(key)).unwrap_or_default();
    let query = request.uri().query().unwrap_or_default();
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    let operation = match (request.method(), key.is_empty()) {
        (&Method::GET, true) if has("list-type") => Operation::ListObjects,
        (&Method::POST, true) if has("delete") => Operation::DeleteObjects,
        (_, true) => Operation::Other,
        (&Method::PUT, _) if has("partNumber") => Operation::UploadPart,
        (&Method::PUT, _) if request.headers().contains_key("x-amz-copy-source") => Operation::CopyObject,
        (&Method::PUT, _) => Operation::PutObject,
        (&Method::GET, _) => Operation::GetObject,
        (&Method::HEAD, _) => Operation::HeadObject,
        (&Method::DELETE, _) if has("uploadId") => Operation::AbortMultipartUpload,
        (&Method::DELETE, _) => Operation::DeleteObject,
        (&Method::POST, _) if has("uploads") => Operation::CreateMultipartUpload,
        (&Method::POST, _) if has("uploadId") => Operation::CompleteMultipartUpload,
        _ => Operation::Other,
    };
    (operation, key)
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = tail
            .get(..2)
            .filter(|_| first == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(code.unwrap_or(first));
        rest = if code.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An error as S3 words it.
fn refusal(status: u16) -> Served {
    let code = match status {
        409 => "ConditionalRequestConflict",
        412 => "PreconditionFailed",
        429 => "TooManyRequests",
        503 => "SlowDown",
        _ => "InternalError",
    };
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>a fault of the test</Message></Error>"
    );
    Ok(Response::builder()
        .status(StatusCode::from_u16(status)?)
        .header(CONTENT_TYPE, "application/xml")
        .body(Body::from(xml))?)
}

/// The answer with a damaged body.
async fn spoil(answer: Response<Body>, effect: Effect) -> Served {
    let (mut parts, mut body) = answer.into_parts();
    let bytes = body.store_all_limited(usize::MAX).await?;
    let half = bytes.len() / 2;
    let body = match effect {
        Effect::CutBody => {
            let pieces = [Ok(bytes.slice(..half)), Err(std::io::Error::other(Closed))];
            Body::from(s3s::dto::StreamingBlob::wrap(futures::stream::iter(pieces)))
        }
        Effect::FlipBit if !bytes.is_empty() => {
            let mut bytes = bytes.to_vec();
            bytes[half] ^= 1;
            Body::from(bytes)
        }
        Effect::ShortBody => {
            parts.headers.insert(CONTENT_LENGTH, half.into());
            Body::from(bytes.slice(..half))
        }
        _ => Body::from(bytes),
    };
    Ok(Response::from_parts(parts, body))
}

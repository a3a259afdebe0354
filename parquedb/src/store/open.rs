//! From a URL to an object store.

use super::{Durability, LocalStore, Store};
use crate::error::{Error, Result};
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{BackoffConfig, ObjectStore, RetryConfig};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;
use url::Url;

const ACCEPTED: &str = "accepted are `memory:///`, `memory:///name`, `file:///path`, a plain path, \
    `s3://bucket/prefix` and `https://<account>.r2.cloudflarestorage.com/bucket/prefix`";

/// The named stores in memory of this process.
static NAMED: LazyLock<Mutex<HashMap<String, Arc<InMemory>>>> = LazyLock::new(Mutex::default);

pub(super) fn open(url: &str, durability: Durability) -> Result<Store> {
    let Some((scheme, _)) = url.split_once("://") else {
        if let Some(scheme) = mistyped_scheme(url) {
            return Err(Error::invalid(format!(
                "`{url}` is neither a URL, which has `//` after `{scheme}:`, nor a folder; {ACCEPTED}"
            )));
        }
        return open_folder(std::path::Path::new(url), durability);
    };
    let parsed = Url::parse(url).map_err(|error| {
        Error::invalid(format!("the database URL, of scheme `{scheme}`, is malformed: {error}; {ACCEPTED}"))
    })?;
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(Error::invalid(
            "the database URL contains credentials; put them into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ));
    }
    if parsed.query().is_some() || parsed.fragment().is_some() {
        let shown = without_query(&parsed);
        return Err(Error::invalid(format!("the database URL {shown} has a `?` or `#` part; {ACCEPTED}")));
    }
    match parsed.scheme() {
        "memory" => open_memory(&parsed),
        "file" => match parsed.to_file_path() {
            Ok(path) => open_folder(&path, durability),
            Err(()) => Err(Error::invalid(format!(
                "{url} does not name a local folder; write `file:///path` with three slashes"
            ))),
        },
        "s3" | "s3a" => {
            let bucket = parsed.host_str().unwrap_or_default();
            open_bucket(&parsed, bucket, parsed.path(), None)
        }
        "https" if parsed.host_str().is_some_and(|host| host.ends_with(".r2.cloudflarestorage.com")) => {
            let path = parsed.path().trim_start_matches('/');
            let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
            let endpoint = format!("https://{}", parsed.host_str().unwrap_or_default());
            open_bucket(&parsed, bucket, prefix, Some(&endpoint))
        }
        other => Err(Error::invalid(format!("no store is known for `{other}` URLs; {ACCEPTED}"))),
    }
}

/// The scheme of a URL with one slash too few: a folder of that name would hide what went wrong.
fn mistyped_scheme(path: &str) -> Option<&str> {
    let (scheme, _) = path.split_once(":/")?;
    // One letter is a Windows drive.
    let named = scheme.len() > 1 && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric());
    named.then_some(scheme)
}

fn without_query(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

fn open_memory(url: &Url) -> Result<Store> {
    if url.has_host() {
        return Err(Error::invalid(format!("{url} is malformed: write `memory:///` with three slashes")));
    }
    let name = url.path().trim_matches('/');
    let inner = if name.is_empty() {
        Arc::new(InMemory::new())
    } else {
        let mut named = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(named.entry(name.to_owned()).or_default())
    };
    Ok(Store::with_url(inner, &Path::default(), url.as_str()))
}

fn open_folder(path: &std::path::Path, durability: Durability) -> Result<Store> {
    let absolute = std::path::absolute(path).map_err(|error| {
        Error::with_source(
            crate::ErrorKind::Invalid,
            format!("`{}` is not a path to a folder; {ACCEPTED}", path.display()),
            error,
        )
    })?;
    Ok(Store::with_local(LocalStore::new(absolute, durability)))
}

fn set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// Whether the environment says where credentials come from. Without this check object_store would
/// ask the metadata service of EC2, which takes long to fail anywhere else.
fn check_credentials(url: &Url) -> Result<()> {
    const OTHER_SOURCES: [&str; 5] = [
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_SKIP_SIGNATURE",
        "AWS_METADATA_ENDPOINT",
    ];
    let (id, secret) = (set("AWS_ACCESS_KEY_ID"), set("AWS_SECRET_ACCESS_KEY"));
    if (id && secret) || (!id && !secret && OTHER_SOURCES.iter().any(|name| set(name))) {
        return Ok(());
    }
    let missing = match (id, secret) {
        (true, _) => "AWS_SECRET_ACCESS_KEY is not set",
        (_, true) => "AWS_ACCESS_KEY_ID is not set",
        _ => "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set",
    };
    Err(Error::invalid(format!(
        "no credentials for {url}: {missing} (on an EC2 instance with a role, set AWS_METADATA_ENDPOINT \
         to http://169.254.169.254)"
    )))
}

fn open_bucket(url: &Url, bucket: &str, prefix: &str, endpoint: Option<&str>) -> Result<Store> {
    if bucket.is_empty() {
        return Err(Error::invalid(format!("{url} names no bucket; {ACCEPTED}")));
    }
    check_credentials(url)?;
    let prefix = Path::from_url_path(prefix.trim_matches('/')).map_err(|error| {
        Error::with_source(crate::ErrorKind::Invalid, format!("{url} has an unusable path"), error)
    })?;
    // Few retries: retries hide the throttling of one key and delay the log's own resolution.
    let retry = RetryConfig {
        max_retries: 2,
        retry_timeout: Duration::from_secs(20),
        backoff: BackoffConfig::default(),
    };
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_retry(retry);
    let environment_endpoint = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    let endpoint = endpoint.map(str::to_owned).or(environment_endpoint);
    let is_r2 = endpoint.as_deref().is_some_and(|endpoint| endpoint.contains(".r2.cloudflarestorage.com"));
    if let Some(endpoint) = &endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if is_r2 && !set("AWS_REGION") && !set("AWS_DEFAULT_REGION") {
        builder = builder.with_region("auto");
    }
    let built = builder.build().map_err(|error| {
        Error::with_source(
            crate::ErrorKind::Invalid,
            format!("cannot use {url}: the AWS_* environment variables are not usable: {error}"),
            error,
        )
    })?;
    let inner: Arc<dyn ObjectStore> = Arc::new(built);
    Ok(Store::with_url(inner, &prefix, url.as_str()))
}

//! Stores that fail as told: for tests of this workspace. Not part of the public interface.

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::sync::{Arc, Mutex, PoisonError};

/// Kinds of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// A put of any mode.
    Put,
    /// A read.
    Get,
    /// A removal.
    Delete,
    /// A listing.
    List,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The store does nothing and gives an error of which the cause is not known.
    FailBefore,
    /// The store does it and gives an error of which the cause is not known.
    ApplyThenFail,
    /// The store does it and says "already exists": object_store's own retry met its first request.
    ApplyThenExists,
    /// The store does nothing and says "already exists": a 409, as object_store reports it.
    Undecided,
    /// The store does nothing and refuses for want of permission.
    Refuse,
    /// The store does it and never answers.
    ApplyThenHang,
    /// The store does nothing and never answers.
    Hang,
    /// The store does nothing until the next request for the same object, and then first does this.
    ApplyLater,
}

#[derive(Debug)]
struct Rule {
    request: Request,
    path_contains: String,
    skip: usize,
    times: usize,
    fault: Fault,
}

#[derive(Debug, Default)]
struct Script {
    rules: Vec<Rule>,
    delayed: Vec<(Path, PutPayload, PutOptions)>,
    requests: usize,
    /// From this request on nothing is done; with the flag, that one is still done, but not answered.
    crash: Option<(usize, bool)>,
}

/// A store that fails as told.
#[derive(Debug, Clone)]
pub struct FaultStore {
    inner: Arc<dyn ObjectStore>,
    script: Arc<Mutex<Script>>,
}

fn unknown(what: &'static str) -> Error {
    Error::Generic { store: "FaultStore", source: what.into() }
}

impl FaultStore {
    /// A store without faults yet.
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, script: Arc::default() }
    }

    fn script<T>(&self, with: impl FnOnce(&mut Script) -> T) -> T {
        with(&mut self.script.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Plans a fault: for requests of this kind on paths that contain the text, after leaving out
    /// the first `skip` of them, `times` times.
    pub fn plan(&self, request: Request, path_contains: &str, skip: usize, times: usize, fault: Fault) {
        let path_contains = path_contains.to_owned();
        self.script(|script| script.rules.push(Rule { request, path_contains, skip, times, fault }));
    }

    /// Fails everything from request number `at` (from zero) on. With `applied` that request itself
    /// is still done, but not answered.
    pub fn crash_at(&self, at: usize, applied: bool) {
        self.script(|script| script.crash = Some((at, applied)));
    }

    /// Forgets all plans.
    pub fn heal(&self) {
        self.script(|script| {
            script.rules.clear();
            script.crash = None;
        });
    }

    /// The requests so far.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.script(|script| script.requests)
    }

    fn fault(&self, request: Request, path: &Path) -> Option<Fault> {
        self.script(|script| {
            let number = script.requests;
            script.requests += 1;
            if let Some((at, applied)) = script.crash
                && number >= at
            {
                let is_done = number == at && applied;
                return Some(if is_done { Fault::ApplyThenFail } else { Fault::FailBefore });
            }
            let matches = |rule: &&mut Rule| {
                rule.times > 0 && rule.request == request && path.as_ref().contains(&rule.path_contains)
            };
            let rule = script.rules.iter_mut().find(matches)?;
            if rule.skip > 0 {
                rule.skip -= 1;
                return None;
            }
            rule.times -= 1;
            Some(rule.fault)
        })
    }

    async fn apply_delayed(&self, location: &Path) {
        let delayed = self.script(|script| {
            let (due, rest) =
                std::mem::take(&mut script.delayed).into_iter().partition(|(path, ..)| path == location);
            script.delayed = rest;
            let due: Vec<(Path, PutPayload, PutOptions)> = due;
            due
        });
        for (path, payload, options) in delayed {
            // Its outcome was lost with its answer.
            let _ = self.inner.put_opts(&path, payload, options).await;
        }
    }
}

impl std::fmt::Display for FaultStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FaultStore({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.apply_delayed(location).await;
        let exists = || Error::AlreadyExists { path: location.to_string(), source: "scripted".into() };
        match self.fault(Request::Put, location) {
            None => self.inner.put_opts(location, payload, opts).await,
            Some(Fault::FailBefore) => Err(unknown("failed before")),
            Some(Fault::ApplyThenFail) => {
                self.inner.put_opts(location, payload, opts).await?;
                Err(unknown("failed after"))
            }
            Some(Fault::ApplyThenExists) => {
                self.inner.put_opts(location, payload, opts).await?;
                Err(exists())
            }
            Some(Fault::Undecided) => Err(exists()),
            Some(Fault::Refuse) => {
                Err(Error::PermissionDenied { path: location.to_string(), source: "scripted".into() })
            }
            Some(Fault::ApplyThenHang) => {
                self.inner.put_opts(location, payload, opts).await?;
                std::future::pending().await
            }
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::ApplyLater) => {
                self.script(|script| script.delayed.push((location.clone(), payload, opts)));
                Err(unknown("no answer"))
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        match self.fault(Request::Get, location) {
            None => self.inner.get_opts(location, options).await,
            Some(Fault::Hang | Fault::ApplyThenHang) => std::future::pending().await,
            Some(_) => Err(unknown("read failed")),
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let each = move |location: Result<Path>| {
            let store = store.clone();
            async move {
                let location = location?;
                if store.fault(Request::Delete, &location).is_some() {
                    return Err(unknown("delete failed"));
                }
                let one = stream::once(async { Ok(location) }).boxed();
                match store.inner.delete_stream(one).next().await {
                    Some(result) => result,
                    None => Err(unknown("nothing was deleted")),
                }
            }
        };
        locations.then(each).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.fault(Request::List, prefix.unwrap_or(&Path::default())) {
            None => self.inner.list(prefix),
            Some(_) => stream::once(async { Err(unknown("list failed")) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        match self.fault(Request::List, prefix.unwrap_or(&Path::default())) {
            None => self.inner.list_with_delimiter(prefix).await,
            Some(_) => Err(unknown("list failed")),
        }
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

//! A store that fails as told, or by chance.

use super::body::damaged;
use super::random::Random;
use super::script::{Chance, Fault, Late, Request, Rule, Script};
use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::sync::{Arc, Mutex, PoisonError};

/// A store that fails as told. Clones share what they were told.
#[derive(Debug, Clone)]
pub struct FaultStore {
    inner: Arc<dyn ObjectStore>,
    script: Arc<Mutex<Script>>,
}

/// The error of a store of which nobody can tell what it did.
pub(super) fn unknown(what: &str) -> Error {
    Error::Generic { store: "FaultStore", source: what.into() }
}

/// The error of a fault that answers.
fn answer(fault: Fault, location: &Path) -> Error {
    let path = location.to_string();
    match fault {
        Fault::ApplyThenExists | Fault::Undecided => Error::AlreadyExists { path, source: "scripted".into() },
        Fault::Refuse => Error::PermissionDenied { path, source: "scripted".into() },
        Fault::Throttle => {
            unknown("Server returned non-2xx status code: 429 Too Many Requests, after 2 retries")
        }
        Fault::ApplyThenFail => unknown("failed after"),
        Fault::ApplyLater => unknown("no answer"),
        _ => unknown("failed before"),
    }
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

    /// From now on one of `one_in` requests fails, in any of the ways there are for it but those left
    /// out; which and how follows from the seed and the order of the requests.
    pub fn fail_randomly(&self, seed: u64, one_in: u64, except: &[Fault]) {
        let chance = Chance { random: Random::new(seed), one_in, except: except.to_vec() };
        self.script(|script| script.chance = Some(chance));
    }

    /// Fails everything from request number `at` (from zero) on. With `applied` that request itself
    /// is still done, but not answered.
    pub fn crash_at(&self, at: usize, applied: bool) {
        self.script(|script| script.crash = Some((at, applied)));
    }

    /// Forgets all plans. Late requests stay late.
    pub fn heal(&self) {
        self.script(|script| {
            script.rules.clear();
            script.crash = None;
            script.chance = None;
        });
    }

    /// The requests so far.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.script(|script| script.requests)
    }

    /// The faults so far.
    #[must_use]
    pub fn faults(&self) -> usize {
        self.script(|script| script.faults)
    }

    /// Carries out all late requests now. Gives how many there were.
    pub async fn land(&self) -> usize {
        let late = self.script(|script| std::mem::take(&mut script.late));
        let landed = late.len();
        self.carry_out(late).await;
        landed
    }

    fn fault(&self, request: Request, path: &Path) -> Option<Fault> {
        self.script(|script| script.fault(request, path))
    }

    async fn carry_out(&self, late: Vec<Late>) {
        for request in late {
            // The outcome was lost with the answer.
            let _ = match request {
                Late::Put(path, payload, options) => {
                    self.inner.put_opts(&path, payload, options).await.map(|_| ())
                }
                Late::Delete(path) => self.inner.delete(&path).await,
            };
        }
    }

    async fn delete_one(&self, location: Path) -> Result<Path> {
        let fault = self.fault(Request::Delete, &location);
        let is_applied = matches!(fault, None | Some(Fault::ApplyThenFail | Fault::ApplyThenHang));
        if is_applied {
            self.inner.delete(&location).await?;
        }
        match fault {
            None => Ok(location),
            Some(Fault::Hang | Fault::ApplyThenHang) => std::future::pending().await,
            Some(fault) => {
                if fault == Fault::ApplyLater {
                    self.script(|script| script.late.push(Late::Delete(location.clone())));
                }
                Err(answer(fault, &location))
            }
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
        let due = self.script(|script| script.due(location));
        self.carry_out(due).await;
        match self.fault(Request::Put, location) {
            None => self.inner.put_opts(location, payload, opts).await,
            Some(fault @ (Fault::ApplyThenFail | Fault::ApplyThenExists)) => {
                self.inner.put_opts(location, payload, opts).await?;
                Err(answer(fault, location))
            }
            Some(Fault::ApplyThenHang) => {
                self.inner.put_opts(location, payload, opts).await?;
                std::future::pending().await
            }
            Some(Fault::Hang) => std::future::pending().await,
            Some(fault) => {
                if fault == Fault::ApplyLater {
                    let late = Late::Put(location.clone(), payload, opts);
                    self.script(|script| script.late.push(late));
                }
                Err(answer(fault, location))
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
            Some(fault @ (Fault::Truncate | Fault::Flip)) => {
                damaged(self.inner.get_opts(location, options).await?, fault).await
            }
            Some(fault) => Err(answer(fault, location)),
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let each = move |location: Result<Path>| {
            let store = store.clone();
            async move { store.delete_one(location?).await }
        };
        locations.then(each).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let place = prefix.cloned().unwrap_or_default();
        match self.fault(Request::List, &place) {
            None => self.inner.list(prefix),
            Some(Fault::Hang | Fault::ApplyThenHang) => stream::pending().boxed(),
            Some(Fault::Truncate) => {
                let listed = self.inner.list(prefix);
                let halved = async move {
                    let mut objects: Vec<ObjectMeta> = listed.try_collect().await?;
                    objects.truncate(objects.len() / 2);
                    let broken = std::iter::once(Err(unknown("the listing broke off")));
                    Ok::<_, Error>(stream::iter(objects.into_iter().map(Ok).chain(broken)))
                };
                stream::once(halved).try_flatten().boxed()
            }
            Some(fault) => stream::once(async move { Err(answer(fault, &place)) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let place = prefix.cloned().unwrap_or_default();
        match self.fault(Request::List, &place) {
            None => self.inner.list_with_delimiter(prefix).await,
            Some(Fault::Hang | Fault::ApplyThenHang) => std::future::pending().await,
            Some(fault) => Err(answer(fault, &place)),
        }
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

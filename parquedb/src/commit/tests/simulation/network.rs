//! The store and the way to it: every request takes its time, may fail, and may be carried out long after
//! whoever sent it has given up or died.

use crate::clock::Clock;
use crate::testing::{ClockedStore, Fault, Random, Request};
use crate::time::{self, Instant};
use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A clock of the simulation, possibly wrong.
#[derive(Debug, Clone)]
pub(super) struct SimulatedClock {
    pub(super) start: Instant,
    /// Microseconds before or behind.
    pub(super) skew: i64,
    /// Microseconds gained or lost per second.
    pub(super) drift: i64,
}

/// When the simulation begins, in microseconds since 1970.
const EPOCH: i64 = 1_700_000_000_000_000;

impl Clock for SimulatedClock {
    fn now(&self) -> i64 {
        let passed = i64::try_from((time::now() - self.start).as_micros()).unwrap();
        EPOCH + passed + self.skew + passed / 1_000_000 * self.drift
    }
}

/// What a seed has in store.
#[derive(Debug, Clone)]
pub(super) struct Weather {
    /// One of so many requests fails; none for zero.
    pub(super) fails: u64,
    /// One of so many requests takes minutes or hours.
    pub(super) stalls: u64,
    /// Bodies may arrive damaged.
    pub(super) damages: bool,
}

#[derive(Debug)]
struct Network {
    store: ClockedStore,
    weather: Weather,
    random: Mutex<Random>,
    calm: AtomicBool,
    requests: AtomicU64,
    faults: AtomicU64,
}

/// One process's way to the store. Clones are of the same process.
#[derive(Debug, Clone)]
pub(super) struct Handle {
    network: Arc<Network>,
    is_dead: Arc<AtomicBool>,
}

/// What becomes of a request.
#[derive(Debug)]
struct Plan {
    before: Duration,
    after: Duration,
    fault: Option<Fault>,
    late: Duration,
    in_pages: bool,
}

type Apply<T> = Box<dyn FnOnce(ClockedStore) -> BoxFuture<'static, Result<T>> + Send>;

fn unknown(what: &str) -> Error {
    Error::Generic { store: "Simulated", source: what.into() }
}

impl Network {
    fn plan(&self, request: Request) -> Plan {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let random = &mut *self.random.lock().unwrap();
        let weather = &self.weather;
        let is_calm = self.calm.load(Ordering::Relaxed);
        let fault = (weather.fails > 0 && !is_calm && random.one_in(weather.fails))
            .then(|| *random.pick(Fault::all(request)))
            .filter(|fault| weather.damages || !matches!(fault, Fault::Flip | Fault::Truncate));
        self.faults.fetch_add(u64::from(fault.is_some()), Ordering::Relaxed);
        let mut latency = || {
            let most = match random.below(100) {
                _ if !is_calm && weather.stalls > 0 && random.one_in(weather.stalls) => 3 * 3_600_000_000,
                0..2 => 20_000_000,
                2..10 => 1_000_000,
                _ => 30_000,
            };
            Duration::from_micros(random.below(most))
        };
        let (before, after) = (latency(), latency());
        let late = Duration::from_millis(match random.below(4) {
            0 => random.below(5 * 3_600_000),
            1 => random.below(120_000),
            _ => random.below(20_000),
        });
        Plan { before, after, fault, late, in_pages: random.one_in(4) }
    }
}

impl Handle {
    /// The way of a first process to a new store.
    pub(super) fn new(start: Instant, weather: Weather, random: Random) -> Self {
        let clock = Arc::new(SimulatedClock { start, skew: 0, drift: 0 });
        let network = Network {
            store: ClockedStore::new(clock),
            weather,
            random: Mutex::new(random),
            calm: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            faults: AtomicU64::new(0),
        };
        Self { network: Arc::new(network), is_dead: Arc::default() }
    }

    /// The way of another process.
    pub(super) fn another(&self) -> Self {
        Self { network: Arc::clone(&self.network), is_dead: Arc::default() }
    }

    /// The process dies: nothing is sent any more, and no answer arrives. What was sent is under way.
    pub(super) fn die(&self) {
        self.is_dead.store(true, Ordering::Relaxed);
    }

    /// From now on nothing fails or takes long.
    pub(super) fn calm_down(&self) {
        self.network.calm.store(true, Ordering::Relaxed);
    }

    /// The store itself, which answers at once.
    pub(super) fn store(&self) -> ClockedStore {
        self.network.store.clone()
    }

    /// Requests and faults so far.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.network.requests.load(Ordering::Relaxed), self.network.faults.load(Ordering::Relaxed))
    }

    async fn ask<T: Send + 'static>(&self, request: Request, path: String, apply: Apply<T>) -> Result<T> {
        self.ask_planned(self.network.plan(request), path, apply).await
    }

    async fn ask_planned<T: Send + 'static>(&self, plan: Plan, path: String, apply: Apply<T>) -> Result<T> {
        if self.is_dead.load(Ordering::Relaxed) {
            return std::future::pending().await;
        }
        let (answer, answered) = tokio::sync::oneshot::channel();
        let store = self.network.store.clone();
        // It is under way whether anybody waits for it or not.
        tokio::spawn(async move {
            time::sleep(plan.before).await;
            let exists = || Error::AlreadyExists { path: path.clone(), source: "simulated".into() };
            let (result, late) = match plan.fault {
                None | Some(Fault::Flip | Fault::Truncate) => (apply(store).await, None),
                Some(Fault::ApplyThenFail) => (apply(store).await.and(Err(unknown("failed after"))), None),
                Some(Fault::ApplyThenExists) => (apply(store).await.and(Err(exists())), None),
                Some(Fault::ApplyThenHang) => {
                    let result = apply(store).await;
                    time::sleep(plan.late).await;
                    (result.and(Err(unknown("timed out after"))), None)
                }
                Some(Fault::Hang) => {
                    time::sleep(plan.late).await;
                    (Err(unknown("timed out before")), None)
                }
                Some(Fault::Undecided) => (Err(exists()), None),
                Some(Fault::Refuse) => {
                    (Err(Error::PermissionDenied { path, source: "simulated".into() }), None)
                }
                Some(Fault::Throttle) => (Err(unknown("429 Too Many Requests")), None),
                Some(Fault::FailBefore) => (Err(unknown("failed before")), None),
                Some(Fault::ApplyLater) => (Err(unknown("no answer")), Some((store, apply))),
            };
            time::sleep(plan.after).await;
            // Nobody listens when it took too long.
            let _ = answer.send(result);
            if let Some((store, apply)) = late {
                time::sleep(plan.late).await;
                let _ = apply(store).await;
            }
        });
        let result = answered.await.unwrap_or_else(|_| Err(unknown("the connection was closed")));
        if self.is_dead.load(Ordering::Relaxed) {
            return std::future::pending().await;
        }
        result
    }

    async fn delete_one(&self, location: Path) -> Result<Path> {
        let path = location.to_string();
        let apply: Apply<Path> = Box::new(move |store| {
            async move {
                let mut deleted = store.delete_stream(stream::once(async { Ok(location) }).boxed());
                deleted.next().await.unwrap()
            }
            .boxed()
        });
        self.ask(Request::Delete, path, apply).await
    }

    /// A listing, of which the second page may be read later than the first.
    async fn list_all(self, prefix: Option<Path>) -> Result<Vec<ObjectMeta>> {
        let plan = self.network.plan(Request::List);
        let fails_within = plan.fault == Some(Fault::Truncate);
        let (in_pages, pause) = (plan.in_pages, plan.after);
        let path = prefix.clone().unwrap_or_default().to_string();
        let apply: Apply<Vec<ObjectMeta>> = Box::new(move |store| {
            async move {
                let mut first: Vec<ObjectMeta> = store.list(prefix.as_ref()).try_collect().await?;
                first.sort_by(|one, other| one.location.cmp(&other.location));
                if !in_pages || first.len() < 2 {
                    return Ok(first);
                }
                first.truncate(first.len() / 2);
                time::sleep(pause).await;
                if fails_within {
                    return Err(unknown("the listing broke off"));
                }
                let last = first.last().unwrap().location.clone();
                let mut second: Vec<ObjectMeta> =
                    store.list_with_offset(prefix.as_ref(), &last).try_collect().await?;
                second.sort_by(|one, other| one.location.cmp(&other.location));
                first.extend(second);
                Ok(first)
            }
            .boxed()
        });
        self.ask_planned(plan, path, apply).await
    }
}

impl std::fmt::Display for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Simulated")
    }
}

#[async_trait]
impl ObjectStore for Handle {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let location = location.clone();
        let path = location.to_string();
        let apply: Apply<PutResult> =
            Box::new(move |store| async move { store.put_opts(&location, payload, opts).await }.boxed());
        self.ask(Request::Put, path, apply).await
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(Error::NotImplemented { operation: "multipart".to_owned(), implementer: "Simulated".to_owned() })
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let location = location.clone();
        let path = location.to_string();
        let plan = self.network.plan(Request::Get);
        let damage = plan.fault.filter(|fault| matches!(fault, Fault::Flip | Fault::Truncate));
        let apply: Apply<GetResult> =
            Box::new(move |store| async move { store.get_opts(&location, options).await }.boxed());
        let result = self.ask_planned(plan, path, apply).await?;
        match damage {
            Some(fault) => crate::testing::damaged(result, fault).await,
            None => Ok(result),
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let handle = self.clone();
        let each = move |location: Result<Path>| {
            let handle = handle.clone();
            async move { handle.delete_one(location?).await }
        };
        locations.then(each).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let listing = self.clone().list_all(prefix.cloned());
        stream::once(listing)
            .map_ok(|objects| stream::iter(objects.into_iter().map(Ok)))
            .try_flatten()
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let prefix = prefix.cloned();
        let path = prefix.clone().unwrap_or_default().to_string();
        let apply: Apply<ListResult> =
            Box::new(move |store| async move { store.list_with_delimiter(prefix.as_ref()).await }.boxed());
        self.ask(Request::List, path, apply).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(Error::NotImplemented { operation: "copy".to_owned(), implementer: "Simulated".to_owned() })
    }
}

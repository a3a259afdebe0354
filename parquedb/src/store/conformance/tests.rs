//! Stores that keep every promise pass; one that breaks any is caught, and which it breaks is told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::store::Durability;
use crate::testing::{Fault, FaultStore, Request};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a store does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    /// Creates over what is there.
    IgnoresTheCondition,
    /// The same for one name in a hundred.
    TwoWinnersNowAndThen,
    /// Looks first and creates then.
    LooksThenCreates,
    /// Tells one that it exists and writes all the same.
    LosersOverwrite,
    /// Refuses losers by another error.
    LosersAreRefused,
    /// Never tells losers anything clear.
    LosersHearNothing,
    /// Writes in two steps, both when it creates and when it overwrites.
    WritesInSteps,
    /// Removes an object before it overwrites it.
    RemovesBeforeOverwriting,
    /// Reads give now and then the version before.
    ReadsOldVersions,
    /// What was missing once stays so for one read more.
    RemembersMisses,
    /// Listings leave out what was created last.
    ListsLate,
    /// The same only with an offset.
    ListsLateAfterOffset,
    /// Listings end after 1,000 objects.
    ListsThousand,
    /// Listings with an offset contain the offset itself.
    ListsOffset,
    /// A page of listings comes twice.
    ListsTwice,
    /// Deletions are acknowledged and not done.
    KeepsDeleted,
    /// Deleted names stay taken.
    NamesStayTaken,
    /// Ranges are one too long.
    RangesTooLong,
    /// Ranges begin one too early.
    RangesShifted,
    /// Some times are an hour early.
    TimesGoBack,
    /// Names come back from listings without their accents.
    ManglesNames,
}

#[derive(Debug)]
struct Faulty {
    inner: Arc<InMemory>,
    wrong: Wrong,
    seed: u64,
    missed: Mutex<HashSet<Path>>,
    deleted: Arc<Mutex<HashSet<Path>>>,
    last: Mutex<Option<Path>>,
    old: Mutex<std::collections::HashMap<Path, Bytes>>,
    count: AtomicU64,
}

impl Faulty {
    fn new(wrong: Wrong, seed: u64) -> Self {
        Self {
            inner: Arc::default(),
            wrong,
            seed,
            missed: Mutex::default(),
            deleted: Arc::default(),
            last: Mutex::default(),
            old: Mutex::default(),
            count: AtomicU64::new(0),
        }
    }

    fn listed(&self, path: &Option<Path>, has_offset: bool, mut objects: Vec<ObjectMeta>) -> Vec<ObjectMeta> {
        objects.sort_by(|one, other| one.location.cmp(&other.location));
        match self.wrong {
            Wrong::ListsLate => objects.retain(|object| Some(&object.location) != path.as_ref()),
            Wrong::ListsLateAfterOffset if has_offset => {
                objects.retain(|object| Some(&object.location) != path.as_ref());
            }
            Wrong::ListsThousand => objects.truncate(1_000),
            Wrong::ListsTwice if objects.len() > 1_000 => objects.extend_from_within(999..1_000),
            Wrong::TimesGoBack => {
                for object in objects.iter_mut().skip(5) {
                    object.last_modified -= Duration::from_secs(3_600);
                }
            }
            Wrong::ManglesNames => {
                for object in &mut objects {
                    object.location = Path::from(object.location.as_ref().replace(['ö', 'ß'], "o"));
                }
            }
            _ => {}
        }
        objects
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.wrong)
    }
}

type StoreResult<T> = object_store::Result<T>;

fn refused() -> object_store::Error {
    object_store::Error::PermissionDenied { path: String::new(), source: "no".into() }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> StoreResult<PutResult> {
        *self.last.lock().unwrap() = Some(path.clone());
        let creates = options.mode == PutMode::Create;
        let exists = self.inner.head(path).await.is_ok();
        match self.wrong {
            Wrong::IgnoresTheCondition => options.mode = PutMode::Overwrite,
            Wrong::TwoWinnersNowAndThen => {
                let text = format!("{} {}", self.seed, path.filename().unwrap());
                if xxhash_rust::xxh3::xxh3_64(text.as_bytes()).is_multiple_of(100) {
                    options.mode = PutMode::Overwrite;
                }
            }
            Wrong::LooksThenCreates if creates => {
                tokio::task::yield_now().await;
                if exists {
                    return self.inner.put_opts(path, payload, options).await;
                }
                options.mode = PutMode::Overwrite;
            }
            Wrong::LosersOverwrite if creates && exists => {
                self.inner.put(path, payload.clone()).await?;
            }
            Wrong::LosersAreRefused if creates && exists => return Err(refused()),
            Wrong::LosersHearNothing if creates && exists => {
                return Err(object_store::Error::Generic { store: "Faulty", source: "slow down".into() });
            }
            Wrong::WritesInSteps if !exists || !creates => {
                let bytes = Bytes::from(payload.clone());
                self.inner.put_opts(path, bytes.slice(..bytes.len() / 2).into(), options).await?;
                tokio::time::sleep(Duration::from_millis(1)).await;
                options = PutOptions::default();
            }
            Wrong::RemovesBeforeOverwriting if !creates && exists => {
                self.inner.delete(path).await?;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Wrong::ReadsOldVersions if !creates && exists => {
                let before = self.inner.get(path).await?.bytes().await?;
                self.old.lock().unwrap().insert(path.clone(), before);
            }
            Wrong::NamesStayTaken if creates && self.deleted.lock().unwrap().contains(path) => {
                let source = "deleted lately".into();
                return Err(object_store::Error::AlreadyExists { path: path.to_string(), source });
            }
            _ => {}
        }
        self.inner.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        Err(refused())
    }

    async fn get_opts(&self, path: &Path, mut options: GetOptions) -> StoreResult<GetResult> {
        if self.wrong == Wrong::RemembersMisses {
            if self.missed.lock().unwrap().remove(path) {
                return self.inner.get(&Path::from("missing")).await;
            }
            if self.inner.head(path).await.is_err() {
                self.missed.lock().unwrap().insert(path.clone());
            }
        }
        if let Some(object_store::GetRange::Bounded(range)) = &mut options.range {
            match self.wrong {
                Wrong::RangesTooLong => range.end += 1,
                Wrong::RangesShifted if range.start > 0 => *range = range.start - 1..range.end - 1,
                _ => {}
            }
        }
        if self.wrong == Wrong::ReadsOldVersions && self.count.fetch_add(1, Ordering::SeqCst) % 7 == 6 {
            let old = self.old.lock().unwrap().get(path).cloned();
            if let Some(old) = old {
                let aside = InMemory::new();
                aside.put(path, old.into()).await?;
                return aside.get_opts(path, options).await;
            }
        }
        self.inner.get_opts(path, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, StoreResult<Path>>,
    ) -> BoxStream<'static, StoreResult<Path>> {
        if self.wrong == Wrong::KeepsDeleted {
            return paths;
        }
        let deleted = Arc::clone(&self.deleted);
        let paths = paths.inspect_ok(move |path| {
            deleted.lock().unwrap().insert(path.clone());
        });
        self.inner.delete_stream(paths.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        let objects: Vec<_> = self.inner.list(prefix).try_collect().now_or_never().unwrap().unwrap();
        let last = self.last.lock().unwrap().clone();
        futures::stream::iter(self.listed(&last, false, objects).into_iter().map(Ok)).boxed()
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        let objects: Vec<_> = self.inner.list(prefix).try_collect().now_or_never().unwrap().unwrap();
        let last = self.last.lock().unwrap().clone();
        let with_offset = self.wrong == Wrong::ListsOffset;
        let after = self
            .listed(&last, true, objects)
            .into_iter()
            .filter(|object| object.location > *offset || with_offset && object.location == *offset);
        futures::stream::iter(after.map(Ok).collect::<Vec<_>>()).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        let mut list = self.inner.list_with_delimiter(prefix).await?;
        let last = self.last.lock().unwrap().clone();
        list.objects = self.listed(&last, false, list.objects);
        Ok(list)
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> StoreResult<()> {
        Err(refused())
    }
}

/// Enough of everything to see what a store does wrong each time.
fn few() -> Options {
    Options { rounds: 10, pairs: 0, objects: 1_010, repeats: 12, object_bytes: 4_096, ..Options::default() }
}

async fn broken(wrong: Wrong) -> Vec<Property> {
    let store = Store::new(Arc::new(Faulty::new(wrong, 1)), "");
    let report = examine(&store, &few()).await;
    let is_broken = |checked: &&Checked| matches!(checked.outcome, Outcome::Broken { .. });
    let broken: Vec<_> = report.checks.iter().filter(is_broken).map(|checked| checked.property).collect();
    println!("{report}");
    let error = report.into_result().unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Invalid);
    for property in &broken {
        assert!(error.to_string().contains(property.description()), "{error}");
    }
    broken
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_breaks_any_promise_is_caught() {
    use Property as P;
    let expected = [
        (Wrong::IgnoresTheCondition, P::OneWinner),
        (Wrong::LooksThenCreates, P::OneWinner),
        (Wrong::LosersOverwrite, P::WinnersObject),
        (Wrong::LosersAreRefused, P::LosersAreTold),
        (Wrong::WritesInSteps, P::AtomicCreate),
        (Wrong::WritesInSteps, P::AtomicOverwrite),
        (Wrong::RemovesBeforeOverwriting, P::AtomicOverwrite),
        (Wrong::ReadsOldVersions, P::ReadAfterOverwrite),
        (Wrong::RemembersMisses, P::ReadAfterCreate),
        (Wrong::ListsLate, P::ListAfterCreate),
        (Wrong::ListsLateAfterOffset, P::ListAfterCreate),
        (Wrong::ListsThousand, P::CompleteListings),
        (Wrong::ListsOffset, P::CompleteListings),
        (Wrong::ListsTwice, P::CompleteListings),
        (Wrong::KeepsDeleted, P::ReadAfterDelete),
        (Wrong::NamesStayTaken, P::CreateAfterDelete),
        (Wrong::RangesTooLong, P::RangedReads),
        (Wrong::RangesShifted, P::RangedReads),
        (Wrong::TimesGoBack, P::ModificationTimes),
        (Wrong::ManglesNames, P::Names),
    ];
    for (wrong, property) in expected {
        let broken = broken(wrong).await;
        assert!(broken.contains(&property), "{wrong:?} should break `{property}`, and broke {broken:?}");
    }
    let covered: HashSet<_> = expected.iter().map(|(_, property)| *property).collect();
    assert_eq!(covered.len(), Property::ALL.len(), "no store breaks one of the promises");
}

#[test]
fn losers_who_never_hear_anything_are_caught() {
    crate::time::simulate(async {
        assert_eq!(broken(Wrong::LosersHearNothing).await, [Property::LosersAreTold]);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_of_two_winners_in_one_race_of_a_hundred_is_caught() {
    let first = std::env::var("PARQUEDB_SEED").map_or(1, |seed| seed.parse().unwrap());
    let seeds = first..first + 20_u64;
    let mut caught = 0;
    for seed in seeds.clone() {
        let store = Store::new(Arc::new(Faulty::new(Wrong::TwoWinnersNowAndThen, seed)), "");
        let options = Options { racers: 2, objects: 10, repeats: 1, ..Options::default() };
        let report = examine(&store, &options).await;
        caught += u64::from(matches!(report.outcome(Property::OneWinner), Outcome::Broken { .. }));
    }
    println!("two winners in one race of a hundred: {caught} of 20 such stores caught, seeds {seeds:?}");
    // Each passes with 0.99^700 = 0.09 %: that two of twenty do would happen once in 6,000 runs of
    // other seeds.
    assert!(caught >= 19, "only {caught} of 20 were caught, seeds {seeds:?}");
}

fn print(report: &Report) {
    println!("{report}");
    assert_eq!(report.repeated, 0);
    assert_eq!(report.left_behind, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_keeps_every_promise() {
    let store = Store::open("memory:///").unwrap();
    let report = check(&store, &Options::default()).await.unwrap();
    print(&report);
    assert_eq!(report.checks.len(), Property::ALL.len());
    assert_eq!(report.checks[0].tries, 700);
    assert_eq!(store.list(None, None).await.unwrap(), [], "objects were left behind");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["checks"][0]["property"], "one_winner");
    assert_eq!(json["checks"][0]["outcome"], "kept");
    assert!(json["checks"][0]["seconds"].as_f64().unwrap() > 0.0);
    // Also where a scheduler has one thread only, as in many tests and programs.
    let one = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            check(&Store::open("memory:///").unwrap(), &few()).await.unwrap();
        });
    });
    one.join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_local_disk_keeps_every_promise() {
    for durability in [Durability::Sync, Durability::OsBuffered] {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("database");
        let store = Store::open_with(root.to_str().unwrap(), durability).unwrap();
        let options = Options { pairs: 50, repeats: 20, ..Options::default() };
        let report = check(&store, &options).await.unwrap();
        println!("{durability:?}");
        print(&report);
        let left: Vec<_> = std::fs::read_dir(root.join("_probe")).unwrap().collect();
        assert!(left.is_empty(), "{left:?} stayed behind");
    }
}

#[test]
fn a_store_that_fails_is_not_said_to_break_a_promise() {
    crate::time::simulate(failing_store());
}

async fn failing_store() {
    let faults = FaultStore::new(Arc::new(InMemory::new()));
    faults.plan(Request::Put, "many/", 100, usize::MAX, Fault::Refuse);
    let store = Store::new(Arc::new(faults.clone()), "");
    let report = examine(&store, &few()).await;
    assert!(matches!(report.outcome(Property::CompleteListings), Outcome::Failed { .. }), "{report}");
    assert_eq!(*report.outcome(Property::Names), Outcome::NotTried);
    assert_eq!(*report.outcome(Property::OneWinner), Outcome::Kept);
    let error = report.into_result().unwrap_err();
    assert!(error.to_string().contains("permission denied"), "{error}");

    // Answers that are lost, whether or not the store did what was asked, do not make a second winner.
    faults.heal();
    for skip in [3, 40, 200] {
        faults.plan(Request::Put, "race/", skip, 5, Fault::ApplyThenFail);
        faults.plan(Request::Put, "race/", skip, 5, Fault::FailBefore);
        faults.plan(Request::Put, "race/", skip, 2, Fault::ApplyLater);
    }
    let report = examine(&store, &few()).await;
    assert!(report.is_kept(), "{report}");
    assert!(report.repeated >= 10, "{report}");

    faults.plan(Request::Delete, "_probe", 40, usize::MAX, Fault::FailBefore);
    let report = examine(&store, &few()).await;
    assert!(report.is_kept(), "{report}");
    assert!(report.left_behind.is_some_and(|left| left.contains("_probe")));
    let options = Options { racers: 1, ..few() };
    assert!(check(&store, &options).await.unwrap_err().to_string().contains("racers"));
}

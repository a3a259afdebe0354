//! Tests of group commit: in simulated time, on stores that fail.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod returning;

use super::queue::{BatchName, Pending};
use super::writer::CommitTask;
use super::{Database, GroupCommit, Written};
use crate::error::{ErrorKind, Result};
use crate::store::Store;
use crate::testing::{Fault, FaultStore, Request};
use crate::time;
use crate::{Collection, database, views};
use futures::future::join_all;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

#[derive(Collection, Clone, Debug, PartialEq)]
struct Visit {
    id: i64,
    page: String,
}
views! {
    Doubled: { $from: Visit, $select: { doubled: id * 2 } }
}
database! { struct Site { Visit, Doubled } }
database! { struct Bare { Visit } }

const REQUEST: Duration = Duration::from_secs(15);

struct Place {
    faults: FaultStore,
    inner: Arc<InMemory>,
}

impl Place {
    fn new() -> Self {
        let inner = Arc::new(InMemory::new());
        Self { faults: FaultStore::new(Arc::clone(&inner) as Arc<dyn ObjectStore>), inner }
    }

    async fn open<D: Database>(&self, settings: GroupCommit) -> D {
        let store = Store::new(Arc::new(self.faults.clone()), "");
        D::builder().group_commit(settings).open_store(store).await.unwrap()
    }

    /// From now on the next commit takes as long as a request that is not answered.
    fn hold_next_commit(&self) {
        self.faults.plan(Request::Put, "log/", 0, 1, Fault::Hang);
    }

    async fn has_commit(&self, seq: u64) -> bool {
        self.inner.head(&Path::from(format!("log/{seq:020}.c"))).await.is_ok()
    }
}

fn visit(id: i64) -> Visit {
    Visit { id, page: format!("page {id}") }
}

/// Visits that take about so many bytes.
fn large(id: i64, bytes: usize) -> Visit {
    Visit { id, page: "x".repeat(bytes) }
}

fn spawn(visits: &crate::db::Collection<Visit>, visit: Visit) -> JoinHandle<Result<Written>> {
    let visits = visits.clone();
    tokio::spawn(async move { visits.insert(visit).await })
}

/// A batch of one visit, which may have an id.
fn spawn_batch(db: &Bare, id: Option<&str>, row: i64) -> JoinHandle<Result<Written>> {
    let mut batch = db.batch();
    batch.insert(&db.visit, [visit(row)]).unwrap();
    if let Some(id) = id {
        batch.id(id);
    }
    tokio::spawn(batch.commit())
}

/// Inserts a visit whose commit takes long: what comes now waits for the next one.
async fn occupy(
    place: &Place,
    visits: &crate::db::Collection<Visit>,
    id: i64,
) -> JoinHandle<Result<Written>> {
    place.hold_next_commit();
    let insert = spawn(visits, visit(id));
    settle().await;
    insert
}

/// Lets everything run that can.
async fn settle() {
    time::sleep(Duration::from_millis(1)).await;
}

async fn ids(visits: &crate::db::Collection<Visit>) -> Vec<i64> {
    let mut ids: Vec<i64> = visits.all().await.unwrap().iter().map(|visit| visit.id).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn a_write_is_answered_when_it_is_durable_and_not_before() {
    time::simulate(async {
        let place = Place::new();
        let db: Site = place.open(GroupCommit::default()).await;
        let seq = db.seq() + 1;
        place.hold_next_commit();
        let started = time::now();
        let insert = spawn(&db.visit, visit(1));
        time::sleep(REQUEST - Duration::from_millis(1)).await;
        assert!(!insert.is_finished() && !place.has_commit(seq).await);
        assert!(ids(&db.visit).await.is_empty());
        let written = insert.await.unwrap().unwrap();
        assert!(time::now() - started >= REQUEST);
        assert_eq!(written, Written { seq, repeated: false });
        assert!(place.has_commit(seq).await);
        assert_eq!(ids(&db.visit).await, [1]);
    });
}

#[test]
fn all_that_wait_are_one_commit_and_are_answered_in_order() {
    time::simulate(async {
        let place = Place::new();
        let db: Site = place.open(GroupCommit::default()).await;
        let before = db.requests();
        let seq = db.seq() + 1;
        place.hold_next_commit();
        let order = Arc::new(Mutex::new(Vec::new()));
        let insert = |id: i64| {
            let (visits, order) = (db.visit.clone(), Arc::clone(&order));
            tokio::spawn(async move {
                let written = visits.insert(visit(id)).await.unwrap();
                order.lock().unwrap().push((id, written.seq));
            })
        };
        let first = insert(0);
        settle().await;
        join_all((1..64).map(insert)).await;
        first.await.unwrap();
        let expected: Vec<_> = (0..64).map(|id| (id, if id == 0 { seq } else { seq + 1 })).collect();
        assert_eq!(*order.lock().unwrap(), expected);
        let cost = db.requests() - before;
        assert_eq!(
            (cost.put, cost.get, cost.list),
            (3, 0, 0),
            "two commits, and one request that was repeated"
        );
        assert_eq!(ids(&db.visit).await, (0..64).collect::<Vec<_>>());
    });
}

#[test]
fn a_batch_that_cannot_be_fails_alone() {
    time::simulate(async {
        let place = Place::new();
        let db: Site = place.open(GroupCommit::default()).await;
        let first = occupy(&place, &db.visit, 0).await;
        let seq = db.seq();
        // Twice the greatest number is out of the view's range.
        let bad = [7, 20];
        let inserts: Vec<_> = (1..32)
            .map(|id| spawn(&db.visit, visit(if bad.contains(&id) { i64::MAX - id } else { id })))
            .collect();
        first.await.unwrap().unwrap();
        let answers = join_all(inserts).await;
        for (id, answer) in (1..32).zip(answers) {
            match answer.unwrap() {
                Ok(_) => assert!(!bad.contains(&id)),
                Err(error) => {
                    assert!(bad.contains(&id), "{id}: {error}");
                    assert_eq!(error.kind(), ErrorKind::Invalid);
                    assert!(error.to_string().contains("Doubled"), "{error}");
                }
            }
        }
        assert_eq!(ids(&db.visit).await, (0..32).filter(|id| !bad.contains(id)).collect::<Vec<_>>());
        assert_eq!(db.doubled.all().count().await.unwrap(), 30);
        assert!(db.seq() - seq <= 1 + 10, "halves, not single batches: {} commits", db.seq() - seq);
    });
}

#[test]
fn ids_repeated_in_a_group_are_written_once() {
    time::simulate(async {
        let place = Place::new();
        let db: Bare = place.open(GroupCommit::default()).await;
        let first = occupy(&place, &db.visit, 0).await;
        let insert = |id, row| spawn_batch(&db, id, row);
        let group = [
            insert(Some("a"), 1),
            insert(None, 2),
            insert(Some("a"), 1),
            insert(Some("b"), 3),
            insert(None, 2),
        ];
        first.await.unwrap().unwrap();
        let answers: Vec<_> =
            join_all(group).await.into_iter().map(|answer| answer.unwrap().unwrap()).collect();
        assert!(answers.iter().all(|written| written.seq == answers[0].seq));
        let repeated: Vec<_> = answers.iter().map(|written| written.repeated).collect();
        assert_eq!(repeated, [false, false, true, false, false]);
        assert!(insert(Some("a"), 1).await.unwrap().unwrap().repeated);
        assert_eq!(ids(&db.visit).await, [0, 1, 2, 2, 3]);
    });
}

/// The log says "repeated" of a commit whose ids were all committed meanwhile. The batches without an id
/// that were in it must be written all the same.
#[test]
fn a_repeated_id_does_not_swallow_the_batches_beside_it() {
    time::simulate(async {
        let place = Place::new();
        let interval = Duration::from_secs(100);
        let db: Bare = place.open(GroupCommit { interval, ..GroupCommit::default() }).await;
        let insert = |id, row| spawn_batch(&db, id, row);
        // It lands, and nobody is told.
        place.faults.plan(Request::Put, "log/", 0, 1, Fault::ApplyThenHang);
        place.faults.plan(Request::Get, "log/", 0, usize::MAX, Fault::FailBefore);
        let error = insert(Some("a"), 1).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
        place.faults.heal();
        let group = join_all([insert(Some("a"), 1), insert(None, 2)]).await;
        let repeated: Vec<_> = group.into_iter().map(|answer| answer.unwrap().unwrap().repeated).collect();
        assert_eq!(repeated, [true, false]);
        assert_eq!(ids(&db.visit).await, [1, 2]);
    });
}

#[test]
fn what_waits_is_bounded_and_whoever_gives_up_outside_leaves_nothing() {
    time::simulate(async {
        let place = Place::new();
        let queue_bytes = 64 << 10;
        let db: Bare = place.open(GroupCommit { queue_bytes, ..GroupCommit::default() }).await;
        place.hold_next_commit();
        let inserts: Vec<_> = (0..100).map(|id| spawn(&db.visit, large(id, 4000))).collect();
        settle().await;
        let full = db.0.queue.depth();
        assert!(full.bytes <= queue_bytes as u64 && full.bytes + 5000 > queue_bytes as u64, "{full:?}");
        let inside = 100 - full.outside;
        assert!(inside * 4000 <= full.bytes && full.batches <= inside && full.outside >= 80, "{full:?}");

        // One that has room is committed although nobody waits for it; those outside are not.
        let inside = i64::try_from(inside).unwrap();
        for gone in [inside - 1, inside + 10, inside + 11, 99] {
            inserts[gone as usize].abort();
        }
        settle().await;
        assert_eq!(db.0.queue.depth().outside, full.outside - 3);
        let mut last = 0;
        for (id, insert) in (0..).zip(inserts) {
            match insert.await {
                Ok(written) => {
                    let seq = written.unwrap().seq;
                    assert!(seq >= last, "whoever comes first is written first");
                    last = seq;
                }
                Err(_) => assert!([inside - 1, inside + 10, inside + 11, 99].contains(&id)),
            }
        }
        let expected: Vec<_> = (0..100).filter(|id| ![inside + 10, inside + 11, 99].contains(id)).collect();
        assert_eq!(ids(&db.visit).await, expected);
        let depth = db.0.queue.depth();
        assert_eq!((depth.batches, depth.outside, depth.bytes), (0, 0, 0));
        assert!(depth.most_bytes <= queue_bytes as u64, "{depth:?}");
    });
}

#[test]
fn a_batch_larger_than_the_queue_goes_alone() {
    time::simulate(async {
        let place = Place::new();
        let db: Bare = place.open(GroupCommit { queue_bytes: 10_000, ..GroupCommit::default() }).await;
        place.hold_next_commit();
        let inserts = [(1, 10), (2, 10), (3, 50_000), (4, 10), (5, 10)]
            .map(|(id, size)| spawn(&db.visit, large(id, size)));
        let answers: Vec<_> =
            join_all(inserts).await.into_iter().map(|answer| answer.unwrap().unwrap().seq).collect();
        let alone = answers[2];
        assert!(answers[1] < alone && alone < answers[3], "{answers:?}");
        assert_eq!(ids(&db.visit).await, [1, 2, 3, 4, 5]);
        let most = db.0.queue.depth().most_bytes;
        assert!((50_000..51_000).contains(&most), "{most}");
    });
}

#[test]
fn a_commit_holds_about_so_many_bytes() {
    time::simulate(async {
        let place = Place::new();
        let db: Bare = place.open(GroupCommit { max_bytes: 10_000, ..GroupCommit::default() }).await;
        let first = occupy(&place, &db.visit, 100).await;
        let seq = db.seq();
        let inserts: Vec<_> = (0..10).map(|id| spawn(&db.visit, large(id, 3000))).collect();
        let seqs: Vec<_> =
            join_all(inserts).await.into_iter().map(|answer| answer.unwrap().unwrap().seq - seq).collect();
        first.await.unwrap().unwrap();
        assert_eq!(seqs, [2, 2, 2, 3, 3, 3, 4, 4, 4, 5]);
    });
}

#[test]
fn the_interval_is_kept_and_a_first_write_does_not_wait() {
    time::simulate(async {
        let place = Place::new();
        let interval = Duration::from_secs(1);
        let settings = GroupCommit { interval, max_bytes: 10_000, ..GroupCommit::default() };
        let db: Bare = place.open(settings).await;
        let start = time::now();
        let millis = move |at: time::Instant| (at - start).as_millis() as u64;
        // (when it comes, its size; when it is answered)
        let plan = [
            (0, 10, 0),
            (100, 10, 1000),
            (500, 10, 1000),
            (999, 10, 1000),
            (1001, 10, 2000),
            // After a pause: at once.
            (5000, 10, 5000),
            (5001, 10, 5900),
            // So much waits that it is not worth waiting longer.
            (5900, 12_000, 5900),
            (6000, 10, 6900),
        ];
        let inserts: Vec<_> = plan
            .into_iter()
            .map(|(at, size, expected)| {
                let visits = db.visit.clone();
                tokio::spawn(async move {
                    time::sleep(Duration::from_millis(at)).await;
                    let written = visits.insert(large(1, size)).await.unwrap();
                    (at, written.seq, millis(time::now()), expected)
                })
            })
            .collect();
        let mut commits = std::collections::BTreeMap::new();
        for insert in inserts {
            let (at, seq, answered, expected) = insert.await.unwrap();
            assert_eq!(answered, expected, "the one that came at {at} ms");
            commits.insert(seq, answered);
        }
        // The last early commit is of two batches: together they are more than one commit takes.
        let times: Vec<_> = commits.into_values().collect();
        assert_eq!(times, [0, 1000, 2000, 5000, 5900, 5900, 6900]);
    });
}

#[test]
fn a_stopped_runtime_does_not_stop_the_database() {
    let place = Place::new();
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let db: Bare = first.block_on(place.open(GroupCommit::default()));
    place.faults.plan(Request::Put, "log/", 0, 1, Fault::Hang);
    let under_way = spawn_on(&first, &db.visit, visit(1));
    while db.0.queue.depth().bytes == 0 || db.0.queue.depth().batches > 0 {
        std::thread::yield_now();
    }
    let behind = spawn_on(&second, &db.visit, visit(2));
    while db.0.queue.depth().batches == 0 {
        std::thread::yield_now();
    }
    first.shutdown_background();
    let error = second.block_on(behind).unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    drop(under_way);
    second.block_on(db.visit.insert(visit(3))).unwrap();
    let kept = second.block_on(ids(&db.visit));
    // Nobody knows of the first one: it may be written by whoever comes next.
    assert!(kept == [3] || kept == [1, 3], "{kept:?}");
}

fn spawn_on(
    runtime: &tokio::runtime::Runtime,
    visits: &crate::db::Collection<Visit>,
    visit: Visit,
) -> JoinHandle<Result<Written>> {
    let visits = visits.clone();
    runtime.spawn(async move { visits.insert(visit).await })
}

/// The task that commits ends when nothing waits, and the next write starts another one, perhaps before the
/// first is gone.
#[tokio::test]
async fn a_task_that_came_to_its_end_takes_nothing_from_the_next_one() {
    let place = Place::new();
    let db: Bare = place.open(GroupCommit::default()).await;
    let queue = &db.connection().0.queue;
    for comes_to_its_end in [true, false] {
        let task = CommitTask::new(db.connection().clone());
        let (reply, answer) = oneshot::channel();
        let room = queue.room(1).await.unwrap();
        let _ = queue.push(Pending { operations: BTreeMap::new(), name: BatchName::default(), reply, room });
        if comes_to_its_end {
            task.end();
            assert_eq!(queue.depth().batches, 1);
            assert_eq!(queue.abandon().len(), 1);
        } else {
            drop(task);
            assert_eq!(answer.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_write_after_the_other_is_committed() {
    let place = Place::new();
    let db: Bare = place.open(GroupCommit::default()).await;
    for id in 0..1500 {
        db.visit.insert(visit(id)).await.unwrap();
    }
    assert_eq!(ids(&db.visit).await.len(), 1500);
}

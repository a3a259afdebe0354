//! Inserters that come back as soon as they are answered.

use super::{Bare, Place, ids, visit};
use crate::db::queue::{BatchName, Pending};
use crate::db::{Connection, Database, GroupCommit};
use crate::store::Store;
use crate::time;
use futures::future::join_all;
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;
use tokio::sync::oneshot;

#[test]
fn those_who_come_back_at_once_are_in_every_commit() {
    // In real time: the store's delay is tokio's.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let wait_put_per_call = Duration::from_millis(8);
        let config = ThrottleConfig { wait_put_per_call, ..ThrottleConfig::default() };
        let store = Store::new(Arc::new(ThrottledStore::new(InMemory::new(), config)), "");
        let db = Bare::builder().open_store(store).await.unwrap();
        let seq = db.seq();
        let (writers, rounds) = (32, 10);
        join_all((0..writers).map(|writer| {
            let visits = db.visit.clone();
            tokio::spawn(async move {
                // The first one's commit is under way when the others come.
                tokio::time::sleep(Duration::from_millis(if writer == 0 { 0 } else { 2 })).await;
                for round in 0..rounds {
                    visits.insert(visit(writer * rounds + round)).await.unwrap();
                }
            })
        }))
        .await;
        assert_eq!(ids(&db.visit).await, (0..writers * rounds).collect::<Vec<_>>());
        let commits = i64::try_from(db.seq() - seq).unwrap();
        assert!(commits <= rounds * 3 / 2, "{commits} commits: half of the writers miss each");
    });
}

/// Somebody who writes again in the very moment of being answered, as on another thread.
struct Again {
    connection: Connection,
    next: Mutex<Option<Pending>>,
    answered: Mutex<Option<time::Instant>>,
}

impl Wake for Again {
    fn wake(self: Arc<Self>) {
        if let Some(next) = self.next.lock().unwrap().take() {
            *self.answered.lock().unwrap() = Some(time::now());
            assert!(!self.connection.0.queue.push(next), "the task goes on");
        }
    }
}

#[test]
fn who_comes_back_before_the_commit_has_ended_is_not_waited_for_once_more() {
    time::simulate(async {
        let place = Place::new();
        let db: Bare = place.open(GroupCommit::default()).await;
        let name = |id: &str| BatchName { id: Some(id.to_owned()), sequence: None };
        let (reply, answer) = oneshot::channel();
        let room = db.connection().0.queue.room(1).await.unwrap();
        let next = Pending { operations: BTreeMap::new(), name: name("b"), reply, room };
        let again = Arc::new(Again {
            connection: db.connection().clone(),
            next: Mutex::new(Some(next)),
            answered: Mutex::new(None),
        });
        place.hold_next_commit();
        let mut first = Box::pin(db.connection().write(BTreeMap::new(), name("a")));
        let waker = Waker::from(Arc::clone(&again));
        assert!(first.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let second = answer.await.unwrap().unwrap();
        assert_eq!(again.answered.lock().unwrap().take(), Some(time::now()));
        assert!(first.await.unwrap().seq < second.seq);
    });
}

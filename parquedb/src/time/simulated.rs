//! Simulated time: it stands still while anything can run, then jumps to the next timer.
//!
//! tokio's own paused clock would need the feature `test-util`, and with it another build of every
//! dependency. Here a runtime of one thread tells when it has nothing left to run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::Instant;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// When a timer is due, and a number for those due at the same moment.
type Due = (Duration, u64);

#[derive(Debug)]
struct Simulated {
    start: Instant,
    timers: Mutex<Timers>,
}

#[derive(Debug, Default)]
struct Timers {
    now: Duration,
    made: u64,
    waiting: BTreeMap<Due, Waker>,
}

thread_local! {
    static TIME: RefCell<Option<Arc<Simulated>>> = const { RefCell::new(None) };
}

fn simulated() -> Option<Arc<Simulated>> {
    TIME.with_borrow(Clone::clone)
}

impl Simulated {
    fn due(&self, after: Duration) -> Due {
        let mut timers = self.timers.lock().unwrap();
        timers.made += 1;
        (timers.now.saturating_add(after), timers.made)
    }

    /// Goes on to the next timer.
    fn advance(&self) {
        let waker = {
            let mut timers = self.timers.lock().unwrap();
            let Some(((due, _), waker)) = timers.waiting.pop_first() else {
                panic!("everything waits, and for no timer: for another thread, or for ever");
            };
            timers.now = timers.now.max(due);
            waker
        };
        waker.wake();
    }
}

/// Runs a future, and all it spawns, on this thread in simulated time that begins at zero. Whatever
/// waits by tokio's own clock instead of this module's panics.
pub(crate) fn simulate<F: Future>(future: F) -> F::Output {
    struct Reset(Option<Arc<Simulated>>);
    impl Drop for Reset {
        fn drop(&mut self) {
            TIME.set(self.0.take());
        }
    }
    let time = Arc::new(Simulated { start: Instant::now(), timers: Mutex::default() });
    let parked = Arc::clone(&time);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .on_thread_park(move || parked.advance())
        .build()
        .expect("a runtime without drivers needs nothing of the machine");
    let reset = Reset(TIME.replace(Some(time)));
    let result = runtime.block_on(future);
    // What still waits is dropped within its own time.
    drop(runtime);
    drop(reset);
    result
}

/// The present moment.
pub(crate) fn now() -> Instant {
    match simulated() {
        Some(time) => time.start + time.timers.lock().unwrap().now,
        None => Instant::now(),
    }
}

/// Waits so long.
pub(crate) async fn sleep(duration: Duration) {
    match simulated() {
        Some(time) => {
            let due = time.due(duration);
            Sleep { time, due }.await;
        }
        None => tokio::time::sleep(duration).await,
    }
}

#[derive(Debug)]
struct Sleep {
    time: Arc<Simulated>,
    due: Due,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut timers = self.time.timers.lock().unwrap();
        if timers.now >= self.due.0 {
            return Poll::Ready(());
        }
        timers.waiting.insert(self.due, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        // Poisoned only when the test has failed already.
        if let Ok(mut timers) = self.time.timers.lock() {
            timers.waiting.remove(&self.due);
        }
    }
}

/// The time was over first.
#[derive(Debug)]
pub(crate) struct Elapsed;

/// Runs a future, at most so long.
pub(crate) async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output, Elapsed> {
    if simulated().is_none() {
        return tokio::time::timeout(duration, future).await.map_err(|_| Elapsed);
    }
    let future = std::pin::pin!(future);
    let limit = std::pin::pin!(sleep(duration));
    match futures::future::select(future, limit).await {
        futures::future::Either::Left((output, _)) => Ok(output),
        futures::future::Either::Right(_) => Err(Elapsed),
    }
}

#[test]
fn an_hour_passes_at_once_and_in_order() {
    let order = simulate(async {
        let started = now();
        let order = Arc::new(Mutex::new(Vec::new()));
        let tasks = [3_u64, 1, 2].map(|hours| {
            let order = Arc::clone(&order);
            tokio::spawn(async move {
                sleep(Duration::from_secs(3600 * hours)).await;
                order.lock().unwrap().push((hours, (now() - started).as_secs()));
            })
        });
        let never = timeout(Duration::from_secs(9000), std::future::pending::<()>()).await;
        assert!(never.is_err());
        assert_eq!((now() - started).as_secs(), 9000);
        assert!(timeout(Duration::from_secs(5), async { 1 }).await.is_ok());
        futures::future::join_all(tasks).await;
        order.lock().unwrap().clone()
    });
    assert_eq!(order, [(1, 3600), (2, 7200), (3, 10800)]);
}

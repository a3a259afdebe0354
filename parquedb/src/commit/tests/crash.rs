//! Each process of each scenario dies at each of its requests, once before the store has done it and once
//! after; then the database opens with each acknowledged commit once.

use super::told::{Fate, Tables, Told, Unit, tables};
use super::*;
use crate::ErrorKind;
use crate::clock::Clock;
use crate::commit::GarbageOptions;
use crate::error::Result;
use crate::testing::{ClockedStore, FaultStore};
use crate::time::simulate;
use futures::future::LocalBoxFuture;
use std::cell::RefCell;
use std::sync::Mutex;

mod scenarios;

/// In microseconds.
const HOUR: i64 = 3_600_000_000;

/// What happens, and the state in which it begins.
struct Scenario {
    name: &'static str,
    prepare: Step,
    run: Step,
}

type Step = for<'a> fn(&'a World) -> LocalBoxFuture<'a, Result<()>>;

/// A process dies at its request of this number.
#[derive(Debug, Clone, Copy)]
struct Crash {
    process: usize,
    at: usize,
    applied: bool,
}

/// The store that all share, the processes, and what they were told.
struct World {
    shared: Arc<dyn ObjectStore>,
    memory: ClockedStore,
    crash: Option<Crash>,
    prepared: bool,
    stores: RefCell<Vec<FaultStore>>,
    clock: Arc<ManualClock>,
    told: RefCell<Told>,
}

/// Options of the scenarios: rows of more than a few hundred bytes go into files, and nobody waits long.
fn options_of(world: &World) -> LogOptions {
    LogOptions {
        inline_limit_bytes: 600,
        request_timeout: Duration::from_millis(40),
        outcome_deadline: Duration::from_millis(120),
        clock: Arc::clone(&world.clock) as _,
        // Only where a scenario says so.
        flush_after: Duration::from_secs(1000 * 24 * 3600),
        ..LogOptions::default()
    }
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(1_000 * HOUR));
        Self::with(ClockedStore::new(Arc::clone(&clock) as _), clock, Told::default())
    }

    fn with(memory: ClockedStore, clock: Arc<ManualClock>, told: Told) -> Self {
        Self {
            shared: Arc::new(memory.clone()),
            memory,
            crash: None,
            prepared: false,
            stores: RefCell::default(),
            clock,
            told: RefCell::new(told),
        }
    }

    /// A copy of what was prepared, in which a process may die.
    fn prepared(&self, crash: Option<Crash>) -> Self {
        let clock = Arc::new(ManualClock::new(self.clock.now()));
        let memory = self.memory.fork(Arc::clone(&clock) as _);
        Self { crash, prepared: true, ..Self::with(memory, clock, self.told.borrow().clone()) }
    }

    /// The store of a process, which may die.
    fn store_of(&self, process: usize) -> FaultStore {
        let mut stores = self.stores.borrow_mut();
        while stores.len() <= process {
            let store = FaultStore::new(Arc::clone(&self.shared));
            if let Some(crash) = self.crash.filter(|crash| crash.process == stores.len()) {
                store.crash_at(crash.at, crash.applied);
            }
            stores.push(store);
        }
        stores[process].clone()
    }

    fn store(&self, process: usize) -> Store {
        // What a scenario finds there to begin with was made by somebody who did not die.
        let inner: Arc<dyn ObjectStore> =
            if self.prepared { Arc::new(self.store_of(process)) } else { Arc::clone(&self.shared) };
        Store::new(inner, "db")
    }

    async fn open(&self, process: usize) -> Result<Log> {
        self.open_with(process, |options| options).await
    }

    async fn open_with(&self, process: usize, change: impl FnOnce(LogOptions) -> LogOptions) -> Result<Log> {
        Log::open(self.store(process), change(options_of(self))).await
    }

    /// Commits a unit and notes what was said about it.
    async fn commit(&self, log: &Log, unit: Unit) -> Result<super::super::Committed> {
        self.told.borrow_mut().send(&unit);
        let result = log.commit(unit.changes()).await;
        log.idle().await;
        self.told.borrow_mut().answer(unit.number, &result);
        result
    }

    /// The rows of a snapshot, read by somebody who does not die.
    async fn tables(&self, snapshot: &Snapshot) -> Tables {
        tables(&Store::new(Arc::clone(&self.shared), "db"), snapshot).await
    }

    fn requests(&self) -> Vec<usize> {
        self.stores.borrow().iter().map(FaultStore::requests).collect()
    }

    /// A process that lives on, or comes after.
    async fn survivor(&self, place: &str) -> Log {
        let open = |exclusive| {
            let options = LogOptions { exclusive, ..options_of(self) };
            Log::open(Store::new(Arc::clone(&self.shared), "db"), options)
        };
        match open(false).await {
            Ok(log) => log,
            // The one that died had the database for itself.
            Err(error) if error.kind() == ErrorKind::Closed => open(true).await.unwrap(),
            Err(error) => panic!("{place}: {error:?}"),
        }
    }

    /// Everything that was promised, now and after more has been written.
    async fn check(&self, place: &str) {
        let log = self.survivor(place).await;
        let found = self.check_snapshots(&log, place).await;
        let unacknowledged = {
            let told = self.told.borrow();
            found.iter().filter(|number| told.fates[number] == Fate::Open).count()
        };
        assert!(unacknowledged <= 1, "{place}: {unacknowledged} commits nobody was told of");
        let open: Vec<Unit> = {
            let told = self.told.borrow();
            let is_open = |unit: &&Unit| !matches!(told.fates[&unit.number], Fate::Refused);
            told.units.values().filter(is_open).cloned().collect()
        };
        // Repeating everything that was sent changes nothing that is there, and adds what is not.
        for mut unit in open {
            let is_there = found.contains(&unit.number);
            if unit.base.is_some() && !is_there {
                continue;
            }
            unit.base = None;
            let changes = unit.changes();
            let known = changes.batch_ids.iter().all(|id| log.has_batch(id))
                && changes.sequences.iter().all(|at| log.has_sequence(&at.producer, at.number));
            assert_eq!(known, is_there, "{place}: unit {}", unit.number);
            match self.commit(&log, unit.clone()).await {
                Ok(done) => assert_eq!(done.repeated, is_there, "{place}: unit {}", unit.number),
                Err(error) => panic!("{place}: unit {}: {error:?}", unit.number),
            }
        }
        self.commit(&log, Unit::new(1_000_000)).await.unwrap();
        log.flush().await.unwrap();
        let again = self.survivor(place).await;
        self.check_snapshots(&again, &format!("{place}, written to again")).await;
        if self.told.borrow().units.len() > 5 && place.contains("collection") {
            // What an interrupted collection left is garbage for the next one.
            self.clock.advance(30 * HOUR);
            let report = again.collect_garbage(GarbageOptions::default()).await.unwrap();
            assert!(report.floor > 0, "{place}: nothing could be collected any more");
            let last = self.survivor(place).await;
            self.check_snapshots(&last, &format!("{place}, collected again")).await;
            assert_eq!(
                last.collect_garbage(GarbageOptions::default()).await.unwrap().objects(),
                0,
                "{place}"
            );
        }
    }

    /// Checks the newest snapshot and each before it. Gives the units found.
    async fn check_snapshots(&self, log: &Log, place: &str) -> Vec<i64> {
        let snapshot = log.snapshot();
        // Some of the past ones: all of them, over all crash points.
        let past = (snapshot.seq - snapshot.floor).max(1);
        let some = [past / 3, past * 2 / 3, past - 1].map(|back| snapshot.seq.saturating_sub(back + 1));
        for seq in std::collections::BTreeSet::from(some).into_iter().filter(|seq| *seq >= snapshot.floor) {
            let past = log.snapshot_at(seq).await.unwrap_or_else(|error| panic!("{place}: {error:?}"));
            let rows = self.tables(&past).await;
            self.told.borrow().check(&format!("{place}, commit {seq}"), &past, &rows);
        }
        let rows = self.tables(&snapshot).await;
        self.told.borrow().check(place, &snapshot, &rows).into_values().collect()
    }
}

/// Names the case when it panics.
struct Case(String);

impl Drop for Case {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("failed: {}", self.0);
        }
    }
}

/// What a scenario begins with.
async fn prepare(scenario: &Scenario) -> World {
    let world = World::new();
    (scenario.prepare)(&world).await.unwrap_or_else(|error| panic!("{}: {error:?}", scenario.name));
    world
}

async fn run(scenario: &Scenario, world: World) -> Vec<usize> {
    let crash = world.crash;
    let place = format!("{}, {crash:?}", scenario.name);
    let _case = Case(place.clone());
    let result = (scenario.run)(&world).await;
    let requests = world.requests();
    match crash {
        None => result.unwrap_or_else(|error| panic!("{place}: {error:?}")),
        // A crash that was not reached would test nothing.
        Some(crash) => assert!(requests[crash.process] > crash.at, "{place}: {requests:?}"),
    }
    world.check(&place).await;
    requests
}

#[test]
fn crash_at_every_request_of_every_scenario_keeps_what_was_acknowledged() {
    let wanted = std::env::var("PARQUEDB_SCENARIO").ok();
    let scenarios = scenarios::all();
    let scenarios =
        scenarios.iter().filter(|one| wanted.as_ref().is_none_or(|name| one.name.contains(name.as_str())));
    let mut cases = Vec::new();
    let mut count = 0;
    for scenario in scenarios {
        let beginning = simulate(prepare(scenario));
        let requests = simulate(run(scenario, beginning.prepared(None)));
        println!("{}: {requests:?} requests", scenario.name);
        count += 1;
        for (process, requests) in requests.into_iter().enumerate() {
            for at in 0..requests {
                for applied in [false, true] {
                    let world = beginning.prepared(Some(Crash { process, at, applied }));
                    cases.push((scenario, world));
                }
            }
        }
    }
    let total = cases.len();
    let cases = Mutex::new(cases);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let Some((scenario, world)) = cases.lock().unwrap().pop() else { return };
                    simulate(run(scenario, world));
                }
            });
        }
    });
    println!("{total} crash points in {count} scenarios");
    if wanted.is_none() {
        assert!(count >= 20 && total >= 1500, "{count} scenarios, {total} crash points");
    }
}

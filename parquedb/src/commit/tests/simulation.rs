//! Several processes on one simulated clock, over a store that delays, fails and lies by chance. A seed
//! always gives the same run.

use super::*;
use crate::error::ErrorKind;
use crate::testing::Random;
use crate::time::{self, simulate};
use network::{Handle, Weather};
use process::{Habits, Process};
use std::sync::Mutex;
use world::{Trace, World};

mod network;
mod process;
mod upkeep;
mod world;

/// Operations in one run.
const OPERATIONS: u64 = 300;

/// What a run came to.
#[derive(Debug, Default, Clone, Copy)]
struct Sum {
    operations: u64,
    requests: u64,
    faults: u64,
    commits: u64,
    collected: u64,
    compacted: u64,
    removed: u64,
    expired: u64,
    hours: u64,
}

/// Prints how to repeat a run that failed, and its end.
struct Report {
    seed: u64,
    trace: Trace,
}

impl Drop for Report {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let trace = self.trace.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let last = trace.len().saturating_sub(60);
        println!("{}", trace[last..].join("\n"));
        println!(
            "repeat it: PARQUEDB_SEED={} PARQUEDB_SEEDS=1 cargo test -p parquedb --lib simulation",
            self.seed
        );
    }
}

async fn run(seed: u64, trace: Trace) -> Sum {
    let mut random = Random::new(seed);
    let weather = Weather {
        fails: *random.pick(&[0, 100, 30, 12]),
        stalls: *random.pick(&[0, 400, 150]),
        damages: random.one_in(8),
    };
    let pace = Duration::from_millis(*random.pick(&[200, 5_000, 60_000, 400_000]));
    let habits = Habits { pace, bursts: random.one_in(3), damages: weather.damages };
    let exclusive = random.one_in(5);
    let start = time::now();
    let network = Handle::new(start, weather, random.fork());
    let count = 3 + usize::try_from(random.below(3)).unwrap();
    let world = World::new(network, start, random, trace, exclusive);
    let each = OPERATIONS / count as u64;
    let processes: Vec<_> = (0..count).map(|index| Process::new(&world, index, each, &habits)).collect();
    futures::future::join_all(processes.iter().map(Process::run)).await;
    // What is under way lands, or never will.
    time::sleep(Duration::from_secs(24 * 3600)).await;
    world.network.calm_down();
    let place = format!("seed {seed}, at the end");
    let commits = world.check_end(&place).await;
    let log = world.fresh().await;
    log.flush().await.unwrap();
    let collected = log.collect_garbage(crate::commit::GarbageOptions::default()).await.unwrap();
    let again = world.check_end(&format!("{place}, flushed and collected")).await;
    assert_eq!(again, commits, "{place}");
    let (requests, faults) = world.network.counts();
    Sum {
        operations: each * count as u64,
        requests,
        faults,
        commits: commits as u64,
        collected: collected.floor,
        compacted: world.compacted.get(),
        removed: world.removed.get(),
        expired: world.expired.get(),
        hours: (time::now() - start).as_secs() / 3600,
    }
}

fn traced(seed: u64) -> (Sum, Vec<String>) {
    let trace = Trace::default();
    let _report = Report { seed, trace: Arc::clone(&trace) };
    let sum = simulate(run(seed, Arc::clone(&trace)));
    let lines = std::mem::take(&mut *trace.lock().unwrap());
    (sum, lines)
}

#[test]
fn simulation_of_processes_keeps_every_promise_of_the_log() {
    let mut seeds = seeds(500);
    let first = seeds.start;
    let next = Mutex::new(&mut seeds);
    let total = Mutex::new((0, Sum::default()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let Some(seed) = next.lock().unwrap().next() else { return };
                    let (sum, _) = traced(seed);
                    let (runs, total) = &mut *total.lock().unwrap();
                    *runs += 1;
                    total.operations += sum.operations;
                    total.requests += sum.requests;
                    total.faults += sum.faults;
                    total.commits += sum.commits;
                    total.collected += u64::from(sum.collected > 0);
                    total.compacted += sum.compacted;
                    total.removed += sum.removed;
                    total.expired += sum.expired;
                    total.hours += sum.hours;
                }
            });
        }
    });
    let (runs, total) = total.into_inner().unwrap();
    println!("{runs} seeds from {first} on: {total:?}");
    let worked = total.compacted > 50 && total.removed > 500 && total.expired > 500;
    let enough = total.faults > 1000 && total.collected > 0 && worked;
    assert!(runs < 50 || enough, "{total:?}");
}

#[test]
fn simulation_of_a_seed_repeats_itself() {
    for seed in seeds(500).take(6) {
        let (_, first) = traced(seed);
        let (_, second) = traced(seed);
        let differs = first.iter().zip(&second).position(|(one, other)| one != other);
        if let Some(at) = differs {
            panic!("seed {seed} runs otherwise from line {at} on:\n{}\n{}", first[at], second[at]);
        }
        assert_eq!(first.len(), second.len(), "seed {seed}");
        assert!(first.len() > 50, "seed {seed}: {first:?}");
    }
}

/// Collectors that begin at about the same time, over a slow store.
async fn collections(seed: u64) {
    let mut random = Random::new(seed);
    let start = time::now();
    let weather = Weather { fails: 0, stalls: 0, damages: false };
    let network = Handle::new(start, weather, random.fork());
    let world = World::new(network, start, random, Trace::default(), false);
    let log = world.fresh().await;
    for step in 0..8 {
        let mut changes = write("A", step..step + 1);
        changes.writes[0].replace = true;
        log.commit(changes).await.unwrap();
        log.flush().await.unwrap();
        time::sleep(Duration::from_secs(1800)).await;
    }
    let collecting = (0..3).map(async |_| {
        let store = Store::new(Arc::new(world.network.another()), "db");
        let clock = Arc::new(network::SimulatedClock { start, skew: 0, drift: 0 });
        let log = Log::open(store, LogOptions { clock, ..LogOptions::default() }).await.unwrap();
        time::sleep(Duration::from_millis(world.below(300))).await;
        let retention = Duration::from_secs(3600 + world.below(7200));
        let options = crate::commit::GarbageOptions { retention, ..Default::default() };
        if let Err(error) = log.collect_garbage(options).await {
            // No answer comes for longer than a commit waits, once in some hundred seeds.
            let is_passing = matches!(
                error.kind(),
                ErrorKind::Conflict | ErrorKind::Unavailable | ErrorKind::OutcomeUnknown
            );
            assert!(is_passing, "seed {seed}: {error:?}");
        }
    });
    futures::future::join_all(collecting).await;
    let state = world.check_log(&format!("seed {seed}")).await;
    assert!(state.snapshot.floor > 0, "seed {seed}: nothing was collected");
}

#[test]
fn simulation_of_collections_that_meet_finds_no_damage() {
    for seed in seeds(60) {
        println!(
            "PARQUEDB_SEED={seed} PARQUEDB_SEEDS=1 cargo test -p parquedb --lib simulation_of_collections"
        );
        simulate(collections(seed));
    }
}

//! One simulated process: it opens the database, does this and that, dies, and comes back.

use super::super::told::{Fate, SOURCE, Unit, absorbed, is_fresh};
use super::super::*;
use super::network::{Handle, SimulatedClock};
use super::world::World;
use crate::ErrorKind;
use crate::error::Result;
use crate::time;
use futures::future::{Either, select};
use std::cell::{Cell, RefCell};

pub(super) struct Process<'a> {
    pub(super) world: &'a World,
    index: usize,
    /// Operations it still does.
    left: Cell<u64>,
    pace: Duration,
    handle: RefCell<Handle>,
    made: Cell<i64>,
    sequence: Cell<u64>,
    damages: bool,
    bursts: bool,
}

/// What all processes of a run do alike.
#[derive(Debug)]
pub(super) struct Habits {
    /// The longest usual pause between two operations.
    pub(super) pace: Duration,
    /// They work in bursts, with hours between, and collect garbage often.
    pub(super) bursts: bool,
    /// They may meet damaged bodies.
    pub(super) damages: bool,
}

/// Whether the process goes on.
enum End {
    Done,
    Reopen,
}

impl<'a> Process<'a> {
    pub(super) fn new(world: &'a World, index: usize, operations: u64, habits: &Habits) -> Self {
        Self {
            world,
            index,
            left: Cell::new(operations),
            pace: habits.pace,
            handle: RefCell::new(world.network.another()),
            made: Cell::new(0),
            sequence: Cell::new(0),
            damages: habits.damages,
            bursts: habits.bursts,
        }
    }

    fn note(&self, what: &str) {
        self.world.note(self.index, what);
    }

    /// A word for what came out, and that it may come out.
    pub(super) fn outcome<T>(&self, what: &str, result: &Result<T>) {
        match result {
            Ok(_) => self.note(&format!("{what}: done")),
            Err(error) => {
                self.note(&format!("{what}: {:?}", error.kind()));
                let is_allowed = match error.kind() {
                    ErrorKind::Unavailable | ErrorKind::OutcomeUnknown | ErrorKind::Conflict => true,
                    ErrorKind::Closed => self.world.is_exclusive,
                    // A refusal for want of permission.
                    ErrorKind::Invalid => error.to_string().contains("permission"),
                    ErrorKind::Corrupt => self.damages,
                    _ => false,
                };
                assert!(is_allowed, "process {}: {what}: {error:?}", self.index);
            }
        }
    }

    pub(super) async fn run(&self) {
        while self.left.get() > 0 {
            *self.handle.borrow_mut() = self.world.network.another();
            if matches!(self.live().await, End::Done) {
                break;
            }
            self.handle.borrow().die();
            self.note("died");
            time::sleep(Duration::from_millis(self.world.below(5_000))).await;
        }
        self.note("ended");
    }

    /// From opening to the end.
    async fn live(&self) -> End {
        let known = *self.world.acknowledged.borrow();
        let opening = self.mortal(self.open()).await;
        let log = match opening {
            None => return End::Reopen,
            Some(result) => {
                self.left.set(self.left.get().saturating_sub(1));
                self.outcome("open", &result);
                match result {
                    Ok(log) => log,
                    Err(_) => return End::Reopen,
                }
            }
        };
        let mut seen = log.snapshot().seq;
        assert!(seen >= known, "process {} opened at {seen}, and {known} was acknowledged", self.index);
        while self.left.get() > 0 {
            self.left.set(self.left.get() - 1);
            match self.mortal(self.operate(&log)).await {
                None => return End::Reopen,
                Some(false) => return End::Reopen,
                Some(true) => {}
            }
            let now = log.snapshot().seq;
            assert!(now >= seen, "process {} went back from {seen} to {now}", self.index);
            seen = now;
            self.pause().await;
        }
        End::Done
    }

    /// Does something, unless it dies meanwhile.
    async fn mortal<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        if !self.world.one_in(25) {
            return Some(work.await);
        }
        let life = time::sleep(Duration::from_micros(self.world.below(2_000_000)));
        match select(std::pin::pin!(work), std::pin::pin!(life)).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(_) => {
                self.handle.borrow().die();
                None
            }
        }
    }

    async fn pause(&self) {
        let world = self.world;
        let most = match world.below(100) {
            // Work for some seconds, then nothing for an hour or three: collections pass meanwhile.
            0..20 if self.bursts => Duration::from_secs(3 * 3600),
            // Stopped, and woken hours later.
            0 => Duration::from_secs(5 * 3600),
            1..10 => self.pace * 20,
            _ => self.pace,
        };
        time::sleep(Duration::from_micros(world.below(u64::try_from(most.as_micros()).unwrap()))).await;
    }

    async fn open(&self) -> Result<Log> {
        let world = self.world;
        let minute = 60_000_000;
        let (skew, drift) =
            (world.below(20 * minute) as i64 - 10 * minute as i64, world.below(200) as i64 - 100);
        let timeout = world.pick(&[2, 15, 15, 40_000]);
        let options = LogOptions {
            inline_limit_bytes: if world.one_in(3) { 600 } else { 1 << 20 },
            flush_after_commits: world.pick(&[12, 40, 256]),
            flush_aside_from_bytes: world.pick(&[0, u64::MAX]),
            request_timeout: Duration::from_secs(timeout),
            outcome_deadline: Duration::from_secs(2 * timeout),
            clock: Arc::new(SimulatedClock { start: world.start, skew, drift }),
            exclusive: world.is_exclusive && world.one_in(4),
            always_check_anchor: world.one_in(4),
            ..LogOptions::default()
        };
        let handle = self.handle.borrow().clone();
        Log::open(Store::new(Arc::new(handle), "db"), options).await
    }

    /// One operation. Gives whether the process stays open.
    async fn operate(&self, log: &Log) -> bool {
        let world = self.world;
        match world.below(100) {
            0..10 if self.bursts => self.collect(log).await,
            0..42 => return self.insert(log).await,
            42..47 => return self.remove(log).await,
            47..50 => return self.expire(log).await,
            50..55 => self.refresh(log).await,
            55..57 => self.replace(log).await,
            57..63 => self.catch_up(log).await,
            63..67 => self.compact(log).await,
            67..72 => {
                let result = log.flush().await;
                self.outcome("flush", &result);
            }
            72..84 => self.read_past(log).await,
            84..88 => {
                let abandoned = world.abandoned.borrow_mut().pop();
                if let Some(unit) = abandoned {
                    return self.commit(log, unit, "again").await;
                }
            }
            88..91 => self.pin(log).await,
            91..96 => self.collect(log).await,
            96..98 => self.check(log).await,
            _ => {
                if world.one_in(2) {
                    let result = log.close().await;
                    self.outcome("close", &result);
                }
                return false;
            }
        }
        true
    }

    fn unit(&self) -> Unit {
        self.made.set(self.made.get() + 1);
        let number = i64::try_from(self.index).unwrap() * 100_000 + self.made.get();
        let mut unit = Unit::new(number);
        if self.world.one_in(4) {
            // A number that is left out now and then is nobody's.
            self.sequence.set(self.sequence.get() + 1 + u64::from(self.world.one_in(10)));
            let producer = format!("producer {}", self.index);
            unit.sequence = Some(Sequence { producer, number: self.sequence.get() });
        }
        unit
    }

    async fn insert(&self, log: &Log) -> bool {
        let world = self.world;
        let mut unit = self.unit();
        let first = unit.number * 1000;
        if world.one_in(3) {
            let many = if world.one_in(6) { 100 } else { 1 + world.below(3) as i64 };
            unit = unit.rows("B", first..first + many);
        }
        if !world.one_in(4) {
            unit = unit.rows(SOURCE, first..first + 1 + world.below(3) as i64);
            let snapshot = log.snapshot();
            if is_fresh(&snapshot) && !world.one_in(12) {
                unit = unit.streaming(snapshot.seq);
            }
        }
        self.commit(log, unit, "insert").await
    }

    /// Removes some rows that earlier units have left.
    async fn remove(&self, log: &Log) -> bool {
        let world = self.world;
        let snapshot = log.snapshot();
        let Some(table) = snapshot.tables.get("B") else { return true };
        let Some(mut places) = world.places(table).await else { return true };
        let rarely = world.pick(&[1, 3, 3, 20, 50]);
        places.retain(|_| world.one_in(rarely));
        if places.is_empty() {
            return true;
        }
        world.removed.set(world.removed.get() + places.len() as u64);
        let mut unit = self.unit().removing("B", &places, snapshot.seq);
        if world.one_in(3) {
            let first = unit.number * 1000;
            unit = unit.rows("B", first..first + 2);
        }
        self.commit(log, unit, "remove").await
    }

    /// Lets rows expire that are less than one of them, as far as every view over them has absorbed them.
    async fn expire(&self, log: &Log) -> bool {
        let world = self.world;
        let snapshot = log.snapshot();
        let name = if world.one_in(2) { SOURCE } else { "B" };
        let Some(table) = snapshot.tables.get(name) else { return true };
        let Some(mut places) = world.places(table).await else { return true };
        let absorbed = match absorbed(&snapshot) {
            Some(seq) if name == SOURCE => seq,
            // What must be built anew holds nothing that could be lost.
            _ => u64::MAX,
        };
        places.retain(|place| place.seq <= absorbed);
        if places.is_empty() {
            return true;
        }
        let least = places[usize::try_from(world.below(places.len() as u64)).unwrap()].value;
        places.retain(|place| place.value <= least);
        let count = places.len() as u64;
        let unit = self.unit().expiring(name, &places, snapshot.seq);
        let number = unit.number;
        let stays_open = self.commit(log, unit, "expire").await;
        if let Some(Fate::Landed(_)) = world.told.borrow().fates.get(&number) {
            world.expired.set(world.expired.get() + count);
        }
        stays_open
    }

    /// Commits a unit, and again as long as nobody knows what became of it. Gives whether to stay open.
    async fn commit(&self, log: &Log, unit: Unit, what: &str) -> bool {
        let world = self.world;
        world.abandoned.borrow_mut().push(unit.clone());
        let forget = || world.abandoned.borrow_mut().retain(|other| other.number != unit.number);
        for _ in 0..3 {
            world.told.borrow_mut().send(&unit);
            let result = log.commit(unit.changes()).await;
            world.told.borrow_mut().answer(unit.number, &result);
            let seq = result.as_ref().map(|done| (done.snapshot.seq, done.repeated));
            self.outcome(&format!("{what} unit {} {:?}", unit.number, seq.as_ref().ok()), &result);
            match result {
                Ok(done) => {
                    if !done.repeated {
                        let mut acknowledged = world.acknowledged.borrow_mut();
                        *acknowledged = (*acknowledged).max(done.snapshot.seq);
                    }
                    forget();
                    return true;
                }
                Err(error) if error.kind() == ErrorKind::OutcomeUnknown && !world.one_in(4) => {
                    self.pause().await;
                }
                Err(error) if matches!(error.kind(), ErrorKind::OutcomeUnknown | ErrorKind::Corrupt) => {
                    // Perhaps another process sends it again.
                    return true;
                }
                Err(error) => {
                    forget();
                    return error.kind() != ErrorKind::Closed;
                }
            }
        }
        true
    }

    async fn refresh(&self, log: &Log) {
        let caught = log.catch_up().await;
        self.outcome("catch up", &caught);
        let snapshot = log.snapshot();
        if caught.is_ok()
            && let Some(tables) = self.world.tables(&snapshot).await
        {
            // What is built anew gives up what has expired.
            let unit = match absorbed(&snapshot) {
                Some(_) if !self.world.one_in(4) => self.unit().following(&snapshot, &tables),
                _ => self.unit().refreshing(&snapshot, &tables),
            };
            self.commit(log, unit, "refresh").await;
        }
    }

    async fn replace(&self, log: &Log) {
        let unit = self.unit();
        let first = unit.number * 1000;
        let unit = unit.replacing(SOURCE, first..first + self.world.below(3) as i64);
        self.commit(log, unit, "replace").await;
    }

    async fn catch_up(&self, log: &Log) {
        let known = *self.world.acknowledged.borrow();
        let result = log.catch_up().await;
        if let Ok(snapshot) = &result {
            assert!(snapshot.seq >= known, "process {}: {} after {known}", self.index, snapshot.seq);
        }
        self.outcome(&format!("catch up {:?}", result.as_ref().ok().map(|snapshot| snapshot.seq)), &result);
    }

    async fn check(&self, log: &Log) {
        let snapshot = log.snapshot();
        let is_there = self.world.check(&format!("process {}", self.index), &snapshot).await;
        self.note(&format!("read {}: {is_there}", snapshot.seq));
    }

    async fn read_past(&self, log: &Log) {
        let world = self.world;
        let last = log.snapshot().seq;
        let seq = world.below(last + 1);
        let result = if world.one_in(3) {
            let Ok(known) = log.snapshot_at(seq).await else { return self.note("read past: no") };
            log.snapshot_as_of(known.time).await
        } else {
            log.snapshot_at(seq).await
        };
        match result {
            Ok(snapshot) => {
                assert!(snapshot.seq >= seq, "asked for {seq}, and got {}", snapshot.seq);
                let is_there = world.check(&format!("process {}: past", self.index), &snapshot).await;
                self.note(&format!("read {seq}: {} {is_there}", snapshot.seq));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let floor = log.snapshot().floor;
                assert!(seq < floor, "commit {seq} is not found, and the floor is {floor}: {error:?}");
                self.note(&format!("read {seq}: given up"));
            }
            Err(error) => self.outcome("read past", &Err::<(), _>(error)),
        }
    }
}

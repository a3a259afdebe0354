//! What all processes of a simulation share, what they were told, and the comparison with what is there.

use super::super::told::{Fate, MARKS, SOURCE, Tables, Told, Unit, VIEW};
use super::super::*;
use super::network::{Handle, SimulatedClock};
use crate::commit::read::{self, Stop};
use crate::commit::scrub::{ScrubOptions, scrub};
use crate::commit::snapshot::Table;
use crate::commit::state::State;
use crate::testing::Random;
use crate::time::{self, Instant};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

/// The rows of a file, each with its commit.
type FileRows = Arc<Vec<(u64, i64)>>;

/// What happened, in order: the same for the same seed.
pub(super) type Trace = Arc<Mutex<Vec<String>>>;

pub(super) struct World {
    pub(super) start: Instant,
    pub(super) network: Handle,
    pub(super) random: RefCell<Random>,
    pub(super) told: RefCell<Told>,
    /// Units whose process does not know what became of them: another one may send them again.
    pub(super) abandoned: RefCell<Vec<Unit>>,
    /// The highest commit that anybody was told of.
    pub(super) acknowledged: RefCell<u64>,
    /// What reads of past snapshots gave.
    pub(super) read: RefCell<BTreeMap<u64, Tables>>,
    /// Files that compaction has replaced.
    pub(super) compacted: Cell<u64>,
    /// Rows that were removed.
    pub(super) removed: Cell<u64>,
    /// Rows that expired.
    pub(super) expired: Cell<u64>,
    pub(super) trace: Trace,
    pub(super) is_exclusive: bool,
    files: RefCell<HashMap<String, FileRows>>,
}

impl World {
    pub(super) fn new(
        network: Handle,
        start: Instant,
        random: Random,
        trace: Trace,
        exclusive: bool,
    ) -> Self {
        Self {
            start,
            network,
            random: RefCell::new(random),
            told: RefCell::default(),
            abandoned: RefCell::default(),
            acknowledged: RefCell::default(),
            read: RefCell::default(),
            compacted: Cell::default(),
            removed: Cell::default(),
            expired: Cell::default(),
            trace,
            is_exclusive: exclusive,
            files: RefCell::default(),
        }
    }

    pub(super) fn below(&self, end: u64) -> u64 {
        self.random.borrow_mut().below(end)
    }

    pub(super) fn pick(&self, from: &[u64]) -> u64 {
        *self.random.borrow_mut().pick(from)
    }

    pub(super) fn one_in(&self, of: u64) -> bool {
        self.random.borrow_mut().one_in(of)
    }

    pub(super) fn note(&self, process: usize, what: &str) {
        let passed = (time::now() - self.start).as_micros();
        let line =
            format!("{:>6}.{:06} s  process {process}: {what}", passed / 1_000_000, passed % 1_000_000);
        self.trace.lock().unwrap().push(line);
    }

    /// A look at the store by somebody to whom nothing goes wrong.
    pub(super) fn store(&self) -> Store {
        Store::new(Arc::new(self.network.store()), "db")
    }

    fn clock(&self) -> Arc<SimulatedClock> {
        Arc::new(SimulatedClock { start: self.start, skew: 0, drift: 0 })
    }

    /// A process without faults that opens the database anew.
    pub(super) async fn fresh(&self) -> Log {
        let open = |exclusive| {
            let options = LogOptions {
                exclusive,
                clock: self.clock(),
                writer_id: uuid::Uuid::nil(),
                ..LogOptions::default()
            };
            Log::open(self.store(), options)
        };
        match open(false).await {
            Err(error) if error.kind() == crate::ErrorKind::Closed => open(true).await.unwrap(),
            opened => opened.unwrap(),
        }
    }

    /// All rows of a snapshot, or nothing when one of its files is gone.
    pub(super) async fn tables(&self, snapshot: &Snapshot) -> Option<Tables> {
        let mut tables = Tables::new();
        for (name, table) in &snapshot.tables {
            let mut rows: Vec<(u64, i64)> = Vec::new();
            let places = self.places(table).await?;
            rows.extend(places.into_iter().map(|place| (place.seq, place.value)));
            assert_eq!(rows.len() as u64, table.rows, "rows of {name} at commit {}", snapshot.seq);
            rows.sort_unstable();
            tables.insert(name.clone(), rows);
        }
        Some(tables)
    }

    /// The live rows of a table, or nothing when one of its files is gone.
    pub(super) async fn places(&self, table: &Table) -> Option<Vec<Place>> {
        let mut places = Vec::new();
        for file in table.files.iter() {
            let rows = self.file(&file.path, file.first_seq, file.rows).await?;
            let live = (0..).zip(rows.iter()).filter(|(position, _)| !file.removed.contains(*position));
            places.extend(live.map(|(position, (seq, value))| {
                let run = RunId::File(file.path.clone());
                Place { run, position, seq: *seq, value: *value }
            }));
        }
        for run in &table.inline {
            let values =
                run.batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values());
            let live = (0..).zip(values).filter(|(position, _)| !run.removed.contains(*position));
            places.extend(live.map(|(position, value)| {
                let (run, seq) = (RunId::Inline(run.seq), run.seq);
                Place { run, position, seq, value: *value }
            }));
        }
        Some(places)
    }

    async fn file(&self, path: &str, first_seq: u64, rows: u64) -> Option<FileRows> {
        if let Some(known) = self.files.borrow().get(path) {
            return Some(Arc::clone(known));
        }
        let location = Path::parse(path).unwrap();
        let bytes = self.store().object_store().get(&location).await.ok()?.bytes().await.unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
        let mut read = Vec::new();
        for batch in reader {
            let batch = batch.unwrap();
            let values = batch.column_by_name("n").unwrap().as_primitive::<Int64Type>();
            let seqs = batch.column_by_name(SEQ_COLUMN).map(|seqs| seqs.as_primitive::<UInt64Type>());
            let seq = |index| seqs.map_or(first_seq, |seqs| seqs.value(index));
            read.extend(values.values().iter().enumerate().map(|(index, value)| (seq(index), *value)));
        }
        assert_eq!(read.len() as u64, rows, "rows of {path}");
        let read = Arc::new(read);
        self.files.borrow_mut().insert(path.to_owned(), Arc::clone(&read));
        Some(read)
    }

    /// Compares a snapshot with all that is known of the units, and with what it was when it was read before.
    pub(super) async fn check(&self, place: &str, snapshot: &Snapshot) -> bool {
        let Some(tables) = self.tables(snapshot).await else {
            // Only what was given up may be gone.
            let floor = self.fresh_floor().await;
            assert!(
                snapshot.seq < floor,
                "{place}: files of commit {} are gone; floor {floor}",
                snapshot.seq
            );
            return false;
        };
        self.told.borrow().check(place, snapshot, &tables);
        let mut read = self.read.borrow_mut();
        let before = read.entry(snapshot.seq).or_insert_with(|| tables.clone());
        assert_eq!(*before, tables, "{place}: commit {} was read before, and was another", snapshot.seq);
        true
    }

    async fn fresh_floor(&self) -> u64 {
        read::load(&self.store(), self.clock().as_ref()).await.unwrap().unwrap().state.snapshot.floor
    }

    /// Goes through the log commit by commit and checks each.
    pub(super) async fn check_log(&self, place: &str) -> State {
        let store = self.store();
        let newest = read::load(&store, self.clock().as_ref()).await.unwrap().unwrap().state;
        let (floor, last) = (newest.snapshot.floor, newest.tip.seq);
        let mut state = if floor == 0 {
            let mut state = State::empty();
            read::follow(&store, &mut state, &mut Vec::new(), Some(0), Stop::At(0)).await.unwrap();
            state
        } else {
            read::state_at(&store, floor).await.unwrap()
        };
        let mut before: Option<Arc<Snapshot>> = None;
        while state.tip.seq < last {
            let snapshot = Arc::clone(&state.snapshot);
            // Everything now and then, and the view wherever it or its source has changed.
            if state.tip.seq % 16 == 0 {
                assert!(self.check(place, &snapshot).await, "{place}: below the floor");
            } else if before.as_ref().is_none_or(|before| touches_view(before, &snapshot)) {
                self.check_view(place, &snapshot).await;
            }
            let next = state.tip.seq + 1;
            read::follow(&store, &mut state, &mut Vec::new(), Some(next), Stop::At(next)).await.unwrap();
            assert!(state.snapshot.time >= snapshot.time, "{place}: commit {next} is before the last");
            before = Some(snapshot);
        }
        assert!(self.check(place, &state.snapshot).await, "{place}: the last commit has lost files");
        assert_eq!(state.tip, newest.tip, "{place}: the log read from its floor ends elsewhere");
        state
    }

    async fn check_view(&self, place: &str, snapshot: &Snapshot) {
        let mut reduced = snapshot.clone();
        reduced.tables.retain(|name, _| [SOURCE, VIEW, MARKS].contains(&name.as_str()));
        let tables = self.tables(&reduced).await;
        let tables = tables.unwrap_or_else(|| panic!("{place}: files of commit {} are gone", snapshot.seq));
        self.told.borrow().check_view(place, snapshot, &tables);
    }

    /// At the end nothing is open: each unit is there once or not at all.
    pub(super) async fn check_end(&self, place: &str) -> usize {
        let state = self.check_log(place).await;
        let tables = self.tables(&state.snapshot).await.unwrap();
        let marks = tables.get(MARKS).map_or(0, Vec::len);
        let has_landed = |fate: &&Fate| matches!(fate, Fate::Landed(_) | Fate::Somewhere);
        let landed = self.told.borrow().fates.values().filter(has_landed).count();
        assert!(marks >= landed, "{place}: {landed} commits were acknowledged, {marks} are there");
        // Also what nobody has to read is sound: older checkpoints, and all that they and the log agree on.
        let options = ScrubOptions { recent: Duration::MAX, clock: self.clock(), ..ScrubOptions::default() };
        let mut report = scrub(&self.store(), &options).await.unwrap();
        // A hint that lands late may name a checkpoint that was collected meanwhile. Nobody trusts it.
        report.findings.retain(|finding| finding.message != "HEAD names it");
        assert_eq!(report.findings, [], "{place}");
        marks
    }
}

/// Whether the view, what it has absorbed, or its source is another than before.
fn touches_view(before: &Snapshot, now: &Snapshot) -> bool {
    let is_same = |name: &str| match (before.tables.get(name), now.tables.get(name)) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (one, other) => one.is_none() && other.is_none(),
    };
    !is_same(SOURCE) || !is_same(VIEW) || before.cursors.get(VIEW) != now.cursors.get(VIEW)
}

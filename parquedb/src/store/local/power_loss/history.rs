//! Real databases in a folder that is watched, and what they should hold.

use super::*;
use crate::clock::ManualClock;
use crate::commit::TableWrite;
use crate::commit::snapshot::Snapshot;
use arrow::array::{AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Numbers of commits are multiplied by this to give their rows.
const ROWS: u64 = 1_000;

/// The commit that is made to see that the log goes on.
const PROOF: u64 = 1_000_000;

/// What each commit writes: its tables, and into each so many rows.
pub(super) type Rows = BTreeMap<u64, (Vec<&'static str>, u64)>;

/// What happened to one database.
pub(super) struct History {
    pub(super) operations: Vec<Operation>,
    pub(super) rows: Rows,
}

/// A process with its own runtime. One thread does all its I/O, so that a seed gives the same history.
struct Process {
    runtime: Runtime,
    recorder: Arc<Recorder>,
    log: Option<Log>,
}

impl Process {
    fn open(&mut self, root: PathBuf, durability: Durability, clock: &Arc<ManualClock>) {
        let local = LocalStore::with_disk(root, durability, Arc::clone(&self.recorder) as _);
        let opening = Log::open(Store::with_local(local), options(clock));
        self.log = Some(self.runtime.block_on(opening).unwrap());
    }
}

enum Work {
    Commit(u64, Box<Changes>),
    Flush,
    Collect,
}

impl Process {
    fn work(&self, record: &Record, work: Work) {
        let log = self.log.as_ref().unwrap();
        self.runtime.block_on(async {
            let result = match work {
                Work::Commit(commit, changes) => log.commit(*changes).await.map(|_| {
                    record.note(Operation::Acknowledged(commit));
                }),
                Work::Flush => log.flush().await,
                Work::Collect => {
                    let retention = Duration::from_secs(3_600);
                    let options = GarbageOptions { retention, ..GarbageOptions::default() };
                    log.collect_garbage(options).await.map(|_| ())
                }
            };
            // Who stood still while hours passed may be refused.
            if let Err(error) = result {
                assert_ne!(error.kind(), crate::ErrorKind::Corrupt, "{error}");
            }
            log.idle().await;
        });
    }
}

fn options(clock: &Arc<ManualClock>) -> LogOptions {
    LogOptions {
        inline_limit_bytes: 1_000,
        flush_after: Duration::from_secs(1_000_000),
        clock: Arc::clone(clock) as _,
        ..LogOptions::default()
    }
}

fn changes(commit: u64, tables: &[&'static str], rows: u64) -> Changes {
    let write = |table: &&'static str| {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let first = i64::try_from(commit * ROWS).unwrap();
        let values = Int64Array::from_iter_values(first..first + i64::try_from(rows).unwrap());
        TableWrite {
            table: (*table).to_owned(),
            is_view: *table == "V",
            batches: vec![RecordBatch::try_new(schema, vec![Arc::new(values)]).unwrap()],
            replace: false,
        }
    };
    Changes { writes: tables.iter().map(write).collect(), ..Changes::default() }
}

struct Run {
    folder: TempDir,
    record: Record,
    durability: Durability,
    clock: Arc<ManualClock>,
    rows: Rows,
    random: Random,
}

impl Run {
    fn process(&self) -> Process {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        Process { runtime, recorder: Recorder::new(&self.record), log: None }
    }

    fn opened(&self) -> Process {
        let mut process = self.process();
        self.open(&mut process);
        process
    }

    fn open(&self, process: &mut Process) {
        process.open(self.folder.path().join(ROOT), self.durability, &self.clock);
    }

    /// A new commit: small ones stay in the log, large ones go to files.
    fn next(&mut self, is_large: bool) -> (u64, Changes) {
        let commit = self.rows.len() as u64 + 1;
        let mut tables: Vec<&str> = vec!["A", "B", "V"];
        tables.remove(usize::try_from(self.random.below(3)).unwrap());
        if self.random.one_in(2) {
            tables.truncate(1);
        }
        let rows = if is_large { 200 } else { 5 };
        let changes = changes(commit, &tables, rows);
        self.rows.insert(commit, (tables, rows));
        self.record.note(Operation::Began(commit));
        (commit, changes)
    }

    fn commit(&mut self, process: &Process, is_large: bool) {
        let (commit, changes) = self.next(is_large);
        process.work(&self.record, Work::Commit(commit, Box::new(changes)));
    }

    fn several(&mut self, process: &Process) {
        let several: Vec<_> = (0..3).map(|_| self.next(self.rows.len() % 3 == 2)).collect();
        let log = process.log.as_ref().unwrap();
        process.runtime.block_on(async {
            let commits = several.into_iter().map(|(commit, changes)| async move {
                log.commit(changes).await.unwrap();
                commit
            });
            let mut commits: futures::stream::FuturesUnordered<_> = commits.collect();
            while let Some(commit) = commits.next().await {
                self.record.note(Operation::Acknowledged(commit));
            }
            log.idle().await;
        });
    }

    fn flush(&self, process: &Process) {
        process.work(&self.record, Work::Flush);
    }

    /// Garbage collection takes what is older than an hour: here, all but the newest.
    fn collect(&self, process: &Process) {
        self.age_checkpoints();
        process.work(&self.record, Work::Collect);
    }

    fn age_checkpoints(&self) {
        self.clock.advance(2 * 3_600_000_000);
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let Ok(checkpoints) = fs::read_dir(self.folder.path().join(ROOT).join("ckpt")) else { return };
        for file in checkpoints {
            fs::File::options().append(true).open(file.unwrap().path()).unwrap().set_modified(old).unwrap();
        }
    }

    /// One process stands still just before it syncs a folder, having changed something there. The
    /// other one works meanwhile with what it finds.
    fn stall(&mut self, stalled: Process, other: &mut Process) -> Process {
        let folder = *self.random.pick(&["log", "log", "log", "ckpt", "", "data/A", "_views/V/data"]);
        let work = match self.random.below(5) {
            0 => Work::Flush,
            1 => {
                self.age_checkpoints();
                Work::Collect
            }
            kind => {
                let (commit, changes) = self.next(kind == 2);
                Work::Commit(commit, Box::new(changes))
            }
        };
        let (reached, go) = stalled.recorder.stall(format!("{ROOT}/{folder}").trim_end_matches('/'));
        let record = self.record.clone();
        let thread = std::thread::spawn(move || {
            stalled.work(&record, work);
            // It may have had nothing to do there.
            stalled.recorder.go_on();
            stalled
        });
        if reached.recv().is_ok() {
            for _ in 0..1 + self.random.below(3) {
                match self.random.below(6) {
                    0 => self.open(other),
                    1 => drop(other.runtime.block_on(other.log.as_ref().unwrap().catch_up()).unwrap()),
                    2 => self.flush(other),
                    3 => self.commit(other, true),
                    4 => self.collect(other),
                    _ => self.commit(other, false),
                }
            }
            go.send(()).unwrap();
        }
        thread.join().unwrap()
    }
}

impl Run {
    fn new(seed: u64, mistake: Mistake, durability: Durability) -> Run {
        let folder = tempfile::tempdir().unwrap();
        // Every third history is of a file system without hard links.
        let has_links = !(cfg!(target_os = "linux") && seed.is_multiple_of(3));
        let record = Record::new(folder.path(), mistake, has_links);
        let clock = Arc::new(ManualClock::new(1_700_000_000_000_000));
        Run { folder, record, durability, clock, rows: Rows::new(), random: Random::new(seed) }
    }

    fn history(self) -> History {
        History { operations: self.record.operations(), rows: self.rows }
    }
}

impl History {
    /// Two processes that do a bit of everything.
    pub(super) fn run(seed: u64, mistake: Mistake, durability: Durability) -> History {
        let mut run = Run::new(seed, mistake, durability);
        let mut first = run.opened();
        run.commit(&first, false);
        run.commit(&first, true);
        let mut second = run.opened();
        for step in 0..14 {
            // Lets the hint be written.
            run.clock.advance(11_000_000);
            match run.random.below(10) {
                0 | 1 => run.commit(&first, true),
                2 => run.several(&first),
                3 => run.flush(&first),
                4 => run.commit(&second, false),
                5 => run.open(&mut second),
                // Who never syncs never stands still there.
                6 | 7 if durability == Durability::OsBuffered => run.commit(&first, false),
                6 | 7 => first = run.stall(first, &mut second),
                _ => run.commit(&first, false),
            }
            if step == 9 {
                run.flush(&first);
                run.commit(&first, false);
                run.collect(&first);
            }
        }
        run.flush(&second);
        run.history()
    }

    /// A process stands still while it creates the database, before it syncs a folder. Another one opens
    /// what is there by then, and commits.
    pub(super) fn created_by_two(folder: &str) -> History {
        let mut run = Run::new(1, Mistake::None, Durability::Sync);
        let mut first = run.process();
        let (reached, go) = first.recorder.stall(folder);
        let (root, clock) = (run.folder.path().join(ROOT), Arc::clone(&run.clock));
        let thread = std::thread::spawn(move || {
            first.open(root, Durability::Sync, &clock);
            first
        });
        reached.recv().unwrap();
        let second = run.opened();
        run.commit(&second, false);
        run.commit(&second, true);
        go.send(()).unwrap();
        let first = thread.join().unwrap();
        run.commit(&first, true);
        run.commit(&second, false);
        run.history()
    }
}

/// Reads databases, and remembers what files hold.
pub(super) struct Contents<'a> {
    rows: &'a Rows,
    files: HashMap<(String, u64), Vec<i64>>,
    opened: usize,
}

impl<'a> Contents<'a> {
    pub(super) fn new(rows: &'a Rows) -> Self {
        Self { rows, files: HashMap::new(), opened: 0 }
    }

    /// Opens a database, tells which commits are in it, and sees now and then whether it goes on.
    pub(super) async fn open_and_go_on(&mut self, store: Store) -> Result<BTreeSet<u64>, String> {
        let clock = Arc::new(ManualClock::new(1_700_001_000_000_000));
        let log = Log::open(store.clone(), options(&clock)).await.map_err(|error| error.to_string())?;
        let found = self.commits(&log, &log.snapshot()).await?;
        self.opened += 1;
        if self.opened % 5 == 1 {
            let goes_on = log.commit(changes(PROOF, &["A", "B"], 3)).await;
            goes_on.map_err(|error| format!("after power loss nothing can be written: {error}"))?;
            log.flush().await.map_err(|error| format!("after power loss: {error}"))?;
            let again = Log::open(store, options(&clock)).await.map_err(|error| error.to_string())?;
            let mut then = self.commits(&again, &again.snapshot()).await?;
            if !then.remove(&PROOF) || then != found {
                return Err(format!("a commit after power loss makes {then:?} of {found:?}"));
            }
        }
        Ok(found)
    }

    /// The commits of which all rows are there, once.
    async fn commits(&mut self, log: &Log, snapshot: &Snapshot) -> Result<BTreeSet<u64>, String> {
        let mut found: BTreeMap<u64, BTreeMap<&str, u64>> = BTreeMap::new();
        for (name, table) in &snapshot.tables {
            let mut values = Vec::new();
            for file in table.files.iter() {
                let key = (file.path.clone(), file.checksum);
                let path = Path::parse(&file.path).unwrap();
                // Also known ones must be there.
                let read = log.store().get(&path).await.map_err(|error| error.to_string())?;
                let bytes = read.ok_or_else(|| format!("{path} is missing"))?;
                if xxhash_rust::xxh3::xxh3_64(&bytes) != file.checksum {
                    return Err(format!("{path} is damaged"));
                }
                let rows = self.files.entry(key).or_insert_with(|| {
                    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
                    let values = |batch: RecordBatch| {
                        batch.column_by_name("n").unwrap().as_primitive::<Int64Type>().values().to_vec()
                    };
                    reader.flat_map(|batch| values(batch.unwrap())).collect()
                });
                values.extend_from_slice(rows);
            }
            for batch in table.inline.iter().flat_map(|run| &run.batches) {
                values.extend_from_slice(batch.column(0).as_primitive::<Int64Type>().values());
            }
            let all = values.len();
            let distinct: BTreeSet<i64> = values.into_iter().collect();
            if distinct.len() != all {
                return Err(format!("{name} has {} rows twice", all - distinct.len()));
            }
            for value in distinct {
                let commit = u64::try_from(value).unwrap() / ROWS;
                *found.entry(commit).or_default().entry(name.as_str()).or_default() += 1;
            }
        }
        for (commit, tables) in &found {
            let expected = match self.rows.get(commit) {
                Some((tables, rows)) => tables.iter().map(|table| (*table, *rows)).collect(),
                None if *commit == PROOF => BTreeMap::from([("A", 3), ("B", 3)]),
                None => return Err(format!("nobody wrote commit {commit}")),
            };
            if *tables != expected {
                return Err(format!("commit {commit} wrote {expected:?}, and {tables:?} is there"));
            }
        }
        Ok(found.into_keys().collect())
    }
}

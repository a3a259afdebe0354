//! Real processes that write into one database and are killed at any moment: what they were told is there
//! exactly once, what they were not told at most once, and readers beside them see whole batches with the
//! view that belongs to them.
//!
//! The writers are this test binary itself, started again with a role in its environment.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::corpus::seeds;
use parquedb::admin::ScrubOptions;
use parquedb::{Collection, ErrorKind, GarbageOptions, database, views};
use parquedb_tests::S3Server;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

#[derive(Collection, Debug, Clone, PartialEq)]
pub(crate) struct Deed {
    pub(crate) writer: i64,
    pub(crate) number: i64,
    pub(crate) row: i64,
    pub(crate) amount: i64,
}

views! {
    /// What each writer has done so far.
    pub(crate) WriterTotals: {
        $from: Deed,
        $groupBy: [writer],
        $compute: { deeds: $count(*), largest: $max(amount), smallest: $min(number) },
    }
}

database! { pub(crate) struct Deeds { Deed, WriterTotals } }

const WRITERS: i64 = 4;

/// Batches are of different sizes, so that a torn one shows.
fn rows_of(writer: i64, number: i64) -> Vec<Deed> {
    let amount = |row| writer * 1_000_000 + number * 10 + row;
    (0..=number % 4).map(|row| Deed { writer, number, row, amount: amount(row) }).collect()
}

fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    // The test harness may have begun a line.
    writeln!(out, "\n{line}").unwrap();
    out.flush().unwrap();
}

/// Writes numbered batches and tells the parent of each, until it is killed.
async fn write(url: &str, writer: i64, first: i64) -> parquedb::Result<()> {
    let database = Deeds::open(url).await?;
    tell("open");
    for number in first.. {
        loop {
            let mut batch = database.batch();
            batch.id(format!("{writer} {number}"));
            batch.insert(&database.deed, rows_of(writer, number))?;
            tell(&format!("try {number}"));
            match batch.commit().await {
                Ok(written) => {
                    tell(&format!("ack {number} {}", written.seq));
                    // Four at full speed would leave nothing to the readers.
                    if number % 3 == 0 {
                        tokio::time::sleep(Duration::from_millis(40)).await;
                    }
                    break;
                }
                Err(error) if error.is_retryable() || error.kind() == ErrorKind::OutcomeUnknown => {
                    tell(&format!("again {number}: {error}"));
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Flushes, pins and collects garbage, until it is killed.
async fn tidy(url: &str) -> parquedb::Result<()> {
    let database = Deeds::open(url).await?;
    tell("open");
    loop {
        let worked = async {
            database.flush().await?;
            database.pin("tidy", None, Duration::from_secs(60)).await?;
            database.collect_garbage(GarbageOptions::default()).await?;
            database.unpin("tidy").await
        };
        match worked.await {
            Ok(_) => tell("ack 0 0"),
            Err(error) if error.is_retryable() || error.kind() == ErrorKind::OutcomeUnknown => {}
            Err(error) => return Err(error),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Does nothing unless it was started as a process of its own with a role.
#[test]
fn plays_a_role() {
    let Ok(role) = std::env::var("PARQUEDB_TEST_ROLE") else { return };
    let url = std::env::var("PARQUEDB_TEST_URL").unwrap();
    let first = std::env::var("PARQUEDB_TEST_FIRST").unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result = runtime.block_on(async {
        match role.parse::<i64>() {
            Ok(writer) => write(&url, writer, first).await,
            Err(_) => tidy(&url).await,
        }
    });
    if let Err(error) = result {
        tell(&format!("failed {:?} {error}", error.kind()));
    }
}

/// What the processes of one writer said.
#[derive(Debug, Default)]
struct Told {
    is_open: bool,
    acknowledged: BTreeMap<i64, u64>,
    tried: i64,
    failures: Vec<String>,
    /// What the last process that tried again gave as the reason.
    again: String,
}

struct Worker {
    role: String,
    child: Child,
    told: Arc<Mutex<Told>>,
    listener: Option<JoinHandle<()>>,
}

impl Worker {
    fn start(place: &Place, role: &str, first: i64, told: Arc<Mutex<Told>>) -> Self {
        told.lock().unwrap().is_open = false;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["killed_writers::plays_a_role", "--exact", "--nocapture", "--test-threads=1"])
            .env("PARQUEDB_TEST_ROLE", role)
            .env("PARQUEDB_TEST_URL", &place.url)
            .env("PARQUEDB_TEST_FIRST", first.to_string())
            .envs(place.server.iter().flat_map(S3Server::environment))
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let heard = Arc::clone(&told);
        let listener = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut told = heard.lock().unwrap();
                let words: Vec<&str> = line.split(' ').collect();
                match words[..] {
                    ["open"] => told.is_open = true,
                    ["try", number] => told.tried = told.tried.max(number.parse().unwrap()),
                    ["ack", number, seq] => {
                        let (number, seq) = (number.parse().unwrap(), seq.parse().unwrap());
                        told.acknowledged.entry(number).or_insert(seq);
                    }
                    ["again", ..] => told.again.clone_from(&line),
                    ["failed", ..] => told.failures.push(line.clone()),
                    _ => {}
                }
            }
        });
        Self { role: role.to_owned(), child, told, listener: Some(listener) }
    }

    /// Kills it, and hears what it had said.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        if let Some(listener) = self.listener.take() {
            listener.join().unwrap();
        }
        let told = self.told.lock().unwrap();
        assert!(told.failures.is_empty(), "{}: {:?}", self.role, told.failures);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Where the test has failed before, nobody else ends it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Place {
    url: String,
    server: Option<S3Server>,
}

impl Place {
    async fn open(&self) -> parquedb::Result<Deeds> {
        let builder = Deeds::builder().read_only();
        match &self.server {
            Some(server) => {
                let bucket = server.client("deeds").build().unwrap();
                builder.open_store(parquedb::Store::new(Arc::new(bucket), "database")).await
            }
            None => builder.open(&self.url).await,
        }
    }
}

/// The batches at a commit, by writer and number, after comparing them with the view at the same commit.
async fn check(database: &Deeds, seq: u64, what: &str) -> BTreeMap<(i64, i64), usize> {
    let deeds = database.deed.all().at(seq).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
    let totals =
        database.writer_totals.all().at(seq).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
    let mut batches: BTreeMap<(i64, i64), Vec<Deed>> = BTreeMap::new();
    let mut recomputed: BTreeMap<i64, (u64, i64, i64)> = BTreeMap::new();
    for deed in deeds {
        let total = recomputed.entry(deed.writer).or_insert((0, i64::MIN, i64::MAX));
        *total = (total.0 + 1, total.1.max(deed.amount), total.2.min(deed.number));
        batches.entry((deed.writer, deed.number)).or_default().push(deed);
    }
    for ((writer, number), rows) in &mut batches {
        rows.sort_by_key(|deed| deed.row);
        assert_eq!(*rows, rows_of(*writer, *number), "{what}: batch {number} of {writer} at commit {seq}");
    }
    let held: BTreeMap<i64, (u64, i64, i64)> = totals
        .into_iter()
        .map(|total| (total.writer, (total.deeds, total.largest, total.smallest)))
        .collect();
    assert_eq!(held, recomputed, "{what}: the view at commit {seq}");
    batches.into_iter().map(|(batch, rows)| (batch, rows.len())).collect()
}

/// Reads until it is told to stop. Gives how often it did.
async fn read(place: &Place, stop: &AtomicBool, what: &str) -> usize {
    let (mut seen, mut reads, mut known) = (0, 0, BTreeMap::new());
    let mut opened = None;
    while !stop.load(Ordering::Relaxed) {
        let database: &Deeds = match &opened {
            Some(database) if reads % 20 != 19 => database,
            // Now and then a reader begins anew.
            _ => match place.open().await {
                Ok(database) => opened.insert(database),
                Err(error) if error.kind() == ErrorKind::NotFound && reads == 0 => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
                Err(error) => panic!("{what}: {error:?}"),
            },
        };
        let seq = database.catch_up().await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        assert!(seq >= seen, "{what}: a reader saw commit {seen}, and then {seq}");
        // Before the declarations are stored there is nothing to read.
        if seq > 0 {
            let batches = check(database, seq, what).await;
            assert!(known.keys().all(|batch| batches.contains_key(batch)), "{what}: a batch is gone again");
            known = batches;
            reads += 1;
        }
        seen = seq;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    reads
}

/// Kills and restarts writers at random moments, `kills` times.
fn torment(place: &Place, kills: u64, seed: u64) -> Vec<Arc<Mutex<Told>>> {
    let mut random = StdRng::seed_from_u64(seed);
    let told: Vec<Arc<Mutex<Told>>> = (0..=WRITERS).map(|_| Arc::default()).collect();
    let role = |index: usize| if index as i64 == WRITERS { "tidy".to_owned() } else { index.to_string() };
    let mut workers: Vec<Worker> = (0..told.len())
        .map(|index| Worker::start(place, &role(index), 0, Arc::clone(&told[index])))
        .collect();
    for _ in 0..kills {
        let index = random.random_range(0..workers.len());
        let before = told[index].lock().unwrap().acknowledged.len();
        // Mostly after some work, sometimes while it opens.
        let enough = random.random_range(0..6);
        let limit = Instant::now() + Duration::from_secs(20);
        loop {
            let now = told[index].lock().unwrap();
            let is_ready = enough == 0 || (now.is_open && now.acknowledged.len() - before >= enough);
            let has_ended = !now.failures.is_empty();
            drop(now);
            if is_ready || has_ended || Instant::now() > limit || (index as i64 == WRITERS && enough > 1) {
                break;
            }
            pause(Duration::from_millis(1));
        }
        pause(Duration::from_micros(random.random_range(0..20_000)));
        workers[index].kill();
        let tried = told[index].lock().unwrap().tried;
        // The last batch again, acknowledged or not; or without it, so that nobody ever knows.
        let first = tried + random.random_range(0..2);
        workers[index] = Worker::start(place, &role(index), first, Arc::clone(&told[index]));
    }
    // Each gets to write once more.
    let limit = Instant::now() + Duration::from_secs(60);
    for (index, told) in told.iter().enumerate().take(WRITERS as usize) {
        let before = told.lock().unwrap().acknowledged.len();
        while told.lock().unwrap().acknowledged.len() == before {
            assert!(Instant::now() < limit, "writer {index} writes no more: {:?}", told.lock().unwrap());
            pause(Duration::from_millis(5));
        }
    }
    for worker in &mut workers {
        worker.kill();
    }
    told
}

async fn killed(place: Place, kills: u64, seed: u64) {
    let what = format!("PARQUEDB_SEED={seed}");
    let place = Arc::new(place);
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|number| {
            let (place, stop, what) =
                (Arc::clone(&place), Arc::clone(&stop), format!("{what}: reader {number}"));
            tokio::spawn(async move { read(&place, &stop, &what).await })
        })
        .collect();
    let tormented = Arc::clone(&place);
    let told = tokio::task::spawn_blocking(move || torment(&tormented, kills, seed)).await;
    stop.store(true, Ordering::Relaxed);
    let mut reads = 0;
    for reader in readers {
        reads += reader.await.unwrap();
    }
    let told = told.unwrap();

    let database = place.open().await.unwrap();
    let seq = database.seq();
    let found = check(&database, seq, &what).await;
    // What was left behind is too young to be told.
    let report = database.scrub(&ScrubOptions::default()).await.unwrap();
    assert_eq!(report.findings, [], "{what}");
    let (mut acknowledged, mut unknown) = (0, 0);
    for (writer, told) in (0..WRITERS).zip(&told) {
        let told = told.lock().unwrap();
        for (number, at) in &told.acknowledged {
            assert!(found.contains_key(&(writer, *number)), "{what}: batch {number} of {writer} is lost");
            assert!(*at <= seq, "{what}: batch {number} of {writer} is commit {at} of {seq}");
            acknowledged += 1;
        }
        let numbers = found.keys().filter(|(by, _)| *by == writer).map(|(_, number)| *number);
        for number in numbers {
            assert!(number <= told.tried, "{what}: batch {number} of {writer} was never sent");
            unknown += usize::from(!told.acknowledged.contains_key(&number));
        }
    }
    // One batch is on its way when a process dies.
    assert!(unknown as u64 <= kills + WRITERS as u64 + 1, "{what}: {unknown} batches nobody was told of");
    println!("{what}: {kills} kills, {acknowledged} batches acknowledged, {unknown} more, {reads} reads");
    assert!(acknowledged >= WRITERS && reads > 0, "{what}");
}

fn kills(default: u64) -> u64 {
    std::env::var("PARQUEDB_KILLS").map_or(default, |kills| kills.parse().expect("PARQUEDB_KILLS"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_of_writers_into_one_folder_loses_and_doubles_nothing() {
    for seed in seeds() {
        let folder = tempfile::tempdir().unwrap();
        let url = folder.path().join("database").display().to_string();
        killed(Place { url, server: None }, kills(20), seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_of_writers_into_one_bucket_loses_and_doubles_nothing() {
    for seed in seeds() {
        let server = S3Server::start();
        server.create_bucket("deeds");
        let place = Place { url: "s3://deeds/database".to_owned(), server: Some(server) };
        killed(place, kills(8), seed).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "the processes are looked after by a thread without a runtime")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

//! The command that ingests a file, killed at any moment or over a store that fails: every event is
//! there exactly once, and after every single kill the views agree with the events that are there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::corpus::{
    Place, assert_views, count, errors, held, query, real, seeds, succeed, tail_on, varied, views_of,
};
use parquedb::ErrorKind;
use parquedb_tail::TailDb;
use parquedb_tests::S3Server;
use parquedb_tests::recompute::{self, Views};
use parquedb_tests::s3::{Effect, Fault, Operation};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::time::Duration;

/// Where one test's database lies: its URL for the command, and the way the library opens it.
struct Target {
    server: Option<S3Server>,
    at: String,
    place: Place,
}

impl Target {
    fn folder(path: &Path) -> Self {
        let at = path.display().to_string();
        Self { server: None, place: Place::Url(at.clone()), at }
    }

    fn bucket() -> Self {
        let server = S3Server::start();
        let place = Place::bucket(&server, "tail", "ingest");
        Self { server: Some(server), at: "s3://tail/ingest".to_owned(), place }
    }

    fn ingest(&self, file: &str, batch: &str) -> std::process::Command {
        tail_on(self.server.as_ref(), &["ingest", file, "--to", &self.at, "--batch", batch])
    }

    /// The objects or files there are.
    fn objects(&self) -> usize {
        fn files(folder: &Path) -> usize {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            entries.map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { 1 }).sum()
        }
        match &self.server {
            Some(server) => server.objects("tail").len(),
            None => files(Path::new(&self.at)),
        }
    }

    /// Kills the command some moments after it has written a random number of objects, or waits for its
    /// end where it has less to write.
    async fn kill(&self, mut child: Child, random: &mut StdRng) -> Output {
        let enough = self.objects() + random.random_range(0..6);
        while self.objects() < enough && child.try_wait().unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_micros(random.random_range(0..30_000))).await;
        // It may have ended meanwhile.
        let _ = child.kill();
        tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap()
    }

    /// Asserts that the views hold what the first events of the file say, as many as are stored. Gives
    /// how many those are.
    async fn assert_prefix(&self, lines: &[String], what: &str) -> usize {
        let reader = TailDb::builder().read_only();
        let opened = match &self.place {
            Place::Url(url) => reader.open(url).await,
            Place::Bucket(inner, folder) => {
                reader.open_store(parquedb::Store::new(std::sync::Arc::clone(inner), folder)).await
            }
        };
        let database = match opened {
            Ok(database) => database,
            // Killed before there was a database.
            Err(error) if error.kind() == ErrorKind::NotFound => return 0,
            Err(error) => panic!("{what}: {error}"),
        };
        // A database whose declarations were not stored yet has no rows that could be read.
        if database.seq() == 0 {
            return 0;
        }
        let stored = usize::try_from(database.tail_events.all().count().await.unwrap()).unwrap();
        let expected = views_of(&lines[..stored]);
        assert_views(&held(&database, None).await, &expected, false, &format!("{what}: {stored} events"));
        stored
    }

    /// Asserts that everything is there once, by the library with the scheduled view refreshed, and by
    /// the command.
    async fn assert_complete(&self, lines: &[String], expected: &Views, what: &str) {
        let database = self.place.open().await;
        database.endpoint_metrics.refresh().await.unwrap();
        assert_eq!(database.tail_events.all().count().await.unwrap(), lines.len() as u64, "{what}");
        assert_views(&held(&database, None).await, expected, true, what);
        drop(database);
        assert_eq!(count(self.server.as_ref(), &self.at, "tail_events"), lines.len() as u64, "{what}");
    }
}

fn write(path: &Path, lines: &[String]) -> String {
    std::fs::write(path, lines.join("\n") + "\n").unwrap();
    path.display().to_string()
}

/// Kills ingests at random moments `kills` times, then lets one finish.
async fn killed(target: &Target, folder: &Path, lines: &[String], kills: usize, seed: u64) {
    let what = format!("PARQUEDB_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let file = write(&folder.join("events.ndjson"), lines);
    let mut stored = 0;
    for kill in 0..kills {
        let child = target.ingest(&file, "20").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let output = target.kill(child, &mut random).await;
        assert!(errors(&output).is_empty(), "{what}: kill {kill}: {}", errors(&output));
        let now = target.assert_prefix(lines, &format!("{what}: after kill {kill}")).await;
        eprintln!("{what}: kill {kill} left {now} of {} events", lines.len());
        assert!(now >= stored, "{what}: {stored} events were there, now {now}");
        stored = now;
    }
    let batch = ["20", "3", "33", "10000"][random.random_range(0..4_usize)];
    let report = succeed(target.ingest(&file, batch));
    let expected = views_of(lines);
    target.assert_complete(lines, &expected, &format!("{what}: {report}")).await;
    let report = succeed(target.ingest(&file, "7"));
    assert!(report.contains("is fully ingested"), "{what}: {report}");

    // The file grows, and the ingest of the rest is killed too.
    let grown: Vec<String> = lines.iter().chain(&lines[..lines.len() / 2]).cloned().collect();
    let file = write(&folder.join("events.ndjson"), &grown);
    let child = target.ingest(&file, "20").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    target.kill(child, &mut random).await;
    let stored = target.assert_prefix(&grown, &format!("{what}: grown")).await;
    assert!(stored >= lines.len(), "{what}: {stored}");
    succeed(target.ingest(&file, batch));
    target.assert_complete(&grown, &views_of(&grown), &format!("{what}: grown")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_of_an_ingest_into_a_folder_loses_and_doubles_nothing() {
    for seed in seeds() {
        let folder = tempfile::tempdir().unwrap();
        let target = Target::folder(&folder.path().join("database"));
        killed(&target, folder.path(), &varied(seed), 6, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_of_an_ingest_into_a_bucket_loses_and_doubles_nothing() {
    for seed in seeds() {
        let folder = tempfile::tempdir().unwrap();
        killed(&Target::bucket(), folder.path(), &varied(seed), 4, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_of_the_store_during_an_ingest_loses_and_doubles_nothing() {
    let lines = real();
    let expected = views_of(&lines);
    for seed in seeds() {
        let what = format!("PARQUEDB_SEED={seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let folder = tempfile::tempdir().unwrap();
        let file = write(&folder.path().join("events.ndjson"), &lines);
        let target = Target::bucket();
        let server = target.server.as_ref().unwrap();
        let mut runs = 0;
        loop {
            server.heal();
            for _ in 0..random.random_range(1..8) {
                let effect = [
                    Effect::Refuse(500),
                    Effect::Refuse(503),
                    Effect::Drop,
                    Effect::ApplyThenRefuse(500),
                    Effect::ApplyThenDrop,
                    Effect::ApplyThenDelay(Duration::from_millis(200)),
                ][random.random_range(0..6_usize)];
                let operation = [
                    Operation::PutObject,
                    Operation::PutObject,
                    Operation::PutObject,
                    Operation::GetObject,
                    Operation::ListObjects,
                ][random.random_range(0..5_usize)];
                server.fail(Fault::on(operation, effect).after(random.random_range(0..12)));
            }
            let batch = ["20", "35", "50"][random.random_range(0..3_usize)];
            let mut child =
                target.ingest(&file, batch).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            // Some runs are killed besides.
            if runs < 2 {
                tokio::time::sleep(Duration::from_millis(random.random_range(100..1500))).await;
                child.kill().unwrap();
            }
            let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
            server.heal();
            target.assert_prefix(&lines, &format!("{what}: run {runs}")).await;
            runs += 1;
            if output.status.success() {
                break;
            }
            assert!(runs < 20, "{what}: {}", errors(&output));
        }
        target.assert_complete(&lines, &expected, &what).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_an_error_is_neither_lost_nor_doubled_by_a_fault() {
    let lines = real();
    let expected = views_of(&lines);
    for effect in
        [Effect::ApplyThenRefuse(500), Effect::ApplyThenRefuse(503), Effect::ApplyThenDrop, Effect::Drop]
    {
        let folder = tempfile::tempdir().unwrap();
        let file = write(&folder.path().join("events.ndjson"), &lines);
        let target = Target::bucket();
        let server = target.server.as_ref().unwrap();
        // Every third write.
        for turn in 0..12 {
            server.fail(Fault::on(Operation::PutObject, effect).after(2 + turn));
        }
        let report = succeed(target.ingest(&file, "20"));
        assert!(server.pending_faults() < 12, "{effect:?}: no fault has acted");
        server.heal();
        target.assert_complete(&lines, &expected, &format!("{effect:?}: {report}")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_ends_within_an_event_is_gone_on_with_when_it_has_grown() {
    let lines = real();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("growing.ndjson");
    let target = Target::folder(&folder.path().join("database"));
    let whole = lines.join("\n") + "\n";
    let ends: Vec<usize> = whole.match_indices('\n').map(|(at, _)| at).collect();
    // Between two lines, before a line's end, within a line, and all of it.
    for (cut, batch) in [(ends[99] + 1, "20"), (ends[199], "7"), (ends[299] + 40, "50"), (whole.len(), "13")]
    {
        std::fs::write(&path, &whole.as_bytes()[..cut]).unwrap();
        succeed(target.ingest(&path.display().to_string(), batch));
        let stored = target.assert_prefix(&lines, &format!("cut at {cut}")).await;
        assert_eq!(stored, ends.iter().filter(|&&end| end <= cut).count(), "cut at {cut}");
    }
    target.assert_complete(&lines, &views_of(&lines), "grown").await;
    // The piece of a line was kept as what it was when it was seen.
    let letters = query(None, &target.at, "select position, source from dead_letters");
    assert_eq!(letters.lines().count(), 1, "{letters}");
    let letter = recompute::parse(&letters);
    assert_eq!(letter["position"], 300, "{letter}");
    assert_eq!(letter["source"], path.display().to_string(), "{letter}");
}

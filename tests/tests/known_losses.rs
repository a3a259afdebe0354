//! What has lost data in other systems, done to this one: one test for each published loss.
//!
//! Others are tested elsewhere: files without fsync that are empty or torn after a power loss (InfluxDB 3 with
//! `--object-store=file`, #26549, #26970 and #27654) in `parquedb/src/store/local/power_loss.rs`, and what
//! object_store makes of each answer of a real S3 in `s3_protocol.rs`. Caches that remember a 404 (Cloudflare
//! in front of R2) are out of scope: the store is to be read by its S3 interface.

use parquedb::object_store::RetryConfig;
use parquedb::object_store::path::Path;
use parquedb::object_store::{ObjectStore, ObjectStoreExt};
use parquedb::testing::ClockedStore;
use parquedb::{Collection, ErrorKind, GarbageOptions, ManualClock, Store, database};
use parquedb_tests::S3Server;
use parquedb_tests::s3::{Effect, Fault, Operation};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const HOUR: i64 = 3_600_000_000;

#[derive(Collection, Clone, Debug, PartialEq)]
struct Note {
    number: i64,
}

database! { struct Notes { Note } }

/// Asserts that the notes are there, each once.
async fn assert_notes(db: &Notes, expected: impl IntoIterator<Item = i64>, what: &str) {
    let mut numbers: Vec<_> = db.note.all().await.unwrap().iter().map(|note| note.number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, expected.into_iter().collect::<Vec<_>>(), "{what}");
}

/// A client as [`Store::open`] makes it for a bucket.
fn bucket(server: &S3Server) -> Arc<dyn ObjectStore> {
    server.create_bucket("notes");
    let retry = RetryConfig { max_retries: 2, ..RetryConfig::default() };
    Arc::new(server.client("notes").with_retry(retry).build().unwrap())
}

/// SlateDB, and Lance's write-ahead log (lance#6699): put-if-absent forgets names that were deleted. A writer
/// that stood still finds the slot after its last commit free, because garbage collection emptied it, and
/// reports a commit that no reader ever sees.
#[tokio::test]
async fn a_stalled_writer_does_not_commit_into_a_collected_slot() {
    let clock = Arc::new(ManualClock::new(1_000 * HOUR));
    let inner: Arc<dyn ObjectStore> = Arc::new(ClockedStore::new(Arc::clone(&clock) as _));
    let open = async || {
        let store = Store::new(Arc::clone(&inner), "notes");
        Notes::builder().clock(Arc::clone(&clock) as _).open_store(store).await.unwrap()
    };
    let stalled = open().await;
    let last = stalled.note.insert(Note { number: 0 }).await.unwrap().seq;
    let other = open().await;
    for number in 1..60 {
        other.note.insert(Note { number }).await.unwrap();
        other.flush().await.unwrap();
        clock.advance(HOUR);
    }
    let report = other.collect_garbage(GarbageOptions::default()).await.unwrap();
    assert!(report.floor > last + 1);
    let slot = Path::from(format!("notes/log/{:020}.c", last + 1));
    assert!(inner.head(&slot).await.is_err(), "its slot is not free");

    let written = stalled.note.insert(Note { number: 60 }).await.unwrap();
    assert!(inner.head(&slot).await.is_ok(), "it did not try its slot");
    assert!(written.seq > other.seq());
    other.catch_up().await.unwrap();
    for (db, what) in [(&other, "the other writer"), (&stalled, "itself"), (&open().await, "a new process")] {
        assert_notes(db, 0..=60, what).await;
    }
}

fn commit_file(folder: &FilePath, seq: u64) -> PathBuf {
    folder.join("log").join(format!("{seq:020}.c"))
}

/// InfluxDB 3 (#26549, and what followed from #26970): objects of zero bytes in the write-ahead log after a
/// power loss. Here they are an error that names the object, for those that open the database and for those
/// that are running. Nothing is passed over, nothing is overwritten, and with the object restored all is well.
#[tokio::test]
async fn an_empty_commit_is_an_error_and_hides_nothing() {
    for (place, after) in [("in the middle", 0), ("at the end", 2), ("after the end", 3)] {
        let folder = tempfile::tempdir().unwrap();
        let url = folder.path().to_str().unwrap();
        let db = Notes::open(url).await.unwrap();
        let running = Notes::open(url).await.unwrap();
        let mut seq = running.seq() + 1 + after;
        for number in 0..3 {
            db.note.insert(Note { number }).await.unwrap();
        }
        if after == 3 {
            seq = db.seq() + 1;
        }
        let file = commit_file(folder.path(), seq);
        let good = std::fs::read(&file).ok();
        assert_eq!(good.is_some(), after < 3, "{place}");
        std::fs::write(&file, []).unwrap();

        let name = format!("{seq:020}.c");
        let errors = [
            Notes::open(url).await.map(|_| ()).expect_err(place),
            running.catch_up().await.expect_err(place),
            running.note.insert(Note { number: 9 }).await.expect_err(place),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{place}: {error}");
            assert!(error.to_string().contains(&name), "{place}: {error}");
        }
        assert!(std::fs::read(&file).unwrap().is_empty(), "{place}: it was overwritten");
        match good {
            Some(bytes) => std::fs::write(&file, bytes).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        assert_notes(&Notes::open(url).await.unwrap(), 0..3, place).await;
    }
}

/// object_store reports "already exists" for a put that was applied before an error 500 or a broken connection
/// (its own repetition meets the first request) and for S3's 409, after which there may be nothing. Who takes
/// that for "another was first" writes the same rows again, or loses them. The same with answers that come too
/// late, and with puts that land after they were given up (delta-rs#2451 has the retries that hide all this).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn already_exists_does_not_mean_that_another_was_first() {
    let late = Duration::from_millis(400);
    for effect in [
        Effect::ApplyThenRefuse(500),
        Effect::ApplyThenDrop,
        Effect::Refuse(409),
        Effect::ApplyThenDelay(late),
        Effect::ApplyLater(late),
    ] {
        let server = S3Server::start();
        let inner = bucket(&server);
        let open = async || {
            let store = Store::new(Arc::clone(&inner), "db");
            let builder =
                Notes::builder().log_options(|options| options.request_timeout = Duration::from_millis(200));
            builder.open_store(store).await.unwrap()
        };
        let (one, two) = (open().await, open().await);
        // Each of these meets its own commit, or nothing; with two writers in turn, each also meets the other's.
        for turn in 0..4 {
            server.fail(Fault::on(Operation::PutObject, effect).key_contains("log/").after(turn * 2));
        }
        let mut seqs = Vec::new();
        for number in 0..10 {
            let db = if number % 3 == 0 { &two } else { &one };
            seqs.push(db.note.insert(Note { number }).await.unwrap().seq);
        }
        assert_eq!(server.pending_faults(), 0, "{effect:?}");
        assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "{effect:?}: {seqs:?}");
        // What was given up has landed by now, or never will.
        tokio::time::sleep(late).await;
        assert_notes(&open().await, 0..10, &format!("{effect:?}")).await;
    }
}

/// Garage 2.5 and s3rver 3.7 accept `If-None-Match` on a put and ignore it: of two writers of one commit both
/// are told that they made it, and the first one's rows are gone. Such a store is refused when a database is
/// created.
#[tokio::test]
async fn a_store_that_ignores_conditions_is_refused() {
    let server = S3Server::start();
    server.ignore_conditions();
    let store = Store::new(bucket(&server), "db");
    let error = Notes::builder().open_store(store).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("If-None-Match"), "{error}");
    assert_eq!(server.objects("notes"), [], "something was left behind");
}

/// R2 allows one write per second to a key and answers more with 429. `HEAD` is the one key that is written
/// more than once: it is a hint, and a database whose `HEAD` was never written after its first is complete.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_throttled_hint_stops_no_commit() {
    let server = S3Server::start();
    let inner = bucket(&server);
    let clock = Arc::new(ManualClock::new(1_000 * HOUR));
    let open = async || {
        let store = Store::new(Arc::clone(&inner), "db");
        Notes::builder().clock(Arc::clone(&clock) as _).open_store(store).await.unwrap()
    };
    let db = open().await;
    server.fail(Fault::on(Operation::PutObject, Effect::Refuse(429)).key_contains("HEAD").times(usize::MAX));
    server.forget();
    for number in 0..5 {
        db.note.insert(Note { number }).await.unwrap();
        // The hint is due after each commit.
        clock.advance(11_000_000);
    }
    db.close().await.unwrap();
    let refused = server.requests().iter().filter(|(_, key)| key.ends_with("HEAD")).count();
    assert!(refused > 0, "the hint was not written");
    assert_notes(&open().await, 0..5, "a new process").await;
    server.heal();
    let db = open().await;
    db.note.insert(Note { number: 5 }).await.unwrap();
    assert_notes(&open().await, 0..6, "after the throttling").await;
}

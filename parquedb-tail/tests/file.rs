//! Ingest of files: killed anywhere and run again, nothing is lost and nothing stored twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod memory;

use flate2::Compression;
use flate2::write::GzEncoder;
use memory::Memory;
use parquedb_tail::file::{FileError, Options, Summary, ingest};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

fn item(number: u64) -> String {
    format!(r#"{{"outcome":"ok","scriptName":"s","eventTimestamp":{number},"logs":[],"exceptions":[]}}"#)
}

fn lines(numbers: std::ops::Range<u64>) -> String {
    numbers.map(|number| item(number) + "\n").collect()
}

async fn run(sink: &Arc<Memory>, path: &Path, batch: usize, again: bool) -> (Summary, Result<(), FileError>) {
    let mut summary = Summary::default();
    let done = ingest(sink, path, Options { batch, again }, &mut summary, |_| {}).await;
    (summary, done)
}

/// The numbers of the stored events, in the order they were stored.
fn stored(sink: &Memory) -> Vec<i64> {
    sink.rows().iter().map(|row| row.event_timestamp.as_millis()).collect()
}

#[tokio::test]
async fn a_killed_ingest_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("events.ndjson");
    std::fs::write(&plain, lines(0..100)).unwrap();
    let packed = folder.path().join("events.log.gz");
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(lines(0..100).as_bytes()).unwrap();
    std::fs::write(&packed, packer.finish().unwrap()).unwrap();
    let array = folder.path().join("events.json");
    std::fs::write(&array, format!("[{}]", (0..100).map(item).collect::<Vec<_>>().join(",\n"))).unwrap();
    let all: Vec<i64> = (0..100).collect();
    for path in [&plain, &packed, &array] {
        for stop in 0..11 {
            let sink = Arc::new(Memory::default());
            sink.stop_after(Some(stop));
            let (_, done) = run(&sink, path, 10, false).await;
            assert_eq!(done.is_ok(), stop >= 10, "{stop}");
            sink.stop_after(None);
            let (summary, done) = run(&sink, path, 7, false).await;
            done.unwrap();
            assert_eq!(stored(&sink), all, "{} stopped after {stop}", path.display());
            assert_eq!((summary.skipped, summary.items), (stop * 10, 100 - stop * 10));
            let (summary, done) = run(&sink, path, 3, false).await;
            done.unwrap();
            assert_eq!((summary.complete.len(), summary.skipped, summary.commits), (1, 100, 0));
        }
    }
    // The same content is the same prefix, compressed or not.
    let sink = Arc::new(Memory::default());
    run(&sink, &plain, 10, false).await.1.unwrap();
    assert_eq!(run(&sink, &packed, 10, false).await.0.complete.len(), 1);
    let (summary, _) = run(&sink, &plain, 10, true).await;
    assert_eq!((summary.items, sink.events()), (100, 200));
}

#[tokio::test]
async fn a_file_that_grows_is_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.ndjson");
    let whole = lines(10..30);
    let sink = Arc::new(Memory::default());
    let line = whole.len() / 20;
    // Cut anywhere: between lines, before a line's end, within a line.
    for cut in [line * 3, line * 5 - 1, line * 7 + 20, line * 7 + 30, line * 12, whole.len()] {
        std::fs::write(&path, &whole[..cut]).unwrap();
        run(&sink, &path, 4, false).await.1.unwrap();
    }
    assert_eq!(stored(&sink), (10..30).collect::<Vec<_>>());
    // The piece of a line was kept as such each time it was seen.
    assert_eq!(sink.dead_letters().0, 2);
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Arc::new(Memory::default());
    let (_, done) = run(&sink, &folder.path().join("none"), 10, false).await;
    assert!(matches!(done, Err(FileError::Read { .. })));
    let path = folder.path().join("cut.json");
    std::fs::write(&path, format!("[{},{},{}", item(0), item(1), &item(2)[..10])).unwrap();
    for _ in 0..2 {
        let (_, done) = run(&sink, &path, 1, false).await;
        let Err(FileError::Split { source, .. }) = done else { panic!("{done:?}") };
        assert!(source.to_string().contains("ends inside the item"), "{source}");
        assert_eq!(stored(&sink), [0, 1], "what comes before is stored, once");
    }
    let path = folder.path().join("bad.ndjson");
    std::fs::write(&path, format!("{}\n{{\"outcome\":7}}\n{{}}\n{{\"outcome\":8}}\n", item(9))).unwrap();
    let (summary, done) = run(&sink, &path, 10, false).await;
    done.unwrap();
    assert_eq!((summary.events, summary.dead_letters, summary.commits), (1, 3, 1));
    assert_eq!(summary.reasons.values().sum::<u64>(), 3);
    assert_eq!(summary.top_reasons(1).len(), 1);
    std::fs::write(&path, "").unwrap();
    let (summary, done) = run(&sink, &path, 10, false).await;
    done.unwrap();
    assert_eq!((summary.items, summary.commits), (0, 0));
}

//! The history tells what was committed.

use super::scrub::sample;
use super::*;
use crate::ErrorKind;
use crate::commit::history::{History, contents};
use futures::TryStreamExt;

async fn history(inner: &Arc<dyn ObjectStore>) -> History {
    History::open(&Store::new(Arc::clone(inner), "db")).await.unwrap()
}

#[tokio::test]
async fn commits_are_told_as_they_were_made() {
    let inner = sample().await;
    let history = history(&inner).await;
    assert_eq!((history.newest(), history.oldest().await.unwrap()), (11, 0));
    let commits: Vec<_> = history.commits(0..=99).try_collect().await.unwrap();
    assert_eq!(
        commits.iter().map(|commit| commit.seq).collect::<Vec<_>>(),
        (0..=11).rev().collect::<Vec<_>>()
    );
    for pair in commits.windows(2) {
        assert_eq!(pair[0].previous_id, Some(pair[1].id));
        assert_eq!(pair[0].previous_hash.as_ref(), Some(&pair[1].hash));
    }
    assert_eq!((commits[11].previous_id, &commits[11].members), (None, &Some(Vec::new())));
    let rows: Vec<_> = commits.iter().rev().map(|commit| commit.rows()).collect();
    assert_eq!(rows, [0, 3, 2, 1000, 0, 1, 1, 0, 1, 1, 1, 1]);
    let one = history.commit(1).await.unwrap();
    assert_eq!((one.batch_ids.as_slice(), one.base), (["one".to_owned()].as_slice(), 0));
    assert_eq!((one.tables[0].inline_rows, one.tables[0].columns.len()), (3, 2));
    let names: Vec<_> = one.sections.iter().map(|section| section.name).collect();
    assert_eq!(names, ["Intent", "Inline"]);
    let large = history.commit(3).await.unwrap();
    assert_eq!((large.tables[0].inline_rows, large.tables[0].added[0].rows), (0, 1000));
    let flush = history.commit(4).await.unwrap();
    assert_eq!((flush.tables.len(), flush.tables[0].flushed[0].rows), (1, 5));
    assert_eq!((flush.tables[0].flushed[0].first_seq, flush.tables[0].flushed[0].last_seq), (1, 2));
    let replaced = history.commit(5).await.unwrap();
    assert!(replaced.tables[0].cleared && replaced.cursors.len() == 1);
    let size: u64 = replaced.sections.iter().map(|section| section.size).sum();
    assert!(size < replaced.size);
    let json = serde_json::to_value(&replaced).unwrap();
    assert_eq!(json["sections"][0]["checksum"].as_str().unwrap().len(), 16);
}

#[tokio::test]
async fn what_is_not_there_is_an_error_that_tells_why() {
    let inner = sample().await;
    let error = history(&inner).await.commit(12).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("the last is 11"), "{error}");
    inner.delete(&Path::from("db/log/00000000000000000006.c")).await.unwrap();
    let error = history(&inner).await.commit(6).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    for seq in 0..6 {
        inner.delete(&Path::from(format!("db/log/{seq:020}.c"))).await.unwrap();
    }
    let cut = history(&inner).await;
    let error = cut.commit(3).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("the oldest is 7"), "{error}");
    let seqs: Vec<_> = cut.commits(0..=9).map_ok(|commit| commit.seq).try_collect().await.unwrap();
    assert_eq!(seqs, [9, 8, 7]);
    let none = History::open(&Store::new(memory(), "db")).await.unwrap_err();
    assert_eq!(none.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_hint_that_is_lost_or_wrong_does_not_matter() {
    let inner = sample().await;
    let head = Path::from("db/HEAD");
    inner.put(&head, "damaged".into()).await.unwrap();
    assert_eq!(history(&inner).await.newest(), 11);
    inner.delete(&head).await.unwrap();
    assert_eq!(history(&inner).await.newest(), 11);
    let ahead = crate::commit::checkpoint::Hint { seq: 40, checkpoint: Some(7) };
    inner.put(&head, ahead.encode().into()).await.unwrap();
    assert_eq!(history(&inner).await.newest(), 11);
}

#[tokio::test]
async fn contents_are_those_of_the_snapshot() {
    let inner = sample().await;
    let log = open(&inner).await;
    let tables = contents(&log.snapshot());
    let named: Vec<_> = tables.iter().map(|table| (table.table.as_str(), table.rows)).collect();
    assert_eq!(named, [("A", 5), ("B", 1001)]);
    assert_eq!((tables[0].files.len(), tables[0].inline.len()), (1, 4));
    assert_eq!(
        tables[1].file_bytes(),
        log.snapshot().tables["B"].files.iter().map(|file| file.size).sum::<u64>()
    );
    let past = contents(log.snapshot_at(2).await.unwrap().as_ref());
    assert_eq!((past[0].rows, past[0].files.len(), past[0].inline.len()), (5, 0, 2));
}

//! Rows that expire: gone from what follows, without a change that views would have to absorb.

use super::*;
use crate::ErrorKind;
use crate::commit::TableExpiry;
use crate::commit::history::{History, contents};
use crate::commit::scrub::{ScrubOptions, scrub};
use crate::commit::snapshot::Expired;
use crate::types::Timestamp;

async fn expiring(log: &Log, table: &str, below: i64) -> Changes {
    let snapshot = log.snapshot();
    let places = places_in(log.store(), &snapshot, table).await;
    let rows = removal(table, places.iter().filter(|place| place.value < below));
    let expiry = TableExpiry { rows, on: "n".to_owned(), before: below, whole_groups: false };
    Changes { base: Some(snapshot.seq), expiries: vec![expiry], ..Changes::default() }
}

async fn values(log: &Log, snapshot: &Snapshot) -> Vec<i64> {
    let mut values: Vec<i64> = rows(log, snapshot, "A").await.into_iter().map(|(_, value)| value).collect();
    values.sort_unstable();
    values
}

#[tokio::test]
async fn expired_rows_are_gone_and_nothing_changed() {
    let inner = memory();
    let open = || async {
        let options = LogOptions { inline_limit_bytes: 4000, ..options() };
        Log::open(Store::new(Arc::clone(&inner), "db"), options).await.unwrap()
    };
    let log = open().await;
    log.commit(write("A", 0..1000)).await.unwrap();
    log.commit(write("A", 1000..1005)).await.unwrap();
    log.commit(write("A", 1005..1010)).await.unwrap();
    let before = log.snapshot();
    assert_eq!(before.tables["A"].expired, None);
    // All of the file and of one commit, and a part of the other.
    log.commit(expiring(&log, "A", 1007).await).await.unwrap();
    let table = Arc::clone(&log.snapshot().tables["A"]);
    assert_eq!((table.rows, table.files.len(), table.inline.len()), (3, 0, 1));
    assert_eq!((table.changed, table.identity), (3, 1));
    let expired = Expired { on: Some("n".to_owned()), before: 1007, seq: 4, rows: 1007 };
    assert_eq!(table.expired, Some(expired.clone()));
    assert_eq!(values(&log, &before).await, (0..1010).collect::<Vec<_>>());
    log.flush().await.unwrap();
    for log in [&log, &open().await] {
        assert_eq!(log.snapshot().tables["A"].expired, Some(expired.clone()), "also in a checkpoint");
        assert_eq!(values(log, &log.snapshot()).await, [1007, 1008, 1009]);
        assert_eq!(values(log, &log.snapshot_at(3).await.unwrap()).await.len(), 1010);
    }
    let told = contents(&log.snapshot())[0].expired.unwrap();
    assert_eq!((told.before, told.seq, told.rows), (Timestamp::from_micros(1007), 4, 1007));
    let commit = History::open(log.store()).await.unwrap().commit(4).await.unwrap();
    assert_eq!((commit.tables[0].expired_rows, commit.tables[0].removed_rows, commit.rows()), (1007, 0, 0));
    assert_eq!(commit.tables[0].expired_before, Some(Timestamp::from_micros(1007)));
    assert_eq!((commit.sections[1].kind, commit.sections[1].name), (16, "Expire"));
    // By another column: from then on the time says nothing of single rows.
    let mut changes = expiring(&log, "A", 1008).await;
    changes.expiries[0].on = "m".to_owned();
    changes.expiries[0].before = 5;
    log.commit(changes).await.unwrap();
    let expired = Expired { on: None, before: 1007, seq: log.snapshot().seq, rows: 1008 };
    assert_eq!(log.snapshot().tables["A"].expired, Some(expired.clone()));
    // It stays when all rows are replaced.
    let mut changes = write("A", 3..4);
    changes.writes[0].replace = true;
    log.commit(changes).await.unwrap();
    log.flush().await.unwrap();
    assert_eq!(open().await.snapshot().tables["A"].expired, Some(expired));
    assert_eq!(scrub(&Store::new(inner, "db"), &ScrubOptions::default()).await.unwrap().findings, []);
}

#[tokio::test]
async fn rows_expire_once_and_alone() {
    let inner = memory();
    let log = open(&inner).await;
    log.commit(write("A", 0..5)).await.unwrap();
    let again = expiring(&log, "A", 3).await;
    log.commit(again.clone()).await.unwrap();
    let error = log.commit(Changes { base: None, ..again.clone() }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    let error = log.commit(again).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    for other in [
        write("A", 7..8),
        Changes {
            removals: vec![TableRemoval {
                table: "A".to_owned(),
                runs: expiring(&log, "A", 4).await.expiries[0].rows.runs.clone(),
            }],
            ..Changes::default()
        },
    ] {
        let both = Changes { expiries: expiring(&log, "A", 5).await.expiries, ..other };
        let error = log.commit(both).await.unwrap_err();
        assert!(error.to_string().contains("in a commit of their own"), "{error}");
    }
    // What takes nothing away changes nothing.
    let seq = log.snapshot().seq;
    let nothing = expiring(&log, "A", 0).await;
    log.commit(nothing).await.unwrap();
    assert_eq!(log.snapshot().tables["A"].expired.as_ref().unwrap().rows, 3);
    assert!(log.snapshot().seq <= seq + 1);
}

/// What another process commits between an expiry's computation and its commit, and whether they go together.
#[tokio::test]
async fn beside_other_writers_the_usual_conflicts_hold() {
    for case in ["append", "update", "remove", "flush", "view", "streaming"] {
        let inner = memory();
        let (one, two) = (open(&inner).await, open(&inner).await);
        one.commit(write("A", 0..5)).await.unwrap();
        one.commit(write("A", 5..9)).await.unwrap();
        two.catch_up().await.unwrap();
        let expiry = expiring(&one, "A", 7).await;
        let replacing = |mut changes: Changes, base: u64| {
            changes.writes[0].replace = true;
            changes.writes[0].is_view = true;
            let alone = cursor("V", "A", Absorbed::Through(base));
            changes.cursors.push(CursorWrite { alone: false, ..alone });
            Changes { base: Some(base), ..changes }
        };
        let base = two.snapshot().seq;
        let places = places_in(two.store(), &two.snapshot(), "A").await;
        let gone = |value: i64| removal("A", places.iter().filter(|place| place.value == value));
        let goes_together = match case {
            "append" => two.commit(write("A", 20..22)).await.map(|_| true),
            "streaming" => {
                let mut changes = write("A", 20..22);
                changes.writes.push(TableWrite {
                    table: "V".to_owned(),
                    is_view: true,
                    ..write("V", 1..2).writes.remove(0)
                });
                changes.cursors.push(cursor("V", "A", Absorbed::ThisCommit));
                two.commit(Changes { base: Some(base), ..changes }).await.map(|_| true)
            }
            // Of a row that stays, and of one that expires.
            "update" => two
                .commit(Changes { base: Some(base), removals: vec![gone(8)], ..write("A", 30..31) })
                .await
                .map(|_| true),
            "remove" => two
                .commit(Changes { base: Some(base), removals: vec![gone(2)], ..Changes::default() })
                .await
                .map(|_| false),
            "flush" => two.flush().await.map(|()| false),
            _ => two.commit(replacing(write("V", 0..3), base)).await.map(|_| true),
        };
        let goes_together = goes_together.unwrap();
        match one.commit(expiry).await {
            Ok(_) => assert!(goes_together, "{case}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Conflict, "{case}: {error}");
                assert!(!goes_together, "{case}: {error}");
                one.catch_up().await.unwrap();
                one.commit(expiring(&one, "A", 7).await).await.unwrap();
            }
        }
        assert!(values(&one, &one.snapshot()).await.iter().all(|value| *value >= 7), "{case}");
        assert_eq!(one.snapshot().tables["A"].expired.as_ref().unwrap().before, 7);
        // The other way round: a view that was being built from rows that expired, and an append.
        two.catch_up().await.unwrap();
        let base = two.snapshot().seq;
        one.commit(expiring(&one, "A", 8).await).await.unwrap();
        let error = two.commit(replacing(write("V", 0..3), base)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{case}: {error}");
        assert!(error.to_string().contains("rows of A expired"), "{error}");
        two.commit(Changes { base: Some(base), ..write("A", 40..41) }).await.unwrap();
    }
}

/// A view that must be built holds nothing that could be lost, until another process has built it: from what was
/// there before rows came that expire.
#[tokio::test]
async fn rows_do_not_expire_before_a_view_that_was_built_meanwhile_has_them() {
    let inner = memory();
    let (one, two) = (open(&inner).await, open(&inner).await);
    one.commit(write("A", 0..5)).await.unwrap();
    let build = |base: u64| {
        let mut changes = write("V", 0..3);
        (changes.writes[0].replace, changes.writes[0].is_view) = (true, true);
        changes.cursors.push(CursorWrite { alone: false, ..cursor("V", "A", Absorbed::Through(base)) });
        Changes { base: Some(base), ..changes }
    };
    for meanwhile in [true, false] {
        two.catch_up().await.unwrap();
        let early = build(two.snapshot().seq);
        if meanwhile {
            one.commit(write("A", 0..2)).await.unwrap();
        }
        let expiry = expiring(&one, "A", if meanwhile { 1 } else { 2 }).await;
        two.commit(early).await.unwrap();
        match one.commit(expiry).await {
            Ok(_) => assert!(!meanwhile),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Conflict);
                assert!(meanwhile && error.to_string().contains("view V was built without"), "{error}");
            }
        }
        one.catch_up().await.unwrap();
    }
}

#[tokio::test]
async fn groups_expire_whole() {
    let inner = memory();
    let (one, two) = (open(&inner).await, open(&inner).await);
    one.commit(write("A", 0..5)).await.unwrap();
    two.catch_up().await.unwrap();
    let mut expiry = expiring(&one, "A", 3).await;
    expiry.expiries[0].whole_groups = true;
    two.commit(write("A", 1..2)).await.unwrap();
    let error = one.commit(expiry).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("groups of A changed while they expired"), "{error}");
}

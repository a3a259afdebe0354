//! A crash at every request of a scenario; then the database opens with each acknowledged commit once.

use super::*;
use crate::testing::FaultStore;

/// Writes, flushes and large writes. Returns the acknowledged steps.
async fn scenario(inner: &Arc<dyn ObjectStore>) -> Vec<i64> {
    let options =
        LogOptions { inline_limit_bytes: 600, outcome_deadline: Duration::from_millis(1), ..options() };
    let mut acknowledged = Vec::new();
    let Ok(log) = Log::open(Store::new(Arc::clone(inner), "db"), options).await else {
        return acknowledged;
    };
    for step in 0..8_i64 {
        let result = if step == 3 || step == 6 {
            log.flush().await.map(|()| false)
        } else {
            let rows = if step == 5 { 0..50 } else { 0..2 };
            let mut changes = write("A", rows.start + step * 100..rows.end + step * 100);
            changes.writes.extend(write("B", step..step + 1).writes);
            changes.cursors.push(cursor("V", "A", Absorbed::ThisCommit));
            log.commit(with_id(changes, &step.to_string())).await.map(|_| true)
        };
        log.idle().await;
        match result {
            Ok(true) => acknowledged.push(step),
            Ok(false) => {}
            // The process is gone.
            Err(_) => break,
        }
    }
    acknowledged
}

async fn check(inner: &Arc<dyn ObjectStore>, acknowledged: &[i64], place: &str) {
    for round in 0..2 {
        let log = open(inner).await;
        let snapshot = log.snapshot();
        let mut steps: Vec<_> = rows(&log, &snapshot, "B").await.into_iter().map(|(_, n)| n).collect();
        steps.sort_unstable();
        let unique: std::collections::BTreeSet<_> = steps.iter().copied().collect();
        assert_eq!(unique.len(), steps.len(), "{place}: a commit is there twice");
        assert!(acknowledged.iter().all(|step| unique.contains(step)), "{place}: {acknowledged:?} {steps:?}");
        assert!(steps.len() <= acknowledged.len() + 1, "{place}");
        let expected: usize = steps.iter().map(|step| if *step == 5 { 50 } else { 2 }).sum();
        assert_eq!(rows(&log, &snapshot, "A").await.len(), expected, "{place}: a commit is torn");
        if let Some(table) = snapshot.tables.get("A") {
            assert_eq!(snapshot.cursors["V"].seq, table.changed, "{place}");
        }
        if round == 0 {
            // Repeating everything that may have been sent changes nothing that was there.
            for step in &steps {
                let again = log.commit(with_id(write("B", *step..step + 1), &step.to_string())).await;
                assert!(again.unwrap().repeated, "{place}");
            }
            log.flush().await.unwrap();
        }
    }
}

#[tokio::test]
async fn crash_at_every_request_keeps_acknowledged_commits() {
    let counting = FaultStore::new(memory());
    let inner: Arc<dyn ObjectStore> = Arc::new(counting.clone());
    assert_eq!(scenario(&inner).await, vec![0, 1, 2, 4, 5, 7]);
    let total = counting.requests();
    assert!(total > 20, "{total}");
    for at in 0..total {
        for applied in [false, true] {
            let store = FaultStore::new(memory());
            let inner: Arc<dyn ObjectStore> = Arc::new(store.clone());
            store.crash_at(at, applied);
            let acknowledged = scenario(&inner).await;
            store.heal();
            check(&inner, &acknowledged, &format!("crash at {at} of {total}, applied: {applied}")).await;
        }
    }
}

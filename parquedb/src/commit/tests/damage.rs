//! Damaged bytes give errors, never other rows and never a panic.

use super::*;
use crate::ErrorKind;
use object_store::PutPayload;

async fn bytes_of(inner: &Arc<dyn ObjectStore>, path: &str) -> Vec<u8> {
    inner.get(&Path::parse(path).unwrap()).await.unwrap().bytes().await.unwrap().to_vec()
}

async fn put(inner: &Arc<dyn ObjectStore>, path: &str, bytes: Vec<u8>) {
    inner.put(&Path::parse(path).unwrap(), PutPayload::from(bytes)).await.unwrap();
}

async fn sample() -> Arc<dyn ObjectStore> {
    let inner = memory();
    let log = open(&inner).await;
    log.commit(with_id(write("A", 0..3), "one")).await.unwrap();
    log.flush().await.unwrap();
    let mut changes = write("A", 3..6);
    changes.cursors.push(cursor("V", "A", Absorbed::ThisCommit));
    log.commit(changes).await.unwrap();
    inner
}

async fn flip_all(path: &str) {
    let inner = sample().await;
    let good = bytes_of(&inner, path).await;
    let expected = open(&inner).await.snapshot();
    // Each byte with one of its bits, so that the test stays quick; the bit depends on the place.
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        put(&inner, path, bad).await;
        let opened = Log::open(Store::new(Arc::clone(&inner), "db"), options()).await;
        let error = opened.map(|log| log.snapshot().seq).expect_err(&format!("byte {at} of {path}"));
        assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Invalid), "{error:?}");
        let name = path.trim_start_matches("db/");
        assert!(error.to_string().contains(name), "{error}");
    }
    for length in [0, 1, 127, 128, 129, good.len() / 2, good.len() - 1] {
        if length < good.len() {
            put(&inner, path, good[..length].to_vec()).await;
            let error = Log::open(Store::new(Arc::clone(&inner), "db"), options()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }
    put(&inner, path, good).await;
    assert_eq!(open(&inner).await.snapshot().seq, expected.seq);
}

#[tokio::test]
async fn fault_of_a_flipped_bit_in_a_commit_is_an_error() {
    flip_all("db/log/00000000000000000003.c").await;
}

#[tokio::test]
async fn fault_of_a_flipped_bit_in_a_checkpoint_is_an_error() {
    flip_all("db/ckpt/00000000000000000002.k").await;
}

#[tokio::test]
async fn fault_of_a_flipped_bit_in_the_format_is_an_error() {
    flip_all("db/FORMAT").await;
}

#[tokio::test]
async fn fault_of_a_lost_or_damaged_hint_is_harmless() {
    let inner = sample().await;
    let good = bytes_of(&inner, "db/HEAD").await;
    let expected = open(&inner).await;
    let expected = rows(&expected, &expected.snapshot(), "A").await;
    for at in 0..=good.len() {
        let mut bad = good.clone();
        match bad.get_mut(at) {
            Some(byte) => *byte ^= 1 << (at % 8),
            None => bad.clear(),
        }
        put(&inner, "db/HEAD", bad).await;
        let log = open(&inner).await;
        assert!(log.has_batch("one"));
        assert_eq!(rows(&log, &log.snapshot(), "A").await, expected);
    }
    inner.delete(&Path::from("db/HEAD")).await.unwrap();
    let log = open(&inner).await;
    assert_eq!(rows(&log, &log.snapshot(), "A").await, expected);
}

#[tokio::test]
async fn fault_of_a_gap_in_the_log_is_an_error() {
    let inner = memory();
    let log = open(&inner).await;
    for step in 0..6 {
        log.commit(write("A", step..step + 1)).await.unwrap();
    }
    inner.delete(&Path::from("db/log/00000000000000000004.c")).await.unwrap();
    let error = Log::open(Store::new(inner, "db"), options()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("00000000000000000004.c"), "{error}");
}

#[tokio::test]
async fn fault_of_an_exchanged_commit_breaks_the_chain() {
    let (one, two) = (memory(), memory());
    for inner in [&one, &two] {
        let log = open(inner).await;
        for step in 0..3 {
            log.commit(write("A", step..step + 1)).await.unwrap();
        }
    }
    let path = "db/log/00000000000000000002.c";
    put(&one, path, bytes_of(&two, path).await).await;
    let error = Log::open(Store::new(one, "db"), options()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

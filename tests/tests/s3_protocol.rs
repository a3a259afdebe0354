//! The S3 server of the tests against the client that the database uses.

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::aws::{AmazonS3, Checksum};
use object_store::path::Path;
use object_store::{
    ClientOptions, Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutPayload,
    RetryConfig, UpdateVersion,
};
use parquedb_tests::s3::{Effect, Fault, Operation};
use parquedb_tests::{S3Server, cargo_bin};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn started() -> (S3Server, AmazonS3) {
    let server = S3Server::start();
    server.create_bucket("warehouse");
    let store = server.client("warehouse").build().unwrap();
    (server, store)
}

/// A client that reports the first failure instead of retrying it.
fn impatient(server: &S3Server) -> AmazonS3 {
    let retry = RetryConfig { max_retries: 0, ..Default::default() };
    server.client("warehouse").with_retry(retry).build().unwrap()
}

async fn body(store: &AmazonS3, path: &str) -> Bytes {
    store.get(&Path::from(path)).await.unwrap().bytes().await.unwrap()
}

#[tokio::test]
async fn what_was_put_is_what_is_got() {
    let (server, store) = started();
    let path = Path::parse("data/a b+c=ü.parquet").unwrap();
    let put = store.put(&path, "hello world".into()).await.unwrap();
    let got = store.get(&path).await.unwrap();
    assert_eq!(got.meta.e_tag, put.e_tag);
    assert_eq!(got.bytes().await.unwrap(), "hello world");
    assert_eq!(store.head(&path).await.unwrap().size, 11);
    assert_eq!(server.objects("warehouse"), [("data/a b+c=ü.parquet".to_owned(), 11)]);

    store.delete(&path).await.unwrap();
    assert!(matches!(store.get(&path).await, Err(Error::NotFound { .. })));
    assert!(matches!(store.head(&path).await, Err(Error::NotFound { .. })));
    store.put(&path, PutPayload::new()).await.unwrap();
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "");
}

#[tokio::test]
async fn ranges_give_their_bytes() {
    let (_server, store) = started();
    let path = Path::from("x");
    store.put(&path, "0123456789".into()).await.unwrap();
    assert_eq!(store.get_range(&path, 2..5).await.unwrap(), "234");
    assert_eq!(store.get_ranges(&path, &[0..1, 8..10]).await.unwrap(), ["0", "89"]);
    let suffix = GetOptions { range: Some(GetRange::Suffix(3)), ..Default::default() };
    assert_eq!(store.get_opts(&path, suffix).await.unwrap().bytes().await.unwrap(), "789");
    let offset = GetOptions { range: Some(GetRange::Offset(7)), ..Default::default() };
    assert_eq!(store.get_opts(&path, offset).await.unwrap().bytes().await.unwrap(), "789");
    assert!(store.get_range(&path, 10..12).await.is_err());
}

#[tokio::test]
async fn reads_obey_etags() {
    let (_server, store) = started();
    let path = Path::from("x");
    let first = store.put(&path, "one".into()).await.unwrap().e_tag;
    let same = GetOptions { if_none_match: first.clone(), ..Default::default() };
    assert!(matches!(store.get_opts(&path, same.clone()).await, Err(Error::NotModified { .. })));
    let matching = GetOptions { if_match: first, ..Default::default() };
    assert!(store.get_opts(&path, matching.clone()).await.is_ok());

    store.put(&path, "two".into()).await.unwrap();
    assert!(store.get_opts(&path, same).await.is_ok());
    assert!(matches!(store.get_opts(&path, matching).await, Err(Error::Precondition { .. })));
}

#[tokio::test]
async fn writes_obey_their_conditions() {
    let (_server, store) = started();
    let path = Path::from("x");
    let first = store.put_opts(&path, "one".into(), PutMode::Create.into()).await.unwrap();
    let again = store.put_opts(&path, "two".into(), PutMode::Create.into()).await;
    assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
    assert_eq!(body(&store, "x").await, "one");

    let version = UpdateVersion { e_tag: first.e_tag, version: None };
    store.put_opts(&path, "two".into(), PutMode::Update(version.clone()).into()).await.unwrap();
    let stale = store.put_opts(&path, "three".into(), PutMode::Update(version).into()).await;
    assert!(matches!(stale, Err(Error::Precondition { .. })), "{stale:?}");
    assert_eq!(body(&store, "x").await, "two");
}

#[tokio::test]
async fn listings_are_complete_in_pages() {
    let (server, store) = started();
    let mut expected = BTreeSet::new();
    for number in 0..2500 {
        let path = Path::from(format!("log/{number:06}.c"));
        store.put(&path, "c".into()).await.unwrap();
        expected.insert(path);
    }
    store.put(&Path::from("data/Orders/1.parquet"), "d".into()).await.unwrap();
    store.put(&Path::from("data/Users/1.parquet"), "d".into()).await.unwrap();
    store.put(&Path::from("FORMAT"), "f".into()).await.unwrap();

    server.forget();
    let listed: Vec<Path> =
        store.list(Some(&Path::from("log"))).map_ok(|meta| meta.location).try_collect().await.unwrap();
    assert_eq!(listed.len(), expected.len());
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), expected);
    assert_eq!(server.counts()[&Operation::ListObjects], 3);

    let tail: Vec<_> = store
        .list_with_offset(Some(&Path::from("log")), &Path::from("log/002496.c"))
        .map_ok(|meta| meta.location.to_string())
        .try_collect()
        .await
        .unwrap();
    assert_eq!(tail, ["log/002497.c", "log/002498.c", "log/002499.c"]);

    let root = store.list_with_delimiter(None).await.unwrap();
    assert_eq!(root.common_prefixes, [Path::from("data"), Path::from("log")]);
    assert_eq!(root.objects.len(), 1);
    let data = store.list_with_delimiter(Some(&Path::from("data"))).await.unwrap();
    assert_eq!(data.common_prefixes, [Path::from("data/Orders"), Path::from("data/Users")]);
    assert!(data.objects.is_empty());

    let all = store.list(None).map_ok(|meta| meta.location);
    let deleted: Vec<_> = store.delete_stream(Box::pin(all)).try_collect().await.unwrap();
    assert_eq!(deleted.len(), 2503);
    assert!(server.objects("warehouse").is_empty());
    assert!(server.counts()[&Operation::DeleteObjects] >= 3);
}

#[tokio::test]
async fn multipart_uploads_appear_when_they_complete() {
    let (server, store) = started();
    let path = Path::from("big");
    let part = vec![7_u8; 5 << 20];
    let mut upload = store.put_multipart(&path).await.unwrap();
    upload.put_part(part.clone().into()).await.unwrap();
    upload.put_part(part.into()).await.unwrap();
    upload.put_part("end".into()).await.unwrap();
    assert!(server.objects("warehouse").is_empty());
    upload.complete().await.unwrap();
    assert_eq!(server.objects("warehouse"), [("big".to_owned(), (10 << 20) + 3)]);
    assert_eq!(store.get_range(&path, (10 << 20) - 1..(10 << 20) + 3).await.unwrap(), "\x07end");

    let mut aborted = store.put_multipart(&Path::from("never")).await.unwrap();
    aborted.put_part("x".into()).await.unwrap();
    aborted.abort().await.unwrap();
    assert_eq!(server.objects("warehouse").len(), 1);
}

#[tokio::test]
async fn copies_are_independent() {
    let (_server, store) = started();
    store.put(&Path::from("a b"), "one".into()).await.unwrap();
    store.copy(&Path::from("a b"), &Path::from("c")).await.unwrap();
    store.put(&Path::from("a b"), "two".into()).await.unwrap();
    assert_eq!(body(&store, "c").await, "one");
}

#[tokio::test]
async fn a_missing_bucket_and_a_wrong_key_are_told_apart() {
    let server = S3Server::start();
    let retry = RetryConfig { max_retries: 0, ..Default::default() };
    let client = server.client("nowhere").with_retry(retry);
    let error = client.clone().build().unwrap().put(&Path::from("x"), "x".into()).await.unwrap_err();
    assert!(format!("{error:?}").contains("NoSuchBucket"), "{error:?}");
    let listed: Result<Vec<_>, _> = client.clone().build().unwrap().list(None).try_collect().await;
    assert!(format!("{:?}", listed.unwrap_err()).contains("NoSuchBucket"));

    server.create_bucket("nowhere");
    let wrong = client.with_secret_access_key("wrong").build().unwrap();
    let error = wrong.put(&Path::from("x"), "x".into()).await.unwrap_err();
    assert!(format!("{error:?}").contains("SignatureDoesNotMatch"), "{error:?}");
    assert!(server.objects("nowhere").is_empty());
}

#[tokio::test]
async fn checksums_are_checked() {
    let (server, _) = started();
    let store = server.client("warehouse").with_checksum_algorithm(Checksum::SHA256).build().unwrap();
    store.put(&Path::from("x"), "hello".into()).await.unwrap();
    let mut upload = store.put_multipart(&Path::from("y")).await.unwrap();
    upload.put_part("hello".into()).await.unwrap();
    upload.complete().await.unwrap();
    assert_eq!(server.objects("warehouse").len(), 2);

    let wrong = "x-amz-checksum-crc32c".parse::<hyper::header::HeaderName>().unwrap();
    let headers = [(wrong, "AAAAAA==".parse().unwrap())].into_iter().collect();
    let options = ClientOptions::new().with_default_headers(headers).with_allow_http(true);
    let retry = RetryConfig { max_retries: 0, ..Default::default() };
    let store = server.client("warehouse").with_retry(retry).with_client_options(options).build().unwrap();
    let error = store.put(&Path::from("z"), "hello".into()).await.unwrap_err();
    assert!(format!("{error:?}").contains("BadDigest"), "{error:?}");
    assert_eq!(server.objects("warehouse").len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_sixteen_racing_creates_exactly_one_wins() {
    let (server, store) = started();
    let store = Arc::new(store);
    for round in 0..50 {
        let path = Path::from(format!("log/{round:020}.c"));
        let racers: Vec<_> = (0..16)
            .map(|racer| {
                let (store, path) = (Arc::clone(&store), path.clone());
                tokio::spawn(async move {
                    match store.put_opts(&path, format!("{racer}").into(), PutMode::Create.into()).await {
                        Ok(_) => Some(racer),
                        Err(Error::AlreadyExists { .. }) => None,
                        Err(error) => panic!("round {round}, racer {racer}: {error}"),
                    }
                })
            })
            .collect();
        let mut winners = Vec::new();
        for racer in racers {
            winners.extend(racer.await.unwrap());
        }
        assert_eq!(winners.len(), 1, "round {round}: {winners:?}");
        assert_eq!(body(&store, path.as_ref()).await, winners[0].to_string());
    }
    assert_eq!(server.objects("warehouse").len(), 50);
}

/// What object_store makes of each fault; the log's resolution of outcomes rests on it.
#[tokio::test]
async fn fault_outcomes_of_a_create() {
    let (server, _) = started();
    let retry = RetryConfig { max_retries: 2, ..Default::default() };
    let store = server.client("warehouse").with_retry(retry).build().unwrap();
    let create = async |path: &str| {
        store.put_opts(&Path::from(path), path.to_owned().into(), PutMode::Create.into()).await
    };
    let keys = || server.objects("warehouse").into_iter().map(|(key, _)| key).collect::<Vec<_>>();

    // A conflict says that nothing is decided; the client reports it as an existing object.
    server.fail_next(Operation::PutObject, Effect::Refuse(409));
    assert!(matches!(create("a").await, Err(Error::AlreadyExists { .. })));
    assert!(keys().is_empty());

    // Applied, then refused: the client's own retry meets its own object.
    server.fail_next(Operation::PutObject, Effect::ApplyThenRefuse(500));
    assert!(matches!(create("b").await, Err(Error::AlreadyExists { .. })));
    server.fail_next(Operation::PutObject, Effect::ApplyThenDrop);
    assert!(create("c").await.is_err());
    assert_eq!(keys(), ["b", "c"]);

    // Throttled: the client retries by itself, within its limit.
    server.fail(Fault::on(Operation::PutObject, Effect::Refuse(503)).key_contains("d").times(2));
    create("d").await.unwrap();
    assert_eq!(server.pending_faults(), 0);
    server.fail(Fault::on(Operation::PutObject, Effect::Refuse(503)).times(3));
    assert!(create("e").await.is_err());
    assert_eq!(keys(), ["b", "c", "d"]);
}

#[tokio::test]
async fn fault_script_picks_its_requests() {
    let (server, _) = started();
    let store = impatient(&server);
    server.fail(Fault::on(Operation::PutObject, Effect::Refuse(500)).key_contains("log/").after(1));
    for (path, works) in [("data/1", true), ("log/1", true), ("log/2", false), ("log/3", true)] {
        assert_eq!(store.put(&Path::from(path), "x".into()).await.is_ok(), works, "{path}");
    }
    server.fail(Fault::on(Operation::PutObject, Effect::Drop).times(usize::MAX));
    assert!(store.put(&Path::from("y"), "x".into()).await.is_err());
    server.heal();
    store.put(&Path::from("y"), "x".into()).await.unwrap();

    server.fail_next(Operation::PutObject, Effect::ApplyLater(Duration::from_millis(50)));
    assert!(store.put(&Path::from("late"), "x".into()).await.is_err());
    assert!(matches!(store.head(&Path::from("late")).await, Err(Error::NotFound { .. })));
    tokio::time::sleep(Duration::from_millis(200)).await;
    store.head(&Path::from("late")).await.unwrap();

    let start = Instant::now();
    server.fail_next(Operation::GetObject, Effect::Delay(Duration::from_millis(100)));
    assert_eq!(body(&store, "late").await, "x");
    assert!(start.elapsed() >= Duration::from_millis(100));
}

#[tokio::test]
async fn fault_bodies_are_damaged_as_ordered() {
    let (server, _) = started();
    let store = impatient(&server);
    let path = Path::from("x");
    store.put(&path, "0123456789".into()).await.unwrap();
    server.fail_next(Operation::GetObject, Effect::FlipBit);
    assert_eq!(body(&store, "x").await, "0123446789");
    server.fail_next(Operation::GetObject, Effect::ShortBody);
    assert_eq!(body(&store, "x").await, "01234");
    server.fail_next(Operation::GetObject, Effect::CutBody);
    let cut = async { store.get(&path).await?.bytes().await }.await;
    assert!(cut.is_err() || cut.unwrap() == "0123456789");
    assert_eq!(body(&store, "x").await, "0123456789");
}

#[test]
fn a_missing_binary_says_what_to_build() {
    let error = cargo_bin("no-such-binary").unwrap_err();
    assert!(error.contains("cargo build --workspace"), "{error}");
}

//! The endpoint over a real socket.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod memory;

use flate2::Compression;
use flate2::write::GzEncoder;
use memory::Memory;
use parquedb::{Error, ErrorKind};
use parquedb_tail::http::{Options, router};
use serde_json::{Value, json};
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const ITEM: &str = r#"{"outcome":"ok","scriptName":"shop","eventTimestamp":1795191731622,"logs":[],"exceptions":[],"event":{"request":{"url":"https://a.b/","method":"GET","headers":{}}}}"#;

async fn serve(sink: &Arc<Memory>, options: &Options) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = router(Arc::clone(sink), options);
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

struct Reply {
    status: u16,
    head: String,
    body: Value,
}

/// Sends one request as bytes and reads the whole answer.
async fn send(to: SocketAddr, head: &str, body: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let request = format!("{head}\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    // The server may answer, and close, before it has read everything.
    let _ = stream.write_all(body).await;
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply).await;
    let reply = String::from_utf8(reply).unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply { status, head: head.to_ascii_lowercase(), body: serde_json::from_str(body).unwrap_or(Value::Null) }
}

async fn post(to: SocketAddr, headers: &str, body: impl AsRef<[u8]>) -> Reply {
    let body = body.as_ref();
    let head = format!("POST / HTTP/1.1\r\ncontent-length: {}{headers}", body.len());
    send(to, &head, body).await
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

#[tokio::test]
async fn events_are_stored_in_every_form() {
    let sink = Arc::new(Memory::default());
    let to = serve(&sink, &Options::default()).await;
    for (body, events) in [
        (format!("[{ITEM}]"), 1),
        (ITEM.to_owned(), 1),
        (format!("{ITEM}\n{ITEM}\n"), 2),
        (format!("[{ITEM},{ITEM}]\n[{ITEM}]"), 3),
    ] {
        let reply = post(to, "", &body).await;
        assert_eq!((reply.status, &reply.body["accepted"]), (200, &json!(events)));
        assert!(reply.head.contains("content-type: application/json"));
        // With the header, without it, and with a wrong one: the bytes tell.
        for header in ["\r\ncontent-encoding: gzip", "", "\r\ncontent-type: text/plain"] {
            let reply = post(to, header, gzip(body.as_bytes())).await;
            assert_eq!((reply.status, &reply.body["accepted"]), (200, &json!(events)));
        }
    }
    assert_eq!(sink.events(), 4 * (1 + 1 + 2 + 3));
    let reply =
        send(to, &format!("POST /ingest HTTP/1.1\r\ncontent-length: {}", ITEM.len()), ITEM.as_bytes()).await;
    assert_eq!(reply.status, 200);
    let chunked = format!("{:x}\r\n{ITEM}\r\n0\r\n\r\n", ITEM.len());
    let reply = send(to, "POST / HTTP/1.1\r\ntransfer-encoding: chunked", chunked.as_bytes()).await;
    assert_eq!((reply.status, &reply.body["accepted"]), (200, &json!(1)));
    let health = send(to, "GET /health HTTP/1.1", b"").await;
    assert_eq!(
        (health.status, &health.body["status"], &health.body["accepted"]),
        (200, &json!("ok"), &json!(30))
    );
    assert_eq!(send(to, "GET /nothing HTTP/1.1", b"").await.status, 404);
    assert_eq!(send(to, "GET / HTTP/1.1", b"").await.status, 405);
}

#[tokio::test]
async fn what_cannot_be_read_is_kept() {
    let sink = Arc::new(Memory::default());
    let to = serve(&sink, &Options::default()).await;
    let reply = post(to, "\r\nx-tail-batch-id: b1", format!("[{ITEM},{{\"outcome\":1}},{ITEM}]")).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.body, json!({"accepted": 2, "dead_letters": 1, "repeated": false, "seq": 1}));
    let (dead, source) = sink.dead_letters();
    assert_eq!((dead, source.as_deref()), (1, Some("http b1")));
    for test in [r#"{"content":"tests"}"#, "[]", ""] {
        let reply = post(to, "", test).await;
        assert_eq!(reply.body, json!({"accepted": 0, "dead_letters": 0, "repeated": false, "seq": null}));
    }
    assert_eq!(sink.commits(), 1);
}

#[tokio::test]
async fn a_repeated_batch_stores_nothing() {
    let sink = Arc::new(Memory::default());
    let to = serve(&sink, &Options::default()).await;
    for repeated in [false, true, true] {
        let reply = post(to, "\r\nx-tail-batch-id: producer:7", ITEM).await;
        assert_eq!((reply.status, &reply.body["repeated"]), (200, &json!(repeated)));
    }
    assert_eq!(sink.events(), 1);
    assert_eq!(post(to, &format!("\r\nx-tail-batch-id: {}", "x".repeat(257)), ITEM).await.status, 400);
    assert_eq!(post(to, "\r\nx-tail-batch-id:  ", ITEM).await.status, 400);
}

#[tokio::test]
async fn broken_bodies_are_refused_with_the_place() {
    let sink = Arc::new(Memory::default());
    let to = serve(&sink, &Options::default()).await;
    for (body, offset) in
        [("hello".to_owned(), 0), (format!("[{ITEM},{{\"a\""), ITEM.len() + 6), ("{".to_owned(), 1)]
    {
        let reply = post(to, "", body).await;
        assert_eq!((reply.status, &reply.body["offset"]), (400, &json!(offset)), "{}", reply.body);
    }
    let packed = gzip(ITEM.as_bytes());
    assert_eq!(post(to, "", &packed[..packed.len() - 10]).await.status, 400);
    assert_eq!(post(to, "\r\ncontent-encoding: br", ITEM).await.status, 415);
    assert_eq!(sink.commits(), 0);
}

#[tokio::test]
async fn posts_need_the_token() {
    let sink = Arc::new(Memory::default());
    let to = serve(&sink, &Options { token: Some("s3cret".into()), ..Options::default() }).await;
    for header in [
        "",
        "\r\nauthorization: Bearer wrong",
        "\r\nauthorization: Basic s3cret",
        "\r\nauthorization: Bearer",
    ] {
        let reply = post(to, header, ITEM).await;
        assert_eq!(reply.status, 401, "{header}");
        assert!(reply.head.contains("www-authenticate: bearer"));
        assert!(!reply.body.to_string().contains("s3cret"));
    }
    assert_eq!(post(to, "\r\nauthorization: bearer s3cret", ITEM).await.status, 200);
    assert_eq!(send(to, "GET /health HTTP/1.1", b"").await.status, 200);
    assert_eq!(sink.events(), 1);
    assert!(
        !format!("{:?}", Options { token: Some("s3cret".into()), ..Options::default() }).contains("s3cret")
    );
}

#[tokio::test]
async fn large_bodies_and_bombs_are_refused() {
    let sink = Arc::new(Memory::default());
    let to = serve(&sink, &Options { max_body: 100_000, ..Options::default() }).await;
    let large = format!("{ITEM}{}", " ".repeat(100_000));
    assert_eq!(post(to, "", &large).await.status, 413);
    let chunked = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    assert_eq!(
        send(to, "POST / HTTP/1.1\r\ntransfer-encoding: chunked", chunked.as_bytes()).await.status,
        413
    );
    let bomb = gzip(&vec![b' '; 30_000_000]);
    assert!(bomb.len() > 60_000);
    let small = gzip(&vec![b' '; 200_000]);
    for bomb in [bomb, small] {
        let reply = post(to, "", &bomb).await;
        assert_eq!(reply.status, 413, "{} bytes", bomb.len());
    }
    assert_eq!(sink.commits(), 0);
    assert_eq!(post(to, "", ITEM).await.status, 200);
}

#[tokio::test]
async fn a_store_that_is_away_is_told_with_when_to_come_back() {
    let sink = Arc::new(Memory::default());
    let to = serve(&sink, &Options::default()).await;
    for (kind, header, status) in [
        (ErrorKind::Unavailable, "", 503),
        (ErrorKind::Conflict, "", 503),
        (ErrorKind::OutcomeUnknown, "\r\nx-tail-batch-id: a", 503),
        (ErrorKind::OutcomeUnknown, "", 500),
        (ErrorKind::Corrupt, "", 500),
    ] {
        sink.fail(Error::new(kind, "the bucket does not answer"));
        let reply = post(to, header, ITEM).await;
        assert_eq!(reply.status, status, "{kind:?}");
        assert_eq!(reply.head.contains("retry-after: 2"), status == 503);
        assert!(reply.body["error"].as_str().unwrap().starts_with("the bucket does not answer"));
    }
    assert_eq!(post(to, "", ITEM).await.status, 200);
}

#[tokio::test]
async fn too_many_posts_at_once_are_told_to_come_back() {
    let sink = Arc::new(Memory::default());
    let to = serve(&sink, &Options { max_in_flight: 1, ..Options::default() }).await;
    // One post that never ends holds the only place.
    let mut slow = TcpStream::connect(to).await.unwrap();
    slow.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{").await.unwrap();
    let mut refused = false;
    for _ in 0..100 {
        let reply = post(to, "", ITEM).await;
        refused = reply.status == 503 && reply.head.contains("retry-after: 1");
        if refused {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(refused);
    drop(slow);
    for _ in 0..100 {
        if post(to, "", ITEM).await.status == 200 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the place was not given back");
}

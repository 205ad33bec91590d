use std::fmt::Write as _;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::super::testing::{frame, receive};
use super::*;

/// A server on a clock that runs when nothing else does.
fn server() -> (Server<()>, tempfile::TempDir) {
    let data = tempfile::tempdir().expect("a folder");
    (Server::builder(data.path()).build().expect("a server"), data)
}

/// A connection whose stream takes so many bytes by itself.
fn open(server: &Server<()>, buffered: usize) -> (DuplexStream, JoinHandle<()>) {
    let (near, far) = duplex(buffered);
    let place = server.0.places.take(None).expect("a place");
    (far, tokio::spawn(serve(server.clone(), near, ([127, 0, 0, 1], 1).into(), place)))
}

async fn send(client: &mut DuplexStream, bytes: impl AsRef<[u8]>) {
    client.write_all(bytes.as_ref()).await.expect("is read");
}

/// The head of an answer.
async fn head(client: &mut DuplexStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.expect("a whole head"));
    }
    String::from_utf8(head).expect("text")
}

fn post(body_bytes: usize) -> String {
    format!(
        "POST /?storeId=a&transport=http HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: {body_bytes}\r\n\r\n"
    )
}

/// How long it takes until the server hangs up.
async fn end(mut client: DuplexStream, serving: JoinHandle<()>) -> Duration {
    let start = Instant::now();
    let mut rest = Vec::new();
    // It may end amid an answer.
    let _ = client.read_to_end(&mut rest).await;
    serving.await.expect("no panic");
    start.elapsed()
}

const SECOND: Duration = Duration::from_secs(1);

fn assert_about(took: Duration, expected: Duration) {
    assert!(took >= expected - SECOND && took <= expected + SECOND, "{took:?}, not {expected:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_request_ends() {
    let (server, _data) = server();
    let (client, serving) = open(&server, 1024);
    assert_about(end(client, serving).await, FIRST_REQUEST_TIMEOUT);
    let (mut client, serving) = open(&server, 1024);
    let start = Instant::now();
    send(&mut client, "GET / HTTP/1.1\r\nhost: x\r\nx-slow: ").await;
    while client.write_all(b"x").await.is_ok() {
        sleep(SECOND).await;
    }
    serving.await.expect("no panic");
    assert_about(start.elapsed(), FIRST_REQUEST_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_connection_may_be_idle_between_requests_for_a_while() {
    let (server, _data) = server();
    let (mut client, serving) = open(&server, 1024);
    for _ in 0..3 {
        send(&mut client, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(head(&mut client).await.starts_with("HTTP/1.1 200"));
        client.read_exact(&mut vec![0; crate::request::INFO.len()]).await.expect("the text");
        sleep(NEXT_REQUEST_TIMEOUT - SECOND).await;
    }
    send(&mut client, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_about(end(client, serving).await, NEXT_REQUEST_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn heads_have_a_size() {
    let (server, _data) = server();
    let headers = |bytes: usize| {
        let mut headers = String::new();
        for part in 0..bytes / 1_000 {
            write!(headers, "x-{part:03}: {}\r\n", "y".repeat(995)).expect("a string");
        }
        headers
    };
    for (bytes, expected) in [(32_000, "HTTP/1.1 200"), (34_000, "HTTP/1.1 431"), (90_000, "HTTP/1.1 431")] {
        let (mut client, _serving) = open(&server, 1024 * 1024);
        let request = post(2).replace("\r\n\r\n", &format!("\r\n{}\r\n[]", headers(bytes)));
        send(&mut client, request).await;
        let head = head(&mut client).await;
        assert!(head.starts_with(expected), "{bytes}: {head}");
    }
    let (mut client, _serving) = open(&server, 1024 * 1024);
    send(&mut client, format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(HEAD_BYTES_MAX))).await;
    assert!(head(&mut client).await.starts_with("HTTP/1.1 431"));
    // The longest store id and payload, encoded as clients do.
    let payload = format!("%2522{}%2522", "%2525".repeat(8_190));
    let target = format!("/?storeId={}&payload={payload}&transport=http", "%C3%A4".repeat(2_048));
    let (mut client, _serving) = open(&server, 1024 * 1024);
    send(&mut client, post(2).replace("/?storeId=a&transport=http", &target) + "[]").await;
    let head = head(&mut client).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{} bytes: {head}", target.len());
}

#[tokio::test(start_paused = true)]
async fn a_body_may_come_slowly_and_not_never() {
    let (server, _data) = server();
    let (mut client, _serving) = open(&server, 1024);
    let body = r#"{"_tag":"Ping"}"#;
    send(&mut client, post(body.len())).await;
    for byte in body.bytes() {
        sleep(PEER_SILENCE_MAX - SECOND).await;
        send(&mut client, [byte]).await;
    }
    assert!(head(&mut client).await.starts_with("HTTP/1.1 200"));

    let (mut client, _serving) = open(&server, 1024);
    send(&mut client, post(body.len()) + "{").await;
    assert!(head(&mut client).await.starts_with("HTTP/1.1 408"));
}

/// Fills the store with a megabyte, and asks for it on a connection that buffers little.
async fn ask_for_much(server: &Server<()>) -> (DuplexStream, JoinHandle<()>) {
    let (mut pusher, _serving) = open(server, 1024 * 1024);
    let events: Vec<_> = (1..=10)
        .map(|seq| {
            let (parent, text) = (seq - 1, "x".repeat(100_000));
            format!(
                r#"{{"name":"n","args":"{text}","seqNum":{seq},"parentSeqNum":{parent},"clientId":"c","sessionId":"s"}}"#
            )
        })
        .collect();
    let payload = format!(r#"{{"storeId":"a","batch":[{}],"backendId":{{"_tag":"None"}}}}"#, events.join(","));
    let body = format!(r#"{{"_tag":"Request","id":"1","tag":"SyncHttpRpc.Push","payload":{payload},"headers":[]}}"#);
    send(&mut pusher, post(body.len()) + &body).await;
    assert!(head(&mut pusher).await.starts_with("HTTP/1.1 200"));
    let payload = r#"{"storeId":"a","cursor":{"_tag":"None"}}"#;
    let body = format!(r#"{{"_tag":"Request","id":"1","tag":"SyncHttpRpc.Pull","payload":{payload},"headers":[]}}"#);
    let (mut client, serving) = open(server, 1024);
    send(&mut client, post(body.len()) + &body).await;
    assert!(head(&mut client).await.starts_with("HTTP/1.1 200"));
    (client, serving)
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_reads_gives_its_place_back() {
    let (server, _data) = server();
    let (mut client, serving) = ask_for_much(&server).await;
    // From here on all that it waits for is the client.
    client.read_exact(&mut [0; 2_000]).await.expect("the answer has begun");
    timeout(PEER_SILENCE_MAX * 2, serving).await.expect("in time").expect("no panic");
    server.0.exchanges.close();
    server.0.exchanges.wait().await;
    assert_eq!(server.0.places.count(), 0);
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_be_read_slowly() {
    let (server, _data) = server();
    let (mut client, _serving) = ask_for_much(&server).await;
    let (mut tail, mut part, mut bytes) = (Vec::new(), vec![0; 20_000], 0);
    while !tail.ends_with(b"\r\n0\r\n\r\n") {
        sleep(PEER_SILENCE_MAX - SECOND).await;
        // As much as there is, in one moment.
        let mut left = part.len();
        while left > 0 {
            match timeout(Duration::from_millis(10), client.read(&mut part[..left])).await {
                Ok(read) => {
                    let read = read.expect("more");
                    assert!(read > 0, "cut off after {bytes} bytes");
                    tail.extend_from_slice(&part[..read]);
                    (left, bytes) = (left - read, bytes + read);
                }
                Err(_) => break,
            }
        }
        tail.drain(..tail.len().saturating_sub(16));
    }
    assert!(bytes > 1_000_000, "{bytes}");
}

/// A WebSocket on a stream.
async fn websocket(server: &Server<()>) -> DuplexStream {
    let (mut client, _serving) = open(server, 1024 * 1024);
    let request = "GET /?storeId=a&transport=ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                   sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    send(&mut client, request).await;
    let head = head(&mut client).await;
    assert!(head.starts_with("HTTP/1.1 101") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    client
}

/// Answers pings for so long, or until it is closed; returns what was told then.
async fn answer_pings(client: &mut DuplexStream, time: Duration) -> Option<(u16, String)> {
    let until = Instant::now() + time;
    loop {
        let (opcode, payload) = tokio::time::timeout_at(until, receive(client)).await.ok()?;
        match opcode {
            8 => {
                let (code, reason) = payload.split_at(2);
                let code = u16::from_be_bytes([code[0], code[1]]);
                return Some((code, String::from_utf8_lossy(reason).into_owned()));
            }
            9 => send(client, frame(0x8a, &payload)).await,
            other => panic!("an unexpected frame {other}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_answers_pings_stays_and_a_message_may_come_slowly() {
    let (server, _data) = server();
    let mut client = websocket(&server).await;
    assert_eq!(answer_pings(&mut client, Duration::from_secs(600)).await, None);
    for part in [&br#"{"_tag":"#[..], br#""Def"#, br#"ect""#] {
        let first = if part.starts_with(b"{") { 0x01 } else { 0x00 };
        send(&mut client, frame(first, part)).await;
        assert_eq!(answer_pings(&mut client, Duration::from_secs(29)).await, None);
    }
    let last = frame(0x80, br#"      }"#);
    let (header, payload) = last.split_at(6);
    send(&mut client, header).await;
    for part in payload.chunks(1) {
        sleep(Duration::from_secs(20)).await;
        send(&mut client, part).await;
    }
    let answer = loop {
        match receive(&mut client).await {
            (1, text) => break text,
            (9, _) => {}
            other => panic!("an unexpected frame {other:?}"),
        }
    };
    assert!(answer.starts_with(br#"{"_tag":"Defect""#), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_message_is_told_so_although_pings_are_answered() {
    let (server, _data) = server();
    let mut client = websocket(&server).await;
    send(&mut client, &frame(0x01, br#"{"_tag":"#)).await;
    let start = Instant::now();
    let (code, reason) = answer_pings(&mut client, Duration::from_secs(120)).await.expect("an end");
    assert!(code == 4408 && reason.starts_with("a message was begun"), "{code} {reason}");
    assert!(start.elapsed() >= Duration::from_secs(29), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_told_so() {
    let (server, _data) = server();
    let mut client = websocket(&server).await;
    let start = Instant::now();
    loop {
        let (opcode, payload) = receive(&mut client).await;
        if opcode == 8 {
            assert_eq!(&payload[..2], 4408_u16.to_be_bytes());
            assert!(payload[2..].starts_with(b"nothing was heard"));
            break;
        }
    }
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(75) && took <= Duration::from_secs(106), "{took:?}");
}

//! Compressed messages (permessage-deflate) of the native server, as a client that offers them sees it.

use std::time::Duration;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use livestore_sync_tests::{
    Answer, Event, Exit, Pulled, Server, Store, assert_pulled, chain_with, http, parse_answers, pull_payload,
    push_payload, within,
};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

const OFFER: &str = "permessage-deflate; client_max_window_bits";
const ANSWER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
const MB: u64 = 1_000_000;

/// The handshake's answer.
async fn shake(server: &Server, offers: &[&str]) -> http::Response {
    let upgrade =
        [("upgrade", "websocket"), ("sec-websocket-version", "13"), ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")];
    let offers = offers.iter().map(|offer| ("sec-websocket-extensions", *offer));
    let headers: Vec<_> = upgrade.into_iter().chain(offers).collect();
    http::request(server, "GET", "/?storeId=offers&transport=ws", &headers, b"").await
}

/// A client of 0.4 that offers compression and sees what is compressed.
struct Client {
    stream: BufReader<TcpStream>,
    store: Store,
    ids: u64,
    latency: Duration,
}

/// A message as the client sees it.
struct Got {
    /// Whether it is smaller than its text. Every message that is small is deflated, even where that gains nothing.
    packed: bool,
    /// Of its payload, as it came.
    bytes: usize,
    answers: Vec<Answer>,
}

/// What a pull gave until it had everything.
struct Pull {
    id: String,
    events: Vec<Pulled>,
    chunks: usize,
    packed: usize,
    bytes: usize,
}

impl Client {
    /// `first_id` makes its ids its own.
    async fn open(store: &Store, first_id: u64) -> Self {
        let server = store.server();
        let mut stream = TcpStream::connect(server.authority()).await.expect("a connection");
        let head = format!(
            "GET {} HTTP/1.1\r\nhost: {}\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-extensions: {OFFER}\r\n\r\n",
            server.path(&format!("/?{}&transport=ws", store.query())),
            server.authority()
        );
        stream.write_all(head.as_bytes()).await.expect("a request");
        let mut stream = BufReader::new(stream);
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.expect("an answer"));
        }
        let answer = String::from_utf8(answer).expect("text");
        assert!(answer.contains(ANSWER), "{answer}");
        Self { stream, store: store.clone(), ids: first_id, latency: Duration::ZERO }
    }

    async fn send_frame(&mut self, first: u8, payload: &[u8]) {
        let mut frame = vec![first, 0xff];
        frame.extend((payload.len() as u64).to_be_bytes());
        // A mask that changes nothing.
        frame.extend([0; 4]);
        frame.extend(payload);
        // A server that has closed still has its reason to be read.
        let _ = within("the server to take a frame", self.stream.write_all(&frame)).await;
    }

    async fn send(&mut self, text: &str) {
        self.send_frame(0xc1, &deflate(text.as_bytes())).await;
    }

    fn request(&mut self, tag: &str, payload: &str) -> (String, String) {
        self.ids += 1;
        let id = self.ids.to_string();
        let frame = format!(r#"{{"_tag":"Request","id":"{id}","tag":"{tag}","payload":{payload},"headers":[]}}"#);
        (id, frame)
    }

    /// The next frame, pings left out: its first byte and its payload.
    async fn frame(&mut self) -> (u8, Vec<u8>) {
        loop {
            let first = within("a frame", self.stream.read_u8()).await.expect("a frame");
            let length = match self.stream.read_u8().await.expect("a length") {
                126 => usize::from(self.stream.read_u16().await.expect("a length")),
                127 => usize::try_from(self.stream.read_u64().await.expect("a length")).expect("a length"),
                length => usize::from(length),
            };
            let mut payload = vec![0; length];
            within("a payload", self.stream.read_exact(&mut payload)).await.expect("a payload");
            if first != 0x89 {
                return (first, payload);
            }
        }
    }

    async fn next(&mut self) -> Got {
        let (first, payload) = self.frame().await;
        let (bytes, deflated) = (payload.len(), first == 0xc1);
        assert!(deflated || first == 0x81, "{first:x} {}", String::from_utf8_lossy(&payload));
        assert!(deflated || bytes > 4_096, "Node takes what is small in turn with what is not");
        let payload = if deflated { inflate(&payload) } else { payload };
        let packed = bytes < payload.len();
        let text = String::from_utf8(payload).expect("text");
        Got { packed, bytes, answers: parse_answers(&format!("[{text}]")) }
    }

    async fn close_code(&mut self) -> u16 {
        let (first, payload) = self.frame().await;
        assert_eq!(first, 0x88);
        u16::from_be_bytes([payload[0], payload[1]])
    }

    async fn push(&mut self, batch: &[Event]) {
        let (id, frame) = self.request("SyncWsRpc.Push", &push_payload(&self.store.clone(), batch, None));
        self.send(&frame).await;
        self.pushed(&id).await;
    }

    async fn pushed(&mut self, id: &str) {
        match &self.next().await.answers[..] {
            [Answer::Exit(of, Exit::Success(_))] => assert_eq!(of, &Value::from(id)),
            other => panic!("expected an acknowledgement, got {other:?}"),
        }
    }

    /// Starts a pull and reads what there is.
    async fn pull(&mut self) -> Pull {
        let (id, frame) = self.request("SyncWsRpc.Pull", &pull_payload(&self.store.clone(), Some(true), None));
        self.send(&frame).await;
        let mut pull = Pull { id, events: Vec::new(), chunks: 0, packed: 0, bytes: 0 };
        loop {
            let got = self.next().await;
            pull.chunks += 1;
            pull.packed += usize::from(got.packed);
            pull.bytes += got.bytes;
            let [Answer::Chunk(chunk)] = &got.answers[..] else { panic!("expected a chunk, got {:?}", got.answers) };
            // A link on which it takes a moment to arrive: of one that is faster, only the first are compressed.
            tokio::time::sleep(self.latency).await;
            self.send(&format!(r#"{{"_tag":"Ack","requestId":"{}"}}"#, pull.id)).await;
            pull.events.extend(chunk.events.iter().cloned());
            if chunk.remaining == 0 {
                return pull;
            }
        }
    }
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(bytes.len() + 1_000);
    let mut compress = Compress::new(Compression::best(), false);
    compress.compress_vec(bytes, &mut payload, FlushCompress::Sync).expect("compresses");
    assert_eq!(payload.split_off(payload.len() - 4), [0, 0, 0xff, 0xff]);
    payload
}

fn inflate(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4_000_000);
    let mut inflate = Decompress::new(false);
    let payload = [payload, &[0, 0, 0xff, 0xff]].concat();
    inflate.decompress_vec(&payload, &mut bytes, FlushDecompress::Sync).expect("compressed");
    assert_eq!(inflate.total_in(), payload.len() as u64);
    bytes
}

/// Events as apps have them.
fn events(head: i64, count: i64) -> Vec<Event> {
    chain_with(head, count, r#"{"id":"Zk3dWqXv0aLrT9nB2yGhE","text":"call Anna about the invoice","completed":false}"#)
}

#[tokio::test]
async fn what_is_offered_is_agreed_on_or_not() {
    let server = Server::shared();
    for (offers, expected) in [
        (&[][..], None),
        (&[OFFER], Some(ANSWER)),
        (&["permessage-deflate; server_max_window_bits=9"], None),
        (&["permessage-deflate; server_max_window_bits=9, permessage-deflate"], Some(ANSWER)),
        (&["x; y=\"permessage-deflate", "permessage-deflate;client_no_context_takeover"], Some(ANSWER)),
        (&["permessage-deflate; nonsense"], None),
    ] {
        let answer = shake(&server, offers).await;
        assert_eq!((answer.status, answer.header("sec-websocket-extensions")), (101, expected), "{offers:?}");
    }
    for (setting, expected) in [("off", None), ("on", Some(ANSWER))] {
        let answer = shake(&Server::own(&["--compression", setting]), &[OFFER]).await;
        assert_eq!((answer.status, answer.header("sec-websocket-extensions")), (101, expected), "{setting}");
    }
}

#[tokio::test]
async fn a_commit_reaches_those_who_compress_and_those_who_do_not() {
    let store = Server::shared().store();
    let (mut first, mut second) = (Client::open(&store, 100).await, Client::open(&store, 2_000).await);
    let (mut plain, mut v03) = (store.rpc().await, store.v03().await);
    let ids = [first.pull().await.id, second.pull().await.id];
    let live = plain.live(None).await.id;
    v03.pull(None).await;
    let mut pusher = store.rpc().await;
    for (head, count, expected) in [(0, 1, false), (1, 100, true), (101, 1, false), (102, 50, true)] {
        let batch = events(head, count);
        pusher.push_ok(&batch).await;
        for (client, id) in [&mut first, &mut second].into_iter().zip(&ids) {
            let got = client.next().await;
            let [Answer::Chunk(chunk)] = &got.answers[..] else { panic!("expected a chunk, got {:?}", got.answers) };
            assert_eq!((got.packed, &chunk.id), (expected, &Value::from(id.as_str())), "{count} events");
            assert_pulled(&chunk.events, &batch);
        }
        assert_pulled(&plain.live_until(&live, head + count).await, &batch);
    }
}

#[tokio::test]
async fn a_backlog_is_several_times_smaller() {
    let store = Server::shared().store();
    let mut pusher = Client::open(&store, 0).await;
    for head in (0..1_000).step_by(100) {
        pusher.push(&events(head, 100)).await;
    }
    let mut client = Client { latency: Duration::from_millis(30), ..Client::open(&store, 0).await };
    let pull = client.pull().await;
    assert_pulled(&pull.events, &events(0, 1_000));
    assert_eq!(pull.packed, pull.chunks);
    assert!(pull.bytes < 40_000, "{} bytes", pull.bytes);
    // Nobody knows what a link is like before something has arrived on it.
    assert!(Client::open(&store, 0).await.pull().await.packed > 0);
}

#[tokio::test]
async fn a_compressed_push_may_come_in_parts_and_beside_plain_ones() {
    let store = Server::shared().store();
    let mut client = Client::open(&store, 0).await;
    client.push(&events(0, 100)).await;
    let (id, frame) = client.request("SyncWsRpc.Push", &push_payload(&store, &events(100, 100), None));
    client.send_frame(0x81, frame.as_bytes()).await;
    client.pushed(&id).await;
    let (id, frame) = client.request("SyncWsRpc.Push", &push_payload(&store, &events(200, 100), None));
    let payload = deflate(frame.as_bytes());
    let (start, end) = payload.split_at(payload.len() / 2);
    client.send_frame(0x41, start).await;
    client.send_frame(0x89, b"ping").await;
    client.send_frame(0x80, end).await;
    assert_eq!(client.frame().await, (0x8a, b"ping".to_vec()));
    client.pushed(&id).await;
    assert_pulled(&store.log().await, &events(0, 300));
}

#[tokio::test]
async fn what_breaks_the_rules_of_compression_is_told_so() {
    let store = Server::shared().store();
    for (what, first, payload, code) in [
        ("no blocks", 0xc1, &b"{\"_tag\":\"Ping\"}"[..], 1007),
        ("a compressed ping", 0xc9, b"\0", 1002),
        ("a compressed continuation", 0xc0, b"\0", 1002),
    ] {
        let mut client = Client::open(&store, 0).await;
        client.send_frame(first, payload).await;
        assert_eq!(client.close_code().await, code, "{what}");
    }
}

/// A message of a megabyte that would be a gigabyte: no more of it is held than the largest message may have, and that is
/// given back each time.
#[tokio::test]
async fn bombs_are_refused_and_leave_nothing_behind() {
    let server = Server::own(&["--max-memory", "80000000"]);
    let store = server.store();
    let megabyte = deflate(&vec![b' '; 1 << 20]);
    let bomb = [&megabyte[..], &[0, 0, 0xff, 0xff]].concat().repeat(1_000);
    assert!(bomb.len() < 2_000_000, "{}", bomb.len());
    let before = server.process().reset_peak_bytes();
    for _ in 0..20 {
        let mut client = Client::open(&store, 0).await;
        client.send_frame(0xc1, &bomb).await;
        assert_eq!(client.close_code().await, 1009);
    }
    let grown = server.process().peak_bytes().saturating_sub(before);
    assert!(grown < 40 * MB, "{} MB", grown / MB);
    // All of the memory is there again.
    let mut client = Client::open(&store, 0).await;
    client.push(&chain_with(0, 4, &format!("\"{}\"", "x".repeat(1_800_000)))).await;
}

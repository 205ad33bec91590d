//! Sizes, on both sides of each limit.

use livestore_sync_tests::{Answer, Event, Incoming, Rpc, Server, Store, assert_pulled, chain, chain_with, seqs};

const FRAME_BYTES_MAX: usize = 8 << 20;
const EVENT_BYTES_MAX: usize = 1_900_000;
const BATCH_EVENTS_MAX: i64 = 5_000;
const PULLS_MAX: usize = 64;

async fn open() -> (Store, Rpc) {
    let store = Server::shared().store();
    let client = store.rpc().await;
    (store, client)
}

/// An event whose JSON has exactly this length.
fn sized(parent: i64, bytes: usize) -> Event {
    let event = Event::new(parent, parent + 1).with_args("\"\"");
    let args = format!("\"{}\"", "x".repeat(bytes - event.json().len()));
    let event = event.with_args(args);
    assert_eq!(event.json().len(), bytes);
    event
}

#[tokio::test]
async fn events_up_to_the_limit_are_taken_and_pulled() {
    let (store, mut client) = open().await;
    let mut other = store.rpc().await;
    let live = other.live(None).await.id;
    let event = [sized(0, EVENT_BYTES_MAX)];
    client.push_ok(&event).await;
    assert_pulled(&other.expect_chunk(&live).await.events, &event);
    assert_pulled(&client.pull_all().await.events, &event);
    assert_pulled(&store.http_pull(None).await.0, &event);
    assert_pulled(&store.v03().await.pull_events(None).await, &event);
    client.push_ok(&chain(1, 1)).await;
}

#[tokio::test]
async fn events_over_the_limit_are_refused_and_nothing_is_stored() {
    let (store, mut client) = open().await;
    let mut other = store.rpc().await;
    other.live(None).await;
    for bytes in [EVENT_BYTES_MAX + 1, 2_100_000, 8_000_000] {
        client.push(&[sized(0, bytes)]).await.assert_invalid_batch();
        client.push(&[Event::new(0, 1), sized(1, bytes)]).await.assert_invalid_batch();
    }
    let mut v03 = store.v03().await;
    assert!(!v03.push(&[sized(0, EVENT_BYTES_MAX + 1)]).await.expect_err("too large").is_empty());
    other.expect_silence().await;
    assert!(store.log().await.is_empty());
    client.push_ok(&chain(0, 1)).await;
}

/// 0.3 clients push what they have, whatever its size, and stop for good when it is refused. The first is the one that
/// the reference was seen to take in the field, the others try what storage makes of them: quotes and backslashes are
/// twice as long inside of another text.
#[tokio::test]
async fn large_events_of_old_clients_are_taken_and_served_to_all() {
    let (store, mut client) = open().await;
    let live = client.live(None).await.id;
    let mut v03 = store.v03().await;
    v03.pull(None).await;
    let quotes = format!("\"{}\"", r#"\""#.repeat(900_000));
    let events = [
        sized(0, 900_115),
        sized(1, 1_000_177),
        Event::new(2, 3).with_args(quotes),
        Event::new(3, 4),
        sized(4, EVENT_BYTES_MAX),
    ];
    for event in events.chunks(1) {
        v03.push_ok(event).await;
        assert_pulled(&client.expect_chunk(&live).await.events, event);
        client.ack(&live).await;
    }
    assert_pulled(&client.pull_all().await.events, &events);
    assert_pulled(&store.http_pull(None).await.0, &events);
    assert_pulled(&store.rpc_next().await.pull_all().await.events, &events);
    assert_pulled(&store.v03().await.pull_events(None).await, &events);
}

/// The published 0.4 client sends these; 0.4.0 stores them and no pull ever gets past them.
#[tokio::test]
async fn events_that_poison_the_reference_are_pulled_or_refused() {
    for args in [899_300, 899_500, 899_600, 899_770, 899_850, 899_950] {
        let (store, mut client) = open().await;
        let mut other = store.rpc().await;
        let live = other.live(None).await.id;
        client.push_ok(&chain(0, 3)).await;
        other.live_until(&live, 3).await;
        let large = Event::new(3, 4).with_args(format!("\"{}\"", "x".repeat(args - 2)));
        let mut expected = chain(0, 3);
        if large.json().len() <= EVENT_BYTES_MAX {
            client.push_ok(std::slice::from_ref(&large)).await;
            expected.push(large);
        } else {
            client.push(&[large]).await.assert_invalid_batch();
        }
        let next = chain(expected.len() as i64, 2);
        client.push_ok(&next).await;
        expected.extend(next);
        assert_pulled(&store.log().await, &expected);
        assert_pulled(&store.http_pull(None).await.0, &expected);
        assert_pulled(&store.v03().await.pull_events(None).await, &expected);
        assert_pulled(&other.live_until(&live, expected.len() as i64).await, &expected[3..]);
    }
}

/// That no chunk of several events is over 100,000 bytes is checked by the harness, for every pull of every test.
#[tokio::test]
async fn chunks_are_cut_by_bytes() {
    let (store, mut client) = open().await;
    let mut live_client = store.rpc().await;
    let live = live_client.live(None).await.id;
    let mut v03 = store.v03().await;
    v03.expect_pong().await;
    // Alternating so that chunks end at every kind of event.
    let batch: Vec<_> = (0..40).map(|n| sized(n, [1_000, 400_000, 90_000, 250_000, 20_000][n as usize % 5])).collect();
    for part in batch.chunks(20) {
        client.push_ok(part).await;
    }
    let pull = client.pull_all().await;
    assert_pulled(&pull.events, &batch);
    assert!(pull.pages.len() >= 7, "{:?}", pull.pages);
    let mut got = Vec::new();
    while got.len() < 40 {
        let chunk = live_client.expect_chunk(&live).await;
        assert!(chunk.bytes <= 100_000 || chunk.events.len() == 1, "{} bytes in a broadcast", chunk.bytes);
        live_client.ack(&live).await;
        got.extend(chunk.events);
    }
    assert_pulled(&got, &batch);
    let mut got = Vec::new();
    while got.len() < 40 {
        let res = v03.expect_pull_res().await;
        assert!(res.bytes <= 101_000 || res.events.len() == 1, "{} bytes in a broadcast", res.bytes);
        got.extend(res.events);
    }
    assert_pulled(&got, &batch);
    assert_pulled(&v03.pull_events(None).await, &batch);
}

#[tokio::test]
async fn broadcasts_are_cut_like_pulls() {
    let (store, mut client) = open().await;
    let mut other = store.rpc().await;
    let live = other.live(None).await.id;
    client.push_ok(&chain(0, 750)).await;
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < 750 {
        sizes.push(other.expect_chunk(&live).await.events.len());
        other.ack(&live).await;
    }
    assert!(sizes.iter().all(|size| (1..=100).contains(size)), "{sizes:?}");
    other.expect_silence().await;
}

#[tokio::test]
async fn batches_up_to_the_limit_are_taken() {
    let (store, mut client) = open().await;
    client.push_ok(&chain(0, BATCH_EVENTS_MAX)).await;
    let mut v03 = store.v03().await;
    v03.pull(None).await;
    v03.push_ok(&chain(BATCH_EVENTS_MAX, BATCH_EVENTS_MAX)).await;
    assert_pulled(&store.log().await, &chain(0, 2 * BATCH_EVENTS_MAX));
}

#[tokio::test]
async fn batches_over_the_limit_are_refused_and_nothing_is_stored() {
    let (store, mut client) = open().await;
    for count in [BATCH_EVENTS_MAX + 1, 20_000] {
        client.push(&chain(0, count)).await.assert_invalid_batch();
        store.http_push(&chain(0, count)).await.assert_invalid_batch();
        assert!(store.v03().await.push(&chain(0, count)).await.is_err());
    }
    assert!(store.log().await.is_empty());
    client.push_ok(&chain(0, 1)).await;
}

fn ping_of(bytes: usize) -> String {
    let ping = format!(r#"{{"_tag":"Ping","x":"{}"}}"#, "x".repeat(bytes - 22));
    assert_eq!(ping.len(), bytes);
    ping
}

#[tokio::test]
async fn frames_up_to_the_limit_are_read() {
    let (store, mut client) = open().await;
    client.socket.send(ping_of(FRAME_BYTES_MAX)).await;
    assert!(matches!(client.answer("a pong").await, Answer::Pong));
    let batch = chain_with(0, 9, &format!("\"{}\"", "x".repeat(890_000)));
    client.push_ok(&batch).await;
    assert_pulled(&store.log().await, &batch);
}

#[tokio::test]
async fn frames_over_the_limit_close_their_connection_with_1009() {
    let (store, mut bystander) = open().await;
    let live = bystander.live(None).await.id;
    for bytes in [FRAME_BYTES_MAX + 1, 3 * FRAME_BYTES_MAX] {
        let mut client = store.rpc().await;
        client.socket.send(ping_of(bytes)).await;
        assert_eq!(client.socket.expect_close().await.0, Some(1009), "{bytes} bytes");
        let mut client = store.v03().await;
        client.socket.send(ping_of(bytes)).await;
        assert_eq!(client.socket.expect_close().await.0, Some(1009), "{bytes} bytes");
    }
    // Pieces cannot hide it.
    let mut client = store.rpc().await;
    let piece = "x".repeat(FRAME_BYTES_MAX / 4);
    let parts = [r#"{"_tag":"Ping","x":""#, &piece, &piece, &piece, &piece, r#""}"#];
    client.socket.send_fragments(&parts).await;
    assert_eq!(client.socket.expect_close().await.0, Some(1009));
    store.rpc().await.push_ok(&chain(0, 1)).await;
    assert_eq!(seqs(&bystander.expect_chunk(&live).await.events), [1]);
}

/// A frame header may announce any length; nobody must reserve it.
#[tokio::test]
async fn an_announced_length_is_not_reserved() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = Server::shared();
    let store = server.store();
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = tokio::net::TcpStream::connect(server.authority()).await.expect("a connection");
        let path = server.path(&format!("/?{}&transport=ws", store.query()));
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            server.authority()
        );
        stream.write_all(head.as_bytes()).await.expect("a request");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 101");
        let mut header = vec![0x81, 0xff];
        header.extend(0x7fff_ffff_ffff_ffff_u64.to_be_bytes());
        header.extend([0; 4]);
        // The server may have closed it before it has all.
        let _ = stream.write_all(&header).await;
        streams.push(stream);
    }
    store.rpc().await.push_ok(&chain(0, 1)).await;
}

/// Small messages would otherwise cost the server many times what they cost the sender.
#[tokio::test]
async fn a_frame_may_hold_a_thousand_messages() {
    let (store, mut client) = open().await;
    let pings = |count| format!("[{}]", vec![r#"{"_tag":"Ping"}"#; count].join(","));
    client.socket.send(pings(1_000)).await;
    for _ in 0..1_000 {
        assert!(matches!(client.answer("a thousand pongs").await, Answer::Pong));
    }
    client.expect_silence().await;
    for count in [1_001, 300_000] {
        client.socket.send(pings(count)).await;
        let _ = client.expect_defect().await;
        client.expect_silence().await;
    }
    assert_eq!(store.post(&pings(1_000)).await.json().as_array().map(Vec::len), Some(1_000));
    let answer = store.post(&pings(1_001)).await.json();
    assert_eq!((answer.as_array().map(Vec::len), &answer[0]["_tag"]), (Some(1), &"Defect".into()));
}

#[tokio::test]
async fn a_connection_may_have_so_many_pulls() {
    let (_, mut client) = open().await;
    let mut ids = Vec::new();
    for _ in 0..PULLS_MAX {
        ids.push(client.live(None).await.id);
    }
    let over = client.start_pull(true, None).await;
    assert!(client.expect_exit(&over).await.died_of().contains("64 pulls"));
    client.push_ok(&chain(0, 1)).await;
    for id in &ids {
        assert_eq!(seqs(&client.chunk(id).await.events), [1]);
    }
    client.expect_silence().await;
    // Those that end make room.
    client.interrupt(&ids[0]).await;
    client.expect_exit(&ids[0]).await.assert_interrupted();
    assert_eq!(seqs(&client.pull_all().await.events), [1]);
}

#[tokio::test]
async fn store_ids_up_to_the_limit_are_taken() {
    let server = Server::shared();
    let prefix = server.store().id().to_owned();
    let store = server.store_named(format!("{prefix}{}", "x".repeat(4_096 - prefix.len())));
    store.rpc().await.push_ok(&chain(0, 1)).await;
    assert_eq!(store.log().await.len(), 1);
    let over = server.store_named("x".repeat(4_097));
    let response = over.post(r#"{"_tag":"Ping"}"#).await;
    assert_eq!(response.status, 400, "{}", response.text());
    assert!(response.text().contains("storeId"), "{}", response.text());
}

#[tokio::test]
async fn a_closing_connection_gets_its_close_frame_first() {
    let (_, mut client) = open().await;
    client.live(None).await;
    client.socket.send_binary(b"\xff".to_vec()).await;
    assert!(matches!(client.socket.next("a close frame").await, Incoming::Close(Some(1007), _)));
    assert!(matches!(client.socket.next("the end").await, Incoming::Lost(_)));
}

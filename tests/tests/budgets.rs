//! What clients make a native server hold: each attacks with what costs it little, and the server's memory says
//! whether it was counted. Peaks are those of Linux's `/proc`.

use std::time::Duration;

use livestore_sync_tests::{Incoming, Message, Rpc, Server, Store, chain, chain_with, pull_payload};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const MB: u64 = 1_000_000;

/// What a server takes for itself, allocator and page cache of SQLite included, while it works on large events.
const AT_WORK: u64 = 40 * MB;

/// What one connection may make it hold, beside that: the default of `--max-connection-bytes`.
const CONNECTION: u64 = 16 * 1024 * 1024;

fn large(bytes: usize) -> String {
    format!("\"{}\"", "x".repeat(bytes))
}

async fn filled(server: &Server, events: i64, bytes: usize) -> (Store, Rpc) {
    let store = server.store();
    let mut client = store.rpc().await;
    let at_once = (4_000_000 / bytes as i64).clamp(1, 100);
    for head in (0..events).step_by(at_once as usize) {
        client.push_ok(&chain_with(head, at_once.min(events - head), &large(bytes))).await;
    }
    (store, client)
}

/// What the server's memory grows by meanwhile, at its peak.
async fn growth(server: &Server, attack: impl Future<Output = ()>) -> u64 {
    let before = server.process().reset_peak_bytes();
    attack.await;
    // What was asked for last is worked on when a moment has passed.
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.process().peak_bytes().saturating_sub(before)
}

/// Neither the pages nor the frames of pulls that nobody reads are held; only so many run at a time.
#[tokio::test]
async fn pulls_of_clients_that_do_not_read_hold_little() {
    let server = Server::own(&["--synchronous", "off"]);
    let (store, mut other) = filled(&server, 40, 100_000).await;
    let (mut rpc, mut v03) = (store.rpc().await, store.v03().await);
    let grown = growth(&server, async {
        for _ in 0..300 {
            rpc.start_pull(true, None).await;
            v03.start_pull(None).await;
        }
    })
    .await;
    assert!(grown < AT_WORK + CONNECTION, "{} MB of two connections", grown / MB);
    other.push_ok(&chain(40, 1)).await;
}

/// An event is held once, however many do not read it, and each connection holds no more than its share.
#[tokio::test]
async fn an_event_for_a_thousand_live_pulls_is_held_once() {
    let server = Server::own(&["--synchronous", "off"]);
    let store = server.store();
    let mut deaf = Vec::new();
    for _ in 0..20 {
        let mut client = store.rpc().await;
        for _ in 0..50 {
            client.live(None).await;
        }
        deaf.push(client);
    }
    let mut pusher = store.rpc().await;
    let grown = growth(&server, pusher.push_ok(&chain_with(0, 1, &large(880_000)))).await;
    assert!(grown < AT_WORK, "{} MB", grown / MB);
    for client in &mut deaf {
        assert_eq!(client.socket.skip_to_close().await.0, Some(1013), "44 MB are more than a connection may hold");
    }
}

/// Many clients that sleep, each within its limits: what was committed for them is held once, and what is short is
/// taken from those who hold much.
#[tokio::test]
async fn sleeping_readers_do_not_use_the_memory_up() {
    const MEMORY: u64 = 24 * MB;
    let server = Server::own(&["--synchronous", "off", "--max-memory", &MEMORY.to_string()]);
    let store = server.store();
    let mut asleep = Vec::new();
    for _ in 0..30 {
        let mut client = store.rpc().await;
        client.live(None).await;
        asleep.push(client);
    }
    let (mut pusher, mut reader) = (store.rpc().await, store.rpc().await);
    let live = reader.live(None).await.id;
    let grown = growth(&server, async {
        for head in 0..60 {
            pusher.push_ok(&chain_with(head, 1, &large(800_000))).await;
            assert_eq!(reader.live_until(&live, head + 1).await.len(), 1, "one that reads gets everything");
        }
    })
    .await;
    // Each socket that is blocked has a frame that is being written.
    assert!(grown < MEMORY + AT_WORK, "{} MB", grown / MB);
    for client in &mut asleep {
        // They come back with their cursors. One that is blocked for longer than a close may take is not told why.
        while let Incoming::Text(_) = client.socket.next("what was on its way, and the end").await {}
    }
    assert_eq!(store.log().await.len(), 60);
}

/// A stale push of tiny events is compared with large ones a few at a time, and no further than they are equal.
#[tokio::test]
async fn a_stale_push_does_not_make_the_server_read_the_log() {
    let server = Server::own(&["--synchronous", "off"]);
    let (_, mut client) = filled(&server, 60, 850_000).await;
    let grown = growth(&server, async {
        client.push(&chain(0, 60)).await.assert_server_ahead(60, 0);
        let mut half = chain_with(0, 1, &large(850_000));
        half.extend(chain(1, 59));
        client.push(&half).await.assert_server_ahead(60, 0);
    })
    .await;
    assert!(grown < AT_WORK, "{} MB", grown / MB);
}

/// Pushes that wait are taken from the connection's budget: beyond it, the socket is read no further.
#[tokio::test]
async fn pushes_that_wait_hold_no_more_than_the_budget() {
    let server = Server::own(&["--synchronous", "off"]);
    let (store, _) = filled(&server, 10, 100_000).await;
    let mut client = store.rpc().await;
    // It never catches up, so that its refusals wait.
    client.start_pull(true, None).await;
    let batch: Vec<_> = chain_with(1_000, 1_400, &large(5_000));
    let grown = growth(&server, async {
        let sending = async {
            for _ in 0..30 {
                client.start_push(&batch).await;
            }
        };
        // Where the server stops to read, this does not end.
        let _ = tokio::time::timeout(Duration::from_secs(1), sending).await;
    })
    .await;
    assert!(grown < 100 * MB, "{} MB", grown / MB);
}

/// Nobody proves the acknowledgements of 0.3 pushes; what is kept of them for the next connection is bounded.
#[tokio::test]
async fn acknowledgements_that_nobody_proves_are_forgotten_in_the_end() {
    let server = Server::own(&[]);
    let store = server.store();
    let mut client = store.v03().await;
    for _ in 0..16 {
        client.pull(None).await;
    }
    for _ in 0..2_000 {
        // An empty push is acknowledged at once. What is not read is not answered, pings neither.
        client.start_push(&[]).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    client.socket.cut();
    let mut again = store.v03().await;
    again.socket.send(r#"{"_tag":"WSMessage.Ping","requestId":"ping"}"#).await;
    let (mut repeated, mut pong) = (0, false);
    while repeated == 0 || !pong {
        match again.message("the acknowledgements and a pong").await {
            Message::PushAck(_) => repeated += 1,
            Message::Pong => pong = true,
            other => panic!("unexpected: {other:?}"),
        }
    }
    again.socket.send(r#"{"_tag":"WSMessage.Ping","requestId":"ping"}"#).await;
    while !matches!(again.message("a pong").await, Message::Pong) {
        repeated += 1;
    }
    assert!((1..=64).contains(&repeated), "{repeated} acknowledgements");
    let file = std::fs::metadata(server.process().data().join("clients-0.3.json")).expect("it is kept").len();
    assert!(file < 100_000, "{file} bytes");
}

/// A slow or dead reader of http is one that waits, and holds a few frames.
#[tokio::test]
async fn an_answer_that_is_not_read_is_not_made() {
    let server = Server::own(&["--synchronous", "off"]);
    let (store, _) = filled(&server, 60, 850_000).await;
    let body = format!(
        r#"{{"_tag":"Request","id":"1","tag":"SyncHttpRpc.Pull","payload":{},"headers":[]}}"#,
        pull_payload(&store, None, None)
    );
    let grown = growth(&server, async {
        let mut unread = Vec::new();
        for _ in 0..20 {
            let mut stream = TcpStream::connect(server.authority()).await.expect("the server accepts connections");
            let request = format!(
                "POST /?{}&transport=http HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                store.query(),
                server.authority(),
                body.len()
            );
            stream.write_all(request.as_bytes()).await.expect("the server takes a request");
            unread.push(stream);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    })
    .await;
    assert!(grown < 20 * 4 * MB + AT_WORK, "{} MB", grown / MB);
}

//! All attacks at once: clients without any right that make a native server hold, read and compare as much as they can.
//! It stays within its `--max-memory`, and a client that does nothing special is served meanwhile. For figures, run it
//! with `--nocapture` against a release build.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use livestore_sync_tests::{Event, Rpc, Server, Store, chain, chain_with, pull_payload};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

const MB: u64 = 1_000_000;

/// What the server may take.
const MEMORY: u64 = 200 * MB;

/// How long it lasts.
const SIEGE: Duration = Duration::from_secs(8);

fn large(bytes: usize) -> String {
    format!("\"{}\"", "x".repeat(bytes))
}

async fn fill(store: &Store, events: i64, bytes: usize) {
    let mut client = store.rpc().await;
    for head in 0..events {
        client.push_ok(&chain_with(head, 1, &large(bytes))).await;
    }
}

/// Pulls whose chunks are neither acknowledged nor read, of both generations.
async fn pulls_without_end(store: Store) {
    let (mut rpc, mut v03) = (store.rpc().await, store.v03().await);
    for _ in 0..300 {
        rpc.start_pull(true, None).await;
        v03.start_pull(None).await;
    }
    std::future::pending().await
}

/// Live pulls of one event after another that nobody reads.
async fn events_for_the_deaf(store: Store) {
    let mut pusher = store.rpc().await;
    for head in 0.. {
        let mut deaf = store.rpc().await;
        for _ in 0..50 {
            deaf.start_pull(true, None).await;
        }
        pusher.start_push(&chain_with(head, 1, &large(800_000))).await;
        sleep(Duration::from_millis(100)).await;
    }
}

/// Messages that are begun and not ended.
async fn unfinished_messages(store: Store) {
    let mut sockets = Vec::new();
    loop {
        let mut stream = upgraded(&store).await;
        let length = 8_000_000_u64.to_be_bytes();
        let head = [&[0x01, 0xFF][..], &length, &[0, 0, 0, 0]].concat();
        let message = [head, vec![b'x'; 7_000_000]].concat();
        // The server stops to read where there is no room.
        let _ = timeout(Duration::from_millis(200), stream.write_all(&message)).await;
        sockets.push(stream);
    }
}

async fn upgraded(store: &Store) -> TcpStream {
    let authority = store.server().authority();
    let mut stream = TcpStream::connect(authority).await.expect("the server accepts connections");
    let request = format!(
        "GET /?{}&transport=ws HTTP/1.1\r\nhost: {authority}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        store.query()
    );
    stream.write_all(request.as_bytes()).await.expect("the server takes a request");
    stream
}

/// Pushes of some MB behind a pull that never catches up.
async fn pushes_that_wait(store: Store) {
    let batch: Vec<Event> = chain_with(900_000, 1_400, &large(5_000));
    loop {
        let mut client = store.rpc().await;
        client.start_pull(true, None).await;
        let sending = async {
            for _ in 0..8 {
                client.start_push(&batch).await;
            }
        };
        let _ = timeout(Duration::from_millis(500), sending).await;
    }
}

/// Stale pushes that are to be compared with the log.
async fn stale_pushes(store: Store) {
    let mut client = store.rpc().await;
    loop {
        client.push(&chain(0, 60)).await;
    }
}

/// Pulls over http that are not read.
async fn answers_that_are_not_read(store: Store) {
    let body = format!(
        r#"{{"_tag":"Request","id":"1","tag":"SyncHttpRpc.Pull","payload":{},"headers":[]}}"#,
        pull_payload(&store, None, None)
    );
    let authority = store.server().authority();
    let mut unread = Vec::new();
    loop {
        let mut stream = TcpStream::connect(authority).await.expect("the server accepts connections");
        let request = format!(
            "POST /?{}&transport=http HTTP/1.1\r\nhost: {authority}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            store.query(),
            body.len()
        );
        stream.write_all(request.as_bytes()).await.expect("the server takes a request");
        unread.push(stream);
        sleep(Duration::from_millis(20)).await;
    }
}

/// Pings, which each wake what waits on their connection.
async fn pings(store: Store) {
    let mut client: Rpc = store.rpc().await;
    for _ in 0..50 {
        client.start_pull(true, None).await;
    }
    loop {
        client.socket.send(r#"{"_tag":"Ping"}"#).await;
        tokio::task::yield_now().await;
    }
}

/// Stores that nobody pushes to, and connections that ask nothing.
async fn wanderers(server: Server) {
    let mut silent = Vec::new();
    loop {
        let _ = server.store().rpc().await.pull(None).await;
        silent.push(TcpStream::connect(server.authority()).await);
        sleep(Duration::from_millis(5)).await;
    }
}

/// One who pushes every 20 ms and pulls; how long each acknowledgement took.
async fn bystander(store: Store, over: Arc<AtomicBool>) -> Vec<Duration> {
    let mut client = store.rpc().await;
    let live = client.live(None).await.id;
    let mut times = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let (head, began) = (times.len() as i64, Instant::now());
        client.push_ok(&chain(head, 1)).await;
        times.push(began.elapsed());
        assert_eq!(client.live_until(&live, head + 1).await.len(), 1, "what it pushed comes to it");
        sleep(Duration::from_millis(20)).await;
    }
    times
}

#[tokio::test]
async fn a_server_under_siege_stays_within_its_memory_and_serves_others() {
    let server = Server::own(&["--synchronous", "off", "--max-memory", &MEMORY.to_string()]);
    let (long, quiet) = (server.store(), server.store());
    fill(&long, 60, 850_000).await;
    let before = server.process().reset_peak_bytes();

    let over = Arc::new(AtomicBool::new(false));
    let watching = std::thread::spawn({
        let (over, quiet) = (Arc::clone(&over), quiet.clone());
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(bystander(quiet, over))
        }
    });
    let attacks = async {
        tokio::join!(
            pulls_without_end(long.clone()),
            events_for_the_deaf(server.store()),
            unfinished_messages(server.store()),
            pushes_that_wait(long.clone()),
            stale_pushes(long.clone()),
            answers_that_are_not_read(long.clone()),
            pings(server.store()),
            wanderers(server.clone()),
        );
    };
    assert!(timeout(SIEGE, attacks).await.is_err(), "they go on until they are stopped");
    over.store(true, Ordering::Relaxed);
    let mut times = watching.join().expect("the bystander is served");
    let peak = server.process().peak_bytes();

    times.sort();
    let at = |part: f64| times[(times.len() as f64 * part) as usize].as_secs_f64() * 1_000.0;
    eprintln!("memory: {} MB, before it {} MB", peak / MB, before / MB);
    eprintln!(
        "{} acknowledgements: p50 {:.1} ms, p99 {:.1} ms, the last {:.1} ms",
        times.len(),
        at(0.5),
        at(0.99),
        at(0.9999)
    );
    assert!(peak < MEMORY, "{} MB", peak / MB);
    assert_eq!(quiet.log().await.len(), times.len());
    // Those who besieged it are gone, and with them, soon, what it held.
    long.rpc().await.push_ok(&chain(60, 1)).await;
}

//! Prints figures: `cargo test --release -p livestore-sync-client-tests --test figures -- --ignored --nocapture`

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

#[path = "../../../sync-client/tests/support/app.rs"]
mod app;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use livestore_sync_client::local::LocalStore;
use livestore_sync_client::{Protocol, SyncClient};
use tokio::time::Instant;

use self::app::{add, options};

const PULL: &str = "LIVESTORE_FIGURES_PULL";
const SERVE: &str = "LIVESTORE_FIGURES_SERVE";

fn rate(events: usize, elapsed: Duration) -> String {
    format!("{:.0} events/s ({elapsed:.1?})", events as f64 / elapsed.as_secs_f64())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn through_a_server() {
    if std::env::var(SERVE).is_ok() {
        let server = livestore_sync_client_tests::start().await;
        println!("\nserving {}", server.url());
        return std::future::pending().await;
    }
    if let Ok(url) = std::env::var(PULL) {
        println!();
        for protocol in livestore_sync_client_tests::PROTOCOLS {
            pull(&url, protocol).await;
        }
        return follow(&url).await;
    }
    let mut server = again("through_a_server").env(SERVE, "1").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines().map(Result::unwrap);
    let url = lines.find_map(|line| line.strip_prefix("serving ").map(str::to_owned)).unwrap();
    println!();
    for protocol in livestore_sync_client_tests::PROTOCOLS {
        pushes(&url, protocol).await;
    }
    // In a process without this one's past.
    assert!(again("through_a_server").env(PULL, &url).status().unwrap().success());
    server.kill().unwrap();
    server.wait().unwrap();
}

fn client(url: &str, store: &str, protocol: Protocol) -> SyncClient {
    let store = format!("{store}-{protocol:?}");
    SyncClient::builder(url, store).protocol(protocol).start().unwrap()
}

async fn pushes(url: &str, protocol: Protocol) {
    let way = format!("{protocol:?}");
    for batch in [1, 10, 100] {
        let client = client(url, &format!("batches-{batch}"), protocol);
        client.push(livestore_sync_client_tests::events(1..=1)).await.unwrap();
        let start = Instant::now();
        for n in 0..500 {
            client.push(livestore_sync_client_tests::events(2 + n * batch..=1 + (n + 1) * batch)).await.unwrap();
        }
        println!("{way}: pushes of {batch}, one after another: {}", rate(500 * batch as usize, start.elapsed()));
    }
    let client = client(url, "long", protocol);
    let events = livestore_sync_client_tests::events(1..=100_000);
    let start = Instant::now();
    client.push(events).await.unwrap();
    println!("{way}: one push of 100,000, cut by the client: {}", rate(100_000, start.elapsed()));
}

async fn pull(url: &str, protocol: Protocol) {
    let before = resident();
    let client = client(url, "long", protocol);
    let start = Instant::now();
    let (mut pull, mut pulled) = (client.pull(None), 0);
    while let Some(page) = pull.next().await {
        pulled += page.unwrap().events.len();
    }
    assert_eq!(pulled, 100_000);
    let (rate, after) = (rate(pulled, start.elapsed()), resident());
    println!("{protocol:?}: pull of 100,000: {rate}; memory: {before} KB before, {after} KB after");
}

/// A store that is new takes the log of 100,000 events that another client pushed.
async fn follow(url: &str) {
    let folder = tempfile::tempdir().unwrap();
    let client = client(url, "long", Protocol::V04Ws);
    let before = resident();
    let start = Instant::now();
    let options = options().materialiser("v1.Added", |tx, event| {
        tx.prepare_cached("INSERT INTO items (text) VALUES (?1 ->> 'n')")?.execute([event.args.as_json()])?;
        Ok(())
    });
    let store = LocalStore::open(folder.path().join("a.db"), client, options).await.unwrap();
    drop(store.watch().wait_for(|status| status.head.get() == 100_000).await.unwrap());
    let (rated, after) = (rate(100_000, start.elapsed()), resident());
    println!("a new store takes 100,000 events: {rated}; memory: {before} KB before, {after} KB after");
    let start = Instant::now();
    for n in 0..100 {
        store.commit((0..100).map(|i| add(n * 100 + i))).await.unwrap();
    }
    store.flush().await.unwrap();
    println!("  10,000 events committed there, until all are confirmed: {}", rate(10_000, start.elapsed()));
    store.close().await;
}

/// This program, for one of its tests.
fn again(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--ignored", "--nocapture"]);
    command
}

/// Resident memory in KB, where the system tells.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

//! Prints figures: `cargo test --release -p livestore-sync-client --test figures -- --ignored --nocapture`

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

#[path = "support/mod.rs"]
mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use livestore_sync_client::local::LocalStore;
use tokio::time::Instant;

use self::support::MemoryBackend;
use self::support::app::{TABLES, add, options, until};

const OPEN: &str = "LIVESTORE_FIGURES_OPEN";

async fn open(path: &Path, backend: &MemoryBackend) -> LocalStore {
    LocalStore::open(path, backend.clone(), options()).await.unwrap()
}

fn offline() -> MemoryBackend {
    let backend = MemoryBackend::default();
    backend.go_offline();
    backend
}

fn rate(events: usize, elapsed: Duration) -> String {
    format!("{:.0} events/s ({elapsed:.1?})", events as f64 / elapsed.as_secs_f64())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn commits() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("a.db"), &offline()).await;
    let start = Instant::now();
    for n in 0..500 {
        store.commit([add(n)]).await.unwrap();
    }
    println!("commits of one event, one after another: {}", rate(500, start.elapsed()));
    let start = Instant::now();
    futures_util::future::try_join_all((0..5_000).map(|n| store.commit([add(n)]))).await.unwrap();
    println!("commits of one event, many at once: {}", rate(5_000, start.elapsed()));
    let start = Instant::now();
    for _ in 0..50 {
        store.commit((0..100).map(add)).await.unwrap();
    }
    println!("commits of 100 events: {}", rate(5_000, start.elapsed()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn rebases() {
    for pending in [100, 1_000, 10_000] {
        let (folder, backend) = (tempfile::tempdir().unwrap(), offline());
        let store = open(&folder.path().join("a.db"), &backend).await;
        store.commit((0..pending).map(add)).await.unwrap();
        backend.compete("add", serde_json::json!({ "text": "theirs" }));
        let start = Instant::now();
        backend.go_online();
        until(&store, |status| status.head.get() >= 1).await;
        println!("rebase of {pending} pending events: {:.1?}", start.elapsed());
        let start = Instant::now();
        store.flush().await.unwrap();
        println!("  pushing them, one batch after another: {}", rate(pending, start.elapsed()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn a_long_log() {
    let (folder, backend) = (tempfile::tempdir().unwrap(), MemoryBackend::default());
    let path = folder.path().join("a.db");
    if let Ok(path) = std::env::var(OPEN) {
        return open_in_a_new_process(Path::new(&path)).await;
    }
    for n in 0..100_000 {
        backend.compete("add", serde_json::json!({ "text": format!("item number {n}") }));
    }
    let start = Instant::now();
    let store = open(&path, &backend).await;
    drop(store.watch().wait_for(|status| status.head.get() == 100_000).await.unwrap());
    println!("receiving 100,000 events in pages of 100: {}", rate(100_000, start.elapsed()));
    store.close().await;
    println!("  the file has {} MB", path.metadata().unwrap().len() / 1_000_000);
    let child = again("a_long_log").env(OPEN, &path).output().unwrap();
    let told = String::from_utf8_lossy(&child.stdout).into_owned();
    told.lines().filter(|line| line.contains(':')).for_each(|line| println!("{line}"));
    let start = Instant::now();
    let store = LocalStore::open(&path, offline(), options().tables(2, TABLES)).await.unwrap();
    println!("rebuilding the tables from 100,000 events: {}", rate(100_000, start.elapsed()));
    store.close().await;
}

/// This program, for one of its tests.
fn again(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--ignored", "--nocapture"]);
    command
}

async fn open_in_a_new_process(path: &Path) {
    let before = resident();
    let start = Instant::now();
    let store = open(path, &offline()).await;
    println!("\nopening a log of 100,000 events: {:.1?}", start.elapsed());
    let start = Instant::now();
    store.commit([add("one more")]).await.unwrap();
    println!("  the first commit: {:.1?}", start.elapsed());
    println!("  memory: {} KB before, {} KB after, of which SQLite's cache is up to 2,000 KB", before, resident());
}

/// Resident memory in KB, where the system tells.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

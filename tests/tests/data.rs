//! What the native server keeps: backup and restore beside it, files that go away under it, stores that are only
//! asked for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use livestore_sync_tests::{Process, Server, TempDir, assert_chain, assert_pulled, chain, chain_with};

fn binary() -> PathBuf {
    std::env::var_os("LIVESTORE_SYNC_BIN").expect("these tests are about the native binary").into()
}

fn run(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> Output {
    let mut command = Command::new(binary());
    for argument in arguments {
        command.arg(argument);
    }
    command.output().expect("it runs")
}

fn restore(backup: &Path, data: &Path) -> Output {
    run(&[&"restore", &backup, &"--data", &data])
}

fn start(data: &Path) -> (Arc<Process>, Server) {
    let process = Arc::new(Process::start_on(data, &[]));
    (Arc::clone(&process), Server::of(process))
}

#[tokio::test]
async fn a_backup_ends_while_clients_push_and_what_is_restored_is_another_log() {
    let (data, elsewhere) = (TempDir::new(), TempDir::new());
    let copy = elsewhere.path().join("copy.db");
    let (process, server) = start(data.path());
    let (store, busy, empty) = (server.store(), server.store(), server.store());
    let mut client = store.rpc().await;
    client.push_ok(&chain_with(0, 50, &format!("\"{}\"", "x".repeat(20_000)))).await;
    let before = client.pull_all().await.backend;
    let before_empty = empty.rpc().await.pull_all().await.backend;

    // Somebody pushes without a pause, before and until it is done.
    let done = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&done);
    let mut pusher = busy.rpc().await;
    let pushing = tokio::spawn(async move {
        let mut head = 0;
        while !stop.load(Ordering::Relaxed) || head == 0 {
            pusher.push_ok(&chain(head, 1)).await;
            head += 1;
        }
        head
    });
    let (to, folder) = (copy.clone(), data.path().to_owned());
    let made = tokio::task::spawn_blocking(move || run(&[&"backup", &to, &"--data", &folder])).await.expect("ends");
    done.store(true, Ordering::Relaxed);
    let pushed = pushing.await.expect("every push was acknowledged");
    assert!(made.status.success(), "{made:?}");
    let again = run(&[&"backup", &copy, &"--data", &data.path()]);
    assert_eq!(again.status.code(), Some(2), "nothing is overwritten: {again:?}");

    client.push_ok(&chain(50, 3)).await;
    let in_use = restore(&copy, data.path());
    assert_eq!(in_use.status.code(), Some(2), "a folder in use is left alone: {in_use:?}");
    assert_eq!(store.log().await.len(), 53);
    process.terminate();
    assert!(process.exit_status().await.success());
    let restored = restore(&copy, data.path());
    assert!(restored.status.success(), "{restored:?}");

    let (_process, server) = start(data.path());
    let (store, busy, empty) =
        (server.store_named(store.id()), server.store_named(busy.id()), server.store_named(empty.id()));
    let kept = busy.log().await;
    assert_chain(0, &kept);
    assert!(kept.len() as i64 <= pushed, "{} of {pushed}", kept.len());
    let mut client = store.rpc().await;
    let pull = client.pull_all().await;
    assert_pulled(&pull.events, &chain_with(0, 50, &format!("\"{}\"", "x".repeat(20_000))));
    assert_ne!(pull.backend, before);
    assert_ne!(empty.rpc().await.pull_all().await.backend, before_empty);
    // Who knows more than the copy is told, on both ways in.
    let pull = client.start_pull(true, Some((&before, 53))).await;
    assert_eq!(client.exit(&pull).await.error()["_tag"], "BackendIdMismatchError");
    let push = client.start_push_to(&chain(53, 1), Some(&before)).await;
    assert_eq!(client.exit(&push).await.error()["_tag"], "BackendIdMismatchError");
    client.push_ok(&chain(50, 1)).await;
}

#[tokio::test]
async fn nothing_is_acknowledged_after_the_files_are_gone() {
    let data = TempDir::new();
    let (process, server) = start(data.path());
    let store = server.store();
    store.http_push(&chain(0, 1)).await.assert_pushed();
    for entry in fs::read_dir(data.path()).expect("a folder") {
        fs::remove_file(entry.expect("a file").path()).expect("removes it");
    }
    // How a failure of the server's own is told is another matter: it must not be told that it is stored.
    let mut client = store.rpc().await;
    client.start_push(&chain(1, 1)).await;
    let answer = client.socket.next("a refusal, or the end").await;
    let text = format!("{answer}");
    assert!(!text.contains("Success"), "{text}");
    process.kill();
    let (_process, server) = start(data.path());
    assert_eq!(server.store_named(store.id()).log().await.len(), 0);
}

#[tokio::test]
async fn stores_that_are_only_asked_for_do_not_count() {
    let server = Server::own(&["--max-stores", "1"]);
    let store = server.store();
    for _ in 0..5 {
        let junk = server.store();
        assert_eq!(junk.post(r#"{"_tag":"Ping"}"#).await.status, 200);
        let mut client = junk.rpc().await;
        let backend = client.pull_all().await.backend;
        assert_eq!(junk.rpc().await.pull_all().await.backend, backend, "it is the same for all");
    }
    let mut client = store.rpc().await;
    let backend = client.pull_all().await.backend;
    client.push_ok(&chain(0, 1)).await;
    assert_eq!(client.pull_all().await.backend, backend, "also once it has events");
    assert_eq!(server.store().post(r#"{"_tag":"Ping"}"#).await.status, 503);
}

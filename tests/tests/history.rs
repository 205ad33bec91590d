//! A data folder that was put back to an earlier state, under the ids that it had: what clients are told.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use livestore_sync_tests::{Process, Server, TempDir, assert_pulled, chain, seqs};

fn start(data: &TempDir) -> Server {
    Server::of(Arc::new(Process::start_on(data.path(), &[])))
}

async fn stop(server: &Server) {
    server.process().terminate();
    assert_eq!(server.process().exit_status().await.code(), Some(0));
}

fn copy(from: &TempDir, to: &TempDir) {
    for file in fs::read_dir(from.path()).expect("a folder") {
        let file = file.expect("a file").path();
        fs::copy(&file, to.path().join(file.file_name().expect("a name"))).expect("copies");
    }
}

/// A server whose store `a` ends at 5 and ended at 10, and the log's id.
async fn put_back() -> (Server, String, TempDir) {
    let (data, backup) = (TempDir::new(), TempDir::new());
    let server = start(&data);
    server.store_named("a").rpc().await.push_ok(&chain(0, 5)).await;
    stop(&server).await;
    copy(&data, &backup);
    let server = start(&data);
    let mut client = server.store_named("a").rpc().await;
    client.push_ok(&chain(5, 5)).await;
    let backend = client.pull_all().await.backend;
    stop(&server).await;
    (start(&backup), backend, backup)
}

#[tokio::test]
async fn clients_beyond_the_end_of_a_log_that_was_put_back_are_told() {
    let (server, backend, _data) = put_back().await;
    let store = server.store_named("a");
    let mut client = store.rpc().await;
    assert_eq!(client.pull_all().await.backend, backend, "it is the same log to whoever asks for its id");
    let id = client.start_pull(true, Some((&backend, 10))).await;
    client.expect_exit(&id).await.assert_backend_id_mismatch(&backend);
    client.push_to(&chain(10, 1), &backend).await.assert_backend_id_mismatch(&backend);
    store.http_push_to(&chain(10, 1), &backend).await.assert_backend_id_mismatch(&backend);
    // A client that has no more than the log has, goes on.
    let mut behind = store.rpc().await;
    assert_eq!(behind.live(Some((&backend, 5))).await.pages, [(0, 0)]);
    behind.push_ok(&chain(5, 1)).await;
    assert_pulled(&store.log().await, &chain(0, 6));
}

/// A 0.3 client that reconnects is continued by the server: from a place that the log does not have any more, it is not.
#[tokio::test]
async fn v03_clients_beyond_the_end_are_told_when_they_come_back() {
    // Lost while the server runs, where it is known how far it was; or with the server, where its push tells.
    for lost_first in [true, false] {
        let (data, backup) = (TempDir::new(), TempDir::new());
        let server = start(&data);
        server.store_named("a").v03().await.push_ok(&chain(0, 5)).await;
        stop(&server).await;
        copy(&data, &backup);
        let server = start(&data);
        let mut client = server.store_named("a").v03().await;
        client.push_ok(&chain(5, 5)).await;
        let pull = client.start_pull(Some("3")).await;
        assert_eq!(seqs(&client.expect_pages(&pull).await[0].events), [4, 5, 6, 7, 8, 9, 10]);
        client.expect_silence().await;
        let clients = data.path().join("clients-0.3.json");
        if lost_first {
            drop(client);
            until_it_holds(&clients, r#""after":10"#).await;
            stop(&server).await;
        } else {
            until_it_holds(&clients, &pull).await;
            server.process().kill();
            server.process().exit_status().await;
        }
        fs::copy(&clients, backup.path().join("clients-0.3.json")).expect("copies");

        let server = start(&backup);
        let mut client = server.store_named("a").v03().await;
        client.expect_pong().await;
        if !lost_first {
            let push = client.start_push(&chain(10, 1)).await;
            assert_eq!(client.expect_error(&push).await, "Invalid parent event number. Received e10 but expected e5");
        }
        let message = client.expect_error(&pull).await;
        assert!(message.contains("up to event 10, where the log ends at 5"), "{message}");
    }
}

async fn until_it_holds(file: &Path, text: &str) {
    let holds = || fs::read_to_string(file).is_ok_and(|content| content.contains(text));
    for _ in 0..2_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no {text} in {:?}", fs::read_to_string(file));
}

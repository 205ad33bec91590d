//! SIGTERM, and what a restart finds.

use std::sync::Arc;

use livestore_sync_tests::{
    Answer, Exit, Incoming, Message, Process, Server, TempDir, assert_pulled, chain, chain_with,
};
use tokio::io::AsyncWriteExt;

fn start(data: &TempDir) -> Server {
    Server::of(Arc::new(Process::start_on(data.path(), &[])))
}

#[tokio::test]
async fn sigterm_closes_sockets_with_1012_and_exits_with_0() {
    let server = Server::own(&[]);
    let store = server.store();
    let (mut rpc, mut next, mut idle, mut v03) =
        (store.rpc().await, store.rpc_next().await, store.rpc().await, store.v03().await);
    rpc.live(None).await;
    next.live(None).await;
    idle.expect_pong().await;
    v03.pull(None).await;
    server.process().terminate();
    for socket in [&mut rpc.socket, &mut next.socket, &mut idle.socket, &mut v03.socket] {
        assert_eq!(socket.skip_to_close().await.0, Some(1012));
    }
    let status = server.process().exit_status().await;
    assert_eq!(status.code(), Some(0), "{status}");
}

#[tokio::test]
async fn sigterm_without_connections_exits_with_0() {
    let server = Server::own(&[]);
    server.process().terminate();
    assert_eq!(server.process().exit_status().await.code(), Some(0));
}

#[tokio::test]
async fn sigterm_finishes_what_it_has_admitted() {
    for round in 0..5 {
        let data = TempDir::new();
        let server = start(&data);
        let store = server.store();
        let mut client = store.rpc().await;
        let backend = client.pull_all().await.backend;
        for n in 0..100 {
            client.start_push(&chain(n * 20, 20)).await;
        }
        for _ in 0..=round * 5 {
            client.answer("the first acks").await;
        }
        let mut acked = 1 + round * 5;
        server.process().terminate();
        loop {
            match client.socket.next("acks and the close frame").await {
                Incoming::Text(text) => match Answer::parse(&text) {
                    Answer::Exit(_, Exit::Success(_)) => acked += 1,
                    other => panic!("expected acks, got {other:?}"),
                },
                Incoming::Close(code, _) => break assert_eq!(code, Some(1012)),
                Incoming::Lost(why) => panic!("expected a close frame, got the end of the connection ({why})"),
            }
        }
        assert_eq!(server.process().exit_status().await.code(), Some(0));

        let server = start(&data);
        let pull = server.store_named(store.id()).rpc().await.pull_all().await;
        assert_eq!(pull.backend, backend);
        assert_pulled(&pull.events, &chain(0, acked * 20));
    }
}

/// Neither a client that never reads, nor one that never finishes its request.
#[tokio::test]
async fn sigterm_does_not_wait_for_clients_for_ever() {
    let server = Server::own(&[]);
    let store = server.store();
    let mut pusher = store.rpc().await;
    for head in (0..1_000).step_by(100) {
        pusher.push_ok(&chain_with(head, 100, &format!("\"{}\"", "x".repeat(10_000)))).await;
    }
    let mut deaf = store.v03().await;
    deaf.start_pull(None).await;
    let mut silent = tokio::net::TcpStream::connect(server.authority()).await.expect("a connection");
    let mut slow = tokio::net::TcpStream::connect(server.authority()).await.expect("a connection");
    slow.write_all(b"POST /?storeId=a&transport=http HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{")
        .await
        .expect("half a request");
    pusher.expect_usable().await;
    server.process().terminate();
    assert_eq!(server.process().exit_status().await.code(), Some(0));
    // Open until here.
    let _ = silent.write_all(b"x").await;
    drop((deaf, slow));
}

#[tokio::test]
async fn v03_clients_are_continued_over_a_restart() {
    let data = TempDir::new();
    let server = start(&data);
    let (id, headers) = (server.store().id().to_owned(), [("user-agent", "the same")]);
    let store = server.store_named(&id);
    store.rpc().await.push_ok(&chain(0, 2)).await;
    let mut client = store.v03_with(&headers).await;
    let pull = client.start_pull(None).await;
    client.expect_pages(&pull).await;
    client.expect_pong().await;
    server.process().terminate();
    assert_eq!(client.socket.skip_to_close().await.0, Some(1012));
    assert_eq!(server.process().exit_status().await.code(), Some(0));

    let server = start(&data);
    let store = server.store_named(&id);
    store.rpc().await.push_ok(&chain(2, 3)).await;
    let mut client = store.v03_with(&headers).await;
    client.socket.send(r#"{"_tag":"WSMessage.Ping","requestId":"ping"}"#).await;
    let mut got = Vec::new();
    while got.len() < 3 {
        if let Message::PullRes(res) = client.message("the missed events").await {
            assert_eq!((res.context.as_str(), &res.id), ("pull", &pull));
            got.extend(res.events);
        }
    }
    assert_pulled(&got, &chain(2, 3));
}

#[tokio::test]
async fn a_restart_keeps_logs_and_backend_ids() {
    let data = TempDir::new();
    let server = start(&data);
    let names = ["a-b", "a_b", "A_b", "日本", "", "it's \"one\""];
    let mut backends = Vec::new();
    for (name, n) in names.iter().zip(1..) {
        let mut client = server.store_named(*name).rpc().await;
        client.push_ok(&chain(0, n)).await;
        backends.push(client.pull_all().await.backend);
    }
    server.process().terminate();
    assert_eq!(server.process().exit_status().await.code(), Some(0));
    let server = start(&data);
    for ((name, n), backend) in names.iter().zip(1..).zip(&backends) {
        let mut client = server.store_named(*name).rpc().await;
        let live = client.live(Some((backend, 0))).await;
        assert_eq!(live.backend, *backend);
        assert_pulled(&live.events, &chain(0, n));
        client.push_ok(&chain(0, n)).await;
        client.push(&chain(n + 1, 1)).await.assert_server_ahead(n, n + 1);
        client.push_ok(&chain(n, 1)).await;
    }
}

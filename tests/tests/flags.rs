//! Limits that the native server's flags set.

use livestore_sync_tests::http;
use livestore_sync_tests::{Answer, Incoming, Server, assert_pulled, chain, chain_with, parse_answers, pull_payload};

#[tokio::test]
async fn frames_may_be_limited_further() {
    let store = Server::own(&["--max-frame-bytes", "10000"]).store();
    let mut client = store.rpc().await;
    client.push_ok(&chain_with(0, 1, &format!("\"{}\"", "x".repeat(9_000)))).await;
    client.start_push(&chain_with(1, 1, &format!("\"{}\"", "x".repeat(11_000)))).await;
    assert_eq!(client.socket.skip_to_close().await.0, Some(1009));
    assert_eq!(store.post(&" ".repeat(10_001)).await.status, 413);
    assert_eq!(store.log().await.len(), 1);
}

#[tokio::test]
async fn connections_over_the_limit_are_503_until_others_end() {
    let server = Server::own(&["--max-connections", "2"]);
    let store = server.store();
    let (mut first, mut second) = (store.rpc().await, store.v03().await);
    first.expect_pong().await;
    second.expect_pong().await;
    for target in [format!("/?{}&transport=http", store.query()), format!("/?{}&transport=ws", store.query())] {
        let upgrade = [
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let headers: &[_] = if target.ends_with("ws") { &upgrade } else { &[] };
        let method = if target.ends_with("ws") { "GET" } else { "POST" };
        assert_eq!(http::request(&server, method, &target, headers, b"").await.status, 503, "{target}");
    }
    first.push_ok(&chain(0, 1)).await;
    first.socket.send_close(Some((1000, ""))).await;
    first.socket.skip_to_close().await;
    // Its place is free a moment later, as is that of each connection which asks for it.
    let pull = pull_payload(&store, None, None);
    let pull = format!(r#"{{"_tag":"Request","id":"1","tag":"SyncHttpRpc.Pull","payload":{pull},"headers":[]}}"#);
    let response = livestore_sync_tests::within("a free place", async {
        loop {
            let response = store.post(&pull).await;
            if response.status != 503 {
                break response;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    match &parse_answers(response.text())[..] {
        [Answer::Chunk(chunk), Answer::Exit(..)] => assert_pulled(&chunk.events, &chain(0, 1)),
        other => panic!("expected the log, got {other:?}"),
    }
}

#[tokio::test]
async fn stores_over_the_limit_are_503() {
    let server = Server::own(&["--max-stores", "2"]);
    let (first, second, third) = (server.store(), server.store(), server.store());
    for store in [&first, &second] {
        store.rpc().await.push_ok(&chain(0, 1)).await;
    }
    let response = third.post(r#"{"_tag":"Ping"}"#).await;
    assert_eq!(response.status, 503, "{}", response.text());
    for store in [&first, &second] {
        store.rpc().await.push_ok(&chain(1, 1)).await;
    }
}

/// It is closed, so that it comes back and asks for what it lacks; nobody else notices.
#[tokio::test]
async fn a_client_that_falls_too_far_behind_is_closed() {
    let store = Server::own(&["--max-connection-bytes", "1000000"]).store();
    let (mut pusher, mut deaf_rpc, mut deaf_v03) = (store.rpc().await, store.rpc().await, store.v03().await);
    deaf_rpc.live(None).await;
    deaf_v03.pull(None).await;
    let live = pusher.live(None).await.id;
    let large = format!("\"{}\"", "x".repeat(50_000));
    for head in (0..400).step_by(4) {
        let push = pusher.start_push(&chain_with(head, 4, &large)).await;
        assert_eq!(pusher.live_until(&live, head + 4).await.len(), 4);
        pusher.exit(&push).await.assert_pushed();
    }
    for socket in [&mut deaf_rpc.socket, &mut deaf_v03.socket] {
        let mut events = 0;
        let end = loop {
            match socket.next("what was on its way, and the end").await {
                Incoming::Text(text) => events += text.matches("\"seqNum\"").count(),
                end => break end,
            }
        };
        assert!(matches!(end, Incoming::Close(Some(1013), _)), "{end}");
        assert!(events < 400, "{events} events were kept for a client that does not read");
    }
    assert_eq!(store.log().await.len(), 400);
}

//! The 0.4 protocol over WebSocket: envelope, pulls, pushes.

use livestore_sync_tests::{Answer, Exit, Rpc, Server, Store, assert_pulled, chain, pull_payload, push_payload, seqs};
use serde_json::Value;

async fn open() -> (Store, Rpc) {
    let store = Server::shared().store();
    let client = store.rpc().await;
    (store, client)
}

#[tokio::test]
async fn any_spelling_of_ping_is_answered() {
    let (_, mut client) = open().await;
    for ping in [r#"{"_tag":"Ping"}"#, r#" { "_tag" : "Ping" } "#, r#"{"x":1,"_tag":"Ping"}"#] {
        client.socket.send(ping).await;
        assert_eq!(client.socket.next_text("a pong").await, r#"{"_tag":"Pong"}"#);
    }
    client.socket.ping(b"of the WebSocket itself").await;
}

#[tokio::test]
async fn an_empty_store_answers_one_empty_chunk_and_an_exit_without_a_value() {
    let (_, mut client) = open().await;
    let id = client.start_pull(false, None).await;
    let chunk = client.expect_chunk(&id).await;
    assert_eq!((chunk.events.len(), chunk.remaining), (0, 0));
    client.ack(&id).await;
    let exit = client.socket.next_text("the end of the pull").await;
    assert_eq!(exit, r#"{"_tag":"Exit","requestId":"1","exit":{"_tag":"Success"}}"#);
    client.expect_silence().await;
}

#[tokio::test]
async fn a_live_pull_of_an_empty_store_stays_open() {
    let (_, mut client) = open().await;
    let id = client.start_pull(true, None).await;
    let chunk = client.expect_chunk(&id).await;
    assert_eq!((chunk.events.len(), chunk.remaining), (0, 0));
    client.ack(&id).await;
    client.expect_silence().await;
}

#[tokio::test]
async fn a_push_succeeds_with_an_empty_object() {
    let (store, mut client) = open().await;
    client.start_push(&chain(0, 1)).await;
    let exit = client.socket.next_text("the end of the push").await;
    assert_eq!(exit, r#"{"_tag":"Exit","requestId":"1","exit":{"_tag":"Success","value":{}}}"#);
    client.expect_silence().await;
    assert_pulled(&store.log().await, &chain(0, 1));
}

#[tokio::test]
async fn the_broadcast_comes_before_the_pushers_exit() {
    let (_, mut client) = open().await;
    let live = client.live(None).await.id;
    for head in 0..5 {
        let push = client.start_push(&chain(head, 1)).await;
        let chunk = client.expect_chunk(&live).await;
        assert_pulled(&chunk.events, &chain(head, 1));
        assert_eq!(chunk.remaining, 0);
        client.ack(&live).await;
        client.expect_exit(&push).await.assert_pushed();
    }
}

#[tokio::test]
async fn every_live_pull_gets_each_push_once() {
    let (store, mut pusher) = open().await;
    let mut other = store.rpc().await;
    let (first, second) = (other.live(None).await.id, other.live(None).await.id);
    for head in 0..5 {
        pusher.push_ok(&chain(head, 1)).await;
        for live in [&first, &second] {
            assert_pulled(&other.chunk(live).await.events, &chain(head, 1));
            other.ack(live).await;
        }
        other.expect_silence().await;
    }
}

#[tokio::test]
async fn connections_without_a_pull_get_nothing() {
    let (store, mut pusher) = open().await;
    let mut other = store.rpc().await;
    other.expect_pong().await;
    pusher.push_ok(&chain(0, 3)).await;
    pusher.expect_silence().await;
    other.expect_silence().await;
}

#[tokio::test]
async fn an_empty_push_succeeds_whatever_the_backend_id() {
    let (store, mut client) = open().await;
    let mut other = store.rpc().await;
    other.live(None).await;
    client.push_ok(&[]).await;
    let id = client.start_push_to(&[], Some("not-the-backend-id")).await;
    client.exit(&id).await.assert_pushed();
    other.expect_silence().await;
}

#[tokio::test]
async fn ended_and_interrupted_pull_ids_may_be_used_again() {
    let (_, mut client) = open().await;
    client.push_ok(&chain(0, 1)).await;
    let id = "7".into();
    for _ in 0..3 {
        client.start_pull_as(&id, false, None).await;
        assert_pulled(&client.expect_chunk(&id).await.events, &chain(0, 1));
        client.ack(&id).await;
        assert_eq!(client.expect_exit(&id).await, Exit::Success(None));
    }
    for _ in 0..3 {
        client.start_pull_as(&id, true, None).await;
        assert_pulled(&client.backlog(id.clone()).await.events, &chain(0, 1));
        client.interrupt(&id).await;
        client.expect_exit(&id).await.assert_interrupted();
    }
}

#[tokio::test]
async fn an_interrupted_pull_ends_and_gets_nothing_more() {
    let (store, mut client) = open().await;
    let mut pusher = store.rpc().await;
    let live = client.live(None).await.id;
    let other = client.live(None).await.id;
    client.interrupt(&live).await;
    client.expect_exit(&live).await.assert_interrupted();
    pusher.push_ok(&chain(0, 1)).await;
    assert_pulled(&client.expect_chunk(&other).await.events, &chain(0, 1));
    client.expect_silence().await;
}

#[tokio::test]
async fn a_pull_is_interrupted_amid_its_backlog() {
    let (_, mut client) = open().await;
    client.push_ok(&chain(0, 1_500)).await;
    for live in [false, true] {
        let id = client.start_pull(live, None).await;
        client.expect_chunk(&id).await;
        client.interrupt(&id).await;
        loop {
            match client.answer("the rest of the window and the end").await {
                Answer::Chunk(chunk) => assert_eq!(chunk.id, id),
                Answer::Exit(_, exit) => break exit.assert_interrupted(),
                other => panic!("expected the end of the pull, got {other:?}"),
            }
        }
        client.ack(&id).await;
        client.expect_silence().await;
    }
    let mut fresh = client.pull_all().await.events;
    assert_eq!(fresh.len(), 1_500);
    fresh.truncate(1);
    assert_pulled(&fresh, &chain(0, 1));
}

/// What is left of the first pull must not get into the second.
#[tokio::test]
async fn an_interrupted_id_may_be_used_again_at_once() {
    let (store, mut client) = open().await;
    client.push_ok(&chain(0, 1_500)).await;
    for (round, live) in [false, true, false, true, false, true].into_iter().enumerate() {
        let id = Value::from(format!("r{round}"));
        client.start_pull_as(&id, true, None).await;
        // The window is full, the first pull waits for room.
        client.fill_window(&id).await;
        client.expect_silence().await;
        let payload = pull_payload(&store, Some(live), None);
        client
            .socket
            .send(format!(
                r#"[{{"_tag":"Interrupt","requestId":{id}}},{{"_tag":"Request","id":{id},"tag":"SyncWsRpc.Pull","payload":{payload},"headers":[]}}]"#
            ))
            .await;
        client.expect_exit(&id).await.assert_interrupted();
        let mut got = Vec::new();
        while got.len() < 1_500 {
            got.extend(seqs(&client.expect_chunk(&id).await.events));
            client.ack(&id).await;
        }
        assert_eq!(got, (1..=1_500).collect::<Vec<_>>());
        if live {
            client.interrupt(&id).await;
            client.expect_exit(&id).await.assert_interrupted();
        } else {
            assert_eq!(client.expect_exit(&id).await, Exit::Success(None));
        }
        client.expect_silence().await;
    }
}

#[tokio::test]
async fn interrupting_an_unknown_id_is_not_answered() {
    let (_, mut client) = open().await;
    client.live(None).await;
    client.interrupt(&"55".into()).await;
    client.ack(&"55".into()).await;
    client.expect_silence().await;
    client.expect_usable().await;
}

#[tokio::test]
async fn eof_is_not_answered_and_ends_nothing() {
    let (_, mut client) = open().await;
    let live = client.live(None).await.id;
    client.socket.send(r#"{"_tag":"Eof"}"#).await;
    client.expect_silence().await;
    let push = client.start_push(&chain(0, 1)).await;
    assert_pulled(&client.expect_chunk(&live).await.events, &chain(0, 1));
    client.expect_exit(&push).await.assert_pushed();
}

#[tokio::test]
async fn the_envelope_may_lack_headers_and_have_more_members() {
    let (store, mut client) = open().await;
    let payload = pull_payload(&store, Some(false), None);
    for envelope in [
        format!(r#"{{"_tag":"Request","id":"a","tag":"SyncWsRpc.Pull","payload":{payload}}}"#),
        format!(
            r#"{{"headers":[["x","y"]],"payload":{payload},"tag":"SyncWsRpc.Pull","id":"a","traceId":"0123456789abcdef0123456789abcdef","spanId":"0123456789abcdef","sampled":true,"_tag":"Request"}}"#
        ),
        format!(r#"{{"_tag":"Request","id":"a","tag":"SyncWsRpc.Pull","payload":{payload},"headers":[],"new":{{}}}}"#),
    ] {
        client.socket.send(envelope).await;
        client.expect_chunk(&"a".into()).await;
        client.ack(&"a".into()).await;
        assert_eq!(client.expect_exit(&"a".into()).await, Exit::Success(None));
    }
}

/// The published 0.4 client sends the connection payload with each call.
#[tokio::test]
async fn calls_may_carry_the_payload() {
    let (store, mut client) = open().await;
    let push = push_payload(&store, &chain(0, 1), None).replacen('{', r#"{"payload":{"authToken":"x"},"#, 1);
    client.request(&"a".into(), "SyncWsRpc.Push", &push).await;
    client.expect_exit(&"a".into()).await.assert_pushed();
    let pull = pull_payload(&store, Some(false), None).replacen('{', r#"{"payload":[1,{"a":null}],"#, 1);
    client.request(&"b".into(), "SyncWsRpc.Pull", &pull).await;
    assert_pulled(&client.expect_chunk(&"b".into()).await.events, &chain(0, 1));
}

/// The URL decides. Otherwise a connected client could name somebody else's store.
#[tokio::test]
async fn the_store_id_in_the_payload_is_ignored() {
    let (store, mut client) = open().await;
    let other = store.server().store();
    other.rpc().await.push_ok(&chain(0, 3)).await;
    let id = "a".into();
    client.request(&id, "SyncWsRpc.Pull", &pull_payload(&other, Some(false), None)).await;
    assert!(client.expect_chunk(&id).await.events.is_empty());
    client.ack(&id).await;
    client.expect_exit(&id).await;
    client.request(&id, "SyncWsRpc.Push", &push_payload(&other, &chain(0, 1), None)).await;
    client.expect_exit(&id).await.assert_pushed();
    assert_pulled(&store.log().await, &chain(0, 1));
    assert_pulled(&other.log().await, &chain(0, 3));
}

#[tokio::test]
async fn the_backend_id_belongs_to_the_store() {
    let server = Server::shared();
    let (a, b) = (server.store(), server.store());
    let first = a.rpc().await.pull_all().await.backend;
    let mut client = a.rpc().await;
    client.push_ok(&chain(0, 1)).await;
    assert_eq!(client.pull_all().await.backend, first);
    assert_eq!(a.http_pull(None).await.1, first);
    assert_ne!(b.rpc().await.pull_all().await.backend, first);
    assert_eq!(first.chars().count(), 21);
}

#[tokio::test]
async fn another_backend_id_is_refused() {
    let (_, mut client) = open().await;
    client.push_ok(&chain(0, 1)).await;
    let backend = client.pull_all().await.backend;
    let expected = serde_json::json!({ "_tag": "BackendIdMismatchError", "expected": backend, "received": "other" });

    for live in [false, true] {
        let pull = client.start_pull(live, Some(("other", 0))).await;
        assert_eq!(client.expect_exit(&pull).await.error(), expected);
    }
    // Before the head is looked at.
    for batch in [chain(1, 1), chain(9, 1)] {
        let push = client.start_push_to(&batch, Some("other")).await;
        assert_eq!(client.expect_exit(&push).await.error(), expected);
    }
    let push = client.start_push_to(&chain(1, 1), Some(&backend)).await;
    client.expect_exit(&push).await.assert_pushed();
    assert_pulled(&client.pull(Some((&backend, 1))).await.events, &chain(1, 1));
}

#[tokio::test]
async fn payloads_that_do_not_fit_die_naming_the_field() {
    let (_, mut client) = open().await;
    let none = r#"{"_tag":"None"}"#;
    for (tag, payload, field) in [
        ("SyncWsRpc.Pull", "{}".to_owned(), "storeId"),
        ("SyncWsRpc.Pull", format!(r#"{{"storeId":"x","cursor":{none}}}"#), "live"),
        ("SyncWsRpc.Pull", r#"{"storeId":"x","live":true}"#.into(), "cursor"),
        ("SyncWsRpc.Push", format!(r#"{{"storeId":"x","backendId":{none}}}"#), "batch"),
        ("SyncWsRpc.Push", r#"{"storeId":"x","batch":[]}"#.into(), "backendId"),
    ] {
        let id = client.new_id();
        client.request(&id, tag, &payload).await;
        let text = client.expect_exit(&id).await.died_of();
        assert!(text.contains(field), "{text:?} names {field}");
    }
    for payload in ["null", "7", "[]", r#""text""#] {
        let id = client.new_id();
        client.request(&id, "SyncWsRpc.Pull", payload).await;
        assert!(!client.expect_exit(&id).await.died_of().is_empty());
    }
    client.expect_usable().await;
}

#[tokio::test]
async fn a_bad_event_fails_its_push_and_stores_nothing() {
    let (store, mut client) = open().await;
    let good = chain(0, 1)[0].json();
    for bad in [
        r#"{"name":"n","args":1,"seqNum":"2","parentSeqNum":1,"clientId":"c","sessionId":"s"}"#,
        r#"{"name":"n","args":1,"seqNum":1.5,"parentSeqNum":1,"clientId":"c","sessionId":"s"}"#,
        r#"{"name":"n","args":1,"seqNum":9007199254740992,"parentSeqNum":1,"clientId":"c","sessionId":"s"}"#,
        r#"{"name":"n","args":1,"seqNum":1e400,"parentSeqNum":1,"clientId":"c","sessionId":"s"}"#,
        r#"{"name":"n","args":1,"seqNum":2,"parentSeqNum":1,"sessionId":"s"}"#,
        r#"{"args":1,"seqNum":2,"parentSeqNum":1,"clientId":"c","sessionId":"s"}"#,
        "null",
        "[]",
    ] {
        let id = client.new_id();
        let payload = format!(r#"{{"storeId":"x","batch":[{good},{bad}],"backendId":{{"_tag":"None"}}}}"#);
        client.request(&id, "SyncWsRpc.Push", &payload).await;
        assert!(!client.expect_exit(&id).await.died_of().is_empty());
    }
    assert!(store.log().await.is_empty());
    client.push_ok(&chain(0, 1)).await;
}

#[tokio::test]
async fn an_unknown_call_is_a_defect() {
    let (_, mut client) = open().await;
    client.request(&"1".into(), "Nope.Rpc", "{}").await;
    assert_eq!(client.expect_defect().await, "Unknown request tag: Nope.Rpc");
    client.expect_usable().await;
}

#[tokio::test]
async fn closing_is_answered() {
    for close in [Some((1000, "bye")), Some((4000, "")), None] {
        let (store, mut client) = open().await;
        client.live(None).await;
        client.socket.send_close(close).await;
        let (code, _) = client.socket.skip_to_close().await;
        assert_eq!(code, close.map(|(code, _)| code), "the code comes back");
        let mut v03 = store.v03().await;
        v03.socket.send_close(close).await;
        assert_eq!(v03.socket.skip_to_close().await.0, close.map(|(code, _)| code), "the code comes back");
    }
}

#[tokio::test]
async fn messages_may_be_fragmented() {
    let (_, mut client) = open().await;
    client.socket.send_fragments(&[r#"{"_t"#, "", r#"ag":"Pi"#, r#"ng"}"#]).await;
    assert!(matches!(client.answer("a pong").await, Answer::Pong));
}

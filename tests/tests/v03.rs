//! The 0.3 protocol: pulls, pushes, broadcasts.

use livestore_sync_tests::{Event, Message, Server, assert_pulled, chain, seqs};

#[tokio::test]
async fn any_spelling_of_ping_is_answered() {
    let mut client = Server::shared().store().v03().await;
    for ping in [
        r#"{"_tag":"WSMessage.Ping","requestId":"ping"}"#,
        r#"{"requestId":"ping","_tag":"WSMessage.Ping"}"#,
        r#" { "_tag" : "WSMessage.Ping" , "requestId" : "ping" } "#,
    ] {
        client.socket.send(ping).await;
        assert_eq!(client.socket.next_text("a pong").await, r#"{"_tag":"WSMessage.Pong","requestId":"ping"}"#);
    }
    client.socket.ping(b"of the WebSocket itself").await;
}

#[tokio::test]
async fn an_empty_store_answers_one_empty_page() {
    let mut client = Server::shared().store().v03().await;
    let id = client.start_pull(None).await;
    assert_eq!(
        client.socket.next_text("an empty page").await,
        format!(
            r#"{{"_tag":"WSMessage.PullRes","batch":[],"requestId":{{"context":"pull","requestId":"{id}"}},"remaining":0}}"#
        )
    );
    client.expect_silence().await;
}

#[tokio::test]
async fn v03_the_ack_comes_before_the_broadcast() {
    let mut client = Server::shared().store().v03().await;
    let id = client.start_push(&chain(0, 3)).await;
    client.expect_ack(&id).await;
    let res = client.expect_pull_res().await;
    assert_eq!((res.context.as_str(), &res.id, res.remaining), ("push", &id, 0));
    assert_pulled(&res.events, &chain(0, 3));
    client.expect_silence().await;
}

/// 0.3 clients rely on it: they do not pull again.
#[tokio::test]
async fn v03_connections_that_never_pulled_get_broadcasts() {
    let store = Server::shared().store();
    let (mut pusher, mut listener) = (store.v03().await, store.v03().await);
    listener.expect_pong().await;
    pusher.push_ok(&chain(0, 2)).await;
    assert_pulled(&listener.expect_broadcast(None, 2).await, &chain(0, 2));
    pusher.push_ok(&chain(2, 1)).await;
    assert_pulled(&listener.expect_broadcast(None, 1).await, &chain(2, 1));
    listener.expect_silence().await;
}

#[tokio::test]
async fn an_empty_push_is_acked_and_not_broadcast() {
    let store = Server::shared().store();
    let (mut pusher, mut listener) = (store.v03().await, store.v03().await);
    listener.expect_pong().await;
    let id = pusher.start_push(&[]).await;
    pusher.expect_ack(&id).await;
    pusher.expect_silence().await;
    listener.expect_silence().await;
}

#[tokio::test]
async fn v03_pulls_come_in_pages_of_100_with_exact_remaining() {
    for (count, expected) in [
        (1, &[(1, 0)][..]),
        (100, &[(100, 0)]),
        (200, &[(100, 100), (100, 0)]),
        (250, &[(100, 150), (100, 50), (50, 0)]),
    ] {
        let store = Server::shared().store();
        store.rpc().await.push_ok(&chain(0, count)).await;
        let mut client = store.v03().await;
        let pages = client.pull(None).await;
        let sizes: Vec<_> = pages.iter().map(|page| (page.events.len(), page.remaining)).collect();
        assert_eq!(sizes, expected);
        let events: Vec<_> = pages.into_iter().flat_map(|page| page.events).collect();
        assert_pulled(&events, &chain(0, count));
        client.expect_silence().await;
    }
}

#[tokio::test]
async fn v03_large_batches_are_broadcast_in_pieces() {
    let store = Server::shared().store();
    let (mut pusher, mut listener) = (store.v03().await, store.v03().await);
    listener.expect_pong().await;
    let id = pusher.start_push(&chain(0, 250)).await;
    pusher.expect_ack(&id).await;
    assert_pulled(&pusher.expect_broadcast(Some(&id), 250).await, &chain(0, 250));
    assert_pulled(&listener.expect_broadcast(Some(&id), 250).await, &chain(0, 250));
    listener.expect_silence().await;
}

#[tokio::test]
async fn v03_cursors_need_not_be_events() {
    let store = Server::shared().store();
    let mut client = store.v03().await;
    client.push_ok(&chain(0, 5)).await;
    for (cursor, expected) in [
        (None, vec![1, 2, 3, 4, 5]),
        (Some("0"), vec![1, 2, 3, 4, 5]),
        (Some("3"), vec![4, 5]),
        (Some("3.0"), vec![4, 5]),
        (Some("5"), vec![]),
        (Some("-7"), vec![1, 2, 3, 4, 5]),
    ] {
        assert_eq!(seqs(&client.pull_events(cursor).await), expected, "cursor {cursor:?}");
    }
    client.expect_silence().await;
}

/// A 0.3 client shows an error of its pull, and ends on it where the app says so. It would keep what nobody else has.
#[tokio::test]
async fn v03_cursors_beyond_the_head_are_refused() {
    let mut client = Server::shared().store().v03().await;
    client.push_ok(&chain(0, 5)).await;
    for cursor in ["6", "99", "9007199254740991", "1e300"] {
        let id = client.start_pull(Some(cursor)).await;
        let message = client.expect_error(&id).await;
        assert!(message.contains("where the log ends at 5"), "cursor {cursor}: {message}");
    }
    assert_eq!(seqs(&client.pull_events(Some("4")).await), [5]);
}

/// Of a client that never pulled here nothing is known, but that its log is another one: it is sent this one from its
/// start, which cannot follow what the client has, and which it says.
#[tokio::test]
async fn v03_an_unknown_client_beyond_the_head_is_sent_the_log() {
    let store = Server::shared().store();
    store.rpc().await.push_ok(&chain(0, 5)).await;
    let mut unknown = store.v03().await;
    let push = unknown.start_push(&chain(9, 1)).await;
    assert_eq!(seqs(&unknown.expect_broadcast_events(5).await), [1, 2, 3, 4, 5]);
    assert_eq!(unknown.expect_error(&push).await, "Invalid parent event number. Received e9 but expected e5");
    unknown.expect_silence().await;
}

/// The reference was seen to serve them: greater than 1.5 is greater than 1.
#[tokio::test]
async fn v03_fractional_cursors_are_positions_too() {
    let store = Server::shared().store();
    let mut client = store.v03().await;
    client.push_ok(&chain(0, 3)).await;
    assert_eq!(seqs(&client.pull_events(Some("1.5")).await), [2, 3]);
    assert_eq!(seqs(&client.pull_events(Some("-2.5")).await), [1, 2, 3]);
}

#[tokio::test]
async fn v03_cursors_that_are_no_numbers_are_refused() {
    let mut client = Server::shared().store().v03().await;
    client.push_ok(&chain(0, 2)).await;
    for cursor in ["1E400", "-1E400", "null", r#""1""#, r#""1 OR 1=1""#, "[]", "{}", "true"] {
        let id = client.start_pull(Some(cursor)).await;
        let message = client.expect_error(&id).await;
        assert!(!message.contains("SQL") && !message.contains("no such"), "cursor {cursor}: {message}");
    }
    assert_eq!(seqs(&client.pull_events(Some("1")).await), [2]);
}

#[tokio::test]
async fn v03_a_wrong_parent_is_refused_with_the_reference_text() {
    let mut client = Server::shared().store().v03().await;
    client.pull(None).await;
    client.push_ok(&chain(0, 2)).await;
    for parent in [1, 5] {
        let id = client.start_push(&[Event::new(parent, parent + 1).from_client("client-b")]).await;
        let expected = format!("Invalid parent event number. Received e{parent} but expected e2");
        assert_eq!(client.expect_error(&id).await, expected);
    }
    client.expect_silence().await;
    client.push_ok(&chain(2, 1)).await;
}

/// A 0.3 client that is refused waits for events; it gets what it lacks without asking.
#[tokio::test]
async fn v03_refused_without_a_pull_gets_the_missing_events_first() {
    let store = Server::shared().store();
    store.rpc().await.push_ok(&chain(0, 3)).await;
    let mut client = store.v03().await;
    let id = client.start_push(&[Event::new(1, 2).from_client("client-b")]).await;
    let missing = client.expect_broadcast(None, 2).await;
    assert_pulled(&missing, &chain(1, 2));
    assert_eq!(client.expect_error(&id).await, "Invalid parent event number. Received e1 but expected e3");
    client.expect_silence().await;
    // It has them now.
    let id = client.start_push(&[Event::new(1, 2).from_client("client-b")]).await;
    client.expect_error(&id).await;
    client.expect_silence().await;
    client.push_ok(&chain(3, 1)).await;
}

#[tokio::test]
async fn v03_refused_without_a_pull_gets_also_many_events() {
    let store = Server::shared().store();
    store.rpc().await.push_ok(&chain(0, 350)).await;
    let mut client = store.v03().await;
    let id = client.start_push(&[Event::new(100, 101).from_client("client-b")]).await;
    assert_pulled(&client.expect_broadcast_events(250).await, &chain(100, 250));
    client.expect_error(&id).await;
    client.expect_silence().await;
}

#[tokio::test]
async fn v03_a_repeated_push_is_acked_and_stored_once() {
    let store = Server::shared().store();
    let (mut client, mut listener) = (store.v03().await, store.v03().await);
    listener.expect_pong().await;
    client.push_ok(&chain(0, 3)).await;
    listener.expect_broadcast(None, 3).await;
    let id = client.start_push(&chain(0, 3)).await;
    client.expect_ack(&id).await;
    listener.expect_silence().await;
    assert_pulled(&store.log().await, &chain(0, 3));
}

/// 0.3.1 drops them silently, and the client waits for ever.
#[tokio::test]
async fn v03_malformed_frames_are_answered_with_an_error() {
    let mut client = Server::shared().store().v03().await;
    for (frame, id) in [
        ("not json", ""),
        ("", ""),
        ("null", ""),
        ("[]", ""),
        ("7", ""),
        (r#""text""#, ""),
        ("{}", ""),
        (r#"{"_tag":7}"#, ""),
        (r#"{"_tag":"WSMessage.Nope","requestId":"a"}"#, "a"),
        (r#"{"_tag":"WSMessage.PullReq"}"#, ""),
        (r#"{"_tag":"WSMessage.PullReq","requestId":7}"#, ""),
        (r#"{"_tag":"WSMessage.PushReq","requestId":"b","batch":"no"}"#, "b"),
        (r#"{"_tag":"WSMessage.PushReq","requestId":"c"}"#, "c"),
        (r#"{"_tag":"WSMessage.PushAck","requestId":"d"}"#, "d"),
        (r#"{"_tag":"Request","id":"1","tag":"SyncWsRpc.Pull","payload":{},"headers":[]}"#, ""),
    ] {
        client.socket.send(frame).await;
        match client.message(&format!("an error for {frame:?}")).await {
            Message::Error(got, why) => assert_eq!((got.as_str(), why.is_empty()), (id, false), "{frame}: {why}"),
            other => panic!("expected an error for {frame:?}, got {other:?}"),
        }
    }
    client.push_ok(&chain(0, 1)).await;
}

#[tokio::test]
async fn v03_a_push_with_one_bad_event_is_answered_and_stores_nothing() {
    let store = Server::shared().store();
    let mut client = store.v03().await;
    for bad in [
        r#"{"name":"n","args":1,"seqNum":"2","parentSeqNum":1,"clientId":"c","sessionId":"s"}"#,
        r#"{"name":"n","args":1,"seqNum":1.5,"parentSeqNum":1,"clientId":"c","sessionId":"s"}"#,
        r#"{"name":"n","args":1,"seqNum":9007199254740992,"parentSeqNum":1,"clientId":"c","sessionId":"s"}"#,
        r#"{"name":"n","args":1,"seqNum":2,"parentSeqNum":1,"sessionId":"s"}"#,
        r#"{"name":null,"args":1,"seqNum":2,"parentSeqNum":1,"clientId":"c","sessionId":"s"}"#,
        "null",
    ] {
        let id = client.new_id();
        let good = chain(0, 1)[0].json();
        client
            .socket
            .send(format!(r#"{{"_tag":"WSMessage.PushReq","requestId":"{id}","batch":[{good},{bad}]}}"#))
            .await;
        client.expect_error(&id).await;
    }
    assert!(store.log().await.is_empty());
    client.push_ok(&chain(0, 1)).await;
}

#[tokio::test]
async fn v03_binary_frames_are_read_as_text() {
    let mut client = Server::shared().store().v03().await;
    client.socket.send_binary(r#"{"_tag":"WSMessage.PullReq","requestId":"bin"}"#).await;
    assert!(client.expect_pages("bin").await[0].events.is_empty());
    client.expect_silence().await;
}

#[tokio::test]
async fn v03_admin_messages_are_refused_and_change_nothing() {
    let store = Server::shared().store();
    let mut client = store.v03().await;
    client.push_ok(&chain(0, 2)).await;
    for tag in ["AdminResetRoomReq", "AdminInfoReq"] {
        for secret in ["", "x", "undefined"] {
            let frame = format!(r#"{{"_tag":"WSMessage.{tag}","requestId":"{tag}","adminSecret":"{secret}"}}"#);
            client.socket.send(frame).await;
            assert!(!client.expect_error(tag).await.is_empty());
        }
    }
    assert_pulled(&store.log().await, &chain(0, 2));
    client.push_ok(&chain(2, 1)).await;
}

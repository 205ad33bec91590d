//! The order of what 0.3 clients get, and what they get after a reconnect.

use std::time::Duration;

use livestore_sync_tests::{Message, Server, assert_pulled, chain, chain_with, seqs};

/// 10 MB that the reader leaves unread, so that a broadcast could overtake the pages.
#[tokio::test]
async fn v03_broadcasts_wait_for_the_pages_of_a_pull() {
    let store = Server::shared().store();
    let large = format!("\"{}\"", "x".repeat(8_000));
    let mut pusher = store.rpc().await;
    for head in (0..1_200).step_by(100) {
        pusher.push_ok(&chain_with(head, 100, &large)).await;
    }
    let mut reader = store.v03().await;
    let id = reader.start_pull(None).await;
    for head in 1_200..1_210 {
        pusher.push_ok(&chain(head, 1)).await;
    }
    let mut got = Vec::new();
    let mut pull_ended = false;
    while got.last() != Some(&1_210) {
        let res = reader.expect_pull_res().await;
        if res.context == "pull" {
            assert!(!pull_ended, "a page after the last one");
            assert_eq!(res.id, id);
            pull_ended = res.remaining == 0;
        } else {
            assert!(pull_ended, "a broadcast before the last page");
        }
        got.extend(seqs(&res.events));
    }
    assert_eq!(got, (1..=1_210).collect::<Vec<_>>());
    reader.expect_silence().await;
}

/// 0.3.1 was seen to broadcast the push first, and the pages then without it.
#[tokio::test]
async fn v03_a_push_behind_a_pull_neither_overtakes_nor_extends_it() {
    let store = Server::shared().store();
    store.rpc().await.push_ok(&chain(0, 250)).await;
    let mut client = store.v03().await;
    for head in 250..280 {
        let pull = client.start_pull(Some("0")).await;
        let push = client.start_push(&chain(head, 1)).await;
        let (mut got, mut pull_ended, mut acked) = (Vec::new(), false, false);
        while got.last() != Some(&(head + 1)) {
            match client.message("the pages, the ack and the broadcast").await {
                Message::PushAck(id) => {
                    assert_eq!(id, push);
                    acked = true;
                }
                Message::PullRes(res) if res.context == "pull" => {
                    assert!(!pull_ended, "a page after the last one, with {:?}", seqs(&res.events));
                    assert_eq!(res.id, pull);
                    pull_ended = res.remaining == 0;
                    got.extend(seqs(&res.events));
                }
                Message::PullRes(res) => {
                    assert!(pull_ended, "a broadcast before the last page");
                    assert_eq!(res.id, push);
                    got.extend(seqs(&res.events));
                }
                other => panic!("expected the pages, the ack and the broadcast, got {other:?}"),
            }
        }
        assert!(acked, "the ack comes before the event");
        assert_eq!(got, (1..=head + 1).collect::<Vec<_>>());
        client.expect_silence().await;
    }
}

#[tokio::test]
async fn v03_everybody_sees_the_same_order() {
    let store = Server::shared().store();
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = store.v03().await;
        client.expect_pong().await;
        clients.push(client);
    }
    for head in 0..25 {
        let pusher = (head % 5) as usize;
        clients[pusher].push(&chain(head, 1)).await.expect("the push is taken");
    }
    for client in &mut clients {
        let mut got = Vec::new();
        while got.len() < 25 {
            got.extend(seqs(&client.expect_pull_res().await.events));
        }
        assert_eq!(got, (1..=25).collect::<Vec<_>>());
        client.expect_silence().await;
    }
}

/// The published client waits so long before it reconnects, which is when the server notices.
async fn back_off() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// A cut 0.3 client does not pull again; the server goes on where it stopped.
#[tokio::test]
async fn v03_missed_events_follow_after_a_reconnect() {
    let store = Server::shared().store();
    let agent = format!("agent-{}", store.id());
    let headers = [("user-agent", agent.as_str())];
    let mut pusher = store.rpc().await;
    pusher.push_ok(&chain(0, 2)).await;

    let mut client = store.v03_with(&headers).await;
    let id = client.start_pull(None).await;
    assert_eq!(client.expect_pages(&id).await[0].events.len(), 2);
    client.expect_pong().await;
    client.socket.cut();
    back_off().await;
    pusher.push_ok(&chain(2, 3)).await;

    let mut client = store.v03_with(&headers).await;
    client.socket.send(r#"{"_tag":"WSMessage.Ping","requestId":"ping"}"#).await;
    let (mut got, mut pong) = (Vec::new(), false);
    while got.len() < 3 || !pong {
        match client.message("the missed events").await {
            Message::Pong => pong = true,
            Message::PullRes(res) => {
                assert_eq!((res.context.as_str(), &res.id), ("pull", &id));
                assert!(!res.events.is_empty(), "an empty page makes clients repeat old events");
                got.extend(res.events);
                assert_eq!(res.remaining, 3 - got.len() as u64);
            }
            other => panic!("expected the missed events, got {other:?}"),
        }
    }
    assert_pulled(&got, &chain(2, 3));
    client.expect_silence().await;
    pusher.push_ok(&chain(5, 1)).await;
    assert_pulled(&client.expect_broadcast(None, 1).await, &chain(5, 1));
}

#[tokio::test]
async fn v03_missed_events_go_only_to_a_client_that_looks_the_same() {
    let store = Server::shared().store();
    let agent = format!("agent-{}", store.id());
    let mut pusher = store.rpc().await;
    let mut client = store.v03_with(&[("user-agent", &agent)]).await;
    client.pull(None).await;
    client.expect_pong().await;
    client.socket.cut();
    back_off().await;
    pusher.push_ok(&chain(0, 3)).await;
    store.v03_with(&[("user-agent", "another")]).await.expect_silence().await;
    store.v03().await.expect_silence().await;
    // Another store, too.
    store.server().store().v03_with(&[("user-agent", &agent)]).await.expect_silence().await;
}

#[tokio::test]
async fn v03_a_connection_beside_a_living_one_gets_nothing_of_it() {
    let store = Server::shared().store();
    let agent = format!("agent-{}", store.id());
    let headers = [("user-agent", agent.as_str())];
    let (mut pusher, mut first) = (store.rpc().await, store.v03_with(&headers).await);
    first.pull(None).await;
    pusher.push_ok(&chain(0, 3)).await;
    let mut second = store.v03_with(&headers).await;
    second.expect_silence().await;
    assert_pulled(&second.pull_events(None).await, &chain(0, 3));
    pusher.push_ok(&chain(3, 1)).await;
    assert_pulled(&first.expect_broadcast_events(4).await, &chain(0, 4));
    assert_pulled(&second.expect_broadcast_events(1).await, &chain(3, 1));
    first.expect_silence().await;
    second.expect_silence().await;
}

/// Nothing was missed: nothing is sent, above all no empty page.
#[tokio::test]
async fn v03_a_reconnect_that_missed_nothing_is_silent() {
    let store = Server::shared().store();
    let agent = format!("agent-{}", store.id());
    let headers = [("user-agent", agent.as_str())];
    let mut client = store.v03_with(&headers).await;
    client.pull(None).await;
    store.rpc().await.push_ok(&chain(0, 2)).await;
    client.expect_broadcast(None, 2).await;
    client.expect_pong().await;
    client.socket.cut();
    back_off().await;
    store.v03_with(&headers).await.expect_silence().await;
}

/// The push was committed, but its ack may never have arrived.
#[tokio::test]
async fn v03_an_unconfirmed_ack_is_repeated_after_a_reconnect() {
    let store = Server::shared().store();
    let agent = format!("agent-{}", store.id());
    let headers = [("user-agent", agent.as_str())];
    let mut witness = store.rpc().await;
    let live = witness.live(None).await.id;

    let mut client = store.v03_with(&headers).await;
    client.pull(None).await;
    let id = client.start_push(&chain(0, 1)).await;
    witness.live_until(&live, 1).await;
    client.socket.cut();
    back_off().await;

    let mut client = store.v03_with(&headers).await;
    client.socket.send(r#"{"_tag":"WSMessage.Ping","requestId":"ping"}"#).await;
    loop {
        match client.message("the ack again").await {
            Message::PushAck(ack) => break assert_eq!(ack, id),
            Message::Error(_, why) => panic!("expected the ack again, got an error: {why}"),
            Message::PullRes(_) | Message::Pong => {}
        }
    }
}

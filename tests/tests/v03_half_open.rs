//! 0.3 clients that come back while the server still holds their old connection, as after a sleep or
//! a change of network: nothing is read from the old socket any more, and nothing closes it.

use livestore_sync_tests::{Message, Server, V03, assert_pulled, chain, seqs};

/// Sends a ping, and collects events until there are so many and the pong has come.
async fn ping_and_collect(client: &mut V03, count: usize) -> Vec<livestore_sync_tests::Pulled> {
    client.socket.send(r#"{"_tag":"WSMessage.Ping","requestId":"ping"}"#).await;
    let (mut got, mut pong) = (Vec::new(), false);
    while got.len() < count || !pong {
        match client.message("missed events").await {
            Message::Pong => pong = true,
            Message::PullRes(res) => got.extend(res.events),
            other => panic!("expected missed events, got {other:?}"),
        }
    }
    got
}

#[tokio::test]
async fn what_a_half_open_connection_missed_comes_on_the_next() {
    let store = Server::shared().store();
    let agent = format!("agent-{}", store.id());
    let headers = [("user-agent", agent.as_str())];
    let mut pusher = store.rpc().await;
    let mut first = store.v03_with(&headers).await;
    first.pull(None).await;
    first.expect_pong().await;
    // From here on the first connection neither reads nor closes.
    pusher.push_ok(&chain(0, 3)).await;
    let mut second = store.v03_with(&headers).await;
    pusher.push_ok(&chain(3, 1)).await;
    assert_pulled(&ping_and_collect(&mut second, 4).await, &chain(0, 4));
    pusher.push_ok(&chain(4, 1)).await;
    assert_eq!(seqs(&second.expect_broadcast(None, 1).await), [5]);
    drop(first);
}

#[tokio::test]
async fn nothing_comes_twice_when_a_half_open_connection_is_noticed_late() {
    let store = Server::shared().store();
    let agent = format!("agent-{}", store.id());
    let headers = [("user-agent", agent.as_str())];
    let mut pusher = store.rpc().await;
    let mut first = store.v03_with(&headers).await;
    first.pull(None).await;
    first.expect_pong().await;
    let mut second = store.v03_with(&headers).await;
    pusher.push_ok(&chain(0, 3)).await;
    assert_pulled(&ping_and_collect(&mut second, 3).await, &chain(0, 3));
    drop(first);
    second.expect_pong().await;
    drop(second);
    let mut third = store.v03_with(&headers).await;
    third.expect_pong().await;
    pusher.push_ok(&chain(3, 1)).await;
    assert_eq!(seqs(&ping_and_collect(&mut third, 1).await), [4], "the first three had arrived");
    third.expect_silence().await;
}

/// Two clients behind one address: the second does not disturb the first.
#[tokio::test]
async fn a_living_connection_that_looks_the_same_stays() {
    let store = Server::shared().store();
    let agent = format!("agent-{}", store.id());
    let headers = [("user-agent", agent.as_str())];
    let mut pusher = store.rpc().await;
    let mut first = store.v03_with(&headers).await;
    first.pull(None).await;
    let mut second = store.v03_with(&headers).await;
    let reads = async { first.expect_broadcast(None, 2).await };
    let joins = async {
        assert!(second.pull_events(None).await.is_empty());
        pusher.push_ok(&chain(0, 2)).await;
        second.expect_broadcast(None, 2).await
    };
    let (first, second) = tokio::join!(reads, joins);
    assert_pulled(&first, &chain(0, 2));
    assert_pulled(&second, &chain(0, 2));
}

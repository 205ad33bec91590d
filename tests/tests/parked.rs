//! 0.4 clients whose pull is lost without their knowing: the server closes with 4408 and they start it again.

use std::time::Duration;

use livestore_sync_tests::{Server, chain};

const PARKED: Option<u16> = Some(4408);

#[tokio::test]
async fn a_socket_that_starts_with_an_ack_for_an_unknown_pull_is_closed() {
    let store = Server::shared().store();
    for frame in [
        r#"{"_tag":"Ack","requestId":"17"}"#,
        r#"{"_tag":"Interrupt","requestId":"17"}"#,
        r#"{"_tag":"Ack","requestId":17}"#,
    ] {
        let mut client = store.rpc().await;
        client.socket.send(frame).await;
        assert_eq!(client.socket.skip_to_close().await.0, PARKED, "{frame}");
        let mut client = store.rpc().await;
        client.expect_pong().await;
        client.socket.send(frame).await;
        assert_eq!(client.socket.skip_to_close().await.0, PARKED, "{frame} after a ping");
    }
}

#[tokio::test]
async fn a_socket_that_asked_for_something_first_is_not_closed() {
    let store = Server::shared().store();
    for frame in [r#"{"_tag":"Ack","requestId":"17"}"#, r#"{"_tag":"Interrupt","requestId":"17"}"#] {
        let mut client = store.rpc().await;
        client.pull_all().await;
        client.socket.send(frame).await;
        client.expect_silence().await;
        let mut client = store.rpc().await;
        client.push_ok(&[]).await;
        client.socket.send(frame).await;
        client.expect_silence().await;
    }
}

/// Every LiveStore client pulls within moments of connecting. Takes as long as the server waits.
#[tokio::test]
async fn a_socket_that_only_pings_is_closed_after_five_seconds() {
    let store = Server::shared().store();
    let (mut parked, mut pulling, mut pulled) = (store.rpc().await, store.rpc().await, store.rpc().await);
    let mut pushing = store.rpc().await;
    let mut v03 = Server::shared().store().v03().await;
    let live = pulling.live(None).await.id;
    pulled.pull_all().await;
    for client in [&mut parked, &mut pulling, &mut pulled] {
        client.expect_pong().await;
    }
    // Time itself is the subject here.
    tokio::time::sleep(Duration::from_secs(2)).await;
    pushing.push_ok(&chain(0, 1)).await;
    assert_eq!(pulling.chunk(&live).await.events.len(), 1);
    for client in [&mut parked, &mut pulling, &mut pulled] {
        client.expect_pong().await;
    }
    tokio::time::sleep(Duration::from_secs(4)).await;
    parked.socket.send(r#"{"_tag":"Ping"}"#).await;
    assert_eq!(parked.socket.skip_to_close().await.0, PARKED);
    pulled.expect_pong().await;
    v03.expect_pong().await;
    // An import tool, which has never pulled anywhere.
    pushing.expect_pong().await;
    pushing.push_ok(&chain(1, 1)).await;
    assert_eq!(pulling.chunk(&live).await.events.len(), 1);
    pulling.expect_silence().await;
}

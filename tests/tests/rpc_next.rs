//! The next generation over WebSocket: numeric ids, causes as arrays, frames with several messages.

use livestore_sync_tests::{Answer, Exit, Ids, Rpc, Server, Store, assert_pulled, chain, pull_payload, push_payload};
use serde_json::{Value, json};

async fn open() -> (Store, Rpc) {
    let store = Server::shared().store();
    let client = store.rpc_next().await;
    (store, client)
}

#[tokio::test]
async fn ids_come_back_as_numbers_and_streams_end_with_null() {
    let (_, mut client) = open().await;
    let id = client.start_pull(false, None).await;
    client.expect_chunk(&id).await;
    client.ack(&id).await;
    let exit = client.socket.next_text("the end of the pull").await;
    assert_eq!(exit, r#"{"_tag":"Exit","requestId":1,"exit":{"_tag":"Success","value":null}}"#);
    client.push_ok(&chain(0, 1)).await;
}

#[tokio::test]
async fn the_first_id_may_be_zero() {
    let (_, mut client) = open().await;
    client.start_pull_as(&json!(0), false, None).await;
    client.expect_chunk(&json!(0)).await;
    client.ack(&json!(0)).await;
    assert_eq!(client.expect_exit(&json!(0)).await, Exit::Success(Some(Value::Null)));
}

#[tokio::test]
async fn pulls_page_with_exact_remaining() {
    let (_, mut client) = open().await;
    client.push_ok(&chain(0, 250)).await;
    let pull = client.pull_all().await;
    assert_eq!(pull.pages, [(100, 150), (100, 50), (50, 0)]);
    assert_pulled(&pull.events, &chain(0, 250));
}

#[tokio::test]
async fn failures_are_arrays_of_causes() {
    let (_, mut client) = open().await;
    client.push_ok(&chain(0, 2)).await;
    // That the cause is an array is checked on every answer.
    client.push(&chain(7, 1)).await.assert_server_ahead(2, 7);
    let pull = client.start_pull(false, Some(("other", 0))).await;
    assert_eq!(client.expect_exit(&pull).await.error()["_tag"], "BackendIdMismatchError");
    let mut broken = chain(2, 2);
    broken[1].parent = 9;
    client.push(&broken).await.assert_invalid_batch();
}

#[tokio::test]
async fn live_pulls_get_later_events_until_interrupted() {
    let (store, mut client) = open().await;
    let live = client.live(None).await.id;
    let push = client.start_push(&chain(0, 1)).await;
    assert_pulled(&client.expect_chunk(&live).await.events, &chain(0, 1));
    client.ack(&live).await;
    client.expect_exit(&push).await.assert_pushed();
    client.interrupt(&live).await;
    client.expect_exit(&live).await.assert_interrupted();
    store.rpc().await.push_ok(&chain(1, 1)).await;
    client.expect_silence().await;
}

/// 0.4 answers on the connection, which fails everything that runs on it.
#[tokio::test]
async fn an_unknown_call_dies_alone() {
    let (_, mut client) = open().await;
    let live = client.live(None).await.id;
    client.request(&json!(77), "Nope.Rpc", "{}").await;
    assert_eq!(client.expect_exit(&json!(77)).await.died_of(), "Unknown request tag: Nope.Rpc");
    client.push_ok(&chain(0, 1)).await;
    assert_pulled(&client.chunk(&live).await.events, &chain(0, 1));
}

#[tokio::test]
async fn a_frame_may_hold_several_messages() {
    for ids in [Ids::Text, Ids::Number] {
        let store = Server::shared().store();
        let mut client = store.rpc_with(ids).await;
        client.push_ok(&chain(0, 1)).await;
        let (a, b, c) = (client.new_id(), client.new_id(), client.new_id());
        let frame = format!(
            r#"[{{"_tag":"Ping"}},
                {{"_tag":"Request","id":{a},"tag":"SyncWsRpc.Push","payload":{},"headers":[]}},
                {{"_tag":"Request","id":{b},"tag":"SyncWsRpc.Push","payload":{},"headers":[]}},
                {{"_tag":"Request","id":{c},"tag":"SyncWsRpc.Pull","payload":{},"headers":[]}}]"#,
            push_payload(&store, &chain(1, 1), None),
            push_payload(&store, &chain(2, 1), None),
            pull_payload(&store, Some(false), Some((&client.pull_all().await.backend, 1))),
        );
        client.socket.send(frame).await;
        let mut pong = false;
        let mut events = Vec::new();
        let mut ends = Vec::new();
        while ends.len() < 3 || !pong {
            match client.answer("the answers to an array").await {
                Answer::Pong => pong = true,
                Answer::Chunk(chunk) => {
                    assert_eq!(chunk.id, c);
                    events.extend(chunk.events);
                    client.ack(&c).await;
                }
                Answer::Exit(id, exit) => {
                    assert!(matches!(exit, Exit::Success(_)), "{id}: {exit:?}");
                    ends.push(id);
                }
                Answer::Defect(defect) => panic!("{defect}"),
            }
        }
        // Whether the pull runs before or after the pushes beside it is the server's choice.
        for pulled in &events {
            assert!([2, 3].contains(&pulled.event.seq));
        }
        assert_pulled(&store.log().await, &chain(0, 3));
    }
}

#[tokio::test]
async fn a_bad_message_in_an_array_does_not_spoil_the_others() {
    let (_, mut client) = open().await;
    client.socket.send(r#"[{"_tag":"Nope"},{"_tag":"Ping"},7]"#).await;
    let (mut defects, mut pongs) = (0, 0);
    while defects + pongs < 3 {
        match client.answer("the answers to an array").await {
            Answer::Defect(_) => defects += 1,
            Answer::Pong => pongs += 1,
            other => panic!("expected defects and a pong, got {other:?}"),
        }
    }
    assert_eq!((defects, pongs), (2, 1));
    client.expect_usable().await;
}

/// Ids are looked up by value: `1` and `"1"` are two requests.
#[tokio::test]
async fn ids_of_both_types_live_side_by_side() {
    let (_, mut client) = open().await;
    let (number, text) = (json!(900), json!("900"));
    for id in [&number, &text] {
        client.start_pull_as(id, true, None).await;
        client.backlog(id.clone()).await;
    }
    client.push_ok(&chain(0, 1)).await;
    for id in [&number, &text] {
        assert_pulled(&client.chunk(id).await.events, &chain(0, 1));
        client.ack(id).await;
    }
    client.interrupt(&text).await;
    client.exit(&text).await.assert_interrupted();
    client.push_ok(&chain(1, 1)).await;
    assert_pulled(&client.chunk(&number).await.events, &chain(1, 1));
    client.expect_silence().await;
}

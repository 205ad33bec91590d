//! A client and the native server, over each protocol.

use livestore_sync_client::protocol::Cursor;
use livestore_sync_client::{InvalidBatch, LivePull, Protocol, PullError, PushError};
use livestore_sync_client_tests::{PROTOCOLS, at, events, numbers, within};
use livestore_sync_server::{HookError, HookFns};
use serde_json::json;

/// The numbers that come until this one.
async fn take_until(live: &mut LivePull, last: i64) -> Vec<i64> {
    let mut all = Vec::new();
    while all.last().is_none_or(|n| *n < last) {
        let page = within(live.next()).await.expect("a page").expect("no error");
        all.extend(numbers(&page.events));
    }
    all
}

#[tokio::test]
async fn what_is_pushed_is_pulled() {
    for protocol in PROTOCOLS {
        let server = livestore_sync_client_tests::start().await;
        let client = server.builder().protocol(protocol).start().unwrap();
        within(client.ping()).await.unwrap();
        // Three pushes, three pages.
        within(client.push(events(1..=250))).await.unwrap();

        let mut pull = client.pull(None);
        let mut pages = Vec::new();
        let mut all = Vec::new();
        while let Some(page) = within(pull.next()).await {
            let page = page.unwrap();
            assert_eq!(page.backend_id.is_some(), protocol != Protocol::V03);
            pages.push((page.events.len(), page.remaining));
            all.extend(page.events.into_iter().map(|pulled| pulled.event));
        }
        assert_eq!(pages, [(100, 150), (100, 50), (50, 0)], "{protocol:?}");
        assert_eq!(all, events(1..=250));
        assert!(pull.next().await.is_none());
    }
}

#[tokio::test]
async fn a_pull_begins_at_its_cursor_also_where_the_log_is_not_known() {
    for protocol in PROTOCOLS {
        let server = livestore_sync_client_tests::start().await;
        let client = server.builder().protocol(protocol).start().unwrap();
        within(client.push(events(1..=450))).await.unwrap();
        let backend_id = within(client.pull(None).next()).await.unwrap().unwrap().backend_id;
        for backend_id in [None, backend_id] {
            for (from, expected) in [(0, 450), (120, 330), (449, 1), (450, 0)] {
                let cursor = Cursor { backend_id: backend_id.clone(), seq_num: at(from) };
                let pulled = within(client.pull(cursor).events()).await.unwrap();
                assert_eq!(numbers(&pulled), (from + 1..=from + expected).collect::<Vec<_>>(), "{protocol:?} {from}");
            }
            // Who knows events that the log does not have knows another log, or one that has lost them.
            let beyond = Cursor { backend_id, seq_num: at(900) };
            within(client.pull(beyond).events()).await.expect_err("beyond the end");
        }
    }
}

#[tokio::test]
async fn live_pulls_get_the_backlog_and_what_follows() {
    for protocol in PROTOCOLS {
        let server = livestore_sync_client_tests::start().await;
        let client = server.builder().protocol(protocol).start().unwrap();
        let other = server.client();
        within(other.push(events(1..=150))).await.unwrap();
        let mut live = client.live_pull(None);
        assert_eq!(take_until(&mut live, 150).await, (1..=150).collect::<Vec<_>>());
        within(other.push(events(151..=160))).await.unwrap();
        within(client.push(events(161..=170))).await.unwrap();
        assert_eq!(take_until(&mut live, 170).await, (151..=170).collect::<Vec<_>>(), "{protocol:?}");
    }
}

#[tokio::test]
async fn an_empty_log_gives_one_empty_page() {
    for protocol in PROTOCOLS {
        let server = livestore_sync_client_tests::start().await;
        let client = server.builder().protocol(protocol).start().unwrap();
        let mut pull = client.pull(None);
        let page = within(pull.next()).await.unwrap().unwrap();
        assert_eq!((page.events.len(), page.remaining), (0, 0));
        assert!(within(pull.next()).await.is_none());
        let page = within(client.live_pull(None).next()).await.unwrap().unwrap();
        assert_eq!((page.events.len(), page.remaining), (0, 0), "{protocol:?}");
    }
}

#[tokio::test]
async fn a_push_that_does_not_follow_the_head_is_told_where_that_is() {
    for protocol in PROTOCOLS {
        let server = livestore_sync_client_tests::start().await;
        let client = server.builder().protocol(protocol).start().unwrap();
        within(client.push(events(1..=7))).await.unwrap();
        let mut theirs = events(4..=5);
        theirs[0].name = "v1.Other".into();
        let error = within(client.push(theirs)).await.unwrap_err();
        let expected = PushError::ServerAhead { minimum_expected: at(7), provided: at(3) };
        assert_eq!(error, expected, "{protocol:?}");
        // The rest of it works on.
        within(client.push(events(8..=8))).await.unwrap();
    }
}

#[tokio::test]
async fn another_log_is_told_by_its_id() {
    for protocol in [Protocol::V04Ws, Protocol::V04Http] {
        let server = livestore_sync_client_tests::start().await;
        let client = server.builder().protocol(protocol).start().unwrap();
        let backend_id = within(client.pull(None).next()).await.unwrap().unwrap().backend_id.unwrap();
        let (expected, received) = (backend_id.clone(), "other".to_owned());
        assert_eq!(
            within(client.push_to("other", events(1..=1))).await,
            Err(PushError::BackendIdMismatch { expected, received })
        );
        let cursor = || Cursor { backend_id: Some("other".into()), seq_num: at(1) };
        let (expected, received) = (backend_id.clone(), "other".to_owned());
        let mismatch = PullError::BackendIdMismatch { expected, received };
        assert_eq!(within(client.pull(cursor()).events()).await, Err(mismatch.clone()));
        assert_eq!(within(client.live_pull(cursor()).next()).await, Some(Err(mismatch)));
        within(client.push_to(&backend_id, events(1..=1))).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_hook_says_is_told() {
    let hooks = HookFns::new().on_push(async |_, _| Err(HookError::new("you may not")));
    let server = livestore_sync_client_tests::start_with(hooks).await;
    for protocol in PROTOCOLS {
        let client = server.builder().protocol(protocol).start().unwrap();
        let error = within(client.push(events(1..=1))).await.unwrap_err();
        let PushError::Rejected { message } = error else { panic!("{error:?}") };
        assert!(message.contains("you may not"), "{message}");
    }
}

#[tokio::test]
async fn the_payload_reaches_the_server() {
    let hooks = HookFns::new().validate_payload(async |connection| {
        let payload: serde_json::Value = connection.payload_as()?;
        if payload["token"] == "ä 1%" { Ok(()) } else { Err(HookError::new("no")) }
    });
    let server = livestore_sync_client_tests::start_with(hooks).await;
    for protocol in PROTOCOLS {
        let builder = server.builder().protocol(protocol);
        let client = builder.payload(json!({ "token": "ä 1%" })).start().unwrap();
        within(client.ping()).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_no_batch_is_not_sent() {
    let server = livestore_sync_client_tests::start().await;
    let client = server.client();
    let mut batch = events(1..=2);
    batch[1].parent_seq_num = at(0);
    let error = within(client.push(batch)).await.unwrap_err();
    assert!(matches!(error, PushError::InvalidBatch(InvalidBatch::Chain { .. })), "{error}");
    within(client.push(Vec::new())).await.unwrap();
}

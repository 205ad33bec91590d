//! Events after whatever is there, beside others who do the same, and where answers are lost.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::collections::HashSet;
use std::time::Duration;

use livestore_sync_client::protocol::Event;
use livestore_sync_client::{
    InvalidBatch, NEW_EVENT_BYTES_MAX, NewEvent, OfflineReason, PUSH_EVENTS_MAX, Protocol, PushError, SyncClient,
};
use livestore_sync_client_tests::proxy::{Proxy, Weather};
use livestore_sync_client_tests::{PROTOCOLS, Running, at, events, offline, start, start_with, timing, within};
use livestore_sync_server::{HookError, HookFns};
use serde_json::json;

fn new(text: impl std::fmt::Display) -> NewEvent {
    NewEvent::new("v1.Added", json!({ "text": text.to_string() })).unwrap()
}

async fn log(server: &Running) -> Vec<Event> {
    let pulled = within(server.client().pull(None).events()).await.unwrap();
    pulled.into_iter().map(|pulled| pulled.event).collect()
}

#[tokio::test]
async fn events_follow_whatever_is_there_and_come_back_as_they_are_stored() {
    for protocol in PROTOCOLS {
        let server = start().await;
        within(server.client().push(events(1..=7))).await.unwrap();
        let client = server.builder().protocol(protocol).client_id("me").start().unwrap();
        assert_eq!(within(client.append([])).await, Ok(vec![]));
        let first = within(client.append([new("a"), new("b")])).await.unwrap();
        assert_eq!((first[0].seq_num, first[0].parent_seq_num), (at(8), at(7)), "{protocol:?}");
        assert_eq!((first[1].client_id.as_str(), first[1].session_id.as_str()), ("me", client.session_id()));
        within(server.client().push(events(10..=12))).await.unwrap();
        let second = within(client.append((0..250).map(new))).await.unwrap();
        assert_eq!((second[0].seq_num, second[249].seq_num), (at(13), at(262)));
        let log = log(&server).await;
        assert_eq!(log[7..9], first);
        assert_eq!(log[12..], second);
    }
}

#[tokio::test]
async fn all_who_append_at_once_succeed_and_each_keeps_its_order() {
    let server = start().await;
    let (clients, rounds, each) = (6, 10, PUSH_EVENTS_MAX / 10);
    let append = |n: usize| {
        let client = server.builder().protocol(PROTOCOLS[n % 3]).client_id(n.to_string()).start().unwrap();
        async move {
            for round in 0..rounds {
                client.append((0..each).map(|i| new(round * each + i))).await.unwrap();
            }
        }
    };
    within(futures_util::future::join_all((0..clients).map(append))).await;
    let log = log(&server).await;
    assert_eq!(log.len(), clients * rounds * each);
    for n in 0..clients {
        let own = log.iter().filter(|event| event.client_id == n.to_string());
        let own: Vec<_> = own.map(|event| event.args.as_json().to_owned()).collect();
        let expected: Vec<_> = (0..rounds * each).map(|i| new(i).args.as_json().to_owned()).collect();
        assert_eq!(own, expected);
    }
}

#[tokio::test]
async fn clones_append_one_after_the_other() {
    let server = start().await;
    let client = server.client();
    // Equal events: nothing but their order tells them apart.
    let append = |_| {
        let client = client.clone();
        async move { client.append([new("tick")]).await.unwrap().remove(0).seq_num }
    };
    let seq_nums = within(futures_util::future::join_all((0..50).map(append))).await;
    assert_eq!(seq_nums.into_iter().collect::<HashSet<_>>().len(), 50);
    assert_eq!(log(&server).await.len(), 50);
}

async fn behind(proxy: &Proxy, protocol: Protocol) -> SyncClient {
    let builder = SyncClient::builder(format!("http://{}", proxy.address), "notes");
    builder.timing(timing()).protocol(protocol).start().unwrap()
}

#[tokio::test]
async fn a_lost_answer_does_not_append_twice() {
    for protocol in PROTOCOLS {
        let server = start().await;
        let proxy = Proxy::start(server.address).await;
        let client = behind(&proxy, protocol).await;
        let watcher = server.client();
        for round in 0..3 {
            // So that it knows where the log ends, and the push that is not answered is not a wrong guess.
            within(client.append([new("first")])).await.unwrap();
            let before = log(&server).await.len();
            proxy.set(Weather::NoAnswers);
            let cut = async {
                // Once the server has stored it, and others have pushed after it.
                let mut live = watcher.live_pull(None);
                let mut seen = 0;
                while seen <= before {
                    seen += within(live.next()).await.unwrap().unwrap().events.len();
                }
                within(watcher.append([new(format!("theirs {round}"))])).await.unwrap();
                proxy.set(Weather::Down);
                offline(&client).await;
                proxy.set(Weather::Fine);
            };
            let (appended, ()) = tokio::join!(within(client.append([new("again"), new("again")])), cut);
            assert_eq!(appended.unwrap()[0].seq_num, at(before as i64 + 1), "{protocol:?}");
        }
        let log = log(&server).await;
        let again = log.iter().filter(|event| event.args.as_json().contains("again")).count();
        assert_eq!((log.len(), again), (12, 6), "{protocol:?}");
    }
}

#[tokio::test]
async fn what_may_be_stored_is_told() {
    let server = start().await;
    let proxy = Proxy::start(server.address).await;
    let mut timing = timing();
    timing.patience = Duration::from_millis(300);
    let client = SyncClient::builder(format!("ws://{}", proxy.address), "notes").timing(timing).start().unwrap();
    within(client.append([new("first")])).await.unwrap();
    proxy.set(Weather::NoAnswers);
    let cut = async {
        let mut live = server.client().live_pull(None);
        let mut seen = 0;
        while seen < 1 + PUSH_EVENTS_MAX {
            seen += within(live.next()).await.unwrap().unwrap().events.len();
        }
        // Down for longer than requests wait.
        proxy.set(Weather::Down);
    };
    let (appended, ()) = tokio::join!(within(client.append((0..150).map(new))), cut);
    let error = appended.unwrap_err();
    assert_eq!((error.stored, error.in_doubt), (0, PUSH_EVENTS_MAX));
    assert!(matches!(error.source, PushError::Offline { sent: true, .. }), "{error:?}");
    proxy.set(Weather::Fine);
    // The client goes on after whatever is there.
    within(client.append([new("last")])).await.unwrap();
    assert_eq!(log(&server).await.len(), 2 + PUSH_EVENTS_MAX);
}

#[tokio::test]
async fn a_refusal_ends_it_and_says_what_is_stored() {
    let hooks = HookFns::new().on_push(async |push, _| {
        let is_bad = push.batch.iter().any(|event| event.args.as_json().contains("bad"));
        if is_bad { Err(HookError::new("not that")) } else { Ok(()) }
    });
    let server = start_with(hooks).await;
    for protocol in PROTOCOLS {
        let client = server.builder().protocol(protocol).start().unwrap();
        let before = log(&server).await.len();
        let mut events: Vec<_> = (0..250).map(new).collect();
        events[120] = new("bad");
        let error = within(client.append(events)).await.unwrap_err();
        assert_eq!((error.stored, error.in_doubt), (PUSH_EVENTS_MAX, 0), "{protocol:?}");
        let PushError::Rejected { message } = &error.source else { panic!("{error:?}") };
        assert!(message.contains("not that"), "{message}");
        assert_eq!(log(&server).await.len(), before + PUSH_EVENTS_MAX);
    }
}

#[tokio::test]
async fn an_event_that_some_server_could_not_serve_is_refused_with_all_others() {
    let server = start().await;
    let client = server.client();
    let error = within(client.append([new("small"), new("x".repeat(NEW_EVENT_BYTES_MAX))])).await.unwrap_err();
    assert!(matches!(error.source, PushError::InvalidBatch(InvalidBatch::TooLarge { .. })), "{error:?}");
    assert_eq!(error.stored, 0);
    assert_eq!(log(&server).await, []);
}

#[tokio::test]
async fn what_was_dropped_before_it_was_sent_is_not_appended() {
    let client = SyncClient::builder("ws://127.0.0.1:1", "notes").timing(timing()).start().unwrap();
    tokio::time::timeout(Duration::from_millis(5), client.append([new("a")])).await.unwrap_err();
    // The next one is not kept waiting by it.
    let mut hasty = timing();
    hasty.patience = Duration::from_millis(100);
    let client = SyncClient::builder("ws://127.0.0.1:1", "notes").timing(hasty).start().unwrap();
    tokio::time::timeout(Duration::from_millis(5), client.append([new("a")])).await.unwrap_err();
    let error = within(client.append([new("b")])).await.unwrap_err();
    assert!(matches!(
        error.source,
        PushError::Offline { sent: false, reason: OfflineReason::Unreachable { .. } | OfflineReason::Connecting }
    ));
}

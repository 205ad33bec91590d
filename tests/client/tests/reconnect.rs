//! A client whose connection is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use livestore_sync_client::{ConnectionState, OfflineReason, Protocol, PullError, PushError, SyncClient};
use livestore_sync_client_tests::proxy::{Proxy, Weather};
use livestore_sync_client_tests::{PROTOCOLS, connected, events, numbers, offline, until, within};
use livestore_sync_server::{HookError, HookFns};
use serde_json::{Value, json};

#[tokio::test]
async fn a_server_that_restarts_is_found_again() {
    for protocol in PROTOCOLS {
        let server = livestore_sync_client_tests::start().await;
        let client = server.builder().protocol(protocol).start().unwrap();
        let mut live = client.live_pull(None);
        within(client.push(events(1..=3))).await.unwrap();
        let mut all = Vec::new();
        while all.len() < 3 {
            all.extend(numbers(&within(live.next()).await.unwrap().unwrap().events));
        }
        let stopped = server.stop().await;
        offline(&client).await;
        // A push waits for the connection, unless that takes too long.
        let push = client.push(events(4..=5));
        let start = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            stopped.start().await
        };
        let (pushed, _server) = tokio::join!(within(push), start);
        pushed.unwrap();
        while all.len() < 5 {
            all.extend(numbers(&within(live.next()).await.unwrap().unwrap().events));
        }
        assert_eq!(all, [1, 2, 3, 4, 5], "{protocol:?}");
    }
}

#[tokio::test]
async fn a_server_that_lost_its_log_is_told_from_the_one_before() {
    for protocol in [Protocol::V04Ws, Protocol::V04Http] {
        let server = livestore_sync_client_tests::start().await;
        let client = server.builder().protocol(protocol).start().unwrap();
        within(client.push(events(1..=3))).await.unwrap();
        let mut live = client.live_pull(None);
        assert_eq!(within(live.next()).await.unwrap().unwrap().events.len(), 3);
        let _server = server.stop().await.start_empty().await;
        let error = within(live.next()).await.unwrap().unwrap_err();
        assert!(matches!(error, PullError::BackendIdMismatch { .. }), "{error}");
        assert!(within(live.next()).await.is_none());
        let error = within(client.push(events(4..=4))).await.unwrap_err();
        assert!(matches!(error, PushError::BackendIdMismatch { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_lost_acknowledgement_does_not_store_twice() {
    for protocol in PROTOCOLS {
        let server = livestore_sync_client_tests::start().await;
        let proxy = Proxy::start(server.address).await;
        let client = SyncClient::builder(format!("ws://{}", proxy.address), "notes")
            .timing(livestore_sync_client_tests::timing())
            .protocol(protocol)
            .start()
            .unwrap();
        within(client.ping()).await.unwrap();
        proxy.set(Weather::NoAnswers);
        let cut = async {
            // Once the server has stored it.
            let watcher = server.client();
            let mut live = watcher.live_pull(None);
            while within(live.next()).await.unwrap().unwrap().events.is_empty() {}
            proxy.set(Weather::Down);
            offline(&client).await;
            proxy.set(Weather::Fine);
        };
        let (pushed, ()) = tokio::join!(within(client.push(events(1..=3))), cut);
        pushed.unwrap();
        let pulled = within(client.pull(None).events()).await.unwrap();
        assert_eq!(numbers(&pulled), [1, 2, 3], "{protocol:?}");
    }
}

#[tokio::test]
async fn a_network_that_swallows_everything_is_noticed() {
    for protocol in [Protocol::V04Ws, Protocol::V03] {
        let server = livestore_sync_client_tests::start().await;
        let proxy = Proxy::start(server.address).await;
        let mut timing = livestore_sync_client_tests::timing();
        timing.ping_interval = Duration::from_millis(200);
        timing.ping_timeout = Duration::from_millis(200);
        timing.open = Duration::from_millis(300);
        let builder = SyncClient::builder(format!("ws://{}", proxy.address), "notes");
        let client = builder.timing(timing).protocol(protocol).start().unwrap();
        let mut live = client.live_pull(None);
        within(live.next()).await.unwrap().unwrap();
        proxy.set(Weather::NoAnswers);
        let state = offline(&client).await;
        assert_eq!(state, ConnectionState::Offline { reason: OfflineReason::Silent });
        within(server.client().push(events(1..=1))).await.unwrap();
        proxy.set(Weather::Down);
        proxy.set(Weather::Fine);
        assert_eq!(numbers(&within(live.next()).await.unwrap().unwrap().events), [1]);
    }
}

#[tokio::test]
async fn each_connection_has_a_new_payload() {
    let hooks = HookFns::new().validate_payload(async |connection| {
        let payload: Value = connection.payload_as()?;
        // The first token is out of date.
        if payload["token"] == 0 { Err(HookError::new("expired")) } else { Ok(()) }
    });
    let server = livestore_sync_client_tests::start_with(hooks).await;
    for protocol in PROTOCOLS {
        let count = Arc::new(AtomicUsize::new(0));
        let provider = {
            let count = count.clone();
            move || {
                let token = count.fetch_add(1, Ordering::Relaxed);
                async move { if token == 1 { Err("no network") } else { Ok(json!({ "token": token })) } }
            }
        };
        let builder = server.builder().protocol(protocol);
        let client = builder.payload_provider(provider).start().unwrap();
        let refused = |state: &ConnectionState| {
            matches!(state, ConnectionState::Offline { reason: OfflineReason::Refused { status: 400, message } }
                if message.contains("expired"))
        };
        until(&client, refused).await;
        let failed = OfflineReason::Payload { message: "no network".into() };
        until(&client, |state| *state == ConnectionState::Offline { reason: failed.clone() }).await;
        connected(&client).await;
        within(client.ping()).await.unwrap();
        assert_eq!(count.load(Ordering::Relaxed), 3);
    }
}

#[tokio::test]
async fn requests_do_not_wait_for_ever() {
    let mut timing = livestore_sync_client_tests::timing();
    timing.patience = Duration::from_millis(300);
    // Nobody listens there.
    let client = SyncClient::builder("ws://127.0.0.1:1", "notes").timing(timing).start().unwrap();
    let error = within(client.push(events(1..=1))).await.unwrap_err();
    assert!(matches!(error, PushError::Offline { sent: false, .. }), "{error}");
    let error = within(client.pull(None).events()).await.unwrap_err();
    assert!(matches!(error, PullError::Offline { .. }), "{error}");
    assert!(within(client.ping()).await.is_err());
}

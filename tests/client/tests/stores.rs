//! Offline stores and the native server, over each protocol.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

#[path = "../../../sync-client/tests/support/app.rs"]
mod app;

use std::time::Duration;

use app::{add, items, options, soon, until};
use livestore_sync_client::local::{LocalStore, ResetKeep, Status, StopReason, SyncState};
use livestore_sync_client::{Protocol, SyncClient};
use livestore_sync_client_tests::proxy::{Proxy, Weather};
use livestore_sync_client_tests::{PROTOCOLS, timing};
use livestore_sync_server::{HookError, HookFns};
use tempfile::TempDir;

fn client(url: String, protocol: Protocol) -> SyncClient {
    let builder = SyncClient::builder(url, "notes").timing(timing());
    builder.protocol(protocol).start().unwrap()
}

async fn store(folder: &TempDir, name: &str, client: SyncClient) -> LocalStore {
    LocalStore::open(folder.path().join(name), client, options()).await.unwrap()
}

async fn converge(stores: &[&LocalStore], events: i64) -> Vec<String> {
    for store in stores {
        let mut watch = store.watch();
        let there = watch.wait_for(|status| status.pending == 0 && status.head.get() == events);
        let there = tokio::time::timeout(Duration::from_secs(10), there).await.is_ok();
        assert!(there, "{events} events: {:?}", store.status());
    }
    let first = items(stores[0]).await;
    for store in stores {
        assert_eq!(items(store).await, first);
    }
    first
}

#[tokio::test]
async fn stores_of_all_generations_share_a_log() {
    let server = livestore_sync_client_tests::start().await;
    let folder = TempDir::new().unwrap();
    let mut stores = Vec::new();
    for (n, way) in PROTOCOLS.into_iter().enumerate() {
        stores.push(store(&folder, &n.to_string(), client(server.url(), way)).await);
    }
    let stores: Vec<_> = stores.iter().collect();
    for round in 0..5 {
        for (n, store) in stores.iter().enumerate() {
            store.commit((0..10).map(|i| add(format!("{round}.{n}.{i}")))).await.unwrap();
        }
    }
    let texts = converge(&stores, 150).await;
    for n in 0..3 {
        let expected: Vec<_> = (0..5).flat_map(|r| (0..10).map(move |i| format!("{r}.{n}.{i}"))).collect();
        let own: Vec<_> = texts.iter().filter(|text| text.split('.').nth(1) == Some(&n.to_string())).collect();
        assert_eq!(own, expected.iter().collect::<Vec<_>>(), "each store's events keep their order");
    }
}

#[tokio::test]
async fn work_of_two_that_were_offline_is_rebased() {
    for way in PROTOCOLS {
        let server = livestore_sync_client_tests::start().await;
        let proxy = Proxy::start(server.address).await;
        let folder = TempDir::new().unwrap();
        let offline = store(&folder, "a", client(format!("http://{}", proxy.address), way)).await;
        let online = store(&folder, "b", client(server.url(), way)).await;
        offline.commit([add("first")]).await.unwrap();
        converge(&[&offline, &online], 1).await;
        proxy.set(Weather::Down);
        offline.commit((0..150).map(|n| add(format!("offline {n}")))).await.unwrap();
        online.commit((0..150).map(|n| add(format!("online {n}")))).await.unwrap();
        soon(online.flush()).await.unwrap();
        proxy.set(Weather::Fine);
        let texts = converge(&[&offline, &online], 301).await;
        assert_eq!((texts[1].as_str(), texts[151].as_str()), ("online 0", "offline 0"), "{way:?}");
        // What was committed is there when the app starts again.
        drop(offline);
        let again = store(&folder, "c", client(server.url(), way)).await;
        assert_eq!(converge(&[&again, &online], 301).await, texts);
    }
}

#[tokio::test]
async fn a_refused_event_is_reported_and_dropped_when_the_app_says_so() {
    let hooks =
        HookFns::new().on_push(async |push, _| match push.batch.iter().any(|e| e.args.as_json().contains("bad")) {
            true => Err(HookError::new("not that")),
            false => Ok(()),
        });
    let server = livestore_sync_client_tests::start_with(hooks).await;
    let folder = TempDir::new().unwrap();
    let store = store(&folder, "a", client(server.url(), PROTOCOLS[0])).await;
    store.commit([add("good"), add("bad"), add("better")]).await.unwrap();
    until(&store, |status| matches!(&status.sync, SyncState::Rejected { reason, .. } if reason.contains("not that")))
        .await;
    store.drop_rejected().await.unwrap();
    assert_eq!(converge(&[&store], 2).await, ["good", "better"]);
}

#[tokio::test]
async fn a_server_that_lost_its_log_is_reported_and_can_be_given_everything() {
    for way in PROTOCOLS {
        let server = livestore_sync_client_tests::start().await;
        let folder = TempDir::new().unwrap();
        let store = store(&folder, "a", client(server.url(), way)).await;
        store.commit([add("one"), add("two")]).await.unwrap();
        converge(&[&store], 2).await;
        let _server = server.stop().await.start_empty().await;
        store.commit([add("three")]).await.unwrap();
        let is_reset = |s: &Status| matches!(&s.sync, SyncState::Stopped(StopReason::BackendReset { .. }));
        let reset = tokio::time::timeout(Duration::from_secs(10), {
            let mut watch = store.watch();
            async move { watch.wait_for(is_reset).await.map(drop) }
        })
        .await
        .is_ok();
        assert!(reset, "{way:?}: {:?}", store.status());
        assert_eq!(items(&store).await, ["one", "two", "three"], "nothing is thrown away");
        store.reset_to_backend(ResetKeep::Everything).await.unwrap();
        assert_eq!(converge(&[&store], 3).await, ["one", "two", "three"], "{way:?}");
    }
}

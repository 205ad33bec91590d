//! Backends that fail, refuse, lose answers or are replaced.

use futures_util::StreamExt;
use livestore_sync_client::NewEvent;
use livestore_sync_client::local::{Change, FlushError, LocalStore, ResetKeep, StopReason, StoreError, SyncState};
use tempfile::TempDir;

use crate::support::MemoryBackend;
use crate::support::app::{add, items, options, soon, until};

async fn open(folder: &TempDir, name: &str, backend: &MemoryBackend) -> LocalStore {
    LocalStore::open(folder.path().join(name), backend.clone(), options()).await.unwrap()
}

#[tokio::test]
async fn lost_answers_double_nothing() {
    let (folder, backend) = (TempDir::new().unwrap(), MemoryBackend::default());
    let a = open(&folder, "a.db", &backend).await;
    for round in 0..20 {
        backend.lock().lose_answers = round % 3;
        backend.lock().fail_pushes = round % 2;
        a.commit([add(round)]).await.unwrap();
        if round % 5 == 0 {
            backend.compete("add", serde_json::json!({ "text": format!("theirs {round}") }));
        }
    }
    soon(a.flush()).await.unwrap();
    let mine: Vec<_> = backend.texts().into_iter().filter(|text| !text.starts_with("theirs")).collect();
    assert_eq!(mine, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
    until(&a, |status| status.head.get() == 24).await;
    assert_eq!(items(&a).await, backend.texts());
}

#[tokio::test]
async fn own_events_are_recognised_when_a_backend_spells_their_args_anew() {
    let (folder, backend) = (TempDir::new().unwrap(), MemoryBackend::default());
    let path = folder.path().join("a.db");
    let a = open(&folder, "a.db", &backend).await;
    backend.go_offline();
    let args = livestore_sync_protocol::Args::from_json(r#"{ "text": "one", "n": 1.0, "m": 1e400 }"#.into()).unwrap();
    a.commit([NewEvent::with_args("add", args)]).await.unwrap();
    let mut event = a.pending().await.unwrap().remove(0).event;
    drop(a);
    // The push arrived, its answer did not, and the process ended.
    event.args = livestore_sync_protocol::Args::from_json(r#"{"n":1,"text":"one","m":null}"#.into()).unwrap();
    backend.lock().log.push(livestore_sync_protocol::PulledEvent { event, created_at: None });
    backend.go_online();
    let a = LocalStore::open(&path, backend.clone(), options()).await.unwrap();
    soon(a.flush()).await.unwrap();
    assert_eq!(backend.texts(), ["one"]);
    assert_eq!(items(&a).await, ["one"]);
}

#[tokio::test]
async fn many_pending_events_go_in_batches_of_at_most_a_hundred() {
    let (folder, backend) = (TempDir::new().unwrap(), MemoryBackend::default());
    backend.go_offline();
    let a = open(&folder, "a.db", &backend).await;
    a.commit((0..250).map(add)).await.unwrap();
    let large = NewEvent::new("add", serde_json::json!({ "text": "x".repeat(500_000) })).unwrap();
    a.commit([large.clone(), large.clone(), large]).await.unwrap();
    backend.go_online();
    soon(a.flush()).await.unwrap();
    assert_eq!(backend.lock().pushes, [100, 100, 51, 1, 1]);
    assert_eq!(items(&a).await, backend.texts());
}

#[tokio::test]
async fn a_live_pull_that_keeps_silent_is_asked_for_anew() {
    let (folder, backend) = (TempDir::new().unwrap(), MemoryBackend::default());
    let a = open(&folder, "a.db", &backend).await;
    a.commit([add("one")]).await.unwrap();
    soon(a.flush()).await.unwrap();
    // The pull misses what comes now: it looks at a cursor that is already past it.
    backend.lock().mute = true;
    backend.compete("add", serde_json::json!({ "text": "theirs" }));
    a.commit([add("two")]).await.unwrap();
    until(&a, |status| status.pending == 1).await;
    // Not woken: only a new pull looks again.
    tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    backend.lock().mute = false;
    soon(a.flush()).await.unwrap();
    assert_eq!(items(&a).await, ["one", "theirs", "two"]);
}

#[tokio::test]
async fn dropping_what_is_pending_undoes_it() {
    let (folder, backend) = (TempDir::new().unwrap(), MemoryBackend::default());
    backend.go_offline();
    let a = open(&folder, "a.db", &backend).await;
    a.commit((0..5).map(add)).await.unwrap();
    let pending = a.pending().await.unwrap();
    assert_eq!(a.drop_pending(pending[2].id).await.unwrap(), pending[2].event);
    assert_eq!(items(&a).await, ["0", "1", "3", "4"]);
    let numbers: Vec<_> = a.pending().await.unwrap().iter().map(|pending| pending.event.seq_num.get()).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    backend.go_online();
    soon(a.flush()).await.unwrap();
    assert_eq!(backend.texts(), ["0", "1", "3", "4"]);
}

#[tokio::test]
async fn readers_that_are_slow_are_told_what_they_missed() {
    let (folder, backend) = (TempDir::new().unwrap(), MemoryBackend::default());
    let path = folder.path().join("a.db");
    let a = LocalStore::open(path, backend, options().changes_capacity(2)).await.unwrap();
    let mut changes = a.changes();
    for n in 0..10 {
        a.commit([add(n)]).await.unwrap();
    }
    assert!(matches!(soon(changes.next()).await, Some(Change::Missed { changes }) if changes >= 8));
}

#[tokio::test]
async fn dropped_futures_leave_a_store_that_works() {
    let (folder, backend) = (TempDir::new().unwrap(), MemoryBackend::default());
    let path = folder.path().join("a.db");
    for round in 0..20 {
        let a = LocalStore::open(&path, backend.clone(), options()).await.unwrap();
        // Polled once each, and dropped.
        for n in 0..5 {
            let commit = std::pin::pin!(a.commit([add(format!("{round}-{n}-a")), add(format!("{round}-{n}-b"))]));
            assert!(futures_util::poll!(commit).is_pending());
        }
        drop(futures_util::poll!(std::pin::pin!(a.flush())));
        drop(futures_util::poll!(std::pin::pin!(a.query(|_| Ok(())))));
        tokio::task::yield_now().await;
    }
    let a = LocalStore::open(&path, backend.clone(), options()).await.unwrap();
    soon(a.flush()).await.unwrap();
    let (items, texts) = (items(&a).await, backend.texts());
    assert_eq!(items, texts);
    // What was asked for before the store was dropped is done, in whole.
    assert_eq!(texts.len(), 200);
}

#[tokio::test]
async fn a_refused_event_is_found_reported_and_dropped_on_demand() {
    let (folder, backend) = (TempDir::new().unwrap(), MemoryBackend::default());
    backend.go_offline();
    backend.lock().refused_name = Some("bad".into());
    let a = open(&folder, "a.db", &backend).await;
    let mut changes = a.changes();
    a.commit((0..10).map(add)).await.unwrap();
    a.commit([NewEvent::new("bad", ()).unwrap()]).await.unwrap();
    a.commit((11..20).map(add)).await.unwrap();
    assert!(matches!(a.drop_rejected().await, Err(StoreError::NotPending)));
    backend.go_online();
    let Err(FlushError::Rejected { event, reason }) = soon(a.flush()).await else { panic!() };
    assert_eq!((event.name.as_str(), event.seq_num.get()), ("bad", 11));
    assert_eq!(reason, "the hook says no");
    assert_eq!(a.status().pending, 10);
    // Others' events come in all the same, and the refusal stands.
    backend.compete("add", serde_json::json!({ "text": "theirs" }));
    until(&a, |status| status.head.get() == 11).await;
    assert!(matches!(a.status().sync, SyncState::Rejected { .. }));
    while !matches!(soon(changes.next()).await.unwrap(), Change::Rejected { .. }) {}
    // Trying again changes nothing.
    a.resume();
    assert!(matches!(soon(a.flush()).await, Err(FlushError::Rejected { .. })));
    assert_eq!(a.drop_rejected().await.unwrap().name, "bad");
    soon(a.flush()).await.unwrap();
    let expected = (0..10).map(|n| n.to_string()).chain(["theirs".into()]).chain((11..20).map(|n| n.to_string()));
    assert_eq!(backend.texts(), expected.collect::<Vec<_>>());
    assert_eq!(items(&a).await, backend.texts());
}

#[tokio::test]
async fn a_reset_backend_is_reported_and_the_app_decides() {
    for (keep, expected) in [
        (ResetKeep::Everything, vec!["new", "confirmed", "pending"]),
        (ResetKeep::Pending, vec!["new", "pending"]),
        (ResetKeep::Nothing, vec!["new"]),
    ] {
        let (folder, backend) = (TempDir::new().unwrap(), MemoryBackend::default());
        let a = open(&folder, "a.db", &backend).await;
        a.commit([add("confirmed")]).await.unwrap();
        soon(a.flush()).await.unwrap();
        backend.go_offline();
        a.commit([add("pending")]).await.unwrap();
        backend.reset(Some("backend-2"));
        backend.compete("add", serde_json::json!({ "text": "new" }));
        backend.go_online();
        let Err(FlushError::Stopped(StopReason::BackendReset { known, found })) = soon(a.flush()).await else {
            panic!()
        };
        assert_eq!((known.as_deref(), found.as_deref()), (Some("backend-1"), Some("backend-2")));
        // Nothing is lost, and commits go on.
        assert_eq!(items(&a).await, ["confirmed", "pending"]);
        assert_eq!(backend.texts(), ["new"]);
        a.reset_to_backend(keep).await.unwrap();
        soon(a.flush()).await.unwrap();
        until(&a, |status| status.head.get() as usize == expected.len()).await;
        assert_eq!(items(&a).await, expected, "{keep:?}");
        assert_eq!(backend.texts(), expected, "{keep:?}");
        assert_eq!(a.status().backend_id.as_deref(), Some("backend-2"));
    }
}

#[tokio::test]
async fn two_stores_that_keep_everything_double_nothing() {
    let (folder, backend) = (TempDir::new().unwrap(), MemoryBackend::default());
    let (a, b) = (open(&folder, "a.db", &backend).await, open(&folder, "b.db", &backend).await);
    a.commit((0..150).map(add)).await.unwrap();
    soon(a.flush()).await.unwrap();
    until(&b, |status| status.head.get() == 150).await;
    backend.reset(Some("backend-2"));
    for store in [&a, &b] {
        // A backend that nobody asks anything does not tell that it is another.
        store.commit([add("more")]).await.unwrap();
        until(store, |status| matches!(status.sync, SyncState::Stopped(StopReason::BackendReset { .. }))).await;
    }
    a.reset_to_backend(ResetKeep::Everything).await.unwrap();
    b.reset_to_backend(ResetKeep::Everything).await.unwrap();
    soon(a.flush()).await.unwrap();
    soon(b.flush()).await.unwrap();
    assert_eq!(backend.lock().log.len(), 152);
    for store in [&a, &b] {
        until(store, |status| status.head.get() == 152).await;
        assert_eq!(items(store).await, backend.texts());
    }
}

#[tokio::test]
async fn a_log_without_identity_that_went_back_is_a_reset_too() {
    let (folder, backend) = (TempDir::new().unwrap(), MemoryBackend::default());
    backend.lock().backend_id = None;
    let a = open(&folder, "a.db", &backend).await;
    a.commit([add("one"), add("two")]).await.unwrap();
    soon(a.flush()).await.unwrap();
    backend.reset(None);
    a.commit([add("three")]).await.unwrap();
    let result = soon(a.flush()).await;
    assert!(matches!(result, Err(FlushError::Stopped(StopReason::BackendReset { known: None, found: None }))));
}

#[tokio::test]
async fn a_materialiser_that_fails_at_a_received_event_stops_sync() {
    let (folder, backend) = (TempDir::new().unwrap(), MemoryBackend::default());
    let a = open(&folder, "a.db", &backend).await;
    a.commit([add("one")]).await.unwrap();
    soon(a.flush()).await.unwrap();
    let mut changes = a.changes();
    backend.compete("fail", ());
    let reason = loop {
        if let Change::Stopped(reason) = soon(changes.next()).await.unwrap() {
            break reason;
        }
    };
    assert!(matches!(reason, StopReason::Materialise(_)), "{reason}");
    a.commit([add("two")]).await.unwrap();
    assert!(matches!(soon(a.flush()).await, Err(FlushError::Stopped(StopReason::Materialise(_)))));
    assert_eq!((a.status().head.get(), a.status().pending), (1, 1));
    assert_eq!(items(&a).await, ["one", "two"]);
    // Still so when it is tried again; an app that knows better goes on.
    a.resume();
    until(&a, |status| matches!(status.sync, SyncState::Stopped(_))).await;
    drop(a);
    let better = options().materialiser("fail", |_, _| Ok(()));
    let a = LocalStore::open(folder.path().join("a.db"), backend.clone(), better).await.unwrap();
    soon(a.flush()).await.unwrap();
    assert_eq!(a.status().head.get(), 3);
}

#[tokio::test]
async fn a_pending_event_that_fails_after_others_stops_sync_until_it_is_dropped() {
    let (folder, backend) = (TempDir::new().unwrap(), MemoryBackend::default());
    let options = options().materialiser("only", |tx, event| {
        tx.execute("INSERT INTO items (place, text) VALUES (7, ?1 ->> 'text')", [event.args.as_json()])?;
        Ok(())
    });
    let a = LocalStore::open(folder.path().join("a.db"), backend.clone(), options).await.unwrap();
    backend.go_offline();
    let only = |text: &str| NewEvent::new("only", serde_json::json!({ "text": text })).unwrap();
    a.commit([only("mine")]).await.unwrap();
    backend.compete("only", serde_json::json!({ "text": "theirs" }));
    backend.go_online();
    assert!(matches!(soon(a.flush()).await, Err(FlushError::Stopped(StopReason::Materialise(_)))));
    assert_eq!(items(&a).await, ["mine"]);
    let pending = a.pending().await.unwrap();
    a.drop_pending(pending[0].id).await.unwrap();
    a.resume();
    until(&a, |status| status.head.get() == 1).await;
    assert_eq!(items(&a).await, ["theirs"]);
    assert!(matches!(a.drop_pending(pending[0].id).await, Err(StoreError::NotPending)));
}

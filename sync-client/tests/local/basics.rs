//! What a store does, case by case.

use futures_util::StreamExt;
use livestore_sync_client::local::{
    Change, CommitError, LocalStore, MaterialiseError, OpenError, Options, StoreError, SyncState, TablesError,
    UnknownEvents,
};
use livestore_sync_client::{ConnectionState, NewEvent};
use livestore_sync_protocol::SeqNum;
use tempfile::TempDir;

use crate::support::MemoryBackend;
use crate::support::app::{TABLES, add, items, options, soon, until};

#[tokio::test]
async fn committed_events_reach_the_backend_and_another_store() {
    let (folder, backend) = (TempDir::new().unwrap(), MemoryBackend::default());
    let a = LocalStore::open(folder.path().join("a.db"), backend.clone(), options()).await.unwrap();
    let b = LocalStore::open(folder.path().join("b.db"), backend.clone(), options()).await.unwrap();
    let events = a.commit([add("one"), add("two")]).await.unwrap();
    assert_eq!(events[1].seq_num, SeqNum::new(2).unwrap());
    assert_eq!(events[1].parent_seq_num, SeqNum::new(1).unwrap());
    assert_eq!(events[1].client_id, a.client_id());
    assert_eq!(items(&a).await, ["one", "two"]);
    soon(a.flush()).await.unwrap();
    assert_eq!(backend.texts(), ["one", "two"]);
    until(&b, |status| status.head.get() == 2).await;
    assert_eq!(items(&b).await, ["one", "two"]);
    b.commit([add("three")]).await.unwrap();
    soon(b.flush()).await.unwrap();
    until(&a, |status| status.head.get() == 3 && status.pending == 0).await;
    assert_eq!(items(&a).await, ["one", "two", "three"]);
    assert_eq!(a.status().backend_id.as_deref(), Some("backend-1"));
    let confirmed = a.confirmed(SeqNum::new(1).unwrap(), 10).await.unwrap();
    assert_eq!(confirmed.len(), 2);
    assert_eq!(confirmed[1].event, backend.lock().log[2].event);
    assert!(confirmed[1].created_at.is_some());
}

#[tokio::test]
async fn offline_work_is_rebased() {
    let (folder, backend) = (TempDir::new().unwrap(), MemoryBackend::default());
    let a = LocalStore::open(folder.path().join("a.db"), backend.clone(), options()).await.unwrap();
    a.commit([add("first")]).await.unwrap();
    soon(a.flush()).await.unwrap();
    backend.go_offline();
    until(&a, |status| matches!(status.connection, ConnectionState::Offline { .. })).await;
    a.commit([add("mine 1"), add("mine 2")]).await.unwrap();
    backend.compete("add", serde_json::json!({ "text": "theirs" }));
    assert_eq!(items(&a).await, ["first", "mine 1", "mine 2"]);
    assert_eq!(a.pending().await.unwrap()[0].event.seq_num.get(), 2);
    let mut changes = a.changes();
    backend.go_online();
    soon(a.flush()).await.unwrap();
    assert_eq!(items(&a).await, ["first", "theirs", "mine 1", "mine 2"]);
    assert_eq!(backend.texts(), ["first", "theirs", "mine 1", "mine 2"]);
    let mut told = Vec::new();
    while told.len() < 3 {
        told.push(match soon(changes.next()).await.unwrap() {
            Change::Received(events) => format!("received {}", events.len()),
            Change::Rebased { head, pending } => format!("rebased {pending} after {head}"),
            Change::Confirmed(events) => format!("confirmed {}", events.len()),
            other => format!("{other:?}"),
        });
    }
    assert_eq!(told, ["received 1", "rebased 2 after 2", "confirmed 2"]);
}

#[tokio::test]
async fn all_is_there_after_opening_again() {
    let (folder, backend) = (TempDir::new().unwrap(), MemoryBackend::default());
    let path = folder.path().join("a.db");
    let a = LocalStore::open(&path, backend.clone(), options()).await.unwrap();
    a.commit([add("confirmed")]).await.unwrap();
    soon(a.flush()).await.unwrap();
    backend.go_offline();
    a.commit([add("pending")]).await.unwrap();
    let client_id = a.client_id().to_owned();
    a.close().await;
    backend.compete("add", serde_json::json!({ "text": "theirs" }));
    let a = LocalStore::open(&path, backend.clone(), options()).await.unwrap();
    assert_eq!(a.client_id(), client_id);
    assert_eq!((a.status().head.get(), a.status().pending), (1, 1));
    assert_eq!(items(&a).await, ["confirmed", "pending"]);
    backend.go_online();
    soon(a.flush()).await.unwrap();
    assert_eq!(items(&a).await, ["confirmed", "theirs", "pending"]);
}

#[tokio::test]
async fn a_file_has_one_owner() {
    let (folder, backend) = (TempDir::new().unwrap(), MemoryBackend::default());
    let path = folder.path().join("a.db");
    let a = LocalStore::open(&path, backend.clone(), options()).await.unwrap();
    let other = folder.path().join("link.db");
    #[cfg(unix)]
    std::os::unix::fs::symlink(&path, &other).unwrap();
    for path in [&path, &other] {
        let error = LocalStore::open(path, backend.clone(), options()).await.unwrap_err();
        assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    }
    drop(a);
    LocalStore::open(&path, backend, options()).await.unwrap();
}

#[tokio::test]
async fn a_commit_that_fails_leaves_nothing() {
    let (folder, backend) = (TempDir::new().unwrap(), MemoryBackend::default());
    let a = LocalStore::open(folder.path().join("a.db"), backend.clone(), options()).await.unwrap();
    for name in ["fail", "panic"] {
        let events = [add("lost"), NewEvent::new(name, ()).unwrap()];
        let error = a.commit(events).await.unwrap_err();
        assert!(matches!(error, CommitError::Materialise(MaterialiseError::Failed { .. })), "{error}");
        assert!(error.to_string().contains("told to"), "{error}");
    }
    let large = NewEvent::new("add", "x".repeat(900_000)).unwrap();
    assert!(matches!(a.commit([large]).await.unwrap_err(), CommitError::TooLarge { .. }));
    a.commit([add("kept")]).await.unwrap();
    soon(a.flush()).await.unwrap();
    assert_eq!(items(&a).await, ["kept"]);
    assert_eq!(backend.texts(), ["kept"]);
}

#[tokio::test]
async fn a_failing_commit_does_not_spoil_those_that_share_its_transaction() {
    let (folder, backend) = (TempDir::new().unwrap(), MemoryBackend::default());
    let options = options().materialiser("rollback", |tx, _| {
        tx.execute("INSERT OR ROLLBACK INTO items (text) VALUES (NULL)", [])?;
        Ok(())
    });
    let a = LocalStore::open(folder.path().join("a.db"), backend.clone(), options).await.unwrap();
    let commits = (0..60).map(|n| match n % 3 {
        0 => a.commit(vec![add(n)]),
        1 => a.commit(vec![add("lost"), NewEvent::new("fail", ()).unwrap()]),
        _ => a.commit(vec![add("lost"), NewEvent::new("rollback", ()).unwrap()]),
    });
    let results = futures_util::future::join_all(commits).await;
    let succeeded: Vec<_> = results.iter().map(Result::is_ok).collect();
    assert_eq!(succeeded, (0..60).map(|n| n % 3 == 0).collect::<Vec<_>>());
    soon(a.flush()).await.unwrap();
    let expected: Vec<_> = (0..60).filter(|n| n % 3 == 0).map(|n| n.to_string()).collect();
    assert_eq!(items(&a).await, expected);
    assert_eq!(backend.texts(), expected);
}

#[tokio::test]
async fn materialisers_keep_to_the_rows_of_their_tables() {
    let (folder, backend) = (TempDir::new().unwrap(), MemoryBackend::default());
    for (n, sql) in [
        "CREATE TABLE more (id)",
        "DROP TABLE items",
        "DELETE FROM livestore_pending",
        "UPDATE livestore_client SET backend_id = 'x'",
        "COMMIT",
        "SAVEPOINT s",
        "PRAGMA user_version = 7",
        "ATTACH ':memory:' AS other",
    ]
    .into_iter()
    .enumerate()
    {
        let options = options().materialiser("sql", move |tx, _| Ok(tx.execute_batch(sql)?));
        let a = LocalStore::open(folder.path().join(format!("{n}.db")), backend.clone(), options).await.unwrap();
        let error = a.commit([NewEvent::new("sql", ()).unwrap()]).await.unwrap_err();
        assert!(error.to_string().contains("not authorized"), "{sql}: {error}");
        a.commit([add("fine")]).await.unwrap();
        assert_eq!(items(&a).await.last().unwrap(), "fine");
        soon(a.flush()).await.unwrap();
    }
}

#[tokio::test]
async fn tables_that_cannot_be_kept_in_step_are_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.db");
    let open = async |sql: &str| {
        let result = LocalStore::open(&path, MemoryBackend::default(), Options::new().tables(1, sql)).await;
        match result.map(drop) {
            Err(OpenError::Tables(error)) => error,
            other => panic!("{sql}: {other:?}"),
        }
    };
    assert!(matches!(open("CREATE TABLE livestore_x (a)").await, TablesError::ReservedName { .. }));
    assert!(matches!(open("CREATE VIRTUAL TABLE t USING fts5(a)").await, TablesError::Virtual { .. }));
    assert!(matches!(open("CREATE TABLE t (rowid, oid, _rowid_)").await, TablesError::NoRowid { .. }));
    assert!(matches!(open("CREATE TABEL t").await, TablesError::Sql(_)));
    assert!(matches!(open("COMMIT").await, TablesError::Sql(_)));
    // Nothing of it stays.
    LocalStore::open(&path, MemoryBackend::default(), options()).await.unwrap();
}

#[tokio::test]
async fn tables_may_be_called_what_they_like() {
    let folder = TempDir::new().unwrap();
    let sql = "CREATE TABLE x (a); CREATE TABLE pending_x (a); CREATE TABLE insert_x (a); CREATE TABLE index_x (a);
               CREATE TABLE livestore (a /* AUTOINCREMENT */); CREATE TABLE y (id INTEGER PRIMARY KEY AUTOINCREMENT)";
    for _ in 0..2 {
        let options = Options::new()
            .tables(1, sql)
            .materialiser("y", |tx, _| Ok(tx.execute_batch("INSERT INTO y DEFAULT VALUES")?));
        let a = LocalStore::open(folder.path().join("a.db"), MemoryBackend::default(), options).await.unwrap();
        a.commit([NewEvent::new("y", ()).unwrap()]).await.unwrap();
    }
}

#[cfg(unix)]
#[tokio::test]
async fn files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    let a = LocalStore::open(folder.path().join("a.db"), MemoryBackend::default(), options()).await.unwrap();
    a.commit([add("a")]).await.unwrap();
    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap).collect();
    assert!(files.len() >= 3, "the data, what is written ahead, the lock: {files:?}");
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[tokio::test]
async fn a_file_of_a_newer_release_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.db");
    drop(LocalStore::open(&path, MemoryBackend::default(), options()).await.unwrap());
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = LocalStore::open(&path, MemoryBackend::default(), options()).await.unwrap_err();
    assert!(matches!(error, OpenError::NewerFormat { found: 99, .. }), "{error}");
}

#[tokio::test]
async fn reads_cannot_write() {
    let folder = TempDir::new().unwrap();
    let a = LocalStore::open(folder.path().join("a.db"), MemoryBackend::default(), options()).await.unwrap();
    let result = a.query(|connection| connection.execute("DELETE FROM items", [])).await;
    assert!(matches!(result, Err(StoreError::Database(_))));
}

#[tokio::test]
async fn tables_are_built_anew_when_they_change() {
    let (folder, backend) = (TempDir::new().unwrap(), MemoryBackend::default());
    let path = folder.path().join("a.db");
    let a = LocalStore::open(&path, backend.clone(), options()).await.unwrap();
    a.commit([add("one")]).await.unwrap();
    soon(a.flush()).await.unwrap();
    backend.go_offline();
    a.commit([add("two")]).await.unwrap();
    drop(a);
    let shout = options().tables(2, TABLES).materialiser("add", |tx, event| {
        tx.execute("INSERT INTO items (text) VALUES (upper(?1 ->> 'text'))", [event.args.as_json()])?;
        Ok(())
    });
    let a = LocalStore::open(&path, backend.clone(), shout).await.unwrap();
    assert_eq!(items(&a).await, ["ONE", "TWO"]);
    backend.compete("add", serde_json::json!({ "text": "theirs" }));
    backend.go_online();
    soon(a.flush()).await.unwrap();
    assert_eq!(items(&a).await, ["ONE", "THEIRS", "TWO"]);
}

#[tokio::test]
async fn unknown_names_have_a_policy() {
    let (folder, backend) = (TempDir::new().unwrap(), MemoryBackend::default());
    backend.compete("new", serde_json::json!({ "text": "unknown" }));
    backend.compete("add", serde_json::json!({ "text": "known" }));
    let path = folder.path().join("a.db");
    // Kept, and applied at its place when the name is known.
    let a = LocalStore::open(&path, backend.clone(), options()).await.unwrap();
    until(&a, |status| status.head.get() == 2).await;
    a.commit([NewEvent::new("new", serde_json::json!({ "text": "mine" })).unwrap()]).await.unwrap();
    soon(a.flush()).await.unwrap();
    assert_eq!(items(&a).await, ["known"]);
    drop(a);
    let knowing = options().materialiser("new", |tx, event| {
        tx.execute("INSERT INTO items (text) VALUES (?1 ->> 'text')", [event.args.as_json()])?;
        Ok(())
    });
    let a = LocalStore::open(&path, backend.clone(), knowing).await.unwrap();
    assert_eq!(items(&a).await, ["unknown", "known", "mine"]);
    drop(a);
    // Sync stops there, and nothing of the page is skipped.
    let failing = options().unknown_events(UnknownEvents::Fail);
    let b = LocalStore::open(folder.path().join("b.db"), backend.clone(), failing).await.unwrap();
    until(&b, |status| matches!(status.sync, SyncState::Stopped(_))).await;
    assert_eq!(b.status().head.get(), 0);
    assert!(b.commit([NewEvent::new("new", ()).unwrap()]).await.is_err());
    b.commit([add("still works")]).await.unwrap();
    assert!(soon(b.flush()).await.is_err());
}

#[tokio::test]
async fn a_closed_store_ends_its_changes() {
    let folder = TempDir::new().unwrap();
    let a = LocalStore::open(folder.path().join("a.db"), MemoryBackend::default(), options()).await.unwrap();
    let mut changes = a.changes();
    a.commit([add("one")]).await.unwrap();
    a.close().await;
    assert!(matches!(soon(changes.next()).await, Some(Change::Committed(_))));
    while soon(changes.next()).await.is_some() {}
}

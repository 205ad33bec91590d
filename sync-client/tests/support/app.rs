//! An app with two tables. Also used by the tests beside a server (`tests/client`).

#![allow(dead_code, reason = "each test binary uses its part")]

use std::time::Duration;

use livestore_sync_client::NewEvent;
use livestore_sync_client::local::{LocalStore, Options, Status};

pub(crate) const TABLES: &str = "CREATE TABLE items (place INTEGER PRIMARY KEY, text TEXT NOT NULL);
    CREATE TABLE counts (name TEXT NOT NULL PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID";

/// `add` appends a text; `fail` fails.
pub(crate) fn options() -> Options {
    Options::new()
        .retry_after(Duration::from_millis(5), Duration::from_millis(20))
        .tables(1, TABLES)
        .materialiser("add", |tx, event| {
            tx.execute("INSERT INTO items (text) VALUES (?1 ->> 'text')", [event.args.as_json()])?;
            tx.execute("INSERT INTO counts VALUES (?1, 1) ON CONFLICT DO UPDATE SET n = n + 1", [&event.client_id])?;
            Ok(())
        })
        .materialiser("fail", |_, _| Err("told to".into()))
        .materialiser("panic", |_, _| panic!("told to"))
}

pub(crate) fn add(text: impl std::fmt::Display) -> NewEvent {
    NewEvent::new("add", serde_json::json!({ "text": text.to_string() })).unwrap()
}

pub(crate) async fn items(store: &LocalStore) -> Vec<String> {
    store
        .query(|connection| {
            connection.prepare("SELECT text FROM items ORDER BY place")?.query_map([], |row| row.get(0))?.collect()
        })
        .await
        .unwrap()
}

/// Waits for something, for ten seconds at most.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("in time")
}

pub(crate) async fn until(store: &LocalStore, is_it: impl FnMut(&Status) -> bool) {
    drop(soon(store.watch().wait_for(is_it)).await.unwrap());
}

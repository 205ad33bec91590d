//! What an object keeps beside its events: the 0.3 clients that it may have to continue.

use std::sync::Arc;
use std::time::Duration;

use worker::State;

use super::object::ObjectStore;
use crate::host::clients::Clients;
use crate::host::runtime::sleep;

/// Where the 0.3 clients are kept. The key-value API is there for every class, with SQLite or without.
const CLIENTS_KEY: &str = "livestore-sync:clients";

/// The largest value that every class takes is 128 KiB; the oldest clients give way.
const CLIENTS_BYTES_MAX: usize = 120_000;

/// Changes that come together are written together.
const SAVE_DELAY: Duration = Duration::from_millis(10);

pub(super) async fn load(state: &State) -> worker::Result<Clients> {
    let json: Option<String> = state.storage().get(CLIENTS_KEY).await?;
    Ok(json.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default())
}

/// Writes what is known of 0.3 clients whenever it changes, for as long as the object is in memory.
pub(super) async fn keep(state: std::rc::Rc<State>, store: Arc<ObjectStore>) {
    let changed = store.publisher().changed();
    let mut saved = String::new();
    loop {
        changed.notified().await;
        sleep(SAVE_DELAY).await;
        let json = encode(store.publisher().clients());
        if json == saved {
            continue;
        }
        if let Err(error) = state.storage().put(CLIENTS_KEY, json.as_str()).await {
            tracing::warn!(%error, "cannot keep what is known of 0.3 clients: they may miss events after a restart");
        }
        saved = json;
    }
}

fn encode(mut clients: Clients) -> String {
    loop {
        let json = serde_json::to_string(&clients).expect("clients have a JSON form");
        if json.len() <= CLIENTS_BYTES_MAX {
            return json;
        }
        let halve = |length: usize| length.div_ceil(2);
        clients.lost.drain(..halve(clients.lost.len()));
        clients.connected.drain(..halve(clients.connected.len()));
    }
}

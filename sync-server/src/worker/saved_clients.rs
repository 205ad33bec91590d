//! What an object keeps beside its events: the 0.3 clients that it may have to continue.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use worker::State;

use super::open_store::ObjectHost;
use super::platform::Isolate;
use crate::host::continuation::{Continuation, SavedClients};

/// Where the 0.3 clients are kept. The key-value API is there for every class, with SQLite or without.
const CLIENTS_KEY: &str = "livestore-sync:clients";

/// The largest value that every class takes is 128 KiB; the oldest clients give way.
const CLIENTS_BYTES_MAX: usize = 120_000;

pub(super) async fn load(state: &State) -> worker::Result<SavedClients> {
    let json: Option<String> = state.storage().get(CLIENTS_KEY).await?;
    Ok(json.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default())
}

/// Writes what is known of 0.3 clients whenever it changes, for as long as the object is in memory. It does not keep the
/// host there: when an object sleeps, nobody ends what waits for a change.
pub(super) fn keep(state: Rc<State>, host: &Arc<ObjectHost>) -> impl Future<Output = ()> + use<> {
    let changed = host.hub().continuation().changed();
    let (host, saved) = (Arc::downgrade(host), Rc::new(RefCell::new(String::new())));
    async move {
        let save = || {
            let (state, saved) = (Rc::clone(&state), Rc::clone(&saved));
            let json = host.upgrade().map(|host| encode(host.hub().saved_clients()));
            async move {
                match json {
                    Some(json) if json != *saved.borrow() => write(&state, json, &saved).await,
                    _ => true,
                }
            }
        };
        Continuation::save_changes(&changed, &Isolate, save).await;
    }
}

async fn write(state: &State, json: String, saved: &RefCell<String>) -> bool {
    // Nothing is kept of clients that are no more: the storage of an object that has no events stays empty.
    let storage = state.storage();
    let kept = if json == encode(SavedClients::default()) {
        storage.delete(CLIENTS_KEY).await.map(drop)
    } else {
        storage.put(CLIENTS_KEY, json.as_str()).await
    };
    if let Err(error) = kept {
        tracing::warn!(%error, "cannot keep what is known of 0.3 clients: they may miss events after a restart");
        return false;
    }
    saved.replace(json);
    true
}

fn encode(mut clients: SavedClients) -> String {
    loop {
        let json = serde_json::to_string(&clients).expect("clients have a JSON form");
        if json.len() <= CLIENTS_BYTES_MAX {
            return json;
        }
        clients.halve();
    }
}

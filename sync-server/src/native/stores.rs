//! The open stores of a native server: one [`Host`] per id, so that all connections of a store meet.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;

use tokio::sync::{Mutex, Notify, OnceCell};

use super::outbox::Outbox;
use super::saved_clients::ClientsFile;
use super::tokio::Tokio;
use crate::budget::{Budget, Holder};
use crate::event_log::{EventLog, SqliteFile, SqliteLog, StoreError};
use crate::hooks::{Asked, Hooks};
use crate::host::continuation::Continuation;
use crate::host::{Host, Hub, Seats, Shell};
use crate::limits::Limits;
use crate::platform::{Platform, iso_timestamp};
use crate::store::Store;

/// A host on tokio and SQLite.
pub(super) struct NativeShell<H>(PhantomData<H>);

impl<H: Hooks> Shell for NativeShell<H> {
    type Log = SqliteLog;
    type Hooks = H;
    type Link = Outbox;
    type Platform = Tokio;
}

pub(super) type NativeHost<H> = Host<NativeShell<H>>;

/// Opened once, by the first connection that asks; the others wait for it.
type Opening<H> = Arc<OnceCell<Arc<NativeHost<H>>>>;

/// Stores that are kept open without a connection; beyond them, idle ones are let go.
const IDLE_STORES_MAX: usize = 1_000;

/// The open stores: one [`Store`] per id, so that all its connections meet.
pub(super) struct Stores<H: Hooks> {
    file: SqliteFile,
    hooks: Arc<H>,
    limits: Limits,
    budget: Budget,
    clients: ClientsFile,
    open: Mutex<HashMap<Arc<str>, Opening<H>>>,
}

impl<H: Hooks> Stores<H> {
    pub(super) fn new(file: SqliteFile, clients: ClientsFile, hooks: Arc<H>, limits: Limits, budget: Budget) -> Self {
        Self { file, hooks, limits, budget, clients, open: Mutex::default() }
    }

    /// Told when what is known of 0.3 clients changes; then [`save`](Self::save).
    pub(super) fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.clients.changed)
    }

    /// Keeps what the next server must know of 0.3 clients.
    /// Returns whether that worked.
    pub(super) async fn save(&self) -> bool {
        let open = self.open.lock().await;
        let stores = open.iter().filter_map(|(id, cell)| cell.get().map(|host| (&**id, host.hub().saved_clients())));
        self.clients.save(stores.collect()).await
    }

    pub(super) async fn get(&self, id: &Arc<str>) -> Result<Arc<NativeHost<H>>, StoreError> {
        let cell = {
            let mut open = self.open.lock().await;
            if open.len() >= IDLE_STORES_MAX && !open.contains_key(id) {
                let now_ms = Tokio.now_ms();
                // A connection holds its store: an `Arc` that is alone is not in use.
                open.retain(|_, cell| {
                    let in_use = |host: &Arc<NativeHost<H>>| {
                        Arc::strong_count(host) > 1 || host.hub().continuation().has_lost(now_ms)
                    };
                    Arc::strong_count(cell) > 1 || cell.get().is_some_and(in_use)
                });
            }
            Arc::clone(open.entry(Arc::clone(id)).or_default())
        };
        let host = cell
            .get_or_try_init(|| async {
                let created_at = iso_timestamp(Tokio.now_ms());
                let log = self.file.store(id, created_at, self.limits.stores_max).await?;
                let budget = self.budget.child(Holder::Store, self.limits.store_bytes_max as u64);
                let hub = Hub::new(Continuation::new(self.changed()), None, budget.clone());
                let head = log.head().await?.seq_num;
                hub.restore(self.clients.left(id), head, Tokio.now_ms());
                let hooks = Asked::new(Arc::clone(&self.hooks), Tokio, self.limits.hook_timeout);
                let store = Store::new(log, hooks, hub);
                let connection_bytes_max = self.limits.connection_bytes_max as u64;
                let Limits { connections_per_store_max, connections_per_user_max, .. } = self.limits;
                let seats = Arc::new(Seats::new(connections_per_store_max, connections_per_user_max));
                Ok::<_, StoreError>(Arc::new(Host { store, platform: Tokio, budget, connection_bytes_max, seats }))
            })
            .await?;
        self.clients.taken_over(id);
        Ok(Arc::clone(host))
    }
}

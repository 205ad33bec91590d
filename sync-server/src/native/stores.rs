use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{Mutex, Notify, OnceCell};

use super::clients::ClientsFile;
use super::outbox::Outbox;
use crate::event_log::{EventLog, SqliteFile, SqliteLog, StoreError};
use crate::host::{HomeStore, Hub};
use crate::{Clock, Hooks, Store, iso_timestamp};

pub(super) type NativeStore<H> = HomeStore<SqliteLog, H, Outbox>;

/// Opened once, whoever asks first.
type Opening<H> = Arc<OnceCell<Arc<NativeStore<H>>>>;

/// Stores that are kept open without a connection; beyond them, idle ones are let go.
const IDLE_STORES_MAX: usize = 1_000;

/// The open stores: one [`Store`] per id, so that all its connections meet.
pub(super) struct Stores<H> {
    file: SqliteFile,
    hooks: Arc<H>,
    clock: Arc<dyn Clock>,
    stores_max: u32,
    clients: ClientsFile,
    open: Mutex<HashMap<Arc<str>, Opening<H>>>,
}

impl<H: Hooks> Stores<H> {
    pub(super) fn new(
        file: SqliteFile,
        clients: ClientsFile,
        hooks: Arc<H>,
        clock: Arc<dyn Clock>,
        stores_max: u32,
    ) -> Self {
        Self { file, hooks, clock, stores_max, clients, open: Mutex::default() }
    }

    /// Told when what is known of 0.3 clients changes; then [`save`](Self::save).
    pub(super) fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.clients.changed)
    }

    /// Keeps what the next server must know of 0.3 clients.
    pub(super) async fn save(&self) {
        let open = self.open.lock().await;
        let stores = open.iter().filter_map(|(id, cell)| cell.get().map(|store| (&**id, store.publisher().clients())));
        self.clients.save(stores.collect()).await;
    }

    pub(super) async fn get(&self, id: &Arc<str>) -> Result<Arc<NativeStore<H>>, StoreError> {
        let cell = {
            let mut open = self.open.lock().await;
            if open.len() >= IDLE_STORES_MAX && !open.contains_key(id) {
                let now_ms = self.clock.now_ms();
                // Whoever uses a store holds it: an `Arc` that is alone belongs to nobody.
                open.retain(|_, cell| {
                    Arc::strong_count(cell) > 1
                        || cell
                            .get()
                            .is_some_and(|store| Arc::strong_count(store) > 1 || store.publisher().has_lost(now_ms))
                });
            }
            Arc::clone(open.entry(Arc::clone(id)).or_default())
        };
        let store = cell
            .get_or_try_init(|| async {
                let created_at = iso_timestamp(self.clock.now_ms());
                let log = self.file.store(id, created_at, self.stores_max).await?;
                let (hooks, clock) = (Arc::clone(&self.hooks), Arc::clone(&self.clock));
                let left = self.clients.take(id);
                let hub = Hub::new(self.changed());
                hub.restore(left, log.tip().await?.head, self.clock.now_ms());
                Ok::<_, StoreError>(Arc::new(Store::new(log, hooks, hub, clock)))
            })
            .await?;
        Ok(Arc::clone(store))
    }
}

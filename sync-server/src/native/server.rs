//! A server on tokio: what it is made of, and how it starts and stops. `http` answers its requests.

use std::sync::{Arc, Once};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::HeaderMap;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accept;
use super::memory;
use super::options::Builder;
use super::places::Places;
use super::saved_clients::ClientsFile;
use super::stores::Stores;
use super::tokio::Tokio;
use crate::budget::Budget;
use crate::event_log::{OpenError, SqliteFile};
use crate::hooks::{Asked, Hooks};
use crate::host::continuation::Continuation;
use crate::limits::Limits;
use crate::request::Origins;

/// How long admitted pushes, answers and closing handshakes may take when the server stops. Service managers and
/// `docker stop` kill after ten seconds, all in all.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the tasks of connections may take to end once these are dropped.
const DROP_TIMEOUT: Duration = Duration::from_secs(1);

/// A sync server. Cheap to clone; all clones are one server.
pub struct Server<H: Hooks>(pub(super) Arc<Inner<H>>);

impl<H: Hooks> Clone for Server<H> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

pub(super) struct Inner<H: Hooks> {
    pub(super) stores: Stores<H>,
    /// What all connections make it hold.
    pub(super) budget: Budget,
    pub(super) hooks: Asked<H, Tokio>,
    pub(super) limits: Limits,
    pub(super) origins: Origins,
    pub(super) trusted_proxies: usize,
    pub(super) compression: bool,
    pub(super) response_headers: HeaderMap,
    pub(super) places: Places,
    /// The connections that this server has accepted itself.
    pub(super) connections: TaskTracker,
    pub(super) sockets: TaskTracker,
    /// HTTP requests that are being answered. They go on when their client is gone.
    pub(super) exchanges: TaskTracker,
    /// Fires when the server stops.
    pub(super) stopping: CancellationToken,
    /// Fires when it has waited for long enough: what is still there is dropped.
    pub(super) dropping: CancellationToken,
    saving: Once,
}

impl<H: Hooks> Server<H> {
    /// A server with these settings. Opens the data file.
    pub(super) fn open(settings: Builder<H>) -> Result<Self, OpenError> {
        let Builder { data, synchronous, hooks, limits, origins, trusted_proxies, compression, response_headers } =
            settings;
        // Behind a proxy all connections come from its address, and whose they are is said per request.
        let per_address_max =
            if trusted_proxies == 0 { limits.connections_per_address_max } else { limits.connections_max };
        let file = SqliteFile::open(&data, synchronous)?;
        let hooks = Arc::new(hooks);
        let budget = Budget::process(memory::for_connections(
            limits.memory_bytes_max.map_or_else(memory::share, |bytes| bytes as u64),
        ));
        Ok(Self(Arc::new(Inner {
            stores: Stores::new(file, ClientsFile::open(&data), Arc::clone(&hooks), limits, budget.clone()),
            budget,
            hooks: Asked::new(hooks, Tokio, limits.hook_timeout),
            limits,
            origins,
            trusted_proxies,
            compression,
            response_headers,
            places: Places::new(limits.connections_max, per_address_max),
            connections: TaskTracker::new(),
            sockets: TaskTracker::new(),
            exchanges: TaskTracker::new(),
            stopping: CancellationToken::new(),
            dropping: CancellationToken::new(),
            saving: Once::new(),
        })))
    }

    /// The routes, for an app of your own: as its fallback, or nested below a path. Call
    /// [`shutdown`](Self::shutdown) when the app stops. Connections are then the app's: its server sets how long
    /// they may take for their requests and for reading answers, and each request takes a place here.
    pub fn router(&self) -> Router {
        let server = self.clone();
        Router::new().fallback(move |request: Request| {
            let server = server.clone();
            async move { server.respond(request).await }
        })
    }

    /// Serves until `shutdown` is ready, then finishes what was admitted and closes all connections.
    ///
    /// # Errors
    ///
    /// None for now: what fails on the listener is logged and tried again.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it stops at once; what was acknowledged is stored.
    pub async fn serve(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let server = self.clone();
        let (stopped, stop) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            shutdown.await;
            server.shutdown().await;
            // Whoever served may have been dropped.
            let _ = stopped.send(());
        });
        accept::run(self, listener).await;
        let _ = stop.await;
        Ok(())
    }

    /// Finishes admitted pushes and closes all WebSockets with code 1012. New ones are refused. After five seconds,
    /// what is still there is dropped, whatever it waits for.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again; what 0.3 clients need after a restart is kept at its end.
    pub async fn shutdown(&self) {
        let Inner { connections, sockets, exchanges, stopping, dropping, stores, .. } = &*self.0;
        stopping.cancel();
        let trackers = [exchanges, sockets, connections];
        for tracker in trackers {
            tracker.close();
        }
        let all = async || {
            for tracker in trackers {
                tracker.wait().await;
            }
        };
        if timeout(STOP_TIMEOUT, all()).await.is_err() {
            tracing::warn!("dropping connections that do not come to an end");
            dropping.cancel();
            // What is left is a push that the disk has not taken yet, which nobody has been told of.
            let _ = timeout(DROP_TIMEOUT, all()).await;
        }
        stores.save().await;
    }

    /// Keeps what is known of 0.3 clients up to date on disk, from the first store on that is opened.
    pub(super) fn keep_clients(&self) {
        self.0.saving.call_once(|| {
            let (inner, changed) = (Arc::downgrade(&self.0), self.0.stores.changed());
            tokio::spawn(async move {
                let save = || {
                    let inner = inner.upgrade();
                    async move {
                        match inner {
                            Some(inner) => inner.stores.save().await,
                            None => true,
                        }
                    }
                };
                Continuation::save_changes(&changed, &Tokio, save).await;
            });
        });
    }
}

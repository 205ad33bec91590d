//! A server on tokio: what it is made of, and how it starts and stops. `http` answers its requests.

use std::net::SocketAddr;
use std::sync::{Arc, Once};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::memory;
use super::options::Builder;
use super::saved_clients::ClientsFile;
use super::stores::Stores;
use super::tokio::Tokio;
use crate::budget::Budget;
use crate::event_log::{OpenError, SqliteFile};
use crate::hooks::{Asked, Hooks};
use crate::host::continuation::Continuation;
use crate::limits::Limits;

/// How long admitted pushes and closing handshakes may take when the server stops.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// A sync server. Cheap to clone; all clones are one server.
pub struct Server<H: Hooks>(pub(super) Arc<Inner<H>>);

impl<H: Hooks> Clone for Server<H> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

pub(super) struct Inner<H: Hooks> {
    pub(super) stores: Stores<H>,
    pub(super) hooks: Asked<H, Tokio>,
    pub(super) limits: Limits,
    pub(super) enable_cors: bool,
    pub(super) trusted_proxies: usize,
    pub(super) response_headers: HeaderMap,
    /// A place for each WebSocket and each HTTP request.
    pub(super) connections: Arc<Semaphore>,
    pub(super) sockets: TaskTracker,
    /// HTTP requests that are being answered. They go on when their client is gone.
    pub(super) exchanges: TaskTracker,
    /// Fires when the server stops.
    pub(super) stopping: CancellationToken,
    saving: Once,
}

impl<H: Hooks> Server<H> {
    /// A server with these settings. Opens the data file.
    pub(super) fn open(settings: Builder<H>) -> Result<Self, OpenError> {
        let Builder { data, synchronous, hooks, limits, enable_cors, trusted_proxies, response_headers } = settings;
        let file = SqliteFile::open(&data, synchronous)?;
        let hooks = Arc::new(hooks);
        let budget = Budget::process(limits.memory_bytes_max.map_or_else(memory::share, |bytes| bytes as u64));
        Ok(Self(Arc::new(Inner {
            stores: Stores::new(file, ClientsFile::open(&data), Arc::clone(&hooks), limits, budget),
            hooks: Asked::new(hooks, Tokio, limits.hook_timeout),
            limits,
            enable_cors,
            trusted_proxies,
            response_headers,
            connections: Arc::new(Semaphore::new(limits.connections_max)),
            sockets: TaskTracker::new(),
            exchanges: TaskTracker::new(),
            stopping: CancellationToken::new(),
            saving: Once::new(),
        })))
    }

    /// The routes, for an app of your own: as its fallback, or nested below a path. Call
    /// [`shutdown`](Self::shutdown) when the app stops.
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
    /// When the listener fails.
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
        let stopping = self.0.stopping.clone();
        let (stopped, stop) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            shutdown.await;
            server.shutdown().await;
            // Once the listener has failed, nothing waits for it.
            let _ = stopped.send(());
        });
        // Small frames must not wait for the acknowledgements of those before them.
        let listener = listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "cannot set TCP_NODELAY");
            }
        });
        let serving = axum::serve(listener, self.router().into_make_service_with_connect_info::<SocketAddr>())
            .with_graceful_shutdown(stopping.cancelled_owned());
        tokio::select! {
            served = serving.into_future() => served?,
            _ = self.linger() => {}
        }
        let _ = stop.await;
        Ok(())
    }

    /// Ends once stopping has taken as long as it may.
    async fn linger(&self) {
        self.0.stopping.cancelled().await;
        tokio::time::sleep(SHUTDOWN_TIMEOUT).await;
    }

    /// Finishes admitted pushes and closes all WebSockets with code 1012. New ones are refused.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again; what 0.3 clients need after a restart is kept at its end.
    pub async fn shutdown(&self) {
        self.0.stopping.cancel();
        self.0.exchanges.close();
        self.0.sockets.close();
        let all = async {
            self.0.sockets.wait().await;
            self.0.exchanges.wait().await;
        };
        if timeout(SHUTDOWN_TIMEOUT, all).await.is_err() {
            tracing::warn!("some connections did not close in time");
        }
        self.0.stores.save().await;
    }

    /// Keeps what is known of 0.3 clients up to date on disk, from their first connection on.
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

//! A server on tokio: what it is made of, and how it starts and stops. `http` answers its requests.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::saved_clients::ClientsFile;
use super::stores::Stores;
use super::tokio::Tokio;
use crate::event_log::{OpenError, SqliteFile, Synchronous};
use crate::hooks::Hooks;
use crate::host::FRAME_BYTES_MAX;
use crate::host::continuation::Continuation;

/// How long admitted pushes and closing handshakes may take when the server stops.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// What one server takes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Size of one WebSocket frame or HTTP body, in bytes.
    pub frame_bytes_max: usize,
    /// WebSockets and HTTP requests at once.
    pub connections_max: usize,
    /// Stores in the data file.
    pub stores_max: u32,
    /// Bytes that may wait for one WebSocket before it is closed as too slow.
    pub queue_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes_max: FRAME_BYTES_MAX,
            connections_max: 10_000,
            stores_max: 100_000,
            queue_bytes_max: 32 * 1024 * 1024,
        }
    }
}

/// Settings of a [`Server`].
pub struct Builder<H> {
    data: PathBuf,
    synchronous: Synchronous,
    hooks: H,
    limits: Limits,
    cors: bool,
}

impl Server<()> {
    /// A server that keeps its data in this folder, allows everything and has the default limits.
    #[must_use]
    pub fn builder(data: impl AsRef<Path>) -> Builder<()> {
        Builder {
            data: data.as_ref().to_owned(),
            synchronous: Synchronous::default(),
            hooks: (),
            limits: Limits::default(),
            cors: false,
        }
    }
}

impl<H: Hooks> Builder<H> {
    /// The app's hooks.
    #[must_use]
    pub fn hooks<N: Hooks>(self, hooks: N) -> Builder<N> {
        let Self { data, synchronous, limits, cors, hooks: _ } = self;
        Builder { data, synchronous, hooks, limits, cors }
    }

    /// When a push counts as durable; the disk must have it, unless this says otherwise.
    #[must_use]
    pub fn synchronous(mut self, synchronous: Synchronous) -> Self {
        self.synchronous = synchronous;
        self
    }

    /// The limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Whether browsers on other origins may use the http transport.
    #[must_use]
    pub fn cors(mut self, cors: bool) -> Self {
        self.cors = cors;
        self
    }

    /// Opens the data file.
    ///
    /// # Errors
    ///
    /// [`OpenError`], also when another process uses the folder.
    pub fn build(self) -> Result<Server<H>, OpenError> {
        let Self { data, synchronous, hooks, limits, cors } = self;
        let file = SqliteFile::open(&data, synchronous)?;
        let hooks = Arc::new(hooks);
        Ok(Server(Arc::new(Inner {
            stores: Stores::new(file, ClientsFile::open(&data), Arc::clone(&hooks), limits.stores_max),
            hooks,
            limits,
            cors,
            connections: Arc::new(Semaphore::new(limits.connections_max)),
            sockets: TaskTracker::new(),
            exchanges: TaskTracker::new(),
            stopping: CancellationToken::new(),
            saving: Once::new(),
        })))
    }
}

/// A sync server. Cheap to clone; all clones are one server.
pub struct Server<H: Hooks>(pub(super) Arc<Inner<H>>);

impl<H: Hooks> Clone for Server<H> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

pub(super) struct Inner<H: Hooks> {
    pub(super) stores: Stores<H>,
    pub(super) hooks: Arc<H>,
    pub(super) limits: Limits,
    pub(super) cors: bool,
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
            // Nobody waits for it once the listener has failed.
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

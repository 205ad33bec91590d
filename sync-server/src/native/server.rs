use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{ConnectInfo, FromRequestParts, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::clients::{ClientsFile, SAVE_DELAY};
use super::socket::{self, Home};
use super::stores::{NativeStore, Stores};
use crate::event_log::{OpenError, SqliteFile, StoreError, Synchronous};
use crate::host::exchange::{self, FRAMES_WAITING_MAX, Framing};
use crate::host::{FRAME_BYTES_MAX, guarded};
use crate::protocol::Generation;
use crate::protocol::target::Target;
use crate::request::{self, Parts, Refused, Route, route};
use crate::{Clock, Connection, Hooks, Proof, Session, Transport, connection_id, iso_timestamp};

/// How long admitted pushes and closing handshakes may take when the server stops.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the body of an HTTP request may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// What a socket reads at once. It is cleared before each read, so that the library's 128 KiB would
/// cost more than all else when frames are small.
const READ_BUFFER_BYTES: usize = 16 * 1024;

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
        let (hooks, clock) = (Arc::new(hooks), Arc::new(system_clock) as Arc<dyn Clock>);
        Ok(Server(Arc::new(Inner {
            stores: Stores::new(
                file,
                ClientsFile::open(&data),
                Arc::clone(&hooks),
                Arc::clone(&clock),
                limits.stores_max,
            ),
            hooks,
            clock,
            limits,
            cors,
            connections: Arc::new(Semaphore::new(limits.connections_max)),
            sockets: TaskTracker::new(),
            pushes: TaskTracker::new(),
            stopping: CancellationToken::new(),
            saving: Once::new(),
        })))
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place where the native server asks for the time")]
fn system_clock() -> u64 {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since_1970.map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// A sync server. Cheap to clone; all clones are one server.
pub struct Server<H>(Arc<Inner<H>>);

impl<H> Clone for Server<H> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Inner<H> {
    stores: Stores<H>,
    hooks: Arc<H>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    cors: bool,
    connections: Arc<Semaphore>,
    sockets: TaskTracker,
    pushes: TaskTracker,
    stopping: CancellationToken,
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
        self.0.pushes.close();
        self.0.sockets.close();
        let all = async {
            self.0.sockets.wait().await;
            self.0.pushes.wait().await;
        };
        if timeout(SHUTDOWN_TIMEOUT, all).await.is_err() {
            tracing::warn!("some connections did not close in time");
        }
        self.0.stores.save().await;
    }

    async fn respond(&self, request: Request) -> Response {
        let cors = self.0.cors.then(|| cors_headers(request.headers()));
        let mut response = self.answer(request).await;
        response.headers_mut().extend(cors.into_iter().flatten());
        response
    }

    async fn answer(&self, request: Request) -> Response {
        let headers = request.headers();
        let parts = Parts {
            method: request.method().as_str(),
            path: request.uri().path(),
            query: request.uri().query().unwrap_or_default(),
            upgrade: headers.get(header::UPGRADE).and_then(|value| value.to_str().ok()),
            cors: self.0.cors,
        };
        match route(&parts) {
            Route::Info => request::INFO.into_response(),
            Route::Preflight => StatusCode::NO_CONTENT.into_response(),
            Route::Refused(Refused { status, text }) => text_response(status, text),
            Route::V03 { target, upgrade } => {
                let session = |connection, now_ms| Session::v03(connection, Proof::Pongs, now_ms);
                self.upgrade(request, target, upgrade, Generation::V03, session).await
            }
            Route::Ws { target, upgrade } => {
                self.upgrade(request, target, upgrade, Generation::V04, Session::rpc).await
            }
            Route::Http { target } => self.post(request, target).await,
        }
    }

    /// What every connection needs: a place, the app's consent, the store.
    async fn connect(
        &self,
        headers: &HeaderMap,
        target: Target,
        transport: Transport,
        generation: Generation,
    ) -> Result<(OwnedSemaphorePermit, Arc<Connection>), Response> {
        if self.0.stopping.is_cancelled() {
            return Err(text_response(503, "The server is stopping."));
        }
        let permit = Arc::clone(&self.0.connections)
            .try_acquire_owned()
            .map_err(|_| text_response(503, "This server has as many connections as it may. Try again later."))?;
        let now_ms = self.0.clock.now_ms();
        let connection = Arc::new(Connection {
            id: connection_id(now_ms),
            connected_at: iso_timestamp(now_ms),
            store_id: target.store_id.into(),
            payload: target.payload,
            headers: headers
                .iter()
                .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
                .collect(),
            transport,
            generation,
        });
        let valid = guarded(self.0.hooks.validate_payload(Arc::clone(&connection))).await;
        if let Err(error) = valid.and_then(|valid| valid) {
            return Err(text_response(400, error.to_string()));
        }
        Ok((permit, connection))
    }

    async fn store(&self, connection: &Connection) -> Result<Arc<NativeStore<H>>, Response> {
        self.0.stores.get(&connection.store_id).await.map_err(|error| match error {
            StoreError::TooManyStores(_) => text_response(503, format!("New stores are refused: {error}.")),
            StoreError::Log(error) => {
                tracing::error!(%error, store_id = &*connection.store_id, "cannot open a store");
                text_response(500, "The server cannot reach its event log.")
            }
        })
    }

    /// Keeps what is known of 0.3 clients up to date on disk, from their first connection on.
    fn keep_clients(&self) {
        self.0.saving.call_once(|| {
            let (inner, changed) = (Arc::downgrade(&self.0), self.0.stores.changed());
            tokio::spawn(async move {
                loop {
                    changed.notified().await;
                    tokio::time::sleep(SAVE_DELAY).await;
                    let Some(inner) = inner.upgrade() else { return };
                    inner.stores.save().await;
                }
            });
        });
    }

    async fn upgrade(
        &self,
        request: Request,
        target: Target,
        upgrade: bool,
        generation: Generation,
        session: impl FnOnce(Uuid, u64) -> Session,
    ) -> Response {
        let (mut parts, _) = request.into_parts();
        let (permit, connection) = match self.connect(&parts.headers, target, Transport::Ws, generation).await {
            Ok(connected) => connected,
            Err(response) => return response,
        };
        if !upgrade {
            return text_response(426, request::UPGRADE_REQUIRED);
        }
        let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
            Ok(upgrade) => upgrade,
            Err(rejection) => return rejection.into_response(),
        };
        let store = match self.store(&connection).await {
            Ok(store) => store,
            Err(response) => return response,
        };
        let inner = &self.0;
        let home = Home {
            store,
            clock: Arc::clone(&inner.clock),
            pushes: inner.pushes.clone(),
            stopping: inner.stopping.clone(),
            queue_bytes_max: inner.limits.queue_bytes_max,
        };
        if generation == Generation::V03 {
            self.keep_clients();
        }
        let session = session(connection.id, inner.clock.now_ms());
        let sockets = inner.sockets.token();
        // An app that does not tell gets all clients alike, which is safe but less exact.
        let address =
            parts.extensions.get::<ConnectInfo<SocketAddr>>().map_or(Ipv4Addr::UNSPECIFIED.into(), |info| info.0.ip());
        upgrade
            .read_buffer_size(READ_BUFFER_BYTES)
            .max_message_size(inner.limits.frame_bytes_max)
            .max_frame_size(inner.limits.frame_bytes_max)
            .on_upgrade(async move |socket| {
                let _held = (permit, sockets);
                socket::serve(socket, home, connection, address, session).await;
            })
    }

    async fn post(&self, request: Request, target: Target) -> Response {
        let (parts, body) = request.into_parts();
        let (permit, connection) = match self.connect(&parts.headers, target, Transport::Http, Generation::V04).await {
            Ok(connected) => connected,
            Err(response) => return response,
        };
        let limit = self.0.limits.frame_bytes_max;
        let Ok(body) = timeout(BODY_TIMEOUT, axum::body::to_bytes(body, limit)).await else {
            return text_response(408, "The body did not come in time.");
        };
        let Ok(body) = body else {
            return text_response(413, format!("The body is cut short, or larger than {limit} bytes."));
        };
        let Ok(body) = String::from_utf8(body.into()) else {
            return text_response(400, "The body is not UTF-8.");
        };
        let store = match self.store(&connection).await {
            Ok(store) => store,
            Err(response) => return response,
        };
        let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let framing = Framing::from_content_type(content_type);
        let (frames, receiver) = mpsc::channel(FRAMES_WAITING_MAX);
        let now_ms = self.0.clock.now_ms();
        // In a task of its own: a client that goes away cannot stop a push between its commit and its
        // publication.
        self.0.pushes.spawn(async move {
            exchange::answer(&store, &connection, &body, framing, frames, now_ms).await;
            drop(permit);
        });
        let stream = futures_util::stream::unfold(receiver, async |mut receiver| {
            receiver.recv().await.map(|frame| (Ok::<_, std::convert::Infallible>(frame), receiver))
        });
        ([(header::CONTENT_TYPE, framing.content_type())], Body::from_stream(stream)).into_response()
    }
}

fn text_response(status: u16, text: impl Into<Body>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text.into()).into_response()
}

fn cors_headers(request: &HeaderMap) -> HeaderMap {
    let asked = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    HeaderMap::from_iter([
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
        (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS")),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, asked.unwrap_or(HeaderValue::from_static("*"))),
    ])
}

//! The requests of a native server: each is answered, becomes a socket, or is handed to `host` as an exchange.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{ConnectInfo, FromRequestParts, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::Server;
use super::socket::{self, Accepted};
use super::stores::NativeHost;
use super::tokio::Tokio;
use crate::event_log::StoreError;
use crate::hooks::{Connection, Hooks, Transport};
use crate::host::exchange::{Framing, exchange};
use crate::host::{client_address, fingerprint, patience};
use crate::platform::{Platform, connection_id};
use crate::protocol::Generation;
use crate::request::{self, Refused, RequestParts, Route, SyncRequest, route};

/// How long the body of an HTTP request may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// What a socket reads at once. It is cleared before each read, so that the library's 128 KiB would
/// cost more than all else when frames are small.
const READ_BUFFER_BYTES: usize = 16 * 1024;

impl<H: Hooks> Server<H> {
    pub(super) async fn respond(&self, request: Request) -> Response {
        let cors = self.0.enable_cors.then(|| cors_headers(request.headers()));
        let mut response = self.answer(request).await;
        response.headers_mut().extend(cors.into_iter().flatten());
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().extend(self.0.response_headers.clone());
        }
        response
    }

    async fn answer(&self, request: Request) -> Response {
        let parts = RequestParts {
            method: request.method().as_str(),
            path: request.uri().path(),
            query: request.uri().query().unwrap_or_default(),
            upgrade: request.headers().get(header::UPGRADE).and_then(|value| value.to_str().ok()),
            cors: self.0.enable_cors,
        };
        let answered = match route(&parts) {
            Route::Info => return request::INFO.into_response(),
            Route::Preflight => return StatusCode::NO_CONTENT.into_response(),
            Route::Refused(refused) => Err(refused),
            Route::Sync(sync) if sync.transport() == Transport::Ws => self.upgrade(request, sync).await,
            Route::Sync(sync) => self.exchange(request, sync).await,
        };
        answered.unwrap_or_else(|Refused { status, text }| text_response(status, text))
    }

    /// Takes a place and asks the app.
    async fn admit(
        &self,
        headers: &HeaderMap,
        sync: SyncRequest,
    ) -> Result<(OwnedSemaphorePermit, Arc<Connection>), Refused> {
        if self.0.stopping.is_cancelled() {
            return Err(Refused { status: 503, text: "The server is stopping.".into() });
        }
        let places = Arc::clone(&self.0.connections);
        let place = places.try_acquire_owned().map_err(|_| Refused::too_many_connections("This server"))?;
        let now_ms = Tokio.now_ms();
        let headers = headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        let upgrade = sync.check_upgrade();
        let connection = Arc::new(sync.into_connection(connection_id(now_ms), now_ms, headers.collect()));
        let mut failures = 0;
        loop {
            match self.0.hooks.validate_payload(Arc::clone(&connection)).await {
                Ok(Ok(())) => break,
                Ok(Err(error)) => return Err(Refused { status: 400, text: error.to_string() }),
                Err(failure) => wait(connection.transport, &mut failures, || Refused::failed(failure)).await?,
            }
        }
        upgrade?;
        Ok((place, connection))
    }

    async fn open_store(&self, connection: &Connection) -> Result<Arc<NativeHost<H>>, Refused> {
        let mut failures = 0;
        loop {
            match self.0.stores.get(&connection.store_id).await {
                Ok(host) => return Ok(host),
                Err(error @ StoreError::TooManyStores(_)) => {
                    return Err(Refused { status: 503, text: format!("New stores are refused: {error}.") });
                }
                Err(StoreError::Log(error)) => {
                    tracing::error!(%error, store_id = &*connection.store_id, "cannot open a store");
                    wait(connection.transport, &mut failures, Refused::log_unreachable).await?;
                }
            }
        }
    }

    async fn upgrade(&self, request: Request, sync: SyncRequest) -> Result<Response, Refused> {
        let (mut parts, _) = request.into_parts();
        let (place, connection) = self.admit(&parts.headers, sync).await?;
        let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
            Ok(upgrade) => upgrade,
            Err(rejection) => return Ok(rejection.into_response()),
        };
        let host = self.open_store(&connection).await?;
        if connection.generation == Generation::V03 {
            self.keep_clients();
        }
        // An app that does not tell gets all clients alike, which is safe but less exact.
        let address =
            parts.extensions.get::<ConnectInfo<SocketAddr>>().map_or(Ipv4Addr::UNSPECIFIED.into(), |info| info.0.ip());
        let forwarded = connection.headers.iter().filter(|(name, _)| name == "x-forwarded-for");
        let forwarded = forwarded.map(|(_, value)| value.as_str());
        let address = client_address(&address.to_string(), forwarded, self.0.trusted_proxies);
        let fingerprint = fingerprint(&connection, &address, connection.header("user-agent"));
        let accepted = Accepted { host, connection, fingerprint, stopping: self.0.stopping.clone() };
        let (token, frame_bytes_max) = (self.0.sockets.token(), self.0.limits.frame_bytes_max);
        Ok(upgrade
            .read_buffer_size(READ_BUFFER_BYTES)
            .max_message_size(frame_bytes_max)
            .max_frame_size(frame_bytes_max)
            .on_upgrade(async move |socket| {
                let _until_it_ends = (place, token);
                socket::serve(socket, accepted).await;
            }))
    }

    async fn exchange(&self, request: Request, sync: SyncRequest) -> Result<Response, Refused> {
        let (parts, body) = request.into_parts();
        let (place, connection) = self.admit(&parts.headers, sync).await?;
        let limit = self.0.limits.frame_bytes_max;
        let body = timeout(BODY_TIMEOUT, axum::body::to_bytes(body, limit)).await;
        let body = body.map_err(|_| Refused { status: 408, text: "The body did not come in time.".into() })?;
        let body = request::body_text(body.map_err(|_| Refused::body_too_large(limit))?.into())?;
        let host = self.open_store(&connection).await?;
        let budget = host.connection_budget();
        let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let framing = Framing::from_content_type(content_type);
        let (work, frames) = exchange(host, connection, budget, body, framing, || ());
        self.0.exchanges.spawn(async move {
            work.await;
            drop(place);
        });
        let body = Body::from_stream(frames.map(Ok::<_, Infallible>));
        Ok(([(header::CONTENT_TYPE, framing.content_type())], body).into_response())
    }
}

/// Waits before something of ours is tried again for a request. A client that wants a WebSocket is refused and comes
/// back by itself; published ones over http do not, whatever they are answered. If one goes, so does its request.
async fn wait(transport: Transport, failures: &mut u32, refused: impl FnOnce() -> Refused) -> Result<(), Refused> {
    if transport != Transport::Http {
        return Err(refused());
    }
    *failures += 1;
    Tokio.sleep(patience::pause(*failures)).await;
    Ok(())
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

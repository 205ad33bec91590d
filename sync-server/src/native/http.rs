//! The requests of a native server: each is answered, becomes a socket, or is handed to `host` as an exchange.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tungstenite::handshake::server::create_response_with_body;

use super::Server;
use super::connection::{PEER_SILENCE_MAX, Seat};
use super::deflate;
use super::socket::{self, Accepted};
use super::stores::NativeHost;
use super::tokio::Tokio;
use crate::budget::{Budget, Held};
use crate::event_log::StoreError;
use crate::hooks::{Connection, Hooks, Transport};
use crate::host::exchange::{Framing, exchange};
use crate::host::{client_address, fingerprint, patience};
use crate::platform::{Platform, connection_id};
use crate::request::{self, Asking, Cors, HEADERS_BYTES_MAX, Refused, RequestParts, Route, SyncRequest, route};

impl<H: Hooks> Server<H> {
    pub(super) async fn respond(&self, request: Request) -> Response {
        let cors = self.0.origins.cors(asking(request.headers())).map(|cors| cors_headers(cors, request.headers()));
        let mut response = self.answer(request, cors.is_some()).await;
        response.headers_mut().extend(cors.into_iter().flatten());
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().extend(self.0.response_headers.clone());
        }
        response
    }

    async fn answer(&self, request: Request, cors: bool) -> Response {
        let headers = request.headers();
        let parts = RequestParts {
            method: request.method().as_str(),
            path: request.uri().path(),
            query: request.uri().query().unwrap_or_default(),
            upgrade: text_of(headers, header::UPGRADE),
            cors,
        };
        let answered = match route(&parts) {
            Route::Info => return request::INFO.into_response(),
            Route::Preflight => return StatusCode::NO_CONTENT.into_response(),
            Route::Refused(refused) => Err(refused),
            Route::Sync(sync) => {
                let content_type = text_of(headers, header::CONTENT_TYPE);
                match sync.check_page(&self.0.origins, asking(headers), content_type) {
                    Err(refused) => Err(refused),
                    Ok(()) if sync.transport() == Transport::Ws => self.upgrade(request, sync).await,
                    Ok(()) => self.exchange(request, sync).await,
                }
            }
        };
        answered.unwrap_or_else(|Refused { status, text }| text_response(status, text))
    }

    /// Takes a place, unless the connection has one, and asks the app.
    async fn admit(
        &self,
        request: &axum::http::request::Parts,
        sync: SyncRequest,
    ) -> Result<(Seat, Arc<Connection>), Refused> {
        if self.0.stopping.is_cancelled() {
            return Err(Refused { status: 503, text: "The server is stopping.".into() });
        }
        let bytes = request.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
        if bytes > HEADERS_BYTES_MAX {
            return Err(Refused::headers_too_large());
        }
        let place = match request.extensions.get::<Seat>() {
            Some(seat) => seat.clone(),
            None => self.0.places.take(address(&request.extensions).map(|address| address.ip()))?.into(),
        };
        let now_ms = Tokio.now_ms();
        let headers = request
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        let upgrade = sync.check_upgrade();
        let trusted = self.0.origins.trusts(asking(&request.headers));
        let connection = sync.into_connection(connection_id(now_ms), now_ms, headers.collect());
        let connection = Arc::new(connection.with_trusted_origin(trusted));
        let mut failures = 0;
        let connection = loop {
            match self.0.hooks.authenticate(&connection).await {
                Ok(Ok(connection)) => break connection,
                Ok(Err(error)) => return Err(Refused::rejected(&error)),
                Err(failure) => wait(connection.transport, &mut failures, || Refused::failed(failure)).await?,
            }
        };
        upgrade?;
        Ok((place, connection))
    }

    async fn open_store(&self, connection: &Connection) -> Result<Arc<NativeHost<H>>, Refused> {
        self.keep_clients();
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
        let (place, connection) = self.admit(&parts, sync).await?;
        let upgrade = parts.extensions.remove::<OnUpgrade>();
        let address = address(&parts.extensions);
        let request = axum::http::Request::from_parts(parts, ());
        let (mut response, upgrade) = match (create_response_with_body(&request, Body::empty), upgrade) {
            (Ok(response), Some(upgrade)) => (response, upgrade),
            (Err(error), _) => return Err(Refused { status: 400, text: format!("No WebSocket: {error}.") }),
            (Ok(_), None) => return Err(Refused { status: 426, text: "This connection cannot be upgraded.".into() }),
        };
        let offers = request.headers().get_all(header::SEC_WEBSOCKET_EXTENSIONS);
        let deflate =
            self.0.compression && deflate::is_acceptable(offers.iter().filter_map(|offer| offer.to_str().ok()));
        if deflate {
            response.headers_mut().insert(header::SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(deflate::ANSWER));
        }
        let host = self.open_store(&connection).await?;
        let seat = host.seats.take(&connection).map_err(|full| Refused { status: 503, text: full.to_string() })?;
        // An app that does not tell gets all clients alike, which is safe but less exact.
        let address = address.map_or(Ipv4Addr::UNSPECIFIED.into(), |address| address.ip());
        let forwarded = connection.headers.iter().filter(|(name, _)| name == "x-forwarded-for");
        let forwarded = forwarded.map(|(_, value)| value.as_str());
        let address = client_address(&address.to_string(), forwarded, self.0.trusted_proxies);
        let fingerprint = fingerprint(&connection, &address, connection.header("user-agent"));
        let accepted = Accepted {
            host,
            connection,
            fingerprint,
            seat,
            stopping: self.0.stopping.clone(),
            dropping: self.0.dropping.clone(),
            frame_bytes_max: self.0.limits.frame_bytes_max,
            expiry_grace: self.0.limits.expiry_grace,
            deflate,
        };
        let until_it_ends = (place, self.0.sockets.token());
        tokio::spawn(async move {
            match upgrade.await {
                Ok(stream) => socket::serve(TokioIo::new(stream), accepted).await,
                Err(error) => tracing::debug!(%error, "a connection has ended before it was a WebSocket"),
            }
            drop(until_it_ends);
        });
        Ok(response)
    }

    async fn exchange(&self, request: Request, sync: SyncRequest) -> Result<Response, Refused> {
        let (parts, body) = request.into_parts();
        let (place, connection) = self.admit(&parts, sync).await?;
        let host = self.open_store(&connection).await?;
        let budget = host.connection_budget();
        let (body, held) = self.body(body, &budget).await?;
        let framing = Framing::from_content_type(text_of(&parts.headers, header::CONTENT_TYPE));
        let (work, frames) = exchange(host, connection, budget, body, framing, || ());
        self.0.exchanges.spawn(async move {
            // What the body asks for is counted from here on.
            drop(held);
            work.await;
            drop(place);
        });
        let body = Body::from_stream(frames.map(Ok::<_, Infallible>));
        Ok(([(header::CONTENT_TYPE, framing.content_type())], body).into_response())
    }

    /// The text of a body. Its bytes are counted as they come, and may come slowly.
    async fn body(&self, body: Body, budget: &Budget) -> Result<(String, Held), Refused> {
        let limit = self.0.limits.frame_bytes_max;
        let mut held = budget.nothing();
        let (mut parts, mut text) = (body.into_data_stream(), Vec::new());
        loop {
            let part = timeout(PEER_SILENCE_MAX, parts.next()).await;
            let part = part.map_err(|_| Refused { status: 408, text: "The body did not come in time.".into() })?;
            let Some(part) = part else { break };
            let part = part.map_err(|_| Refused::body_too_large(limit))?;
            if text.len() + part.len() > limit {
                return Err(Refused::body_too_large(limit));
            }
            held.grow(part.len() as u64).map_err(|_| Refused::out_of_memory())?;
            text.extend_from_slice(&part);
        }
        Ok((request::body_text(text)?, held))
    }
}

/// Where a request comes from, if the app tells.
fn address(extensions: &axum::http::Extensions) -> Option<SocketAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0)
}

/// A header; one that is no text is refused wherever it counts.
fn text_of(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

fn asking(headers: &HeaderMap) -> Asking<'_> {
    Asking { origin: text_of(headers, header::ORIGIN), host: text_of(headers, header::HOST) }
}

/// Waits before something of ours is tried again for a request.
async fn wait(transport: Transport, failures: &mut u32, refused: impl FnOnce() -> Refused) -> Result<(), Refused> {
    *failures += 1;
    let pause = patience::before_request(transport, *failures).ok_or_else(refused)?;
    Tokio.sleep(pause).await;
    Ok(())
}

fn text_response(status: u16, text: impl Into<Body>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text.into()).into_response()
}

fn cors_headers(cors: Cors<'_>, request: &HeaderMap) -> HeaderMap {
    let asked = text_of(request, header::ACCESS_CONTROL_REQUEST_HEADERS);
    let headers =
        cors.headers(asked).map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value)));
    // Both were in headers when they came.
    headers.filter_map(|(name, value)| Some((name, value.ok()?))).collect()
}

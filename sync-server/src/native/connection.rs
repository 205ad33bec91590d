//! One TCP connection: HTTP/1 with its time limits, until it ends, becomes a WebSocket or the server stops. Called by
//! `accept`; what requests mean is `http`'s.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;

use super::Server;
use super::places::Place;
use super::watched::Watched;
use crate::hooks::Hooks;

/// How long a new connection may take for its first request's headers.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long it may be idle between two requests, or take for the headers of a later one. Longer than what proxies
/// keep connections for, so that none is closed that they are about to use.
const NEXT_REQUEST_TIMEOUT: Duration = Duration::from_secs(75);

/// A peer that neither takes nor sends a byte for so long, while some wait for it, is gone.
pub(super) const PEER_SILENCE_MAX: Duration = Duration::from_secs(30);

/// While memory is short, what is held for a peer, or of a message of it, may stand still for no longer than this:
/// others wait for that room.
pub(super) const SHORT_SILENCE_MAX: Duration = Duration::from_secs(3);

/// The request line and the headers. Of an address of the largest store id and payload, percent-encoded twice, the
/// library takes 64 KiB; the headers have a limit of their own.
const HEAD_BYTES_MAX: usize = 96 * 1024;

/// The place of a connection, with each of its requests: what outlives the connection takes it along.
#[derive(Clone)]
pub(super) struct Seat(#[expect(dead_code, reason = "it is held")] Arc<Place>);

impl From<Place> for Seat {
    fn from(place: Place) -> Self {
        Self(Arc::new(place))
    }
}

/// Serves a connection to its end.
pub(super) async fn serve<H: Hooks>(
    server: Server<H>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    address: SocketAddr,
    place: Place,
) {
    let budget = server.0.budget.clone();
    let (stopping, dropping) = (server.0.stopping.clone(), server.0.dropping.clone());
    let has_asked = Arc::new(AtomicBool::new(false));
    let (asked, seat) = (Arc::clone(&has_asked), Seat::from(place));
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        asked.store(true, Ordering::Relaxed);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(address));
        request.extensions_mut().insert(seat.clone());
        let server = server.clone();
        async move { Ok::<_, Infallible>(server.respond(request).await) }
    });
    let stream = TokioIo::new(Watched::new(stream, budget));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(NEXT_REQUEST_TIMEOUT);
    http.max_header_size(HEAD_BYTES_MAX).max_buf_size(HEAD_BYTES_MAX);
    let mut connection = pin!(http.serve_connection(stream, service).with_upgrades());
    let mut first_request = pin!(sleep(FIRST_REQUEST_TIMEOUT));
    let mut is_stopping = false;
    loop {
        tokio::select! {
            biased;
            () = dropping.cancelled() => return,
            () = stopping.cancelled(), if !is_stopping => {
                is_stopping = true;
                // What is being answered is answered; a connection that asks nothing ends here.
                connection.as_mut().graceful_shutdown();
                if !has_asked.load(Ordering::Relaxed) {
                    return;
                }
            }
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection has failed");
                }
                return;
            }
            () = first_request.as_mut(), if !first_request.is_elapsed() => {
                if !has_asked.load(Ordering::Relaxed) {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! One WebSocket: bytes in, inputs run, frames out.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use futures_util::StreamExt;
use futures_util::stream::SplitStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::outbox::Outbox;
use super::stores::NativeStore;
use crate::host::calls::{PushCall, Spawn, handle_text, run_pushes};
use crate::host::{CLOSE_INVALID_UTF8, CLOSE_TOO_LARGE, Link, Peer, likeness, reconnect};
use crate::{Clock, Connection, Hooks, Session};

/// A silent peer is asked whether it is there ...
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// ... and given up after so much silence.
const SILENCE_MAX: Duration = Duration::from_secs(75);

/// How long a peer may take to answer a close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Pushes of one connection that may wait for their hooks; the socket is not read further meanwhile.
const PUSHES_WAITING_MAX: usize = 32;

const CLOSE_RESTART: u16 = 1012;

/// What a socket needs from its server.
pub(super) struct Home<H> {
    pub(super) store: Arc<NativeStore<H>>,
    pub(super) clock: Arc<dyn Clock>,
    /// Pushes that were read outlive their connection.
    pub(super) pushes: TaskTracker,
    /// Fires when the server stops.
    pub(super) stopping: CancellationToken,
    pub(super) queue_bytes_max: usize,
}

type NativePeer = Peer<Outbox>;

impl Spawn for TaskTracker {
    fn spawn(&self, push: impl Future<Output = ()> + Send + 'static) {
        TaskTracker::spawn(self, push);
    }
}

/// Serves a socket until it ends.
pub(super) async fn serve<H: Hooks>(
    socket: WebSocket,
    home: Home<H>,
    connection: Arc<Connection>,
    address: IpAddr,
    session: Session,
) {
    // Before the socket is known: what comes after is published to it or read for it.
    let head = match home.store.current_tip().await {
        Ok(tip) => tip.head,
        Err(error) => {
            tracing::error!(%error, "cannot read where a log stands");
            return;
        }
    };
    let (sink, mut stream) = socket.split();
    let (outbox, receiver) = Outbox::new(home.queue_bytes_max);
    let (agent, forwarded) = (connection.header("user-agent"), connection.header("x-forwarded-for"));
    let likeness = likeness(&connection, &address.to_string(), agent, forwarded);
    let peer = Arc::new(Peer::new(session, outbox, connection, likeness));
    let writer = tokio::spawn(receiver.run(sink));
    if let Some(alike) = home.store.publisher().join(&peer, home.clock.now_ms()) {
        let (store, clock) = (Arc::clone(&home.store), Arc::clone(&home.clock));
        tokio::spawn(reconnect::run(store, clock, Arc::clone(&peer), alike, head));
    }
    let (pushes, waiting) = mpsc::channel(PUSHES_WAITING_MAX);
    home.pushes.spawn(run_pushes(Arc::clone(&home.store), Arc::clone(&peer), waiting, home.pushes.clone()));

    read(&home, &peer, &pushes, &mut stream).await;
    // Those that were read are finished, here or, without anybody to answer to, later.
    drop(pushes);
    if home.stopping.is_cancelled() {
        home.pushes.wait().await;
        peer.link.close(CLOSE_RESTART, "the server restarts");
        drain(&peer, &mut stream).await;
    }
    home.store.publisher().leave(&peer, home.clock.now_ms());
    peer.link.abort();
    peer.progress.notify_waiters();
    // It has nothing to say any more, also if it panicked.
    let _ = writer.await;
}

async fn read<H: Hooks>(
    home: &Home<H>,
    peer: &Arc<NativePeer>,
    pushes: &mpsc::Sender<PushCall>,
    stream: &mut SplitStream<WebSocket>,
) {
    let mut last_seen = Instant::now();
    loop {
        let message = tokio::select! {
            biased;
            () = home.stopping.cancelled() => return,
            () = peer.link.over() => return drain(peer, stream).await,
            message = timeout(PING_INTERVAL, stream.next()) => message,
        };
        if matches!(message, Ok(Some(Ok(_)))) {
            peer.heard.notify_waiters();
        }
        match message {
            Err(_) if last_seen.elapsed() > SILENCE_MAX => {
                tracing::info!("closing a connection that is silent");
                return;
            }
            Err(_) => {
                peer.link.keep_alive();
                continue;
            }
            Ok(None) => return,
            Ok(Some(Err(error))) => {
                let Some((code, reason)) = close_for(error) else { return };
                peer.link.close(code, reason);
                return drain(peer, stream).await;
            }
            Ok(Some(Ok(Message::Text(text)))) => {
                handle_text(&home.store, peer, pushes, text.as_str(), home.clock.now_ms(), None).await;
            }
            Ok(Some(Ok(Message::Binary(bytes)))) => match std::str::from_utf8(&bytes) {
                Ok(text) => handle_text(&home.store, peer, pushes, text, home.clock.now_ms(), None).await,
                Err(_) => peer.link.close(CLOSE_INVALID_UTF8, "binary frames must hold UTF-8 JSON"),
            },
            // The library answers pings, and closes when the stream is read on.
            Ok(Some(Ok(Message::Pong(payload)))) => handle_pong(peer, &payload),
            Ok(Some(Ok(Message::Ping(_) | Message::Close(_)))) => {}
        }
        last_seen = Instant::now();
    }
}

fn handle_pong(peer: &NativePeer, payload: &[u8]) {
    // Pings that only ask whether somebody is there have no number.
    let Ok(ping) = payload.try_into().map(u64::from_be_bytes) else { return };
    let mut session = peer.session();
    session.handle_pong(ping);
    peer.poll_ping(&mut session);
}

/// Which close code tells the peer what it did wrong; nothing where it is gone already.
fn close_for(error: axum::Error) -> Option<(u16, &'static str)> {
    match *error.into_inner().downcast::<tungstenite::Error>().ok()? {
        tungstenite::Error::Capacity(_) => Some((CLOSE_TOO_LARGE, "the frame is larger than this server takes")),
        tungstenite::Error::Utf8(_) => Some((CLOSE_INVALID_UTF8, "text frames must hold UTF-8")),
        _ => None,
    }
}

/// Waits for the peer's half of the closing handshake.
async fn drain(peer: &NativePeer, stream: &mut SplitStream<WebSocket>) {
    let rest = async {
        peer.link.over().await;
        while let Some(Ok(_)) = stream.next().await {}
    };
    // A peer that does not answer is left.
    let _ = timeout(CLOSE_TIMEOUT, rest).await;
}

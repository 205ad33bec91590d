//! One WebSocket: bytes in, inputs run, frames out.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use bytes::Bytes;
use futures_util::stream::SplitStream;
use futures_util::{FutureExt, StreamExt};
use livestore_sync_protocol::v03::Context;
use livestore_sync_protocol::{Chunk, Event, Generation, RequestId, SeqNum};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::hub::Peer;
use super::outbox::Outbox;
use super::reconnect;
use super::stores::NativeStore;
use crate::session::V03;
use crate::{
    Clock, Connection, Delivery, HookContext, HookError, Hooks, Input, Origin, Pull, PullError, PullSink, Push,
    PushError, Pushed, Session,
};

/// A silent peer is asked whether it is there ...
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// ... and given up after so much silence.
const SILENCE_MAX: Duration = Duration::from_secs(75);

/// How long a peer may take to answer a close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Pushes of one connection that may wait for their hooks, and as many that may wait for their
/// commit; the socket is not read further meanwhile.
const PUSHES_WAITING_MAX: usize = 32;

/// How long a push, or its refusal, waits for the pusher's own live pull to have caught up.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(2);

/// Close codes of RFC 6455 and its registry.
const CLOSE_INVALID_UTF8: u16 = 1007;
const CLOSE_TOO_LARGE: u16 = 1009;
const CLOSE_INTERNAL: u16 = 1011;
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

struct PushCall {
    request_id: RequestId,
    batch: Vec<Event>,
    backend_id: Option<String>,
    generation: Generation,
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
    let peer = Arc::new(Peer::new(session, outbox, connection, address));
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
        peer.outbox.close(CLOSE_RESTART, "the server restarts");
        drain(&peer, &mut stream).await;
    }
    home.store.publisher().leave(&peer, home.clock.now_ms());
    peer.outbox.abort();
    peer.progress.notify_waiters();
    // It has nothing to say any more, also if it panicked.
    let _ = writer.await;
}

async fn read<H: Hooks>(
    home: &Home<H>,
    peer: &Arc<Peer>,
    pushes: &mpsc::Sender<PushCall>,
    stream: &mut SplitStream<WebSocket>,
) {
    let mut last_seen = Instant::now();
    loop {
        let message = tokio::select! {
            biased;
            () = home.stopping.cancelled() => return,
            () = peer.outbox.over() => return drain(peer, stream).await,
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
                peer.outbox.ping(Bytes::new());
                continue;
            }
            Ok(None) => return,
            Ok(Some(Err(error))) => {
                let Some((code, reason)) = close_for(error) else { return };
                peer.outbox.close(code, reason);
                return drain(peer, stream).await;
            }
            Ok(Some(Ok(Message::Text(text)))) => handle_text(home, peer, pushes, text.as_str()).await,
            Ok(Some(Ok(Message::Binary(bytes)))) => match std::str::from_utf8(&bytes) {
                Ok(text) => handle_text(home, peer, pushes, text).await,
                Err(_) => peer.outbox.close(CLOSE_INVALID_UTF8, "binary frames must hold UTF-8 JSON"),
            },
            // The library answers pings, and closes when the stream is read on.
            Ok(Some(Ok(Message::Pong(payload)))) => handle_pong(peer, &payload),
            Ok(Some(Ok(Message::Ping(_) | Message::Close(_)))) => {}
        }
        last_seen = Instant::now();
    }
}

fn handle_pong(peer: &Peer, payload: &[u8]) {
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
async fn drain(peer: &Peer, stream: &mut SplitStream<WebSocket>) {
    let rest = async {
        peer.outbox.over().await;
        while let Some(Ok(_)) = stream.next().await {}
    };
    // A peer that does not answer is left.
    let _ = timeout(CLOSE_TIMEOUT, rest).await;
}

async fn handle_text<H: Hooks>(home: &Home<H>, peer: &Arc<Peer>, pushes: &mpsc::Sender<PushCall>, text: &str) {
    let inputs = peer.session().handle_frame(text, home.clock.now_ms());
    for input in inputs {
        match input {
            // A closed connection needs no answer.
            Input::Reply(frame) => drop(peer.outbox.send(frame).await),
            Input::Close(code, reason) => peer.outbox.close(code, reason),
            Input::Progress => {}
            Input::NewClient => home.store.publisher().release(peer.connection.id),
            Input::Push { request_id, batch, backend_id, generation } => {
                let call = PushCall { request_id, batch, backend_id, generation };
                // The receiver runs for as long as there is a sender.
                let _ = pushes.send(call).await;
            }
            Input::Pull { delivery, cursor, live, generation } => {
                let pull = Pull { cursor, live };
                tokio::spawn(run_pull(Arc::clone(&home.store), Arc::clone(peer), pull, delivery, generation));
            }
        }
    }
    peer.progress.notify_waiters();
}

/// Runs a part that calls the app's hooks; a panic in one ends neither the connection nor the store.
pub(super) async fn guarded<T>(part: impl Future<Output = T>) -> Result<T, HookError> {
    AssertUnwindSafe(part).catch_unwind().await.map_err(|_| {
        tracing::error!("a hook panicked");
        HookError::new("the server failed on this request")
    })
}

async fn run_pull<H: Hooks>(
    store: Arc<NativeStore<H>>,
    peer: Arc<Peer>,
    pull: Pull,
    delivery: Delivery,
    generation: Generation,
) {
    let context = HookContext { connection: Arc::clone(&peer.connection), generation };
    let sink = SocketSink { peer: &peer, delivery: &delivery, live: pull.live };
    let result = guarded(store.pull(pull, &delivery, context, &sink)).await;
    match result.unwrap_or_else(|panic| Err(PullError::Rejected(panic))) {
        Ok(_) | Err(PullError::Gone) => {}
        Err(error) => {
            let frame = peer.session().handle_pull_failed(&delivery, &error);
            if let Some(frame) = frame {
                // A closed connection needs no answer.
                let _ = peer.outbox.send(frame).await;
            }
        }
    }
    peer.progress.notify_waiters();
}

pub(super) async fn catch_up<H: Hooks>(store: &NativeStore<H>, peer: &Peer, pulls: Vec<(Delivery, SeqNum)>) {
    let sinks =
        pulls.iter().map(|(delivery, after)| (delivery.clone(), *after, SocketSink { peer, delivery, live: true }));
    match store.resume(sinks.collect()).await {
        Ok(()) | Err(PullError::Gone) => {}
        Err(error) => {
            tracing::error!(%error, "could not continue a pull");
            // With a hole it must not go on; the client comes back.
            peer.outbox.close(CLOSE_INTERNAL, "the server could not reach its event log");
        }
    }
}

struct SocketSink<'a> {
    peer: &'a Peer,
    delivery: &'a Delivery,
    live: bool,
}

impl PullSink for SocketSink<'_> {
    async fn ready(&self) -> Result<(), PullError> {
        loop {
            // Made before the look, so that no progress is missed between the two.
            let mut progress = std::pin::pin!(self.peer.progress.notified());
            progress.as_mut().enable();
            match self.peer.session().poll_ready(self.delivery) {
                _ if self.peer.outbox.is_over() => return Err(PullError::Gone),
                None => return Err(PullError::Gone),
                Some(true) => return Ok(()),
                Some(false) => {}
            }
            tokio::select! {
                () = progress => {}
                () = self.peer.outbox.over() => return Err(PullError::Gone),
            }
        }
    }

    async fn send(&self, chunk: Option<&Chunk>, remaining: u64, backend_id: &str) -> Result<(), PullError> {
        let frame = self.peer.session().handle_chunk(self.delivery, chunk, remaining, backend_id);
        self.peer.outbox.send(frame.ok_or(PullError::Gone)?).await.map_err(|_| PullError::Gone)?;
        self.peer.poll_ping(&mut self.peer.session());
        Ok(())
    }

    fn caught_up(&self) {
        let mut session = self.peer.session();
        if let Some(frame) = session.handle_caught_up(self.delivery, self.live) {
            self.peer.outbox.send_now(frame);
        }
        drop(session);
        self.peer.progress.notify_waiters();
    }
}

/// Runs a connection's pushes in the order in which they came.
async fn run_pushes<H: Hooks>(
    store: Arc<NativeStore<H>>,
    peer: Arc<Peer>,
    mut waiting: mpsc::Receiver<PushCall>,
    tracker: TaskTracker,
) {
    let in_flight = Arc::new(Semaphore::new(PUSHES_WAITING_MAX));
    while let Some(PushCall { request_id, batch, backend_id, generation }) = waiting.recv().await {
        // Never closed, so there is always a permit to come.
        let held = Arc::clone(&in_flight).acquire_owned().await;
        let origin = Origin { connection: peer.connection.id, request_id: request_id.clone() };
        let context = HookContext { connection: Arc::clone(&peer.connection), generation };
        let push = Push { batch: batch.into() };
        if generation == Generation::V03 {
            // Frames take effect in their order: a pull shows the log as it was before the push.
            let _ = timeout(CATCH_UP_TIMEOUT, caught_up(&peer)).await;
        }
        let admitted = guarded(store.admit(push, backend_id.as_deref(), Some(origin), context)).await;
        match admitted.unwrap_or_else(|panic| Err(PushError::Rejected(panic))) {
            Err(error) => answer_push(&store, &peer, &request_id, Err(error)).await,
            Ok(mut admitted) => {
                let (store, peer) = (Arc::clone(&store), Arc::clone(&peer));
                // The next push need not wait for this one's commit: they may share it.
                tracker.spawn(async move {
                    let result = store.complete(&mut admitted).await;
                    answer_push(&store, &peer, &request_id, result.clone()).await;
                    drop(held);
                    // A hook that panics is in the log; the push has its answer.
                    let _ = guarded(store.ended(admitted, result)).await;
                });
            }
        }
    }
}

async fn answer_push<H: Hooks>(
    store: &NativeStore<H>,
    peer: &Peer,
    request_id: &RequestId,
    result: Result<Pushed, PushError>,
) {
    let frame = match result {
        // Acknowledged in the order that the generation wants, when it was published.
        Ok(Pushed::Committed) => return,
        Ok(Pushed::Repeated) => peer.session().push_repeated(request_id),
        Err(error) => {
            if let PushError::ServerAhead { provided, .. } = error {
                let unknown = peer.session().v03_mut().is_some_and(V03::begin_catch_up);
                if unknown {
                    let delivery = Delivery::V03(Context::Push, request_id.to_string());
                    catch_up(store, peer, vec![(delivery, provided)]).await;
                }
                // The client waits for the events that it lacks, and takes the error for their announcement.
                let _ = timeout(CATCH_UP_TIMEOUT, caught_up(peer)).await;
            }
            peer.session().push_failed(request_id, &error)
        }
    };
    // A closed connection needs no answer.
    let _ = peer.outbox.send(frame).await;
}

/// Waits until no live pull of this connection has a backlog.
async fn caught_up(peer: &Peer) {
    loop {
        let mut progress = std::pin::pin!(peer.progress.notified());
        progress.as_mut().enable();
        if peer.outbox.is_over() || !peer.session().is_catching_up() {
            return;
        }
        tokio::select! {
            () = progress => {}
            () = peer.outbox.over() => return,
        }
    }
}

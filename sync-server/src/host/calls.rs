//! The one runner of calls: pushes and pulls that frames ask for, run against the store and answered through
//! [`Replies`], be it a socket ([`SocketCalls`]) or a body (`exchange`).

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use livestore_sync_protocol::v03::Context;
use livestore_sync_protocol::{Chunk, Generation, RequestId, SeqNum};
use tokio::sync::mpsc;

use super::{Closed, Host, Link, Peer, Shell, patience};
use crate::budget::Held;
use crate::close::CloseCode;
use crate::error::{PullError, PushError};
use crate::event::Origin;
use crate::failure::{guarded, note};
use crate::frame::Frame;
use crate::hooks::{Connection, HookContext, Pull};
use crate::platform::{MaybeSend, MaybeSync, Platform};
use crate::session::{Delivery, Position, Session};
use crate::store::{PullSink, Refusals};

/// How long a push, or its refusal, waits for the pusher's own live pull to have caught up.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a client may leave a pull without any sign that it takes what it is sent: the time for an event of the
/// largest size over a link of some 100 kbit/s. Without an end, one that never acknowledges would keep an object
/// awake for ever.
pub(super) const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(150);

/// How long a page is kept for a client that has no room for its next chunk. Later it is read again.
pub(super) const PAGE_TIMEOUT: Duration = Duration::from_secs(1);

/// Held until what a frame asked for is done, for platforms that wait for it: the receiver ends with the last
/// holder.
pub(crate) type InProgress = Option<mpsc::Sender<()>>;

/// Where the answers to a client's calls go.
pub(super) trait Replies: MaybeSend + MaybeSync {
    fn session(&self) -> MutexGuard<'_, Session>;

    fn connection(&self) -> &Arc<Connection>;

    /// Whose push it is, if the hub acknowledges it when it publishes it. Otherwise the runner does.
    fn origin(&self, request_id: &RequestId) -> Option<Origin>;

    /// Waits until a pull may send another chunk.
    fn ready(&self, delivery: &Delivery) -> impl Future<Output = Result<(), Closed>> + MaybeSend;

    /// Waits a moment for the same; whether a pull may send another chunk now.
    fn ready_soon(&self, delivery: &Delivery) -> impl Future<Output = Result<bool, Closed>> + MaybeSend;

    /// Takes what is held for this client, once there is room.
    fn hold(&self, bytes: u64) -> impl Future<Output = Result<Held, Closed>> + MaybeSend;

    fn now_ms(&self) -> u64;

    /// Sends a frame once there is room.
    fn send(&self, frame: Frame) -> impl Future<Output = Result<(), Closed>> + MaybeSend;

    /// A chunk of a pull that ends with this event has been sent.
    fn chunk_sent(&self, delivery: &Delivery, last: SeqNum) {
        let _ = (delivery, last);
    }

    /// Acknowledges a push, in one step with the session's note of it.
    fn acknowledge(&self, request_id: &RequestId) -> impl Future<Output = ()> + MaybeSend;

    /// A pull has sent its backlog. Must not wait: for a live pull the store's lock is held.
    fn caught_up(&self, delivery: &Delivery, live: bool);

    /// A pull has failed; the frame that says so, if the client still waits for it.
    fn pull_failed(&self, delivery: &Delivery, error: &PullError) -> Option<String> {
        self.session().handle_pull_failed(delivery, error)
    }

    /// What was refused of this client's pushes.
    fn refusals(&self) -> &Arc<Refusals>;

    /// A pull has met a failure of ours, so many times in a row. Waits until it may be tried again; an error ends it.
    fn pull_failing(&self, error: PullError, failures: u32) -> impl Future<Output = Result<(), PullError>> + MaybeSend;

    /// A push has met a failure of ours, so many times in a row. Waits and returns `true` if it is to be made again
    /// here; otherwise the client gets the error, and makes it again.
    fn push_failing(&self, error: &PushError, failures: u32) -> impl Future<Output = bool> + MaybeSend {
        let _ = (error, failures);
        std::future::ready(false)
    }

    /// Called before a push is refused whose client lacks what the log has above `after`.
    fn before_refusal(&self, request_id: &RequestId, after: SeqNum) -> impl Future<Output = ()> + MaybeSend {
        let _ = (request_id, after);
        std::future::ready(())
    }
}

/// A pull that was read.
pub(super) struct PullCall {
    pub(super) delivery: Delivery,
    pub(super) pull: Pull,
    pub(super) generation: Generation,
}

/// Runs a pull: its backlog, and the answer if it ends.
pub(super) async fn run_pull<S: Shell>(host: &Host<S>, replies: &impl Replies, call: PullCall) {
    let PullCall { delivery, pull, generation } = call;
    let context = HookContext::new(Arc::clone(replies.connection()), generation);
    let sink = Sink { replies, delivery: &delivery, live: pull.live };
    let result = guarded(host.store.pull(pull, delivery.format(), context, &sink)).await;
    match result.unwrap_or_else(|failure| Err(failure.into())) {
        Ok(_) | Err(PullError::Gone) => {}
        Err(error) => refuse_pull(replies, &delivery, &error).await,
    }
}

/// Answers a pull with an error.
pub(super) async fn refuse_pull(replies: &impl Replies, delivery: &Delivery, error: &PullError) {
    if let Some(frame) = replies.pull_failed(delivery, error) {
        // A closed connection needs no answer.
        let _ = replies.send(frame.into()).await;
    }
}

struct Sink<'a, R> {
    replies: &'a R,
    delivery: &'a Delivery,
    live: bool,
}

impl<R: Replies> PullSink for Sink<'_, R> {
    async fn ready(&self) -> Result<(), PullError> {
        self.replies.ready(self.delivery).await.map_err(|Closed| PullError::Gone)
    }

    async fn ready_soon(&self) -> Result<bool, PullError> {
        self.replies.ready_soon(self.delivery).await.map_err(|Closed| PullError::Gone)
    }

    async fn hold(&self, bytes: u64) -> Result<Held, PullError> {
        self.replies.hold(bytes).await.map_err(|Closed| PullError::Gone)
    }

    async fn send(&self, chunk: Option<(&Chunk, Held)>, remaining: u64, backend_id: &str) -> Result<(), PullError> {
        let now_ms = self.replies.now_ms();
        let (chunk, held) = chunk.unzip();
        let frame = self.replies.session().handle_chunk(self.delivery, chunk, remaining, backend_id, now_ms);
        let frame = frame.ok_or(PullError::Gone)?;
        let frame = match held {
            Some(held) => frame.holding(held),
            None => frame,
        };
        self.replies.send(frame).await.map_err(|Closed| PullError::Gone)?;
        if let Some(chunk) = chunk {
            // Only now: what is noted before it is queued would be covered by a ping that is queued meanwhile.
            self.replies.chunk_sent(self.delivery, chunk.last);
        }
        Ok(())
    }

    async fn failed(&self, error: PullError, failures: u32) -> Result<(), PullError> {
        self.replies.pull_failing(error, failures).await
    }

    fn caught_up(&self) {
        self.replies.caught_up(self.delivery, self.live);
    }
}

/// The calls of one socket.
pub(super) struct SocketCalls<S: Shell> {
    pub(super) host: Arc<Host<S>>,
    pub(super) peer: Arc<Peer<S::Link>>,
}

impl<S: Shell> Clone for SocketCalls<S> {
    fn clone(&self) -> Self {
        Self { host: Arc::clone(&self.host), peer: Arc::clone(&self.peer) }
    }
}

impl<S: Shell> SocketCalls<S> {
    /// Waits until a pull may send another chunk, and until the link could take it.
    async fn until_ready(&self, delivery: &Delivery) -> Result<(), Closed> {
        let mut over = false;
        self.peer
            .until(|session| match session.poll_ready(delivery) {
                Some(ready) => ready,
                None => {
                    over = true;
                    true
                }
            })
            .await;
        if !over {
            self.peer.link.room().await;
        }
        if over || self.peer.link.is_closed() { Err(Closed) } else { Ok(()) }
    }

    /// Waits until no live pull of this connection has a backlog, or for as long as that may take.
    pub(super) async fn caught_up_or_late(&self) {
        let caught_up = self.peer.until(|session| !session.is_catching_up());
        let _ = self.host.platform.timeout(CATCH_UP_TIMEOUT, caught_up).await;
    }
}

impl<S: Shell> SocketCalls<S> {
    /// The app does not let a client go on with the pulls of an earlier connection.
    pub(super) async fn refuse_continuation(&self, pulls: &[Position], error: &PullError) {
        let frames = {
            let mut session = self.peer.session();
            let frames = session.handle_continuation_refused(pulls, error);
            // Less than before has room.
            let _ = self.peer.link.remember(&session);
            frames
        };
        self.peer.progress.notify_waiters();
        for frame in frames {
            // A closed connection needs no answer.
            let _ = self.peer.link.send(frame.into()).await;
        }
    }
}

impl<S: Shell> Replies for SocketCalls<S> {
    fn session(&self) -> MutexGuard<'_, Session> {
        self.peer.session()
    }

    fn connection(&self) -> &Arc<Connection> {
        &self.peer.connection
    }

    fn refusals(&self) -> &Arc<Refusals> {
        &self.peer.refusals
    }

    fn origin(&self, request_id: &RequestId) -> Option<Origin> {
        Some(Origin { connection: self.peer.connection.id, request_id: request_id.clone() })
    }

    async fn ready(&self, delivery: &Delivery) -> Result<(), Closed> {
        let ready = self.host.platform.timeout(ARRIVAL_TIMEOUT, self.until_ready(delivery)).await;
        ready.unwrap_or_else(|| {
            tracing::info!("closing a connection that takes nothing of its pull");
            self.peer.abort(CloseCode::SlowReader);
            Err(Closed)
        })
    }

    async fn ready_soon(&self, delivery: &Delivery) -> Result<bool, Closed> {
        let ready = self.host.platform.timeout(PAGE_TIMEOUT, self.until_ready(delivery)).await;
        ready.map_or(Ok(false), |ready| ready.map(|()| true))
    }

    async fn hold(&self, bytes: u64) -> Result<Held, Closed> {
        tokio::select! {
            held = self.peer.link.budget().take_in_turn(bytes) => Ok(held),
            () = self.peer.link.closed() => Err(Closed),
        }
    }

    fn now_ms(&self) -> u64 {
        self.host.platform.now_ms()
    }

    async fn send(&self, frame: Frame) -> Result<(), Closed> {
        self.peer.link.send(frame).await
    }

    fn chunk_sent(&self, delivery: &Delivery, last: SeqNum) {
        let mut session = self.peer.session();
        session.handle_sent(delivery, last);
        self.peer.poll_ping(&mut session);
    }

    async fn acknowledge(&self, request_id: &RequestId) {
        self.host.hub().acknowledge(&self.peer, request_id);
    }

    fn caught_up(&self, delivery: &Delivery, live: bool) {
        let mut session = self.peer.session();
        if let Some(frame) = session.handle_caught_up(delivery, live) {
            self.peer.send_now(&mut session, [frame]);
        }
        // The pull is remembered already, in one state or the other.
        let _ = self.peer.link.remember(&session);
        drop(session);
        self.peer.progress.notify_waiters();
    }

    /// A failure of our own ends the connection and not the pull: published clients come back and pull from their
    /// cursor, and never ask again for a pull that was answered with an error.
    fn pull_failed(&self, delivery: &Delivery, error: &PullError) -> Option<String> {
        if error.is_ours() {
            self.peer.link.close(close_code(error));
            return None;
        }
        let mut session = self.peer.session();
        let frame = session.handle_pull_failed(delivery, error);
        // Less than before has room.
        let _ = self.peer.link.remember(&session);
        frame
    }

    async fn pull_failing(&self, error: PullError, failures: u32) -> Result<(), PullError> {
        let Some(pause) = patience::before_socket_pull(&error, failures) else { return Err(error) };
        let gone = self.host.platform.timeout(pause, self.peer.link.closed()).await;
        if gone.is_some() { Err(PullError::Gone) } else { Ok(()) }
    }

    async fn push_failing(&self, error: &PushError, failures: u32) -> bool {
        let (generation, is_lost) = (self.peer.connection.generation, self.peer.link.is_closed());
        let Some(pause) = patience::before_socket_push(error, generation, failures, is_lost) else { return false };
        self.host.platform.sleep(pause).await;
        true
    }

    /// The client waits for the events that it lacks, and takes the error for their announcement.
    async fn before_refusal(&self, request_id: &RequestId, after: SeqNum) {
        // Looked at before anything is awaited: from here on nothing else is sent to this connection.
        let unknown = self.peer.session().begin_catch_up();
        if unknown {
            let delivery = Delivery::V03(Context::Push, request_id.to_string());
            catch_up(self, vec![(delivery, after)]).await;
        }
        self.caught_up_or_late().await;
    }
}

/// Continues pulls that an earlier connection has left, each behind the event that its client has.
pub(super) async fn catch_up<S: Shell>(calls: &SocketCalls<S>, pulls: Vec<(Delivery, SeqNum)>) {
    let sinks = pulls.iter().map(|(delivery, after)| {
        let sink = Sink { replies: calls, delivery, live: true };
        (delivery.format(), *after, sink)
    });
    match calls.host.store.continue_pulls(sinks.collect()).await {
        Ok(()) | Err(PullError::Gone) => {}
        Err(error @ PullError::HistoryLost(_)) => {
            for (delivery, _) in &pulls {
                refuse_pull(calls, delivery, &error).await;
            }
        }
        Err(error) => {
            note(|| tracing::error!(%error, "could not continue a pull"));
            // With a hole it must not go on; the client comes back.
            calls.peer.link.close(close_code(&error));
        }
    }
}

/// What a client is told whose connection is closed because of this failure of ours.
pub(super) fn close_code(error: &PullError) -> CloseCode {
    if let PullError::Log(_) = error { CloseCode::LogUnreachable } else { CloseCode::Failed }
}

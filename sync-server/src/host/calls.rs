//! The calls of one socket: what its frames ask for is run, and answered on it.

use std::sync::Arc;
use std::time::Duration;

use livestore_sync_protocol::v03::Context;
use livestore_sync_protocol::{Chunk, Event, Generation, RequestId, SeqNum};
use tokio::sync::{Semaphore, mpsc};

use super::runtime::{spawn, timeout};
use super::{CLOSE_INTERNAL, HomeStore, Link, Peer, guarded};
use crate::event_log::EventLog;
use crate::platform::{MaybeSend, MaybeSync};
use crate::session::V03;
use crate::{
    Delivery, HookContext, HookError, Hooks, Input, Origin, Pull, PullError, PullSink, Push, PushError, Pushed,
};

/// Pushes of one connection that may wait for their commit.
const PUSHES_IN_FLIGHT_MAX: usize = 32;

/// How long a push, or its refusal, waits for the pusher's own live pull to have caught up.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(2);

/// Held until what a frame asked for is done, for homes that wait for it.
pub(crate) type Held = Option<mpsc::Sender<()>>;

/// A push that was read.
pub(crate) struct PushCall {
    held: Held,
    request_id: RequestId,
    batch: Vec<Event>,
    backend_id: Option<String>,
    generation: Generation,
}

/// Runs pushes that outlive their connection.
pub(crate) trait Spawn: Clone + MaybeSend + MaybeSync + 'static {
    fn spawn(&self, push: impl Future<Output = ()> + MaybeSend + 'static);
}

/// Takes a frame: answers it, starts pulls, and queues pushes for [`run_pushes`].
pub(crate) async fn handle_text<L: EventLog, H: Hooks, K: Link>(
    store: &Arc<HomeStore<L, H, K>>,
    peer: &Arc<Peer<K>>,
    pushes: &mpsc::Sender<PushCall>,
    text: &str,
    now_ms: u64,
    held: Held,
) {
    let (inputs, remembered) = {
        let mut session = peer.session();
        let inputs = session.handle_frame(text, now_ms);
        (inputs, peer.link.remember(&session))
    };
    for input in inputs {
        match input {
            // A closed connection needs no answer.
            Input::Reply(frame) => drop(peer.link.send(frame).await),
            Input::Close(code, reason) => peer.link.close(code, reason),
            Input::Progress => {}
            Input::NewClient => store.publisher().release(peer.connection.id),
            Input::Push { request_id, batch, backend_id, generation } => {
                let call = PushCall { held: held.clone(), request_id, batch, backend_id, generation };
                // The receiver runs for as long as there is a sender.
                let _ = pushes.send(call).await;
            }
            Input::Pull { delivery, .. } if !remembered => {
                let error = PullError::Rejected(HookError::new("more pulls than this connection has room for"));
                end_pull(peer, &delivery, &error).await;
            }
            Input::Pull { delivery, cursor, live, generation } => {
                let pull = Pull { cursor, live };
                spawn(run_pull(Arc::clone(store), Arc::clone(peer), pull, delivery, generation, held.clone()));
            }
        }
    }
    peer.progress.notify_waiters();
}

async fn run_pull<L: EventLog, H: Hooks, K: Link>(
    store: Arc<HomeStore<L, H, K>>,
    peer: Arc<Peer<K>>,
    pull: Pull,
    delivery: Delivery,
    generation: Generation,
    held: Held,
) {
    let context = HookContext { connection: Arc::clone(&peer.connection), generation };
    let sink = SocketSink { peer: &peer, delivery: &delivery, live: pull.live };
    let result = guarded(store.pull(pull, &delivery, context, &sink)).await;
    match result.unwrap_or_else(|panic| Err(PullError::Rejected(panic))) {
        Ok(_) | Err(PullError::Gone) => {}
        Err(error) => end_pull(&peer, &delivery, &error).await,
    }
    peer.progress.notify_waiters();
    drop(held);
}

async fn end_pull<K: Link>(peer: &Peer<K>, delivery: &Delivery, error: &PullError) {
    let frame = {
        let mut session = peer.session();
        let frame = session.handle_pull_failed(delivery, error);
        // Less than before has room.
        let _ = peer.link.remember(&session);
        frame
    };
    if let Some(frame) = frame {
        // A closed connection needs no answer.
        let _ = peer.link.send(frame).await;
    }
}

/// Continues pulls that an earlier connection has left.
pub(super) async fn catch_up<L: EventLog, H: Hooks, K: Link>(
    store: &HomeStore<L, H, K>,
    peer: &Peer<K>,
    pulls: Vec<(Delivery, SeqNum)>,
) {
    let sinks =
        pulls.iter().map(|(delivery, after)| (delivery.clone(), *after, SocketSink { peer, delivery, live: true }));
    match store.resume(sinks.collect()).await {
        Ok(()) | Err(PullError::Gone) => {}
        Err(error) => {
            tracing::error!(%error, "could not continue a pull");
            // With a hole it must not go on; the client comes back.
            peer.link.close(CLOSE_INTERNAL, "the server could not reach its event log");
        }
    }
}

struct SocketSink<'a, K> {
    peer: &'a Peer<K>,
    delivery: &'a Delivery,
    live: bool,
}

impl<K: Link> PullSink for SocketSink<'_, K> {
    async fn ready(&self) -> Result<(), PullError> {
        loop {
            // Made before the look, so that no progress is missed between the two.
            let mut progress = std::pin::pin!(self.peer.progress.notified());
            progress.as_mut().enable();
            match self.peer.session().poll_ready(self.delivery) {
                _ if self.peer.link.is_over() => return Err(PullError::Gone),
                None => return Err(PullError::Gone),
                Some(true) => return Ok(()),
                Some(false) => {}
            }
            tokio::select! {
                () = progress => {}
                () = self.peer.link.over() => return Err(PullError::Gone),
            }
        }
    }

    async fn send(&self, chunk: Option<&Chunk>, remaining: u64, backend_id: &str) -> Result<(), PullError> {
        let frame = self.peer.session().handle_chunk(self.delivery, chunk, remaining, backend_id);
        self.peer.link.send(frame.ok_or(PullError::Gone)?).await.map_err(|_| PullError::Gone)?;
        self.peer.poll_ping(&mut self.peer.session());
        Ok(())
    }

    fn caught_up(&self) {
        let mut session = self.peer.session();
        if let Some(frame) = session.handle_caught_up(self.delivery, self.live) {
            self.peer.link.send_now(frame);
        }
        // The pull is remembered already, in one state or the other.
        let _ = self.peer.link.remember(&session);
        drop(session);
        self.peer.progress.notify_waiters();
    }
}

/// Runs a connection's pushes in the order in which they came.
pub(crate) async fn run_pushes<L: EventLog, H: Hooks, K: Link, S: Spawn>(
    store: Arc<HomeStore<L, H, K>>,
    peer: Arc<Peer<K>>,
    mut waiting: mpsc::Receiver<PushCall>,
    tasks: S,
) {
    let in_flight = Arc::new(Semaphore::new(PUSHES_IN_FLIGHT_MAX));
    while let Some(PushCall { held, request_id, batch, backend_id, generation }) = waiting.recv().await {
        // Never closed, so there is always a permit to come.
        let permit = Arc::clone(&in_flight).acquire_owned().await;
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
                tasks.spawn(async move {
                    let result = store.complete(&mut admitted).await;
                    answer_push(&store, &peer, &request_id, result.clone()).await;
                    drop(permit);
                    // A hook that panics is in the log; the push has its answer.
                    let _ = guarded(store.ended(admitted, result)).await;
                    drop(held);
                });
            }
        }
    }
}

async fn answer_push<L: EventLog, H: Hooks, K: Link>(
    store: &HomeStore<L, H, K>,
    peer: &Peer<K>,
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
    let _ = peer.link.send(frame).await;
}

/// Waits until no live pull of this connection has a backlog.
async fn caught_up<K: Link>(peer: &Peer<K>) {
    loop {
        let mut progress = std::pin::pin!(peer.progress.notified());
        progress.as_mut().enable();
        if peer.link.is_over() || !peer.session().is_catching_up() {
            return;
        }
        tokio::select! {
            () = progress => {}
            () = peer.link.over() => return,
        }
    }
}

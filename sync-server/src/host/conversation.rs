//! One WebSocket, from its opening to its end. There is one way in, [`Conversation::open`] (or, where a platform
//! loses its memory and keeps its sockets, [`Conversation::rejoin`]), and one way out, [`Conversation::close`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use livestore_sync_protocol::{Generation, SeqNum};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::calls::{InProgress, PullCall, SocketCalls, refuse_pull, run_pull};
use super::pushes::{Admission, PushCall, admit_push, complete_push};
use super::{Host, Link, Peer, Seat, Shell};
use crate::budget::Held;
use crate::close::CloseCode;
use crate::error::{HookError, PullError};
use crate::event::held_bytes;
use crate::hooks::{Connection, Pull};
use crate::platform::Platform;
use crate::session::{Action, Proof, Session};

/// Pushes of one connection that may wait for their commit.
const PUSHES_IN_FLIGHT_MAX: u32 = 32;

/// How often a client that has to wait for room is asked whether it is there.
const ROOM_PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// A connection that is about to be opened.
pub(crate) struct Opening {
    pub(crate) connection: Arc<Connection>,
    /// See [`fingerprint`](super::fingerprint).
    pub(crate) fingerprint: String,
    /// What this platform has to prove that frames arrive.
    pub(crate) proof: Proof,
    /// Where the log stood before the socket was known: what comes after is published to it or read for it.
    pub(crate) head: SeqNum,
    /// See [`Seats`](super::Seats).
    pub(crate) seat: Seat,
    /// Pushes that may wait for their hooks; a platform that cannot stop reading closes above it.
    pub(crate) pushes_waiting_max: usize,
}

/// A frame that the session knows of.
#[must_use = "what it asked for is done by `Conversation::act`"]
pub(crate) struct Taken {
    actions: Vec<Action>,
    /// Whether the session has room for what the frame added to it.
    remembered: bool,
    /// What was held of the connection's budget to read the frame.
    held: Option<Held>,
}

impl Taken {
    /// The same, with what was held to read it: given back in the moment when it is held for a push.
    pub(crate) fn holding(self, held: Held) -> Self {
        Self { held: Some(held), ..self }
    }

    /// Whether the frame asked for nothing but a pong.
    #[cfg(feature = "worker")]
    pub(crate) fn is_ping(&self) -> bool {
        matches!(self.actions[..], [Action::Pong(_)])
    }

    /// Whether the frame asked for nothing.
    pub(crate) fn is_done(&self) -> bool {
        self.actions.iter().all(|action| matches!(action, Action::Progress))
    }
}

/// A connected client and the queue of its pushes.
pub(crate) struct Conversation<S: Shell> {
    calls: SocketCalls<S>,
    /// `None` once no more are taken.
    pushes: Mutex<Option<mpsc::Sender<PushCall>>>,
    /// Cancelled when the last push that was read has ended.
    pushes_ended: CancellationToken,
}

impl<S: Shell> Conversation<S> {
    /// Opens a new connection. It gets what is committed from here on, unless it is a 0.3 client that may have
    /// come back, which gets nothing until that is settled.
    pub(crate) fn open(host: &Arc<Host<S>>, opening: Opening, link: S::Link) -> Self {
        let Opening { connection, fingerprint, proof, head, seat, pushes_waiting_max } = opening;
        let now_ms = host.platform.now_ms();
        let session = match connection.generation {
            Generation::V03 => Session::v03(connection.id, proof, now_ms),
            Generation::V04 | Generation::Next => Session::rpc(connection.id, now_ms),
        };
        // The platform has made sure that there is room for a session that nothing has happened to.
        let _ = link.remember(&session);
        let peer = Arc::new(Peer::new(session, link, connection, fingerprint, seat));
        if let Some(hold) = host.hub().join(&peer, now_ms) {
            let (host, guarded_peer) = (Arc::clone(host), Arc::clone(&peer));
            host.platform.clone().spawn(async move {
                guarded_peer.answer_for(hold.take_over(host, head)).await;
            });
        }
        Self::start(host, peer, pushes_waiting_max)
    }

    /// Takes up a connection whose socket outlived this process's memory, with its rebuilt session.
    pub(crate) fn rejoin(
        host: &Arc<Host<S>>,
        session: Session,
        link: S::Link,
        connection: Arc<Connection>,
        fingerprint: String,
        pushes_waiting_max: usize,
    ) -> Self {
        let seat = host.seats.take_again(&connection);
        let peer = Arc::new(Peer::new(session, link, connection, fingerprint, seat));
        host.hub().rejoin(&peer);
        Self::start(host, peer, pushes_waiting_max)
    }

    fn start(host: &Arc<Host<S>>, peer: Arc<Peer<S::Link>>, pushes_waiting_max: usize) -> Self {
        let calls = SocketCalls { host: Arc::clone(host), peer };
        let (pushes, waiting) = mpsc::channel(pushes_waiting_max);
        let pushes_ended = CancellationToken::new();
        host.platform.spawn(run_pushes(calls.clone(), waiting, pushes_ended.clone().drop_guard()));
        Self { calls, pushes: Mutex::new(Some(pushes)), pushes_ended }
    }

    fn pushes(&self) -> MutexGuard<'_, Option<mpsc::Sender<PushCall>>> {
        self.pushes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn peer(&self) -> &Arc<Peer<S::Link>> {
        &self.calls.peer
    }

    /// Whether a push of a frame of so many bytes would wait for room.
    pub(crate) fn is_full(&self, bytes: usize) -> bool {
        let budget = self.peer().link.budget();
        let has_room = budget.take(budget.possible(bytes as u64)).is_ok();
        !has_room || self.pushes().as_ref().is_some_and(|pushes| pushes.capacity() == 0)
    }

    /// Something came from the client, be it only a WebSocket ping.
    pub(crate) fn handle_heard(&self) {
        self.peer().heard.notify_waiters();
    }

    /// A message takes long to come: its sender is told that somebody is there. For platforms that see it coming.
    pub(crate) async fn reassure(&self) {
        let frame = self.peer().session().reassurance();
        if let Some(frame) = frame {
            // A closed connection needs none.
            let _ = self.peer().link.send_ahead(frame.to_owned().into()).await;
        }
    }

    /// The answer to a numbered WebSocket ping has come.
    pub(crate) fn handle_pong(&self, ping: u64) {
        let mut session = self.peer().session();
        session.handle_pong(ping, self.calls.host.platform.now_ms());
        self.peer().poll_ping(&mut session);
        drop(session);
        // It may have made room for a backlog.
        self.peer().progress.notify_waiters();
    }

    /// Takes a frame: answers it, starts pulls, and queues pushes. Returns once the frame is taken;
    /// `in_progress` is let go of when all that it asked for is done.
    pub(crate) async fn handle_text(&self, text: &str, in_progress: InProgress) {
        let taken = self.take(text);
        if !taken.is_done() {
            self.act(taken, in_progress).await;
        }
    }

    /// The first half of [`handle_text`](Self::handle_text), for platforms on which waiting has a price: tells the
    /// session. Most frames acknowledge something, and there is no second half to be done.
    pub(crate) fn take(&self, text: &str) -> Taken {
        let SocketCalls { host, peer } = &self.calls;
        let mut session = peer.session();
        let actions = session.handle_frame(text, host.platform.now_ms());
        let remembered = peer.link.remember(&session);
        drop(session);
        if actions.iter().any(|action| matches!(action, Action::Progress | Action::PullEnded(_))) {
            peer.progress.notify_waiters();
        }
        Taken { actions, remembered, held: None }
    }

    /// The second half: does what the frame asked for.
    pub(crate) async fn act(&self, taken: Taken, in_progress: InProgress) {
        let SocketCalls { host, peer } = &self.calls;
        let Taken { actions, remembered, mut held } = taken;
        for action in actions {
            match action {
                // A closed connection needs no answer.
                Action::Reply(frame) | Action::PullEnded(frame) => drop(peer.link.send(frame.into()).await),
                Action::Pong(frame) => drop(peer.link.send_ahead(frame.into()).await),
                Action::Close(code) => peer.link.close(code),
                // Told already.
                Action::Progress => {}
                Action::NewClient => host.hub().continuation().release(peer),
                Action::Push { request_id, batch, backend_id, generation } => {
                    let in_progress = in_progress.clone();
                    drop(held.take());
                    // Until there is room for it, nothing more is read.
                    let room = peer.link.budget().take_in_turn(held_bytes(&batch));
                    let Some(held) = self.waiting(room).await else { return };
                    let pushes = self.pushes().clone();
                    // A connection that has been closed meanwhile takes none.
                    if let Some(pushes) = pushes {
                        let call = PushCall { held, in_progress, request_id, batch, backend_id, generation };
                        // The receiver runs for as long as there is a sender.
                        let _ = self.waiting(pushes.send(call)).await;
                    }
                }
                Action::Pull { delivery, .. } if !remembered => {
                    let error = PullError::Rejected(HookError::new("more pulls than this connection has room for"));
                    refuse_pull(&self.calls, &delivery, &error).await;
                }
                Action::Pull { delivery, cursor, live, generation } => {
                    let call = PullCall { delivery, pull: Pull::new(cursor, live), generation };
                    let (calls, in_progress) = (self.calls.clone(), in_progress.clone());
                    host.platform.spawn(async move {
                        calls.peer.answer_for(run_pull(&calls.host, &calls, call)).await;
                        calls.peer.progress.notify_waiters();
                        drop(in_progress);
                    });
                }
            }
        }
    }

    /// Waits for room. Meanwhile the platform reads nothing, so this notices the client's end.
    async fn waiting<T>(&self, room: impl Future<Output = T>) -> Option<T> {
        let SocketCalls { host, peer } = &self.calls;
        let mut room = std::pin::pin!(room);
        loop {
            tokio::select! {
                biased;
                there = &mut room => return Some(there),
                () = peer.link.closed() => return None,
                () = host.platform.sleep(ROOM_PROBE_INTERVAL) => {
                    // What is sent to a client that is gone comes back as an error, which closes the link.
                    peer.link.probe(host.platform.now_ms());
                }
            }
        }
    }

    /// Stops taking pushes and waits until those that were read have been committed and answered.
    pub(crate) async fn finish_pushes(&self) {
        // Without a sender the queue ends.
        self.pushes().take();
        self.pushes_ended.cancelled().await;
    }

    /// Ends the connection, for this reason unless another one was told before. The result ends when the
    /// pushes that were read are done: they go on without anybody to answer to.
    pub(crate) fn close(&self, code: CloseCode) -> impl Future<Output = ()> + use<S> {
        let SocketCalls { host, peer } = &self.calls;
        self.pushes().take();
        host.hub().leave(peer, code, host.platform.now_ms());
        self.pushes_ended.clone().cancelled_owned()
    }
}

/// Runs a connection's pushes in the order in which they came. None waits for another's commit, so that those
/// which arrive while one append is under way share the next.
async fn run_pushes<S: Shell>(calls: SocketCalls<S>, mut waiting: mpsc::Receiver<PushCall>, ended: DropGuard) {
    let in_flight = Arc::new(Semaphore::new(PUSHES_IN_FLIGHT_MAX as usize));
    while let Some(call) = waiting.recv().await {
        // Never closed, so there is always a permit to come.
        let permit = Arc::clone(&in_flight).acquire_owned().await;
        if call.generation == Generation::V03 {
            // Frames take effect in their order: a pull shows the log as it was before the push.
            calls.caught_up_or_late().await;
        }
        match calls.peer.answer_for(admit_push(&calls.host, &calls, call)).await {
            Some(Admission::Admitted(admitted)) => {
                let calls = calls.clone();
                calls.host.platform.clone().spawn(async move {
                    calls.peer.answer_for(complete_push(&calls.host, &calls, admitted, || drop(permit))).await;
                });
            }
            // Nobody is there for whom it would be worth to wait for as many hooks as there are pushes.
            Some(Admission::TimedOut) if calls.peer.link.is_closed() => break,
            Some(Admission::TimedOut | Admission::Refused) | None => {}
        }
    }
    drop(waiting);
    // All permits are back when the last push has its answer.
    let _ = in_flight.acquire_many(PUSHES_IN_FLIGHT_MAX).await;
    drop(ended);
}

//! The connected sockets of one store, and what is published to them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use livestore_sync_protocol::{RequestId, SeqNum};
use uuid::Uuid;

use super::continuation::{Continuation, Hold, SavedClients};
use super::{Link, Peer};
use crate::budget::{Budget, MODEST_BYTES};
use crate::close::CloseCode;
use crate::error::HistoryLost;
use crate::event::{Committed, Origin, Publish};
use crate::failure::{guarded_now, note};
use crate::frame::HeldOnce;
use crate::session::Outgoing;

/// Receives what the store commits and hands it to each connection.
pub(crate) struct Hub<K> {
    peers: Mutex<BTreeMap<Uuid, Arc<Peer<K>>>>,
    continuation: Continuation,
    /// Receivers that are no sockets.
    subscribers: Option<Arc<dyn Publish>>,
    /// That of the store: what is published is held once, however many receive it.
    budget: Budget,
    rest: Rest,
}

/// When publications rest (see `store::pace`), on platforms where publishing keeps everything else waiting.
#[derive(Clone, Copy, Default)]
pub(crate) struct Rest {
    /// With fewer receivers, never.
    pub(crate) receivers_min: usize,
    /// So long, for each of them.
    pub(crate) per_receiver: Duration,
}

impl<K: Link> Hub<K> {
    pub(crate) fn new(continuation: Continuation, subscribers: Option<Arc<dyn Publish>>, budget: Budget) -> Self {
        Self { peers: Mutex::default(), continuation, subscribers, budget, rest: Rest::default() }
    }

    /// The same, whose publications rest.
    #[cfg(any(test, feature = "worker"))]
    pub(crate) fn resting(self, rest: Rest) -> Self {
        Self { rest, ..self }
    }

    fn peers(&self) -> MutexGuard<'_, BTreeMap<Uuid, Arc<Peer<K>>>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn continuation(&self) -> &Continuation {
        &self.continuation
    }

    /// Adds a new connection. One that may be a 0.3 client which reconnects is held until that is settled.
    pub(super) fn join(&self, peer: &Arc<Peer<K>>, now_ms: u64) -> Option<Hold<K>> {
        let mut peers = self.peers();
        let hold = self.continuation.joined(peer, peers.values(), now_ms);
        peers.insert(peer.connection.id, Arc::clone(peer));
        hold
    }

    /// Adds a connection that [`join`](Self::join) had added before this process lost its memory.
    pub(super) fn rejoin(&self, peer: &Arc<Peer<K>>) {
        self.peers().insert(peer.connection.id, Arc::clone(peer));
    }

    /// Ends a connection, also one that has ended already: it is published to no more, and what its client may have missed is remembered.
    pub(super) fn leave(&self, peer: &Peer<K>, code: CloseCode, now_ms: u64) {
        {
            let mut peers = self.peers();
            if peers.remove(&peer.connection.id).is_some() {
                // Under the lock: a connection that joins now must find the client here or there.
                self.continuation.left(peer, now_ms);
            }
        }
        peer.abort(code);
    }

    /// Acknowledges a push that was in the log already, on the pusher's connection or on its next one.
    pub(super) fn acknowledge(&self, peer: &Peer<K>, request_id: &RequestId) {
        let peers = self.peers();
        if peers.contains_key(&peer.connection.id) {
            acknowledge(peer, request_id);
        } else {
            let origin = Origin { connection: peer.connection.id, request_id: request_id.clone() };
            self.acknowledge_after_loss(&peers, &origin);
        }
    }

    fn acknowledge_after_loss(&self, peers: &BTreeMap<Uuid, Arc<Peer<K>>>, origin: &Origin) {
        for connection in self.continuation.committed_after_loss(origin) {
            if let Some(peer) = peers.get(&connection) {
                acknowledge(peer, &origin.request_id);
            }
        }
    }

    /// What the next host must know of 0.3 clients.
    pub(crate) fn saved_clients(&self) -> SavedClients {
        self.continuation.saved(self.peers().values())
    }

    /// Takes over from the last host, whose log ended at `head`.
    pub(crate) fn restore(&self, clients: SavedClients, head: SeqNum, now_ms: u64) {
        let peers = self.peers();
        self.continuation.restore(clients, |connection| peers.contains_key(&connection), head, now_ms);
    }
}

fn acknowledge<K: Link>(peer: &Peer<K>, request_id: &RequestId) {
    let mut session = peer.session();
    let frame = session.acknowledge(request_id);
    peer.send_now(&mut session, [frame]);
}

/// Gives a receiver what was committed. Queued while the session is locked, so that frames keep the order of its
/// decisions. `held` is taken until the last receiver has it.
fn deliver<K: Link>(peer: &Peer<K>, committed: &Committed, held: &Arc<HeldOnce>, is_short: bool) {
    let mut session = peer.session();
    if is_short && !peer.link.is_closed() && peer.link.budget().held() > MODEST_BYTES {
        peer.abort(CloseCode::SlowReader);
        note(|| tracing::info!("memory is short: closing a connection that reads too slowly"));
    }
    if peer.link.is_closed() {
        // Nothing goes out any more, so nothing may count as sent: a 0.3 client is continued behind what was.
        return session.handle_committed_unsent(committed);
    }
    if session.is_deaf() {
        peer.abort(CloseCode::SlowReader);
        return note(|| tracing::info!("closing a connection that acknowledges nothing"));
    }
    for outgoing in session.handle_committed(committed) {
        match outgoing {
            Outgoing::Text(frame) => peer.link.send_now(frame.shared(held)),
            Outgoing::Ping(number) => peer.link.ping(number),
            // It does not make the session larger, so it has room.
            Outgoing::Remember => drop(peer.link.remember(&session)),
        }
    }
}

impl<K: Link> Hub<K> {
    /// Whatever panics on the way to one receiver (a logger, a bug) ends that connection, whose client comes back and
    /// pulls, and nothing else: no other receiver is left out.
    fn each(peers: &BTreeMap<Uuid, Arc<Peer<K>>>, give: impl Fn(&Peer<K>)) {
        for peer in peers.values() {
            if guarded_now(|| give(peer)).is_err() {
                peer.fail();
            }
        }
    }
}

impl<K: Link> Publish for Hub<K> {
    fn publish(&self, committed: &Committed) {
        if let Some(subscribers) = &self.subscribers {
            // What waits for them is kept by themselves.
            let _ = guarded_now(|| subscribers.publish(committed));
        }
        let peers = self.peers();
        let held = Arc::new(self.budget.take_anyway(committed.bytes() as u64).into());
        let is_short = self.budget.is_short();
        Self::each(&peers, |peer| deliver(peer, committed, &held, is_short));
        if let Some(origin) = committed.origin.as_ref().filter(|origin| !peers.contains_key(&origin.connection)) {
            // Its client asks again.
            let _ = guarded_now(|| self.acknowledge_after_loss(&peers, origin));
        }
        if let Some(peer) = peers.values().next() {
            peer.link.published();
        }
    }

    fn acknowledge(&self, origin: &Origin) {
        let peers = self.peers();
        let peer = peers.get(&origin.connection);
        // Its client asks again.
        let _ = guarded_now(|| match peer {
            Some(peer) => acknowledge(peer, &origin.request_id),
            None => self.acknowledge_after_loss(&peers, origin),
        });
    }

    fn rest(&self) -> Duration {
        let receivers = self.peers().len();
        if receivers < self.rest.receivers_min {
            return Duration::ZERO;
        }
        self.rest.per_receiver * receivers.try_into().unwrap_or(u32::MAX)
    }

    fn history_lost(&self, lost: &HistoryLost) {
        Self::each(&self.peers(), |peer| {
            let mut session = peer.session();
            let frames = session.handle_history_lost(lost);
            peer.send_now(&mut session, frames);
            // Less than before has room.
            let _ = peer.link.remember(&session);
            drop(session);
            peer.progress.notify_waiters();
        });
    }
}

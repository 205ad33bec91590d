//! What a server can do for 0.3 clients that reconnect: the one room that knows how.
//!
//! They pull once in their life: on a new socket they take what is pushed from then on, do not notice the hole
//! before it, and keep it for ever. But they take a `PullRes` that carries their own pull's id on any socket, and
//! ignore those of others (`ws-impl.ts` of sync-cf 0.3.1). So the pulls of lost connections are remembered with
//! where each stood ([`lost`]), and continued, under their old ids, on the next connection that may be the same
//! client's ([`take_over`]). Which one it is, nothing on the wire tells: candidates are all that look alike.
//!
//! The hub tells this room of each connection that joins and leaves; a platform keeps what it knows over restarts
//! ([`SavedClients`], [`Continuation::save_changes`]). Sessions say what arrived (`session/v03/arrivals`).

mod lost;
mod saved;
mod strays;
mod take_over;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use livestore_sync_protocol::SeqNum;
use tokio::sync::Notify;
use uuid::Uuid;

use self::lost::LostPulls;
use self::saved::Connected;
pub(crate) use self::saved::SavedClients;
use super::{Link, Peer};
use crate::event::Origin;
use crate::session::{Lost, Position};

/// Open connections that look like a new one and are asked whether they are still there: those that were heard longest
/// ago. The others are taken for alive. More than these are an office behind one address.
const ALIKE_ASKED_MAX: usize = 64;

/// What is known of the 0.3 clients of one store.
pub(crate) struct Continuation {
    lost: Mutex<LostPulls>,
    /// Rings when what must be saved changes.
    changed: Arc<Notify>,
}

/// A connection that gets no events until it is clear what it continues: see [`Hold::take_over`].
#[must_use = "a held connection gets nothing until `take_over` has run"]
pub(crate) struct Hold<K> {
    peer: Arc<Peer<K>>,
    /// Open connections that look like it: the client's own, left behind, or others'.
    alike: Vec<Arc<Peer<K>>>,
}

impl Continuation {
    /// `changed` may be shared by many stores whose clients are saved together.
    pub(crate) fn new(changed: Arc<Notify>) -> Self {
        Self { lost: Mutex::default(), changed }
    }

    fn lost(&self) -> MutexGuard<'_, LostPulls> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection is about to join `others`.
    pub(super) fn joined<'a, K: Link>(
        &self,
        peer: &Arc<Peer<K>>,
        others: impl Iterator<Item = &'a Arc<Peer<K>>>,
        now_ms: u64,
    ) -> Option<Hold<K>> {
        let mut session = peer.session();
        if !session.may_continue() {
            return None;
        }
        // When each was heard, of those that look like it.
        let heard_ms = |other: &Arc<Peer<K>>| {
            let session = other.session();
            session.heard_ms().filter(|_| session.has_continuable_pulls())
        };
        let alike = others.filter(|other| other.fingerprint == peer.fingerprint);
        let mut alike: Vec<_> = alike.filter_map(|other| Some((heard_ms(other)?, Arc::clone(other)))).collect();
        if alike.len() > ALIKE_ASKED_MAX {
            alike.sort_by_key(|(heard_ms, _)| *heard_ms);
            alike.truncate(ALIKE_ASKED_MAX);
        }
        let alike: Vec<_> = alike.into_iter().map(|(_, other)| other).collect();
        if alike.is_empty() && !self.lost().has(&peer.fingerprint, now_ms) {
            return None;
        }
        session.hold();
        Some(Hold { peer: Arc::clone(peer), alike })
    }

    /// A connection has left.
    pub(super) fn left<K: Link>(&self, peer: &Peer<K>, now_ms: u64) {
        if let Some(lost) = peer.session().handle_lost(now_ms) {
            self.lost().lose(peer.connection.id, &peer.fingerprint, lost, now_ms);
            self.changed.notify_one();
        }
    }

    /// A push is committed whose connection was lost meanwhile: the client waits for its acknowledgement. Returns
    /// the connections that may be that client's by now; they get it at once.
    pub(super) fn committed_after_loss(&self, origin: &Origin) -> Vec<Uuid> {
        let continued_by = self.lost().acknowledge(origin.connection, &origin.request_id.to_string());
        self.changed.notify_one();
        continued_by
    }

    /// A connection turned out to be a new client's: it continues nothing.
    pub(super) fn release<K: Link>(&self, peer: &Peer<K>) {
        self.lost().release(peer.connection.id, &peer.fingerprint);
        self.changed.notify_one();
    }

    /// What a connection that is held continues; `None` when its client has shown meanwhile that it is new.
    /// Acknowledgements that may be lost are repeated, which clients expect before the events.
    fn claim<K: Link>(&self, peer: &Peer<K>, now_ms: u64) -> Option<Vec<Position>> {
        let mut session = peer.session();
        if !session.is_held() {
            return None;
        }
        let lost = self.lost().claim(peer.connection.id, &peer.fingerprint, now_ms);
        self.changed.notify_one();
        let acknowledgements = session.adopt(&lost);
        peer.send_now(&mut session, acknowledgements);
        // What is continued takes the place of nothing, so it has room.
        let _ = peer.link.remember(&session);
        Some(lost.pulls)
    }

    /// Rings when what must be saved changes.
    pub(crate) fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    /// Whether a client may come back for what only this host knows.
    pub(crate) fn has_lost(&self, now_ms: u64) -> bool {
        !self.lost().is_empty(now_ms)
    }

    pub(super) fn saved<'a, K: Link>(&self, peers: impl Iterator<Item = &'a Arc<Peer<K>>>) -> SavedClients {
        let connected = peers.filter_map(|peer| {
            let pulls = peer.session().continuable_pulls();
            let (connection, fingerprint) = (peer.connection.id, peer.fingerprint.clone());
            (!pulls.is_empty()).then_some(Connected { connection, fingerprint, pulls })
        });
        SavedClients { connected: connected.collect(), lost: self.lost().unclaimed() }
    }

    /// Takes over from the last host, whose log ended at `head`. Clients that are still connected have lost
    /// nothing; the others count as having had everything up to there, and to no later event: so it is written down
    /// before anything else is, or the next host would put them where the log ends then.
    pub(super) fn restore(
        &self,
        clients: SavedClients,
        is_connected: impl Fn(Uuid) -> bool,
        head: SeqNum,
        now_ms: u64,
    ) {
        if clients.is_empty() {
            return;
        }
        let mut lost = self.lost();
        lost.restore(clients.lost);
        for Connected { connection, fingerprint, pulls } in clients.connected {
            if !is_connected(connection) {
                let pulls = pulls.into_iter().map(|pull| Position { pull, after: head }).collect();
                lost.lose(Uuid::nil(), &fingerprint, Lost { pulls, acknowledged: Vec::new() }, now_ms);
            }
        }
        self.changed.notify_one();
    }
}

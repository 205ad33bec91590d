use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use livestore_sync_protocol::SeqNum;
use tokio::sync::Notify;
use uuid::Uuid;

use super::clients::{Clients, Connected};
use super::{Link, Peer};
use crate::event::{Committed, Publish};
use crate::resume::{Lost, Position, Resume};

/// The connected sockets of one store.
pub(crate) struct Hub<K> {
    /// Told when what is known of 0.3 clients changes.
    changed: Arc<Notify>,
    peers: Mutex<BTreeMap<Uuid, Arc<Peer<K>>>>,
    resume: Mutex<Resume>,
    /// Receivers that are no sockets.
    #[cfg(target_family = "wasm")]
    others: Option<Arc<dyn Publish>>,
}

impl<K: Link> Hub<K> {
    pub(crate) fn new(changed: Arc<Notify>) -> Self {
        Self {
            changed,
            peers: Mutex::default(),
            resume: Mutex::default(),
            #[cfg(target_family = "wasm")]
            others: None,
        }
    }

    /// With receivers that are no sockets.
    #[cfg(target_family = "wasm")]
    pub(crate) fn with_others(self, others: Arc<dyn Publish>) -> Self {
        Self { others: Some(others), ..self }
    }

    fn peers(&self) -> MutexGuard<'_, BTreeMap<Uuid, Arc<Peer<K>>>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn resume(&self) -> MutexGuard<'_, Resume> {
        self.resume.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Told when what is known of 0.3 clients changes.
    #[cfg(target_family = "wasm")]
    pub(crate) fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    /// Adds a connection. If a 0.3 client may have reconnected with it, it is held, and these are the
    /// connections that look like it and are not known to be lost.
    pub(crate) fn join(&self, peer: &Arc<Peer<K>>, now_ms: u64) -> Option<Vec<Arc<Peer<K>>>> {
        let mut peers = self.peers();
        let mut held = None;
        if let Some(session) = peer.session().v03_mut() {
            let alike = |other: &&Arc<Peer<K>>| {
                other.likeness == peer.likeness
                    && other.session().v03_mut().is_some_and(|other| other.pulls().next().is_some())
            };
            let alike: Vec<_> = peers.values().filter(alike).cloned().collect();
            if !alike.is_empty() || self.resume().has_lost(&peer.likeness, now_ms) {
                session.hold();
                held = Some(alike);
            }
        }
        peers.insert(peer.connection.id, Arc::clone(peer));
        held
    }

    /// What a connection that is held shall continue; `None` when its client is a new one. The
    /// frames come first.
    pub(crate) fn claim(&self, peer: &Peer<K>, now_ms: u64) -> Option<(Vec<String>, Vec<Position>)> {
        let mut session = peer.session();
        let session = session.v03_mut().filter(|session| session.is_held())?;
        let lost = self.resume().claim(peer.connection.id, &peer.likeness, now_ms);
        self.changed.notify_one();
        Some((session.adopt(&lost), lost.pulls))
    }

    pub(crate) fn leave(&self, peer: &Peer<K>, now_ms: u64) {
        let mut peers = self.peers();
        if peers.remove(&peer.connection.id).is_none() {
            return;
        }
        if let Some(session) = peer.session().v03_mut() {
            self.resume().lose(peer.connection.id, &peer.likeness, session.handle_lost(now_ms), now_ms);
            self.changed.notify_one();
        }
    }

    /// Whether a 0.3 client may come back for what only this hub knows.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn has_lost(&self, now_ms: u64) -> bool {
        !self.resume().is_empty(now_ms)
    }

    /// What the next server must know.
    pub(crate) fn clients(&self) -> Clients {
        let peers = self.peers();
        let connected = peers.values().filter_map(|peer| {
            let mut session = peer.session();
            let pulls: Vec<_> = session.v03_mut()?.pulls().map(str::to_owned).collect();
            let (connection, likeness) = (peer.connection.id, peer.likeness.clone());
            (!pulls.is_empty()).then_some(Connected { connection, likeness, pulls })
        });
        Clients { connected: connected.collect(), lost: self.resume().unclaimed() }
    }

    /// Adds a connection that was there before, after [`join`](Self::join) had added it then.
    #[cfg(target_family = "wasm")]
    pub(crate) fn rejoin(&self, peer: &Arc<Peer<K>>) {
        self.peers().insert(peer.connection.id, Arc::clone(peer));
    }

    /// A connection by its id.
    #[cfg(target_family = "wasm")]
    pub(crate) fn peer(&self, connection: Uuid) -> Option<Arc<Peer<K>>> {
        self.peers().get(&connection).cloned()
    }

    /// All connections.
    #[cfg(target_family = "wasm")]
    pub(crate) fn all(&self) -> Vec<Arc<Peer<K>>> {
        self.peers().values().cloned().collect()
    }

    /// Takes over from the last home, whose log ended at `head`. Clients that are still connected have
    /// lost nothing.
    pub(crate) fn restore(&self, clients: Clients, head: SeqNum, now_ms: u64) {
        let peers = self.peers();
        let mut resume = self.resume();
        resume.restore(clients.lost);
        let gone = clients.connected.into_iter().filter(|connected| !peers.contains_key(&connected.connection));
        for Connected { connection: _, likeness, pulls } in gone {
            let pulls = pulls.into_iter().map(|pull| Position { pull, after: head }).collect();
            resume.lose(Uuid::nil(), &likeness, Lost { pulls, acknowledged: Vec::new() }, now_ms);
        }
    }

    /// A 0.3 client turned out to be a new one.
    pub(crate) fn release(&self, connection: Uuid) {
        self.resume().release(connection);
        self.changed.notify_one();
    }
}

impl<K: Link> Publish for Hub<K> {
    fn publish(&self, committed: &Committed) {
        #[cfg(target_family = "wasm")]
        if let Some(others) = &self.others {
            others.publish(committed);
        }
        let peers = self.peers();
        for peer in peers.values() {
            // Frames are queued under the session's lock, so that they keep the order in which the
            // session decided on them.
            let mut session = peer.session();
            for frame in session.handle_committed(committed) {
                peer.send_now(&mut session, frame);
            }
        }
        if let Some(origin) = committed.origin.as_ref().filter(|origin| !peers.contains_key(&origin.connection)) {
            self.resume().acknowledge(origin.connection, &origin.request_id.to_string());
            self.changed.notify_one();
        }
    }
}

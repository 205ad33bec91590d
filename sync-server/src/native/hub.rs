use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use uuid::Uuid;

use super::outbox::Outbox;
use crate::store::{Committed, Publish};
use crate::{Connection, Session};

/// One connected WebSocket.
pub(super) struct Peer {
    session: Mutex<Session>,
    pub(super) outbox: Outbox,
    /// Told when a pull may go on, or is over, or has caught up.
    pub(super) progress: Notify,
    pub(super) connection: Arc<Connection>,
}

impl Peer {
    pub(super) fn new(session: Session, outbox: Outbox, connection: Arc<Connection>) -> Self {
        Self { session: Mutex::new(session), outbox, progress: Notify::new(), connection }
    }

    pub(super) fn session(&self) -> MutexGuard<'_, Session> {
        // A session is a few plain values, each set at once.
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connected sockets of one store.
#[derive(Default)]
pub(super) struct Hub {
    peers: Mutex<BTreeMap<Uuid, Arc<Peer>>>,
}

impl Hub {
    fn peers(&self) -> MutexGuard<'_, BTreeMap<Uuid, Arc<Peer>>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn join(&self, peer: Arc<Peer>) {
        self.peers().insert(peer.connection.id, peer);
    }

    pub(super) fn leave(&self, connection: Uuid) {
        self.peers().remove(&connection);
    }
}

impl Publish for Hub {
    fn publish(&self, committed: &Committed) {
        for peer in self.peers().values() {
            // Frames are queued under the session's lock, so that they keep the order in which the
            // session decided on them.
            let mut session = peer.session();
            for frame in session.handle_committed(committed) {
                peer.outbox.send_now(frame);
            }
        }
    }
}

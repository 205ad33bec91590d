use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Link;
use crate::hash::fnv1a;
use crate::{Connection, Session};

/// What connections of one 0.3 client have in common; `address` is where it connects from. A hash,
/// because it is kept and the payload may hold a secret. Clients that share one by chance or on
/// purpose are alike, as two tabs of a browser are: each may be continued what the other left.
pub(crate) fn likeness(connection: &Connection, address: &str, agent: Option<&str>, forwarded: Option<&str>) -> String {
    let payload = connection.payload.as_deref().map(|payload| payload.get()).unwrap_or_default();
    let all = format!("{address}\n{}\n{}\n{payload}", forwarded.unwrap_or_default(), agent.unwrap_or_default());
    format!("{:016x}", fnv1a(&all))
}

/// One connected client.
pub(crate) struct Peer<K> {
    session: Mutex<Session>,
    pub(crate) link: K,
    /// Told when a pull may go on, or is over, or has caught up.
    pub(crate) progress: Notify,
    pub(crate) connection: Arc<Connection>,
    /// Told of everything that comes from the client.
    pub(crate) heard: Notify,
    /// What connections of one 0.3 client have in common.
    pub(crate) likeness: String,
}

impl<K: Link> Peer<K> {
    pub(crate) fn new(session: Session, link: K, connection: Arc<Connection>, likeness: String) -> Self {
        Self { session: Mutex::new(session), link, progress: Notify::new(), connection, heard: Notify::new(), likeness }
    }

    /// Queues a frame that the session has just decided on, and, where it wants to know whether that
    /// arrives, a ping behind it.
    pub(super) fn send_now(&self, session: &mut Session, frame: String) {
        self.link.send_now(frame);
        self.poll_ping(session);
    }

    /// Pings where the session wants to know what has arrived. The pong brings the number back.
    pub(crate) fn poll_ping(&self, session: &mut Session) {
        if let Some(ping) = session.poll_ping() {
            self.link.ping(ping);
        }
    }

    pub(crate) fn session(&self) -> MutexGuard<'_, Session> {
        // A session is a few plain values, each set at once.
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Link;
use crate::{Connection, Session};

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
    pub(super) likeness: String,
}

impl<K: Link> Peer<K> {
    /// `address` is where the client connects from.
    pub(crate) fn new(session: Session, link: K, connection: Arc<Connection>, address: &str) -> Self {
        let payload = connection.payload.as_deref().map(|payload| payload.get()).unwrap_or_default();
        let agent = connection.header("user-agent").unwrap_or_default();
        let forwarded = connection.header("x-forwarded-for").unwrap_or_default();
        let likeness = format!("{address}\n{forwarded}\n{agent}\n{payload}");
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

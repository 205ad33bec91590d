//! One connected client as the rest of the host sees it: its session, its link, and who waits for what.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Link;
use crate::close::CloseCode;
use crate::failure::{guarded, guarded_now};
use crate::hash::fnv1a;
use crate::hooks::Connection;
use crate::session::Session;
use crate::store::Refusals;

/// What the connections of one 0.3 client have in common; `address` is where it connects from. A hash,
/// because it is kept on disk and the payload may hold a secret. Clients that share one by chance or on
/// purpose look alike, as two tabs of a browser do: each may be given what the other missed.
pub(crate) fn fingerprint(
    connection: &Connection,
    address: &str,
    agent: Option<&str>,
    forwarded: Option<&str>,
) -> String {
    let payload = connection.payload.as_deref().map(|payload| payload.get()).unwrap_or_default();
    let all = format!("{address}\n{}\n{}\n{payload}", forwarded.unwrap_or_default(), agent.unwrap_or_default());
    format!("{:016x}", fnv1a(&all))
}

/// One connected client.
pub(crate) struct Peer<K> {
    session: Mutex<Session>,
    pub(crate) link: K,
    pub(crate) connection: Arc<Connection>,
    /// See [`fingerprint`].
    pub(crate) fingerprint: String,
    pub(super) refusals: Arc<Refusals>,
    /// Rings when a pull may go on, has ended or has caught up, and when the connection ends.
    pub(super) progress: Notify,
    /// Rings for everything that comes from the client.
    pub(super) heard: Notify,
}

impl<K: Link> Peer<K> {
    pub(super) fn new(session: Session, link: K, connection: Arc<Connection>, fingerprint: String) -> Self {
        let (progress, heard) = (Notify::new(), Notify::new());
        Self { session: Mutex::new(session), link, connection, fingerprint, refusals: Arc::default(), progress, heard }
    }

    pub(crate) fn session(&self) -> MutexGuard<'_, Session> {
        // A session is a few plain values, each set at once, so a panic elsewhere leaves it usable.
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues frames that the session has just decided on, and, where it wants to know whether they arrive, a ping
    /// behind all of them. The session is still locked, so that frames keep the order of decisions.
    pub(super) fn send_now(&self, session: &mut Session, frames: impl IntoIterator<Item = String>) {
        frames.into_iter().for_each(|frame| self.link.send_now(frame.into()));
        self.poll_ping(session);
    }

    /// Pings where the session wants to know what has arrived. The pong brings the number back.
    pub(super) fn poll_ping(&self, session: &mut Session) {
        if let Some(ping) = session.poll_ping() {
            self.link.ping(ping);
        }
    }

    /// Ends the connection and wakes everything that waits for it.
    pub(super) fn abort(&self, code: CloseCode) {
        self.link.abort(code);
        self.progress.notify_waiters();
    }

    /// Ends the connection because a part of the server that worked for it panicked.
    pub(super) fn fail(&self) {
        // Nothing is left to do where that panics as well.
        let _ = guarded_now(|| self.abort(CloseCode::Failed));
    }

    /// Runs what answers this client: if that panics, nothing else will, so the connection ends.
    pub(super) async fn answer_for<T>(&self, answering: impl Future<Output = T>) -> Option<T> {
        match guarded(answering).await {
            Ok(output) => Some(output),
            Err(_) => {
                self.fail();
                None
            }
        }
    }

    /// Waits until this is true of the session, or the connection ends.
    pub(super) async fn until(&self, mut condition: impl FnMut(&Session) -> bool) {
        loop {
            // Made before the look, so that no progress is missed between the two.
            let mut progress = std::pin::pin!(self.progress.notified());
            progress.as_mut().enable();
            if self.link.is_closed() || condition(&self.session()) {
                return;
            }
            tokio::select! {
                () = progress => {}
                () = self.link.closed() => return,
            }
        }
    }
}

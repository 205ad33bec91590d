//! One connected client as the rest of the host sees it: its session, its link, and who waits for what.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::{Link, Seat};
use crate::close::CloseCode;
use crate::failure::{guarded, guarded_now};
use crate::hash::fnv1a;
use crate::hooks::Connection;
use crate::session::Session;
use crate::store::Refusals;

/// Where a client connects from, as far as it can be known. `peer` is the other end of the connection, `forwarded` what
/// the headers `X-Forwarded-For` hold, in their order: each proxy adds the address that it was asked from. Anybody can
/// send such a header, so only what the last `trusted_proxies` proxies have added is believed; without any, the header
/// is only one more thing by which clients differ.
pub(crate) fn client_address<'a>(
    peer: &'a str,
    forwarded: impl Iterator<Item = &'a str>,
    trusted_proxies: usize,
) -> String {
    if trusted_proxies == 0 {
        return format!("{peer}\n{}", forwarded.collect::<Vec<_>>().join(","));
    }
    let hops: Vec<_> = forwarded.flat_map(|header| header.split(',')).map(str::trim).chain([peer]).collect();
    let client = hops[hops.len().saturating_sub(1 + trusted_proxies)];
    // Some proxies write the port, which is another one each time.
    client.parse().map_or_else(|_| client.to_owned(), |address: SocketAddr| address.ip().to_string())
}

/// What the connections of one 0.3 client have in common; `address` is where it connects from, see [`client_address`].
/// A hash, because it is kept on disk and the payload may hold a secret. Clients that share one by chance or on
/// purpose look alike, as two tabs of a browser do: each may be given what the other missed.
pub(crate) fn fingerprint(connection: &Connection, address: &str, agent: Option<&str>) -> String {
    let payload = connection.payload.as_deref().map(|payload| payload.get()).unwrap_or_default();
    let all = format!("{address}\n{}\n{payload}", agent.unwrap_or_default());
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
    _seat: Seat,
}

impl<K: Link> Peer<K> {
    pub(super) fn new(session: Session, link: K, connection: Arc<Connection>, fingerprint: String, seat: Seat) -> Self {
        let (session, refusals) = (Mutex::new(session), Arc::default());
        let (progress, heard) = (Notify::new(), Notify::new());
        Self { session, link, connection, fingerprint, refusals, progress, heard, _seat: seat }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_known_by_what_trusted_proxies_say() {
        let of = |forwarded: &[&str], trusted| client_address("10.0.0.1", forwarded.iter().copied(), trusted);
        for (forwarded, trusted, expected) in [
            // Nobody is trusted: whatever is said makes a difference, and nothing else.
            (&["1.2.3.4"][..], 0, "10.0.0.1\n1.2.3.4"),
            (&["1.2.3.4", "5.6.7.8"], 0, "10.0.0.1\n1.2.3.4,5.6.7.8"),
            (&[], 0, "10.0.0.1\n"),
            // The other end is a proxy.
            (&["1.2.3.4"], 1, "1.2.3.4"),
            (&["a lie, 1.2.3.4"], 1, "1.2.3.4"),
            (&["a lie", "1.2.3.4"], 1, "1.2.3.4"),
            // And so is the one before it, whose own address changes.
            (&["1.2.3.4, 10.0.7.1"], 2, "1.2.3.4"),
            (&["1.2.3.4, 10.0.7.2"], 2, "1.2.3.4"),
            (&["a lie, 1.2.3.4,10.0.7.3"], 2, "1.2.3.4"),
            // Past them all.
            (&["1.2.3.4"], 9, "1.2.3.4"),
            (&[], 1, "10.0.0.1"),
            (&["1.2.3.4:5678"], 1, "1.2.3.4"),
            (&["[2001:db8::1]:5678"], 1, "2001:db8::1"),
            (&["2001:db8::1"], 1, "2001:db8::1"),
            (&["unknown"], 1, "unknown"),
        ] {
            assert_eq!(of(forwarded, trusted), expected, "{forwarded:?} {trusted}");
        }
    }
}

//! The pings of a connection: the app's, and those that show whether the server is still there. A network that swallows
//! everything looks like a server that has nothing to say; only a ping that is not answered tells them apart.

use std::time::Duration;

use super::Protocol;
use super::types::Action;
use super::{Connection, LinkPhase, Owner, take_where};
use crate::error::PingError;

#[derive(Debug)]
pub(super) struct PingState {
    sent: bool,
    /// When it began to wait for a connection.
    pub(super) waiting_since: Duration,
}

impl PingState {
    pub(super) fn new(now: Duration) -> Self {
        Self { sent: false, waiting_since: now }
    }
}

impl Connection {
    /// Sends what the app asks, if there is a connection.
    pub(super) fn send_pings(&mut self, now: Duration) {
        if self.is_offline() || self.pings.values().all(|ping| ping.sent) {
            return;
        }
        for ping in self.pings.values_mut() {
            ping.sent = true;
        }
        self.send_ping(now);
    }

    pub(super) fn send_ping(&mut self, now: Duration) {
        let LinkPhase::Open { pinged, pulled, .. } = &mut self.phase else { return };
        pinged.get_or_insert(now);
        // Servers of 0.4 take a client that pings and never pulled for the published client of 0.4.0 that is stuck: it
        // waits for a pull of an earlier connection, and is helped by closing this one. A ping of the WebSocket
        // protocol asks the same and is not seen by the server's program.
        if self.dialect.protocol == Protocol::V04Ws && !*pulled {
            return self.actions.push_back(Action::SocketPing);
        }
        let request = if self.dialect.protocol == Protocol::V04Http { self.new_request(Owner::Ping) } else { 0 };
        let frame = self.dialect.ping(request);
        self.send(request, frame);
    }

    pub(super) fn ponged(&mut self) {
        for (key, _) in take_where(&mut self.pings, |ping| ping.sent) {
            self.actions.push_back(Action::Ponged { key, result: Ok(()) });
        }
    }

    /// Nothing came from the server for a while.
    pub(super) fn keep_alive(&mut self, now: Duration) {
        // Over http each request is a connection of its own: without one there is nothing that could be lost.
        if self.dialect.protocol == Protocol::V04Http && self.requests.is_empty() {
            if let LinkPhase::Open { last_frame, .. } = &mut self.phase {
                *last_frame = now;
            }
            return;
        }
        self.send_ping(now);
    }

    /// A ping asks about one connection.
    pub(super) fn lose_pings(&mut self) {
        self.fail_pings(|ping| ping.sent);
    }

    pub(super) fn give_up_pings(&mut self, now: Duration) {
        let patience = self.timing.patience;
        self.fail_pings(|ping| ping.waiting_since + patience <= now);
    }

    fn fail_pings(&mut self, condition: impl Fn(&PingState) -> bool) {
        for (key, _) in take_where(&mut self.pings, condition) {
            let result = Err(PingError::Offline { reason: self.reason.clone() });
            self.actions.push_back(Action::Ponged { key, result });
        }
    }
}

//! The life of a connection, on every platform: what is opened, run, published and closed, and in which order.
//!
//! Callers are the native server, the Worker's object and the simulation. Each brings its sockets ([`Link`]), its
//! tasks and clock ([`Platform`]), and decides when to start and stop; everything between is here, once:
//!
//! - [`Conversation`]: one WebSocket, from its opening to its end;
//! - [`exchange`]: one body in, a stream of frames out, for HTTP and for calls between objects;
//! - [`Hub`]: the connected sockets of a store, and what is published to them;
//! - [`continuation`]: 0.3 clients that come back.
//!
//! It asks `session` what a frame means and `store` to push and pull, and may not touch a socket, a database or a
//! runtime by itself.

mod calls;
pub(crate) mod continuation;
pub(crate) mod conversation;
pub(crate) mod exchange;
mod hub;
mod link;
pub(crate) mod patience;
mod peer;
mod pushes;
mod seats;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub(crate) use self::conversation::{Conversation, Opening};
pub(crate) use self::hub::{Hub, Rest};
pub(crate) use self::link::{Closed, Link};
pub(crate) use self::peer::{Peer, client_address, fingerprint};
pub(crate) use self::seats::{Seat, Seats};
use crate::budget::{Budget, Holder};
use crate::event_log::EventLog;
use crate::hooks::Hooks;
use crate::platform::{MaybeSend, MaybeSync, Platform};
use crate::store::Store;

/// The parts that make a host on one platform.
pub(crate) trait Shell: MaybeSend + MaybeSync + 'static {
    type Log: EventLog;
    type Hooks: Hooks;
    type Link: Link;
    type Platform: Platform;
}

/// An open store with its connections.
pub(crate) struct Host<S: Shell> {
    pub(crate) store: Store<S::Log, S::Hooks, Hub<S::Link>, S::Platform>,
    pub(crate) platform: S::Platform,
    /// What the connections of this store make the server hold.
    pub(crate) budget: Budget,
    /// What one of them may make it hold.
    pub(crate) connection_bytes_max: u64,
    /// The WebSockets that it may have.
    pub(crate) seats: Arc<Seats>,
}

impl<S: Shell> Host<S> {
    /// The budget of a new connection or request.
    pub(crate) fn connection_budget(&self) -> Budget {
        self.budget.child(Holder::Connection, self.connection_bytes_max)
    }

    pub(crate) fn hub(&self) -> &Hub<S::Link> {
        self.store.publisher()
    }
}

//! The way out to one client, which each platform makes from its own WebSocket.

use std::time::Duration;

use crate::budget::Budget;
use crate::close::CloseCode;
use crate::frame::Frame;
use crate::platform::{MaybeSend, MaybeSync};
use crate::session::Session;

/// Nothing more goes out: the connection is closed, or about to be.
#[derive(Debug)]
pub(crate) struct Closed;

/// Frames keep their order and none is left out: a link that cannot take one ends its connection, and the
/// client comes back with its cursor.
pub(crate) trait Link: MaybeSend + MaybeSync + 'static {
    /// What is held for this connection is taken from it.
    fn budget(&self) -> &Budget;

    /// Queues a frame now.
    fn send_now(&self, frame: Frame);

    /// A commit has been queued for all its receivers, of which this is one. For platforms that hand such frames on
    /// together.
    fn published(&self) {}

    /// Queues a frame as soon as there is room.
    fn send(&self, frame: Frame) -> impl Future<Output = Result<(), Closed>> + MaybeSend;

    /// As [`send`](Self::send), for an answer that proves nothing of what was sent before it: it may overtake, so
    /// that on a slow link a client does not wait for its pong behind all that is queued.
    fn send_ahead(&self, frame: Frame) -> impl Future<Output = Result<(), Closed>> + MaybeSend {
        self.send(frame)
    }

    /// Waits until another frame would find room at once.
    fn room(&self) -> impl Future<Output = ()> + MaybeSend {
        std::future::ready(())
    }

    /// Closes once everything before it is sent. Nothing is sent after it.
    fn close(&self, code: CloseCode);

    /// Closes at once, and drops what still waits. Only the first reason is told.
    fn abort(&self, code: CloseCode);

    /// Whether nothing more goes out.
    fn is_closed(&self) -> bool;

    /// Waits until nothing more goes out.
    fn closed(&self) -> impl Future<Output = ()> + MaybeSend;

    /// Sends a numbered WebSocket ping, whose pong the session is told of. Sessions whose proof is frames
    /// never ask for one.
    fn ping(&self, number: u64);

    /// Asks for a sign of life. Returns how long the client may take for it.
    fn probe(&self, now_ms: u64) -> Duration;

    /// Keeps what must outlive the memory of this process; `false` when that has no room, after which
    /// the last call that added to it is to be refused.
    fn remember(&self, session: &Session) -> bool;
}

use std::time::Duration;

use crate::Session;
use crate::platform::{MaybeSend, MaybeSync};

/// The connection is over.
#[derive(Debug)]
pub(crate) struct Over;

/// The way out to one client. Frames keep their order and none is left out: a link that cannot take
/// one ends its connection, and the client comes back with its cursor.
pub(crate) trait Link: MaybeSend + MaybeSync + 'static {
    /// Queues a frame now.
    fn send_now(&self, frame: String);

    /// Queues a frame as soon as there is room.
    fn send(&self, frame: String) -> impl Future<Output = Result<(), Over>> + MaybeSend;

    /// Closes once everything before it is sent.
    fn close(&self, code: u16, reason: &'static str);

    /// Ends the connection, whatever still waits.
    fn abort(&self);

    /// Whether nothing more goes out.
    fn is_over(&self) -> bool;

    /// Waits until nothing more goes out.
    fn over(&self) -> impl Future<Output = ()> + MaybeSend;

    /// Sends a numbered WebSocket ping, whose pong the session is told of.
    fn ping(&self, number: u64);

    /// Asks for a sign of life. Returns how long the client may take for it.
    fn probe(&self, now_ms: u64) -> Duration;

    /// Keeps what must outlive the memory of this process; `false` when that has no room, after which
    /// the last call that added to it is to be refused.
    fn remember(&self, session: &Session) -> bool;
}

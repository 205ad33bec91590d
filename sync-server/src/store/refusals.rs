//! What was refused of a client's pushes: for the one who decides whether a log has lost events. Pure.

use std::sync::atomic::{AtomicI64, Ordering};

use livestore_sync_protocol::{Event, SeqNum};

/// What was refused of one client's pushes. A client may push on top of a push whose answer it does not have yet; once
/// that is refused, the next one begins beyond the end of the log, which from any other client would mean that the log
/// has lost events.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    /// The highest number that would have been stored; 0 for none.
    highest: AtomicI64,
}

impl Refusals {
    /// A push of these events is refused.
    pub(crate) fn note(&self, events: &[Event]) {
        if let Some(last) = events.last() {
            self.highest.fetch_max(last.seq_num.get(), Ordering::Relaxed);
        }
    }

    /// Whether the client may have this event only in its own, refused push.
    pub(super) fn explain(&self, position: SeqNum) -> bool {
        position.get() <= self.highest.load(Ordering::Relaxed)
    }
}

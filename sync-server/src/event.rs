//! What happened: batches of events, and what is said of one that is in the log. Pure values that every
//! room of the engine may name; this one names none of them.

mod batch;
mod committed;

use std::time::Duration;

use livestore_sync_protocol::RequestId;
use uuid::Uuid;

pub use self::batch::Batch;
pub(crate) use self::batch::held_bytes;
pub(crate) use self::committed::Committed;
use crate::error::HistoryLost;
use crate::platform::{MaybeSend, MaybeSync};

/// Who pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The connection.
    pub(crate) connection: Uuid,
    /// The push, as its client calls it.
    pub(crate) request_id: RequestId,
}

/// Hands committed events to the connections of the store.
pub(crate) trait Publish: MaybeSend + MaybeSync + 'static {
    /// Called under the store's lock, in the order of the log. Must not block: a receiver that cannot take its frames
    /// is disconnected, and no frame is left out.
    fn publish(&self, committed: &Committed);

    /// Acknowledges a push whose events are in the log and published later.
    fn acknowledge(&self, origin: &Origin) {
        let _ = origin;
    }

    /// How long the next publication may wait, so that what is committed meanwhile shares it.
    fn rest(&self) -> Duration {
        Duration::ZERO
    }

    /// Called under the store's lock when the log turns out to end before what was published. Clients that have it are
    /// told; some receivers find out by themselves, from the next event, which does not follow theirs.
    fn history_lost(&self, lost: &HistoryLost) {
        let _ = lost;
    }
}

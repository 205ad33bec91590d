//! What happened: batches of events, and what is said of one that is in the log. Pure values that every
//! room of the engine may name; this one names none of them.

mod batch;

use std::sync::Arc;

use livestore_sync_protocol::RequestId;
use uuid::Uuid;

pub use self::batch::Batch;
pub(crate) use self::batch::held_bytes;
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

/// Events that are in the log.
#[derive(Clone, Debug)]
pub(crate) struct Committed {
    /// The events.
    pub(crate) batch: Arc<Batch>,
    /// The log's identity.
    pub(crate) backend_id: Arc<str>,
    /// Who pushed them, where that is known.
    pub(crate) origin: Option<Origin>,
}

/// Hands committed events to the connections of the store.
pub(crate) trait Publish: MaybeSend + MaybeSync + 'static {
    /// Called under the store's lock, in the order of the log, once per batch. Must not block: a
    /// receiver that cannot take its frames is disconnected, and no frame is left out.
    fn publish(&self, committed: &Committed);

    /// Called under the store's lock when the log turns out to end before what was published. Clients that have it are
    /// told; some receivers find out by themselves, from the next event, which does not follow theirs.
    fn history_lost(&self, lost: &HistoryLost) {
        let _ = lost;
    }
}

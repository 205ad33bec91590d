//! What happens to a store's events, as a stream for the app. Published by the writer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use livestore_sync_protocol::{Event, PulledEvent, SeqNum};
use tokio::sync::broadcast;

use super::status::StopReason;

/// Something that happened to a store's events. It is durable by then.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Change {
    /// Events were committed here. Their numbers are those that they have if no other client's events come first.
    Committed(Arc<[Event]>),
    /// Pending events entered the log.
    Confirmed(Arc<[Event]>),
    /// Events of others entered the log. If there are pending events, `Rebased` follows.
    Received(Arc<[PulledEvent]>),
    /// The pending events were undone, and applied again after others.
    Rebased {
        /// What they follow now.
        head: SeqNum,
        /// How many they are.
        pending: u64,
    },
    /// A pending event was dropped because the app asked for it.
    Dropped(Arc<Event>),
    /// The store follows another log, because the app asked for it. Confirmed events may be pending
    /// again or gone: read everything again.
    Reset,
    /// The backend refuses the first pending event.
    Rejected {
        /// The event.
        event: Arc<Event>,
        /// What the backend says.
        reason: String,
    },
    /// Sync stopped.
    Stopped(StopReason),
    /// This reader was too slow and missed changes: read everything again.
    Missed {
        /// How many.
        changes: u64,
    },
}

/// The changes of a store from now on; ends when the store is closed. Dropping it, or a future of it, loses nothing
/// but the changes that it has not yielded.
pub struct Changes {
    inner: Pin<Box<dyn Stream<Item = Change> + Send>>,
}

impl Changes {
    pub(crate) fn new(receiver: broadcast::Receiver<Change>) -> Self {
        let inner = futures_util::stream::unfold(receiver, async |mut receiver| match receiver.recv().await {
            Ok(change) => Some((change, receiver)),
            Err(broadcast::error::RecvError::Lagged(changes)) => Some((Change::Missed { changes }, receiver)),
            Err(broadcast::error::RecvError::Closed) => None,
        });
        Self { inner: Box::pin(inner) }
    }
}

impl Stream for Changes {
    type Item = Change;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Change>> {
        self.inner.as_mut().poll_next(context)
    }
}

impl std::fmt::Debug for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Changes").finish_non_exhaustive()
    }
}

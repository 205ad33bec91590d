//! What a store asks of the network.

use std::pin::Pin;

use futures_core::Stream;
use livestore_sync_protocol::{Cursor, Event, SeqNum};
use tokio::sync::watch;

use crate::{ConnectionState, Page};

/// The sync backend as an offline store sees it: a log that it pushes to and pulls from.
///
/// An implementation owns connecting and reconnecting. It may lose answers: the store recognises
/// its own events when they come back, so none is ever in the log twice.
pub trait Backend: Send + Sync + 'static {
    /// Appends a batch of at most 100 events to the log, all or nothing. `Ok` means that they are stored.
    ///
    /// The store drops the future when it is closed; the batch may be stored then or not.
    fn push(&self, batch: PushBatch) -> impl Future<Output = Result<(), PushError>> + Send;

    /// The log above the cursor, in its order, and then each event that is added. A stream that
    /// ends, or yields an error, is asked for again after a while.
    fn live_pull(&self, cursor: Cursor) -> LivePull;

    /// Whether the backend can be reached, now and from now on.
    fn connection(&self) -> watch::Receiver<ConnectionState>;
}

/// The pages of a live pull.
pub type LivePull = Pin<Box<dyn Stream<Item = Result<Page, PullError>> + Send>>;

/// Events to be appended to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushBatch {
    /// The events: numbers ascend, the parent of each is the one before.
    pub events: Vec<Event>,
    /// The log that they are for, once it is known.
    pub backend_id: Option<String>,
}

/// Why a push failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The log has events that this batch does not follow; the live pull brings them.
    #[error("the log's head is {minimum_expected}, the batch follows {provided}")]
    ServerAhead {
        /// The log's head.
        minimum_expected: SeqNum,
        /// The batch's first parent.
        provided: SeqNum,
    },
    /// The log is not the one that this store knows: the backend was reset.
    #[error("the backend's log is {}, not {expected}", received.as_deref().unwrap_or("another one"))]
    BackendIdMismatch {
        /// The log that this store knows.
        expected: String,
        /// The backend's, where it is known.
        received: Option<String>,
    },
    /// The backend's app refuses the batch. It would refuse it again.
    #[error("the backend refuses the events: {reason}")]
    Rejected {
        /// What it says.
        reason: String,
    },
    /// The backend cannot be reached, or its answer was lost.
    #[error("the backend cannot be reached: {reason}")]
    Offline {
        /// Why.
        reason: String,
    },
    /// Anything else. The batch is tried again after a while.
    #[error("the push failed: {reason}")]
    Failed {
        /// Why.
        reason: String,
    },
}

/// Why a live pull failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// The log is not the one of the cursor: the backend was reset.
    #[error("the backend's log is {}, not {expected}", received.as_deref().unwrap_or("another one"))]
    BackendIdMismatch {
        /// The log that this store knows.
        expected: String,
        /// The backend's, where it is known.
        received: Option<String>,
    },
    /// The backend cannot be reached.
    #[error("the backend cannot be reached: {reason}")]
    Offline {
        /// Why.
        reason: String,
    },
    /// Anything else, also a refusal. The pull is tried again after a while.
    #[error("the pull failed: {reason}")]
    Failed {
        /// Why.
        reason: String,
    },
}

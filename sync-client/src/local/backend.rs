//! What a store asks of the network. Implemented by [`SyncClient`](crate::SyncClient) in `remote`, and by tests.

use std::pin::Pin;

use futures_core::Stream;
use livestore_sync_protocol::{Cursor, Event};
use tokio::sync::watch;

use crate::error::{PullError, PushError};
use crate::page::Page;
use crate::state::ConnectionState;

/// The sync backend as an offline store sees it: a log that it pushes to and pulls from.
///
/// An implementation owns connecting and reconnecting. It may lose answers: the store recognises
/// its own events when they come back, so none is ever in the log twice.
pub trait Backend: Send + Sync + 'static {
    /// Appends a batch of at most [`PUSH_EVENTS_MAX`](crate::PUSH_EVENTS_MAX) events to the log, all or nothing. `Ok`
    /// means that they are stored. [`PushError::Rejected`] means that it would be refused again, and
    /// [`PushError::BackendIdMismatch`] that the log is not the batch's; all else is tried again.
    ///
    /// The store drops the future when it is closed; the batch may be stored then or not.
    fn push(&self, batch: PushBatch) -> impl Future<Output = Result<(), PushError>> + Send;

    /// The log above the cursor, in its order, and then each event that is added. A stream that
    /// ends, or yields an error, is asked for again after a while.
    fn live_pull(&self, cursor: Cursor) -> PageStream;

    /// Whether the backend can be reached, now and from now on.
    fn connection(&self) -> watch::Receiver<ConnectionState>;
}

/// The pages of a live pull.
pub type PageStream = Pin<Box<dyn Stream<Item = Result<Page, PullError>> + Send>>;

/// Events to be appended to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PushBatch {
    /// The events: numbers ascend, the parent of each is the one before.
    pub events: Vec<Event>,
    /// The log that they are for, once it is known.
    pub backend_id: Option<String>,
}

//! A sync backend behind a [`SyncClient`].

use futures_util::StreamExt;
use livestore_sync_protocol::Cursor;
use tokio::sync::watch;

use super::backend::{Backend, LivePull, PullError, PushBatch, PushError};
use crate::{ConnectionState, Generation, SyncClient};

impl Backend for SyncClient {
    async fn push(&self, PushBatch { events, backend_id }: PushBatch) -> Result<(), PushError> {
        let Some(backend_id) = backend_id else {
            // The client may know the log that was there before; the next page tells which it is now.
            return SyncClient::push(self, events).await.map_err(|error| match error {
                error @ crate::PushError::BackendIdMismatch { .. } => PushError::Failed { reason: error.to_string() },
                error => error.into(),
            });
        };
        Ok(self.push_to(&backend_id, events).await?)
    }

    fn live_pull(&self, cursor: Cursor) -> LivePull {
        // A position in a log that is not known yet may be one in another. 0.3 never tells.
        let cursor = (cursor.backend_id.is_some() || self.generation == Generation::V03).then_some(cursor);
        SyncClient::live_pull(self, cursor).map(|page| page.map_err(PullError::from)).boxed()
    }

    fn connection(&self) -> watch::Receiver<ConnectionState> {
        SyncClient::connection(self)
    }
}

impl From<crate::PushError> for PushError {
    fn from(error: crate::PushError) -> Self {
        match error {
            crate::PushError::ServerAhead { minimum_expected, provided } => {
                Self::ServerAhead { minimum_expected, provided }
            }
            crate::PushError::BackendIdMismatch { expected: backends, received: ours } => {
                Self::BackendIdMismatch { expected: ours, received: Some(backends) }
            }
            crate::PushError::Rejected { message } => Self::Rejected { reason: message },
            error @ crate::PushError::InvalidBatch(_) => Self::Rejected { reason: error.to_string() },
            crate::PushError::Offline { reason, .. } => Self::Offline { reason: reason.to_string() },
            error @ (crate::PushError::Failed { .. } | crate::PushError::Stopped) => {
                Self::Failed { reason: error.to_string() }
            }
        }
    }
}

impl From<crate::PullError> for PullError {
    fn from(error: crate::PullError) -> Self {
        match error {
            crate::PullError::BackendIdMismatch { expected: backends, received: ours } => {
                Self::BackendIdMismatch { expected: ours, received: Some(backends) }
            }
            crate::PullError::Offline { reason } => Self::Offline { reason: reason.to_string() },
            error @ (crate::PullError::Rejected { .. } | crate::PullError::Gap { .. } | crate::PullError::Stopped) => {
                Self::Failed { reason: error.to_string() }
            }
        }
    }
}

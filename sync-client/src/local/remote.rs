//! A sync backend behind a [`SyncClient`].

use futures_util::StreamExt;
use livestore_sync_protocol::Cursor;
use tokio::sync::watch;

use super::backend::{Backend, LivePull, PullError, PushBatch, PushError};
use crate::{ConnectionState, SyncClient};

impl Backend for SyncClient {
    async fn push(&self, PushBatch { events, backend_id }: PushBatch) -> Result<(), PushError> {
        let pushed = match backend_id.as_deref() {
            Some(backend_id) => self.push_to(backend_id, events).await,
            None => SyncClient::push(self, events).await,
        };
        pushed.map_err(PushError::from)
    }

    fn live_pull(&self, cursor: Cursor) -> LivePull {
        // Without an id, a position is one in whatever log is there, and events below it could not be compared.
        let cursor = cursor.backend_id.is_some().then_some(cursor);
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

//! A sync backend behind a [`SyncClient`]: the store's only way to the network in a real app.

use futures_util::StreamExt;
use livestore_sync_protocol::Cursor;
use tokio::sync::watch;

use super::backend::{Backend, PageStream, PushBatch};
use crate::client::SyncClient;
use crate::connection::Protocol;
use crate::error::PushError;
use crate::state::ConnectionState;

impl Backend for SyncClient {
    async fn push(&self, PushBatch { events, backend_id }: PushBatch) -> Result<(), PushError> {
        let Some(backend_id) = backend_id else {
            // The client may know the log that was there before; the next page tells which it is now.
            return SyncClient::push(self, events).await.map_err(|error| match error {
                error @ PushError::BackendIdMismatch { .. } => PushError::Failed { message: error.to_string() },
                error => error,
            });
        };
        self.push_to(&backend_id, events).await
    }

    fn live_pull(&self, cursor: Cursor) -> PageStream {
        // A position in a log that is not known yet may be one in another. 0.3 never tells.
        let cursor = (cursor.backend_id.is_some() || self.protocol() == Protocol::V03).then_some(cursor);
        SyncClient::live_pull(self, cursor).boxed()
    }

    fn connection(&self) -> watch::Receiver<ConnectionState> {
        SyncClient::connection(self)
    }
}

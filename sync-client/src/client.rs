//! The connection's shell for tokio: a task owns the socket and runs the machine of `connection`, and handles send it
//! requests through a channel.
//!
//! The rooms, each of which knows only those after it: the handle ([`SyncClient`]: this file, `append`, `pull`), the
//! `builder`, the `task`, the `link` (one attempt at a connection: `socket` or `http`), and below them `requests`,
//! `channels`, `handshake`, `frames`, `deflate`, `settings`, `net`, `activity` and `address`. The offline store is built
//! on the handle and on nothing else in here.

mod activity;
mod address;
mod append;
mod builder;
mod channels;
mod deflate;
mod frames;
mod handshake;
mod http;
mod link;
mod net;
mod pull;
mod requests;
mod settings;
mod socket;
mod split;
mod task;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "client/no_tls.rs"]
mod tls;

use std::sync::Arc;

use livestore_sync_protocol::{Cursor, Event};
use tokio::sync::{oneshot, watch};

use self::append::Appender;
pub use self::builder::Builder;
pub use self::pull::{LivePull, Pull};
use self::requests::{Reply, Requests};
use crate::batch;
use crate::connection::{AppCommand, Protocol};
use crate::error::{PingError, PushError};
use crate::state::ConnectionState;

/// A connection to one store of a sync backend.
///
/// Clones share the connection. It is closed when the last clone and the last stream are dropped.
#[derive(Clone, Debug)]
pub struct SyncClient {
    requests: Requests,
    state: watch::Receiver<ConnectionState>,
    protocol: Protocol,
    appender: Arc<Appender>,
}

impl SyncClient {
    /// Begins to describe a client for a store. `url` is what LiveStore apps are given: `ws://`, `wss://`,
    /// `http://` or `https://`, without a query.
    pub fn builder(url: impl Into<String>, store_id: impl Into<String>) -> Builder {
        Builder::new(url.into(), store_id.into())
    }

    /// Offers events to the log. They must follow its head; the first tells by its parent where it believes that to
    /// be. Once this returns `Ok`, they are stored. For events that may follow anything, see [`SyncClient::append`].
    ///
    /// A batch that is larger than a push may be is cut ([`chunks`](crate::chunks)) and pushed part by part. If a part
    /// fails, those before it are stored.
    ///
    /// If the connection is lost before the answer, the batch is sent again, once, on the next one. A server that
    /// has it already acknowledges it (this project's) or is found to have it by reading its log.
    ///
    /// The log is the one that was last pulled from with this client: if the server's is another, nothing is stored.
    ///
    /// # Errors
    ///
    /// [`PushError`]: what the server says, or that it could not be asked.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up what was not sent yet. What was sent may be stored or not; pushing the same
    /// batch again is safe.
    pub async fn push(&self, batch: Vec<Event>) -> Result<(), PushError> {
        self.push_parts(batch, None).await
    }

    /// The same, to the log with this id only ([`Page::backend_id`](crate::Page::backend_id)). 0.3 does not know ids
    /// and stores whatever follows the head.
    ///
    /// # Errors
    ///
    /// As [`SyncClient::push`].
    ///
    /// # Cancel safety
    ///
    /// As [`SyncClient::push`].
    pub async fn push_to(&self, backend_id: &str, batch: Vec<Event>) -> Result<(), PushError> {
        self.push_parts(batch, Some(backend_id)).await
    }

    async fn push_parts(&self, batch: Vec<Event>, backend_id: Option<&str>) -> Result<(), PushError> {
        for part in batch::chunks(batch)? {
            self.push_part(part, backend_id).await?;
        }
        Ok(())
    }

    /// Pushes what fits into one push.
    async fn push_part(&self, batch: Vec<Event>, backend_id: Option<&str>) -> Result<(), PushError> {
        let (sender, receiver) = oneshot::channel();
        let backend_id = backend_id.map(str::to_owned);
        let command = AppCommand::Push { key: self.requests.new_key(), batch, backend_id };
        let waiting = self.requests.one(Reply::Push(sender), command, receiver);
        waiting.answer().await.unwrap_or(Err(PushError::Stopped))
    }

    /// Pulls the events above a cursor, all for `None`, and ends when there are no more. A log without events above
    /// the cursor gives one empty page.
    ///
    /// A cursor without a backend id is a position in whatever log is there.
    ///
    /// If the connection is lost meanwhile, the pull goes on where it was. No event comes twice, none is left out.
    #[must_use = "the server sends pages as they are taken"]
    pub fn pull(&self, cursor: impl Into<Option<Cursor>>) -> Pull {
        Pull::start(self.requests.clone(), cursor.into())
    }

    /// Pulls the events above a cursor, and then those that are pushed by anybody, this client included, for as long
    /// as the stream is kept. It begins with an empty page if there are no events above the cursor.
    ///
    /// If the connection is lost meanwhile, the stream waits for the next one and goes on where it was. No event
    /// comes twice, none is left out.
    ///
    /// Over http the server is asked again and again ([`Timing::poll_interval`](crate::Timing::poll_interval)).
    #[must_use = "the server sends pages as they are taken"]
    pub fn live_pull(&self, cursor: impl Into<Option<Cursor>>) -> LivePull {
        LivePull::start(self.requests.clone(), cursor.into())
    }

    /// Asks the server whether it is there.
    ///
    /// # Errors
    ///
    /// [`PingError`] if it could not be asked, or did not answer in time.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn ping(&self) -> Result<(), PingError> {
        let (sender, receiver) = oneshot::channel();
        let command = AppCommand::Ping { key: self.requests.new_key() };
        let waiting = self.requests.one(Reply::Ping(sender), command, receiver);
        waiting.answer().await.unwrap_or(Err(PingError::Stopped))
    }

    /// Which protocol this client speaks.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The client id of events that are [appended](Self::append).
    #[must_use]
    pub fn client_id(&self) -> &str {
        self.appender.client_id()
    }

    /// The session id of events that are [appended](Self::append). No other client has it.
    #[must_use]
    pub fn session_id(&self) -> &str {
        self.appender.session_id()
    }

    /// Whether there is a connection, now and as it changes.
    #[must_use]
    pub fn connection(&self) -> watch::Receiver<ConnectionState> {
        self.state.clone()
    }

    /// Closes the connection in good order. What other clones and streams still wait for ends with an error.
    ///
    /// Without it the connection is closed as well once everything is dropped, if the runtime lives on for that.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the connection to be closed in the background.
    pub async fn close(self) {
        self.requests.stop().await;
    }
}

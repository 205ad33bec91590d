//! The connection's shell for tokio: a task owns the socket and runs the state machine.

mod address;
mod builder;
mod http;
mod link;
mod net;
mod pull;
mod socket;
mod split;
mod task;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use livestore_sync_protocol::{Cursor, Event};
use tokio::sync::{mpsc, oneshot, watch};

pub use self::builder::{Builder, Generation, Transport};
pub use self::pull::{LivePull, Pull};
use self::task::{Message, Reply};
use crate::connection::{Command, Key};
use crate::{ConnectionState, PingError, PushError, batch};

/// A connection to one store of a sync backend.
///
/// Clones share the connection. It is closed when the last clone and the last stream are dropped.
#[derive(Clone, Debug)]
pub struct SyncClient {
    requests: Requests,
    state: watch::Receiver<ConnectionState>,
    pub(crate) generation: Generation,
}

/// The way to the task.
#[derive(Clone, Debug)]
struct Requests {
    sender: mpsc::UnboundedSender<Message>,
    last_key: Arc<AtomicU64>,
}

impl Requests {
    fn new_key(&self) -> Key {
        self.last_key.fetch_add(1, Ordering::Relaxed)
    }

    /// If the task is gone, the reply is dropped, which whoever waits for it notices.
    fn send(&self, command: Command, reply: Option<Reply>) {
        let _ = self.sender.send(Message::Request { command, reply });
    }

    fn one<T>(&self, reply: Reply, command: Command, receiver: oneshot::Receiver<T>) -> Waiting<T> {
        let key = command.key();
        self.send(command, Some(reply));
        Waiting { key, requests: self.clone(), receiver, answered: false }
    }
}

/// An answer that is waited for. Dropped before, it tells the task that nobody waits any more.
struct Waiting<T> {
    key: Key,
    requests: Requests,
    receiver: oneshot::Receiver<T>,
    answered: bool,
}

impl<T> Waiting<T> {
    /// `None` if the task is gone.
    async fn answer(mut self) -> Option<T> {
        let answer = (&mut self.receiver).await;
        self.answered = true;
        answer.ok()
    }
}

impl<T> Drop for Waiting<T> {
    fn drop(&mut self) {
        if !self.answered {
            self.requests.send(Command::Drop { key: self.key }, None);
        }
    }
}

impl SyncClient {
    /// Begins to describe a client for a store. `url` is what LiveStore apps are given: `ws://`, `wss://`,
    /// `http://` or `https://`, without a query.
    pub fn builder(url: impl Into<String>, store_id: impl Into<String>) -> Builder {
        Builder::new(url.into(), store_id.into())
    }

    /// Offers events to the log. They must follow its head; the first tells by its parent where it believes that to
    /// be. Once this returns `Ok`, they are stored.
    ///
    /// A batch that is larger than a push may be is cut ([`crate::chunks`]) and pushed part by part. If a part
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

    /// The same, to the log with this id only ([`crate::Page::backend_id`]). 0.3 does not know ids and stores
    /// whatever follows the head.
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
        for batch in batch::chunks(batch)? {
            let (sender, receiver) = oneshot::channel();
            let backend_id = backend_id.map(str::to_owned);
            let command = Command::Push { key: self.requests.new_key(), batch, backend_id };
            let waiting = self.requests.one(Reply::Push(sender), command, receiver);
            waiting.answer().await.unwrap_or(Err(PushError::Stopped))?;
        }
        Ok(())
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
    /// Over http the server is asked again and again ([`crate::Timing::poll_interval`]).
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
        let command = Command::Ping { key: self.requests.new_key() };
        let waiting = self.requests.one(Reply::Ping(sender), command, receiver);
        waiting.answer().await.unwrap_or(Err(PingError::Stopped))
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
        let _ = self.requests.sender.send(Message::Stop);
        self.requests.sender.closed().await;
    }
}

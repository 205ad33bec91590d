//! The streams of pages that pulls give to the app. A page counts as taken, and is acknowledged to the server, when the
//! app gets it out of here.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use livestore_sync_protocol::{Cursor, PulledEvent};
use tokio::sync::mpsc;

use super::requests::{Reply, Requests};
use crate::connection::{AppCommand, Key};
use crate::error::PullError;
use crate::page::Page;

/// The pages of a log, from a cursor to its end. See [`SyncClient::pull`](crate::SyncClient::pull).
///
/// Dropping it ends the pull on the server, too.
#[derive(Debug)]
pub struct Pull(Pages);

/// The pages of a log, from a cursor on, as they come. See [`SyncClient::live_pull`](crate::SyncClient::live_pull).
///
/// Dropping it ends the pull on the server, too.
#[derive(Debug)]
pub struct LivePull(Pages);

#[derive(Debug)]
struct Pages {
    key: Key,
    requests: Requests,
    receiver: mpsc::UnboundedReceiver<Result<Option<Page>, PullError>>,
    ended: bool,
}

impl Pages {
    fn start(requests: Requests, cursor: Option<Cursor>, live: bool) -> Self {
        let key = requests.new_key();
        // What waits in it is limited by acknowledgements, or by the connection (`PAGES_WAITING_MAX`).
        let (sender, receiver) = mpsc::unbounded_channel();
        requests.send(AppCommand::Pull { key, cursor, live }, Some(Reply::Pages(sender)));
        Self { key, requests, receiver, ended: false }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Page, PullError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let result = match std::task::ready!(self.receiver.poll_recv(cx)) {
            Some(Ok(Some(page))) => {
                self.requests.send(AppCommand::Taken { key: self.key }, None);
                return Poll::Ready(Some(Ok(page)));
            }
            Some(Ok(None)) => None,
            Some(Err(error)) => Some(Err(error)),
            None => Some(Err(PullError::Stopped)),
        };
        self.ended = true;
        Poll::Ready(result)
    }

    async fn next(&mut self) -> Option<Result<Page, PullError>> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        if !self.ended {
            self.requests.send(AppCommand::Drop { key: self.key }, None);
        }
    }
}

impl Pull {
    pub(super) fn start(requests: Requests, cursor: Option<Cursor>) -> Self {
        Self(Pages::start(requests, cursor, false))
    }

    /// The next page; `None` at the end, and after an error.
    ///
    /// # Errors
    ///
    /// [`PullError`]: what the server says, or that it could not be asked.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: the next call gives the page.
    pub async fn next(&mut self) -> Option<Result<Page, PullError>> {
        self.0.next().await
    }

    /// All events that are still to come.
    ///
    /// # Errors
    ///
    /// As [`Pull::next`]; what came before the error is dropped.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the pull.
    pub async fn events(mut self) -> Result<Vec<PulledEvent>, PullError> {
        let mut events = Vec::new();
        while let Some(page) = self.next().await {
            events.extend(page?.events);
        }
        Ok(events)
    }
}

impl LivePull {
    pub(super) fn start(requests: Requests, cursor: Option<Cursor>) -> Self {
        Self(Pages::start(requests, cursor, true))
    }

    /// The next page, once there is one; `None` only after an error.
    ///
    /// # Errors
    ///
    /// [`PullError`]: the server refuses the pull, or its log is another one.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: the next call gives the page.
    pub async fn next(&mut self) -> Option<Result<Page, PullError>> {
        self.0.next().await
    }
}

impl Stream for Pull {
    type Item = Result<Page, PullError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll(cx)
    }
}

impl Stream for LivePull {
    type Item = Result<Page, PullError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll(cx)
    }
}

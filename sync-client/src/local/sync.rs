//! Keeping in step with the backend: one task that pushes, pulls, and mirrors the connection. Started by the store.
//!
//! Pushing and pulling run beside each other and meet in the file only. A push that is refused because the log has more
//! waits for the live pull to bring that (`await_pull`), which rebases what is pending; then it is pushed with its new
//! numbers. A push whose answer is lost is pushed again after a while: if the log has it, that is refused, and the pull
//! brings the events, which are recognised.
//!
//! What it decides is in `merge` and `pusher`; what it changes, it asks the writer to change. Ending it at any
//! await leaves the file as it was before or after a step.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use livestore_sync_protocol::{Cursor, Event, SeqNum};
use tokio::sync::Notify;

use super::backend::Backend;
use super::change::Change;
use super::error::StoreError;
use super::file::Received;
use super::pusher::{AfterPush, Pusher};
use super::status::{Rejection, Status, StopReason};
use super::writer::{Owner, Shared, Writer};
use crate::backoff::Backoff;
use crate::error::{PullError, PushError};
use crate::state::ConnectionState;

pub(crate) struct Driver<B> {
    pub(crate) backend: B,
    pub(crate) writer: Writer,
    pub(crate) shared: Arc<Shared>,
    /// Ends the live pull, so that it is asked for again from where the store is now.
    pub(crate) restart: Arc<Notify>,
    pub(crate) retry_after: (Duration, Duration),
}

/// The store is closed: the writer's thread is gone.
struct Closed;

impl<B: Backend> Driver<B> {
    pub(crate) async fn run(self) {
        // The file's thread is gone when one of them ends.
        tokio::select! {
            _ = self.pull() => {}
            _ = self.push() => {}
            () = self.mirror() => {}
        }
    }

    async fn mirror(&self) {
        let mut connection = self.backend.connection();
        loop {
            let now = connection.borrow_and_update().clone();
            self.shared.update(|status| status.connection = now);
            if connection.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    async fn pull(&self) -> Result<(), Closed> {
        let mut backoff = self.backoff();
        loop {
            let status = self.wait(|status| status.health.stopped.is_none()).await?;
            let cursor = Cursor { backend_id: status.backend_id, seq_num: status.head };
            let problem = tokio::select! {
                problem = self.follow(cursor, &mut backoff) => problem?,
                stopped = self.wait(|status| status.health.stopped.is_some()) => {
                    stopped?;
                    continue;
                }
                () = self.restart.notified() => continue,
            };
            self.shared.update(|status| status.health.pull_problem = problem);
            tokio::select! {
                () = self.pause(&mut backoff) => {}
                () = self.restart.notified() => {}
            }
        }
    }

    /// Takes pages until something is wrong. Returns what, if it is worth telling.
    async fn follow(&self, cursor: Cursor, backoff: &mut Backoff) -> Result<Option<String>, Closed> {
        let known = cursor.backend_id.clone();
        let mut pages = self.backend.live_pull(cursor);
        loop {
            let page = match pages.next().await {
                Some(Ok(page)) => page,
                Some(Err(PullError::BackendIdMismatch { expected, .. })) => {
                    return Ok(self.stop_reset(known, Some(expected)));
                }
                Some(Err(error)) => return Ok(Some(error.to_string())),
                None => return Ok(None),
            };
            match self.writer.run(move |owner| owner.receive(page)).await {
                Ok(Received::Taken { .. }) => {
                    backoff.reset();
                    self.shared.update(|status| status.health.pull_problem = None);
                }
                Ok(Received::OtherLog { found }) => {
                    let known = self.shared.status.borrow().backend_id.clone();
                    return Ok(self.stop_reset(known, found));
                }
                Ok(Received::Misplaced { reason }) => return Ok(Some(reason)),
                Err(StoreError::Materialise(error)) => {
                    self.shared.stop(StopReason::Materialise(error));
                    return Ok(None);
                }
                Err(StoreError::Closed) => return Err(Closed),
                Err(error) => return Ok(Some(error.to_string())),
            }
        }
    }

    async fn push(&self) -> Result<(), Closed> {
        let mut pusher = Pusher::new();
        let mut backoff = self.backoff();
        loop {
            self.wait(|status| {
                status.pending > 0 && status.health.stopped.is_none() && status.health.rejected.is_none()
            })
            .await?;
            let events_max = pusher.events_max();
            let take =
                move |owner: &mut Owner| Ok((owner.file.batch(events_max)?, owner.file.position(), owner.file.epoch()));
            let (batch, position, epoch) = match self.writer.run(take).await {
                Ok(taken) => taken,
                Err(StoreError::Closed) => return Err(Closed),
                Err(error) => {
                    self.later(error.to_string(), &mut backoff).await;
                    continue;
                }
            };
            let (Some(first), Some(last)) = (batch.events.first().cloned(), batch.events.last()) else { continue };
            let (sent, last) = (batch.events.len(), last.seq_num);
            let known = batch.backend_id.clone();
            let outcome = self.backend.push(batch).await;
            let (head, is_stale) = {
                let status = self.shared.status.borrow();
                (status.head, status.epoch != epoch)
            };
            // Pending events were renumbered meanwhile, so the answer is about numbers that now belong to others. If it
            // was stored, the pull brings it. Failures still count: they are about the backend, not about events.
            if is_stale && !matches!(outcome, Err(PushError::Offline { .. } | PushError::Failed { .. })) {
                continue;
            }
            let next = pusher.decide(sent, head, outcome);
            if !matches!(next, AfterPush::Later(_)) {
                backoff.reset();
                self.shared.update(|status| status.health.push_problem = None);
            }
            match next {
                AfterPush::Acknowledge => match self.writer.run(move |owner| owner.acknowledge(last, epoch)).await {
                    Ok(()) => {}
                    Err(StoreError::Closed) => return Err(Closed),
                    Err(error) => self.later(error.to_string(), &mut backoff).await,
                },
                AfterPush::Again => {}
                AfterPush::AwaitPull => self.await_pull(position.head, epoch).await?,
                AfterPush::Later(reason) => self.later(reason, &mut backoff).await,
                AfterPush::Rejected(reason) => self.reject(position.first_pending, epoch, first, reason),
                AfterPush::BackendReset(found) => drop(self.stop_reset(known, found)),
            }
        }
    }

    /// Waits until the live pull has moved the store. A pull that brings nothing for too long, though the log has more,
    /// is broken in a way that it does not know of, and is started again.
    async fn await_pull(&self, head: SeqNum, epoch: u64) -> Result<(), Closed> {
        let moved = self.wait(|status| status.head > head || status.epoch != epoch || status.health.stopped.is_some());
        match tokio::time::timeout(self.retry_after.1, moved).await {
            Ok(moved) => moved.map(drop),
            Err(_) => {
                self.restart.notify_one();
                Ok(())
            }
        }
    }

    fn reject(&self, id: Option<i64>, epoch: u64, event: Event, reason: String) {
        let mut is_new = false;
        self.shared.update(|status| {
            // If events were renumbered meanwhile, the refusal was of something else.
            if let Some(id) = id
                && status.epoch == epoch
                && status.first_pending == Some(id)
            {
                let event = Box::new(event.clone());
                status.health.rejected = Some(Rejection { id, event, reason: reason.clone() });
                is_new = true;
            }
        });
        if is_new {
            self.shared.tell(|| Change::Rejected { event: Arc::new(event), reason });
        }
    }

    /// Stops, unless the app has made the store follow another log meanwhile. Always `None`: the reason is in the
    /// status already, and there is no other problem beside it.
    fn stop_reset(&self, known: Option<String>, found: Option<String>) -> Option<String> {
        if self.shared.status.borrow().backend_id == known {
            self.shared.stop(StopReason::BackendReset { known, found });
        }
        None
    }

    async fn later(&self, reason: String, backoff: &mut Backoff) {
        self.shared.update(|status| status.health.push_problem = Some(reason));
        self.pause(backoff).await;
    }

    fn backoff(&self) -> Backoff {
        let (first, longest) = self.retry_after;
        Backoff::new(first, longest, getrandom::u64().expect("the platform has randomness"))
    }

    /// Waits for some time, or until the backend can be reached again: what failed for want of a connection is tried at
    /// once when there is one.
    async fn pause(&self, backoff: &mut Backoff) {
        let mut connection = self.backend.connection();
        let was_connected = *connection.borrow_and_update() == ConnectionState::Connected;
        let reconnected = async {
            if was_connected || connection.wait_for(|now| *now == ConnectionState::Connected).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = tokio::time::sleep(backoff.next()) => {}
            () = reconnected => {}
        }
    }

    async fn wait(&self, is_it: impl FnMut(&Status) -> bool) -> Result<Status, Closed> {
        let mut status = self.shared.status.subscribe();
        let status = status.wait_for(is_it).await.map_err(|_| Closed)?;
        Ok(status.clone())
    }
}

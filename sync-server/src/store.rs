//! One store: the only place that orders I/O. What may happen is decided in `admission` and
//! `session`; here it is decided when.

mod pace;
mod pull;
mod push;
mod refusals;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use livestore_sync_protocol::SeqNum;
use tokio::sync::Mutex as FairMutex;
use tokio::sync::OnceCell;

use self::pace::Pace;
pub(crate) use self::pull::PullSink;
use self::push::Queued;
pub(crate) use self::push::{Admitted, Completed, Pushed};
pub(crate) use self::refusals::Refusals;
use crate::error::{BackendIdMismatch, HistoryLost, PullError};
use crate::event::{Batch, Committed, Publish};
use crate::event_log::{EventLog, Head, LogError};
use crate::hooks::{Asked, Hooks};
use crate::platform::Platform;

/// Events of another writer that are read at a time, however large.
const FOREIGN_EVENTS_MAX: u32 = 16;

/// The engine of one store, over any event log. Cheap to share behind an [`Arc`].
pub(crate) struct Store<L, H, P, C> {
    log: L,
    hooks: Asked<H, C>,
    publish: P,
    backend_id: OnceCell<Arc<str>>,
    /// Pushes that wait for the next commit, in order.
    queue: Mutex<VecDeque<Queued>>,
    /// Covers check, append and publish, in the order of arrival. Holding it, the log's head stands
    /// still as far as this store decides; the log itself decides for other writers.
    core: FairMutex<Core>,
}

#[derive(Default)]
struct Core {
    /// `None` before the first look, and from before an append until its definite success.
    head: Option<Head>,
    /// The last event that live pulls have been given; `None` before the first look.
    published: Option<SeqNum>,
    /// The head that an append of ours expects which may still be done: nobody knows its outcome, and the log did not
    /// have it when it was last looked at. Only a log that is beyond that head can not get it any more. Until then each
    /// look at the head is one at the log.
    doubt: Option<SeqNum>,
    /// Whether somebody looks again, see [`Store::settle`].
    settling: bool,
    /// What is committed and not yet published.
    pace: Pace,
}

impl Core {
    /// A reader has met this event in the log. If that is news, somebody else appends too, and live
    /// pulls are to get those events before this reader joins them.
    fn expect(&mut self, seen: SeqNum) {
        self.head = self.head.filter(|head| seen <= head.seq_num);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these guard is replaced whole, so a panic elsewhere leaves it usable.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<L: EventLog, H: Hooks, P: Publish, C: Platform> Store<L, H, P, C> {
    /// A store over its log.
    pub(crate) fn new(log: L, hooks: Asked<H, C>, publish: P) -> Self {
        Self { log, hooks, publish, backend_id: OnceCell::new(), queue: Mutex::default(), core: FairMutex::default() }
    }

    /// The receivers of committed events.
    pub(crate) fn publisher(&self) -> &P {
        &self.publish
    }

    /// The head as this store knows it, if it does.
    #[cfg(test)]
    pub(crate) fn known_head(&self) -> Option<SeqNum> {
        self.core.try_lock().ok()?.head.map(|head| head.seq_num)
    }

    /// The hooks.
    pub(crate) fn hooks(&self) -> &Asked<H, C> {
        &self.hooks
    }

    /// The log's identity.
    ///
    /// # Errors
    ///
    /// [`LogError`] when the database fails.
    pub(crate) async fn backend_id(&self) -> Result<Arc<str>, LogError> {
        self.backend_id.get_or_try_init(|| self.log.backend_id()).await.cloned()
    }

    async fn check_backend_id<E>(&self, received: Option<&str>) -> Result<Arc<str>, E>
    where
        E: From<LogError> + From<BackendIdMismatch>,
    {
        let expected = self.backend_id().await?;
        match received {
            Some(received) if received != &*expected => {
                Err(BackendIdMismatch { expected: expected.to_string(), received: received.to_owned() }.into())
            }
            _ => Ok(expected),
        }
    }

    /// Where the log stands. Events that somebody else appended (an append of ours whose outcome
    /// was unknown, another process) are published here, so that no live pull has a gap.
    async fn head(&self, core: &mut Core) -> Result<Head, LogError> {
        if let Some(head) = core.head {
            return Ok(head);
        }
        self.publish_waiting(core);
        let backend_id = self.backend_id().await?;
        let head = self.log.head().await?;
        let mut published = *core.published.get_or_insert(head.seq_num);
        if published > head.seq_num {
            tracing::error!(%head.seq_num, %published, "the log has lost events that clients were sent");
            self.publish.history_lost(&HistoryLost {
                backend_id: backend_id.to_string(),
                head: head.seq_num,
                position: published,
            });
            core.published = Some(head.seq_num);
        }
        while published < head.seq_num {
            let events = self.log.events(published, head.seq_num, FOREIGN_EVENTS_MAX).await?;
            let Some(last) = events.last() else { break };
            published = last.event.seq_num;
            for batch in Batch::from_log(&events) {
                self.publish(core, &Committed::new(batch.into(), Arc::clone(&backend_id), None));
            }
        }
        core.doubt = core.doubt.filter(|expected| *expected >= head.seq_num);
        core.head = core.doubt.is_none().then_some(head);
        Ok(head)
    }

    /// Where the log stands, for a client that has everything up to `position`. Clients only have what is in the log,
    /// so one that is beyond its end has seen another history.
    async fn head_from(&self, core: &mut Core, position: SeqNum) -> Result<Head, PullError> {
        core.expect(position);
        self.publish_waiting(core);
        let head = self.head(core).await?;
        if position > head.seq_num {
            let backend_id = self.backend_id().await?.to_string();
            return Err(HistoryLost { backend_id, head: head.seq_num, position }.into());
        }
        Ok(head)
    }
}

/// After an append whose outcome is unknown, the log is looked at after these pauses, in seconds. A database gives up a
/// statement earlier than their sum: D1 after 30 s.
const SETTLE_PAUSES_S: [u64; 6] = [1, 2, 4, 8, 16, 30];

impl<L: EventLog, H: Hooks, P: Publish, C: Platform> Store<L, H, P, C> {
    /// To be run beside everything else after a push whose outcome is unknown: should the log get its events late, live
    /// pulls get them, too, without waiting for the next push. Ends when that is settled.
    pub(crate) async fn settle(&self, platform: &impl Platform) {
        {
            let mut core = self.core.lock().await;
            if core.doubt.is_none() || std::mem::replace(&mut core.settling, true) {
                return;
            }
        }
        for pause in SETTLE_PAUSES_S {
            platform.sleep(Duration::from_secs(pause)).await;
            let mut core = self.core.lock().await;
            // A look that fails is followed by the next.
            let _ = self.head(&mut core).await;
            if core.doubt.is_none() {
                break;
            }
        }
        let mut core = self.core.lock().await;
        (core.doubt, core.settling) = (None, false);
    }
}

#[cfg(test)]
mod tests;

//! Which client objects are subscribed, how far each is, and what waits to be brought to it. Pure: time is
//! an argument, calls and storage are what [`Queue::poll_action`] and [`Queue::poll_call`] ask for.
//!
//! A subscriber goes through these phases:
//!
//! ```text
//! handle_join ──> Answering ──caught_up──> Reading ──answer_ended──> Live
//! restore ──────> Resuming ────────────────caught_up───────────────> Live
//! ```
//!
//! From the moment that it is caught up, what is committed waits for it; it is called when it is live. It
//! leaves when its client starts another pull, when too much waits for it, and when calls keep failing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use livestore_sync_protocol::rpc::{self, CallerContext};
use livestore_sync_protocol::{Chunk, ItemFormat, PageInfo, RequestId, SeqNum};
use serde::{Deserialize, Serialize};

use crate::budget::{Budget, Held, Holder};
use crate::event::Committed;
use crate::frame::{Frame, HeldOnce};

/// Client objects of one store that may have a live pull.
const SUBSCRIBERS_MAX: usize = 256;

/// Length of a binding's name and an object's id together. All that is kept then fits into one value of the
/// object's storage.
const CONTEXT_BYTES_MAX: usize = 256;

/// Bytes that may wait for one client. With more it is given up. What is committed waits once for all of them.
const WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;

/// While so many bytes wait for a client, no more are read for it from the log.
const RESUME_BYTES_MAX: usize = 1024 * 1024;

/// The published client drops a call that comes before it has handled the end of its pull's answer,
/// for which it gets this time (ms) after it has taken that.
const SETTLE_MS: u64 = 100;

/// A call that fails is made again this many times before its client is given up, …
const RETRIES_MAX: u32 = 6;

/// … first after this time (ms), then after twice that, and so on.
const RETRY_AFTER_MS: u64 = 100;

/// One live pull of one client. A later pull of the same client is another subscription, so that what
/// belongs to the earlier one finds nothing here any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id(u64);

/// A subscriber as it is kept in the object's storage.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Kept {
    #[serde(flatten)]
    context: CallerContext,
    request_id: RequestId,
    /// It has everything up to here; `None` while its pull is being answered.
    after: Option<SeqNum>,
}

/// Why a client object is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::worker) enum Refused {
    #[error("this store has as many live pulls of Durable Objects as it may ({SUBSCRIBERS_MAX})")]
    TooMany,
    #[error("the name of the caller's binding is too long")]
    TooLong,
}

/// Something to do that nothing waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Make the calls of this subscriber, one after another, until [`Queue::poll_call`] says that there are
    /// no more.
    Call(Id),
    /// Read the events after this one from the log into [`Queue::handle_chunk`], then say
    /// [`Queue::handle_caught_up`].
    Resume { id: Id, after: SeqNum },
    /// Write down [`Queue::kept`].
    Keep,
}

/// What the calls of a subscriber go on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Bring this frame to this client, then say [`Queue::handle_called`].
    Call(CallerContext, String),
    /// Ask again after this time.
    Wait(Duration),
    /// There is nothing more to bring, or the subscriber has left.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It is sent its backlog, as the answer to its pull.
    Answering,
    /// The answer is whole. Its client has yet to read it, and would not understand a call before.
    Reading,
    /// The object has lost its memory in the middle of calls. The subscriber has everything up to here; what
    /// follows is read from the log, as fast as it takes its calls.
    Resuming { after: SeqNum },
    /// It is called with what is committed.
    Live,
}

/// A frame that is to be brought to a client.
#[derive(Debug)]
struct Update {
    first: SeqNum,
    last: SeqNum,
    frame: Frame,
    /// What it takes of the subscriber's budget.
    _held: Held,
}

#[derive(Debug)]
struct Subscriber {
    context: CallerContext,
    /// The live pull, as the client calls it.
    request_id: RequestId,
    phase: Phase,
    waiting: VecDeque<Update>,
    budget: Budget,
    /// Whether an [`Action::Call`] of it is being done.
    calling: bool,
    /// Not to be called before this time (ms since 1970).
    not_before_ms: u64,
    /// How often the call at the front has failed.
    failures: u32,
}

/// The client objects with a live pull of one store.
#[derive(Debug)]
pub(super) struct Queue {
    subscribers: BTreeMap<Id, Subscriber>,
    last_id: u64,
    actions: VecDeque<Action>,
    /// That of the store.
    budget: Budget,
}

impl Queue {
    /// A queue without subscribers.
    pub(super) fn new(budget: Budget) -> Self {
        Self { subscribers: BTreeMap::new(), last_id: 0, actions: VecDeque::new(), budget }
    }

    /// The subscribers that an object has kept before it lost its memory. Then comes
    /// [`handle_start`](Self::handle_start).
    pub(super) fn restore(kept: Vec<Kept>, budget: Budget) -> Self {
        let mut queue = Self::new(budget);
        for Kept { context, request_id, after } in kept {
            // Without it the answer broke off, which its client noticed.
            if let Some(after) = after {
                queue.insert(context, request_id, Phase::Resuming { after });
            }
        }
        queue
    }

    /// The log ends at `head`: subscribers that lack events are to be brought them.
    pub(super) fn handle_start(&mut self, head: SeqNum) {
        for (&id, subscriber) in &mut self.subscribers {
            match subscriber.phase {
                Phase::Resuming { after } if after < head => self.actions.push_back(Action::Resume { id, after }),
                Phase::Resuming { .. } => subscriber.phase = Phase::Live,
                Phase::Answering | Phase::Reading | Phase::Live => {}
            }
        }
    }

    /// A client starts a live pull, which takes the place of any earlier one that it has.
    pub(super) fn handle_join(&mut self, context: CallerContext, request_id: RequestId) -> Result<Id, Refused> {
        if context.binding_name.len() + context.durable_object_id.len() > CONTEXT_BYTES_MAX {
            return Err(Refused::TooLong);
        }
        let earlier = self.subscribers.iter().find(|(_, subscriber)| subscriber.context == context);
        match earlier.map(|(id, _)| *id) {
            Some(earlier) => drop(self.subscribers.remove(&earlier)),
            None if self.subscribers.len() >= SUBSCRIBERS_MAX => return Err(Refused::TooMany),
            None => {}
        }
        Ok(self.insert(context, request_id, Phase::Answering))
    }

    fn insert(&mut self, context: CallerContext, request_id: RequestId, phase: Phase) -> Id {
        self.last_id += 1;
        let id = Id(self.last_id);
        let subscriber = Subscriber {
            context,
            // In calls it is text in every generation: they do not go through the client's RPC, which knows better.
            request_id: RequestId::Text(request_id.to_string()),
            phase,
            waiting: VecDeque::new(),
            budget: self.budget.child(Holder::Connection, WAITING_BYTES_MAX as u64),
            calling: false,
            not_before_ms: 0,
            failures: 0,
        };
        self.subscribers.insert(id, subscriber);
        id
    }

    /// The subscriber has been sent all that is in the log. To be called under the store's lock, so that the
    /// next committed batch is the first that waits for it.
    pub(super) fn handle_caught_up(&mut self, id: Id) {
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        match subscriber.phase {
            Phase::Answering => subscriber.phase = Phase::Reading,
            Phase::Resuming { .. } => {
                subscriber.phase = Phase::Live;
                self.call(id);
            }
            Phase::Reading | Phase::Live => {}
        }
    }

    /// The client has taken the answer to its pull, or the answer has broken off.
    pub(super) fn handle_answer_ended(&mut self, id: Id, now_ms: u64) {
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        match subscriber.phase {
            Phase::Answering => self.give_up(id, "its pull has failed"),
            Phase::Reading => {
                subscriber.phase = Phase::Live;
                subscriber.not_before_ms = now_ms + SETTLE_MS;
                self.call(id);
            }
            Phase::Resuming { .. } | Phase::Live => {}
        }
    }

    /// Whether another chunk may be read for a resumed subscriber; `None` when it has left.
    pub(super) fn has_room(&self, id: Id) -> Option<bool> {
        self.subscribers.get(&id).map(|subscriber| subscriber.budget.held() < RESUME_BYTES_MAX as u64)
    }

    /// A chunk of what a resumed subscriber lacks; `false` when it has left.
    pub(super) fn handle_chunk(&mut self, id: Id, chunk: &Chunk, backend_id: &str) -> bool {
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return false };
        let room = subscriber.queue(chunk, backend_id, None);
        match room {
            true => self.call(id),
            false => self.give_up(id, "it lacks more than may wait for it"),
        }
        room
    }

    /// Events are in the log.
    pub(super) fn handle_committed(&mut self, committed: &Committed) {
        if self.subscribers.is_empty() {
            return;
        }
        // Until the last of them has it.
        let held = Arc::new(self.budget.take_anyway(committed.bytes() as u64).into());
        let mut slow = Vec::new();
        let mut live = Vec::new();
        for (&id, subscriber) in &mut self.subscribers {
            if !matches!(subscriber.phase, Phase::Reading | Phase::Live) {
                continue;
            }
            let mut chunks = committed.chunks(ItemFormat::Rpc).iter();
            if !chunks.all(|chunk| subscriber.queue(chunk, &committed.backend_id, Some(&held))) {
                slow.push(id);
            } else if subscriber.phase == Phase::Live {
                live.push(id);
            }
        }
        slow.into_iter().for_each(|id| self.give_up(id, "it takes its calls too slowly"));
        live.into_iter().for_each(|id| self.call(id));
    }

    fn call(&mut self, id: Id) {
        if let Some(subscriber) = self.subscribers.get_mut(&id)
            && !std::mem::replace(&mut subscriber.calling, true)
        {
            self.actions.push_back(Action::Call(id));
        }
    }

    /// What is to be done; `None` when there is nothing more. To be asked after each `handle_…` and after
    /// each [`poll_call`](Self::poll_call).
    pub(super) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What the calls of a subscriber go on with.
    pub(super) fn poll_call(&mut self, id: Id, now_ms: u64) -> Next {
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return Next::Done };
        let Some(update) = subscriber.waiting.front() else {
            subscriber.calling = false;
            // How far it is now.
            self.actions.push_back(Action::Keep);
            return Next::Done;
        };
        match subscriber.not_before_ms.saturating_sub(now_ms) {
            0 => Next::Call(subscriber.context.clone(), update.frame.clone().into_text()),
            wait_ms => Next::Wait(Duration::from_millis(wait_ms)),
        }
    }

    /// The call that [`poll_call`](Self::poll_call) asked for has succeeded, or failed with this error.
    pub(super) fn handle_called(&mut self, id: Id, called: Result<(), impl std::fmt::Debug>, now_ms: u64) {
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        match called {
            Ok(()) => {
                if let (Some(update), Phase::Resuming { after }) =
                    (subscriber.waiting.pop_front(), &mut subscriber.phase)
                {
                    *after = update.last;
                }
                subscriber.failures = 0;
            }
            Err(error) if subscriber.failures == RETRIES_MAX => {
                tracing::warn!(?error, "a client object cannot be called");
                self.give_up(id, "its calls keep failing");
            }
            Err(_) => {
                subscriber.not_before_ms = now_ms + (RETRY_AFTER_MS << subscriber.failures);
                subscriber.failures += 1;
            }
        }
    }

    /// Forgets a subscriber. Its client notices when it pulls again.
    pub(super) fn give_up(&mut self, id: Id, why: &str) {
        if let Some(Subscriber { context, .. }) = self.subscribers.remove(&id) {
            let CallerContext { binding_name, durable_object_id } = context;
            tracing::warn!(binding_name, durable_object_id, "giving up a client object: {why}");
            self.actions.push_back(Action::Keep);
        }
    }

    /// What the next start of the object has to know, when the log ends at `head`.
    pub(super) fn kept(&self, head: SeqNum) -> Vec<Kept> {
        let kept = |subscriber: &Subscriber| Kept {
            context: subscriber.context.clone(),
            request_id: subscriber.request_id.clone(),
            after: subscriber.after(head),
        };
        self.subscribers.values().map(kept).collect()
    }
}

impl Subscriber {
    /// `false` when too much waits. `shared` is held for what others get, too.
    fn queue(&mut self, chunk: &Chunk, backend_id: &str, shared: Option<&Arc<HeldOnce>>) -> bool {
        let envelope = rpc::chunk_envelope(&self.request_id, PageInfo::NoMore, backend_id);
        let mut frame = Frame::new(envelope, Some(chunk));
        if let Some(held) = shared {
            frame = frame.shared(held);
        }
        let Ok(held) = frame.take_from(&self.budget) else { return false };
        self.waiting.push_back(Update { first: chunk.first, last: chunk.last, frame, _held: held });
        true
    }

    /// The last event that it certainly has, when the log ends at `head`.
    fn after(&self, head: SeqNum) -> Option<SeqNum> {
        match (self.phase, self.waiting.front()) {
            (Phase::Answering, _) => None,
            (Phase::Resuming { after }, _) => Some(after),
            // Numbers may be left out: then nothing has the one before, and "after it" is the same.
            (Phase::Reading | Phase::Live, Some(update)) => SeqNum::new(update.first.get() - 1).ok(),
            (Phase::Reading | Phase::Live, None) => Some(head),
        }
    }
}

#[cfg(test)]
mod tests;

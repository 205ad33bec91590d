//! Pushes: a queue in front of the log. All that arrive while one append is under way share the next.
//!
//! There is no task that commits. Each push, once it is in the queue, waits for the store's lock; the one that gets
//! it commits for all that wait, and the others find their answers when the lock comes to them. So an idle store
//! commits a single push at once, and a busy one pays for durability once per group, without a timer to tune.

use std::sync::Arc;
use std::time::Duration;

use livestore_sync_protocol::limits::BATCH_EVENTS_MAX;
use livestore_sync_protocol::{Event, Generation, SeqNum};
use tokio::sync::oneshot::{self, error::TryRecvError};

use super::{Core, Refusals, Store, lock};
use crate::admission;
use crate::error::{HistoryLost, PushError};
use crate::event::{Batch, Origin, Publish};
use crate::event_log::{AppendError, EventLog, Head, LogError};
use crate::hooks::{HookContext, Hooks, Push};
use crate::platform::{Platform, iso_timestamp};

/// Events that one commit may carry; pushes beyond them wait for the next.
pub(super) const COMMIT_EVENTS_MAX: usize = 2 * BATCH_EVENTS_MAX;

/// Bytes of them, likewise: what a Worker sends to D1 at once. A single push may be larger.
pub(super) const COMMIT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Events of the log that are compared with a push at a time.
const COMPARED_EVENTS_MAX: u32 = 16;

/// Times that a commit is tried again when somebody else appended first.
const HEAD_MOVED_RETRIES: usize = 3;

pub(super) struct Queued {
    batch: Arc<Batch>,
    origin: Option<Origin>,
    refusals: Arc<Refusals>,
    reply: oneshot::Sender<Answer>,
}

/// What the one who commits tells a push.
enum Answer {
    Done(Result<Pushed, PushError>),
    /// It does not start at the log's end. Whether the log holds it already, it may look up by itself, at leisure: what
    /// is up to this head does not change.
    Stale {
        head: Head,
        /// Whether what it builds on is explained by an earlier push of its client that was refused.
        explained: bool,
    },
}

impl Queued {
    /// Answers the pusher; one that went away does not need its answer.
    fn answer(self, result: Result<Pushed, PushError>) {
        if result.is_err() {
            self.refusals.note(self.batch.events());
        }
        let _ = self.reply.send(Answer::Done(result));
    }

    fn refuse_as_stale(self, head: Head) {
        let explained = self.refusals.explain(self.batch.parent());
        // It will be refused, or the log holds all of it, where nothing has to be explained. Noted now, because the
        // client's next push may be looked at before.
        self.refusals.note(self.batch.events());
        let _ = self.reply.send(Answer::Stale { head, explained });
    }
}

/// How a push that did not fail went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// Its events were appended, and published with an acknowledgement to the pusher's connection.
    Committed,
    /// All its events were in the log already, equal in every field: a client that lost the
    /// acknowledgement asks again.
    Repeated,
}

/// A push in the queue. Its batch is committed with the next group, by whichever push completes first.
#[must_use = "an admitted push is answered by `Store::complete`"]
pub(crate) struct Admitted {
    push: Push,
    context: HookContext,
    outcome: oneshot::Receiver<Answer>,
}

impl Admitted {
    /// What was asked for.
    pub(crate) fn call(&self) -> (Push, HookContext) {
        (self.push.clone(), self.context.clone())
    }
}

/// A push that has been committed or refused. Its client may be answered before its hook is told.
#[must_use = "the hook learns of it by `Store::ended`"]
pub(crate) struct Completed {
    pub(crate) push: Push,
    pub(crate) context: HookContext,
    /// How it went.
    pub(crate) result: Result<Pushed, PushError>,
    /// When [`Store::publish_awaited`] is to be called: something waits to be published with what is committed meanwhile.
    pub(crate) publish_in: Option<Duration>,
}

impl Completed {
    pub(crate) fn new(push: Push, context: HookContext, result: Result<Pushed, PushError>) -> Self {
        Self { push, context, result, publish_in: None }
    }
}

impl<L: EventLog, H: Hooks, P: Publish, C: Platform> Store<L, H, P, C> {
    /// Looks whether the client may push, asks the hook and puts the push in the queue. Pushes are committed in the order in which
    /// this returns. `now_ms` becomes the events' time. All pushes of one client share their `refusals`.
    ///
    /// # Errors
    ///
    /// [`PushError`] for what is refused before the log is asked. It is the caller who tells the hook, by
    /// [`ended`](Self::ended), once it has made its last try.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, the push is not in the queue.
    pub(crate) async fn admit(
        &self,
        push: Push,
        backend_id: Option<&str>,
        origin: Option<Origin>,
        refusals: &Arc<Refusals>,
        context: HookContext,
        now_ms: u64,
    ) -> Result<Admitted, PushError> {
        context.connection.identity.check_push(now_ms)?;
        self.hooks.on_push(push.clone(), context.clone()).await?;
        self.check_backend_id::<PushError>(backend_id).await?;
        admission::check_batch(&push.batch)?;
        // Who does not say which log is meant, though its generation could, is not told that this one has lost events:
        // to be beyond its end may be a mistake as well.
        if backend_id.is_none() && context.generation != Generation::V03 {
            refusals.note(&push.batch);
        }
        Ok(self.enqueue(push, context, origin, refusals, now_ms))
    }

    /// Puts a push into the queue that was admitted before. A failure of ours may have ended it then.
    pub(crate) fn enqueue(
        &self,
        push: Push,
        context: HookContext,
        origin: Option<Origin>,
        refusals: &Arc<Refusals>,
        now_ms: u64,
    ) -> Admitted {
        let batch = Arc::new(Batch::new(Arc::clone(&push.batch), iso_timestamp(now_ms)));
        let (reply, outcome) = oneshot::channel();
        lock(&self.queue).push_back(Queued { batch, origin, refusals: Arc::clone(refusals), reply });
        Admitted { push, context, outcome }
    }

    /// Commits a push, together with all that wait, and tells how it went. A push that came over a
    /// connection has been acknowledged there, by [`Publish`], when this is [`Pushed::Committed`].
    ///
    /// # Cancel safety
    ///
    /// Must run to its end once it has started, or the outcome of other pushes is unknown to their
    /// clients. Spawn it.
    #[tracing::instrument(
        name = "push",
        skip_all,
        fields(
            store_id = &*admitted.context.connection.store_id,
            user = admitted.context.connection.user_id(),
            batch_len = admitted.push.batch.len(),
            head
        )
    )]
    pub(crate) async fn complete(&self, admitted: Admitted) -> Completed {
        let Admitted { push, context, mut outcome } = admitted;
        let (answer, publish_in) = self.commit(&mut outcome).await;
        let result = match answer {
            Answer::Done(result) => result,
            Answer::Stale { head, explained } => self.answer_stale(head, explained, &push.batch).await,
        };
        match &result {
            Ok(pushed) => {
                tracing::Span::current().record("head", push.batch.last().map(|event| event.seq_num.get()));
                tracing::debug!(?pushed);
            }
            Err(PushError::ServerAhead { head, provided }) => {
                tracing::Span::current().record("head", head.get());
                tracing::debug!(%provided, "refused: the server is ahead");
            }
            Err(PushError::BackendIdMismatch(_)) => tracing::info!("refused: the client has another backend id"),
            Err(PushError::HistoryLost(lost)) => tracing::warn!(%lost, "refused: the client is beyond the log's end"),
            Err(error) => tracing::info!(%error, "refused"),
        }
        Completed { push, context, result, publish_in }
    }

    /// Tells the hook how a push went. Apart from [`complete`](Self::complete), so that a slow hook
    /// does not delay the answer.
    pub(crate) async fn ended(&self, completed: Completed) {
        let Completed { push, context, result, .. } = completed;
        self.hooks.on_push_res(push, result.map(drop), context).await;
    }

    /// Commits what is in the queue until this push is answered.
    async fn commit(&self, answer: &mut oneshot::Receiver<Answer>) -> (Answer, Option<Duration>) {
        // Held until this push is answered and no longer: the others that wait must not wait for all
        // pushes that still come.
        let mut core = self.core.lock().await;
        // The lock is fair, so by now another push may have committed this one; then there is nothing to do. A group
        // may also end before this push, if the ones before it fill a commit: hence the loop.
        loop {
            match answer.try_recv() {
                Ok(answer) => return (answer, core.pace.poll_wait(self.hooks.now_ms())),
                // This task has the lock, so no other can have taken it out of the queue.
                Err(TryRecvError::Empty) => self.commit_group(&mut core, self.next_group()).await,
                Err(TryRecvError::Closed) => {
                    return (Answer::Done(Err(LogError::unknown_outcome("the commit was given up").into())), None);
                }
            }
        }
    }

    /// The pushes that waited longest, as many as one commit takes.
    fn next_group(&self) -> Vec<Queued> {
        let mut queue = lock(&self.queue);
        let fits = group(queue.iter().map(|queued| (queued.batch.events().len(), queued.batch.bytes())));
        queue.drain(..fits).collect()
    }

    /// One durable append for all pushes that arrived while the last one was under way.
    async fn commit_group(&self, core: &mut Core, mut group: Vec<Queued>) {
        for _ in 0..HEAD_MOVED_RETRIES {
            let was_known = core.head.is_some();
            let (head, backend_id) = match self.head(core).await {
                Ok(head) => match self.backend_id().await {
                    Ok(backend_id) => (head, backend_id),
                    Err(error) => return fail(group, &error),
                },
                Err(error) => return fail(group, &error),
            };
            // Pushes that continue each other go into one append, also when they come from different clients: each
            // was made on top of what it says, so this is the history that they would have made one by one.
            let (fitting, stale) = chain(head.seq_num, group);
            let is_ahead = |queued: &Queued| queued.batch.parent() > head.seq_num;
            if fitting.is_empty() && was_known && stale.iter().any(is_ahead) {
                // The pusher may have met events that somebody else appended.
                core.head = None;
                group = stale;
                continue;
            }
            if fitting.is_empty() {
                return self.refuse_as_stale(core, stale, head);
            }
            let batches: Vec<_> = fitting.iter().map(|queued| Arc::clone(&queued.batch)).collect();
            let next = head.after(&batches);
            // Until the log says otherwise, what it holds is not known. Forgotten before the append and not after its
            // failure: this future may be dropped at the await, and whatever the log then has done, the next push
            // must ask it.
            core.head = None;
            let doubt = core.doubt.replace(head.seq_num);
            match self.log.append(head, batches).await {
                Ok(()) => {
                    core.doubt = None;
                    for queued in fitting {
                        self.publish_in_turn(core, &backend_id, Arc::clone(&queued.batch), queued.origin.clone());
                        queued.answer(Ok(Pushed::Committed));
                    }
                    core.head = Some(next);
                    return self.refuse_as_stale(core, stale, next);
                }
                // Another process was faster. The next round publishes what it has appended, so that live pulls
                // have it before a pusher here is told that the server is ahead.
                Err(AppendError::HeadMoved) => {
                    core.doubt = doubt;
                    group = fitting.into_iter().chain(stale).collect();
                }
                Err(AppendError::Log(error)) => {
                    if matches!(error, LogError::NothingStored(_)) {
                        core.doubt = doubt;
                    }
                    tracing::error!(%error, "append failed");
                    return self.answer_failed(core, fitting.into_iter().chain(stale), error).await;
                }
            }
        }
        fail(group, &LogError::nothing_stored("other writers were faster every time"));
    }

    /// Whoever is refused waits for what it lost to.
    fn refuse_as_stale(&self, core: &mut Core, stale: Vec<Queued>, head: Head) {
        for queued in stale {
            self.publish_waiting(core);
            queued.refuse_as_stale(head);
        }
    }

    /// A batch that does not start at the head is acknowledged if the log holds it already.
    async fn answer_stale(&self, head: Head, explained: bool, batch: &[Event]) -> Result<Pushed, PushError> {
        let position = batch[0].parent_seq_num;
        if self.is_stored(head, batch).await? {
            return Ok(Pushed::Repeated);
        }
        if position > head.seq_num && !explained {
            let backend_id = self.backend_id().await?.to_string();
            return Err(HistoryLost { backend_id, head: head.seq_num, position }.into());
        }
        Err(PushError::ServerAhead { head: head.seq_num, provided: position })
    }

    async fn is_stored(&self, head: Head, events: &[Event]) -> Result<bool, LogError> {
        let last = events[events.len() - 1].seq_num;
        if last > head.seq_num {
            return Ok(false);
        }
        // A few at a time, whatever their size, and no further than they are equal: tiny events of a client must not
        // make the server read a whole log. The first alone, because it tells most lost races.
        let mut rest = events;
        let mut limit = 1;
        while let Some(first) = rest.first() {
            let stored = self.log.events(first.parent_seq_num, last, limit).await?;
            if stored.is_empty() || !stored.iter().map(|stored| &stored.event).eq(rest.iter().take(stored.len())) {
                return Ok(false);
            }
            rest = &rest[stored.len()..];
            limit = COMPARED_EVENTS_MAX;
        }
        Ok(true)
    }

    /// The append failed. Where it may have been stored all the same, the log is asked.
    async fn answer_failed(&self, core: &mut Core, group: impl Iterator<Item = Queued>, error: LogError) {
        if matches!(error, LogError::NothingStored(_)) {
            return fail(group, &error);
        }
        // Publishes what was stored, so that live pulls have it before their pushers are answered.
        let Ok(head) = self.head(core).await else { return fail(group, &error) };
        for queued in group {
            let result = match self.is_stored(head, queued.batch.events()).await {
                Ok(true) => Ok(Pushed::Repeated),
                Ok(false) | Err(_) => Err(error.clone().into()),
            };
            queued.answer(result);
        }
    }
}

/// How many pushes, of so many events and bytes each, go into one commit: one at least.
fn group(pushes: impl Iterator<Item = (usize, usize)>) -> usize {
    let (mut events, mut bytes) = (0, 0);
    pushes
        .take_while(|push| {
            let is_first = events == 0;
            events += push.0;
            bytes += push.1;
            is_first || (events <= COMMIT_EVENTS_MAX && bytes <= COMMIT_BYTES_MAX)
        })
        .count()
}

fn fail(group: impl IntoIterator<Item = Queued>, error: &LogError) {
    for queued in group {
        queued.answer(Err(error.clone().into()));
    }
}

/// Splits pushes into those that continue each other from the head, and the others.
fn chain(head: SeqNum, group: Vec<Queued>) -> (Vec<Queued>, Vec<Queued>) {
    let mut head = head;
    group.into_iter().partition(|queued| {
        let fits = queued.batch.parent() == head;
        if fits {
            head = queued.batch.last();
        }
        fits
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_has_as_many_pushes_as_fit() {
        let of = |pushes: &[(usize, usize)]| group(pushes.iter().copied());
        assert_eq!(of(&[]), 0);
        assert_eq!(of(&[(COMMIT_EVENTS_MAX - 1, 0), (1, 0), (1, 0)]), 2);
        assert_eq!(of(&[(COMMIT_EVENTS_MAX, 0), (1, 0)]), 1);
        assert_eq!(of(&[(1, COMMIT_BYTES_MAX - 1), (1, 1), (1, 1)]), 2);
        assert_eq!(of(&[(1, COMMIT_BYTES_MAX), (1, 1)]), 1);
        assert_eq!(of(&[(1, COMMIT_BYTES_MAX + 1), (1, 1)]), 1, "the first always fits");
    }
}

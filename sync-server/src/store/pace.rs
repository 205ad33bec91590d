//! Which commits share a publication. What a frame costs hardly depends on how many events are in it. So for a moment
//! after a publication to a large audience, what is committed is acknowledged at once and published together. That pays
//! where pushes come one upon the other, and only delays one that comes alone: after one has waited in vain, the next
//! ones are not asked to.

use std::sync::Arc;
use std::time::Duration;

use super::{Core, Store};
use crate::event::{Batch, Committed, Origin, Publish};
use crate::event_log::EventLog;
use crate::hooks::Hooks;
use crate::platform::Platform;

/// What waits to be published is no more than this, in bytes: about what a chunk takes.
pub(super) const WAITING_BYTES_MAX: usize = 100_000;

/// After a push that waited in vain, so many are published at once.
pub(super) const HURRIED: u32 = 16;

#[derive(Default)]
pub(super) struct Pace {
    /// Its pushes are acknowledged.
    waiting: Option<Committed>,
    rests_until_ms: u64,
    /// Whether somebody comes to publish what waits.
    awaited: bool,
    /// So many publications do not wait.
    hurried: u32,
}

impl Pace {
    /// How long until somebody has to come and publish what waits, unless somebody does already.
    pub(super) fn poll_wait(&mut self, now_ms: u64) -> Option<Duration> {
        let is_news = self.waiting.is_some() && !std::mem::replace(&mut self.awaited, true);
        is_news.then(|| Duration::from_millis(self.rests_until_ms.saturating_sub(now_ms)))
    }
}

impl<L: EventLog, H: Hooks, P: Publish, C: Platform> Store<L, H, P, C> {
    pub(super) fn publish(&self, core: &mut Core, committed: &Committed) {
        // Noted before: if this ends in the middle, the next look at the log publishes the rest.
        core.published = Some(committed.last());
        self.publish.publish(committed);
        let rest_ms = self.publish.rest().as_millis().try_into().unwrap_or(u64::MAX);
        core.pace.rests_until_ms = self.hooks.now_ms().saturating_add(rest_ms);
    }

    /// Publishes a batch that was committed, or lets it wait; either acknowledges its push. No await between the commit
    /// and this: with one, a pull could become live in between and miss the events, or get them twice.
    pub(super) fn publish_in_turn(
        &self,
        core: &mut Core,
        backend_id: &Arc<str>,
        batch: Arc<Batch>,
        origin: Option<Origin>,
    ) {
        let acknowledge = |origin: Option<Origin>| origin.iter().for_each(|origin| self.publish.acknowledge(origin));
        let mut committed = match core.pace.waiting.take() {
            None => Committed::new(batch, Arc::clone(backend_id), origin),
            Some(mut waiting) => {
                acknowledge(origin);
                waiting.push(batch);
                waiting
            }
        };
        let is_resting = self.hooks.now_ms() < core.pace.rests_until_ms;
        if is_resting && core.pace.hurried == 0 && committed.bytes() <= WAITING_BYTES_MAX {
            acknowledge(committed.origin.take());
            core.pace.waiting = Some(committed);
        } else {
            core.pace.hurried = core.pace.hurried.saturating_sub(1);
            self.publish(core, &committed);
        }
    }

    /// For whoever must not find anything committed that is not published: a pull that becomes live would get it
    /// twice, and who is refused waits for it.
    pub(super) fn publish_waiting(&self, core: &mut Core) {
        if let Some(waiting) = core.pace.waiting.take() {
            self.publish(core, &waiting);
        }
    }

    /// Publishes what waits, if anything still does. To be called when the time is over that
    /// [`Completed`](super::Completed) tells.
    pub(crate) async fn publish_awaited(&self) {
        let mut core = self.core.lock().await;
        core.pace.awaited = false;
        if core.pace.waiting.as_ref().is_some_and(Committed::is_single) {
            core.pace.hurried = HURRIED;
        }
        self.publish_waiting(&mut core);
    }
}

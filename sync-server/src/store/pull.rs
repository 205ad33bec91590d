//! One pull: the backlog, page by page, then the step that makes it live.

use livestore_sync_protocol::limits::EVENT_BYTES_MAX;
use livestore_sync_protocol::{Chunk, ItemFormat, SeqNum};

use super::Store;
use crate::PullError;
use crate::budget::Held;
use crate::event::Publish;
use crate::event_log::{EventLog, Head, LogError, PAGE_BYTES_MAX};
use crate::hooks::{HookContext, Hooks, Pull};
use crate::platform::{MaybeSend, MaybeSync, Platform};

/// What a page takes while it is read: it ends with the event that fills it.
const PAGE_HELD_BYTES: u64 = (PAGE_BYTES_MAX + EVENT_BYTES_MAX) as u64;

/// Where the chunks of one pull go.
pub(crate) trait PullSink: MaybeSend + MaybeSync {
    /// Waits until the puller may be sent another chunk.
    ///
    /// # Errors
    ///
    /// [`PullError::Gone`] when the pull is over.
    fn ready(&self) -> impl Future<Output = Result<(), PullError>> + MaybeSend;

    /// Waits a moment for the same; whether the puller may be sent another chunk now.
    ///
    /// # Errors
    ///
    /// [`PullError::Gone`] when the pull is over.
    fn ready_soon(&self) -> impl Future<Output = Result<bool, PullError>> + MaybeSend {
        async { self.ready().await.map(|()| true) }
    }

    /// Takes what a page makes the server hold, once there is room for it.
    ///
    /// # Errors
    ///
    /// [`PullError::Gone`] when the pull is over.
    fn hold(&self, bytes: u64) -> impl Future<Output = Result<Held, PullError>> + MaybeSend;

    /// Sends a chunk, with what it takes until it is written; `None` is the empty one.
    ///
    /// # Errors
    ///
    /// [`PullError::Gone`] when the pull is over.
    fn send(
        &self,
        chunk: Option<(&Chunk, Held)>,
        remaining: u64,
        backend_id: &str,
    ) -> impl Future<Output = Result<(), PullError>> + MaybeSend;

    /// Something of ours failed, so many times in a row. Waits until it may be tried again.
    ///
    /// # Errors
    ///
    /// What ends the pull: [`PullError::Gone`] when it is over, or this failure where it is not to be tried again.
    fn failed(&self, error: PullError, failures: u32) -> impl Future<Output = Result<(), PullError>> + MaybeSend;

    /// The puller has everything. Called under the store's lock for a live pull, so that the next
    /// committed batch is the first that it gets as such. Must not block.
    fn caught_up(&self);
}

impl<L: EventLog, H: Hooks, P: Publish, C: Platform> Store<L, H, P, C> {
    /// Sends a backlog: all events above the cursor, then, unless the pull is live, no more. A live
    /// pull is told the moment from which on it gets what is published. Where something of ours fails, the sink
    /// says whether it goes on. Returns the number of events.
    ///
    /// # Errors
    ///
    /// [`PullError`]; chunks may have been sent before it.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the pull stops after the chunk that it sent last and is not live.
    #[tracing::instrument(
        name = "pull",
        skip_all,
        fields(store_id = &*context.connection.store_id, live = pull.live, cursor, head)
    )]
    pub(crate) async fn pull(
        &self,
        pull: Pull,
        format: ItemFormat,
        context: HookContext,
        sink: &impl PullSink,
    ) -> Result<u64, PullError> {
        let result = self.send_backlog(&pull, format, &context, sink).await;
        match &result {
            Ok(events) => tracing::debug!(events, "caught up"),
            Err(PullError::Log(error)) => tracing::error!(%error, "failed"),
            Err(error) => tracing::debug!(%error, "ended"),
        }
        self.hooks.on_pull_res(pull, result.clone(), context).await;
        result
    }

    async fn send_backlog(
        &self,
        pull: &Pull,
        format: ItemFormat,
        context: &HookContext,
        sink: &impl PullSink,
    ) -> Result<u64, PullError> {
        let mut failures = 0;
        while let Err(error) = self.hooks.on_pull(pull.clone(), context.clone()).await {
            wait(sink, error, &mut failures).await?;
        }
        let (mut begun, mut sent) = (None, 0);
        loop {
            let error = match self.try_send_backlog(pull, format, sink, &mut begun).await {
                Ok(events) => return Ok(events),
                Err(error) => error,
            };
            let now_sent = begun.as_ref().map_or(0, |backlog: &Backlog| backlog.sent);
            if std::mem::replace(&mut sent, now_sent) != now_sent {
                // Something worked in between.
                failures = 0;
            }
            wait(sink, error, &mut failures).await?;
        }
    }

    /// Sends the backlog from where it stands, which is kept for the next try.
    async fn try_send_backlog(
        &self,
        pull: &Pull,
        format: ItemFormat,
        sink: &impl PullSink,
        begun: &mut Option<Backlog>,
    ) -> Result<u64, PullError> {
        let received = pull.cursor.as_ref().and_then(|cursor| cursor.backend_id.as_deref());
        let backend_id = self.check_backend_id::<PullError>(received).await?;
        let backlog = match begun {
            Some(backlog) => backlog,
            None => {
                let after = pull.cursor.as_ref().map_or(SeqNum::ROOT, |cursor| cursor.seq_num);
                let backlog = Backlog::new(after, self.head_from(&mut *self.core.lock().await, after).await?);
                tracing::Span::current().record("cursor", after.get()).record("head", backlog.head.seq_num.get());
                if backlog.is_done() {
                    sink.ready().await?;
                    sink.send(None, 0, &backend_id).await?;
                }
                begun.insert(backlog)
            }
        };
        loop {
            self.send_until_head(backlog, &backend_id, format, pull.live, sink).await?;
            if !pull.live {
                sink.caught_up();
                return Ok(backlog.sent);
            }
            let mut core = self.core.lock().await;
            backlog.look(self.head_from(&mut core, backlog.after).await?);
            if backlog.is_done() {
                sink.caught_up();
                return Ok(backlog.sent);
            }
        }
    }

    /// Continues several pulls of one connection, each from where it stands: they become live
    /// together. Nothing is sent to one that has everything. `after` is exclusive.
    ///
    /// # Errors
    ///
    /// [`PullError`]; chunks may have been sent before it.
    ///
    /// # Cancel safety
    ///
    /// As [`pull`](Self::pull).
    pub(crate) async fn continue_pulls<S: PullSink>(
        &self,
        pulls: Vec<(ItemFormat, SeqNum, S)>,
    ) -> Result<(), PullError> {
        // Each counts as caught up until the log has been looked at.
        let backlog = |after| Backlog::new(after, Head::new(after, 0));
        let mut pulls: Vec<_> = pulls.into_iter().map(|(format, after, sink)| (format, backlog(after), sink)).collect();
        let sent = |pulls: &[(ItemFormat, Backlog, S)]| pulls.iter().map(|(_, backlog, _)| backlog.sent).sum::<u64>();
        let (mut failures, mut before) = (0, 0);
        while let Err(error) = self.try_continue_pulls(&mut pulls).await {
            // They share a connection, which is asked once.
            let Some((_, _, sink)) = pulls.first() else { return Err(error) };
            let now = sent(&pulls);
            if std::mem::replace(&mut before, now) != now {
                failures = 0;
            }
            wait(sink, error, &mut failures).await?;
        }
        Ok(())
    }

    async fn try_continue_pulls<S: PullSink>(&self, pulls: &mut [(ItemFormat, Backlog, S)]) -> Result<(), PullError> {
        let backend_id = self.backend_id().await?;
        loop {
            for (format, backlog, sink) in &mut *pulls {
                self.send_until_head(backlog, &backend_id, *format, true, sink).await?;
            }
            let mut core = self.core.lock().await;
            let furthest = pulls.iter().map(|(_, backlog, _)| backlog.after).max().unwrap_or_default();
            let head = self.head_from(&mut core, furthest).await?;
            pulls.iter_mut().for_each(|(_, backlog, _)| backlog.look(head));
            if pulls.iter().all(|(_, backlog, _)| backlog.is_done()) {
                // They share a connection, which is told once.
                if let Some((_, _, sink)) = pulls.first() {
                    sink.caught_up();
                }
                return Ok(());
            }
        }
    }

    async fn send_until_head(
        &self,
        backlog: &mut Backlog,
        backend_id: &str,
        format: ItemFormat,
        live: bool,
        sink: &impl PullSink,
    ) -> Result<(), PullError> {
        while !backlog.is_done() {
            // Nothing is read for a puller that takes nothing, nor before there is room for it.
            sink.ready().await?;
            let mut held = sink.hold(PAGE_HELD_BYTES).await?;
            let page = self.log.read(backlog.after, format).await?;
            let bytes = |chunks: &[Chunk]| chunks.iter().map(|chunk| chunk.items.len() as u64).sum::<u64>();
            held.shrink_to(bytes(&page.chunks));
            if page.chunks.is_empty() {
                return Err(LogError::nothing_stored("the log ends before its head").into());
            }
            for chunk in &page.chunks {
                if !sink.ready_soon().await? {
                    // A page is not kept for who takes its time: the rest is read again.
                    break;
                }
                // Kept once it is sent: what fails before that is made again from here.
                let mut next = Backlog { after: chunk.last, sent: backlog.sent + chunk.events as u64, ..*backlog };
                let remaining = self.remaining(&mut next).await?;
                let chunk_held = held.split(chunk.items.len() as u64);
                sink.send(Some((chunk, chunk_held)), remaining, backend_id).await?;
                *backlog = next;
                if !live && backlog.is_done() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Where the log stands, at least as new as when this was called.
    ///
    /// # Errors
    ///
    /// [`LogError`] when the database fails.
    pub(crate) async fn current_head(&self) -> Result<Head, LogError> {
        let mut core = self.core.lock().await;
        self.publish_waiting(&mut core);
        self.head(&mut core).await
    }

    /// How many events up to the head are still to come. A log without gaps is not counted.
    async fn remaining(&self, backlog: &mut Backlog) -> Result<u64, LogError> {
        if backlog.is_done() {
            return Ok(0);
        }
        if backlog.head.gaps == 0 {
            return Ok(backlog.head.seq_num.get().abs_diff(backlog.after.get()));
        }
        let all = match backlog.counted {
            Some(all) => all,
            None => backlog.sent + self.log.count(backlog.after).await?,
        };
        backlog.counted = Some(all);
        // Not done, so there is one at least, whatever was counted before it came.
        Ok(all.saturating_sub(backlog.sent).max(1))
    }
}

/// Waits before a pull is tried again; what is the client's ends it.
async fn wait(sink: &impl PullSink, error: PullError, failures: &mut u32) -> Result<(), PullError> {
    if !error.is_ours() {
        return Err(error);
    }
    *failures += 1;
    sink.failed(error, *failures).await
}

/// How far a pull is.
struct Backlog {
    after: SeqNum,
    /// Number of events.
    sent: u64,
    /// Where the log stood when the pull last looked; a pull that is not live ends there.
    head: Head,
    /// All events of this pull, where they had to be counted.
    counted: Option<u64>,
}

impl Backlog {
    fn new(after: SeqNum, head: Head) -> Self {
        Self { after, sent: 0, head, counted: None }
    }

    /// The log was looked at again. What was counted does not hold if it has grown.
    fn look(&mut self, head: Head) {
        if self.head != head {
            self.counted = None;
        }
        self.head = head;
    }

    fn is_done(&self) -> bool {
        self.after >= self.head.seq_num
    }
}

//! A log that lets other tasks run in the middle of its calls, for tests of what is built on logs. A log in
//! memory answers without ever waiting, so races that a real database allows would not happen with it.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use livestore_sync_protocol::{ItemFormat, PulledEvent, SeqNum};

use super::{AppendError, EventLog, Head, LogError, Page};
use crate::Batch;

/// A log that gives way to other tasks before and after each call, as one across a network does.
#[derive(Debug)]
pub struct Yielding<L>(L);

impl<L: EventLog> Yielding<L> {
    /// Wraps a log.
    #[must_use]
    pub fn new(log: L) -> Self {
        Self(log)
    }
}

/// Is ready when it is polled again, so that other tasks run first.
pub(crate) async fn give_way() {
    let mut given = false;
    poll_fn(|context| {
        if given {
            return Poll::Ready(());
        }
        given = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

async fn between<T>(call: impl Future<Output = T>) -> T {
    give_way().await;
    let result = call.await;
    give_way().await;
    result
}

impl<L: EventLog> EventLog for Yielding<L> {
    async fn backend_id(&self) -> Result<Arc<str>, LogError> {
        between(self.0.backend_id()).await
    }

    async fn head(&self) -> Result<Head, LogError> {
        between(self.0.head()).await
    }

    async fn append(&self, expected: Head, batches: Vec<Arc<Batch>>) -> Result<(), AppendError> {
        between(self.0.append(expected, batches)).await
    }

    async fn read(&self, after: SeqNum, format: ItemFormat) -> Result<Page, LogError> {
        between(self.0.read(after, format)).await
    }

    async fn events(&self, after: SeqNum, last: SeqNum, limit: u32) -> Result<Vec<PulledEvent>, LogError> {
        between(self.0.events(after, last, limit)).await
    }

    async fn count(&self, after: SeqNum) -> Result<u64, LogError> {
        between(self.0.count(after)).await
    }
}

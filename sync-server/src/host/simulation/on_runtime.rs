//! A log that needs threads, under an executor that has none.

use std::sync::Arc;

use livestore_sync_protocol::{ItemFormat, PulledEvent, SeqNum};
use tokio::runtime::Runtime;

use crate::event::Batch;
use crate::event_log::{AppendError, EventLog, Head, LogError, Page};

/// A log that needs threads, for an executor that has none: each call is waited for where it is made.
pub(crate) struct OnRuntime<L> {
    log: L,
    runtime: Arc<Runtime>,
}

impl<L: EventLog> OnRuntime<L> {
    pub(crate) fn new(log: L, runtime: Arc<Runtime>) -> Self {
        Self { log, runtime }
    }
}

impl<L: EventLog> EventLog for OnRuntime<L> {
    async fn backend_id(&self) -> Result<Arc<str>, LogError> {
        self.runtime.block_on(self.log.backend_id())
    }

    async fn head(&self) -> Result<Head, LogError> {
        self.runtime.block_on(self.log.head())
    }

    async fn append(&self, expected: Head, batches: Vec<Arc<Batch>>) -> Result<(), AppendError> {
        self.runtime.block_on(self.log.append(expected, batches))
    }

    async fn read(&self, after: SeqNum, format: ItemFormat) -> Result<Page, LogError> {
        self.runtime.block_on(self.log.read(after, format))
    }

    async fn events(&self, after: SeqNum, last: SeqNum, limit: u32) -> Result<Vec<PulledEvent>, LogError> {
        self.runtime.block_on(self.log.events(after, last, limit))
    }

    async fn count(&self, after: SeqNum) -> Result<u64, LogError> {
        self.runtime.block_on(self.log.count(after))
    }
}

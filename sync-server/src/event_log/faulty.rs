//! A log that fails on demand, for tests of what is built on logs: this crate's and an app's. Wraps any log and
//! decides nothing but whether a call fails.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use livestore_sync_protocol::{ItemFormat, PulledEvent, SeqNum};

use super::{AppendError, EventLog, Head, LogError, Page};
use crate::Batch;

/// A method of [`EventLog`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// [`EventLog::backend_id`].
    BackendId,
    /// [`EventLog::head`].
    Head,
    /// [`EventLog::append`].
    Append,
    /// [`EventLog::read`].
    Read,
    /// [`EventLog::events`].
    Events,
    /// [`EventLog::count`].
    Count,
}

/// How a call fails. For a call that only reads, all three are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is stored, and the error says so.
    Refused,
    /// Nothing is stored, but the error cannot tell: the question did not get through.
    LostBefore,
    /// Everything is stored, but the error cannot tell: the answer did not get through.
    LostAfter,
}

/// Which of the next calls fail. Clones share one plan: a test keeps one and gives the log another.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<HashMap<Operation, VecDeque<Option<Fault>>>>>);

impl Faults {
    /// A plan without faults.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The next call of this operation that is not planned yet fails.
    pub fn fail(&self, operation: Operation, fault: Fault) {
        self.plan().entry(operation).or_default().push_back(Some(fault));
    }

    /// The next call of this operation that is not planned yet succeeds.
    pub fn succeed(&self, operation: Operation) {
        self.plan().entry(operation).or_default().push_back(None);
    }

    /// From here on everything succeeds.
    pub fn clear(&self) {
        self.plan().clear();
    }

    fn next(&self, operation: Operation) -> Option<Fault> {
        self.plan().get_mut(&operation).and_then(VecDeque::pop_front).flatten()
    }

    fn plan(&self) -> MutexGuard<'_, HashMap<Operation, VecDeque<Option<Fault>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A log that fails as planned.
#[derive(Debug)]
pub struct Faulty<L> {
    log: L,
    faults: Faults,
}

impl<L: EventLog> Faulty<L> {
    /// Wraps a log.
    #[must_use]
    pub fn new(log: L, faults: Faults) -> Self {
        Self { log, faults }
    }

    fn check(&self, operation: Operation) -> Result<(), LogError> {
        match self.faults.next(operation) {
            None => Ok(()),
            Some(_) => Err(LogError::nothing_stored(format!("planned: {operation:?} fails"))),
        }
    }
}

impl<L: EventLog> EventLog for Faulty<L> {
    async fn backend_id(&self) -> Result<Arc<str>, LogError> {
        self.check(Operation::BackendId)?;
        self.log.backend_id().await
    }

    async fn head(&self) -> Result<Head, LogError> {
        self.check(Operation::Head)?;
        self.log.head().await
    }

    async fn append(&self, expected: Head, batches: Vec<Arc<Batch>>) -> Result<(), AppendError> {
        match self.faults.next(Operation::Append) {
            None => self.log.append(expected, batches).await,
            Some(Fault::Refused) => Err(LogError::nothing_stored("planned: refused").into()),
            Some(Fault::LostBefore) => Err(LogError::unknown_outcome("planned: the question is lost").into()),
            Some(Fault::LostAfter) => {
                self.log.append(expected, batches).await?;
                Err(LogError::unknown_outcome("planned: the answer is lost").into())
            }
        }
    }

    async fn read(&self, after: SeqNum, format: ItemFormat) -> Result<Page, LogError> {
        self.check(Operation::Read)?;
        self.log.read(after, format).await
    }

    async fn events(&self, after: SeqNum, last: SeqNum, limit: u32) -> Result<Vec<PulledEvent>, LogError> {
        self.check(Operation::Events)?;
        self.log.events(after, last, limit).await
    }

    async fn count(&self, after: SeqNum) -> Result<u64, LogError> {
        self.check(Operation::Count)?;
        self.log.count(after).await
    }
}

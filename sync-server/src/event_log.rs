//! Where a store's events are kept.

#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
#[cfg(any(test, feature = "test-util"))]
mod faulty;
mod memory;
#[cfg(any(
    test,
    all(feature = "native", not(target_family = "wasm")),
    all(feature = "worker", target_family = "wasm")
))]
mod sql;
#[cfg(all(feature = "native", not(target_family = "wasm")))]
mod sqlite;
#[cfg(all(feature = "worker", target_family = "wasm"))]
mod worker;
#[cfg(any(test, feature = "test-util"))]
mod yielding;

use std::sync::Arc;

use livestore_sync_protocol::{Chunk, ItemFormat, PulledEvent, SeqNum};

#[cfg(any(test, feature = "test-util"))]
pub use self::faulty::{Fault, Faults, Faulty, Operation};
pub use self::memory::MemoryLog;
#[cfg(all(feature = "native", not(target_family = "wasm")))]
pub use self::sqlite::{OpenError, SqliteFile, SqliteLog, StoreError, Synchronous};
#[cfg(all(feature = "worker", target_family = "wasm"))]
pub use self::worker::{D1Log, Left, ObjectLog, WorkerLog};
#[cfg(any(test, feature = "test-util"))]
pub use self::yielding::Yielding;
pub use crate::error::{AppendError, LogError};
use crate::event::Batch;
use crate::platform::{MaybeSend, MaybeSync};

/// Where a log stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// The last event's number; [`SeqNum::ROOT`] for an empty log.
    pub head: SeqNum,
    /// How many numbers up to the head have no event. With none, events are counted by subtraction.
    pub gaps: u64,
}

/// Events read at once.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// The events, rendered for the wire.
    pub chunks: Vec<Chunk>,
    /// Whether the log may hold more above the last one.
    pub more: bool,
}

/// The ordered, append-only history of one store.
///
/// The log is what makes one history: [`append`](Self::append) compares the head and appends in one
/// atomic, durable step, whoever else writes. The executable form of this contract is the module
/// `conformance` (feature `test-util`).
pub trait EventLog: MaybeSend + MaybeSync + 'static {
    /// The identity of this log. Created with the log and never changed.
    ///
    /// # Errors
    ///
    /// [`LogError`] when the database fails.
    fn backend_id(&self) -> impl Future<Output = Result<Arc<str>, LogError>> + MaybeSend;

    /// Where the log stands. Costs no more on a longer log.
    ///
    /// # Errors
    ///
    /// [`LogError`] when the database fails.
    fn tip(&self) -> impl Future<Output = Result<Tip, LogError>> + MaybeSend;

    /// Appends all events of all batches, or none, if the head still is `expected.head`. When it
    /// returns, they are as durable as the database makes them. The batches form one chain from that
    /// head; a number that comes twice is refused, as an error that certainly stored nothing.
    ///
    /// # Errors
    ///
    /// [`AppendError::HeadMoved`] when another writer was faster; [`AppendError::Log`] when the
    /// database fails, which says whether it may have stored the batches.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the outcome unknown.
    fn append(
        &self,
        expected: Tip,
        batches: Vec<Arc<Batch>>,
    ) -> impl Future<Output = Result<(), AppendError>> + MaybeSend;

    /// Reads events above `after`, ascending, as many as make a good page (at least one if there is one).
    ///
    /// # Errors
    ///
    /// [`LogError`] when the database fails.
    fn read(&self, after: SeqNum, format: ItemFormat) -> impl Future<Output = Result<Page, LogError>> + MaybeSend;

    /// Reads the events above `after` up to and including `last`, at most `limit` of them, as values.
    ///
    /// # Errors
    ///
    /// [`LogError`] when the database fails.
    fn events(
        &self,
        after: SeqNum,
        last: SeqNum,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<PulledEvent>, LogError>> + MaybeSend;

    /// Counts the events above `after`. Costs as much as there are; the engine asks only where the
    /// log has gaps.
    ///
    /// # Errors
    ///
    /// [`LogError`] when the database fails.
    fn count(&self, after: SeqNum) -> impl Future<Output = Result<u64, LogError>> + MaybeSend;
}

/// Clones are one log.
impl<L: EventLog> EventLog for Arc<L> {
    fn backend_id(&self) -> impl Future<Output = Result<Arc<str>, LogError>> + MaybeSend {
        (**self).backend_id()
    }

    fn tip(&self) -> impl Future<Output = Result<Tip, LogError>> + MaybeSend {
        (**self).tip()
    }

    fn append(
        &self,
        expected: Tip,
        batches: Vec<Arc<Batch>>,
    ) -> impl Future<Output = Result<(), AppendError>> + MaybeSend {
        (**self).append(expected, batches)
    }

    fn read(&self, after: SeqNum, format: ItemFormat) -> impl Future<Output = Result<Page, LogError>> + MaybeSend {
        (**self).read(after, format)
    }

    fn events(
        &self,
        after: SeqNum,
        last: SeqNum,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<PulledEvent>, LogError>> + MaybeSend {
        (**self).events(after, last, limit)
    }

    fn count(&self, after: SeqNum) -> impl Future<Output = Result<u64, LogError>> + MaybeSend {
        (**self).count(after)
    }
}

/// A page ends after so many events ...
pub const PAGE_EVENTS_MAX: u32 = 1_000;
/// ... or once it holds so many bytes.
pub const PAGE_BYTES_MAX: usize = 2_000_000;

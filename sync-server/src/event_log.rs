//! Where a store's events are kept: the contract [`EventLog`], and the logs that need no platform.
//!
//! The engine (`store`) is written against the contract alone. Logs here: [`MemoryLog`], and with the feature
//! `native` those of a SQLite file; the logs of Workers are in `worker::event_log`, because only there JavaScript
//! may be named. An app may bring one of its own: `conformance` (feature `test-util`) says whether it keeps the
//! contract. `sql` holds the statements that all logs over SQL share.
//!
//! A log knows its one database. It may not name sessions, hooks, connections, or another log.

pub(crate) mod chain;
#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
#[cfg(any(test, feature = "test-util"))]
mod faulty;
mod memory;
pub(crate) mod sql;
#[cfg(all(feature = "native", not(target_family = "wasm")))]
mod sqlite;
#[cfg(any(test, feature = "test-util"))]
mod yielding;

use std::sync::Arc;

use livestore_sync_protocol::{Chunk, ItemFormat, PulledEvent, SeqNum};

#[cfg(any(test, feature = "test-util"))]
pub use self::faulty::{Fault, Faults, Faulty, Operation};
pub use self::memory::MemoryLog;
#[cfg(all(feature = "native", not(target_family = "wasm")))]
pub(crate) use self::sqlite::folder;
#[cfg(all(feature = "native", not(target_family = "wasm")))]
pub use self::sqlite::{BackupError, OpenError, SqliteFile, SqliteLog, StoreError, Synchronous};
#[cfg(any(test, feature = "test-util"))]
pub use self::yielding::Yielding;
#[cfg(test)]
pub(crate) use self::yielding::give_way;
pub use crate::error::{AppendError, LogError};
use crate::event::Batch;
use crate::platform::{MaybeSend, MaybeSync};

/// A page ends after this many events ...
pub const PAGE_EVENTS_MAX: u32 = 1_000;
/// ... or once it holds this many bytes.
pub const PAGE_BYTES_MAX: usize = 250_000;

/// Where a log stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Head {
    /// The last event's number; [`SeqNum::ROOT`] for an empty log.
    pub seq_num: SeqNum,
    /// How many numbers up to the last have no event. Where there are none, the engine counts events by
    /// subtracting numbers.
    pub gaps: u64,
}

impl Head {
    /// The head of an empty log.
    pub const EMPTY: Self = Self { seq_num: SeqNum::ROOT, gaps: 0 };

    /// The head of a log whose last event has the number `seq_num` and that has `gaps` numbers without an event.
    #[must_use]
    pub const fn new(seq_num: SeqNum, gaps: u64) -> Self {
        Self { seq_num, gaps }
    }

    /// The head once these batches, which continue this head, are appended.
    #[must_use]
    pub fn after(self, batches: &[Arc<Batch>]) -> Self {
        Self {
            seq_num: batches.last().map_or(self.seq_num, |batch| batch.last()),
            gaps: self.gaps + batches.iter().map(|batch| batch.gaps()).sum::<u64>(),
        }
    }
}

/// Events read at once.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// The events, rendered for the wire.
    pub chunks: Vec<Chunk>,
    /// Whether the log may hold more above the last one.
    pub more: bool,
}

impl Page {
    /// A page of these chunks; `more` where the log may hold events above them.
    #[must_use]
    pub fn new(chunks: Vec<Chunk>, more: bool) -> Self {
        Self { chunks, more }
    }
}

/// The ordered, append-only history of one store.
///
/// The log is what makes one history: [`append`](Self::append) compares the head and appends in one
/// atomic, durable step, whichever process or object else writes to the same log. A log exists from its first event
/// on: opening or reading one that has none leaves nothing behind in the database. What is read is one chain
/// (`chain`); where the database gives something else, the read fails. The executable form of this contract is the
/// module `conformance` (feature `test-util`).
pub trait EventLog: MaybeSend + MaybeSync + 'static {
    /// The identity of this log, the same for everyone who asks, before its first event and after it, and in every
    /// process: clients keep what they are told, also of a log without events. It changes when the log is started
    /// anew, or restored from a backup.
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
    fn head(&self) -> impl Future<Output = Result<Head, LogError>> + MaybeSend;

    /// Appends all events of all batches, or none, if the last number still is `expected.seq_num`. When it
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
        expected: Head,
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

    fn head(&self) -> impl Future<Output = Result<Head, LogError>> + MaybeSend {
        (**self).head()
    }

    fn append(
        &self,
        expected: Head,
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

#[cfg(test)]
mod tests {
    use livestore_sync_protocol::{Args, Event};

    use super::*;

    #[test]
    fn a_head_moves_by_what_is_appended() {
        let at = |number| SeqNum::new(number).expect("safe");
        let batch = |parent, number| {
            let event = Event {
                name: "n".into(),
                args: Args::default(),
                seq_num: at(number),
                parent_seq_num: at(parent),
                client_id: "c".into(),
                session_id: "s".into(),
            };
            Arc::new(Batch::new([event].into(), String::new()))
        };
        assert_eq!(Head::EMPTY.after(&[]), Head::EMPTY);
        assert_eq!(Head::EMPTY.after(&[batch(0, 1), batch(1, 2)]), Head::new(at(2), 0));
        assert_eq!(Head::new(at(2), 7).after(&[batch(2, 10), batch(10, 13)]), Head::new(at(13), 7 + 7 + 2));
    }
}

//! The file: a log, what is pending, and the app's tables, changed together. Synchronous; the writer's thread has it,
//! and in tests the simulation.
//!
//! Every change is one transaction that leaves the three in step: the tables are what the confirmed events and then the
//! pending ones make of them. What is cached beside the connection (`position`, `backend_id`, `last_id`) is changed
//! only after the commit.
//!
//! - `log`: the statements on the store's own tables.
//! - `receive`: pages of the backend, acknowledgements, and what the app asks for (dropping an event, following a new
//!   log).
//! - `materialise`: events into the app's tables. `gate`: what a materialiser may do meanwhile.
//! - `undo`: how pending events are taken back.
//! - `open`: the lock, the format of the file, and the app's tables when they have changed.

mod gate;
pub(crate) mod log;
mod materialise;
mod open;
mod receive;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod test_app;
mod undo;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use livestore_sync_protocol::{Event, SeqNum};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use self::gate::Gate;
pub(crate) use self::log::Position;
pub(crate) use self::receive::Received;
use self::undo::Undo;
use super::backend::PushBatch;
use super::error::{CommitError, DatabaseError, OpenError};
use super::options::{Materialiser, Options, UnknownEvents};
use crate::batch;
use crate::event::{Author, NewEvent};

pub(crate) struct LogFile {
    connection: Connection,
    context: Context,
    path: PathBuf,
    position: Position,
    backend_id: Option<String>,
    /// The last id given to a pending event. Ids only go up while the file is open.
    last_id: i64,
    /// Counts what gives pending events other numbers.
    epoch: u64,
    /// Released when all else is closed: fields are dropped in this order.
    _lock: File,
}

/// What it takes to apply an event.
pub(crate) struct Context {
    materialisers: HashMap<String, Materialiser>,
    unknown_events: UnknownEvents,
    /// Unknown names that were warned of, each once.
    warned: RefCell<HashSet<String>>,
    undo: Undo,
    gate: Gate,
    author: Author,
}

impl LogFile {
    pub(crate) fn open(path: &Path, options: Options) -> Result<Self, OpenError> {
        open::open(path, options, "FULL")
    }

    /// Without waiting for the disk.
    #[cfg(test)]
    pub(crate) fn open_fast(path: &Path, options: Options) -> Result<Self, OpenError> {
        open::open(path, options, "OFF")
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn client_id(&self) -> &str {
        &self.context.author.client_id
    }

    pub(crate) fn position(&self) -> Position {
        self.position
    }

    pub(crate) fn backend_id(&self) -> Option<&str> {
        self.backend_id.as_deref()
    }

    pub(crate) fn last_id(&self) -> i64 {
        self.last_id
    }

    /// Changes whenever pending events get other numbers. An answer to a push counts for the events that have its
    /// numbers now only if the epoch is still that of the push.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Commits each group of events, all or nothing, and all that succeed in one transaction: a write to the disk costs
    /// more than all the rest, and commits that wait at the same time share it.
    pub(crate) fn commit(&mut self, groups: &[Vec<NewEvent>]) -> Vec<Result<Vec<Event>, CommitError>> {
        match self.try_commit(groups) {
            Ok(results) => results,
            // One of them ended the transaction of all. Alone, each gets its own answer.
            Err(NotCommitted::Aborted(_)) if groups.len() > 1 => {
                groups.iter().flat_map(|group| self.commit(std::slice::from_ref(group))).collect()
            }
            Err(NotCommitted::Aborted(error)) => vec![Err(error)],
            Err(NotCommitted::Unknown(error)) => {
                // The commit may be in the file all the same (the disk failed after it had it). What is cached is read
                // again; if that fails as well, so does the next commit, and reads it again.
                let _ = self.locate();
                groups.iter().map(|_| Err(error.clone().into())).collect()
            }
        }
    }

    fn try_commit(&mut self, groups: &[Vec<NewEvent>]) -> Result<Vec<Result<Vec<Event>, CommitError>>, NotCommitted> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (mut position, mut last_id) = (self.position, self.last_id);
        let mut results = Vec::with_capacity(groups.len());
        for group in groups {
            // A group that fails is rolled back alone.
            transaction.execute_batch("SAVEPOINT livestore_commit")?;
            let result = append(&transaction, &self.context, position.local_head(), last_id, group);
            // SQLite rolls the whole transaction back for some errors (a full disk, `ON CONFLICT ROLLBACK`), and with
            // it the groups before this one.
            if transaction.is_autocommit() {
                return Err(NotCommitted::Aborted(result.err().unwrap_or(CommitError::Closed)));
            }
            if let Ok(events) = &result {
                last_id += events.len() as i64;
                position.pending += events.len() as u64;
            } else {
                transaction.execute_batch("ROLLBACK TO livestore_commit")?;
            }
            transaction.execute_batch("RELEASE livestore_commit")?;
            results.push(result);
        }
        transaction.commit().map_err(|error| NotCommitted::Unknown(error.into()))?;
        if position.first_pending.is_none() && position.pending > 0 {
            position.first_pending = Some(self.last_id + 1);
        }
        (self.position, self.last_id) = (position, last_id);
        Ok(results)
    }

    /// The first pending events, as many as fit into a push and no more than `events_max`.
    pub(crate) fn batch(&self, events_max: usize) -> rusqlite::Result<PushBatch> {
        let rows = log::pending(&self.connection, i64::MIN, self.position.head, events_max)?;
        let mut events: Vec<_> = rows.into_iter().map(|row| row.event).collect();
        events.truncate(batch::fitting(&events));
        Ok(PushBatch { events, backend_id: self.backend_id.clone() })
    }
}

/// Why a transaction of commits has failed as a whole.
enum NotCommitted {
    /// Before the end: nothing of it is in the file.
    Aborted(CommitError),
    /// While it was made durable.
    Unknown(DatabaseError),
}

impl From<rusqlite::Error> for NotCommitted {
    fn from(error: rusqlite::Error) -> Self {
        Self::Aborted(error.into())
    }
}

fn append(
    transaction: &Transaction<'_>,
    context: &Context,
    head: SeqNum,
    last_id: i64,
    group: &[NewEvent],
) -> Result<Vec<Event>, CommitError> {
    let mut parent = head;
    let mut events = Vec::with_capacity(group.len());
    for (id, new) in (last_id + 1..).zip(group) {
        let event = new.clone().by(&context.author, parent);
        batch::check_new(&event)?;
        let known = materialise::apply(transaction, context, &event, Some(id))?;
        log::insert_pending(transaction, id, &event, known)?;
        parent = event.seq_num;
        events.push(event);
    }
    Ok(events)
}

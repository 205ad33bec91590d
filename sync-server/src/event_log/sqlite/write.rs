//! The one writer: a thread that alone writes to the file, and commits everything that waits for it in one
//! transaction. [`SqliteFile`](super::SqliteFile) sends it jobs through a queue; it may not read for clients.
//!
//! A commit with `synchronous=FULL` waits for the disk, some milliseconds, and SQLite has one writer per file. If
//! each push committed by itself, all stores together would get as many pushes through as the disk has syncs.
//! So jobs that arrive while a commit is under way, of any stores and clients, share the next. A job is
//! answered after the commit that holds it and not before: an acknowledgement that comes earlier is a promise
//! that a loss of power breaks.
//!
//! Jobs that share a transaction may not share their failures: one that is stale or repeats a number would roll
//! back its neighbours, of other stores even. So each is applied in a savepoint of its own, which is undone
//! alone.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::super::{AppendError, Head, LogError};
use super::append::{append, take_over};
use super::folder::{OpenFiles, beside};
use super::place::{self, Entry, Place};
use super::read::Readers;
use super::{OpenError, StoreError, Synchronous, schema};
use crate::Batch;
use crate::table_name::Identifier;

/// Jobs that share a commit; further ones wait for the next. It bounds how long the first of them waits.
const GROUP_MAX: usize = 512;

/// Bytes that the write-ahead log may have before readers have to wait for a moment. SQLite begins it anew when
/// all of it is in the data file and nobody reads it, which never happens by itself while somebody always reads.
const WAL_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How long SQLite waits where another program has the file locked.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What the writer is asked to do, and where its answer goes.
pub(super) enum WriteJob {
    /// Registers a table that the reference left; where the store is then, and its backend id.
    TakeOver {
        store_id: String,
        table: Identifier,
        backend_id: String,
        created_at: String,
        reply: oneshot::Sender<Result<(Place, String), StoreError>>,
    },
    Append {
        entry: Arc<Entry>,
        expected: Head,
        batches: Vec<Arc<Batch>>,
        reply: oneshot::Sender<Result<(), AppendError>>,
    },
}

/// A job whose savepoint is done: what to answer if the transaction is committed.
enum AppliedJob {
    TakeOver(oneshot::Sender<Result<(Place, String), StoreError>>, Result<(Place, String), StoreError>),
    Append(Arc<Entry>, oneshot::Sender<Result<(), AppendError>>, Result<Place, AppendError>),
}

pub(super) struct Writer {
    connection: Connection,
    files: OpenFiles,
    readers: Arc<Readers>,
    /// How many stores have events. Readers look at it.
    stores: Arc<AtomicU32>,
    wal: Wal,
}

/// The write-ahead log's size.
struct Wal {
    path: std::path::PathBuf,
    /// At which size to act. More than the limit after another program, which one cannot let wait, was in the way.
    act_at: u64,
    max: u64,
}

impl Writer {
    pub(super) fn open(path: &Path, synchronous: Synchronous) -> Result<Self, OpenError> {
        let connection = schema::open(path, synchronous)?;
        let failed = |source| OpenError::Database { path: path.display().to_string(), source };
        let set_up = || {
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.pragma_update(None, "journal_size_limit", WAL_BYTES_MAX as i64)?;
            let stores = place::count_stores(&connection)?;
            Ok((stores, Readers::open(path.to_owned())?))
        };
        let (stores, readers) = set_up().map_err(failed)?;
        // By now SQLite has all of its files open.
        let files =
            OpenFiles::of(path).map_err(|source| OpenError::Folder { path: path.display().to_string(), source })?;
        let wal = Wal { path: beside(path, "-wal"), act_at: WAL_BYTES_MAX, max: WAL_BYTES_MAX };
        Ok(Self { connection, files, readers: Arc::new(readers), stores: Arc::new(AtomicU32::new(stores)), wal })
    }

    pub(super) fn readers(&self) -> Arc<Readers> {
        Arc::clone(&self.readers)
    }

    pub(super) fn stores(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.stores)
    }

    /// Runs until the last [`SqliteFile`](super::SqliteFile) and the last of its logs are dropped.
    pub(super) fn run(mut self, mut jobs: mpsc::UnboundedReceiver<WriteJob>) {
        while let Some(first) = jobs.blocking_recv() {
            let mut group = vec![first];
            // What waits by now, and no more: to wait for further jobs would delay the first one for nothing when
            // there is little to do.
            while group.len() < GROUP_MAX
                && let Ok(job) = jobs.try_recv()
            {
                group.push(job);
            }
            self.commit(group);
            self.limit_wal();
        }
    }

    fn commit(&mut self, group: Vec<WriteJob>) {
        let refuse = |group: Vec<WriteJob>, error| group.into_iter().for_each(|job| job.refuse(&error));
        // Before anything is written: what is in a file that is gone is as good as not stored.
        if let Err(gone) = self.files.check() {
            return refuse(group, LogError::nothing_stored(gone));
        }
        let mut transaction = match self.connection.transaction_with_behavior(TransactionBehavior::Immediate) {
            Ok(transaction) => transaction,
            Err(error) => return refuse(group, LogError::nothing_stored(error)),
        };
        let mut stores = self.stores.load(Ordering::Relaxed);
        let applied: Vec<_> = group.into_iter().map(|job| job.apply(&mut transaction, &mut stores)).collect();
        // A commit that fails may have reached the disk all the same (an error of the last sync, say). The engine
        // then reads the log instead of telling clients that nothing was stored.
        let committed = transaction.commit().map_err(LogError::unknown_outcome);
        if committed.is_err() {
            stores = place::count_stores(&self.connection).unwrap_or(stores);
        }
        self.stores.store(stores, Ordering::Relaxed);
        applied.into_iter().for_each(|job| job.answer(&committed));
    }

    /// Begins the write-ahead log anew where it has grown too long, with the readers waiting for that moment.
    fn limit_wal(&mut self) {
        let bytes = std::fs::metadata(&self.wal.path).map_or(0, |found| found.len());
        if bytes < self.wal.act_at {
            return;
        }
        let connection = &self.connection;
        let restarted = self.readers.paused(|| {
            // Whoever else has it open is not waited for.
            connection.busy_timeout(Duration::ZERO)?;
            let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
            connection.busy_timeout(BUSY_TIMEOUT)?;
            busy.map(|busy| !busy)
        });
        let restarted = restarted.unwrap_or_else(|error: rusqlite::Error| {
            tracing::warn!(%error, "cannot begin the write-ahead log anew");
            false
        });
        self.wal.act_at = if restarted { self.wal.max } else { bytes + self.wal.max };
    }
}

impl WriteJob {
    /// Applies the job in a savepoint of its own: one that fails leaves nothing behind, and the others of its
    /// transaction are not touched. `stores` is how many have events.
    fn apply(self, transaction: &mut rusqlite::Transaction<'_>, stores: &mut u32) -> AppliedJob {
        let before = *stores;
        match self {
            Self::TakeOver { store_id, table, backend_id, created_at, reply } => {
                let taken = in_savepoint(transaction, |connection| {
                    take_over(connection, &store_id, table, backend_id, &created_at, stores)
                        .map_err(|error| StoreError::Log(LogError::nothing_stored(error)))
                });
                *stores = if taken.is_ok() { *stores } else { before };
                AppliedJob::TakeOver(reply, taken)
            }
            Self::Append { entry, expected, batches, reply } => {
                let appended =
                    in_savepoint(transaction, |connection| append(connection, &entry, expected, &batches, stores));
                *stores = if appended.is_ok() { *stores } else { before };
                AppliedJob::Append(entry, reply, appended)
            }
        }
    }

    fn refuse(self, error: &LogError) {
        // An asker that is gone needs no answer.
        match self {
            Self::TakeOver { reply, .. } => drop(reply.send(Err(error.clone().into()))),
            Self::Append { reply, .. } => drop(reply.send(Err(error.clone().into()))),
        }
    }
}

impl AppliedJob {
    fn answer(self, committed: &Result<(), LogError>) {
        let outcome = committed.clone();
        // The asker may be gone; what was committed stays.
        match self {
            Self::TakeOver(reply, result) => drop(reply.send(result.and_then(|found| Ok(outcome.map(|()| found)?)))),
            Self::Append(entry, reply, result) => drop(reply.send(result.and_then(|place| {
                outcome?;
                // Only now: what is not committed is not there.
                entry.place.get_or_init(|| place);
                Ok(())
            }))),
        }
    }
}

/// What `apply` did is kept if it succeeds, and undone if not: a savepoint that is dropped rolls back.
fn in_savepoint<T, E: From<LogError>>(
    transaction: &mut rusqlite::Transaction<'_>,
    apply: impl FnOnce(&Connection) -> Result<T, E>,
) -> Result<T, E> {
    let savepoint = transaction.savepoint().map_err(LogError::nothing_stored)?;
    let value = apply(&savepoint)?;
    savepoint.commit().map_err(LogError::nothing_stored)?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use livestore_sync_protocol::{Args, Event, SeqNum};

    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn writer(folder: &Path) -> Writer {
        let path = folder.join("a.db");
        let mut writer = Writer::open(&path, Synchronous::Off).expect("opens");
        (writer.wal.max, writer.wal.act_at) = (MIB, MIB);
        writer
    }

    /// One commit of some 100 kB, as `run` makes it; the write-ahead log's size after it.
    fn commit(writer: &mut Writer, entry: &Arc<Entry>, parent: i64) -> u64 {
        let seq = |number| SeqNum::new(number).expect("safe");
        let event = Event {
            name: "n".into(),
            args: Args::from_json(format!("\"{}\"", "x".repeat(100_000))).expect("JSON"),
            seq_num: seq(parent + 1),
            parent_seq_num: seq(parent),
            client_id: "c".into(),
            session_id: "s".into(),
        };
        let batches = vec![Arc::new(Batch::new([event].into(), String::new()))];
        let (reply, mut answer) = oneshot::channel();
        let expected = Head::new(seq(parent), 0);
        writer.commit(vec![WriteJob::Append { entry: Arc::clone(entry), expected, batches, reply }]);
        answer.try_recv().expect("answered").expect("appends");
        writer.limit_wal();
        std::fs::metadata(&writer.wal.path).expect("a file").len()
    }

    fn entry() -> Arc<Entry> {
        let place = std::sync::OnceLock::new();
        Arc::new(Entry { store_id: "s".into(), backend_id: "b".into(), stores_max: 1, place })
    }

    #[test]
    fn the_write_ahead_log_has_a_limit_while_somebody_always_reads() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut writer, entry, done) = (writer(folder.path()), entry(), AtomicBool::new(false));
        let readers = writer.readers();
        commit(&mut writer, &entry, 0);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        let look = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
                            SELECT (SELECT COUNT(*) FROM events) + COUNT(*) FROM n";
                        let look = |connection: &Connection| Ok(connection.query_row(look, [], |_| Ok(()))?);
                        readers.with(look).expect("reads");
                    }
                });
            }
            let largest = (1..60).map(|parent| commit(&mut writer, &entry, parent)).max();
            done.store(true, Ordering::Relaxed);
            assert!(largest.is_some_and(|bytes| bytes < 2 * MIB), "{largest:?}");
        });
    }

    #[test]
    fn another_program_that_reads_is_not_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut writer, entry) = (writer(folder.path()), entry());
        commit(&mut writer, &entry, 0);
        let other = Connection::open(folder.path().join("a.db")).expect("opens");
        other.execute_batch("BEGIN; SELECT COUNT(*) FROM events").expect("reads");
        let bytes = (1..25).map(|parent| commit(&mut writer, &entry, parent)).last();
        assert!(bytes.is_some_and(|bytes| bytes > 2 * MIB), "it grows: {bytes:?}");
        other.execute_batch("COMMIT").expect("has read");
        let least = (25..60).map(|parent| commit(&mut writer, &entry, parent)).min();
        assert!(least.is_some_and(|bytes| bytes < MIB), "it has begun anew: {least:?}");
    }

    #[test]
    fn nothing_needs_a_temporary_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let writer = writer(folder.path());
        let store = |connection: &Connection| connection.pragma_query_value(None, "temp_store", |row| row.get(0));
        let in_memory = 2;
        assert_eq!(store(&writer.connection), Ok(in_memory));
        assert_eq!(writer.readers.with(|connection| Ok(store(connection)?)).expect("reads"), in_memory);
    }
}

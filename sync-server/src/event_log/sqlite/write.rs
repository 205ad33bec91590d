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

use livestore_sync_protocol::EventRow;
use rusqlite::{CachedStatement, Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::super::chain::Chain;
use super::super::{AppendError, Head, LogError, sql};
use super::folder::{OpenFiles, beside};
use super::place::{self, Column, Entry, Found, Part, Place};
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

fn take_over(
    connection: &Connection,
    store_id: &str,
    table: Identifier,
    backend_id: String,
    created_at: &str,
    stores: &mut u32,
) -> rusqlite::Result<(Place, String)> {
    // Another one may have been faster.
    if let Found::Here(place, backend_id) = place::find(connection, store_id)? {
        return Ok((place, backend_id));
    }
    place::take_over(connection, store_id, &table, &backend_id, created_at)?;
    *stores += 1;
    Ok((Place::Table(table), backend_id))
}

/// Compares the head and appends; where to. Two statements are one step here, as they are not in D1: the
/// transaction has been the file's only writer since it began.
fn append(
    connection: &Connection,
    entry: &Entry,
    expected: Head,
    batches: &[Arc<Batch>],
    stores: &mut u32,
) -> Result<Place, AppendError> {
    let failed = |error: rusqlite::Error| AppendError::Log(LogError::nothing_stored(error));
    let head = place::head(connection, entry).map_err(failed)?;
    if head.seq_num != expected.seq_num {
        return Err(AppendError::HeadMoved);
    }
    let place = match (entry.place(connection).map_err(failed)?, batches.first()) {
        (Some(place), _) => place.clone(),
        (None, _) if *stores >= entry.stores_max => {
            return Err(LogError::nothing_stored(StoreError::TooManyStores(entry.stores_max)).into());
        }
        (None, first) => {
            *stores += 1;
            place::make(connection, entry, first.map_or("", |batch| batch.created_at())).map_err(failed)?
        }
    };
    insert(connection, entry, &place, head, batches)?;
    Ok(place)
}

fn insert(
    connection: &Connection,
    entry: &Entry,
    place: &Place,
    head: Head,
    batches: &[Arc<Batch>],
) -> Result<(), LogError> {
    let failed = |error: rusqlite::Error| LogError::nothing_stored(error);
    let mut into = Rows::of(connection, place).map_err(failed)?;
    let mut chain = Chain::after(head.seq_num);
    for row in batches.iter().flat_map(|batch| batch.rows()) {
        into.insert(&row).map_err(failed)?;
        chain.next(row.seq_num, row.parent_seq_num).map_err(LogError::nothing_stored)?;
    }
    let next = head.after(batches);
    if matches!(place, Place::Table(_)) && next.gaps != head.gaps {
        let gaps = i64::try_from(next.gaps).map_err(LogError::nothing_stored)?;
        let mut update = connection.prepare_cached(sql::UPDATE_GAPS).map_err(failed)?;
        update.execute((gaps, &entry.store_id)).map_err(failed)?;
    }
    Ok(())
}

/// The end of a log.
struct Rows<'a> {
    statement: CachedStatement<'a>,
    /// Where a row is known by its position: the ids that are left.
    ids: Option<std::ops::Range<i64>>,
}

impl<'a> Rows<'a> {
    fn of(connection: &'a Connection, place: &Place) -> rusqlite::Result<Self> {
        match place {
            Place::Table(table) => {
                Ok(Self { statement: connection.prepare_cached(&sql::insert_row(table))?, ids: None })
            }
            Place::Part(number) => {
                let part = Part(*number);
                let first = part.id(part.last(connection)?.position) + 1;
                let statement = connection.prepare_cached(
                    r#"INSERT INTO events ("seqNum", "parentSeqNum", "name", "args", "createdAt", "clientId", "sessionId", id) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"#,
                )?;
                Ok(Self { statement, ids: Some(first..part.end()) })
            }
        }
    }

    fn insert(&mut self, row: &EventRow<'_>) -> rusqlite::Result<()> {
        let numbers = (Column(row.seq_num), Column(row.parent_seq_num));
        let columns = [Some(row.name), row.args, Some(row.created_at), Some(row.client_id), Some(row.session_id)];
        let statement = &mut self.statement;
        statement.raw_bind_parameter(1, numbers.0)?;
        statement.raw_bind_parameter(2, numbers.1)?;
        for (index, column) in (3..).zip(columns) {
            statement.raw_bind_parameter(index, column)?;
        }
        if let Some(ids) = &mut self.ids {
            let id = ids.next().ok_or(rusqlite::Error::IntegralValueOutOfRange(7, ids.end))?;
            statement.raw_bind_parameter(8, id)?;
        }
        statement.raw_execute().map(drop)
    }
}

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

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::super::{AppendError, Head, LogError, sql};
use super::table::{self, Column, StoreTable};
use super::{OpenError, StoreError, Synchronous};
use crate::Batch;

/// Applied in order; a file's `user_version` counts those that it has.
const MIGRATIONS: [&str; 1] = [sql::CREATE_REGISTRY];

/// Jobs that share a commit; further ones wait for the next. It bounds how long the first of them waits.
const GROUP_MAX: usize = 512;

/// Statements that the writer keeps prepared: a few for each of the stores that are written most.
const STATEMENTS_MAX: usize = 256;

/// What the writer is asked to do, and where its answer goes.
pub(super) enum WriteJob {
    OpenStore {
        store_id: String,
        created_at: String,
        stores_max: u32,
        reply: oneshot::Sender<Result<StoreTable, StoreError>>,
    },
    Append {
        store: Arc<StoreTable>,
        expected: Head,
        batches: Vec<Arc<Batch>>,
        reply: oneshot::Sender<Result<(), AppendError>>,
    },
}

/// A job whose savepoint is done: what to answer if the transaction is committed.
enum AppliedJob {
    OpenStore(oneshot::Sender<Result<StoreTable, StoreError>>, Result<StoreTable, StoreError>),
    Append(oneshot::Sender<Result<(), AppendError>>, Result<(), AppendError>),
}

/// Opens the file for writing and brings its schema up to date.
pub(super) fn open(path: &Path, synchronous: Synchronous) -> Result<Connection, OpenError> {
    let failed = |source| OpenError::Database { path: path.display().to_string(), source };
    let mut connection = Connection::open(path).map_err(failed)?;
    let found = configure(&mut connection, synchronous).map_err(failed)?;
    let known = MIGRATIONS.len() as i64;
    if found > known {
        return Err(OpenError::NewerSchema { path: path.display().to_string(), found, known });
    }
    Ok(connection)
}

fn configure(connection: &mut Connection, synchronous: Synchronous) -> rusqlite::Result<i64> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let level = match synchronous {
        Synchronous::Full => "FULL",
        Synchronous::Normal => "NORMAL",
        Synchronous::Off => "OFF",
    };
    connection.pragma_update(None, "synchronous", level)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for (version, migration) in (1..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", version)?;
    }
    transaction.commit()?;
    Ok(found)
}

/// Runs until the last [`SqliteFile`](super::SqliteFile) and the last of its logs are dropped.
pub(super) fn run(mut connection: Connection, mut jobs: mpsc::UnboundedReceiver<WriteJob>) {
    while let Some(first) = jobs.blocking_recv() {
        let mut group = vec![first];
        // What waits by now, and no more: to wait for further jobs would delay the first one for nothing when
        // there is little to do.
        while group.len() < GROUP_MAX
            && let Ok(job) = jobs.try_recv()
        {
            group.push(job);
        }
        commit(&mut connection, group);
    }
}

fn commit(connection: &mut Connection, group: Vec<WriteJob>) {
    let mut transaction = match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
        Ok(transaction) => transaction,
        Err(error) => {
            let error = LogError::nothing_stored(error);
            return group.into_iter().for_each(|job| job.refuse(&error));
        }
    };
    let applied: Vec<_> = group.into_iter().map(|job| job.apply(&mut transaction)).collect();
    // A commit that fails may have reached the disk all the same (an error of the last sync, say). The engine
    // then reads the log instead of telling clients that nothing was stored.
    let committed = transaction.commit().map_err(LogError::unknown_outcome);
    applied.into_iter().for_each(|job| job.answer(&committed));
}

impl WriteJob {
    /// Applies the job in a savepoint of its own: one that fails leaves nothing behind, and the others of its
    /// transaction are not touched.
    fn apply(self, transaction: &mut rusqlite::Transaction<'_>) -> AppliedJob {
        match self {
            Self::OpenStore { store_id, created_at, stores_max, reply } => {
                let opened = in_savepoint(transaction, |connection| {
                    table::open(connection, &store_id, &created_at, stores_max)
                        .map_err(|error| StoreError::Log(LogError::nothing_stored(error)))?
                        .ok_or(StoreError::TooManyStores(stores_max))
                });
                AppliedJob::OpenStore(reply, opened)
            }
            Self::Append { store, expected, batches, reply } => {
                let appended = in_savepoint(transaction, |connection| append(connection, &store, expected, &batches));
                AppliedJob::Append(reply, appended)
            }
        }
    }

    fn refuse(self, error: &LogError) {
        // An asker that is gone needs no answer.
        match self {
            Self::OpenStore { reply, .. } => drop(reply.send(Err(error.clone().into()))),
            Self::Append { reply, .. } => drop(reply.send(Err(error.clone().into()))),
        }
    }
}

impl AppliedJob {
    fn answer(self, committed: &Result<(), LogError>) {
        let outcome = committed.clone();
        // The asker may be gone; what was committed stays.
        match self {
            Self::OpenStore(reply, result) => drop(reply.send(result.and_then(|store| Ok(outcome.map(|()| store)?)))),
            Self::Append(reply, result) => drop(reply.send(result.and_then(|()| Ok(outcome?)))),
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

/// Compares the head and appends. Two statements are one step here, as they are not in D1: the transaction has
/// been the file's only writer since it began.
fn append(
    connection: &Connection,
    store: &StoreTable,
    expected: Head,
    batches: &[Arc<Batch>],
) -> Result<(), AppendError> {
    let failed = |error: rusqlite::Error| AppendError::Log(LogError::nothing_stored(error));
    let head = table::head(connection, store).map_err(failed)?;
    if head.seq_num != expected.seq_num {
        return Err(AppendError::HeadMoved);
    }
    insert(connection, store, batches).map_err(failed)?;
    let next = head.after(batches);
    if next.gaps != head.gaps {
        let gaps = i64::try_from(next.gaps).map_err(LogError::nothing_stored)?;
        connection
            .prepare_cached(sql::UPDATE_GAPS)
            .and_then(|mut update| update.execute((gaps, &store.store_id)))
            .map_err(failed)?;
    }
    Ok(())
}

fn insert(connection: &Connection, store: &StoreTable, batches: &[Arc<Batch>]) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(&sql::insert_row(&store.table))?;
    for row in batches.iter().flat_map(|batch| batch.rows()) {
        insert.execute((
            Column(row.seq_num),
            Column(row.parent_seq_num),
            row.name,
            row.args,
            row.created_at,
            row.client_id,
            row.session_id,
        ))?;
    }
    Ok(())
}

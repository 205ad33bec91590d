//! The one writer: a thread that commits everything that waits in one transaction, so that pushes
//! of many stores and clients share the cost of making them durable.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::super::{AppendError, LogError, Tip};
use super::table::{self, Column, StoreTable};
use super::{OpenError, StoreError, Synchronous};
use crate::Batch;

/// Applied in order; a file's `user_version` counts those that it has.
const MIGRATIONS: [&str; 1] = [include_str!("../../../migrations/0001_stores.sql")];

/// Commands that share a commit; further ones wait for the next.
const GROUP_MAX: usize = 512;

pub(super) enum Command {
    Open {
        store_id: String,
        created_at: String,
        stores_max: u32,
        reply: oneshot::Sender<Result<StoreTable, StoreError>>,
    },
    Append {
        store: Arc<StoreTable>,
        expected: Tip,
        batches: Vec<Arc<Batch>>,
        reply: oneshot::Sender<Result<(), AppendError>>,
    },
}

/// What to answer once the transaction is committed.
enum Done {
    Open(oneshot::Sender<Result<StoreTable, StoreError>>, Result<StoreTable, StoreError>),
    Append(oneshot::Sender<Result<(), AppendError>>, Result<(), AppendError>),
}

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
    connection.set_prepared_statement_cache_capacity(256);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for (version, migration) in (1..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", version)?;
    }
    transaction.commit()?;
    Ok(found)
}

pub(super) fn run(mut connection: Connection, mut commands: mpsc::UnboundedReceiver<Command>) {
    while let Some(first) = commands.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP_MAX
            && let Ok(command) = commands.try_recv()
        {
            group.push(command);
        }
        commit(&mut connection, group);
    }
}

fn commit(connection: &mut Connection, group: Vec<Command>) {
    let mut transaction = match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
        Ok(transaction) => transaction,
        Err(error) => {
            let error = LogError::nothing_stored(error);
            return group.into_iter().for_each(|command| command.refuse(&error));
        }
    };
    let done: Vec<_> = group.into_iter().map(|command| command.apply(&mut transaction)).collect();
    // Whether a commit that fails was made durable is not for us to guess.
    let committed = transaction.commit().map_err(LogError::unknown_outcome);
    done.into_iter().for_each(|done| done.answer(&committed));
}

impl Command {
    /// Applies the command in a savepoint of its own: one that fails leaves no trace and does not
    /// spoil its neighbours.
    fn apply(self, transaction: &mut rusqlite::Transaction<'_>) -> Done {
        match self {
            Self::Open { store_id, created_at, stores_max, reply } => {
                let opened = in_savepoint(transaction, |connection| {
                    table::open(connection, &store_id, &created_at, stores_max)
                        .map_err(|error| StoreError::Log(LogError::nothing_stored(error)))?
                        .ok_or(StoreError::TooManyStores(stores_max))
                });
                Done::Open(reply, opened)
            }
            Self::Append { store, expected, batches, reply } => {
                let appended = in_savepoint(transaction, |connection| append(connection, &store, expected, &batches));
                Done::Append(reply, appended)
            }
        }
    }

    fn refuse(self, error: &LogError) {
        match self {
            Self::Open { reply, .. } => drop(reply.send(Err(error.clone().into()))),
            Self::Append { reply, .. } => drop(reply.send(Err(error.clone().into()))),
        }
    }
}

impl Done {
    fn answer(self, committed: &Result<(), LogError>) {
        let outcome = committed.clone();
        // Whoever asked may be gone; what was committed stays.
        match self {
            Self::Open(reply, result) => drop(reply.send(result.and_then(|store| Ok(outcome.map(|()| store)?)))),
            Self::Append(reply, result) => drop(reply.send(result.and_then(|()| Ok(outcome?)))),
        }
    }
}

fn in_savepoint<T, E: From<LogError>>(
    transaction: &mut rusqlite::Transaction<'_>,
    apply: impl FnOnce(&Connection) -> Result<T, E>,
) -> Result<T, E> {
    let savepoint = transaction.savepoint().map_err(LogError::nothing_stored)?;
    let value = apply(&savepoint)?;
    savepoint.commit().map_err(LogError::nothing_stored)?;
    Ok(value)
}

fn append(
    connection: &Connection,
    store: &StoreTable,
    expected: Tip,
    batches: &[Arc<Batch>],
) -> Result<(), AppendError> {
    let failed = |error: rusqlite::Error| AppendError::Log(LogError::nothing_stored(error));
    let tip = table::tip(connection, store).map_err(failed)?;
    if tip.head != expected.head {
        return Err(AppendError::HeadMoved);
    }
    insert(connection, store, batches).map_err(failed)?;
    let gaps: u64 = batches.iter().map(|batch| batch.gaps()).sum();
    if gaps > 0 {
        let gaps = i64::try_from(tip.gaps + gaps).map_err(LogError::nothing_stored)?;
        connection
            .prepare_cached("UPDATE livestore_stores SET gaps = ?1 WHERE store_id = ?2")
            .and_then(|mut update| update.execute((gaps, &store.store_id)))
            .map_err(failed)?;
    }
    Ok(())
}

fn insert(connection: &Connection, store: &StoreTable, batches: &[Arc<Batch>]) -> rusqlite::Result<()> {
    let table = &store.table;
    let sql = format!(
        r#"INSERT INTO {table} ("seqNum", "parentSeqNum", "name", "args", "createdAt", "clientId", "sessionId") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"#
    );
    let mut insert = connection.prepare_cached(&sql)?;
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

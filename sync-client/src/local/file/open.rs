//! Opening a file: the lock, the format, the app's tables. Also rebuilds the tables when a store follows another log.

use std::cell::RefCell;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::gate::{Gate, is_ours};
use super::undo::{self, Undo, quote};
use super::{Context, LogFile, log, materialise};
use crate::event::Author;
use crate::id::new_id;
use crate::local::error::{MaterialiseError, OpenError, StoreError, TablesError};
use crate::local::options::Options;

/// Applied in order; a file's `user_version` counts those that it has.
const FORMATS: [&str; 1] = [include_str!("schema.sql")];

/// The file's real path, and the lock that keeps others off it until it is dropped. Two names of one file
/// share a lock. Two writers of one file would each cache where it stands, and push its events twice.
fn lock(path: &Path) -> Result<(PathBuf, File), OpenError> {
    let failed = |source| OpenError::Io { path: path.to_owned(), source };
    private().open(path).map_err(failed)?;
    let path = path.canonicalize().map_err(failed)?;
    let mut name = path.clone().into_os_string();
    name.push("-lock");
    // Never removed: who opens it next must lock the same file.
    let file = private().open(&name).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok((path, file)),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path }),
        Err(TryLockError::Error(source)) => Err(OpenError::Io { path, source }),
    }
}

/// Opens a file, or makes one that nobody else may read. SQLite gives the files that it keeps beside it the same mode.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

pub(super) fn open(path: &Path, options: Options, synchronous: &str) -> Result<LogFile, OpenError> {
    let (path, lock) = lock(path)?;
    let failed = |source| OpenError::Database { path: path.clone(), source };
    let mut connection = Connection::open(&path).map_err(failed)?;
    let found = configure(&mut connection, synchronous).map_err(failed)?;
    if found > FORMATS.len() as i64 {
        return Err(OpenError::NewerFormat { path, found, known: FORMATS.len() as i64 });
    }
    let client_id = client_id(&connection, options.client_id.as_deref()).map_err(failed)?;
    let gate = Gate::install(&connection).map_err(failed)?;
    let mut context = Context {
        materialisers: options.materialisers,
        unknown_events: options.unknown_events,
        warned: RefCell::default(),
        undo: Undo::none(),
        gate,
        // A new session each time: two copies of one file never claim the same event.
        author: Author { client_id, session_id: new_id() },
    };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    if is_outdated(&transaction, &context, options.version, &options.tables).map_err(failed)? {
        rebuild(&transaction, &mut context, options.version, &options.tables)?;
    } else {
        context.undo = Undo::of(&transaction, false)?;
    }
    transaction.commit().map_err(failed)?;
    let position = log::position(&connection).map_err(failed)?;
    let last_id = log::last_pending(&connection).map_err(failed)?.unwrap_or(0);
    let backend_id = log::backend_id(&connection).map_err(failed)?;
    Ok(LogFile { connection, context, path, position, backend_id, last_id, epoch: 0, _lock: lock })
}

fn configure(connection: &mut Connection, synchronous: &str) -> rusqlite::Result<i64> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // With it, what REPLACE removes is seen by the triggers that remember.
    connection.pragma_update(None, "recursive_triggers", true)?;
    connection.set_prepared_statement_cache_capacity(256);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for (version, format) in (1..).zip(FORMATS).filter(|(version, _)| *version > found) {
        transaction.execute_batch(format)?;
        transaction.pragma_update(None, "user_version", version)?;
    }
    transaction.commit()?;
    Ok(found)
}

fn client_id(connection: &Connection, wanted: Option<&str>) -> rusqlite::Result<String> {
    let new = wanted.map_or_else(new_id, str::to_owned);
    connection.execute(
        "INSERT INTO livestore_client (client_id) SELECT ?1 WHERE NOT EXISTS (SELECT 1 FROM livestore_client)",
        [new],
    )?;
    connection.query_row("SELECT client_id FROM livestore_client", [], |row| row.get(0))
}

/// Whether the tables were made by other statements or another version, or without events whose name
/// is known by now.
fn is_outdated(connection: &Connection, context: &Context, version: i64, sql: &str) -> rusqlite::Result<bool> {
    let same: bool = connection.query_row(
        "SELECT tables_version IS ?1 AND tables_sql IS ?2 FROM livestore_client",
        params![version, sql],
        |row| row.get(0),
    )?;
    if !same {
        return Ok(true);
    }
    let mut unknown = connection.prepare(
        "SELECT DISTINCT name FROM livestore_confirmed WHERE known = 0
         UNION SELECT name FROM livestore_pending WHERE known = 0",
    )?;
    let mut rows = unknown.query([])?;
    while let Some(row) = rows.next()? {
        if context.materialisers.contains_key(&row.get::<_, String>(0)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Drops the app's tables and builds them from the log, by the statements that made them.
pub(super) fn rebuild_as_before(transaction: &Transaction<'_>, context: &mut Context) -> Result<(), StoreError> {
    let (version, sql): (i64, String) =
        transaction.query_row("SELECT tables_version, tables_sql FROM livestore_client", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    match rebuild(transaction, context, version, &sql) {
        Ok(()) => Ok(()),
        Err(RebuildError::Materialise(error)) => Err(error.into()),
        Err(RebuildError::Tables(TablesError::Sql(error))) => Err(error.into()),
        // They made the same tables before.
        Err(RebuildError::Tables(error)) => Err(rusqlite::Error::ToSqlConversionFailure(Box::new(error)).into()),
    }
}

#[derive(thiserror::Error, Debug)]
enum RebuildError {
    #[error(transparent)]
    Tables(#[from] TablesError),
    #[error(transparent)]
    Materialise(#[from] MaterialiseError),
}

impl From<rusqlite::Error> for RebuildError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Tables(error.into())
    }
}

impl From<RebuildError> for OpenError {
    fn from(error: RebuildError) -> Self {
        match error {
            RebuildError::Tables(error) => Self::Tables(error),
            RebuildError::Materialise(error) => Self::Rebuild(error),
        }
    }
}

/// Drops the app's tables and builds them from the log.
fn rebuild(transaction: &Transaction<'_>, context: &mut Context, version: i64, sql: &str) -> Result<(), RebuildError> {
    drop_tables(transaction)?;
    transaction.execute_batch(sql)?;
    if transaction.is_autocommit() {
        let message = "the statements end the transaction that they run in".into();
        return Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(1), Some(message)).into());
    }
    for kind in ["table", "index", "trigger", "view"] {
        if let Some(table) = foreign_names(transaction, kind)?.into_iter().find(|name| is_ours(name)) {
            return Err(TablesError::ReservedName { table }.into());
        }
    }
    context.undo = Undo::of(transaction, true)?;
    transaction.execute("UPDATE livestore_client SET tables_version = ?1, tables_sql = ?2", params![version, sql])?;
    materialise::replay_confirmed(transaction, context)?;
    materialise::replay_pending(transaction, context)?;
    Ok(())
}

/// Drops everything of the app's, and what remembers its changes.
fn drop_tables(transaction: &Transaction<'_>) -> Result<(), TablesError> {
    undo::set_side_effects(transaction, false)?;
    for kind in ["trigger", "view", "index", "table"] {
        for name in foreign_names(transaction, kind)? {
            transaction.execute_batch(&format!("DROP {kind} IF EXISTS main.{}", quote(&name)))?;
        }
    }
    undo::set_side_effects(transaction, true)?;
    Ok(())
}

/// What is in the file beside the store's own tables.
fn foreign_names(connection: &Connection, kind: &str) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare(
            "SELECT name FROM sqlite_schema WHERE type = ?1 AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT IN
             ('livestore_client', 'livestore_confirmed', 'livestore_pending', 'livestore_confirmed_unknown')",
        )?
        .query_map([kind], |row| row.get(0))?
        .collect()
}

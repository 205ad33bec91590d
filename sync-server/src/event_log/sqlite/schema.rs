//! The schema of a data file: brought up to date when it is opened for writing. A file's `user_version` counts the
//! steps that it has.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::super::sql;
use super::{OpenError, Synchronous, no_temporary_files};
use crate::new_backend_id;
use crate::table_name::Identifier;

/// The table of all events. Only for data files: D1 has a table for each store.
const CREATE_EVENTS: &str = include_str!("../../../migrations/native/0002_events.sql");

/// Applied in order.
const MIGRATIONS: [fn(&Connection) -> rusqlite::Result<()>; 2] =
    [|connection| connection.execute_batch(sql::CREATE_REGISTRY), one_table_for_all];

/// Statements that the writer keeps prepared: a few for each of the tables that are written most.
const STATEMENTS_MAX: usize = 256;

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
    no_temporary_files(connection)?;
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
    for (version, migrate) in (1..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        migrate(&transaction)?;
        transaction.pragma_update(None, "user_version", version)?;
    }
    transaction.commit()?;
    Ok(found)
}

/// From version 2 on a store exists once it has an event. Earlier ones registered whatever was asked for: what has
/// no event is registered no more, but keeps the backend id that its clients may know.
fn one_table_for_all(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(sql::CREATE_META)?;
    connection.execute(sql::KEEP_SECRET, [new_backend_id()])?;
    connection.execute_batch(CREATE_EVENTS)?;
    let mut registered = connection.prepare("SELECT store_id, table_name, backend_id FROM livestore_stores")?;
    let stores: Vec<(String, String, String)> =
        registered.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect::<Result<_, _>>()?;
    for (store_id, name, backend_id) in stores {
        let is_empty = match Identifier::new(name) {
            Ok(table) if connection.table_exists(None, table.as_str())? => {
                !connection.prepare(&sql::has_events(&table))?.exists([])?
            }
            _ => false,
        };
        if is_empty {
            connection.execute("INSERT INTO empty_stores VALUES (?1, ?2)", (&store_id, &backend_id))?;
            connection.execute("DELETE FROM livestore_stores WHERE store_id = ?1", [&store_id])?;
        }
    }
    Ok(())
}

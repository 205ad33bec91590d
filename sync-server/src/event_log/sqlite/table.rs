//! Which table holds a store's events, and its head. Called by the writer, inside its transaction, and for the
//! head by readers.

use std::sync::Arc;

use livestore_sync_protocol::SeqNum;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension};

use super::super::{Head, sql};
use crate::new_backend_id;
use crate::table_name::{self, Identifier};

/// Where a store's events are.
pub(super) struct StoreTable {
    pub(super) store_id: String,
    pub(super) table: Identifier,
    pub(super) backend_id: Arc<str>,
}

/// A sequence number as a column holds it. A number that is none (the file may be another program's) is an error
/// of the read.
pub(super) struct Column(pub(super) SeqNum);

impl ToSql for Column {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.get().into())
    }
}

impl FromSql for Column {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        SeqNum::new(i64::column_result(value)?).map(Self).map_err(FromSqlError::other)
    }
}

/// The store's registration, if there is one.
fn find(connection: &Connection, store_id: &str) -> rusqlite::Result<Option<StoreTable>> {
    connection
        .prepare_cached(sql::FIND_STORE)?
        .query_row([store_id], |row| {
            let name: String = row.get(0)?;
            let table = Identifier::new(name).map_err(|error| {
                rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into())
            })?;
            Ok(StoreTable { store_id: store_id.to_owned(), table, backend_id: row.get::<_, String>(1)?.into() })
        })
        .optional()
}

/// Finds a store or registers it. `None` when the file holds `stores_max` stores. Runs in a transaction.
pub(super) fn open(
    connection: &Connection,
    store_id: &str,
    created_at: &str,
    stores_max: u32,
) -> rusqlite::Result<Option<StoreTable>> {
    if let Some(store) = find(connection, store_id)? {
        return Ok(Some(store));
    }
    let stores: u32 = connection.query_row(sql::COUNT_STORES, [], |row| row.get(0))?;
    if stores >= stores_max {
        return Ok(None);
    }
    let mut is_taken = connection.prepare_cached(sql::FIND_TABLE)?;
    let mut candidates = table_name::candidates(store_id);
    let table = loop {
        let candidate = candidates.next().expect("there is always another candidate");
        if !is_taken.exists([candidate.as_str()])? {
            break candidate;
        }
    };
    // A table of that name may be there: the file of a reference deployment is served as it stands.
    connection.execute_batch(&sql::create_table(&table))?;
    let backend_id = new_backend_id();
    let registered = connection.execute(&sql::register(&table), (store_id, table.as_str(), &backend_id, created_at))?;
    // The statement changes nothing where the store or the name is registered. Neither is: both were looked up
    // above, in this transaction, which keeps other writers out.
    if registered != 1 {
        return Err(rusqlite::Error::StatementChangedRows(registered));
    }
    Ok(Some(StoreTable { store_id: store_id.to_owned(), table, backend_id: backend_id.into() }))
}

/// The store's head, in one read: number and gaps are of one commit.
pub(super) fn head(connection: &Connection, store: &StoreTable) -> rusqlite::Result<Head> {
    connection.prepare_cached(&sql::head(&store.table))?.query_row([&store.store_id], |row| {
        Ok(Head::new(row.get::<_, Column>(0)?.0, row.get::<_, i64>(1)?.unsigned_abs()))
    })
}

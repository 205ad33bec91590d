//! Which table is a store's: looks it up in the registry, or registers one. Called by `sql_log` for either
//! database, once per object in memory. Nothing here holds a lock; any number of objects may register at once.

use std::sync::Arc;

use super::database::{Database, statement, text};
use super::database_error::DatabaseError;
use super::remains::ReferenceRemains;
use crate::event_log::{LogError, sql};
use crate::new_backend_id;
use crate::table_name::{self, Identifier};

/// A registered store: its table, and its backend id.
pub(super) type Registration = (Identifier, Arc<str>);

/// Finds the store or registers it.
pub(super) async fn open(
    database: &dyn Database,
    store_id: &str,
    created_at: &str,
    remains: Option<ReferenceRemains>,
) -> Result<Registration, LogError> {
    match find(database, store_id).await? {
        Some(found) => Ok(found),
        None => register(database, store_id, created_at, remains).await,
    }
}

async fn find(database: &dyn Database, store_id: &str) -> Result<Option<Registration>, LogError> {
    let rows = match database.query(statement(sql::FIND_STORE, [store_id.into()])).await {
        Ok(rows) => rows,
        // A deployment that forgot its migrations works, too.
        Err(DatabaseError::NoSuchTable(_)) => {
            database.execute(statement(create_registry(), [])).await?;
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let Some(row) = rows.first() else { return Ok(None) };
    let table = Identifier::new(text(row, 0)?).map_err(LogError::nothing_stored)?;
    Ok(Some((table, text(row, 1)?.into())))
}

/// The statement of the migration without its comments.
fn create_registry() -> String {
    let lines = sql::CREATE_REGISTRY.lines().filter(|line| !line.starts_with("--"));
    lines.collect::<Vec<_>>().join(" ").trim().trim_end_matches(';').to_owned()
}

/// Registers the store with the first of its names that is free.
async fn register(
    database: &dyn Database,
    store_id: &str,
    created_at: &str,
    remains: Option<ReferenceRemains>,
) -> Result<Registration, LogError> {
    let takes_over = remains.is_some();
    let backend_id = remains.and_then(|remains| remains.backend_id).unwrap_or_else(new_backend_id);
    for table in table_name::candidates(store_id) {
        let taken = database.query(statement(sql::FIND_TABLE, [table.as_str().into()])).await?;
        if !taken.is_empty() {
            continue;
        }
        database.execute(statement(sql::create_table(&table), [])).await?;
        // A table with events that is not registered is the reference's, and belongs to one of the ids that ask
        // for this name: to this one if its object has remains, or if no other id asks for it. Else it is left
        // to the store whose object will come with remains.
        if !takes_over
            && !table_name::is_certain(store_id)
            && !database.query(statement(sql::has_events(&table), [])).await?.is_empty()
        {
            continue;
        }
        let values = [store_id.into(), table.as_str().into(), backend_id.as_str().into(), created_at.into()];
        database.execute(statement(sql::register(&table), values)).await?;
        // Another object may have been faster, with this store (then that registration is found) or with another
        // of the same name (then nothing is, and the next name is tried).
        if let Some(found) = find(database, store_id).await? {
            return Ok(found);
        }
    }
    Err(LogError::nothing_stored("no name for the store's table is free"))
}

//! What the reference implementation left in the object of a store that it served before this server was deployed
//! over it. Looked for once, when a store is opened for the first time.

use worker::Storage;

use super::database::statement;
use super::database_error::DatabaseError;
use super::object::ObjectDatabase;
use crate::event_log::LogError;

/// What the reference left in the object of a store that it served. It kept events in tables that this server
/// goes on with; which store has which, only the object of each can say.
#[derive(Debug)]
pub struct ReferenceRemains {
    /// By which 0.4.0 knew the store; 0.3.1 had none.
    pub(super) backend_id: Option<String>,
}

impl ReferenceRemains {
    /// `None` when the object never served the store for the reference.
    ///
    /// # Errors
    ///
    /// [`LogError`] when the object's storage fails.
    pub async fn find(storage: &Storage, store_id: &str) -> Result<Option<Self>, LogError> {
        let backend_id = backend_id(&ObjectDatabase::of(storage)?, store_id)?;
        if backend_id.is_some() {
            return Ok(Some(Self { backend_id }));
        }
        let head: Option<f64> =
            storage.get(V03_HEAD_KEY).await.map_err(|error| LogError::nothing_stored(error.to_string()))?;
        Ok(head.map(|_| Self { backend_id: None }))
    }
}

/// Where the reference 0.3.1 keeps the head of a store that anything was pushed to.
const V03_HEAD_KEY: &str = "currentHead";

/// The id by which the reference 0.4.0 knew the store. Most objects have no such table, and some no SQLite.
pub(super) fn backend_id(database: &ObjectDatabase, store_id: &str) -> Result<Option<String>, DatabaseError> {
    match database.rows(statement("SELECT backendId FROM context_7 WHERE storeId = ?1", [store_id.into()])) {
        Ok(rows) => Ok(rows.first().and_then(|row| row.get(0).as_string())),
        Err(DatabaseError::NoSuchTable(_) | DatabaseError::NoSqlite(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

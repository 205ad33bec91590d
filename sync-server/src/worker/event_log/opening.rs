//! Which table is a store's: looks it up in the registry, and registers one with the store's first event. Called by
//! `sql_log` for either database.
//!
//! A store exists from its first event: before, nothing is kept of it, whoever pulls or pings. Its backend id is told to
//! clients all the same, and they hold on to it; so it is made from what stays (see [`Origin`]). Nothing here holds a
//! lock; any number of objects may register at once.

use std::sync::Arc;

use super::database::{Database, Statement, optional_text, statement, text};
use super::database_error::DatabaseError;
use super::remains::ReferenceRemains;
use crate::event_log::{AppendError, LogError, sql};
use crate::hash;
use crate::new_backend_id;
use crate::table_name::{self, Identifier};

/// A registered store.
pub(super) struct Registration {
    pub(super) table: Identifier,
    pub(super) backend_id: Arc<str>,
}

/// Where the id of a store without events comes from.
pub(super) enum Origin {
    /// From the object's own id. The object's storage stays empty.
    Object(String),
    /// From a secret of the database.
    Database,
}

/// The store that a log is of.
pub(super) struct Sought {
    pub(super) store_id: String,
    /// When it is opened, as [`iso_timestamp`](crate::iso_timestamp) writes it.
    pub(super) opened_at: String,
    pub(super) origin: Origin,
    pub(super) remains: Option<ReferenceRemains>,
}

/// What a database knows of a store.
pub(super) enum Found {
    Registered(Registration),
    /// There are no events of it. It will have this id.
    Empty(Arc<str>),
}

/// Finds the store. What the reference left is registered.
pub(super) async fn find(database: &dyn Database, sought: &Sought) -> Result<Found, LogError> {
    let secret = match look_up(database, sought).await? {
        Ok(registration) => return Ok(Found::Registered(registration)),
        Err(secret) => secret,
    };
    let left = sought.remains.as_ref().and_then(|remains| remains.backend_id.as_deref());
    let backend_id = left.map_or_else(|| hash::backend_id(&secret, &sought.store_id), str::to_owned);
    for table in table_name::candidates(&sought.store_id).take(1) {
        // A table with events that is not registered is the reference's.
        if sought.takes_any() && has_events(database, &table).await? && !is_taken(database, &table).await? {
            database.transaction(registration(sought, &table, &backend_id, &sought.opened_at)).await?;
            // Another object may have been faster.
            if let Ok(registration) = look_up(database, sought).await? {
                return Ok(Found::Registered(registration));
            }
        }
    }
    Ok(Found::Empty(backend_id.into()))
}

/// Registers the store with the first of its names that is free, and does what `append` makes of its table: all or
/// nothing. [`AppendError::HeadMoved`] where another object was faster.
pub(super) async fn begin(
    database: &dyn Database,
    sought: &Sought,
    backend_id: &str,
    created_at: &str,
    append: impl FnOnce(&Identifier) -> Vec<Statement>,
) -> Result<Identifier, AppendError> {
    for table in table_name::candidates(&sought.store_id) {
        if is_taken(database, &table).await? || (!sought.takes_any() && has_events(database, &table).await?) {
            continue;
        }
        let mut statements = registration(sought, &table, backend_id, created_at);
        // Changes nothing where the store, or another with this table, was registered meanwhile.
        let values = [sought.store_id.as_str().into(), table.as_str().into()];
        statements.push(statement(sql::guard_registration(), values));
        statements.extend(append(&table));
        database.transaction(statements).await?;
        return Ok(table);
    }
    Err(LogError::nothing_stored("no name for the store's table is free").into())
}

impl Sought {
    /// Whether a table of the store's name with events, which nobody has registered, is this store's.
    fn takes_any(&self) -> bool {
        table_name::takes_over(&self.store_id, self.remains.is_some())
    }
}

/// The registration, or else what the store's id is made from.
async fn look_up(database: &dyn Database, sought: &Sought) -> Result<Result<Registration, String>, LogError> {
    let store_id = || sought.store_id.as_str().into();
    let registration = |table: String, backend_id: String| {
        let table = Identifier::new(table).map_err(LogError::nothing_stored)?;
        Ok(Ok(Registration { table, backend_id: backend_id.into() }))
    };
    match &sought.origin {
        Origin::Object(id) => {
            let rows = match database.query(statement(sql::FIND_STORE, [store_id()])).await {
                Err(DatabaseError::NoSuchTable(_)) => Vec::new(),
                rows => rows?,
            };
            match rows.first() {
                Some(row) => registration(text(row, 0)?, text(row, 1)?),
                None => Ok(Err(id.clone())),
            }
        }
        Origin::Database => loop {
            let rows = match database.query(statement(sql::FIND_STORE_AND_SECRET, [store_id()])).await {
                Err(DatabaseError::NoSuchTable(_)) => Vec::new(),
                rows => rows?,
            };
            if let Some(row) = rows.first() {
                match (optional_text(row, 0), optional_text(row, 1), optional_text(row, 2)) {
                    (_, Some(table), Some(backend_id)) => return registration(table, backend_id),
                    (Some(secret), ..) => return Ok(Err(secret)),
                    _ => {}
                }
            }
            // A database that is new to this server, also one where the migrations were forgotten.
            let secret = statement(sql::KEEP_SECRET, [new_backend_id().as_str().into()]);
            let [registry, meta] = [sql::CREATE_REGISTRY, sql::CREATE_META].map(|sql| statement(one_line(sql), []));
            database.transaction(vec![registry, meta, secret]).await?;
        },
    }
}

async fn is_taken(database: &dyn Database, table: &Identifier) -> Result<bool, DatabaseError> {
    exists(database, statement(sql::FIND_TABLE, [table.as_str().into()])).await
}

async fn has_events(database: &dyn Database, table: &Identifier) -> Result<bool, DatabaseError> {
    exists(database, statement(sql::has_events(table), [])).await
}

/// Whether there is a row; not where there is no table.
async fn exists(database: &dyn Database, statement: Statement) -> Result<bool, DatabaseError> {
    match database.query(statement).await {
        Err(DatabaseError::NoSuchTable(_)) => Ok(false),
        rows => rows.map(|rows| !rows.is_empty()),
    }
}

fn registration(sought: &Sought, table: &Identifier, backend_id: &str, created_at: &str) -> Vec<Statement> {
    let values = [sought.store_id.as_str().into(), table.as_str().into(), backend_id.into(), created_at.into()];
    vec![
        statement(one_line(sql::CREATE_REGISTRY), []),
        statement(sql::create_table(table), []),
        statement(sql::register(table), values),
    ]
}

/// The statement of a migration without its comments.
fn one_line(migration: &str) -> String {
    let lines = migration.lines().filter(|line| !line.starts_with("--"));
    lines.collect::<Vec<_>>().join(" ").trim().trim_end_matches(';').to_owned()
}

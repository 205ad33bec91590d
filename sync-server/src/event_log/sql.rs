//! The SQL of event logs, and the two formats that go through it: texts of statements, nothing that runs them.
//!
//! All logs over SQL use it: `sqlite` (rusqlite, in the process) and those of Workers (D1 and the SQLite of a
//! Durable Object, both reached through JavaScript). It is pure and compiled on every platform, so that the
//! statements of Workers are tested on the host, against the same SQLite. It may not name any of those
//! databases.
//!
//! Workers and `sqlite` differ in how rows travel. A row that crosses from JavaScript into wasm costs more than
//! what SQLite does for it, so Workers let SQLite unpack a whole commit from one JSON text (`documents`) and
//! render a whole page into one row (`page`). In the process a row costs nothing to hand over, so `sqlite`
//! binds and reads plain columns ([`insert_row`], [`rows_between`]).

pub(crate) mod documents;
pub(crate) mod page;
#[cfg(all(test, feature = "native"))]
mod tests;

use crate::table_name::Identifier;

/// Makes the registry of stores, `livestore_stores`, where it does not exist. Beside the statement it holds
/// comments.
pub(crate) const CREATE_REGISTRY: &str = include_str!("../../migrations/0001_stores.sql");

/// Makes the table of what a database knows of itself, `livestore_meta`, where it does not exist. Beside the statement
/// it holds comments.
pub(crate) const CREATE_META: &str = include_str!("../../migrations/0002_meta.sql");

/// Keeps the secret of a database, unless it has one. Binds it.
pub(crate) const KEEP_SECRET: &str = "INSERT OR IGNORE INTO livestore_meta (name, value) VALUES ('secret', ?1)";

/// One row: the secret of the database, and table and backend id of a store, if it is registered. Binds the store id.
pub(crate) const FIND_STORE_AND_SECRET: &str = "SELECT (SELECT value FROM livestore_meta WHERE name = 'secret'), table_name, backend_id FROM (SELECT 1) LEFT JOIN livestore_stores ON store_id = ?1";

/// The registration of a store: table and backend id. Binds the store id.
pub(crate) const FIND_STORE: &str = "SELECT table_name, backend_id FROM livestore_stores WHERE store_id = ?1";

/// A row if the name of a table is taken. Binds the name.
pub(crate) const FIND_TABLE: &str = "SELECT 1 FROM livestore_stores WHERE table_name = ?1";

/// How many stores there are.
pub(crate) const COUNT_STORES: &str = "SELECT COUNT(*) FROM livestore_stores";

/// Records how many gaps a log has. Binds their number and the store id.
pub(crate) const UPDATE_GAPS: &str = "UPDATE livestore_stores SET gaps = ?1 WHERE store_id = ?2";

/// The text by which [`guard`] fails.
pub(crate) const HEAD_MOVED: &str = "the head moved";

/// An event's columns, in the order in which all statements write and read them.
const COLUMNS: &str = r#""seqNum", "parentSeqNum", "name", "args", "createdAt", "clientId", "sessionId""#;

/// Makes the table of a store, as the reference does (`PERSISTENCE_FORMAT_VERSION` 7). A table that the
/// reference left behind stays as it is and is used.
pub(crate) fn create_table(table: &Identifier) -> String {
    format!(
        r#"CREATE TABLE IF NOT EXISTS {table} ("seqNum" integer primary key, "parentSeqNum" integer not null, "name" text not null, "args" text, "createdAt" text not null, "clientId" text not null, "sessionId" text not null) strict"#
    )
}

/// Registers a store with its table and counts the gaps of what the table already holds. Changes nothing where
/// the store or the table's name is registered already: of several that register at once, one wins, and all
/// read the result with [`FIND_STORE`]. Binds store id, table, backend id and time.
pub(crate) fn register(table: &Identifier) -> String {
    format!(
        r#"INSERT OR IGNORE INTO livestore_stores (store_id, table_name, backend_id, created_at, gaps) SELECT ?1, ?2, ?3, ?4, MAX(0, COALESCE(MAX("seqNum"), 0) - COUNT(*)) FROM {table}"#
    )
}

/// Fails, as [`guard`] does, if a store is not registered with this table. Binds the store id and the table.
pub(crate) fn guard_registration() -> String {
    fails_unless("(SELECT table_name FROM livestore_stores WHERE store_id = ?1) = ?2")
}

/// A row if there are events.
pub(crate) fn has_events(table: &Identifier) -> String {
    format!("SELECT 1 FROM {table} LIMIT 1")
}

/// An expression: the number of the last event. SQLite answers it from the end of the primary key, on a log of
/// any length.
fn last_number(table: &Identifier) -> String {
    format!(r#"(SELECT COALESCE(MAX("seqNum"), 0) FROM {table})"#)
}

/// Number of the last event, and gaps. Binds the store id.
pub(crate) fn head(table: &Identifier) -> String {
    format!("SELECT {}, gaps FROM livestore_stores WHERE store_id = ?1", last_number(table))
}

/// Appends one event. Binds its columns.
pub(crate) fn insert_row(table: &Identifier) -> String {
    format!("INSERT INTO {table} ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")
}

/// Appends the events of one of `documents`. Binds it.
pub(crate) fn insert_document(table: &Identifier) -> String {
    format!(
        "INSERT INTO {table} ({COLUMNS}) SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6 FROM json_each(?1)"
    )
}

/// Appends the events of one of `documents` if the head is still the expected one, else changes no row. Binds
/// the document and the number of that head.
///
/// The comparison and the insert have to be one statement. D1 has no transaction that waits for its client, so
/// between a `SELECT` and an `INSERT` of ours another writer may append: a second instance of the object after a
/// move between machines, or a statement of ours whose answer was lost and which runs late. Its events and ours
/// would then both follow one parent, and clients would see two histories.
pub(crate) fn append_document(table: &Identifier) -> String {
    format!("{} WHERE {} = ?2", insert_document(table), last_number(table))
}

/// Fails if the head is not the expected one, whose number it binds. It opens a transaction of several inserts, where
/// each insert cannot compare for itself: after the first the head is a new one.
pub(crate) fn guard(table: &Identifier) -> String {
    fails_unless(&format!("{} = ?1", last_number(table)))
}

/// Fails, with [`HEAD_MOVED`] in its message, if a condition does not hold.
///
/// SQLite can raise an error of its own only in triggers, so an invalid JSON path stands in for one. The `CASE`
/// is inside the call and not around it: with constant arguments SQLite is free to compute the call before the
/// `CASE` decides, and every append would fail.
fn fails_unless(condition: &str) -> String {
    format!("SELECT json_extract('{{}}', CASE WHEN {condition} THEN '$' ELSE '{HEAD_MOVED}' END)")
}

/// The columns of events in order. Binds the cursor, the last number and a limit.
pub(crate) fn rows_between(table: &Identifier) -> String {
    format!(r#"SELECT {COLUMNS} FROM {table} WHERE "seqNum" > ?1 AND "seqNum" <= ?2 ORDER BY "seqNum" LIMIT ?3"#)
}

/// Whether as many numbers up to the head have no event as the registry says. Looks at all events. Binds the store
/// id.
pub(crate) fn gaps_agree(table: &Identifier) -> String {
    format!(
        r#"SELECT gaps = (SELECT MAX(0, COALESCE(MAX("seqNum"), 0) - COUNT(*)) FROM {table}) FROM livestore_stores WHERE store_id = ?1"#
    )
}

/// Counts events. Binds the cursor.
pub(crate) fn count(table: &Identifier) -> String {
    format!(r#"SELECT COUNT(*) FROM {table} WHERE "seqNum" > ?1"#)
}

//! Taking back what pending events did to the counters of `AUTOINCREMENT`. Called by `undo`.
//!
//! SQLite keeps them in a table of its own, on which there are no triggers, and never counts down. If they stayed where
//! an event that was taken back had left them, ids would depend on how often events were rebased, and differ between
//! clients. So before each pending event is applied they are written down, as far as there are any.

use rusqlite::{Connection, Result};

/// Makes the table that remembers, if one of the app's tables has such a counter. A row without a name says that an
/// event was applied, whatever counters there were.
pub(super) fn create(connection: &Connection) -> Result<()> {
    if !has_table(connection, "sqlite_sequence")? {
        return Ok(());
    }
    connection.execute_batch(
        "CREATE TABLE livestore_counters (pending INTEGER NOT NULL, name TEXT, seq);
         CREATE INDEX livestore_counters_pending ON livestore_counters (pending)",
    )
}

/// Whether there are counters to remember.
pub(super) fn exist(connection: &Connection) -> Result<bool> {
    has_table(connection, "livestore_counters")
}

fn has_table(connection: &Connection, name: &str) -> Result<bool> {
    connection.query_row("SELECT EXISTS (SELECT 1 FROM main.sqlite_schema WHERE name = ?1)", [name], |row| row.get(0))
}

/// Remembers where the counters are before a pending event is applied.
pub(super) fn remember(connection: &Connection, pending: i64) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO livestore_counters
             SELECT ?1, NULL, NULL UNION ALL SELECT ?1, name, seq FROM sqlite_sequence",
        )?
        .execute([pending])
        .map(drop)
}

/// Forgets where they were before events up to an id: those are confirmed.
pub(super) fn forget(connection: &Connection, up_to: i64) -> Result<()> {
    connection.prepare_cached("DELETE FROM livestore_counters WHERE pending <= ?1")?.execute([up_to]).map(drop)
}

/// Puts them back to where they were before the first pending event. To be done last: rows that are put back count.
pub(super) fn take_back(connection: &Connection) -> Result<()> {
    let first: Option<i64> =
        connection.query_row("SELECT min(pending) FROM livestore_counters", [], |row| row.get(0))?;
    let Some(first) = first else { return Ok(()) };
    connection.execute("DELETE FROM sqlite_sequence", [])?;
    connection.execute(
        "INSERT INTO sqlite_sequence SELECT name, seq FROM livestore_counters
         WHERE pending = ?1 AND name IS NOT NULL",
        [first],
    )?;
    connection.execute("DELETE FROM livestore_counters", []).map(drop)
}

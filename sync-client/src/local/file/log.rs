//! The statements on the store's own tables (`schema.sql`). Callers bring the transaction, and keep the tables in step.

use livestore_sync_protocol::{Args, Event, PulledEvent, SeqNum};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use crate::event::after;

/// Where the log and the pending events stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) head: SeqNum,
    pub(crate) pending: u64,
    pub(crate) first_pending: Option<i64>,
}

impl Position {
    /// The number of the last pending event, or of the last confirmed one: what a new event follows.
    pub(crate) fn local_head(self) -> SeqNum {
        after(self.head, i64::try_from(self.pending).unwrap_or(i64::MAX))
    }
}

pub(crate) fn position(connection: &Connection) -> Result<Position> {
    connection
        .prepare_cached(
            "SELECT (SELECT COALESCE(MAX(seq_num), 0) FROM livestore_confirmed), COUNT(*), MIN(id) FROM livestore_pending",
        )?
        .query_row([], |row| {
            let pending = row.get::<_, i64>(1)?.unsigned_abs();
            Ok(Position { head: seq_num(row, 0)?, pending, first_pending: row.get(2)? })
        })
}

/// The largest id of a pending event; ids go up, also over those that are pending no more.
pub(crate) fn last_pending(connection: &Connection) -> Result<Option<i64>> {
    connection.query_row("SELECT MAX(id) FROM livestore_pending", [], |row| row.get(0))
}

pub(crate) fn backend_id(connection: &Connection) -> Result<Option<String>> {
    connection.prepare_cached("SELECT backend_id FROM livestore_client")?.query_row([], |row| row.get(0))
}

pub(crate) fn set_backend_id(connection: &Connection, backend_id: Option<&str>) -> Result<()> {
    connection.execute("UPDATE livestore_client SET backend_id = ?1", [backend_id]).map(drop)
}

pub(crate) fn insert_confirmed(connection: &Connection, pulled: &PulledEvent, known: bool) -> Result<()> {
    let event = &pulled.event;
    connection
        .prepare_cached("INSERT INTO livestore_confirmed VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
        .execute(params![
            event.seq_num.get(),
            event.parent_seq_num.get(),
            event.name,
            event.args.as_stored(),
            pulled.created_at,
            event.client_id,
            event.session_id,
            known,
        ])
        .map(drop)
}

/// Completes an event that was confirmed by an answer, which does not say when the backend took it.
pub(crate) fn set_created_at(connection: &Connection, pulled: &PulledEvent) -> Result<()> {
    let Some(created_at) = &pulled.created_at else { return Ok(()) };
    connection
        .prepare_cached("UPDATE livestore_confirmed SET created_at = ?2 WHERE seq_num = ?1 AND created_at IS NULL")?
        .execute(params![pulled.event.seq_num.get(), created_at])
        .map(drop)
}

pub(crate) fn set_confirmed_unknown(connection: &Connection, seq_num: SeqNum) -> Result<()> {
    connection
        .prepare_cached("UPDATE livestore_confirmed SET known = 0 WHERE seq_num = ?1")?
        .execute([seq_num.get()])
        .map(drop)
}

/// Confirmed events above a number.
pub(crate) fn confirmed(connection: &Connection, above: SeqNum, limit: usize) -> Result<Vec<PulledEvent>> {
    connection
        .prepare_cached(
            "SELECT name, args, client_id, session_id, seq_num, parent_seq_num, created_at FROM livestore_confirmed
             WHERE seq_num > ?1 ORDER BY seq_num LIMIT ?2",
        )?
        .query_map(params![above.get(), limit_of(limit)], |row| {
            Ok(PulledEvent { event: event(row, seq_num(row, 4)?, seq_num(row, 5)?)?, created_at: row.get(6)? })
        })?
        .collect()
}

/// A pending event in its row.
#[derive(Debug)]
pub(crate) struct PendingRow {
    pub(crate) id: i64,
    pub(crate) event: Event,
    pub(crate) known: bool,
}

/// Pending events with ids from `first` on, numbered after `parent`. Their numbers are not stored: they follow from the
/// head and the order, and would all have to be written again whenever another client's event comes first.
pub(crate) fn pending(connection: &Connection, first: i64, parent: SeqNum, limit: usize) -> Result<Vec<PendingRow>> {
    let mut parent = parent;
    connection
        .prepare_cached(
            "SELECT name, args, client_id, session_id, id, known FROM livestore_pending
             WHERE id >= ?1 ORDER BY id LIMIT ?2",
        )?
        .query_map(params![first, limit_of(limit)], |row| {
            let number = after(parent, 1);
            let event = event(row, number, parent)?;
            parent = number;
            Ok(PendingRow { id: row.get(4)?, event, known: row.get(5)? })
        })?
        .collect()
}

pub(crate) fn insert_pending(connection: &Connection, id: i64, event: &Event, known: bool) -> Result<()> {
    connection
        .prepare_cached("INSERT INTO livestore_pending VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![id, event.name, event.args.as_stored(), event.client_id, event.session_id, known])
        .map(drop)
}

pub(crate) fn set_known(connection: &Connection, id: i64, known: bool) -> Result<()> {
    connection
        .prepare_cached("UPDATE livestore_pending SET known = ?2 WHERE id = ?1")?
        .execute(params![id, known])
        .map(drop)
}

pub(crate) fn delete_pending(connection: &Connection, id: i64) -> Result<()> {
    connection.prepare_cached("DELETE FROM livestore_pending WHERE id = ?1")?.execute([id]).map(drop)
}

/// Makes pending events of the confirmed ones, before those that are pending: with ids below theirs, going down,
/// because ids above are for events that are yet to be committed.
pub(crate) fn confirmed_to_pending(connection: &Connection, last_id: i64) -> Result<()> {
    connection
        .execute(
            "INSERT INTO livestore_pending
             SELECT (SELECT COALESCE(MIN(id), ?1 + 1) FROM livestore_pending)
               - (SELECT COUNT(*) FROM livestore_confirmed) - 1 + ROW_NUMBER() OVER (ORDER BY seq_num),
               name, args, client_id, session_id, known FROM livestore_confirmed",
            [last_id],
        )
        .map(drop)
}

pub(crate) fn pending_by_id(connection: &Connection, id: i64, head: SeqNum) -> Result<Option<Event>> {
    let before: i64 =
        connection.query_row("SELECT COUNT(*) FROM livestore_pending WHERE id < ?1", [id], |row| row.get(0))?;
    connection
        .query_row("SELECT name, args, client_id, session_id FROM livestore_pending WHERE id = ?1", [id], |row| {
            event(row, after(head, before + 1), after(head, before))
        })
        .optional()
}

fn event(row: &Row<'_>, seq_num: SeqNum, parent_seq_num: SeqNum) -> Result<Event> {
    let args = match row.get::<_, Option<String>>(1)? {
        None => Args::default(),
        Some(json) => Args::from_json(json).map_err(|error| unreadable(1, Type::Text, error))?,
    };
    Ok(Event { name: row.get(0)?, args, seq_num, parent_seq_num, client_id: row.get(2)?, session_id: row.get(3)? })
}

fn seq_num(row: &Row<'_>, column: usize) -> Result<SeqNum> {
    SeqNum::new(row.get(column)?).map_err(|error| unreadable(column, Type::Integer, error))
}

fn unreadable(column: usize, kind: Type, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, kind, Box::new(error))
}

fn limit_of(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

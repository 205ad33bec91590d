//! Reads: a pool of connections that only read, and the three questions that a log answers from rows. Runs on
//! tokio's threads for blocking work, never on the writer's.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use livestore_sync_protocol::{Args, ChunkBuilder, Event, EventRow, ItemFormat, PulledEvent, SeqNum};
use rusqlite::types::Type;
use rusqlite::{Connection, OpenFlags, Row};

use super::super::{PAGE_BYTES_MAX, PAGE_EVENTS_MAX, Page, sql};
use super::table::{Column, StoreTable};

/// Connections that only read. With a write-ahead log they see the last commit and neither wait for the writer
/// nor delay it. As many are open as there were reads at one time; each keeps its prepared statements.
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

/// Statements that a connection keeps prepared: a few for each of the stores that are read most.
const STATEMENTS_MAX: usize = 256;

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, idle: Mutex::default() }
    }

    /// Reads with a connection of the pool, or with a new one if all are in use.
    pub(super) fn with<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let pooled = idle().pop();
        let connection = match pooled {
            Some(connection) => connection,
            None => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                let connection = Connection::open_with_flags(&self.path, flags)?;
                connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
                connection
            }
        };
        let result = read(&connection);
        idle().push(connection);
        result
    }
}

/// A row of the columns of [`sql::rows_above`] and [`sql::rows_between`].
fn event_row<'a>(row: &'a Row<'_>) -> rusqlite::Result<EventRow<'a>> {
    let text = |index: usize| -> rusqlite::Result<&'a str> { Ok(row.get_ref(index)?.as_str()?) };
    Ok(EventRow {
        seq_num: row.get::<_, Column>(0)?.0,
        parent_seq_num: row.get::<_, Column>(1)?.0,
        name: text(2)?,
        args: row.get_ref(3)?.as_str_or_null()?,
        created_at: text(4)?,
        client_id: text(5)?,
        session_id: text(6)?,
    })
}

/// Renders straight from SQLite's rows: no event is built, no text is copied on the way.
pub(super) fn page(
    connection: &Connection,
    store: &StoreTable,
    after: SeqNum,
    format: ItemFormat,
) -> rusqlite::Result<Page> {
    let mut statement = connection.prepare_cached(&sql::rows_above(&store.table))?;
    let mut rows = statement.query((Column(after), PAGE_EVENTS_MAX))?;
    let mut builder = ChunkBuilder::new(format);
    let mut read = 0;
    while builder.bytes() < PAGE_BYTES_MAX {
        let Some(row) = rows.next()? else {
            return Ok(Page::new(builder.finish(), read == PAGE_EVENTS_MAX));
        };
        builder.push(&event_row(row)?);
        read += 1;
    }
    Ok(Page::new(builder.finish(), true))
}

pub(super) fn events(
    connection: &Connection,
    store: &StoreTable,
    after: SeqNum,
    last: SeqNum,
    limit: u32,
) -> rusqlite::Result<Vec<PulledEvent>> {
    let mut statement = connection.prepare_cached(&sql::rows_between(&store.table))?;
    let events = statement.query_map((Column(after), Column(last), limit), |row| {
        let row = event_row(row)?;
        let args = row.args.map(|args| Args::from_json(args.to_owned())).transpose();
        let args = args.map_err(|error| rusqlite::Error::FromSqlConversionFailure(3, Type::Text, error.into()))?;
        Ok(PulledEvent {
            created_at: Some(row.created_at.to_owned()),
            event: Event {
                name: row.name.to_owned(),
                args: args.unwrap_or_default(),
                seq_num: row.seq_num,
                parent_seq_num: row.parent_seq_num,
                client_id: row.client_id.to_owned(),
                session_id: row.session_id.to_owned(),
            },
        })
    })?;
    events.collect()
}

pub(super) fn count(connection: &Connection, store: &StoreTable, after: SeqNum) -> rusqlite::Result<u64> {
    let count: i64 =
        connection.prepare_cached(&sql::count(&store.table))?.query_row([Column(after)], |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

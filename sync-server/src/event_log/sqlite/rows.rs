//! What a log answers from rows: a page, events, a count. Called by [`SqliteLog`](super::SqliteLog) with a
//! connection of `read`.

use livestore_sync_protocol::{Args, ChunkBuilder, Event, EventRow, ItemFormat, PulledEvent, SeqNum};
use rusqlite::types::Type;
use rusqlite::{Connection, Row};

use super::super::chain::{Break, Chain};
use super::super::{LogError, PAGE_BYTES_MAX, PAGE_EVENTS_MAX, Page, sql};
use super::place::{Column, Entry, Part, Place};

/// Why a read fails.
#[derive(Debug)]
pub(super) enum ReadError {
    Sqlite(rusqlite::Error),
    Broken(Break),
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<ReadError> for LogError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Sqlite(error) => Self::nothing_stored(error),
            ReadError::Broken(broken) => Self::nothing_stored(broken),
        }
    }
}

/// Rows in order, above a cursor.
const PART_ABOVE: &str = r#"SELECT "seqNum", "parentSeqNum", "name", "args", "createdAt", "clientId", "sessionId" FROM events WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT ?3"#;

/// A row of the columns that all statements read.
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

/// Gives the events above a cursor, ascending and checked, at most `limit`, until `take` has enough. How many
/// there were.
fn each_above(
    connection: &Connection,
    entry: &Entry,
    after: SeqNum,
    limit: u32,
    mut take: impl FnMut(&EventRow<'_>) -> rusqlite::Result<bool>,
) -> Result<u32, ReadError> {
    let Some(place) = entry.place(connection)? else { return Ok(0) };
    let (mut statement, from, end, mut chain) = match place {
        Place::Table(table) => {
            let statement = connection.prepare_cached(&sql::rows_between(table))?;
            (statement, after.get(), SeqNum::MAX.get(), Chain::above(after))
        }
        Place::Part(number) => {
            let (part, statement) = (Part(*number), connection.prepare_cached(PART_ABOVE)?);
            let at = part.at(connection, after)?;
            (statement, part.id(at.position), part.end(), Chain::after(at.seq_num))
        }
    };
    let mut rows = statement.query((from, end, limit))?;
    let mut given = 0;
    while let Some(row) = rows.next()? {
        let row = event_row(row)?;
        if let Err(broken) = chain.next(row.seq_num, row.parent_seq_num)
            && !(broken.may_be_a_hole() && holes_are_known(connection, entry, place)?)
        {
            return Err(ReadError::Broken(broken));
        }
        given += 1;
        if !take(&row)? {
            break;
        }
    }
    Ok(given)
}

/// Whether exactly so many numbers have no event as the registry says. A table that the reference left may have
/// had holes when it was taken over; it is served as it stands. Events that got lost since are too many.
fn holes_are_known(connection: &Connection, entry: &Entry, place: &Place) -> rusqlite::Result<bool> {
    let Place::Table(table) = place else { return Ok(false) };
    connection.query_row(&sql::gaps_agree(table), [&entry.store_id], |row| row.get(0))
}

/// Renders straight from SQLite's rows: no event is built, no text is copied on the way.
pub(super) fn page(
    connection: &Connection,
    entry: &Entry,
    after: SeqNum,
    format: ItemFormat,
) -> Result<Page, ReadError> {
    let mut builder = ChunkBuilder::new(format);
    let read = each_above(connection, entry, after, PAGE_EVENTS_MAX, |row| {
        builder.push(row);
        Ok(builder.bytes() < PAGE_BYTES_MAX)
    })?;
    let more = read == PAGE_EVENTS_MAX || builder.bytes() >= PAGE_BYTES_MAX;
    Ok(Page::new(builder.finish(), more))
}

pub(super) fn events(
    connection: &Connection,
    entry: &Entry,
    after: SeqNum,
    last: SeqNum,
    limit: u32,
) -> Result<Vec<PulledEvent>, ReadError> {
    let mut events = Vec::new();
    each_above(connection, entry, after, limit, |row| {
        if row.seq_num > last {
            return Ok(false);
        }
        events.push(pulled_event(row)?);
        Ok(row.seq_num < last)
    })?;
    Ok(events)
}

fn pulled_event(row: &EventRow<'_>) -> rusqlite::Result<PulledEvent> {
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
}

pub(super) fn count(connection: &Connection, entry: &Entry, after: SeqNum) -> Result<u64, ReadError> {
    let count: i64 = match entry.place(connection)? {
        None => 0,
        Some(Place::Table(table)) => {
            connection.prepare_cached(&sql::count(table))?.query_row([Column(after)], |row| row.get(0))?
        }
        Some(Place::Part(number)) => {
            let part = Part(*number);
            part.last(connection)?.position - part.at(connection, after)?.position
        }
    };
    Ok(count.unsigned_abs())
}

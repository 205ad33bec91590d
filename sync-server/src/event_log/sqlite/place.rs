//! Where a store's events are: in a part of the table `events`, or in a table of its own, as the reference and
//! earlier versions of this server made them. Called by the writer inside its transaction, and by readers.

use std::sync::{Arc, OnceLock};

use livestore_sync_protocol::SeqNum;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, Type, ValueRef};
use rusqlite::{Connection, OptionalExtension};

use super::super::{Head, sql};
use crate::hash;
use crate::table_name::{self, Identifier};

/// A store, of which the file may have nothing yet.
pub(super) struct Entry {
    pub(super) store_id: String,
    pub(super) backend_id: Arc<str>,
    /// How many stores the file may hold, should this be a new one.
    pub(super) stores_max: u32,
    /// Unknown before the first event.
    pub(super) place: OnceLock<Place>,
}

/// Where events are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a table of the store's own, which is registered under its id.
    Table(Identifier),
    /// In `events`, as the store of this number.
    Part(i64),
}

/// What a look at the file says of a store.
pub(super) enum Found {
    /// Its events are there.
    Here(Place, String),
    /// The reference left events in this table, which nobody has registered. By which backend id it knew the
    /// store, where the file tells.
    Left(Identifier, Option<String>),
    /// No events; the id that it has until then.
    Empty(String),
}

/// Bits of an event's position in an `id` of `events`; the store's number is above them.
const POSITION_BITS: u32 = 32;

/// The largest number of a store, so that ids stay positive.
const NUMBER_MAX: i64 = (1 << (63 - POSITION_BITS)) - 1;

/// The largest position of an event. One place is left free: a range ends before the next store's number.
const POSITION_MAX: i64 = (1 << POSITION_BITS) - 1;

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

/// Looks for a store.
pub(super) fn find(connection: &Connection, store_id: &str) -> rusqlite::Result<Found> {
    let part = "SELECT number, backend_id FROM stores WHERE store_id = ?1";
    let part =
        connection.prepare_cached(part)?.query_row([store_id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    if let Some((number, backend_id)) = part {
        return Ok(Found::Here(Place::Part(number), backend_id));
    }
    let mut registered = connection.prepare_cached(sql::FIND_STORE)?;
    if let Some((name, backend_id)) =
        registered.query_row([store_id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?
    {
        let table = Identifier::new(name)
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, error.into()))?;
        return Ok(Found::Here(Place::Table(table), backend_id));
    }
    if let Some((table, backend_id)) = left_by_reference(connection, store_id)? {
        return Ok(Found::Left(table, backend_id));
    }
    Ok(Found::Empty(backend_id_without_events(connection, store_id)?))
}

/// The table that the reference left of this store, unless it may be another's.
fn left_by_reference(
    connection: &Connection,
    store_id: &str,
) -> rusqlite::Result<Option<(Identifier, Option<String>)>> {
    let Some(table) = table_name::candidates(store_id).next() else { return Ok(None) };
    // Asks the schema that the connection has in memory, whatever it has in it.
    if !connection.table_exists(None, table.as_str())?
        || connection.prepare_cached(sql::FIND_TABLE)?.exists([table.as_str()])?
        || !connection.prepare(&sql::has_events(&table))?.exists([])?
    {
        return Ok(None);
    }
    let backend_id = remains(connection, store_id)?;
    if !table_name::takes_over(store_id, backend_id.is_some()) {
        tracing::warn!(
            store_id,
            table = table.as_str(),
            "a table of the reference may be this store's or another's and is left alone: see \"The data\" in README.md"
        );
        return Ok(None);
    }
    Ok(Some((table, backend_id)))
}

/// By which id the reference 0.4.0 knew the store: it writes that into the same file, in an object of its own.
fn remains(connection: &Connection, store_id: &str) -> rusqlite::Result<Option<String>> {
    if !connection.table_exists(None, "context_7")? {
        return Ok(None);
    }
    let find = r#"SELECT "backendId" FROM context_7 WHERE "storeId" = ?1"#;
    connection.prepare(find)?.query_row([store_id], |row| row.get(0)).optional()
}

/// The id of a store that has no events: the same for everyone who asks, also after a restart, and not written
/// anywhere. Published clients keep what they are told, and a store has the same id once it has events.
fn backend_id_without_events(connection: &Connection, store_id: &str) -> rusqlite::Result<String> {
    let kept = "SELECT backend_id FROM empty_stores WHERE store_id = ?1";
    if let Some(kept) = connection.prepare_cached(kept)?.query_row([store_id], |row| row.get(0)).optional()? {
        return Ok(kept);
    }
    let mut secret = connection.prepare_cached("SELECT value FROM livestore_meta WHERE name = 'secret'")?;
    let secret: String = secret.query_row([], |row| row.get(0))?;
    Ok(hash::backend_id(&secret, store_id))
}

/// Registers a table that the reference left. In a transaction.
pub(super) fn take_over(
    connection: &Connection,
    store_id: &str,
    table: &Identifier,
    backend_id: &str,
    created_at: &str,
) -> rusqlite::Result<()> {
    let registered = connection.execute(&sql::register(table), (store_id, table.as_str(), backend_id, created_at))?;
    // The statement changes nothing where the store or the name is registered. Neither is: both were looked up in
    // this transaction, which keeps other writers out.
    if registered == 1 { Ok(()) } else { Err(rusqlite::Error::StatementChangedRows(registered)) }
}

/// Makes a store, for its first events. In their transaction.
pub(super) fn make(connection: &Connection, entry: &Entry, created_at: &str) -> rusqlite::Result<Place> {
    connection
        .prepare_cached("INSERT INTO stores (store_id, backend_id, created_at) VALUES (?1, ?2, ?3)")?
        .execute((&entry.store_id, &*entry.backend_id, created_at))?;
    let number = connection.last_insert_rowid();
    if !(1..=NUMBER_MAX).contains(&number) {
        return Err(rusqlite::Error::IntegralValueOutOfRange(0, number));
    }
    connection.prepare_cached("DELETE FROM empty_stores WHERE store_id = ?1")?.execute([&entry.store_id])?;
    Ok(Place::Part(number))
}

/// How many stores have events.
pub(super) fn count_stores(connection: &Connection) -> rusqlite::Result<u32> {
    let parts: u32 = connection.query_row("SELECT COUNT(*) FROM stores", [], |row| row.get(0))?;
    let tables: u32 = connection.query_row(sql::COUNT_STORES, [], |row| row.get(0))?;
    Ok(parts.saturating_add(tables))
}

/// The store's head, in one read: number and gaps are of one commit.
pub(super) fn head(connection: &Connection, entry: &Entry) -> rusqlite::Result<Head> {
    match entry.place(connection)? {
        None => Ok(Head::EMPTY),
        Some(Place::Table(table)) => {
            connection.prepare_cached(&sql::head(table))?.query_row([&entry.store_id], |row| {
                Ok(Head::new(row.get::<_, Column>(0)?.0, row.get::<_, i64>(1)?.unsigned_abs()))
            })
        }
        Some(Place::Part(number)) => Ok(Part(*number).last(connection)?.head()),
    }
}

impl Entry {
    /// Where the events are, if there are any: another handle of the same store may have made it.
    pub(super) fn place(&self, connection: &Connection) -> rusqlite::Result<Option<&Place>> {
        if let Some(place) = self.place.get() {
            return Ok(Some(place));
        }
        let find = "SELECT number FROM stores WHERE store_id = ?1";
        let number = connection.prepare_cached(find)?.query_row([&self.store_id], |row| row.get(0)).optional()?;
        Ok(number.map(|number| self.place.get_or_init(|| Place::Part(number))))
    }
}

/// The ids of one store in `events`.
#[derive(Clone, Copy)]
pub(super) struct Part(pub(super) i64);

/// A place in a log: an event, or the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    /// How many events there are up to it.
    pub(super) position: i64,
    pub(super) seq_num: SeqNum,
}

impl At {
    fn head(self) -> Head {
        Head::new(self.seq_num, self.seq_num.get().abs_diff(self.position))
    }
}

impl Part {
    /// The id of the event at a position; of none at 0, below all of the store's.
    pub(super) fn id(self, position: i64) -> i64 {
        self.0 << POSITION_BITS | position
    }

    /// Above all ids of the store.
    pub(super) fn end(self) -> i64 {
        self.id(POSITION_MAX)
    }

    /// The last event.
    pub(super) fn last(self, connection: &Connection) -> rusqlite::Result<At> {
        let last = r#"SELECT id, "seqNum" FROM events WHERE id > ?1 AND id < ?2 ORDER BY id DESC LIMIT 1"#;
        let last = connection.prepare_cached(last)?.query_row((self.id(0), self.end()), |row| {
            Ok(At { position: row.get::<_, i64>(0)? - self.id(0), seq_num: row.get::<_, Column>(1)?.0 })
        });
        Ok(last.optional()?.unwrap_or(At { position: 0, seq_num: SeqNum::ROOT }))
    }

    /// The last event whose number is not above `cursor`. Where there are no gaps its position is its number;
    /// else it is looked for, in as many steps as the log's length has bits.
    pub(super) fn at(self, connection: &Connection, cursor: SeqNum) -> rusqlite::Result<At> {
        let start = At { position: 0, seq_num: SeqNum::ROOT };
        let mut event = connection.prepare_cached(r#"SELECT "seqNum" FROM events WHERE id = ?1"#)?;
        let mut number = |position: i64| event.query_row([self.id(position)], |row| row.get::<_, Column>(0)).optional();
        if cursor <= SeqNum::ROOT {
            return Ok(start);
        }
        // Numbers are not below positions, so here there is no gap.
        if cursor.get() < POSITION_MAX
            && let Some(Column(seq_num)) = number(cursor.get())?
            && seq_num == cursor
        {
            return Ok(At { position: cursor.get(), seq_num });
        }
        let last = self.last(connection)?;
        if last.seq_num <= cursor {
            return Ok(last);
        }
        let (mut below, mut above) = (start, last.position);
        while above - below.position > 1 {
            let middle = below.position + (above - below.position) / 2;
            match number(middle)? {
                Some(Column(seq_num)) if seq_num <= cursor => below = At { position: middle, seq_num },
                Some(_) => above = middle,
                None => return Err(rusqlite::Error::QueryReturnedNoRows),
            }
        }
        Ok(below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_stores_do_not_meet() {
        assert!(Part(1).id(POSITION_MAX) < Part(2).id(0));
        assert!(Part(1).end() < Part(2).id(1));
        assert_eq!(Part(NUMBER_MAX).id(POSITION_MAX), i64::MAX);
        assert_eq!(NUMBER_MAX, i64::from(i32::MAX));
    }
}

//! What a job of the writer does to the rows, in its savepoint. Called by `write` alone.

use std::sync::Arc;

use livestore_sync_protocol::EventRow;
use rusqlite::{CachedStatement, Connection};

use super::super::chain::Chain;
use super::super::{AppendError, Head, LogError, sql};
use super::StoreError;
use super::place::{self, Column, Entry, Found, Part, Place};
use crate::Batch;
use crate::table_name::Identifier;

/// Registers a table that the reference left; where the store is then, and its backend id.
pub(super) fn take_over(
    connection: &Connection,
    store_id: &str,
    table: Identifier,
    backend_id: String,
    created_at: &str,
    stores: &mut u32,
) -> rusqlite::Result<(Place, String)> {
    // Another one may have been faster.
    if let Found::Here(place, backend_id) = place::find(connection, store_id)? {
        return Ok((place, backend_id));
    }
    place::take_over(connection, store_id, &table, &backend_id, created_at)?;
    *stores += 1;
    Ok((Place::Table(table), backend_id))
}

/// Compares the head and appends; where to. Two statements are one step here, as they are not in D1: the
/// transaction has been the file's only writer since it began.
pub(super) fn append(
    connection: &Connection,
    entry: &Entry,
    expected: Head,
    batches: &[Arc<Batch>],
    stores: &mut u32,
) -> Result<Place, AppendError> {
    let failed = |error: rusqlite::Error| AppendError::Log(LogError::nothing_stored(error));
    let head = place::head(connection, entry).map_err(failed)?;
    if head.seq_num != expected.seq_num {
        return Err(AppendError::HeadMoved);
    }
    let place = match (entry.place(connection).map_err(failed)?, batches.first()) {
        (Some(place), _) => place.clone(),
        (None, _) if *stores >= entry.stores_max => {
            return Err(LogError::nothing_stored(StoreError::TooManyStores(entry.stores_max)).into());
        }
        (None, first) => {
            *stores += 1;
            place::make(connection, entry, first.map_or("", |batch| batch.created_at())).map_err(failed)?
        }
    };
    insert(connection, entry, &place, head, batches)?;
    Ok(place)
}

fn insert(
    connection: &Connection,
    entry: &Entry,
    place: &Place,
    head: Head,
    batches: &[Arc<Batch>],
) -> Result<(), LogError> {
    let failed = |error: rusqlite::Error| LogError::nothing_stored(error);
    let mut into = Rows::of(connection, place).map_err(failed)?;
    let mut chain = Chain::after(head.seq_num);
    for row in batches.iter().flat_map(|batch| batch.rows()) {
        into.insert(&row).map_err(failed)?;
        chain.next(row.seq_num, row.parent_seq_num).map_err(LogError::nothing_stored)?;
    }
    let next = head.after(batches);
    if matches!(place, Place::Table(_)) && next.gaps != head.gaps {
        let gaps = i64::try_from(next.gaps).map_err(LogError::nothing_stored)?;
        let mut update = connection.prepare_cached(sql::UPDATE_GAPS).map_err(failed)?;
        update.execute((gaps, &entry.store_id)).map_err(failed)?;
    }
    Ok(())
}

/// The end of a log.
struct Rows<'a> {
    statement: CachedStatement<'a>,
    /// Where a row is known by its position: the ids that are left.
    ids: Option<std::ops::Range<i64>>,
}

impl<'a> Rows<'a> {
    fn of(connection: &'a Connection, place: &Place) -> rusqlite::Result<Self> {
        match place {
            Place::Table(table) => {
                Ok(Self { statement: connection.prepare_cached(&sql::insert_row(table))?, ids: None })
            }
            Place::Part(number) => {
                let part = Part(*number);
                let first = part.id(part.last(connection)?.position) + 1;
                let statement = connection.prepare_cached(
                    r#"INSERT INTO events ("seqNum", "parentSeqNum", "name", "args", "createdAt", "clientId", "sessionId", id) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"#,
                )?;
                Ok(Self { statement, ids: Some(first..part.end()) })
            }
        }
    }

    fn insert(&mut self, row: &EventRow<'_>) -> rusqlite::Result<()> {
        let numbers = (Column(row.seq_num), Column(row.parent_seq_num));
        let columns = [Some(row.name), row.args, Some(row.created_at), Some(row.client_id), Some(row.session_id)];
        let statement = &mut self.statement;
        statement.raw_bind_parameter(1, numbers.0)?;
        statement.raw_bind_parameter(2, numbers.1)?;
        for (index, column) in (3..).zip(columns) {
            statement.raw_bind_parameter(index, column)?;
        }
        if let Some(ids) = &mut self.ids {
            let id = ids.next().ok_or(rusqlite::Error::IntegralValueOutOfRange(7, ids.end))?;
            statement.raw_bind_parameter(8, id)?;
        }
        statement.raw_execute().map(drop)
    }
}

//! The log of Workers, over either database. Makes the statements of `event_log::sql` and reads their rows; how a
//! statement is run is the business of `d1` and `object`.
//!
//! Each statement is a request over the network in D1, and each value that comes back crosses from JavaScript
//! into wasm. So an append is one statement, and a page is one row.

use std::cell::Cell;
use std::sync::Arc;

use livestore_sync_protocol::{Args, Event, ItemFormat, PulledEvent, SeqNum};
use worker::js_sys::Array;
use worker::{D1Database, Storage};

use super::d1::D1;
use super::database::{Database, Value, number, seq_num, statement, text, unexpected};
use super::database_error::DatabaseError;
use super::object::ObjectDatabase;
use super::opening;
use super::remains::{self, ReferenceRemains};
use crate::Batch;
use crate::event_log::sql;
use crate::event_log::sql::documents::Documents;
use crate::event_log::{AppendError, EventLog, Head, LogError, PAGE_EVENTS_MAX, Page};
use crate::platform::js_text;
use crate::table_name::{self, Identifier};

/// How many events the first page looks at.
const FIRST_LIMIT: u32 = 500;

/// The log of a store on Workers: a table in a D1 database, or in the SQLite of the store's Durable Object.
///
/// What an object's SQLite acknowledges is durable, because the platform holds back every answer of an object
/// until its writes are.
pub struct WorkerLog {
    database: Box<dyn Database>,
    store_id: String,
    table: Identifier,
    backend_id: Arc<str>,
    /// How many events the next page looks at, see [`sql::page::next_limit`].
    limit: Cell<u32>,
}

impl WorkerLog {
    /// Finds the store in a D1 database or registers it. A table that the reference left under the store's name
    /// is taken over if there are `remains` in the store's object, too: many ids ask for one name, and only one
    /// of them has the events. `created_at` is the time as [`iso_timestamp`](crate::iso_timestamp) writes it.
    ///
    /// # Errors
    ///
    /// [`LogError`] when the database fails.
    pub async fn open_d1(
        database: D1Database,
        store_id: &str,
        created_at: &str,
        remains: Option<ReferenceRemains>,
    ) -> Result<Self, LogError> {
        Self::open(Box::new(D1(database)), store_id, created_at, remains).await
    }

    /// Finds the store in the SQLite of its Durable Object or registers it. What the reference left there is taken
    /// over. `created_at` is the time as [`iso_timestamp`](crate::iso_timestamp) writes it.
    ///
    /// # Errors
    ///
    /// [`LogError`] when the database fails, or when the object's class has none: it must be listed in
    /// `new_sqlite_classes` of the wrangler configuration.
    pub async fn open_object(storage: &Storage, store_id: &str, created_at: &str) -> Result<Self, LogError> {
        let database = ObjectDatabase::of(storage)?;
        // An object holds one store, so that any table of that name in it is the store's.
        let remains = ReferenceRemains { backend_id: remains::backend_id(&database, store_id)? };
        Self::open(Box::new(database), store_id, created_at, Some(remains)).await
    }

    /// Whether the object has a log of this store in its SQLite, ours or the reference's.
    ///
    /// # Errors
    ///
    /// [`LogError`] when the database fails. That must not pass for "no": the store would get a second log
    /// elsewhere.
    pub fn exists_in_object(storage: &Storage, store_id: &str) -> Result<bool, LogError> {
        let Some(table) = table_name::candidates(store_id).next() else { return Ok(false) };
        let find = statement("SELECT 1 FROM sqlite_master WHERE name = ?1", [table.as_str().into()]);
        match ObjectDatabase::of(storage)?.rows(find) {
            Ok(rows) => Ok(!rows.is_empty()),
            Err(DatabaseError::NoSqlite(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn open(
        database: Box<dyn Database>,
        store_id: &str,
        created_at: &str,
        remains: Option<ReferenceRemains>,
    ) -> Result<Self, LogError> {
        let (table, backend_id) = opening::open(&*database, store_id, created_at, remains).await?;
        Ok(Self { database, store_id: store_id.to_owned(), table, backend_id, limit: Cell::new(FIRST_LIMIT) })
    }
}

impl EventLog for WorkerLog {
    async fn backend_id(&self) -> Result<Arc<str>, LogError> {
        Ok(Arc::clone(&self.backend_id))
    }

    async fn head(&self) -> Result<Head, LogError> {
        let rows = self.database.query(statement(sql::head(&self.table), [self.store_id.as_str().into()])).await?;
        let row = rows.first().ok_or_else(|| LogError::nothing_stored("the store is not registered any more"))?;
        Ok(Head::new(seq_num(row, 0)?, number(row, 1)?.unsigned_abs()))
    }

    async fn append(&self, expected: Head, batches: Vec<Arc<Batch>>) -> Result<(), AppendError> {
        let mut documents = Documents::default();
        batches.iter().flat_map(|batch| batch.rows()).for_each(|row| documents.push(&row));
        let mut documents = documents.finish();
        let next = expected.after(&batches);
        let adds_gaps = next.gaps != expected.gaps;
        if !adds_gaps && documents.len() == 1 {
            let document = Value::Text(documents.remove(0));
            let append = statement(sql::append_document(&self.table), [document, expected.seq_num.into()]);
            // A document holds at least one event: no row changed means that the head was another.
            return match self.database.execute(append).await? {
                0 => Err(AppendError::HeadMoved),
                _ => Ok(()),
            };
        }
        // More than one statement. The guard comes first and ends the transaction where the head has moved.
        let mut statements = vec![statement(sql::guard(&self.table), [expected.seq_num.into()])];
        let insert = sql::insert_document(&self.table);
        statements.extend(documents.into_iter().map(|document| statement(insert.as_str(), [Value::Text(document)])));
        if adds_gaps {
            statements.push(statement(sql::UPDATE_GAPS, [next.gaps.into(), self.store_id.as_str().into()]));
        }
        Ok(self.database.transaction(statements).await?)
    }

    async fn read(&self, after: SeqNum, format: ItemFormat) -> Result<Page, LogError> {
        let limit = self.limit.get();
        let page = statement(sql::page::rendered(&self.table, format), [after.into(), u64::from(limit).into()]);
        let rows = self.database.query(page).await?;
        let row = rows.first().ok_or_else(|| unexpected("a row"))?;
        let chunks = sql::page::chunks(&text(row, 0)?, &text(row, 1)?).ok_or_else(|| unexpected("a page"))?;
        let (looked, bytes) = (number(row, 2)? as u32, number(row, 3)? as usize);
        let taken = chunks.iter().map(|chunk| chunk.events as u32).sum();
        self.limit.set(sql::page::next_limit(limit, looked, bytes, taken, PAGE_EVENTS_MAX));
        Ok(Page::new(chunks, looked == limit || taken < looked))
    }

    async fn events(&self, after: SeqNum, last: SeqNum, limit: u32) -> Result<Vec<PulledEvent>, LogError> {
        let (mut after, mut events) = (after, Vec::new());
        loop {
            let missing = u64::from(limit) - events.len() as u64;
            let values = [after.into(), last.into(), missing.into()];
            let rows = self.database.query(statement(sql::page::columns(&self.table), values)).await?;
            for row in &rows {
                events.push(pulled_event(row)?);
            }
            let Some(row) = rows.last() else { return Ok(events) };
            if number(row, 7)? as usize == rows.len() {
                return Ok(events);
            }
            after = seq_num(row, 0)?;
        }
    }

    async fn count(&self, after: SeqNum) -> Result<u64, LogError> {
        let rows = self.database.query(statement(sql::count(&self.table), [after.into()])).await?;
        let row = rows.first().ok_or_else(|| unexpected("a row"))?;
        Ok(number(row, 0)?.unsigned_abs())
    }
}

/// An event from the columns of [`sql::page::columns`].
fn pulled_event(row: &Array) -> Result<PulledEvent, LogError> {
    let args = js_text::read(&row.get(3)).map(Args::from_json).transpose().map_err(LogError::nothing_stored)?;
    Ok(PulledEvent {
        event: Event {
            seq_num: seq_num(row, 0)?,
            parent_seq_num: seq_num(row, 1)?,
            name: text(row, 2)?,
            args: args.unwrap_or_default(),
            client_id: text(row, 5)?,
            session_id: text(row, 6)?,
        },
        created_at: Some(text(row, 4)?),
    })
}

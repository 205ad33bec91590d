//! The log of Workers, over either database. Makes the statements of `event_log::sql` and reads their rows; how a
//! statement is run is the business of `d1` and `object`.
//!
//! Each statement is a request over the network in D1, and each value that comes back crosses from JavaScript
//! into wasm. So an append is one statement, and a page is one row.

use std::cell::{Cell, OnceCell};
use std::sync::Arc;

use livestore_sync_protocol::{Args, Event, EventRow, ItemFormat, PulledEvent, SeqNum};
use worker::js_sys::Array;
use worker::{D1Database, State, Storage};

use super::d1::D1;
use super::database::{Database, Statement, Value, number, seq_num, statement, text, unexpected};
use super::database_error::DatabaseError;
use super::object::ObjectDatabase;
use super::opening::{self, Found, Origin, Registration, Sought};
use super::remains::{self, ReferenceRemains};
use crate::Batch;
use crate::event_log::chain::{Break, Chain};
use crate::event_log::sql;
use crate::event_log::sql::documents::{Part, parts};
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
    sought: Sought,
    backend_id: Arc<str>,
    /// Not set before the first event.
    table: OnceCell<Identifier>,
    /// Whether the registry was looked at just now, and had nothing.
    looked: Cell<bool>,
    /// How many events the next page looks at, see [`sql::page::next_limit`].
    limit: Cell<u32>,
}

impl WorkerLog {
    /// Finds the store in a D1 database. It is registered with its first event. A table that the reference left under
    /// the store's name is taken over if there are `remains` in the store's object, too: many ids ask for one name, and
    /// only one of them has the events. `opened_at` is the time as [`iso_timestamp`](crate::iso_timestamp) writes it.
    ///
    /// # Errors
    ///
    /// [`LogError`] when the database fails.
    pub async fn open_d1(
        database: D1Database,
        store_id: &str,
        opened_at: &str,
        remains: Option<ReferenceRemains>,
    ) -> Result<Self, LogError> {
        let (store_id, opened_at) = (store_id.to_owned(), opened_at.to_owned());
        Self::open(Box::new(D1(database)), Sought { store_id, opened_at, origin: Origin::Database, remains }).await
    }

    /// Finds the store in the SQLite of its Durable Object. It is registered with its first event. What the reference
    /// left there is taken over. `opened_at` is the time as [`iso_timestamp`](crate::iso_timestamp) writes it.
    ///
    /// # Errors
    ///
    /// [`LogError`] when the database fails, or when the object's class has none: it must be listed in
    /// `new_sqlite_classes` of the wrangler configuration.
    pub async fn open_object(object: &State, store_id: &str, opened_at: &str) -> Result<Self, LogError> {
        let database = ObjectDatabase::of(&object.storage())?;
        // An object holds one store, so that any table of that name in it is the store's.
        let remains = Some(ReferenceRemains { backend_id: remains::backend_id(&database, store_id)? });
        let (store_id, opened_at) = (store_id.to_owned(), opened_at.to_owned());
        let origin = Origin::Object(object.id().to_string());
        Self::open(Box::new(database), Sought { store_id, opened_at, origin, remains }).await
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

    async fn open(database: Box<dyn Database>, sought: Sought) -> Result<Self, LogError> {
        let (backend_id, table) = match opening::find(&*database, &sought).await? {
            Found::Registered(Registration { table, backend_id }) => (backend_id, table.into()),
            Found::Empty(backend_id) => (backend_id, OnceCell::new()),
        };
        let (looked, limit) = (Cell::new(true), Cell::new(FIRST_LIMIT));
        Ok(Self { database, sought, backend_id, table, looked, limit })
    }

    /// Looks for the table that a store without events did not have. Another object may have begun it, or an append
    /// whose outcome is not known.
    async fn look(&self) -> Result<Option<&Identifier>, LogError> {
        if let Some(table) = self.table.get() {
            return Ok(Some(table));
        }
        if self.looked.replace(false) {
            return Ok(None);
        }
        match opening::find(&*self.database, &self.sought).await? {
            Found::Empty(_) => Ok(None),
            Found::Registered(Registration { backend_id, .. }) if backend_id != self.backend_id => {
                Err(LogError::nothing_stored("the store was begun with another backend id"))
            }
            Found::Registered(Registration { table, .. }) => Ok(Some(self.table.get_or_init(|| table))),
        }
    }

    /// Fails, unless the break is a hole that the registry knows: the reference may have left some in a table when it
    /// was taken over. Events that got lost since are too many.
    async fn accept(&self, table: &Identifier, broken: Break) -> Result<(), LogError> {
        if broken.may_be_a_hole() {
            let agree = statement(sql::gaps_agree(table), [self.sought.store_id.as_str().into()]);
            let rows = self.database.query(agree).await?;
            if rows.first().is_some_and(|row| number(row, 0).is_ok_and(|agree| agree == 1)) {
                return Ok(());
            }
        }
        Err(LogError::nothing_stored(broken))
    }

    /// The statements of a commit, of which the first fails where the head is not the expected one.
    fn transaction(&self, table: &Identifier, expected: Head, next: Head, parts: Vec<Part<'_>>) -> Vec<Statement> {
        let mut statements = vec![statement(sql::guard(table), [expected.seq_num.into()])];
        let (document, row) = (sql::insert_document(table), sql::insert_row(table));
        statements.extend(parts.into_iter().map(|part| match part {
            Part::Document(text) => statement(document.as_str(), [Value::Text(text)]),
            Part::Row(columns) => statement(row.as_str(), values(&columns)),
        }));
        if next.gaps != expected.gaps {
            let values = [next.gaps.into(), self.sought.store_id.as_str().into()];
            statements.push(statement(sql::UPDATE_GAPS, values));
        }
        statements
    }
}

/// The columns of an event.
fn values(row: &EventRow<'_>) -> [Value; 7] {
    [
        row.seq_num.into(),
        row.parent_seq_num.into(),
        row.name.into(),
        row.args.into(),
        row.created_at.into(),
        row.client_id.into(),
        row.session_id.into(),
    ]
}

impl EventLog for WorkerLog {
    async fn backend_id(&self) -> Result<Arc<str>, LogError> {
        Ok(Arc::clone(&self.backend_id))
    }

    async fn head(&self) -> Result<Head, LogError> {
        let Some(table) = self.look().await? else { return Ok(Head::EMPTY) };
        let rows = self.database.query(statement(sql::head(table), [self.sought.store_id.as_str().into()])).await?;
        let row = rows.first().ok_or_else(|| LogError::nothing_stored("the store is not registered any more"))?;
        Ok(Head::new(seq_num(row, 0)?, number(row, 1)?.unsigned_abs()))
    }

    async fn append(&self, expected: Head, batches: Vec<Arc<Batch>>) -> Result<(), AppendError> {
        let Some(first) = batches.first() else { return Ok(()) };
        let mut parts = parts(batches.iter().flat_map(|batch| batch.rows()));
        let next = expected.after(&batches);
        let Some(table) = self.table.get() else {
            if expected != Head::EMPTY {
                return Err(AppendError::HeadMoved);
            }
            let append = |table: &Identifier| self.transaction(table, expected, next, parts);
            let begun = opening::begin(&*self.database, &self.sought, &self.backend_id, first.created_at(), append);
            let table = begun.await?;
            self.table.get_or_init(|| table);
            return Ok(());
        };
        if next.gaps == expected.gaps && parts.len() == 1 {
            match parts.remove(0) {
                Part::Document(document) => {
                    let values = [Value::Text(document), expected.seq_num.into()];
                    // A document holds at least one event: no row changed means that the head was another.
                    return match self.database.execute(statement(sql::append_document(table), values)).await? {
                        0 => Err(AppendError::HeadMoved),
                        _ => Ok(()),
                    };
                }
                row @ Part::Row(_) => parts.push(row),
            }
        }
        Ok(self.database.transaction(self.transaction(table, expected, next, parts)).await?)
    }

    async fn read(&self, after: SeqNum, format: ItemFormat) -> Result<Page, LogError> {
        let Some(table) = self.table.get() else { return Ok(Page::new(Vec::new(), false)) };
        let limit = self.limit.get();
        let page = statement(sql::page::rendered(table, format), [after.into(), u64::from(limit).into()]);
        let rows = self.database.query(page).await?;
        let row = rows.first().ok_or_else(|| unexpected("a row"))?;
        let rendered = sql::page::chunks(after, &text(row, 0)?, &text(row, 1)?).ok_or_else(|| unexpected("a page"))?;
        if let Some(broken) = rendered.broken {
            self.accept(table, broken).await?;
        }
        let chunks = rendered.chunks;
        let (looked, bytes) = (number(row, 2)? as u32, number(row, 3)? as usize);
        let taken = chunks.iter().map(|chunk| chunk.events as u32).sum();
        self.limit.set(sql::page::next_limit(limit, looked, bytes, taken, PAGE_EVENTS_MAX));
        Ok(Page::new(chunks, looked == limit || taken < looked))
    }

    async fn events(&self, after: SeqNum, last: SeqNum, limit: u32) -> Result<Vec<PulledEvent>, LogError> {
        let (mut after, mut chain, mut events) = (after, Chain::above(after), Vec::new());
        let Some(table) = self.table.get() else { return Ok(events) };
        loop {
            let missing = u64::from(limit) - events.len() as u64;
            let values = [after.into(), last.into(), missing.into()];
            let rows = self.database.query(statement(sql::page::columns(table), values)).await?;
            for row in &rows {
                let pulled = pulled_event(row)?;
                if let Err(broken) = chain.next(pulled.event.seq_num, pulled.event.parent_seq_num) {
                    self.accept(table, broken).await?;
                }
                events.push(pulled);
            }
            let Some(row) = rows.last() else { return Ok(events) };
            if number(row, 7)? as usize == rows.len() {
                return Ok(events);
            }
            after = seq_num(row, 0)?;
        }
    }

    async fn count(&self, after: SeqNum) -> Result<u64, LogError> {
        let Some(table) = self.table.get() else { return Ok(0) };
        let rows = self.database.query(statement(sql::count(table), [after.into()])).await?;
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

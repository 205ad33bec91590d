//! Event logs of Workers, in D1 and in a Durable Object's own SQLite: the same statements, run in two
//! ways.

mod d1;
mod object;

use std::cell::Cell;
use std::pin::Pin;
use std::sync::Arc;

use livestore_sync_protocol::{Args, Event, ItemFormat, PulledEvent, SeqNum};
use worker::js_sys::Array;
use worker::wasm_bindgen::JsValue;

pub use self::d1::D1Log;
pub use self::object::{Left, ObjectLog};
use super::sql::{self, Documents, HEAD_MOVED};
use super::{AppendError, EventLog, LogError, PAGE_EVENTS_MAX, Page, Tip};
use crate::platform::js_text;
use crate::table_name::{self, Identifier};
use crate::{Batch, admission, new_backend_id};

/// Makes the registry on demand, so that a deployment works that forgot its migrations.
const REGISTRY: &str = include_str!("../../migrations/0001_stores.sql");

/// How many events the first page looks at.
const FIRST_LIMIT: u32 = 500;

/// Either log.
pub enum WorkerLog {
    /// In D1.
    D1(D1Log),
    /// In the object's own SQLite.
    Object(ObjectLog),
}

/// A statement and what it binds.
struct Statement {
    sql: String,
    values: Vec<Value>,
}

enum Value {
    Text(String),
    /// Numbers of events are safe integers, which JavaScript's numbers hold exactly; the `worker` crate's
    /// own integer for D1 has 32 bits.
    Number(f64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<SeqNum> for Value {
    fn from(number: SeqNum) -> Self {
        Self::Number(number.get() as f64)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number as f64)
    }
}

impl From<Value> for JsValue {
    fn from(value: Value) -> Self {
        match value {
            Value::Text(text) => text.into(),
            Value::Number(number) => number.into(),
        }
    }
}

fn statement<const N: usize>(sql: impl Into<String>, values: [Value; N]) -> Statement {
    Statement { sql: sql.into(), values: values.into() }
}

/// Runs statements. Futures in boxes, so that there is one log over both databases and not two: code
/// is what a Worker pays for at each start.
trait Database {
    /// The rows that a statement yields.
    fn query(&self, statement: Statement) -> Answer<'_, Vec<Array>>;

    /// Runs one statement; how many rows it changed.
    fn execute(&self, statement: Statement) -> Answer<'_, u64>;

    /// Runs all statements or none.
    fn transaction(&self, statements: Vec<Statement>) -> Answer<'_, ()>;
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, LogError>> + 'a>>;

/// A log over a database.
struct SqlLog {
    database: Box<dyn Database>,
    store_id: String,
    table: Identifier,
    backend_id: Arc<str>,
    limit: Cell<u32>,
}

fn unexpected(what: &str) -> LogError {
    LogError::nothing_stored(format!("the database answered with something else than {what}"))
}

fn number(row: &Array, column: u32) -> Result<i64, LogError> {
    row.get(column).as_f64().map(|number| number as i64).ok_or_else(|| unexpected("a number"))
}

fn seq_num(row: &Array, column: u32) -> Result<SeqNum, LogError> {
    SeqNum::new(number(row, column)?).map_err(LogError::nothing_stored)
}

fn text(row: &Array, column: u32) -> Result<String, LogError> {
    js_text::read(&row.get(column)).ok_or_else(|| unexpected("a text"))
}

impl SqlLog {
    /// Finds the store or registers it.
    async fn open(
        database: Box<dyn Database>,
        store_id: &str,
        created_at: &str,
        left: Option<Left>,
    ) -> Result<Self, LogError> {
        let (table, backend_id) = match find(&*database, store_id).await? {
            Some(found) => found,
            None => register(&*database, store_id, created_at, left).await?,
        };
        let limit = Cell::new(FIRST_LIMIT);
        Ok(Self { database, store_id: store_id.to_owned(), table, backend_id, limit })
    }

    async fn tip(&self) -> Result<Tip, LogError> {
        let rows = self.database.query(statement(sql::tip(&self.table), [self.store_id.as_str().into()])).await?;
        let row = rows.first().ok_or_else(|| LogError::nothing_stored("the store is not registered any more"))?;
        Ok(Tip { head: seq_num(row, 0)?, gaps: number(row, 1)?.unsigned_abs() })
    }

    async fn append(&self, expected: Tip, batches: Vec<Arc<Batch>>) -> Result<(), AppendError> {
        let mut documents = Documents::default();
        batches.iter().flat_map(|batch| batch.rows()).for_each(|row| documents.push(&row));
        let mut documents = documents.finish();
        let gaps: u64 = batches.iter().map(|batch| batch.gaps()).sum();
        if gaps == 0 && documents.len() == 1 {
            let document = Value::Text(documents.remove(0));
            let append = statement(sql::append(&self.table), [document, expected.head.into()]);
            return match self.database.execute(append).await? {
                0 => Err(AppendError::HeadMoved),
                _ => Ok(()),
            };
        }
        let mut statements = vec![statement(sql::guard(&self.table), [expected.head.into()])];
        let insert = sql::insert(&self.table);
        statements.extend(documents.into_iter().map(|document| statement(insert.as_str(), [Value::Text(document)])));
        if gaps > 0 {
            let values = [(expected.gaps + gaps).into(), self.store_id.as_str().into()];
            statements.push(statement(sql::UPDATE_GAPS, values));
        }
        self.database.transaction(statements).await.map_err(|error| match error.to_string().contains(HEAD_MOVED) {
            true => AppendError::HeadMoved,
            false => error.into(),
        })
    }

    async fn read(&self, after: SeqNum, format: ItemFormat) -> Result<Page, LogError> {
        let limit = self.limit.get();
        let page = statement(sql::page(&self.table, format), [after.into(), u64::from(limit).into()]);
        let rows = self.database.query(page).await?;
        let row = rows.first().ok_or_else(|| unexpected("a row"))?;
        let chunks = sql::chunks(&text(row, 0)?, &text(row, 1)?).ok_or_else(|| unexpected("a page"))?;
        let (looked, bytes) = (number(row, 2)? as u32, number(row, 3)? as usize);
        let taken = chunks.iter().map(|chunk| chunk.events as u32).sum();
        self.limit.set(sql::next_limit(limit, looked, bytes, taken, PAGE_EVENTS_MAX));
        Ok(Page { chunks, more: looked == limit || taken < looked })
    }

    async fn events(&self, after: SeqNum, last: SeqNum, limit: u32) -> Result<Vec<PulledEvent>, LogError> {
        let (mut after, mut events) = (after, Vec::new());
        loop {
            let left = u64::from(limit) - events.len() as u64;
            let values = [after.into(), last.into(), left.into()];
            let rows = self.database.query(statement(sql::events(&self.table), values)).await?;
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

type Found = (Identifier, Arc<str>);

async fn find(database: &dyn Database, store_id: &str) -> Result<Option<Found>, LogError> {
    let rows = match database.query(statement(sql::FIND_STORE, [store_id.into()])).await {
        Ok(rows) => rows,
        Err(error) if error.to_string().contains("no such table") => {
            database.execute(statement(registry(), [])).await?;
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let Some(row) = rows.first() else { return Ok(None) };
    let table = Identifier::new(text(row, 0)?).map_err(LogError::nothing_stored)?;
    Ok(Some((table, text(row, 1)?.into())))
}

/// The statement of the migration without its comments.
fn registry() -> String {
    let lines = REGISTRY.lines().filter(|line| !line.starts_with("--"));
    lines.collect::<Vec<_>>().join(" ").trim().trim_end_matches(';').to_owned()
}

async fn register(
    database: &dyn Database,
    store_id: &str,
    created_at: &str,
    left: Option<Left>,
) -> Result<Found, LogError> {
    let takes_over = left.is_some();
    let backend_id = left.and_then(|left| left.backend_id).unwrap_or_else(new_backend_id);
    for table in table_name::candidates(store_id) {
        let taken = database.query(statement(sql::FIND_TABLE, [table.as_str().into()])).await?;
        if !taken.is_empty() {
            continue;
        }
        database.execute(statement(sql::create_table(&table), [])).await?;
        // Of the reference, for another store whose turn is yet to come.
        if !takes_over
            && !table_name::is_certain(store_id)
            && !database.query(statement(sql::first(&table), [])).await?.is_empty()
        {
            continue;
        }
        let values = [store_id.into(), table.as_str().into(), backend_id.as_str().into(), created_at.into()];
        database.execute(statement(sql::register(&table), values)).await?;
        // Somebody else may have registered the store, or another with this name: then the next one.
        if let Some(found) = find(database, store_id).await? {
            return Ok(found);
        }
    }
    Err(LogError::nothing_stored("there is always another candidate"))
}

/// Delegates a log to what is in it.
macro_rules! delegate {
    ($type:ty, $self:ident => $($log:pat => $to:expr),+) => {
        impl EventLog for $type {
            async fn backend_id(&$self) -> Result<Arc<str>, LogError> {
                match $self { $($log => Ok(Arc::clone(&$to.backend_id)),)+ }
            }

            async fn tip(&$self) -> Result<Tip, LogError> {
                match $self { $($log => $to.tip().await,)+ }
            }

            async fn append(&$self, expected: Tip, batches: Vec<Arc<Batch>>) -> Result<(), AppendError> {
                match $self { $($log => $to.append(expected, batches).await,)+ }
            }

            async fn read(&$self, after: SeqNum, format: ItemFormat) -> Result<Page, LogError> {
                match $self { $($log => $to.read(after, format).await,)+ }
            }

            async fn events(&$self, after: SeqNum, last: SeqNum, limit: u32) -> Result<Vec<PulledEvent>, LogError> {
                match $self { $($log => $to.events(after, last, limit).await,)+ }
            }

            async fn count(&$self, after: SeqNum) -> Result<u64, LogError> {
                match $self { $($log => $to.count(after).await,)+ }
            }
        }
    };
}

delegate!(D1Log, self => D1Log(log) => log);
delegate!(ObjectLog, self => ObjectLog(log) => log);
delegate!(WorkerLog, self => Self::D1(D1Log(log)) => log, Self::Object(ObjectLog(log)) => log);

//! What a log asks of either database: statements with their values, and rows back. `d1` and `object` run them;
//! `sql_log` and `opening` make them.

use std::pin::Pin;

use livestore_sync_protocol::SeqNum;
use worker::js_sys::Array;
use worker::wasm_bindgen::JsValue;

use super::database_error::DatabaseError;
use crate::event_log::LogError;
use crate::platform::js_text;

/// Runs statements. Futures in boxes and a trait object instead of a type parameter, so that the log exists once
/// in the bundle and not once per database: the platform loads all of it at each start.
pub(super) trait Database {
    /// The rows that a statement yields.
    fn query(&self, statement: Statement) -> Answer<'_, Vec<Array>>;

    /// Runs one statement; how many rows it changed.
    fn execute(&self, statement: Statement) -> Answer<'_, u64>;

    /// Runs all statements or none.
    fn transaction(&self, statements: Vec<Statement>) -> Answer<'_, ()>;
}

pub(super) type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, DatabaseError>> + 'a>>;

/// A statement and what it binds.
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

pub(super) fn statement<const N: usize>(sql: impl Into<String>, values: [Value; N]) -> Statement {
    Statement { sql: sql.into(), values: values.into() }
}

/// What a statement binds.
pub(super) enum Value {
    Null,
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

impl From<Option<&str>> for Value {
    fn from(text: Option<&str>) -> Self {
        text.map_or(Self::Null, Self::from)
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
            Value::Null => Self::NULL,
            Value::Text(text) => text.into(),
            Value::Number(number) => number.into(),
        }
    }
}

/// An answer that the statement cannot have. Only reads look at what a row holds.
pub(super) fn unexpected(what: &str) -> LogError {
    LogError::nothing_stored(format!("the database answered with something else than {what}"))
}

pub(super) fn number(row: &Array, column: u32) -> Result<i64, LogError> {
    row.get(column).as_f64().map(|number| number as i64).ok_or_else(|| unexpected("a number"))
}

pub(super) fn seq_num(row: &Array, column: u32) -> Result<SeqNum, LogError> {
    SeqNum::new(number(row, column)?).map_err(LogError::nothing_stored)
}

/// `None` for what is no text, such as NULL.
pub(super) fn optional_text(row: &Array, column: u32) -> Option<String> {
    js_text::read(&row.get(column))
}

pub(super) fn text(row: &Array, column: u32) -> Result<String, LogError> {
    optional_text(row, column).ok_or_else(|| unexpected("a text"))
}

//! Statements in the SQLite of a Durable Object, called through JavaScript itself: the `worker` crate has no
//! `transactionSync`.

use std::future::ready;

use worker::Storage;
use worker::js_sys::{Array, Function, Reflect};
use worker::wasm_bindgen::closure::Closure;
use worker::wasm_bindgen::{JsCast, JsValue};

use super::database::{Answer, Database, Statement, statement};
use super::database_error::{DatabaseError, of_object};

pub(super) struct ObjectDatabase {
    storage: JsValue,
    sql: JsValue,
}

fn method(object: &JsValue, name: &str) -> Result<Function, JsValue> {
    Reflect::get(object, &JsValue::from(name))?.dyn_into()
}

/// `sql.exec(…).raw().toArray()`
fn execute(sql: &JsValue, statement: Statement) -> Result<Vec<Array>, JsValue> {
    let arguments = Array::of1(&JsValue::from(statement.sql));
    for value in statement.values {
        arguments.push(&value.into());
    }
    let cursor = method(sql, "exec")?.apply(sql, &arguments)?;
    let raw = method(&cursor, "raw")?.call0(&cursor)?;
    let rows: Array = method(&raw, "toArray")?.call0(&raw)?.dyn_into()?;
    Ok(rows.iter().map(JsCast::unchecked_into).collect())
}

fn message(error: &JsValue) -> String {
    let message = Reflect::get(error, &JsValue::from("message")).ok().and_then(|message| message.as_string());
    message.unwrap_or_else(|| format!("{error:?}"))
}

fn failed(error: JsValue) -> DatabaseError {
    of_object(message(&error))
}

impl ObjectDatabase {
    /// The object's SQLite. Where its class has none, every statement is [`DatabaseError::NoSqlite`].
    pub(super) fn of(storage: &Storage) -> Result<Self, DatabaseError> {
        let storage: &JsValue = storage.as_raw().as_ref();
        let sql = Reflect::get(storage, &JsValue::from("sql")).map_err(failed)?;
        Ok(Self { storage: storage.clone(), sql })
    }

    /// The rows that a statement yields, at once.
    pub(super) fn rows(&self, statement: Statement) -> Result<Vec<Array>, DatabaseError> {
        execute(&self.sql, statement).map_err(failed)
    }

    fn changed(&self, change: Statement) -> Result<u64, DatabaseError> {
        self.rows(change)?;
        // It is the change above that SQLite counts here: there is no await between the two. What is wrong with
        // the answer does not undo it.
        let lost = |text| DatabaseError::Lost(text);
        let rows = execute(&self.sql, statement("SELECT changes()", [])).map_err(|error| lost(message(&error)))?;
        let changes = rows.first().and_then(|row| row.get(0).as_f64());
        changes.map(|changes| changes as u64).ok_or_else(|| lost("SQLite does not say what changed".into()))
    }

    fn all_or_none(&self, statements: Vec<Statement>) -> Result<(), JsValue> {
        let sql = self.sql.clone();
        // The platform makes the writes of one turn one commit, but an error in the middle undoes none of them:
        // that takes a transaction, and `BEGIN` is forbidden.
        let all = Closure::once_into_js(move || -> Result<(), JsValue> {
            statements.into_iter().try_for_each(|statement| execute(&sql, statement).map(drop))
        });
        method(&self.storage, "transactionSync")?.call1(&self.storage, &all).map(drop)
    }
}

/// Its SQLite answers at once.
impl Database for ObjectDatabase {
    fn query(&self, statement: Statement) -> Answer<'_, Vec<Array>> {
        Box::pin(ready(self.rows(statement)))
    }

    fn execute(&self, statement: Statement) -> Answer<'_, u64> {
        Box::pin(ready(self.changed(statement)))
    }

    fn transaction(&self, statements: Vec<Statement>) -> Answer<'_, ()> {
        Box::pin(ready(self.all_or_none(statements).map_err(failed)))
    }
}

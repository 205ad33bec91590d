use std::future::ready;

use worker::Storage;
use worker::js_sys::{Array, Function, Reflect};
use worker::wasm_bindgen::closure::Closure;
use worker::wasm_bindgen::{JsCast, JsValue};

use super::super::LogError;
use super::{Answer, Database, SqlLog, Statement};
use crate::table_name;

/// A log in the SQLite of a Durable Object. What it acknowledges is durable, because the platform holds
/// back every answer of an object until its writes are.
pub struct ObjectLog(pub(super) SqlLog);

impl ObjectLog {
    /// Finds the store or registers it. What the reference left is taken over.
    ///
    /// # Errors
    ///
    /// [`LogError`] when the database fails, or when the object's class has none: it must be listed in
    /// `new_sqlite_classes` of the wrangler configuration.
    pub async fn open(storage: &Storage, store_id: &str, created_at: &str) -> Result<Self, LogError> {
        let sql = sql(storage).ok_or_else(|| {
            LogError::nothing_stored(
                "the object has no SQLite: list its class in new_sqlite_classes, or bind a D1 database",
            )
        })?;
        let database = Box::new(ObjectDatabase { storage: AsRef::<JsValue>::as_ref(storage.as_raw()).clone(), sql });
        // Whatever is in here, is this store's.
        let left = Left { backend_id: backend_id(storage, store_id) };
        SqlLog::open(database, store_id, created_at, Some(left)).await.map(Self)
    }

    /// Whether the object has a log of this store in its SQLite, ours or the reference's.
    #[must_use]
    pub fn exists(storage: &Storage, store_id: &str) -> bool {
        let Some(table) = table_name::candidates(store_id).next() else { return false };
        let find = super::statement("SELECT 1 FROM sqlite_master WHERE name = ?1", [table.as_str().into()]);
        sql(storage).and_then(|sql| execute(&sql, find).ok()).is_some_and(|rows| !rows.is_empty())
    }
}

/// What the reference has left in the object of a store that it served.
#[derive(Debug)]
pub struct Left {
    /// By which 0.4.0 knew the store; 0.3.1 had none.
    pub(super) backend_id: Option<String>,
}

impl Left {
    /// `None` when the object never served the store for the reference.
    ///
    /// # Errors
    ///
    /// [`LogError`] when the object's storage fails.
    pub async fn find(storage: &Storage, store_id: &str) -> Result<Option<Self>, LogError> {
        if let Some(backend_id) = backend_id(storage, store_id) {
            return Ok(Some(Self { backend_id: Some(backend_id) }));
        }
        let head: Option<f64> = storage.get(V03_HEAD_KEY).await.map_err(LogError::nothing_stored)?;
        Ok(head.map(|_| Self { backend_id: None }))
    }
}

/// Where the reference 0.3.1 keeps the head of a store that anything was pushed to.
const V03_HEAD_KEY: &str = "currentHead";

fn backend_id(storage: &Storage, store_id: &str) -> Option<String> {
    let statement = super::statement("SELECT backendId FROM context_7 WHERE storeId = ?1", [store_id.into()]);
    // Most objects have no such table, and some no SQLite.
    let rows = execute(&sql(storage)?, statement).ok()?;
    rows.first()?.get(0).as_string()
}

/// `storage.sql`, which throws for classes without SQLite.
fn sql(storage: &Storage) -> Option<JsValue> {
    let sql = Reflect::get(storage.as_raw().as_ref(), &JsValue::from("sql")).ok()?;
    sql.is_object().then_some(sql)
}

struct ObjectDatabase {
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

fn failed(error: JsValue) -> LogError {
    let message = Reflect::get(&error, &JsValue::from("message")).ok().and_then(|message| message.as_string());
    LogError::nothing_stored(message.unwrap_or_else(|| format!("{error:?}")))
}

impl ObjectDatabase {
    fn changed(&self, statement: Statement) -> Result<u64, LogError> {
        execute(&self.sql, statement).map_err(failed)?;
        // Nothing can come between the two: there is no await.
        let rows = execute(&self.sql, super::statement("SELECT changes()", [])).map_err(failed)?;
        let row = rows.first().ok_or_else(|| super::unexpected("a row"))?;
        super::number(row, 0).map(i64::unsigned_abs)
    }

    fn all_or_none(&self, statements: Vec<Statement>) -> Result<(), JsValue> {
        let sql = self.sql.clone();
        // An error between statements does not undo those before it by itself.
        let all = Closure::once_into_js(move || -> Result<(), JsValue> {
            statements.into_iter().try_for_each(|statement| execute(&sql, statement).map(drop))
        });
        method(&self.storage, "transactionSync")?.call1(&self.storage, &all).map(drop)
    }
}

/// Its SQLite answers at once.
impl Database for ObjectDatabase {
    fn query(&self, statement: Statement) -> Answer<'_, Vec<Array>> {
        Box::pin(ready(execute(&self.sql, statement).map_err(failed)))
    }

    fn execute(&self, statement: Statement) -> Answer<'_, u64> {
        Box::pin(ready(self.changed(statement)))
    }

    fn transaction(&self, statements: Vec<Statement>) -> Answer<'_, ()> {
        Box::pin(ready(self.all_or_none(statements).map_err(failed)))
    }
}

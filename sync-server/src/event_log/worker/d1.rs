use worker::js_sys::Array;
use worker::wasm_bindgen::{JsCast, JsValue};
use worker::{D1Database, D1DatabaseSession, D1PreparedStatement, D1SessionConstraint};

use super::super::LogError;
use super::{Answer, Database, Left, SqlLog, Statement};

/// A log in a table of a D1 database.
pub struct D1Log(pub(super) SqlLog);

impl D1Log {
    /// Finds the store in the database or registers it. A table that the reference left under the
    /// store's name is taken over if it has `left` something in the store's object, too: many ids ask for
    /// one name, and only one of them has the events.
    ///
    /// # Errors
    ///
    /// [`LogError`] when the database fails.
    pub async fn open(
        database: D1Database,
        store_id: &str,
        created_at: &str,
        left: Option<Left>,
    ) -> Result<Self, LogError> {
        SqlLog::open(Box::new(D1(database)), store_id, created_at, left).await.map(Self)
    }
}

struct D1(D1Database);

/// D1 says so where the database refused, and with that nothing of the statement or batch is stored.
/// Whatever else went wrong, went wrong on the way.
fn failed(error: worker::Error) -> LogError {
    let text = error.to_string();
    if text.contains("SQLITE_") || text.contains("no such table") {
        LogError::nothing_stored(text)
    } else {
        LogError::unknown_outcome(text)
    }
}

impl D1 {
    /// Replicas may be behind: everything asks the primary.
    fn session(&self) -> Result<D1DatabaseSession, LogError> {
        self.0.with_session_constraint(D1SessionConstraint::FirstPrimary).map_err(LogError::nothing_stored)
    }
}

fn prepare(session: &D1DatabaseSession, statement: Statement) -> Result<D1PreparedStatement, LogError> {
    let values: Vec<JsValue> = statement.values.into_iter().map(JsValue::from).collect();
    session.prepare(statement.sql).bind(&values).map_err(LogError::nothing_stored)
}

impl Database for D1 {
    fn query(&self, statement: Statement) -> Answer<'_, Vec<Array>> {
        Box::pin(async move {
            let rows = prepare(&self.session()?, statement)?.raw_js_value().await.map_err(failed)?;
            Ok(rows.into_iter().map(JsCast::unchecked_into).collect())
        })
    }

    fn execute(&self, statement: Statement) -> Answer<'_, u64> {
        Box::pin(async move {
            let result = prepare(&self.session()?, statement)?.run().await.map_err(failed)?;
            if let Some(error) = result.error() {
                return Err(LogError::unknown_outcome(error));
            }
            let meta = result.meta().map_err(LogError::unknown_outcome)?;
            let changes = meta.and_then(|meta| meta.changes).map(|changes| changes as u64);
            changes.ok_or_else(|| LogError::unknown_outcome("D1 does not say what changed"))
        })
    }

    fn transaction(&self, statements: Vec<Statement>) -> Answer<'_, ()> {
        Box::pin(async move {
            let session = self.session()?;
            let statements = statements.into_iter().map(|statement| prepare(&session, statement));
            let statements = statements.collect::<Result<_, _>>()?;
            session.batch(statements).await.map(drop).map_err(failed)
        })
    }
}

//! Statements in a D1 database, each a request over the network.

use worker::js_sys::Array;
use worker::wasm_bindgen::{JsCast, JsValue};
use worker::{D1Database, D1DatabaseSession, D1PreparedStatement, D1SessionConstraint};

use super::database::{Answer, Database, Statement};
use super::database_error::{DatabaseError, of_d1};

pub(super) struct D1(pub(super) D1Database);

fn failed(error: worker::Error) -> DatabaseError {
    of_d1(error.to_string())
}

/// Failed before anything was sent.
fn not_sent(error: worker::Error) -> DatabaseError {
    DatabaseError::Refused(error.to_string())
}

impl D1 {
    /// Everything asks the primary: a replica may be behind, and what is read there would be an old head.
    fn session(&self) -> Result<D1DatabaseSession, DatabaseError> {
        self.0.with_session_constraint(D1SessionConstraint::FirstPrimary).map_err(not_sent)
    }
}

fn prepare(session: &D1DatabaseSession, statement: Statement) -> Result<D1PreparedStatement, DatabaseError> {
    let values: Vec<JsValue> = statement.values.into_iter().map(JsValue::from).collect();
    session.prepare(statement.sql).bind(&values).map_err(not_sent)
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
            // The statement ran. If its result cannot be read, what it did is not known.
            if let Some(error) = result.error() {
                return Err(DatabaseError::Lost(error));
            }
            let meta = result.meta().map_err(|error| DatabaseError::Lost(error.to_string()))?;
            let changes = meta.and_then(|meta| meta.changes).map(|changes| changes as u64);
            changes.ok_or_else(|| DatabaseError::Lost("D1 does not say what changed".into()))
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

//! What a materialiser may do, and whose changes are remembered. Installed when a file is opened, used by
//! `materialise`.
//!
//! A materialiser is the app's code on the connection that the store itself works with. If it could end the
//! transaction, change the schema or write to the store's tables, an event and what it does would no longer enter the
//! file together. SQLite asks its *authorizer* about each statement when it is prepared, and gets a no for those while
//! the gate is closed. The other way round, SQLite's triggers have to know which pending event they write changes down
//! for: they call a function (`livestore_pending_id`) that this file answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};

use rusqlite::functions::FunctionFlags;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::{Connection, Result};

/// No pending event: what is applied now is confirmed, and never taken back.
const CONFIRMED: i64 = i64::MIN;

/// Shared with the connection's callbacks, all on one thread.
#[derive(Clone)]
pub(crate) struct Gate {
    is_closed: Arc<AtomicBool>,
    pending: Arc<AtomicI64>,
}

impl Gate {
    pub(crate) fn install(connection: &Connection) -> Result<Self> {
        let gate = Self { is_closed: Arc::default(), pending: Arc::new(AtomicI64::new(CONFIRMED)) };
        let pending = Arc::clone(&gate.pending);
        connection.create_scalar_function("livestore_pending_id", 0, FunctionFlags::SQLITE_UTF8, move |_| {
            Ok(Some(pending.load(Relaxed)).filter(|id| *id != CONFIRMED))
        })?;
        let is_closed = Arc::clone(&gate.is_closed);
        connection.authorizer(Some(move |context: AuthContext<'_>| {
            if !is_closed.load(Relaxed) || is_allowed(&context) { Authorization::Allow } else { Authorization::Deny }
        }))?;
        Ok(gate)
    }

    /// Runs a materialiser: only rows of the app's tables may change, on account of this pending event.
    pub(crate) fn run<T>(&self, pending: Option<i64>, apply: impl FnOnce() -> T) -> T {
        self.pending.store(pending.unwrap_or(CONFIRMED), Relaxed);
        self.is_closed.store(true, Relaxed);
        let result = apply();
        self.is_closed.store(false, Relaxed);
        self.pending.store(CONFIRMED, Relaxed);
        result
    }
}

fn is_allowed(context: &AuthContext<'_>) -> bool {
    match context.action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Function { .. } | AuthAction::Recursive => true,
        AuthAction::Insert { table_name }
        | AuthAction::Update { table_name, .. }
        | AuthAction::Delete { table_name } => {
            // Our own triggers write to our own tables.
            !is_ours(table_name) && !is_schema(table_name) || context.accessor.is_some_and(is_ours)
        }
        _ => false,
    }
}

/// A table or trigger of the store.
pub(crate) fn is_ours(name: &str) -> bool {
    name.get(..10).is_some_and(|start| start.eq_ignore_ascii_case("livestore_"))
}

fn is_schema(name: &str) -> bool {
    name.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("sqlite_"))
}

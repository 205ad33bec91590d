//! Events into the app's tables, by the app's functions. Called in the transaction that puts the event into the file.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use livestore_sync_protocol::{Event, SeqNum};
use rusqlite::Transaction;

use super::{Context, log};
use crate::local::error::MaterialiseError;
use crate::local::options::{BoxError, UnknownEvents};

/// Events that are read at once.
const PAGE: usize = 500;

/// Applies an event. `pending` is its id if it may have to be taken back: the changes are written down under that.
/// Returns whether the event counts as applied; if not, it has to be applied once its name is known.
pub(super) fn apply(
    transaction: &Transaction<'_>,
    context: &Context,
    event: &Event,
    pending: Option<i64>,
) -> Result<bool, MaterialiseError> {
    let failed = |source| MaterialiseError::Failed { event: Box::new(event.clone()), source: Arc::new(source) };
    let Some(materialiser) = context.materialisers.get(&event.name) else {
        return match &context.unknown_events {
            UnknownEvents::Keep => {
                if context.warned.borrow_mut().insert(event.name.clone()) {
                    tracing::warn!(name = event.name, "no materialiser for an event; it is kept in the log");
                }
                Ok(false)
            }
            UnknownEvents::Ignore => Ok(true),
            UnknownEvents::Fail => Err(MaterialiseError::Unknown { event: Box::new(event.clone()) }),
            UnknownEvents::Call(call) => unwinding(|| call(event)).map_err(failed).map(|()| true),
        };
    };
    if let Some(id) = pending {
        context.undo.begin(transaction, id)?;
    }
    context.gate.run(pending, || unwinding(|| materialiser(transaction, event))).map_err(failed)?;
    if transaction.is_autocommit() {
        return Err(failed("it rolled the transaction back".into()));
    }
    Ok(true)
}

/// Turns a panic of the app's function into an error: the writer's thread has to live on.
fn unwinding(apply: impl FnOnce() -> Result<(), BoxError>) -> Result<(), BoxError> {
    // What a panic left half done is rolled back with the transaction.
    catch_unwind(AssertUnwindSafe(apply)).unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let message = message.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Err(format!("it panicked: {message}").into())
    })
}

/// Applies the whole log to empty tables.
pub(super) fn replay_confirmed(transaction: &Transaction<'_>, context: &Context) -> Result<(), MaterialiseError> {
    transaction.execute("UPDATE livestore_confirmed SET known = 1 WHERE known = 0", [])?;
    let mut above = SeqNum::new(-SeqNum::MAX.get()).unwrap_or_default();
    loop {
        let page = log::confirmed(transaction, above, PAGE)?;
        let Some(last) = page.last() else { return Ok(()) };
        above = last.event.seq_num;
        for pulled in &page {
            if !apply(transaction, context, &pulled.event, None)? {
                log::set_confirmed_unknown(transaction, pulled.event.seq_num)?;
            }
        }
    }
}

/// Applies all pending events, with the numbers that follow from the head.
pub(super) fn replay_pending(transaction: &Transaction<'_>, context: &Context) -> Result<(), MaterialiseError> {
    let (mut first, mut parent) = (i64::MIN, log::position(transaction)?.head);
    loop {
        let page = log::pending(transaction, first, parent, PAGE)?;
        let Some(last) = page.last() else { return Ok(()) };
        (first, parent) = (last.id + 1, last.event.seq_num);
        for row in &page {
            let known = apply(transaction, context, &row.event, Some(row.id))?;
            if known != row.known {
                log::set_known(transaction, row.id, known)?;
            }
        }
    }
}

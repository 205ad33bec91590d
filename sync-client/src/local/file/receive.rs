//! What changes the log or the order of what is pending: pages, acknowledgements, and what the app asks for. Called by
//! the writer. What a page means is decided in `merge`; here it is carried out, in one transaction.

use livestore_sync_protocol::{Event, PulledEvent, SeqNum};
use rusqlite::TransactionBehavior;

use super::{LogFile, log, materialise, open};
use crate::event::after;
use crate::local::error::StoreError;
use crate::local::event::{PendingId, ResetKeep};
use crate::local::merge::{Merge, merge, plan};
use crate::page::Page;
use crate::same::is_same_commit;

/// What a page did.
#[derive(Debug)]
pub(crate) enum Received {
    /// It is in the store.
    Taken {
        /// Pending events that it confirmed.
        confirmed: Vec<Event>,
        /// News.
        received: Vec<PulledEvent>,
        /// Whether pending events were undone and applied again.
        rebased: bool,
    },
    /// It is of another log. Nothing was changed.
    OtherLog {
        /// The page's log, if it has an identity.
        found: Option<String>,
    },
    /// It does not follow. Nothing was changed.
    Misplaced {
        /// What is wrong.
        reason: String,
    },
}

impl LogFile {
    /// Takes a page of the log.
    ///
    /// The order matters. First the changes of pending events that are confirmed in their places are forgotten, so that
    /// taking back leaves them alone; then the rest of what is pending is taken back, if another client's event comes
    /// before it; then the page is applied; then what is still pending is applied again after it. A failure anywhere
    /// rolls all of it back.
    pub(crate) fn receive(&mut self, page: Page) -> Result<Received, StoreError> {
        if let (Some(known), Some(found)) = (&self.backend_id, &page.backend_id)
            && known != found
        {
            return Ok(Received::OtherLog { found: Some(found.clone()) });
        }
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let head = self.position.head;
        let pending = log::pending(&transaction, i64::MIN, head, page.events.len())?;
        let events = page.events.iter().map(|pulled| &pulled.event);
        let (known, is_own) = match merge(head, pending.iter().map(|row| &row.event), events) {
            Merge::Follows { known, is_own } => (known, is_own),
            Merge::Gap { head, parent } => {
                return Ok(Received::Misplaced { reason: format!("events {head} to {parent} are missing") });
            }
            Merge::Disorder { after } => {
                return Ok(Received::Misplaced { reason: format!("numbers do not ascend after {after}") });
            }
        };
        let plan = plan(&is_own, self.position.pending);
        if let Some(row) = pending[..plan.confirmed].last() {
            self.context.undo.forget(&transaction, row.id)?;
        }
        if plan.rebase {
            self.context.undo.take_back(&transaction)?;
        }
        for pulled in &page.events[..known] {
            // A log without an id (0.3), or whose id was not known yet, shows only by its events that it is another
            // one.
            let seq_num = pulled.event.seq_num;
            let stored = log::confirmed(&transaction, after(seq_num, -1), 1)?.pop();
            if !stored
                .is_some_and(|stored| stored.event.seq_num == seq_num && is_same_commit(&stored.event, &pulled.event))
            {
                return Ok(Received::OtherLog { found: page.backend_id });
            }
            log::set_created_at(&transaction, pulled)?;
        }
        let (mut confirmed, mut received) = (Vec::new(), Vec::new());
        let mut rows = pending.into_iter();
        for (index, (pulled, is_own)) in page.events.into_iter().skip(known).zip(is_own).enumerate() {
            let row = if is_own { rows.next() } else { None };
            let known = match &row {
                // In the tables already, as it is.
                Some(row) if index < plan.confirmed => row.known,
                _ => materialise::apply(&transaction, &self.context, &pulled.event, None)?,
            };
            log::insert_confirmed(&transaction, &pulled, known)?;
            match row {
                Some(row) => {
                    log::delete_pending(&transaction, row.id)?;
                    confirmed.push(pulled.event);
                }
                None => received.push(pulled),
            }
        }
        if plan.rebase {
            materialise::replay_pending(&transaction, &self.context)?;
        }
        let backend_id = self.backend_id.clone().or(page.backend_id);
        if backend_id != self.backend_id {
            log::set_backend_id(&transaction, backend_id.as_deref())?;
        }
        transaction.commit()?;
        self.backend_id = backend_id;
        self.epoch += u64::from(plan.rebase);
        self.locate()?;
        Ok(Received::Taken { confirmed, received, rebased: plan.rebase })
    }

    /// The backend has stored what was pushed up to this number, in the order that pending events had in this epoch.
    /// The live pull would say so as well; an acknowledgement is sooner, and comes where the pull is broken.
    pub(crate) fn acknowledge(&mut self, up_to: SeqNum, epoch: u64) -> Result<Vec<Event>, StoreError> {
        let steps = usize::try_from(up_to.get() - self.position.head.get()).unwrap_or(0);
        // After a rebase these numbers belong to other events. Nothing is lost: the live pull brings the stored ones.
        if epoch != self.epoch || steps == 0 {
            return Ok(Vec::new());
        }
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let rows = log::pending(&transaction, i64::MIN, self.position.head, steps)?;
        for row in &rows {
            let pulled = PulledEvent { event: row.event.clone(), created_at: None };
            log::insert_confirmed(&transaction, &pulled, row.known)?;
            log::delete_pending(&transaction, row.id)?;
        }
        if let Some(row) = rows.last() {
            self.context.undo.forget(&transaction, row.id)?;
        }
        transaction.commit()?;
        self.locate()?;
        Ok(rows.into_iter().map(|row| row.event).collect())
    }

    /// Drops a pending event; all that is pending is taken back, and the others are applied again without it.
    pub(crate) fn drop_pending(&mut self, id: PendingId) -> Result<Event, StoreError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let event = log::pending_by_id(&transaction, id.0, self.position.head)?.ok_or(StoreError::NotPending)?;
        self.context.undo.take_back(&transaction)?;
        log::delete_pending(&transaction, id.0)?;
        materialise::replay_pending(&transaction, &self.context)?;
        transaction.commit()?;
        self.epoch += 1;
        self.locate()?;
        Ok(event)
    }

    /// Follows another log from its start.
    pub(crate) fn reset(&mut self, keep: ResetKeep) -> Result<(), StoreError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        match keep {
            ResetKeep::Everything => log::confirmed_to_pending(&transaction, self.last_id)?,
            ResetKeep::Pending => {}
            ResetKeep::Nothing => drop(transaction.execute("DELETE FROM livestore_pending", [])?),
        }
        transaction.execute("DELETE FROM livestore_confirmed", [])?;
        log::set_backend_id(&transaction, None)?;
        open::rebuild_as_before(&transaction, &mut self.context)?;
        transaction.commit()?;
        self.backend_id = None;
        self.epoch += 1;
        self.locate()?;
        Ok(())
    }

    /// Looks up where the file stands.
    pub(super) fn locate(&mut self) -> rusqlite::Result<()> {
        self.position = log::position(&self.connection)?;
        self.last_id = self.last_id.max(log::last_pending(&self.connection)?.unwrap_or(0));
        Ok(())
    }
}

#[cfg(test)]
#[path = "receive/tests.rs"]
mod tests;

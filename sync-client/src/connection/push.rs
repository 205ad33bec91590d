//! One push: whether it is sent, and whether the log has it. Pure; `pushes` does what follows.
//!
//! The hard case is a lost answer. The batch was sent, the connection broke, and whether the log has it is not known.
//! It is sent again, once, on the next connection, and then one of these comes:
//!
//! - an acknowledgement: the log had it not, and has it now, or the server has recognised it (this project's does);
//! - a refusal because the server is ahead. That may be because of this very batch, so the log is read from the batch's
//!   parent and compared ([`PushState::check`]). Only if something else is there, the app is told that the server is
//!   ahead, which means to it that nothing was stored and that it may push the events with other numbers;
//! - no answer again: the app is told that the outcome is not known.

use std::time::Duration;

use livestore_sync_protocol::{Event, PulledEvent, SeqNum};

use crate::page::Page;
use crate::same::is_same_event;

#[derive(Debug)]
pub(super) struct PushState {
    pub(super) batch: Vec<Event>,
    pub(super) backend_id: Option<String>,
    pub(super) phase: PushPhase,
    /// When it began to wait for a connection.
    pub(super) waiting_since: Duration,
    /// It was sent on a connection that was lost before the answer: the log may have it.
    pub(super) in_doubt: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PushPhase {
    /// To be sent when there is a connection.
    Unsent,
    /// Sent with this id, at this time.
    Running { request: u64, at: Duration },
    /// The server says that it is ahead, which may be because it has this very batch: the log is read from the
    /// batch's parent. So many events were there and the same.
    Checking { request: u64, at: Duration, same: usize, head: SeqNum },
}

/// What the log says of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// It is there.
    Stored,
    /// Something else is in its place.
    Other,
    /// The next page tells.
    Unclear,
}

impl PushState {
    pub(super) fn new(batch: Vec<Event>, backend_id: Option<String>, now: Duration) -> Self {
        Self { batch, backend_id, phase: PushPhase::Unsent, waiting_since: now, in_doubt: false }
    }

    pub(super) fn request(&self) -> Option<u64> {
        match self.phase {
            PushPhase::Unsent => None,
            PushPhase::Running { request, .. } | PushPhase::Checking { request, .. } => Some(request),
        }
    }

    /// When it was last sent, or a page of the log came.
    pub(super) fn asked_at(&self) -> Option<Duration> {
        match self.phase {
            PushPhase::Unsent => None,
            PushPhase::Running { at, .. } | PushPhase::Checking { at, .. } => Some(at),
        }
    }

    /// The event that the batch follows.
    pub(super) fn parent(&self) -> SeqNum {
        self.batch.first().map_or(SeqNum::ROOT, |event| event.parent_seq_num)
    }

    /// Compares a page of the log above the batch's parent. A batch enters whole or not at all, so the first event that
    /// differs settles it.
    pub(super) fn check(&mut self, page: &Page, now: Duration) -> Check {
        let parent = self.parent();
        let PushPhase::Checking { same, at, .. } = &mut self.phase else { return Check::Unclear };
        *at = now;
        for PulledEvent { event, .. } in page.events.iter().filter(|pulled| pulled.event.seq_num > parent) {
            let Some(ours) = self.batch.get(*same) else { break };
            if !is_same_event(ours, event) {
                return Check::Other;
            }
            *same += 1;
        }
        if *same == self.batch.len() { Check::Stored } else { Check::Unclear }
    }
}

//! All pushes of a client: sent, sent once more, made sure of, given up. What the log says of one is decided in `push`.

use std::time::Duration;

use livestore_sync_protocol::SeqNum;

use super::dialect::Failure;
use super::push::{Check, PushPhase};
use super::types::{Action, Key};
use super::{Connection, LinkPhase, Owner, take_where};
use crate::error::PushError;
use crate::page::Page;

impl Connection {
    /// Sends a push, if there is a connection.
    pub(super) fn send_push(&mut self, now: Duration, key: Key) {
        if self.is_offline() || !self.pushes.get(&key).is_some_and(|push| push.phase == PushPhase::Unsent) {
            return;
        }
        let request = self.new_request(Owner::Push(key));
        let Some(push) = self.pushes.get_mut(&key) else { return };
        push.phase = PushPhase::Running { request, at: now };
        let frame = self.dialect.push(request, &push.batch, push.backend_id.as_deref());
        self.send(request, frame);
    }

    pub(super) fn push_done(&mut self, key: Key, result: Result<(), PushError>) {
        if self.pushes.remove(&key).is_some() {
            self.actions.push_back(Action::Pushed { key, result });
        }
    }

    pub(super) fn push_failed(&mut self, now: Duration, key: Key, failure: Failure) {
        match failure {
            Failure::ServerAhead { minimum_expected, .. }
                if self.pushes.get(&key).is_some_and(|push| push.in_doubt) =>
            {
                self.start_check(now, key, minimum_expected);
            }
            failure => self.push_done(key, Err(push_error(failure))),
        }
    }

    /// The server may be ahead by this very batch: it was sent before, and the answer was lost. Reads the log from the
    /// batch's parent to find out.
    fn start_check(&mut self, now: Duration, key: Key, head: SeqNum) {
        let LinkPhase::Open { pulled, .. } = &mut self.phase else { return };
        *pulled = true;
        let Some(push) = self.pushes.get(&key) else { return };
        let parent = push.parent();
        let backend_id = push.backend_id.clone().or_else(|| self.backend_id.clone());
        let request = self.new_request(Owner::Check(key));
        let frame = self.dialect.pull(request, self.cursor(backend_id.as_deref(), parent), false);
        self.send(request, frame);
        if let Some(push) = self.pushes.get_mut(&key) {
            push.phase = PushPhase::Checking { request, at: now, same: 0, head };
        }
    }

    pub(super) fn checked(&mut self, now: Duration, key: Key, page: &Page) {
        let Some(push) = self.pushes.get_mut(&key) else { return };
        let PushPhase::Checking { request, .. } = push.phase else { return };
        match push.check(page, now) {
            Check::Stored => {
                self.end_request(request);
                self.push_done(key, Ok(()));
            }
            Check::Other => {
                self.end_request(request);
                self.not_stored(key);
            }
            Check::Unclear => {
                if let Some(frame) = self.dialect.ack(request) {
                    self.send(request, frame);
                }
            }
        }
    }

    /// The log ends before the batch does, so it has none of it.
    pub(super) fn check_ended(&mut self, key: Key) {
        self.not_stored(key);
    }

    pub(super) fn check_failed(&mut self, key: Key, failure: Failure) {
        self.push_done(key, Err(push_error(failure)));
    }

    fn not_stored(&mut self, key: Key) {
        let Some(push) = self.pushes.get(&key) else { return };
        let PushPhase::Checking { head, .. } = push.phase else { return };
        let error = PushError::ServerAhead { minimum_expected: head, provided: push.parent() };
        self.push_done(key, Err(error));
    }

    pub(super) fn drop_push(&mut self, key: Key) {
        match self.pushes.remove(&key).map(|push| push.phase) {
            // The server may be about to store it: it is let finish, and its answer is ignored.
            Some(PushPhase::Running { request, .. }) => {
                self.requests.remove(&request);
            }
            Some(PushPhase::Checking { request, .. }) => self.end_request(request),
            Some(PushPhase::Unsent) | None => {}
        }
    }

    /// What was on its way is sent once more, on the next connection. Not for ever: an app may prefer to hear that the
    /// outcome is not known over waiting for a server that fails at each attempt.
    pub(super) fn lose_pushes(&mut self, now: Duration) {
        for (_, push) in self.pushes.iter_mut().filter(|(_, push)| push.request().is_some() && !push.in_doubt) {
            (push.phase, push.in_doubt, push.waiting_since) = (PushPhase::Unsent, true, now);
        }
        for (key, _) in take_where(&mut self.pushes, |push| push.request().is_some()) {
            let result = Err(PushError::Offline { sent: true, reason: self.reason.clone() });
            self.actions.push_back(Action::Pushed { key, result });
        }
    }

    pub(super) fn give_up_pushes(&mut self, now: Duration) {
        let patience = self.timing.patience;
        for (key, push) in take_where(&mut self.pushes, |push| push.waiting_since + patience <= now) {
            let result = Err(PushError::Offline { sent: push.in_doubt, reason: self.reason.clone() });
            self.actions.push_back(Action::Pushed { key, result });
        }
    }
}

fn push_error(failure: Failure) -> PushError {
    match failure {
        Failure::ServerAhead { minimum_expected, provided } => PushError::ServerAhead { minimum_expected, provided },
        Failure::BackendIdMismatch { expected, received } => PushError::BackendIdMismatch { expected, received },
        Failure::Rejected { message } => PushError::Rejected { message },
        Failure::Failed { message } => PushError::Failed { message },
        Failure::Interrupted => PushError::Failed { message: "the server interrupted the push".to_owned() },
    }
}

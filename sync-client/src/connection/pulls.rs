//! All pulls of a client: sent, sent again, acknowledged, ended. What a page means is decided in `pull`.

use std::time::Duration;

use livestore_sync_protocol::SeqNum;

use super::dialect::{Failure, Protocol};
use super::pull::{Next, PullPhase};
use super::types::{Action, Key};
use super::{Connection, LinkPhase, Owner, take_where};
use crate::error::PullError;
use crate::page::Page;
use crate::state::OfflineReason;

/// So often in a row a server may fail at a pull that is not live.
const FAILURES_MAX: u32 = 3;

impl Connection {
    /// Sends a pull from where it is, if there is a connection.
    pub(super) fn send_pull(&mut self, key: Key) {
        let LinkPhase::Open { pulled, .. } = &mut self.phase else { return };
        let Some(pull) = self.pulls.get(&key).filter(|pull| pull.phase != PullPhase::Paused) else { return };
        *pulled = true;
        let (seq_num, backend_id, live) = (pull.seq_num, pull.backend_id.clone(), pull.live);
        let request = self.new_request(Owner::Pull(key));
        let frame = self.dialect.pull(request, self.cursor(backend_id.as_deref(), seq_num), live);
        self.send(request, frame);
        if let Some(pull) = self.pulls.get_mut(&key) {
            pull.sent(request);
        }
    }

    /// A cursor as the server wants it: 0.4 takes none without the log's id, and 0.3 knows no ids.
    pub(super) fn cursor<'a>(&self, backend_id: Option<&'a str>, seq_num: SeqNum) -> Option<(&'a str, SeqNum)> {
        match (self.dialect.protocol, backend_id) {
            (Protocol::V03, _) => (seq_num != SeqNum::ROOT).then_some(("", seq_num)),
            (_, Some(backend_id)) => Some((backend_id, seq_num)),
            (_, None) => None,
        }
    }

    pub(super) fn pulled_page(&mut self, now: Duration, key: Key, page: Page, broadcast: bool) {
        if page.backend_id.is_some() {
            self.backend_id.clone_from(&page.backend_id);
        }
        let Some(pull) = self.pulls.get_mut(&key) else { return };
        let Some(request) = pull.request() else { return };
        let verdict = pull.take(page, broadcast);
        match verdict.page {
            Some(page) => self.actions.push_back(Action::Page { key, page }),
            None if broadcast => {}
            // The app gets nothing of it and so never takes it, but the server counts it.
            None => self.ack(request),
        }
        match verdict.next {
            Next::Wait => {}
            Next::Again => {
                self.end_request(request);
                self.send_pull(key);
            }
            Next::Pause => {
                self.end_request(request);
                if let Some(pull) = self.pulls.get_mut(&key) {
                    pull.phase = PullPhase::Paused;
                    pull.waiting_since = now;
                }
            }
            Next::Fail(error) => {
                self.end_request(request);
                self.pull_done(key, Err(error));
            }
        }
    }

    /// What somebody pushed goes to every client, and here to every pull that follows the log (0.3).
    pub(super) fn broadcast(&mut self, now: Duration, page: &Page) {
        let live = self.pulls.iter().filter(|(_, pull)| pull.live).map(|(key, _)| *key).collect::<Vec<_>>();
        for key in live {
            self.pulled_page(now, key, page.clone(), true);
        }
    }

    pub(super) fn taken(&mut self, key: Key) {
        let Some(pull) = self.pulls.get_mut(&key) else { return };
        let present = pull.taken();
        if let (true, Some(request)) = (present, pull.request()) {
            self.ack(request);
        } else if pull.phase == PullPhase::Paused && pull.untaken == 0 {
            pull.phase = PullPhase::Unsent;
            self.send_pull(key);
        }
    }

    fn ack(&mut self, request: u64) {
        if let Some(frame) = self.dialect.ack(request) {
            self.send(request, frame);
        }
    }

    /// The server has sent all that there was.
    pub(super) fn pull_ended(&mut self, now: Duration, key: Key) {
        let Some(pull) = self.pulls.get_mut(&key) else { return };
        match (pull.live, self.dialect.protocol) {
            (false, _) => self.pull_done(key, Ok(())),
            // What is pushed later comes to every client: the pull stays, to take it.
            (true, Protocol::V03) => {}
            (true, Protocol::V04Http) => pull.phase = PullPhase::Resting { until: now + self.timing.poll_interval },
            (true, Protocol::V04Ws) => {
                let message = "the server ended a live pull".to_owned();
                self.handle_lost(now, OfflineReason::Confused { message });
            }
        }
    }

    /// A failure of the server's own passes, so the pull is asked for again, on another connection. For ever only where
    /// it is to follow the log.
    pub(super) fn pull_failed(&mut self, now: Duration, key: Key, failure: Failure) {
        if let (Failure::Failed { message }, Some(pull)) = (&failure, self.pulls.get_mut(&key))
            && (pull.live || pull.failures < FAILURES_MAX)
        {
            pull.failures += 1;
            return self.handle_lost(now, OfflineReason::Lost { message: message.clone() });
        }
        self.pull_done(key, Err(pull_error(failure)));
    }

    fn pull_done(&mut self, key: Key, result: Result<(), PullError>) {
        if self.pulls.remove(&key).is_some() {
            self.actions.push_back(Action::Pulled { key, result });
        }
    }

    pub(super) fn drop_pull(&mut self, key: Key) {
        if let Some(request) = self.pulls.remove(&key).and_then(|pull| pull.request()) {
            self.end_request(request);
        }
    }

    /// The answer is not wanted any more: it finds no request when it comes, and the server is told where that is
    /// possible, so that it does not send a whole log for nothing.
    pub(super) fn end_request(&mut self, request: u64) {
        if self.requests.remove(&request).is_none() {
            return;
        }
        if let Some(frame) = self.dialect.interrupt(request) {
            self.send(request, frame);
        } else if self.dialect.protocol == Protocol::V04Http {
            self.actions.push_back(Action::Cancel { request });
        }
    }

    /// Sends pulls that have rested.
    pub(super) fn wake_pulls(&mut self, now: Duration) {
        let due = |phase: PullPhase| matches!(phase, PullPhase::Resting { until } if until <= now);
        let due: Vec<_> = self.pulls.iter().filter(|(_, pull)| due(pull.phase)).map(|(key, _)| *key).collect();
        for key in due {
            self.send_pull(key);
        }
    }

    pub(super) fn give_up_pulls(&mut self, now: Duration) {
        let patience = self.timing.patience;
        for (key, _) in take_where(&mut self.pulls, |pull| !pull.live && pull.waiting_since + patience <= now) {
            let result = Err(PullError::Offline { reason: self.reason.clone() });
            self.actions.push_back(Action::Pulled { key, result });
        }
    }
}

fn pull_error(failure: Failure) -> PullError {
    match failure {
        Failure::BackendIdMismatch { expected, received } => PullError::BackendIdMismatch { expected, received },
        Failure::Rejected { message } | Failure::Failed { message } => PullError::Rejected { message },
        // Neither is an answer to a pull.
        Failure::ServerAhead { .. } | Failure::Interrupted => {
            PullError::Rejected { message: "the server answered a pull as if it was a push".to_owned() }
        }
    }
}

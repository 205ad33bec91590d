//! The client's side of the conversation as a machine without I/O: commands of the app, frames and the passing of time
//! go in, [`Action`]s come out. Time is what has passed since any fixed moment, randomness a seed. Called by the
//! client's task, and by the simulation of the tests, which is why nothing in here may wait, read a clock or open a
//! socket.
//!
//! A request of the app has a [`Key`] for as long as the app waits for it. What is sent for it has a *request number*,
//! which is good for one connection: when the connection is lost, all numbers are void, and each request is sent again
//! under a new one or fails. That is how answers of an earlier connection can never be taken for those of the present
//! one.
//!
//! - `pull`, `pulls`: one pull and what a page means for it; all pulls, which survive any number of connections.
//! - `push`, `pushes`: one push and whether the log has it; all pushes, which are sent twice at most.
//! - `pings`: the app's, and those that find out whether the server is still there.
//! - `dialect`: the frames, which differ between the generations and transports.

mod dialect;
mod pings;
mod pull;
mod pulls;
mod push;
mod pushes;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod types;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use serde_json::value::RawValue;

pub(crate) use self::dialect::Dialect;
pub use self::dialect::Protocol;
use self::dialect::{Failure, ServerMessage};
use self::pings::PingState;
use self::pull::{PullPhase, PullState};
use self::push::PushState;
pub use self::types::Timing;
pub(crate) use self::types::{Action, AppCommand, Key, Moved};
use crate::backoff::Backoff;
use crate::state::{ConnectionState, OfflineReason};

/// The machine of one client. After each input, `poll_action` has to be asked until it has nothing more, and then
/// `poll_timeout` for the time of the next input at the latest.
#[derive(Debug)]
pub(crate) struct Connection {
    timing: Timing,
    dialect: Dialect,
    phase: LinkPhase,
    /// Why there is no connection, for requests that are given up meanwhile.
    reason: OfflineReason,
    backoff: Backoff,
    /// The log, as the last page named it. Pushes name it in turn, so that events meant for one log do not enter
    /// another that took its place.
    backend_id: Option<String>,
    pulls: BTreeMap<Key, PullState>,
    pushes: BTreeMap<Key, PushState>,
    pings: BTreeMap<Key, PingState>,
    /// What was sent on the present connection and is not answered, by request number.
    requests: HashMap<u64, Owner>,
    last_request: u64,
    /// When bytes last moved, as far as it was told.
    moved: Moved,
    actions: VecDeque<Action>,
}

/// Where the connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LinkPhase {
    /// To be opened at this time.
    Waiting {
        until: Duration,
    },
    Opening {
        since: Duration,
    },
    Open {
        /// When something last came from the server.
        last_frame: Duration,
        /// When the ping without an answer was sent.
        pinged: Option<Duration>,
        /// Whether a pull was sent on it. It decides how servers understand a ping (`send_ping`).
        pulled: bool,
    },
}

/// What an answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Pull(Key),
    Push(Key),
    /// The pull by which a push finds out whether the log has it.
    Check(Key),
    Ping,
}

impl Connection {
    /// `seed` is a random number.
    pub(crate) fn new(dialect: Dialect, timing: Timing, seed: u64) -> Self {
        Self {
            backoff: Backoff::new(timing.backoff_min, timing.backoff_max, seed),
            timing,
            dialect,
            phase: LinkPhase::Waiting { until: Duration::ZERO },
            reason: OfflineReason::Connecting,
            backend_id: None,
            pulls: BTreeMap::new(),
            pushes: BTreeMap::new(),
            pings: BTreeMap::new(),
            requests: HashMap::new(),
            last_request: 0,
            moved: Moved::default(),
            actions: VecDeque::new(),
        }
    }

    /// What is to be done next; `None` until there is another input.
    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`Connection::handle_timeout`].
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        let timing = &self.timing;
        let of_connection = match self.phase {
            LinkPhase::Waiting { until } => Some(until),
            LinkPhase::Opening { since } => Some(since + timing.open),
            LinkPhase::Open { pinged: Some(at), .. } => Some(at.max(self.moved.any) + timing.ping_timeout),
            LinkPhase::Open { last_frame, .. } => Some(last_frame + timing.ping_interval),
        };
        let answers = self.pushes.values().filter_map(|push| self.gives_up_at(push));
        let rests = self.pulls.values().filter_map(|pull| match pull.phase {
            PullPhase::Resting { until } => Some(until),
            _ => None,
        });
        let patience = self.is_offline().then(|| self.waiting_since().map(|since| since + timing.patience));
        of_connection.into_iter().chain(answers).chain(rests).chain(patience.into_iter().flatten()).min()
    }

    /// When a push that was sent counts as lost: a slow link may still be busy with it, or with what comes before its
    /// answer.
    fn gives_up_at(&self, push: &PushState) -> Option<Duration> {
        Some(push.asked_at()?.max(self.moved.progress) + self.timing.push_timeout)
    }

    /// Since when each request waits that does not wait for ever.
    fn waiting_since(&self) -> impl Iterator<Item = Duration> {
        let pulls = self.pulls.values().filter(|pull| !pull.live).map(|pull| pull.waiting_since);
        let pushes = self.pushes.values().map(|push| push.waiting_since);
        pulls.chain(pushes).chain(self.pings.values().map(|ping| ping.waiting_since))
    }

    pub(crate) fn handle_command(&mut self, now: Duration, command: AppCommand) {
        match command {
            AppCommand::Pull { key, cursor, live } => {
                self.pulls.insert(key, PullState::new(cursor, live, now));
                self.send_pull(key);
            }
            AppCommand::Push { key, batch, backend_id } => {
                let backend_id = backend_id.or_else(|| self.backend_id.clone());
                self.pushes.insert(key, PushState::new(batch, backend_id, now));
                self.send_push(now, key);
            }
            AppCommand::Ping { key } => {
                self.pings.insert(key, PingState::new(now));
                self.send_pings(now);
            }
            AppCommand::Taken { key } => self.taken(key),
            AppCommand::Drop { key } => {
                self.drop_pull(key);
                self.drop_push(key);
                self.pings.remove(&key);
            }
        }
    }

    /// The connection is about to be opened with this payload, which 0.4 repeats in each request.
    pub(crate) fn handle_payload(&mut self, payload: Option<Box<RawValue>>) {
        self.dialect.set_payload(payload);
    }

    /// The connection is open.
    pub(crate) fn handle_opened(&mut self, now: Duration) {
        // It was given up just before.
        if !matches!(self.phase, LinkPhase::Opening { .. }) {
            return;
        }
        self.phase = LinkPhase::Open { last_frame: now, pinged: None, pulled: false };
        self.actions.push_back(Action::State(ConnectionState::Connected));
        // Pulls first: a server sends a client that pulls the events that it lacks before it refuses a push that does
        // not follow them. An app that rebases then has them at hand.
        for key in self.pulls.keys().copied().collect::<Vec<_>>() {
            self.send_pull(key);
        }
        for key in self.pushes.keys().copied().collect::<Vec<_>>() {
            self.send_push(now, key);
        }
        self.send_pings(now);
    }

    /// When bytes last moved on the connection. To be told before each [`Connection::handle_timeout`].
    pub(crate) fn handle_moved(&mut self, moved: Moved) {
        self.moved = moved;
    }

    /// The connection is gone, or could not be opened.
    pub(crate) fn handle_lost(&mut self, now: Duration, reason: OfflineReason) {
        if matches!(self.phase, LinkPhase::Waiting { .. }) {
            return;
        }
        self.phase = LinkPhase::Waiting { until: now + self.backoff.next() };
        self.reason = reason.clone();
        // From here on no answer of this connection finds a request.
        self.requests.clear();
        self.actions.push_back(Action::Close);
        self.actions.push_back(Action::State(ConnectionState::Offline { reason }));
        // Those that were not sent go on waiting as before: their patience runs from when they were made.
        for pull in self.pulls.values_mut().filter(|pull| pull.phase != PullPhase::Unsent) {
            pull.lost(now);
        }
        self.lose_pushes(now);
        self.lose_pings();
    }

    /// A frame came.
    pub(crate) fn handle_frame(&mut self, now: Duration, frame: &str) {
        let LinkPhase::Open { last_frame, pinged, .. } = &mut self.phase else { return };
        *last_frame = now;
        *pinged = None;
        let messages = match self.dialect.decode(frame) {
            Ok(messages) => messages,
            Err(message) => return self.handle_lost(now, OfflineReason::Confused { message }),
        };
        for message in messages {
            self.handle_message(now, message);
        }
    }

    /// A pong of the WebSocket protocol came.
    pub(crate) fn handle_socket_pong(&mut self, now: Duration) {
        let LinkPhase::Open { last_frame, pinged, .. } = &mut self.phase else { return };
        *last_frame = now;
        *pinged = None;
        self.backoff.reset();
        self.ponged();
    }

    fn handle_message(&mut self, now: Duration, message: ServerMessage) {
        // The server works. That a socket opened says less: one that is refused or closed at once, each time, has to be
        // tried more and more rarely.
        let is_failing = matches!(
            message,
            ServerMessage::Defect { .. } | ServerMessage::Failed { failure: Failure::Failed { .. }, .. }
        );
        if !is_failing {
            self.backoff.reset();
        }
        match message {
            ServerMessage::Page { request: None, page } => self.broadcast(now, &page),
            ServerMessage::Page { request: Some(request), page } => match self.requests.get(&request) {
                Some(&Owner::Pull(key)) => self.pulled_page(now, key, page, false),
                Some(&Owner::Check(key)) => self.checked(now, key, &page),
                _ => {}
            },
            ServerMessage::End { request } => match self.requests.remove(&request) {
                Some(Owner::Pull(key)) => self.pull_ended(now, key),
                Some(Owner::Push(key)) => self.push_done(key, Ok(())),
                Some(Owner::Check(key)) => self.check_ended(key),
                Some(Owner::Ping) => self.ponged(),
                None => {}
            },
            ServerMessage::Failed { request, failure } => match self.requests.remove(&request) {
                // Nothing on this side asked for it: the server is about to stop, or has lost the request. On the next
                // connection everything is sent again.
                Some(_) if failure == Failure::Interrupted => {
                    let message = "the server interrupted a request".to_owned();
                    self.handle_lost(now, OfflineReason::Lost { message });
                }
                Some(Owner::Pull(key)) => self.pull_failed(now, key, failure),
                Some(Owner::Push(key)) => self.push_failed(now, key, failure),
                Some(Owner::Check(key)) => self.check_failed(key, failure),
                Some(Owner::Ping) => {
                    let message = "the server refused a ping".to_owned();
                    self.handle_lost(now, OfflineReason::Confused { message });
                }
                None => {}
            },
            ServerMessage::Pong => self.ponged(),
            ServerMessage::Defect { message } => self.handle_lost(now, OfflineReason::Confused { message }),
        }
    }

    /// Time has passed.
    pub(crate) fn handle_timeout(&mut self, now: Duration) {
        let timing = self.timing;
        match self.phase {
            LinkPhase::Waiting { until } if until <= now => {
                self.phase = LinkPhase::Opening { since: now };
                self.actions.push_back(Action::Open);
            }
            LinkPhase::Opening { since } if since + timing.open <= now => self.handle_lost(now, OfflineReason::Silent),
            LinkPhase::Open { pinged: Some(at), .. } if at.max(self.moved.any) + timing.ping_timeout <= now => {
                self.handle_lost(now, OfflineReason::Silent);
            }
            LinkPhase::Open { last_frame, pinged: None, .. } if last_frame + timing.ping_interval <= now => {
                self.keep_alive(now)
            }
            _ => {}
        }
        // A server may fail to answer a push and still answer pings. A new connection settles it: on the old one, a
        // late answer could not be told from that to the second sending.
        if self.pushes.values().any(|push| self.gives_up_at(push).is_some_and(|at| at <= now)) {
            self.handle_lost(now, OfflineReason::Silent);
        }
        self.wake_pulls(now);
        if self.is_offline() {
            self.lose_patience(now);
        }
    }

    /// Ends requests that have waited for a connection for too long.
    fn lose_patience(&mut self, now: Duration) {
        self.give_up_pulls(now);
        self.give_up_pushes(now);
        self.give_up_pings(now);
    }

    fn is_offline(&self) -> bool {
        !matches!(self.phase, LinkPhase::Open { .. })
    }

    fn new_request(&mut self, owner: Owner) -> u64 {
        self.last_request += 1;
        self.requests.insert(self.last_request, owner);
        self.last_request
    }

    fn send(&mut self, request: u64, frame: String) {
        self.actions.push_back(Action::Send { request, frame });
    }
}

/// Removes what fulfils a condition.
fn take_where<V>(map: &mut BTreeMap<Key, V>, condition: impl Fn(&V) -> bool) -> Vec<(Key, V)> {
    let keys: Vec<_> = map.iter().filter(|(_, value)| condition(value)).map(|(key, _)| *key).collect();
    keys.into_iter().filter_map(|key| map.remove_entry(&key)).collect()
}

//! The client's side of the conversation, free of I/O: commands of the app, frames and the passing of time go in,
//! [`Action`]s come out. Time is what has passed since any fixed moment, randomness a seed.

mod backoff;
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

use self::backoff::Backoff;
pub(crate) use self::dialect::{Dialect, Kind};
use self::dialect::{Failure, Heard};
use self::pings::Ping;
use self::pull::Pull;
use self::push::Push;
pub(crate) use self::types::{Action, Command, Key};
pub use self::types::{ConnectionState, OfflineReason, Page, Timing};

#[derive(Debug)]
pub(crate) struct Connection {
    timing: Timing,
    dialect: Dialect,
    phase: Phase,
    reason: OfflineReason,
    backoff: Backoff,
    /// The log, as the last page told it.
    backend_id: Option<String>,
    pulls: BTreeMap<Key, Pull>,
    pushes: BTreeMap<Key, Push>,
    pings: BTreeMap<Key, Ping>,
    /// Whose answer goes to whom, on the present connection.
    wires: HashMap<u64, Owner>,
    last_wire: u64,
    actions: VecDeque<Action>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// To be opened at this time.
    Waiting {
        until: Duration,
    },
    Opening {
        since: Duration,
    },
    Open {
        heard: Duration,
        /// When the ping without an answer was sent.
        pinged: Option<Duration>,
        /// Whether a pull was sent on it.
        pulled: bool,
    },
}

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
            phase: Phase::Waiting { until: Duration::ZERO },
            reason: OfflineReason::Connecting,
            backend_id: None,
            pulls: BTreeMap::new(),
            pushes: BTreeMap::new(),
            pings: BTreeMap::new(),
            wires: HashMap::new(),
            last_wire: 0,
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
            Phase::Waiting { until } => Some(until),
            Phase::Opening { since } => Some(since + timing.open),
            Phase::Open { pinged: Some(at), .. } => Some(at + timing.ping_timeout),
            Phase::Open { heard, .. } => Some(heard + timing.ping_interval),
        };
        let answers = self.pushes.values().filter_map(|push| Some(push.asked_at()? + timing.push_timeout));
        let rests = self.pulls.values().filter_map(|pull| match pull.phase {
            pull::Phase::Resting { until } => Some(until),
            _ => None,
        });
        let patience = self.is_offline().then(|| self.waiting_since().map(|since| since + timing.patience));
        of_connection.into_iter().chain(answers).chain(rests).chain(patience.into_iter().flatten()).min()
    }

    /// Since when each request waits that does not wait for ever.
    fn waiting_since(&self) -> impl Iterator<Item = Duration> {
        let pulls = self.pulls.values().filter(|pull| !pull.live).map(|pull| pull.waiting_since);
        let pushes = self.pushes.values().map(|push| push.waiting_since);
        pulls.chain(pushes).chain(self.pings.values().map(|ping| ping.waiting_since))
    }

    pub(crate) fn handle_command(&mut self, now: Duration, command: Command) {
        match command {
            Command::Pull { key, cursor, live } => {
                self.pulls.insert(key, Pull::new(cursor, live, now));
                self.send_pull(key);
            }
            Command::Push { key, batch, backend_id } => {
                let backend_id = backend_id.or_else(|| self.backend_id.clone());
                self.pushes.insert(key, Push::new(batch, backend_id, now));
                self.send_push(now, key);
            }
            Command::Ping { key } => {
                self.pings.insert(key, Ping::new(now));
                self.send_pings(now);
            }
            Command::Taken { key } => self.taken(key),
            Command::Drop { key } => {
                self.drop_pull(key);
                self.drop_push(key);
                self.pings.remove(&key);
            }
        }
    }

    /// The connection is about to be opened with this payload.
    pub(crate) fn handle_payload(&mut self, payload: Option<Box<RawValue>>) {
        self.dialect.set_payload(payload);
    }

    /// The connection is open.
    pub(crate) fn handle_opened(&mut self, now: Duration) {
        if !matches!(self.phase, Phase::Opening { .. }) {
            return;
        }
        self.phase = Phase::Open { heard: now, pinged: None, pulled: false };
        self.actions.push_back(Action::State(ConnectionState::Connected));
        // Pulls first: servers send those who pull what they lack before they refuse a push.
        for key in self.pulls.keys().copied().collect::<Vec<_>>() {
            self.send_pull(key);
        }
        for key in self.pushes.keys().copied().collect::<Vec<_>>() {
            self.send_push(now, key);
        }
        self.send_pings(now);
    }

    /// The connection is gone, or could not be opened.
    pub(crate) fn handle_lost(&mut self, now: Duration, reason: OfflineReason) {
        if matches!(self.phase, Phase::Waiting { .. }) {
            return;
        }
        self.phase = Phase::Waiting { until: now + self.backoff.next() };
        self.reason = reason.clone();
        self.wires.clear();
        self.actions.push_back(Action::Close);
        self.actions.push_back(Action::State(ConnectionState::Offline { reason }));
        for pull in self.pulls.values_mut().filter(|pull| pull.phase != pull::Phase::Unsent) {
            pull.lost(now);
        }
        self.lose_pushes(now);
        self.lose_pings();
    }

    /// A frame came.
    pub(crate) fn handle_frame(&mut self, now: Duration, frame: &str) {
        let Phase::Open { heard, pinged, .. } = &mut self.phase else { return };
        *heard = now;
        *pinged = None;
        let heard = match self.dialect.decode(frame) {
            Ok(heard) => heard,
            Err(message) => return self.handle_lost(now, OfflineReason::Confused { message }),
        };
        for heard in heard {
            self.handle_heard(now, heard);
        }
    }

    /// A pong of the WebSocket protocol came.
    pub(crate) fn handle_socket_pong(&mut self, now: Duration) {
        let Phase::Open { heard, pinged, .. } = &mut self.phase else { return };
        *heard = now;
        *pinged = None;
        self.backoff.reset();
        self.ponged();
    }

    fn handle_heard(&mut self, now: Duration, heard: Heard) {
        if !matches!(heard, Heard::Defect { .. }) {
            self.backoff.reset();
        }
        match heard {
            Heard::Page { wire: None, page } => self.broadcast(now, &page),
            Heard::Page { wire: Some(wire), page } => match self.wires.get(&wire) {
                Some(&Owner::Pull(key)) => self.pulled_page(now, key, page, false),
                Some(&Owner::Check(key)) => self.checked(now, key, &page),
                _ => {}
            },
            Heard::End { wire } => match self.wires.remove(&wire) {
                Some(Owner::Pull(key)) => self.pull_ended(now, key),
                Some(Owner::Push(key)) => self.push_done(key, Ok(())),
                Some(Owner::Check(key)) => self.check_ended(key),
                Some(Owner::Ping) => self.ponged(),
                None => {}
            },
            Heard::Failed { wire, failure } => match self.wires.remove(&wire) {
                // The server is about to go.
                Some(_) if failure == Failure::Interrupted => {
                    let message = "the server interrupted a request".to_owned();
                    self.handle_lost(now, OfflineReason::Lost { message });
                }
                Some(Owner::Pull(key)) => self.pull_failed(key, failure),
                Some(Owner::Push(key)) => self.push_failed(now, key, failure),
                Some(Owner::Check(key)) => self.check_failed(key, failure),
                Some(Owner::Ping) => {
                    let message = "the server refused a ping".to_owned();
                    self.handle_lost(now, OfflineReason::Confused { message });
                }
                None => {}
            },
            Heard::Pong => self.ponged(),
            Heard::Defect { message } => self.handle_lost(now, OfflineReason::Confused { message }),
        }
    }

    /// Time has passed.
    pub(crate) fn handle_timeout(&mut self, now: Duration) {
        let timing = self.timing;
        match self.phase {
            Phase::Waiting { until } if until <= now => {
                self.phase = Phase::Opening { since: now };
                self.actions.push_back(Action::Open);
            }
            Phase::Opening { since } if since + timing.open <= now => self.handle_lost(now, OfflineReason::Silent),
            Phase::Open { pinged: Some(at), .. } if at + timing.ping_timeout <= now => {
                self.handle_lost(now, OfflineReason::Silent);
            }
            Phase::Open { heard, pinged: None, .. } if heard + timing.ping_interval <= now => self.keep_alive(now),
            _ => {}
        }
        if self.pushes.values().any(|push| push.asked_at().is_some_and(|at| at + timing.push_timeout <= now)) {
            self.handle_lost(now, OfflineReason::Silent);
        }
        self.wake_pulls(now);
        if self.is_offline() {
            self.lose_patience(now);
        }
    }

    fn lose_patience(&mut self, now: Duration) {
        self.give_up_pulls(now);
        self.give_up_pushes(now);
        self.give_up_pings(now);
    }

    fn is_offline(&self) -> bool {
        !matches!(self.phase, Phase::Open { .. })
    }

    fn new_wire(&mut self, owner: Owner) -> u64 {
        self.last_wire += 1;
        self.wires.insert(self.last_wire, owner);
        self.last_wire
    }

    fn send(&mut self, wire: u64, frame: String) {
        self.actions.push_back(Action::Send { wire, frame });
    }
}

/// Removes what fulfils a condition.
fn take_where<V>(map: &mut BTreeMap<Key, V>, condition: impl Fn(&V) -> bool) -> Vec<(Key, V)> {
    let keys: Vec<_> = map.iter().filter(|(_, value)| condition(value)).map(|(key, _)| *key).collect();
    keys.into_iter().filter_map(|key| map.remove_entry(&key)).collect()
}

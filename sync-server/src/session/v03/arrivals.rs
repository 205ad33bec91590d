//! What a 0.3 client was sent, and how much of it has certainly arrived. It matters once the connection is
//! lost: an event that is sent twice stops the client until the app starts again, one that is left out is
//! missing for good. So a pull is continued from what is proven, not from what was sent.

use std::collections::VecDeque;

use livestore_sync_protocol::SeqNum;

use super::super::window::{WINDOW_BYTES_START, Window};

/// What proves that something which was sent has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Pongs of numbered WebSocket pings, one behind each chunk.
    Pongs,
    /// For platforms that cannot send WebSocket pings: a frame of the client's. A client that was heard less
    /// than [`HEARD_MS_MAX`] ago counts as having had everything.
    Frames,
}

/// 0.3 clients ping every 25 s and take 5 s for the answer (`ws-impl.ts` of sync-cf 0.3.1).
pub(crate) const HEARD_MS_MAX: u64 = 30_000;

/// Acknowledgements that may be repeated where nothing proves that they have arrived; the last ones. Published
/// clients wait for each before they push again.
pub(super) const UNPROVEN_ACKS_MAX: usize = 32;

/// Pulls of one connection that a later one could continue. Published clients have one.
const KNOWN_PULLS_MAX: usize = 16;

/// Pings that may be on their way; what is sent meanwhile is covered by the next.
pub(super) const PINGS_MAX: u64 = 64;

/// Where a 0.3 client's pull stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub(crate) struct Position {
    /// The pull's request id.
    pub(crate) pull: String,
    /// The last event that certainly arrived.
    pub(crate) after: SeqNum,
}

/// What a lost connection leaves to the next one of its client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    /// The pulls that its client may have: one if it asked on it, else those that it continued.
    pub(crate) pulls: Vec<Position>,
    /// Pushes whose acknowledgement may not have arrived.
    pub(crate) acknowledged: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Arrivals {
    proof: Proof,
    /// The pulls that the client may have: its own, or those that it may continue.
    pulls: Vec<Pull>,
    /// Acknowledgements that were sent and may not have arrived, each with the ping that covers it.
    acknowledged: VecDeque<(u64, String)>,
    /// Whether something was sent behind the last ping.
    unpinged: bool,
    /// How many pings were sent. The pong of one proves that what was sent before it has arrived.
    pinged: u64,
    /// The last ping that was answered.
    ponged: u64,
    /// What was sent of backlogs and has not arrived yet, as pongs tell.
    window: Window,
    /// What was sent of them behind the last ping, and when.
    unproven: Option<(usize, u64)>,
    /// The pings that cover what is in the window.
    backlog: VecDeque<u64>,
}

/// How far one pull is.
#[derive(Debug)]
struct Pull {
    id: String,
    sent: SeqNum,
    /// What had been sent when these pings went out.
    pinged: VecDeque<(u64, SeqNum)>,
    confirmed: SeqNum,
}

impl Arrivals {
    pub(super) fn new(proof: Proof) -> Self {
        Self {
            proof,
            pulls: Vec::new(),
            acknowledged: VecDeque::new(),
            unpinged: false,
            pinged: 0,
            ponged: 0,
            window: Window::default(),
            unproven: None,
            backlog: VecDeque::new(),
        }
    }

    /// Those of a connection that has been sent everything up to `head`.
    pub(super) fn restore(proof: Proof, pulls: Vec<Position>, acknowledged: Vec<String>, head: SeqNum) -> Self {
        let mut arrivals = Self::new(proof);
        for Position { pull, after } in pulls {
            arrivals.pulls.push(Pull { id: pull, sent: head, pinged: VecDeque::new(), confirmed: after });
        }
        arrivals.acknowledged = acknowledged.into_iter().map(|id| (0, id)).collect();
        arrivals
    }

    /// A pull that was asked for on this connection, by a client that has everything up to `after`.
    pub(super) fn begin(&mut self, id: String, after: SeqNum) {
        if self.pulls.len() >= KNOWN_PULLS_MAX {
            self.pulls.remove(0);
        }
        self.adopt(id, after);
    }

    /// A pull that is continued. Each of these counts: one that is dropped here, no later connection
    /// continues.
    pub(super) fn adopt(&mut self, id: String, after: SeqNum) {
        self.pulls.push(Pull { id, sent: after, pinged: VecDeque::new(), confirmed: after });
    }

    /// A pull that no later connection may continue.
    pub(super) fn forget(&mut self, id: &str) {
        self.pulls.retain(|pull| pull.id != id);
    }

    pub(super) fn forget_all(&mut self) {
        self.pulls.clear();
    }

    pub(super) fn has_pulls(&self) -> bool {
        !self.pulls.is_empty()
    }

    pub(super) fn pulls(&self) -> Vec<String> {
        self.pulls.iter().map(|pull| pull.id.clone()).collect()
    }

    pub(super) fn acknowledged(&self) -> Vec<String> {
        self.acknowledged.iter().map(|(_, id)| id.clone()).collect()
    }

    /// Events up to `last` go to the pull of this id, or, as a broadcast does, to all.
    pub(super) fn sent(&mut self, pull: Option<&str>, last: SeqNum) {
        for known in self.pulls.iter_mut().filter(|known| pull.is_none_or(|pull| known.id == pull)) {
            known.sent = known.sent.max(last);
            self.unpinged = true;
        }
    }

    /// Part of a backlog is sent.
    pub(super) fn send(&mut self, bytes: usize, now_ms: u64) {
        if self.proof == Proof::Pongs {
            let sent = self.unproven.map_or(0, |(bytes, _)| bytes);
            self.unproven = Some((sent + bytes, now_ms));
        }
    }

    /// Whether more of a backlog may be sent. Where nothing says what arrives, the link has to know.
    pub(super) fn has_room(&self) -> bool {
        self.window.is_open() && self.unproven.is_none_or(|(bytes, _)| bytes < WINDOW_BYTES_START)
    }

    /// Whether what is sent arrives at once.
    pub(super) fn are_instant(&self) -> bool {
        self.window.is_instant()
    }

    /// A push is acknowledged.
    pub(super) fn sent_acknowledgement(&mut self, push: &str) {
        self.acknowledged.push_back((self.pinged + 1, push.to_owned()));
        self.unpinged = true;
        if self.acknowledged.len() > UNPROVEN_ACKS_MAX {
            self.acknowledged.pop_front();
        }
    }

    /// The client has sent a frame. Where frames are the proof, it has what was sent before; a push shows
    /// that it has the acknowledgement of the last one, for which it waits.
    pub(super) fn heard(&mut self, is_push: bool) {
        if self.proof == Proof::Frames {
            self.pulls.iter_mut().for_each(|pull| pull.confirmed = pull.sent);
            if is_push {
                self.acknowledged.clear();
            }
        }
    }

    /// The number of a WebSocket ping to send now: its pong will prove that what was sent has arrived.
    /// Ask again after each frame.
    pub(super) fn poll_ping(&mut self) -> Option<u64> {
        if self.proof == Proof::Frames || !self.unpinged || self.pinged - self.ponged >= PINGS_MAX {
            return None;
        }
        self.unpinged = false;
        self.pinged += 1;
        self.pulls.iter_mut().for_each(|pull| pull.pinged.push_back((self.pinged, pull.sent)));
        if let Some((bytes, at_ms)) = self.unproven.take() {
            self.window.send(bytes, at_ms);
            self.backlog.push_back(self.pinged);
        }
        Some(self.pinged)
    }

    pub(super) fn handle_pong(&mut self, ping: u64, now_ms: u64) {
        // A client may send pongs that answer nothing.
        if ping > self.pinged {
            return;
        }
        self.ponged = self.ponged.max(ping);
        while self.backlog.front().is_some_and(|number| *number <= ping) {
            self.backlog.pop_front();
            self.window.arrive(now_ms);
        }
        for pull in &mut self.pulls {
            while let Some((_, sent)) = pull.pinged.front().filter(|(number, _)| *number <= ping) {
                pull.confirmed = *sent;
                pull.pinged.pop_front();
            }
        }
        self.acknowledged.retain(|(covered_by, _)| *covered_by > ping);
    }

    /// What the next connection of this client must know. `silent_ms` is how long the client was not heard.
    pub(super) fn lose(&mut self, silent_ms: u64) -> Lost {
        let arrived = self.proof == Proof::Frames && silent_ms < HEARD_MS_MAX;
        let acknowledged = self.acknowledged.drain(..).map(|(_, id)| id).collect();
        Lost { pulls: self.positions(arrived), acknowledged }
    }

    /// Where each pull stands, with all that was sent or with what has certainly arrived.
    pub(super) fn positions(&self, arrived: bool) -> Vec<Position> {
        let after = |pull: &Pull| if arrived { pull.sent } else { pull.confirmed };
        self.pulls.iter().map(|pull| Position { pull: pull.id.clone(), after: after(pull) }).collect()
    }
}

//! The side of a 0.4 or next client, which speak the RPC of Effect 3 and 4: any number of pulls, each live or
//! not, with chunks that the client acknowledges. Pure.

use std::collections::HashMap;

use livestore_sync_protocol::rpc::{self, Cause, ClientMessage, Request, ServerMessage};
use livestore_sync_protocol::{Chunk, ItemFormat, PageInfo, RequestId};
use serde::{Deserialize, Serialize};

use super::window::Window;
use super::{Action, Delivery, Outgoing, PULLS_MAX};
use crate::close::CloseCode;
use crate::error::{HistoryLost, PullError, rpc_failure};
use crate::event::Committed;
use crate::frame::Frame;

/// Chunks of one pull that may be without an `Ack`, however small: a client that acknowledges nothing of what is
/// published must not make a list grow for ever.
pub(super) const UNACKED_CHUNKS_MAX: usize = 16_384;

/// A connection that lives longer than this (ms), pings, and never asked for a pull, belongs to a
/// client that waits on a pull of an earlier connection: every
/// LiveStore client pulls within moments. Unless it pushes: see [`Rpc::is_parked`].
pub(super) const PARKED_CLIENT_MS: u64 = 5_000;

/// How chunks flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// A WebSocket client acknowledges each chunk.
    Acks,
    /// An HTTP body is read at the client's pace.
    Body,
    /// So is the answer to a Durable Object's call; it is called with what comes later.
    Calls,
}

#[derive(Debug)]
pub(super) struct Rpc {
    flow: Flow,
    opened_ms: u64,
    /// Whether any call was made on this connection.
    called: bool,
    /// Whether a pull was asked for on this connection.
    pulled: bool,
    pulls: HashMap<RequestId, Pull>,
    /// How many pulls were asked for.
    count: u64,
    pushes: Pushes,
    /// Whether it is a client that looks whether somebody is there. Where memory is lost, nobody asks.
    pinged: bool,
}

/// What the pushes of a connection say of its client. A backend id is what a client knows from a pull.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Pushes {
    #[default]
    None,
    /// One came without a backend id: this client has never pulled, on no connection, and so has lost no pull.
    NeverPulled,
    /// The last one, with a backend id, came at this time (ms). It may be a tool that knows the head, or a store
    /// whose pull is lost; a store does no worse for being told so a moment later.
    Knowing(u64),
}

#[derive(Debug)]
struct Pull {
    number: u64,
    phase: Phase,
    live: bool,
    /// What it was sent and has not acknowledged.
    unacked: Window,
}

/// What an [`Rpc`] is rebuilt from.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Snapshot {
    opened_ms: u64,
    called: bool,
    pulled: bool,
    count: u64,
    #[serde(default)]
    pushes: Pushes,
    /// Each takes as much room whether it has caught up or not: one that had room when it was asked for, has
    /// it when it is live.
    pulls: Vec<(RequestId, u64, Kept)>,
}

/// A phase, as small as it can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", from = "u8")]
enum Kept {
    /// It was sending its backlog, of which only memory knew.
    CatchingUp,
    Live,
}

impl From<Kept> for u8 {
    fn from(kept: Kept) -> Self {
        (kept == Kept::Live).into()
    }
}

impl From<u8> for Kept {
    fn from(kept: u8) -> Self {
        if kept == 1 { Self::Live } else { Self::CatchingUp }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    CatchingUp,
    Live,
}

pub(super) fn acknowledge(id: &RequestId) -> String {
    ServerMessage::push_success(id.clone()).encode()
}

impl Rpc {
    pub(super) fn new(now_ms: u64, flow: Flow) -> Self {
        Self {
            flow,
            opened_ms: now_ms,
            called: false,
            pulled: false,
            pulls: HashMap::new(),
            count: 0,
            pushes: Pushes::None,
            pinged: false,
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let kept = |pull: &Pull| if pull.phase == Phase::Live { Kept::Live } else { Kept::CatchingUp };
        Snapshot {
            opened_ms: self.opened_ms,
            called: self.called,
            pulled: self.pulled,
            count: self.count,
            pushes: self.pushes,
            pulls: self.pulls.iter().map(|(id, pull)| (id.clone(), pull.number, kept(pull))).collect(),
        }
    }

    /// Rebuilds a session; `None` if it was sending a backlog.
    pub(super) fn restore(snapshot: Snapshot) -> Option<Self> {
        let live = |number| Pull { number, phase: Phase::Live, live: true, unacked: Window::default() };
        snapshot.pulls.iter().all(|(_, _, kept)| *kept == Kept::Live).then(|| Self {
            called: snapshot.called,
            pulled: snapshot.pulled,
            count: snapshot.count,
            pushes: snapshot.pushes,
            pulls: snapshot.pulls.into_iter().map(|(id, number, _)| (id, live(number))).collect(),
            ..Self::new(snapshot.opened_ms, Flow::Acks)
        })
    }

    pub(super) fn has_pinged(&self) -> bool {
        self.pinged
    }

    /// Since when its client may be one that waits on a pull of an earlier connection; `None` where it is none.
    pub(super) fn waits_since_ms(&self) -> Option<u64> {
        match self.pushes {
            _ if self.pulled => None,
            Pushes::None => Some(self.opened_ms),
            Pushes::NeverPulled => None,
            Pushes::Knowing(pushed_ms) => Some(pushed_ms),
        }
    }

    /// Whether a ping at this time comes from such a client.
    pub(super) fn is_parked(&self, pinged_ms: u64) -> bool {
        self.waits_since_ms().is_some_and(|since_ms| pinged_ms.saturating_sub(since_ms) >= PARKED_CLIENT_MS)
    }

    pub(super) fn handle_frame(&mut self, text: &str, now_ms: u64) -> Vec<Action> {
        if text == rpc::PING {
            return vec![self.handle_ping(now_ms)];
        }
        ClientMessage::decode(text)
            .into_iter()
            .filter_map(|message| match message {
                Ok(message) => self.handle_message(message, now_ms),
                Err(error) => Some(Action::Reply(ServerMessage::from_decode_error(error).encode())),
            })
            .collect()
    }

    fn handle_message(&mut self, message: ClientMessage, now_ms: u64) -> Option<Action> {
        match message {
            ClientMessage::Ping => Some(self.handle_ping(now_ms)),
            ClientMessage::Eof => None,
            ClientMessage::Request(request) => {
                self.called = true;
                Some(self.handle_request(request, now_ms))
            }
            ClientMessage::Ack { request_id } => match self.pulls.get_mut(&request_id) {
                Some(pull) => {
                    pull.unacked.arrive(now_ms);
                    Some(Action::Progress)
                }
                None => self.handle_unknown_pull(),
            },
            ClientMessage::Interrupt { request_id } => match self.pulls.remove(&request_id) {
                Some(_) => {
                    let cause = Cause::interrupted(request_id.generation());
                    Some(Action::PullEnded(ServerMessage::failure(request_id, cause).encode()))
                }
                None => self.handle_unknown_pull(),
            },
        }
    }

    fn handle_ping(&mut self, now_ms: u64) -> Action {
        self.pinged = true;
        if self.is_parked(now_ms) {
            return Action::Close(CloseCode::NoPull);
        }
        Action::Pong(rpc::PONG.to_owned())
    }

    /// Acks and interrupts for calls that are over are normal. As the first thing on a connection
    /// they come from a client whose pull belongs to an earlier connection, and which waits for it
    /// for ever: the 0.4 client only starts again when the socket closes.
    fn handle_unknown_pull(&self) -> Option<Action> {
        (self.flow == Flow::Acks && !self.called).then_some(Action::Close(CloseCode::UnknownPull))
    }

    fn handle_request(&mut self, request: Request, now_ms: u64) -> Action {
        let Request { id, rpc, .. } = request;
        let generation = id.generation();
        match rpc {
            rpc::Rpc::Ping(..) => Action::Pong(ServerMessage::ping_success(id).encode()),
            rpc::Rpc::Push(_, push) if push.batch.is_empty() => Action::Reply(acknowledge(&id)),
            rpc::Rpc::Push(_, push) => {
                self.pushes = match (&push.backend_id, self.pushes) {
                    (None, _) | (_, Pushes::NeverPulled) => Pushes::NeverPulled,
                    (Some(_), _) => Pushes::Knowing(now_ms),
                };
                Action::Push { request_id: id, batch: push.batch, backend_id: push.backend_id, generation }
            }
            rpc::Rpc::Pull(_, pull) => {
                if self.pulls.contains_key(&id) {
                    return Action::Reply(defect(format!("the request {id} is still running")));
                }
                if self.pulls.len() >= PULLS_MAX {
                    let defect = format!("more than {PULLS_MAX} pulls on one connection").into();
                    return Action::Reply(ServerMessage::failure(id, Cause::Die { defect }).encode());
                }
                let live = match self.flow {
                    Flow::Acks => pull.live.unwrap_or(false),
                    Flow::Body => false,
                    Flow::Calls => pull.rpc_context.is_some(),
                };
                self.pulled = true;
                self.count += 1;
                self.pulls.insert(
                    id.clone(),
                    Pull { number: self.count, phase: Phase::CatchingUp, live, unacked: Window::default() },
                );
                Action::Pull { delivery: Delivery::Rpc(id, self.count), cursor: pull.cursor, live, generation }
            }
        }
    }

    /// The pull, unless it is over.
    fn pull(&mut self, id: &RequestId, number: u64) -> Option<&mut Pull> {
        self.pulls.get_mut(id).filter(|pull| pull.number == number)
    }

    pub(super) fn poll_ready(&self, id: &RequestId, number: u64) -> Option<bool> {
        let pull = self.pulls.get(id).filter(|pull| pull.number == number);
        pull.map(|pull| self.flow != Flow::Acks || pull.unacked.is_open())
    }

    pub(super) fn handle_chunk(
        &mut self,
        id: &RequestId,
        number: u64,
        chunk: Option<&Chunk>,
        remaining: u64,
        backend_id: &str,
        now_ms: u64,
    ) -> Option<Frame> {
        let acks = self.flow == Flow::Acks;
        let pull = self.pull(id, number)?;
        if acks {
            pull.unacked.send(chunk.map_or(0, |chunk| chunk.items.len()), now_ms);
        }
        let is_instant = pull.unacked.is_instant();
        let envelope = if self.flow == Flow::Calls { rpc::answer_chunk_envelope } else { rpc::chunk_envelope };
        Some(Frame::new(envelope(id, PageInfo::from_remaining(remaining), backend_id), chunk).hurried(is_instant))
    }

    pub(super) fn handle_caught_up(&mut self, id: &RequestId, number: u64, live: bool) -> Option<String> {
        let pull = self.pull(id, number)?;
        if live {
            pull.phase = Phase::Live;
            return None;
        }
        self.pulls.remove(id);
        Some(ServerMessage::pull_end(id.clone()).encode())
    }

    pub(super) fn handle_pull_failed(&mut self, id: &RequestId, number: u64, error: &PullError) -> Option<String> {
        self.pull(id, number)?;
        self.pulls.remove(id);
        Some(rpc_failure(id.clone(), error))
    }

    /// Those that still send a backlog find out by themselves.
    pub(super) fn handle_history_lost(&mut self, lost: &HistoryLost) -> Vec<String> {
        let error = PullError::from(lost.clone());
        let live = self.pulls.extract_if(|_, pull| pull.phase == Phase::Live);
        live.map(|(id, _)| rpc_failure(id, &error)).collect()
    }

    pub(super) fn handle_committed(&mut self, committed: &Committed, own: Option<&RequestId>) -> Vec<Outgoing> {
        let mut frames = Vec::new();
        for (id, pull) in self.pulls.iter_mut().filter(|(_, pull)| pull.phase == Phase::Live) {
            for chunk in committed.chunks(ItemFormat::Rpc) {
                pull.unacked.publish(chunk.items.len());
                let envelope = rpc::chunk_envelope(id, PageInfo::NoMore, &committed.backend_id);
                frames.push(Outgoing::Text(Frame::new(envelope, Some(chunk))));
            }
        }
        frames.extend(own.map(|id| Outgoing::Text(acknowledge(id).into())));
        frames
    }

    /// Whether the client leaves without an `Ack` more than it ever would.
    pub(super) fn is_deaf(&self) -> bool {
        self.pulls.values().any(|pull| pull.unacked.on_the_way() > UNACKED_CHUNKS_MAX)
    }

    pub(super) fn is_catching_up(&self) -> bool {
        self.pulls.values().any(|pull| pull.live && pull.phase == Phase::CatchingUp)
    }
}

fn defect(text: String) -> String {
    ServerMessage::Defect { defect: text.into() }.encode()
}

#[cfg(test)]
mod tests;

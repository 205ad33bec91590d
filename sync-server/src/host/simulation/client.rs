//! The other side: what a client sends, and what it has seen.

use std::collections::BTreeMap;
use std::sync::Arc;

use livestore_sync_protocol::rpc::{self, Cause, Exit, PullPayload, PushPayload, Rpc, SyncError};
use livestore_sync_protocol::{Cursor, Generation, PageInfo, PulledEvent, RequestId, SeqNum, v03};

use super::link::Mail;
use super::server::{Incoming, Wire};
use super::world::Offered;

/// How long a refusal waits for the pusher's pull, see `CATCH_UP_TIMEOUT` of the host.
const CATCH_UP_MS: u64 = 2_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    Ended,
    /// Failed or interrupted.
    Over,
}

#[derive(Debug)]
pub(crate) struct SeenPull {
    id: RequestId,
    pub(crate) live: bool,
    pub(crate) cursor: SeqNum,
    pub(crate) seen: Vec<PulledEvent>,
    pub(crate) state: State,
    /// Whether any of its own answer has come. 0.3 only.
    answered: bool,
    /// The last event that the client knew to be in the log when it asked.
    pub(crate) known: SeqNum,
    unacked: usize,
}

impl SeenPull {
    pub(crate) fn last(&self) -> SeqNum {
        self.seen.last().map_or(self.cursor, |pulled| pulled.event.seq_num)
    }
}

/// How a push was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Acknowledged,
    ServerAhead(SeqNum),
    Refused,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) batch: usize,
    /// How many pulls were asked for before it.
    pulls: usize,
    sent_ms: u64,
    /// Whether the batch had been acknowledged before it was pushed once more.
    acknowledged: bool,
    /// Whether the answer may have been lost with an earlier connection of a 0.3 client.
    pub(crate) may_be_lost: bool,
}

/// A client's side of one connection, or of several for a 0.3 client, which goes on with what it asked for.
pub(crate) struct Connected {
    pub(crate) wire: Wire,
    /// The number of its first connection.
    number: usize,
    reconnected: bool,
    pub(crate) generation: Generation,
    backend_id: Arc<str>,
    next_id: i64,
    pub(crate) pulls: Vec<SeenPull>,
    /// Pushes that wait for an answer.
    pub(crate) waiting: BTreeMap<RequestId, Waiting>,
    /// What a 0.3 client without a pull got.
    pub(crate) unasked: Vec<PulledEvent>,
}

/// Why a frame is wrong.
pub(crate) type Violation = String;

impl Connected {
    pub(crate) fn new(wire: Wire, number: usize, generation: Generation, backend_id: Arc<str>) -> Self {
        let (pulls, waiting, unasked) = (Vec::new(), BTreeMap::new(), Vec::new());
        Self { wire, number, reconnected: false, generation, backend_id, next_id: 0, pulls, waiting, unasked }
    }

    /// A 0.3 client that has pulled goes on with that pull on its next connection.
    pub(crate) fn may_reconnect(&self) -> bool {
        self.generation == Generation::V03 && self.pulls.iter().any(|pull| pull.state == State::Running)
    }

    /// The same client on another connection. It pings first.
    pub(crate) fn reconnect(&mut self, wire: Wire) {
        self.wire = wire;
        self.reconnected = true;
        // The server has had its pull.
        self.pulls.iter_mut().for_each(|pull| pull.answered = true);
        self.waiting.values_mut().for_each(|waiting| waiting.may_be_lost = true);
        self.ping();
    }

    /// The client ends the connection; this is what is left of it.
    pub(crate) fn hang_up(&mut self) -> Wire {
        self.wire.hang_up();
        self.wire.clone()
    }

    pub(crate) fn send(&self, text: String) {
        // A server that is done with this connection takes nothing.
        let _ = self.wire.outgoing.send(Incoming::Text(text));
    }

    /// As 0.3 clients do every 25 s.
    pub(crate) fn ping(&self) {
        self.send(r#"{"requestId":"ping","_tag":"WSMessage.Ping"}"#.to_owned());
    }

    /// The next frame. WebSocket pings are answered by the client's platform, at once.
    pub(crate) fn receive(&self) -> Option<String> {
        let mut text = None;
        loop {
            let is_pong = |wire: &Wire| wire.mailbox.is_ping_next();
            if text.is_some() && !is_pong(&self.wire) {
                return text;
            }
            match self.wire.mailbox.take() {
                None => return text,
                Some(Mail::Text(frame, _)) => text = Some(frame),
                Some(Mail::Ping(number)) => drop(self.wire.outgoing.send(Incoming::Pong(number))),
            }
        }
    }

    fn id(&mut self) -> RequestId {
        self.next_id += 1;
        match self.generation {
            Generation::Next => RequestId::Number(self.next_id),
            // 0.3 ids are told from those of other clients.
            _ => RequestId::Text(format!("{}-{}", self.number, self.next_id)),
        }
    }

    /// A 0.3 client pulls once, first of all.
    pub(crate) fn may_pull(&self) -> bool {
        self.generation != Generation::V03 || (self.next_id == 0 && self.unasked.is_empty())
    }

    pub(crate) fn pull(&mut self, live: bool, cursor: SeqNum, known: SeqNum) -> String {
        let id = self.id();
        let live = live || self.generation == Generation::V03;
        self.pulls.push(SeenPull {
            id: id.clone(),
            live,
            cursor,
            seen: Vec::new(),
            state: State::Running,
            answered: false,
            known,
            unacked: 0,
        });
        let cursor = Some(cursor).filter(|cursor| *cursor != SeqNum::ROOT);
        if self.generation == Generation::V03 {
            return v03::ClientMessage::Pull(v03::PullReq { request_id: id.to_string(), cursor }).encode();
        }
        let cursor = cursor.map(|seq_num| Cursor { backend_id: Some(self.backend_id.to_string()), seq_num });
        let payload =
            PullPayload { store_id: "store".into(), payload: None, live: Some(live), cursor, rpc_context: None };
        self.request(id, Rpc::Pull(rpc::Transport::Ws, payload))
    }

    pub(crate) fn push(&mut self, batch: usize, offered: &Offered, now_ms: u64) -> String {
        let events = &offered.events;
        let id = self.id();
        let (pulls, sent_ms) = (self.pulls.len(), now_ms);
        let waiting = Waiting { batch, pulls, sent_ms, acknowledged: offered.acknowledged, may_be_lost: false };
        self.waiting.insert(id.clone(), waiting);
        if self.generation == Generation::V03 {
            let push = v03::PushReq { request_id: id.to_string(), batch: events.to_vec() };
            return v03::ClientMessage::Push(push).encode();
        }
        let backend_id = Some(self.backend_id.to_string());
        let payload = PushPayload { store_id: "store".into(), payload: None, batch: events.to_vec(), backend_id };
        self.request(id, Rpc::Push(rpc::Transport::Ws, payload))
    }

    fn request(&self, id: RequestId, rpc: Rpc) -> String {
        let request = rpc::Request { id, rpc, headers: Vec::new(), trace_id: None, span_id: None, sampled: None };
        rpc::ClientMessage::Request(request).encode()
    }

    /// Acknowledges a chunk that waits for it.
    pub(crate) fn acknowledge(&mut self) -> Option<String> {
        let pull = self.pulls.iter_mut().find(|pull| pull.unacked > 0)?;
        pull.unacked -= 1;
        Some(rpc::ClientMessage::Ack { request_id: pull.id.clone() }.encode())
    }

    /// Interrupts a pull; 0.3 cannot.
    pub(crate) fn interrupt(&self, pull: usize) -> Option<String> {
        let pull = self.pulls.get(pull).filter(|_| self.generation != Generation::V03)?;
        (pull.state == State::Running).then(|| rpc::ClientMessage::Interrupt { request_id: pull.id.clone() }.encode())
    }

    /// Takes a frame; where it answers a push, says how.
    pub(crate) fn handle_frame(&mut self, frame: &str, now_ms: u64) -> Result<Vec<(usize, Answer)>, Violation> {
        if self.generation == Generation::V03 {
            return self.handle_v03(frame, now_ms).map(|answer| answer.into_iter().collect());
        }
        let messages = rpc::ServerMessage::decode(frame)?;
        let answers =
            messages.into_iter().map(|message| self.handle_rpc(message, now_ms)).collect::<Result<Vec<_>, _>>()?;
        Ok(answers.into_iter().flatten().collect())
    }

    fn handle_v03(&mut self, frame: &str, now_ms: u64) -> Result<Option<(usize, Answer)>, Violation> {
        match v03::ServerMessage::decode(frame).map_err(|error| error.to_string())? {
            v03::ServerMessage::Pull(v03::PullRes { batch, request_id, .. }) => {
                let is_answer = request_id.context == v03::Context::Pull;
                match self.pulls.first_mut() {
                    // Of what this app had asked for before it was started again: published clients ignore it, too.
                    Some(pull) if is_answer && pull.id.to_string() != request_id.request_id => {}
                    None if is_answer => {}
                    // Sent before the server had the pull, whose answer has it as well. (Published clients take it,
                    // and get it twice: nothing tells the server that they are new.)
                    Some(pull) if !is_answer && !pull.answered => {}
                    Some(pull) if pull.state == State::Running => {
                        pull.answered = true;
                        pull.seen.extend(batch);
                    }
                    Some(_) => {}
                    None => self.unasked.extend(batch),
                }
                Ok(None)
            }
            v03::ServerMessage::PushAck(v03::Id { request_id }) => {
                let id = RequestId::Text(request_id);
                // One that may have been lost is repeated, be it that of an app that was started again since.
                let is_own = id.to_string().starts_with(&format!("{}-", self.number));
                if !self.waiting.contains_key(&id) && (self.reconnected || !is_own) {
                    return Ok(None);
                }
                self.answered(&id, Answer::Acknowledged, now_ms).map(Some)
            }
            v03::ServerMessage::Pong(_) => Ok(None),
            v03::ServerMessage::Error(refusal) => {
                let reason = v03::Reason::from_message(&refusal.message);
                if let v03::Reason::BackendIdMismatch { .. } = reason {
                    return Err(format!("nothing was lost here, and a client is told {reason}"));
                }
                let id = RequestId::Text(refusal.request_id);
                if let Some(pull) = self.pulls.iter_mut().find(|pull| pull.id == id) {
                    pull.state = State::Over;
                    return Ok(None);
                }
                let answer = match reason {
                    v03::Reason::ServerAhead { minimum_expected_num, .. } => Answer::ServerAhead(minimum_expected_num),
                    _ => Answer::Refused,
                };
                self.answered(&id, answer, now_ms).map(Some)
            }
            other => Err(format!("unexpected: {other:?}")),
        }
    }

    fn handle_rpc(&mut self, message: rpc::ServerMessage, now_ms: u64) -> Result<Option<(usize, Answer)>, Violation> {
        match message {
            rpc::ServerMessage::Chunk { request_id, values } => {
                let pull = self.pulls.iter_mut().find(|pull| pull.id == request_id && pull.state == State::Running);
                let pull = pull.ok_or_else(|| format!("a chunk for {request_id}, which is no running pull"))?;
                for value in values {
                    pull.unacked += 1;
                    pull.seen.extend(value.batch);
                    if value.page_info == PageInfo::NoMore && pull.last() < pull.known {
                        return Err(format!("no more at {}, but {} was known", pull.last(), pull.known));
                    }
                }
                Ok(None)
            }
            rpc::ServerMessage::Exit { request_id, exit } => {
                if let Some(pull) = self.pulls.iter_mut().find(|pull| pull.id == request_id) {
                    if pull.state != State::Running {
                        return Err(format!("the pull {request_id} ends twice"));
                    }
                    pull.state = match exit {
                        Exit::Success(_) if pull.live => return Err("a live pull ends".into()),
                        Exit::Success(_) => State::Ended,
                        Exit::Failure(Cause::Fail { error: error @ SyncError::BackendIdMismatch { .. } }) => {
                            return Err(format!("nothing was lost here, and a pull is told {error:?}"));
                        }
                        Exit::Failure(_) => State::Over,
                    };
                    return Ok(None);
                }
                let answer = match exit {
                    Exit::Success(_) => Answer::Acknowledged,
                    Exit::Failure(Cause::Fail { error: SyncError::ServerAhead { minimum_expected_num, .. } }) => {
                        Answer::ServerAhead(minimum_expected_num)
                    }
                    Exit::Failure(Cause::Fail { error: error @ SyncError::BackendIdMismatch { .. } }) => {
                        return Err(format!("nothing was lost here, and a push is told {error:?}"));
                    }
                    Exit::Failure(_) => Answer::Refused,
                };
                self.answered(&request_id, answer, now_ms).map(Some)
            }
            other => Err(format!("unexpected: {other:?}")),
        }
    }

    fn answered(&mut self, id: &RequestId, answer: Answer, now_ms: u64) -> Result<(usize, Answer), Violation> {
        let Waiting { batch, pulls, sent_ms, acknowledged, .. } =
            self.waiting.remove(id).ok_or_else(|| format!("an answer to {id}, which nobody waits for"))?;
        if let (Answer::ServerAhead(_), true) = (answer, acknowledged) {
            return Err(format!("batch {batch} is refused after it was acknowledged"));
        }
        // For longer than this the server does not wait.
        let in_time = now_ms < sent_ms + CATCH_UP_MS;
        if let (Answer::ServerAhead(head), true) = (answer, in_time) {
            // What the client waits for now must have come already.
            let behind = self.pulls[..pulls]
                .iter()
                .find(|pull| pull.live && pull.state == State::Running && pull.cursor <= head && pull.last() < head);
            if let Some(pull) = behind {
                return Err(format!("told that the head is {head} while a live pull is at {}", pull.last()));
            }
        }
        Ok((batch, answer))
    }
}

//! A server as simple as it can be, well-behaved or like the reference.

use std::collections::{BTreeMap, HashMap, VecDeque};

use livestore_sync_protocol::rpc::{Cause, ClientMessage, Rpc, ServerMessage, SyncError};
use livestore_sync_protocol::v03;
use livestore_sync_protocol::{Args, Event, PageInfo, PullResponse, PulledEvent, RequestId, SeqNum};

use crate::connection::Protocol;
use crate::same::is_same_event;

const BACKEND_ID: &str = "the-log";
const CHUNK_EVENTS: usize = 3;
const WINDOW_CHUNKS: usize = 2;

/// A connection, and a frame for it.
pub(super) type Out = (usize, String);

#[derive(Debug)]
pub(super) struct Server {
    protocol: Protocol,
    /// As the reference: a push that is stored already is refused, and live events overtake a backlog.
    reference: bool,
    pub(super) log: Vec<Event>,
    pub(super) pulls: BTreeMap<usize, HashMap<RequestId, Pull>>,
    /// Frames that a slow server sends later.
    pub(super) later: VecDeque<Out>,
}

#[derive(Debug)]
pub(super) struct Pull {
    pub(super) live: bool,
    /// Events of the log that were sent.
    sent: usize,
    /// Where its backlog ends, for the reference.
    tip: usize,
    begun: bool,
    unacked: usize,
}

impl Server {
    pub(super) fn new(protocol: Protocol, reference: bool) -> Self {
        Self { protocol, reference, log: Vec::new(), pulls: BTreeMap::new(), later: VecDeque::new() }
    }

    pub(super) fn head(&self) -> SeqNum {
        self.log.last().map_or(SeqNum::ROOT, |event| event.seq_num)
    }

    pub(super) fn open(&mut self, socket: usize) {
        self.pulls.insert(socket, HashMap::new());
    }

    pub(super) fn close(&mut self, socket: usize) {
        self.pulls.remove(&socket);
    }

    pub(super) fn handle(&mut self, socket: usize, frame: &str) -> Vec<Out> {
        if !self.pulls.contains_key(&socket) {
            return Vec::new();
        }
        if self.protocol == Protocol::V03 { self.handle_v03(socket, frame) } else { self.handle_rpc(socket, frame) }
    }

    fn handle_rpc(&mut self, socket: usize, frame: &str) -> Vec<Out> {
        let message = ClientMessage::decode(frame).remove(0).expect("clients send what servers understand");
        let pulls = self.pulls.get_mut(&socket).expect("open");
        match message {
            ClientMessage::Ping => vec![(socket, ServerMessage::Pong.encode())],
            ClientMessage::Eof => vec![],
            ClientMessage::Interrupt { request_id } => {
                let cause = Cause::interrupted(livestore_sync_protocol::Generation::V04);
                let exit = || (socket, ServerMessage::failure(request_id.clone(), cause).encode());
                pulls.remove(&request_id).map(|_| exit()).into_iter().collect()
            }
            ClientMessage::Ack { request_id } => {
                if let Some(pull) = pulls.get_mut(&request_id) {
                    assert!(pull.unacked > 0, "an ack without a chunk");
                    pull.unacked -= 1;
                }
                self.pump(socket, &request_id)
            }
            ClientMessage::Request(request) => match request.rpc {
                Rpc::Ping(..) => vec![(socket, ServerMessage::ping_success(request.id).encode())],
                Rpc::Pull(_, pull) => {
                    let from = pull.cursor.as_ref().map_or(SeqNum::ROOT, |cursor| cursor.seq_num);
                    let sent = self.log.iter().filter(|event| event.seq_num <= from).count();
                    let live = pull.live.unwrap_or_default();
                    let pull = Pull { live, sent, tip: self.log.len(), begun: false, unacked: 0 };
                    assert!(pulls.insert(request.id.clone(), pull).is_none(), "ids are used once");
                    self.pump(socket, &request.id)
                }
                Rpc::Push(_, push) => match self.push(&push.batch) {
                    Err(error) => {
                        vec![(socket, ServerMessage::failure(request.id, Cause::Fail { error }).encode())]
                    }
                    Ok(stored) => {
                        let mut out = if stored { self.publish(push.batch.len()) } else { vec![] };
                        out.push((socket, ServerMessage::push_success(request.id).encode()));
                        out
                    }
                },
            },
        }
    }

    /// Whether it was stored just now.
    fn push(&mut self, batch: &[Event]) -> Result<bool, SyncError> {
        let parent = batch[0].parent_seq_num;
        if parent == self.head() {
            let stored: Vec<_> = batch.iter().map(|event| self.stored(event)).collect();
            self.log.extend(stored);
            return Ok(true);
        }
        let has_all = batch.iter().all(|event| self.log.iter().any(|stored| is_same_event(event, stored)));
        if has_all && !self.reference {
            return Ok(false);
        }
        Err(SyncError::ServerAhead { minimum_expected_num: self.head(), provided_num: parent })
    }

    /// How an event comes back: the reference parses arguments and writes them again, as JavaScript does.
    fn stored(&self, event: &Event) -> Event {
        let args = event.args.as_json().replace("1e400", "null").replace("1.0", "1");
        if self.reference { Event { args: Args::from_json(args).unwrap(), ..event.clone() } } else { event.clone() }
    }

    /// Sends live pulls the last events of the log, so many.
    fn publish(&mut self, count: usize) -> Vec<Out> {
        let batch = &self.log[self.log.len() - count..];
        let mut out = Vec::new();
        for (socket, pulls) in &mut self.pulls {
            for (id, pull) in pulls.iter_mut().filter(|(_, pull)| pull.live) {
                let caught_up = pull.begun && pull.sent + batch.len() == self.log.len();
                if caught_up {
                    pull.sent = self.log.len();
                    pull.tip = pull.sent;
                }
                if caught_up || self.reference {
                    pull.unacked += 1;
                    out.push((*socket, chunk(id, batch, 0)));
                }
            }
        }
        out
    }

    /// Sends as much of a backlog as there is room for.
    fn pump(&mut self, socket: usize, id: &RequestId) -> Vec<Out> {
        let mut out = Vec::new();
        let Some(pulls) = self.pulls.get_mut(&socket) else { return out };
        let Some(pull) = pulls.get_mut(id) else { return out };
        if !self.reference {
            pull.tip = self.log.len();
        }
        while (pull.unacked < WINDOW_CHUNKS || self.protocol == Protocol::V04Http)
            && (pull.sent < pull.tip || !pull.begun)
        {
            let until = (pull.sent + CHUNK_EVENTS).min(pull.tip);
            out.push((socket, chunk(id, &self.log[pull.sent..until], (pull.tip - until) as u64)));
            pull.sent = until;
            pull.begun = true;
            pull.unacked += 1;
        }
        if pull.sent == pull.tip && !pull.live && (pull.unacked == 0 || self.protocol == Protocol::V04Http) {
            pulls.remove(id);
            out.push((socket, ServerMessage::pull_end(id.clone()).encode()));
        }
        out
    }

    fn handle_v03(&mut self, socket: usize, frame: &str) -> Vec<Out> {
        match v03::ClientMessage::decode(frame).expect("clients send what servers understand") {
            v03::ClientMessage::Ping(id) => vec![(socket, v03::ServerMessage::Pong(id).encode())],
            v03::ClientMessage::Pull(pull) => {
                let from = pull.cursor.unwrap_or_default();
                let missing: Vec<_> = self.log.iter().filter(|event| event.seq_num > from).cloned().collect();
                let mut left = missing.len();
                let mut pages: Vec<&[Event]> = missing.chunks(CHUNK_EVENTS).collect();
                if pages.is_empty() {
                    pages.push(&[]);
                }
                let mut out = Vec::new();
                for page in pages {
                    left -= page.len();
                    out.push((socket, page_v03(page, v03::Context::Pull, &pull.request_id, left as u64)));
                }
                if self.reference {
                    self.later.extend(out.drain(..));
                }
                out
            }
            v03::ClientMessage::Push(push) => match self.push(&push.batch) {
                Err(SyncError::ServerAhead { minimum_expected_num, provided_num }) => {
                    let message = format!(
                        "Invalid parent event number. Received e{provided_num} but expected e{minimum_expected_num}"
                    );
                    let refusal = v03::Refusal { request_id: push.request_id, message };
                    vec![(socket, v03::ServerMessage::Error(refusal).encode())]
                }
                Err(other) => panic!("{other:?}"),
                Ok(stored) => {
                    let all = self.pulls.keys().filter(|_| stored);
                    let page = |to| {
                        (
                            to,
                            page_v03(
                                &self.log[self.log.len() - push.batch.len()..],
                                v03::Context::Push,
                                &push.request_id,
                                0,
                            ),
                        )
                    };
                    let mut out: Vec<_> = all.map(|to| page(*to)).collect();
                    let ack = v03::Id { request_id: push.request_id.clone() };
                    out.push((socket, v03::ServerMessage::PushAck(ack).encode()));
                    out
                }
            },
            other => panic!("{other:?}"),
        }
    }
}

fn items(events: &[Event]) -> Vec<PulledEvent> {
    events.iter().map(|event| PulledEvent { event: event.clone(), created_at: None }).collect()
}

fn chunk(id: &RequestId, events: &[Event], remaining: u64) -> String {
    let page_info = PageInfo::from_remaining(remaining);
    let value = PullResponse { batch: items(events), page_info, backend_id: BACKEND_ID.into() };
    ServerMessage::Chunk { request_id: id.clone(), values: vec![value] }.encode()
}

fn page_v03(events: &[Event], context: v03::Context, request_id: &str, remaining: u64) -> String {
    let request_id = v03::PullResId { context, request_id: request_id.to_owned() };
    v03::ServerMessage::Pull(v03::PullRes { batch: items(events), request_id, remaining }).encode()
}

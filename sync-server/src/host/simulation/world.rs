//! One store, its servers one after another, its clients, and the operations on them.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use livestore_sync_protocol::rpc::{self, PullPayload, PushPayload, Rpc};
use livestore_sync_protocol::{Args, Event, Generation, RequestId, SeqNum};
use tokio::sync::mpsc;

use super::check;
use super::client::{Answer, Connected, Violation};
use super::executor::Executor;
use super::op::{Base, CLIENTS, From, Op, Stop};
use super::platform::{Clock, Simulated};
use super::rng::Rng;
use super::server::{REJECTED, Server, Wire};
use crate::event::Batch;
use crate::event_log::{EventLog, Faults, Operation};
use crate::session::{Proof, Session};

/// Polls after which a world that does not come to rest never will.
const POLLS_MAX: usize = 1_000_000;

/// A batch that was offered, once or more often.
#[derive(Debug)]
pub(crate) struct Offered {
    pub(crate) events: Vec<Event>,
    pub(crate) acknowledged: bool,
    pub(crate) rejected: bool,
}

#[derive(Default)]
struct Client {
    connected: Option<Connected>,
    /// A 0.3 client without a connection, which will go on where it was.
    away: Option<Connected>,
    /// The last event that it knows to be in the log.
    known: SeqNum,
    /// The last event that it pushed.
    pushed: SeqNum,
    batches: Vec<usize>,
}

/// For each receiver of a publication; about what some operations take.
const REST_MS: u64 = 20;

pub(crate) struct World<L: EventLog> {
    log: Arc<L>,
    faults: Faults,
    clock: Clock,
    executor: Executor,
    server: Server<L>,
    servers: usize,
    /// See [`Rest`](crate::host::Rest).
    rest_ms: u64,
    connections: usize,
    clients: Vec<Client>,
    offered: Vec<Offered>,
    /// Connections that ended, for what they had seen.
    ended: Vec<Connected>,
    /// Connections that the server takes for open.
    vanished: Vec<Wire>,
    /// Connections whose servers have to be done with them at the end.
    closing: Vec<Wire>,
    /// Answers to bodies, each with the batch that was pushed in it.
    exchanges: Vec<(usize, SeqNum, mpsc::UnboundedReceiver<Vec<u8>>)>,
    /// What the server has written down of 0.3 clients.
    saved: String,
    /// Which operations of the log have been made to fail.
    failed: Vec<Operation>,
}

/// The output of a future that never waits.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the log waits"),
    }
}

fn seq(number: i64) -> SeqNum {
    SeqNum::new(number).expect("a safe integer")
}

impl<L: EventLog> World<L> {
    pub(crate) fn new(log: L, seed: u64) -> Self {
        let (log, faults, clock) = (Arc::new(log), Faults::none(), Clock::default());
        clock.pass(1);
        let executor = Executor::new(Rng::new(seed));
        // Every other world is one whose platform has no WebSocket pings and loses its memory.
        let proof = if seed.is_multiple_of(2) { Proof::Pongs } else { Proof::Frames };
        let platform = Simulated { owner: 0, spawner: executor.spawner().clone(), clock: clock.clone() };
        // In a third of them, publishing is slow.
        let rest_ms = if seed.is_multiple_of(3) { REST_MS } else { 0 };
        let server = Server::new(Arc::clone(&log), faults.clone(), platform, proof, rest_ms);
        let saved = "{\"lost\":[],\"connected\":[]}".to_owned();
        server.wake(&saved, Vec::new());
        Self {
            log,
            faults,
            clock,
            executor,
            server,
            servers: 1,
            rest_ms,
            connections: 0,
            // One more, for the end.
            clients: (0..=CLIENTS).map(|_| Client::default()).collect(),
            offered: Vec::new(),
            ended: Vec::new(),
            vanished: Vec::new(),
            closing: Vec::new(),
            exchanges: Vec::new(),
            saved,
            failed: Vec::new(),
        }
    }

    pub(crate) fn apply(&mut self, op: Op) -> Result<(), Violation> {
        self.clock.pass(1);
        match op {
            Op::Connect { client, generation } => self.connect(client, generation),
            Op::Pull { client, live, from } => self.pull(client, live, from),
            Op::Push { client, events, gap, base, rejected } => self.push(client, events, gap, base, rejected),
            Op::Repeat { client, back } => {
                let Client { batches, known, pushed, .. } = &self.clients[client];
                let builds_on = |batch: usize| self.offered[batch].events[0].parent_seq_num;
                if let Some(batch) = batches.len().checked_sub(back + 1).map(|index| batches[index])
                    // What a batch builds on that was refused, a client has given up.
                    && builds_on(batch) <= *(known.max(pushed))
                {
                    self.offer(client, batch);
                }
            }
            Op::Receive { client, frames } => return self.receive(client, frames).map(drop),
            Op::Ack { client, chunks } => {
                for _ in 0..chunks {
                    self.acknowledge(client);
                }
            }
            Op::Interrupt { client, pull } => {
                let Some(connected) = &self.clients[client].connected else { return Ok(()) };
                if let Some(frame) = connected.interrupt(pull) {
                    connected.send(frame);
                }
            }
            Op::Drop { client, vanishes } => return self.disconnect(client, vanishes),
            Op::Reload { client } => {
                self.disconnect(client, false)?;
                self.ended.extend(self.clients[client].away.take());
            }
            Op::Restart { stop } => return self.restart(stop),
            Op::Hibernate => self.hibernate(),
            Op::Wait { ms } => {
                self.ping_all();
                self.run();
                self.clock.pass(ms);
            }
            Op::Exchange { client, events } => self.exchange(client, events),
            Op::Foreign { events } => self.append_elsewhere(events),
            Op::Fault { operation, fault, skip, times } => {
                (0..skip).for_each(|_| self.faults.succeed(operation));
                (0..times).for_each(|_| self.faults.fail(operation, fault));
                self.failed.push(operation);
            }
            Op::Run { polls } => {
                for _ in 0..polls {
                    if !self.executor.step() {
                        break;
                    }
                }
            }
        }
        self.notice_closed()
    }

    fn connect(&mut self, client: usize, generation: Generation) {
        if self.clients[client].connected.is_some() {
            return;
        }
        self.connections += 1;
        let fingerprint = format!("client {client}");
        let away = self.clients[client].away.take();
        if let Some(away) = &away {
            while !away.wire.opened.load(Ordering::Relaxed) && self.executor.step() {}
        }
        let generation = away.as_ref().map_or(generation, |away| away.generation);
        let wire = self.server.connect(self.connections, generation, fingerprint);
        self.clients[client].pushed = SeqNum::ROOT;
        self.clients[client].connected = Some(match away {
            Some(mut away) => {
                away.reconnect(wire);
                away
            }
            None => {
                let backend_id = now(self.log.backend_id()).expect("the log itself does not fail");
                Connected::new(wire, self.connections, generation, backend_id)
            }
        });
    }

    fn pull(&mut self, client: usize, live: bool, from: From) {
        let known = self.clients[client].known;
        let Some(connected) = self.clients[client].connected.as_mut().filter(|connected| connected.may_pull()) else {
            return;
        };
        let cursor = match from {
            From::Start => SeqNum::ROOT,
            From::Known => known,
            From::Percent(percent) => seq(known.get() * percent / 100),
        };
        let frame = connected.pull(live, cursor, known);
        connected.send(frame);
    }

    fn push(&mut self, client: usize, events: i64, gap: i64, base: Base, rejected: bool) {
        if self.clients[client].connected.is_some() {
            let batch = self.make_batch(client, events, gap, base, rejected);
            self.offer(client, batch);
        }
    }

    fn make_batch(&mut self, client: usize, events: i64, gap: i64, base: Base, rejected: bool) -> usize {
        let pusher = &mut self.clients[client];
        let parent = match base {
            Base::Known => pusher.known,
            Base::Pushed => pusher.pushed.max(pusher.known),
            Base::Stale(back) => seq((pusher.known.get() - back).max(0)),
        };
        let name = if rejected { REJECTED } else { "event" };
        let events = chain(parent, events, gap, name, &format!("client {client}"), self.offered.len());
        if !rejected {
            pusher.pushed = events[events.len() - 1].seq_num;
        }
        pusher.batches.push(self.offered.len());
        self.offered.push(Offered { events, acknowledged: false, rejected });
        self.offered.len() - 1
    }

    fn offer(&mut self, client: usize, batch: usize) {
        if let Some(connected) = &mut self.clients[client].connected {
            let frame = connected.push(batch, &self.offered[batch], self.clock.now_ms());
            connected.send(frame);
        }
    }

    /// A body with a push and a pull that is not live.
    fn exchange(&mut self, client: usize, events: i64) {
        let known = self.clients[client].known;
        let pushed = self.clients[client].pushed;
        let batch = self.make_batch(client, events, 0, Base::Known, false);
        // A connection knows nothing of what is refused in a body, and no client builds on that there.
        self.clients[client].pushed = pushed;
        let request = |id: i64, rpc| {
            let id = RequestId::Number(id);
            let request = rpc::Request { id, rpc, headers: Vec::new(), trace_id: None, span_id: None, sampled: None };
            rpc::ClientMessage::Request(request).encode()
        };
        let batch_of = self.offered[batch].events.clone();
        let push = PushPayload { store_id: "store".into(), payload: None, batch: batch_of, backend_id: None };
        let pull =
            PullPayload { store_id: "store".into(), payload: None, live: Some(false), cursor: None, rpc_context: None };
        let push = request(1, Rpc::Push(rpc::Transport::Http, push));
        let pull = request(2, Rpc::Pull(rpc::Transport::Http, pull));
        self.exchanges.push((batch, known, self.server.exchange(format!("{push}\n{pull}\n"))));
    }

    /// Whether there was a frame.
    fn receive(&mut self, client: usize, frames: usize) -> Result<bool, Violation> {
        let now_ms = self.clock.now_ms();
        let Client { connected: Some(connected), known, pushed, .. } = &mut self.clients[client] else {
            return Ok(false);
        };
        let mut received = false;
        for _ in 0..frames {
            let Some(frame) = connected.receive() else { break };
            received = true;
            let wrong = |violation| format!("client {client}: {violation}");
            for (batch, answer) in connected.handle_frame(&frame, now_ms).map_err(wrong)? {
                let offered = &mut self.offered[batch];
                match answer {
                    Answer::Acknowledged => {
                        offered.acknowledged = true;
                        *known = (*known).max(offered.events[offered.events.len() - 1].seq_num);
                    }
                    Answer::ServerAhead(head) => *known = (*known).max(head),
                    Answer::Refused => {}
                }
                if answer != Answer::Acknowledged {
                    // From here on it builds on what it knows.
                    *pushed = SeqNum::ROOT;
                }
            }
            *known = connected.pulls.iter().map(|pull| pull.last()).fold(*known, SeqNum::max);
        }
        Ok(received)
    }

    /// Whether there was a chunk to acknowledge.
    fn acknowledge(&mut self, client: usize) -> bool {
        let Some(connected) = &mut self.clients[client].connected else { return false };
        let frame = connected.acknowledge();
        let acknowledged = frame.is_some();
        frame.into_iter().for_each(|frame| connected.send(frame));
        acknowledged
    }

    /// Runs tasks until all wait.
    fn run(&mut self) {
        let mut polls = 0;
        while self.executor.step() {
            polls += 1;
            assert!(polls < POLLS_MAX, "it does not come to rest");
        }
    }

    /// Without WebSocket pings, nothing tells what was on its way to a 0.3 client when its connection ended
    /// (PROTOCOL.md): in this world it arrives first.
    fn let_arrive(&mut self, client: usize) -> Result<(), Violation> {
        loop {
            self.run();
            if !self.receive(client, usize::MAX)? {
                return Ok(());
            }
        }
    }

    /// The connection ends. Its pulls notice; the pushes that it sent go on.
    fn disconnect(&mut self, client: usize, vanishes: bool) -> Result<(), Violation> {
        let Some(connected) = &self.clients[client].connected else { return Ok(()) };
        let goes_on = connected.may_reconnect();
        if goes_on && self.server.proof == Proof::Frames {
            self.let_arrive(client)?;
            self.clients[client].connected.iter().for_each(Connected::ping);
            self.run();
        }
        let Some(mut connected) = self.clients[client].connected.take() else { return Ok(()) };
        if vanishes {
            // What it sent has reached the server: of a pull that has not, nothing could tell.
            self.run();
            self.vanished.push(connected.wire.clone());
        } else {
            self.closing.push(connected.hang_up());
            if goes_on && self.server.proof == Proof::Frames {
                self.run();
            }
        }
        if goes_on {
            self.clients[client].away = Some(connected);
        } else {
            self.ended.push(connected);
        }
        Ok(())
    }

    /// Clients whose connection the server has closed take what was sent before, and are gone.
    fn notice_closed(&mut self) -> Result<(), Violation> {
        for client in 0..self.clients.len() {
            let is_closed = |connected: &Connected| connected.wire.mailbox.closed.is_cancelled();
            if self.clients[client].connected.as_ref().is_some_and(is_closed) {
                self.receive(client, usize::MAX)?;
                if let Some(mut connected) = self.clients[client].connected.take() {
                    self.closing.push(connected.hang_up());
                    let goes_on = connected.may_reconnect();
                    let client = &mut self.clients[client];
                    if goes_on { client.away = Some(connected) } else { self.ended.push(connected) }
                }
            }
        }
        let closed = |wire: &Wire| wire.mailbox.closed.is_cancelled();
        self.closing.extend(self.vanished.extract_if(.., |wire| closed(wire)));
        Ok(())
    }

    fn restart(&mut self, stop: Stop) -> Result<(), Violation> {
        if self.server.proof == Proof::Frames && !self.vanished.is_empty() {
            // A client that was heard a moment ago counts as having had everything (PROTOCOL.md): not these.
            self.ping_all();
            self.run();
            self.clock.pass(Session::V03_HEARD_MS_MAX);
        }
        for client in 0..self.clients.len() {
            self.disconnect(client, false)?;
        }
        for mut wire in std::mem::take(&mut self.vanished) {
            // The server hangs up.
            wire.mailbox.closed.cancel();
            wire.hang_up();
            self.closing.push(wire);
        }
        match stop {
            Stop::Orderly => {
                self.settle()?;
                self.server.save(&mut self.saved);
            }
            Stop::Crash => {
                self.executor.cancel(self.server.number());
                self.closing.clear();
                self.exchanges.clear();
            }
            Stop::Overlap => {}
        }
        if stop != Stop::Orderly {
            // What a server had not written down, the next one does not know: these apps have to start again.
            for client in &mut self.clients {
                self.ended.extend(client.away.take());
            }
        }
        self.next_server();
        self.server.wake(&self.saved, Vec::new());
        Ok(())
    }

    fn next_server(&mut self) {
        let (log, faults) = (Arc::clone(&self.log), self.faults.clone());
        let platform =
            Simulated { owner: self.servers, spawner: self.executor.spawner().clone(), clock: self.clock.clone() };
        self.server = Server::new(log, faults, platform, self.server.proof, self.rest_ms);
        self.servers += 1;
    }

    fn hibernate(&mut self) {
        self.run();
        // An object with work or a timer stays in memory.
        if self.server.proof != Proof::Frames || self.server.is_busy() || self.clock.next_timer_ms().is_some() {
            return;
        }
        // What was appended elsewhere and not noticed before, live pulls miss.
        let head = now(self.log.head()).expect("the log itself does not fail").seq_num;
        if self.server.known_head() != Some(head) {
            return;
        }
        self.server.save(&mut self.saved);
        self.executor.cancel(self.server.number());
        self.next_server();
        // An object sleeps after seconds without anything to do: by then a client has its refusals, and builds on
        // what it knows.
        self.clients.iter_mut().for_each(|client| client.pushed = SeqNum::ROOT);
        let clients = self.clients.iter_mut().filter_map(|client| client.connected.as_mut());
        let wires = clients.map(|connected| &mut connected.wire).chain(&mut self.vanished);
        let wires = wires.filter(|wire| !wire.mailbox.closed.is_cancelled());
        self.server.wake(&self.saved, wires.map(Wire::renew).collect());
        // Nor is anything appended elsewhere meanwhile.
        self.run();
    }

    fn append_elsewhere(&mut self, events: i64) {
        let head = now(self.log.head()).expect("the log itself does not fail");
        let events = chain(head.seq_num, events, 0, "event", "elsewhere", self.offered.len());
        let time = crate::platform::iso_timestamp(self.clock.now_ms());
        let batch = Arc::new(Batch::new(events.clone().into(), time));
        now(self.log.append(head, vec![batch])).expect("the log itself does not fail");
        self.offered.push(Offered { events, acknowledged: true, rejected: false });
    }

    /// 0.3 clients ping before so much time has passed that they would count as gone.
    fn ping_all(&mut self) {
        let connected = self.clients.iter().filter_map(|client| client.connected.as_ref());
        connected.filter(|connected| connected.generation == Generation::V03).for_each(Connected::ping);
    }

    /// No more faults, everybody takes and acknowledges everything, until nothing happens any more.
    /// What nobody noticed yet (an append elsewhere, one whose answer was lost) shows at the next push.
    pub(crate) fn rest(&mut self) -> Result<(), Violation> {
        self.faults.clear();
        self.settle()?;
        for client in 0..CLIENTS {
            // 0.3 clients that are away come back, for the acknowledgements and the events that they wait for.
            if self.clients[client].away.is_some() {
                self.connect(client, Generation::V03);
            }
        }
        self.settle()?;
        self.connect(CLIENTS, Generation::V04);
        for _ in 0..10 {
            self.pull(CLIENTS, false, From::Known);
            self.settle()?;
            self.push(CLIENTS, 1, 0, Base::Known, false);
            self.settle()?;
            if self.offered[self.offered.len() - 1].acknowledged {
                let log = now(self.log.events(SeqNum::ROOT, SeqNum::MAX, u32::MAX));
                let log = log.expect("the log itself does not fail");
                for (batch, known, frames) in &mut self.exchanges {
                    check::exchange(&log, &mut self.offered[*batch], *known, frames)?;
                }
                let done = |wire: &Wire| wire.ended.load(Ordering::Relaxed);
                if let Some(wire) = self.closing.iter().find(|wire| !done(wire)) {
                    return Err(format!("the server is never done with {wire}"));
                }
                let open = self.clients.iter().filter_map(|client| client.connected.as_ref());
                // A push whose append and whose look-up after it both failed is refused, stored or not.
                let in_doubt =
                    self.failed.contains(&Operation::Append) && self.failed.iter().any(|o| *o != Operation::Append);
                return check::all(&log, &self.offered, open, &self.ended, in_doubt);
            }
        }
        Err("nobody can push any more".into())
    }

    fn settle(&mut self) -> Result<(), Violation> {
        loop {
            self.run();
            self.notice_closed()?;
            let mut moved = false;
            for client in 0..self.clients.len() {
                moved |= self.receive(client, usize::MAX)?;
                while self.acknowledge(client) {
                    moved = true;
                }
            }
            if moved {
                continue;
            }
            let Some(next_ms) = self.clock.next_timer_ms() else { return Ok(()) };
            self.ping_all();
            self.run();
            self.clock.pass(next_ms.saturating_sub(self.clock.now_ms()));
        }
    }
}

/// Events that are like no others. With gaps, each leaves out so many numbers.
fn chain(parent: SeqNum, events: i64, gap: i64, name: &str, client: &str, batch: usize) -> Vec<Event> {
    let numbers = (1..=events).map(|index| parent.get() + index * (gap + 1));
    let parents = std::iter::once(parent.get()).chain(numbers.clone());
    numbers
        .zip(parents)
        .enumerate()
        .map(|(index, (number, parent))| Event {
            name: name.into(),
            args: Args::from_json(format!(r#"{{"batch":{batch},"event":{index}}}"#)).expect("JSON"),
            seq_num: seq(number),
            parent_seq_num: seq(parent),
            client_id: client.into(),
            session_id: "session".into(),
        })
        .collect()
}

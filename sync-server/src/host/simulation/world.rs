//! One store, its clients, and the operations on them.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use livestore_sync_server::Batch;
use livestore_sync_server::event_log::{EventLog, Faults};
use livestore_sync_server::protocol::{Args, Event, Generation, SeqNum};

use crate::check;
use crate::client::{Answer, Connected, Violation};
use crate::executor::Executor;
use crate::op::{Base, CLIENTS, From, Op};
use crate::rng::Rng;
use crate::shell::{REJECTED, Server};

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
    /// The last event that it knows to be in the log.
    known: SeqNum,
    /// The last event that it pushed.
    pushed: SeqNum,
    batches: Vec<usize>,
}

pub(crate) struct World<L> {
    log: Arc<L>,
    faults: Faults,
    now_ms: Arc<AtomicU64>,
    executor: Executor,
    rng: Rng,
    server: Server<L>,
    servers: usize,
    connections: usize,
    clients: Vec<Client>,
    offered: Vec<Offered>,
    /// Connections that ended, for what they had seen.
    ended: Vec<Connected>,
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
        let (log, faults, now_ms) = (Arc::new(log), Faults::none(), Arc::new(AtomicU64::new(1)));
        let executor = Executor::new(Rng::new(seed));
        let server = Server::new(0, Arc::clone(&log), faults.clone(), executor.spawner().clone(), Arc::clone(&now_ms));
        Self {
            log,
            faults,
            now_ms,
            executor,
            rng: Rng::new(!seed),
            server,
            servers: 1,
            connections: 0,
            // One more, for the end.
            clients: (0..=CLIENTS).map(|_| Client::default()).collect(),
            offered: Vec::new(),
            ended: Vec::new(),
        }
    }

    pub(crate) fn apply(&mut self, op: Op) -> Result<(), Violation> {
        self.now_ms.fetch_add(1, Ordering::Relaxed);
        match op {
            Op::Connect { client, generation } => self.connect(client, generation),
            Op::Pull { client, live, from } => self.pull(client, live, from),
            Op::Push { client, events, gap, base, rejected } => self.push(client, events, gap, base, rejected),
            Op::Repeat { client, back } => {
                let batches = &self.clients[client].batches;
                if let Some(batch) = batches.len().checked_sub(back + 1).map(|index| batches[index]) {
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
                    self.server.handle(&connected.peer, &frame);
                }
            }
            Op::Drop { client } => self.disconnect(client),
            Op::Restart { crash } => self.restart(crash),
            Op::Foreign { events } => self.append_elsewhere(events),
            Op::Fault { operation, fault, skip } => {
                (0..skip).for_each(|_| self.faults.succeed(operation));
                self.faults.fail(operation, fault);
            }
            Op::Run { polls } => {
                for _ in 0..polls {
                    if !self.executor.step() {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn connect(&mut self, client: usize, generation: Generation) {
        if self.clients[client].connected.is_none() {
            self.connections += 1;
            let backend_id = now(self.log.backend_id()).expect("the log itself does not fail");
            let peer = self.server.connect(self.connections, generation);
            self.clients[client].connected = Some(Connected::new(peer, generation, backend_id));
        }
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
        self.server.handle(&connected.peer, &frame);
    }

    fn push(&mut self, client: usize, events: i64, gap: i64, base: Base, rejected: bool) {
        let pusher = &mut self.clients[client];
        if pusher.connected.is_none() {
            return;
        }
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
        self.offer(client, self.offered.len() - 1);
    }

    fn offer(&mut self, client: usize, batch: usize) {
        if let Some(connected) = &mut self.clients[client].connected {
            let frame = connected.push(batch, &self.offered[batch].events);
            self.server.handle(&connected.peer, &frame);
        }
    }

    /// Whether there was a frame.
    fn receive(&mut self, client: usize, frames: usize) -> Result<bool, Violation> {
        let Client { connected: Some(connected), known, .. } = &mut self.clients[client] else { return Ok(false) };
        let mut received = false;
        for _ in 0..frames {
            let Some(frame) = connected.peer.receive() else { break };
            received = true;
            let wrong = |violation| format!("client {client}: {violation}");
            for (batch, answer) in connected.handle_frame(&frame).map_err(wrong)? {
                let offered = &mut self.offered[batch];
                match answer {
                    Answer::Acknowledged => {
                        offered.acknowledged = true;
                        *known = (*known).max(offered.events[offered.events.len() - 1].seq_num);
                    }
                    Answer::ServerAhead(_) if offered.acknowledged => {
                        return Err(wrong(format!("batch {batch} is refused after it was acknowledged")));
                    }
                    Answer::ServerAhead(head) => *known = (*known).max(head),
                    Answer::Refused => {}
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
        if let Some(frame) = &frame {
            self.server.handle(&connected.peer, frame);
        }
        frame.is_some()
    }

    fn disconnect(&mut self, client: usize) {
        let Some(connected) = self.clients[client].connected.take() else { return };
        self.server.disconnect(&connected.peer);
        if self.rng.one_in(2) {
            let owner = self.server.owner(Some(connected.peer.number));
            self.executor.cancel(|other| *other == owner);
        }
        self.ended.push(connected);
    }

    fn restart(&mut self, crash: bool) {
        (0..self.clients.len()).for_each(|client| self.disconnect(client));
        if crash {
            let server = self.server.owner(None).server;
            self.executor.cancel(|owner| owner.server == server);
        }
        let (log, faults) = (Arc::clone(&self.log), self.faults.clone());
        let (spawner, now_ms) = (self.executor.spawner().clone(), Arc::clone(&self.now_ms));
        self.server = Server::new(self.servers, log, faults, spawner, now_ms);
        self.servers += 1;
    }

    fn append_elsewhere(&mut self, events: i64) {
        let tip = now(self.log.tip()).expect("the log itself does not fail");
        let events = chain(tip.head, events, 0, "event", "elsewhere", self.offered.len());
        let time = livestore_sync_server::iso_timestamp(self.now_ms.load(Ordering::Relaxed));
        let batch = Arc::new(Batch::new(events.clone().into(), time));
        now(self.log.append(tip, vec![batch])).expect("the log itself does not fail");
        self.offered.push(Offered { events, acknowledged: true, rejected: false });
    }

    /// No more faults, everybody takes and acknowledges everything, until nothing happens any more.
    /// What nobody noticed yet (an append elsewhere, one whose answer was lost) shows at the next push.
    pub(crate) fn rest(&mut self) -> Result<(), Violation> {
        self.faults.clear();
        self.settle()?;
        self.connect(CLIENTS, Generation::V04);
        for _ in 0..10 {
            self.pull(CLIENTS, false, From::Known);
            self.settle()?;
            self.push(CLIENTS, 1, 0, Base::Known, false);
            self.settle()?;
            if self.offered[self.offered.len() - 1].acknowledged {
                return check::all(
                    &now(self.log.events(SeqNum::ROOT, SeqNum::MAX, u32::MAX)).expect("the log itself does not fail"),
                    &self.offered,
                    self.clients.iter().filter_map(|client| client.connected.as_ref()),
                    &self.ended,
                );
            }
        }
        Err("nobody can push any more".into())
    }

    fn settle(&mut self) -> Result<(), Violation> {
        let mut polls = 0;
        loop {
            while self.executor.step() {
                polls += 1;
                if polls > POLLS_MAX {
                    return Err("it does not come to rest".into());
                }
            }
            let mut moved = false;
            for client in 0..self.clients.len() {
                moved |= self.receive(client, usize::MAX)?;
                while self.acknowledge(client) {
                    moved = true;
                }
            }
            if !moved {
                return Ok(());
            }
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

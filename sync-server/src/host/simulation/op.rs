//! What happens in a run, and the lists of it that seeds make.

use livestore_sync_protocol::Generation;

use super::rng::Rng;
use crate::event_log::{Fault, Operation};

/// What a push continues.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Base {
    /// The last event that the client knows to be in the log.
    Known,
    /// What it pushed last, answered or not.
    Pushed,
    /// So many numbers before what it knows.
    Stale(i64),
}

/// Where a pull starts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum From {
    Start,
    Known,
    /// This part of the way to what the client knows, in percent.
    Percent(i64),
}

/// How a server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Where it is.
    Crash,
    /// Once it has done what it was doing, while the next one serves already.
    Overlap,
    /// Once it has done what it was doing and written down what it knows of 0.3 clients.
    Orderly,
}

/// What happens. Operations that make no sense when their turn comes do nothing, so that any part of
/// a list is a list.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Connect {
        client: usize,
        generation: Generation,
    },
    Pull {
        client: usize,
        live: bool,
        from: From,
    },
    Push {
        client: usize,
        events: i64,
        gap: i64,
        base: Base,
        rejected: bool,
    },
    /// Pushes an earlier batch of this client again.
    Repeat {
        client: usize,
        back: usize,
    },
    /// The client takes frames that were sent to it.
    Receive {
        client: usize,
        frames: usize,
    },
    /// The client acknowledges chunks that it took.
    Ack {
        client: usize,
        chunks: usize,
    },
    Interrupt {
        client: usize,
        pull: usize,
    },
    /// The connection ends. Where the client vanishes, the server is not told.
    Drop {
        client: usize,
        vanishes: bool,
    },
    /// The app starts again: what it knew of its connection is gone.
    Reload {
        client: usize,
    },
    /// Another server takes over the log, and all connections end.
    Restart {
        stop: Stop,
    },
    /// The server loses its memory and keeps its sockets, if it is one that does so and at rest.
    Hibernate,
    /// Time passes (ms).
    Wait {
        ms: u64,
    },
    /// A push and a pull in one body.
    Exchange {
        client: usize,
        events: i64,
    },
    /// Somebody else appends to the log.
    Foreign {
        events: i64,
    },
    /// After `skip` calls of this operation, so many fail.
    Fault {
        operation: Operation,
        fault: Fault,
        skip: usize,
        times: usize,
    },
    /// So many polls of any tasks.
    Run {
        polls: usize,
    },
}

pub(crate) const CLIENTS: usize = 4;

const OPERATIONS: [Operation; 6] =
    [Operation::BackendId, Operation::Head, Operation::Append, Operation::Read, Operation::Events, Operation::Count];

pub(crate) fn generate(rng: &mut Rng) -> Vec<Op> {
    let mut ops = Vec::new();
    if rng.one_in(4) {
        // Enough for several pages, and for more chunks than may be on the way.
        ops.push(Op::Foreign { events: rng.pick(&[99, 250, 1_300]) });
    }
    for client in 0..CLIENTS {
        if !rng.one_in(3) {
            ops.push(connect(rng, client));
            ops.push(Op::Pull { client, live: true, from: From::Start });
        }
    }
    for _ in 0..20 + rng.below(60) {
        let op = one(rng);
        ops.push(op);
        if let Op::Push { client, .. } = op
            && rng.one_in(8)
        {
            // What happens to a push whose client is gone is easily wrong.
            ops.push(Op::Run { polls: rng.below(6) });
            ops.push(Op::Drop { client, vanishes: false });
        }
        if !rng.one_in(3) {
            ops.push(Op::Run { polls: 1 + rng.below(12) });
        }
    }
    ops
}

fn connect(rng: &mut Rng, client: usize) -> Op {
    Op::Connect { client, generation: rng.pick(&[Generation::V03, Generation::V04, Generation::V04, Generation::Next]) }
}

fn one(rng: &mut Rng) -> Op {
    let client = rng.below(CLIENTS);
    match rng.below(100) {
        0..10 => connect(rng, client),
        10..20 => {
            Op::Pull { client, live: !rng.one_in(4), from: rng.pick(&[From::Start, From::Known, From::Percent(50)]) }
        }
        20..46 => Op::Push {
            client,
            events: rng.pick(&[1, 1, 1, 2, 3, 5, 120]),
            gap: rng.pick(&[0, 0, 0, 0, 1, 50]),
            base: rng.pick(&[Base::Known, Base::Known, Base::Pushed, Base::Pushed, Base::Stale(1), Base::Stale(3)]),
            rejected: rng.one_in(12),
        },
        46..51 => Op::Repeat { client, back: rng.below(3) },
        51..69 => Op::Receive { client, frames: 1 + rng.below(6) },
        69..77 => Op::Ack { client, chunks: 1 + rng.below(4) },
        77..80 => Op::Interrupt { client, pull: rng.below(3) },
        80..85 => Op::Drop { client, vanishes: rng.one_in(3) },
        85..87 => Op::Restart { stop: rng.pick(&[Stop::Crash, Stop::Overlap, Stop::Orderly, Stop::Orderly]) },
        87 => Op::Hibernate,
        88 => Op::Wait { ms: rng.pick(&[1, 100, 600, 3_500]) },
        89 => Op::Foreign { events: rng.pick(&[1, 2, 150]) },
        90 => Op::Exchange { client, events: rng.pick(&[1, 3]) },
        91 => Op::Reload { client },
        92..97 => Op::Fault {
            operation: if rng.one_in(2) { Operation::Append } else { rng.pick(&OPERATIONS) },
            fault: rng.pick(&[Fault::Refused, Fault::LostBefore, Fault::LostAfter, Fault::LostAfter]),
            skip: rng.below(3),
            // Once in a while for longer than a pull is tried.
            times: if rng.one_in(4) { 8 } else { 1 },
        },
        _ => Op::Run { polls: 100 },
    }
}

//! Cases that the simulation found, each tried in several orders of its tasks.

use livestore_sync_protocol::Generation::{V03, V04};

use super::op::{Base, From, Op};
use super::simulate_in_memory;

fn run(ops: &[Op]) {
    for seed in 0..20 {
        simulate_in_memory(seed, ops).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
    }
}

fn push(client: usize, base: Base) -> Op {
    Op::Push { client, events: 1, gap: 0, base, rejected: false }
}

/// A pull read events that another writer had appended, went live behind the store's idea of the
/// head, and got them again when the store found out.
#[test]
fn a_pull_that_is_ahead_of_the_store_gets_nothing_twice() {
    run(&[
        Op::Connect { client: 2, generation: V04 },
        Op::Pull { client: 2, live: true, from: From::Start },
        Op::Connect { client: 3, generation: V03 },
        Op::Pull { client: 3, live: true, from: From::Start },
        push(2, Base::Stale(1)),
        Op::Run { polls: 15 },
        Op::Foreign { events: 1 },
    ]);
}

/// A client that had read another writer's events was told for ever that the server was ahead, at a
/// head below its own.
#[test]
fn a_pusher_that_is_ahead_of_the_store_can_push() {
    run(&[
        Op::Connect { client: 2, generation: V04 },
        push(2, Base::Pushed),
        Op::Run { polls: 8 },
        Op::Foreign { events: 150 },
    ]);
}

/// A client vanished, came back, pushed before it was clear what it continues, and was lost again: the acknowledgement
/// was forgotten, since the connection that it had left behind still counted as open.
#[test]
fn a_push_between_two_losses_is_acknowledged_on_the_third_connection() {
    run(&[
        Op::Connect { client: 1, generation: V03 },
        Op::Pull { client: 1, live: true, from: From::Known },
        Op::Drop { client: 1, vanishes: true },
        Op::Connect { client: 1, generation: V03 },
        Op::Push { client: 1, events: 120, gap: 0, base: Base::Pushed, rejected: false },
        Op::Drop { client: 1, vanishes: false },
    ]);
}

//! A seed gives a list of operations and the order in which tasks run. The real host runs on a log that fails and
//! yields, with mailboxes for sockets and a clock that passes only when nothing else happens; then everybody's view is
//! compared with the log. Even seeds have WebSocket pings, as the native server has; odd ones go by frames and
//! hibernate, as an object does.
//!
//! A failure: a log that is not one chain; an acknowledged push that is not there once; a push that
//! is there in part or twice; a pull that saw anything but the log from its cursor on; a live pull
//! that lacks something once all is at rest; a request that is never answered; a frame that the
//! client has no use for. No failure: a request that is refused because the log failed.
//!
//! `LIVESTORE_SIMULATION_SEEDS=from..to` runs other seeds. A seed that fails is printed with the
//! shortest list of operations that still fails; keep it in `reproduction.rs`.

mod check;
mod client;
mod executor;
pub(super) mod link;
#[cfg(feature = "native")]
mod on_runtime;
mod op;
mod platform;
mod reproduction;
mod rng;
mod server;
mod world;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use self::client::Violation;
use self::op::Op;
use self::rng::Rng;
use self::world::World;
use crate::event_log::{EventLog, MemoryLog};

const SEEDS: Range<u64> = 0..400;

/// These cost a disk's time.
#[cfg(feature = "native")]
const SQLITE_SEEDS: u64 = 20;

fn simulate<L: EventLog>(log: L, seed: u64, ops: &[Op]) -> Result<(), Violation> {
    let mut world = World::new(log, seed);
    let run = AssertUnwindSafe(|| {
        ops.iter().try_for_each(|op| world.apply(*op))?;
        world.rest()
    });
    catch_unwind(run).unwrap_or_else(|_| Err("a panic".into()))
}

pub(crate) fn simulate_in_memory(seed: u64, ops: &[Op]) -> Result<(), Violation> {
    simulate(MemoryLog::new("simulated"), seed, ops)
}

/// A violation without its numbers.
fn kind(violation: &str) -> String {
    violation.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// Leaves out operations for as long as it still fails in the same way.
fn shrink(seed: u64, mut ops: Vec<Op>, violation: &str) -> Vec<Op> {
    let mut length = ops.len();
    while length > 0 {
        let mut start = 0;
        while start < ops.len() {
            let mut fewer = ops.clone();
            fewer.drain(start..ops.len().min(start + length));
            if simulate_in_memory(seed, &fewer).is_err_and(|other| kind(&other) == kind(violation)) {
                ops = fewer;
            } else {
                start += length;
            }
        }
        length /= 2;
    }
    ops
}

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("LIVESTORE_SIMULATION_SEEDS") else { return SEEDS };
    let bounds = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    bounds.unwrap_or_else(|| panic!("LIVESTORE_SIMULATION_SEEDS={text} is not from..to"))
}

#[test]
fn nobody_sees_anything_but_the_log() {
    for seed in seeds() {
        let ops = op::generate(&mut Rng::new(seed));
        if let Err(violation) = simulate_in_memory(seed, &ops) {
            let ops = shrink(seed, ops, &violation);
            let shrunk = simulate_in_memory(seed, &ops).expect_err("shrinking keeps the failure");
            let ops: Vec<_> = ops.iter().map(|op| format!("    {op:?},\n")).collect();
            panic!("seed {seed}: {violation}\nshrunk to {}: {shrunk}\n{}", ops.len(), ops.concat());
        }
    }
}

#[cfg(feature = "native")]
#[test]
fn nobody_sees_anything_but_the_log_in_sqlite() {
    use std::sync::Arc;

    use self::on_runtime::OnRuntime;
    use crate::event_log::{SqliteFile, Synchronous};

    let folder = tempfile::TempDir::new().expect("a folder");
    let file = SqliteFile::open(folder.path(), Synchronous::Off).expect("opens");
    let runtime = Arc::new(tokio::runtime::Runtime::new().expect("starts"));
    for seed in 0..SQLITE_SEEDS {
        let opened = runtime.block_on(file.store(&seed.to_string(), String::new(), u32::MAX));
        let log = OnRuntime::new(opened.expect("opens"), Arc::clone(&runtime));
        let ops = op::generate(&mut Rng::new(seed));
        simulate(log, seed, &ops).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
    }
}

//! A black-box suite for LiveStore sync servers: raw frames in, raw frames out.
//!
//! Nothing here shares code with a server, so that a mistake cannot cancel itself out. The server
//! under test is chosen by the environment, see [`Server`]. Every test works on stores of its own
//! ([`Server::store`]), so tests run in parallel and against a server that others use too.
//!
//! Tests sleep only where time is their subject: they wait for a frame, with a deadline ([`WAIT`])
//! and a message of what was awaited and what came instead. That nothing comes is shown by a ping
//! that is answered first.
//!
//! `cargo test -p livestore-sync-tests` runs everything; `--no-default-features` leaves out what
//! needs a server of its own (`process`: CORS, `kill -9`) and what only the native binary has
//! (`native`: flags, signals).

mod answer;
mod event;
pub mod http;
mod random;
mod rpc;
mod server;
mod socket;
mod store;
mod v03;

use std::time::Duration;

pub use answer::{Answer, Chunk, Exit, parse_answers};
pub use event::{Event, Pulled, assert_chain, assert_pulled, chain, chain_with, seqs};
pub use random::Random;
pub use rpc::{Ids, Pull, Rpc, pull_payload, push_payload};
pub use server::{Process, Server, TempDir};
pub use socket::{Incoming, Socket};
pub use store::Store;
pub use v03::{Message, PullRes, V03};

/// How long anything may take. Far more than it needs: machines that run tests are busy. On Workers a
/// half-open 0.3 connection is only noticed by 30 s of silence.
pub const WAIT: Duration = Duration::from_secs(45);

/// Runs a future to its end, or panics saying what was awaited.
pub async fn within<T>(awaited: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(WAIT, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {WAIT:?} for {awaited}"),
    }
}

/// The first characters of a frame, for messages.
pub(crate) fn short(text: &str) -> String {
    let mut head: String = text.chars().take(400).collect();
    if head.len() < text.len() {
        head.push_str(&format!("… ({} bytes)", text.len()));
    }
    head
}

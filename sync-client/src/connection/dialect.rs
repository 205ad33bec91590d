//! What differs between the generations and transports: frames. Called by the machine only, which sees nothing of this.

mod rpc;
mod v03;

use livestore_sync_protocol::{Event, SeqNum};
use serde_json::value::RawValue;

use crate::page::Page;

/// Which protocol to speak, over which transport. Servers of this project speak all, the reference its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// `@livestore/sync-cf` 0.4.x over a WebSocket.
    #[default]
    V04Ws,
    /// `@livestore/sync-cf` 0.4.x over http: a request for each push and pull, and answers to requests only. Live pulls
    /// poll ([`Timing::poll_interval`](crate::Timing::poll_interval)).
    V04Http,
    /// `@livestore/sync-cf` 0.3.x, which has no transport but the WebSocket.
    V03,
}

/// The frames of one protocol: what a request looks like, and what an answer means. It knows nothing of what was sent
/// before; [`Connection`](super::Connection) does.
#[derive(Debug)]
pub(crate) struct Dialect {
    pub(super) protocol: Protocol,
    store_id: String,
    /// The payload of the connection, which 0.4 repeats in each request.
    payload: Option<Box<RawValue>>,
    /// What makes 0.3 ids unique among all clients.
    prefix: String,
}

/// What the server said, whatever it said it in.
#[derive(Debug, PartialEq)]
pub(super) enum ServerMessage {
    /// Events for one request, or without one for every pull that follows the log (0.3).
    Page {
        request: Option<u64>,
        page: Page,
    },
    /// A request has ended well.
    End {
        request: u64,
    },
    /// A request has failed.
    Failed {
        request: u64,
        failure: Failure,
    },
    Pong,
    /// The server cannot make sense of the connection.
    Defect {
        message: String,
    },
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Failure {
    ServerAhead {
        minimum_expected: SeqNum,
        provided: SeqNum,
    },
    BackendIdMismatch {
        expected: String,
        received: String,
    },
    Rejected {
        message: String,
    },
    /// The server's own failure.
    Failed {
        message: String,
    },
    /// The request was interrupted, and not by this client: the server is about to stop.
    Interrupted,
}

impl Dialect {
    pub(crate) fn new(protocol: Protocol, store_id: String, seed: u64) -> Self {
        Self { protocol, store_id, payload: None, prefix: format!("{seed:016x}") }
    }

    pub(super) fn set_payload(&mut self, payload: Option<Box<RawValue>>) {
        self.payload = payload;
    }

    /// `cursor` is `None` for the whole log.
    pub(super) fn pull(&self, request: u64, cursor: Option<(&str, SeqNum)>, live: bool) -> String {
        match self.protocol {
            Protocol::V03 => v03::pull(self, request, cursor.map(|(_, seq_num)| seq_num)),
            Protocol::V04Ws | Protocol::V04Http => rpc::pull(self, request, cursor, live),
        }
    }

    pub(super) fn push(&self, request: u64, batch: &[Event], backend_id: Option<&str>) -> String {
        match self.protocol {
            Protocol::V03 => v03::push(self, request, batch),
            Protocol::V04Ws | Protocol::V04Http => rpc::push(self, request, batch, backend_id),
        }
    }

    pub(super) fn ping(&self, request: u64) -> String {
        match self.protocol {
            Protocol::V03 => livestore_sync_protocol::v03::PING.to_owned(),
            Protocol::V04Ws => livestore_sync_protocol::rpc::PING.to_owned(),
            Protocol::V04Http => rpc::http_ping(self, request),
        }
    }

    /// The frame that lets the server send another page, where there is one.
    pub(super) fn ack(&self, request: u64) -> Option<String> {
        (self.protocol == Protocol::V04Ws).then(|| rpc::ack(request))
    }

    /// The frame that ends a pull, where there is one.
    pub(super) fn interrupt(&self, request: u64) -> Option<String> {
        (self.protocol == Protocol::V04Ws).then(|| rpc::interrupt(request))
    }

    /// # Errors
    ///
    /// What is wrong, for people.
    pub(super) fn decode(&self, frame: &str) -> Result<Vec<ServerMessage>, String> {
        match self.protocol {
            Protocol::V03 => v03::decode(self, frame),
            Protocol::V04Ws | Protocol::V04Http => rpc::decode(frame),
        }
    }
}

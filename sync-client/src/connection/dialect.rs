//! What differs between the generations and transports: frames.

mod rpc;
mod v03;

use livestore_sync_protocol::{Event, SeqNum};
use serde_json::value::RawValue;

use super::types::Page;

/// How to speak to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// 0.4 over a WebSocket.
    Ws,
    /// 0.4 over http: each request is one, and answers are only to requests.
    Http,
    /// 0.3.
    V03,
}

#[derive(Debug)]
pub(crate) struct Dialect {
    pub(super) kind: Kind,
    store_id: String,
    /// The payload of the connection, which 0.4 repeats in each request.
    payload: Option<Box<RawValue>>,
    /// What makes 0.3 ids unique among all clients.
    prefix: String,
}

/// What the server said.
#[derive(Debug, PartialEq)]
pub(super) enum Heard {
    /// Events for one request, or (0.3) for whoever follows the log.
    Page {
        wire: Option<u64>,
        page: Page,
    },
    /// A request has ended well.
    End {
        wire: u64,
    },
    /// A request has failed.
    Failed {
        wire: u64,
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
    /// Nobody asked for it: the server is about to stop.
    Interrupted,
}

impl Dialect {
    pub(crate) fn new(kind: Kind, store_id: String, seed: u64) -> Self {
        Self { kind, store_id, payload: None, prefix: format!("{seed:016x}") }
    }

    pub(super) fn set_payload(&mut self, payload: Option<Box<RawValue>>) {
        self.payload = payload;
    }

    /// `cursor` is `None` for the whole log.
    pub(super) fn pull(&self, wire: u64, cursor: Option<(&str, SeqNum)>, live: bool) -> String {
        match self.kind {
            Kind::V03 => v03::pull(self, wire, cursor.map(|(_, seq_num)| seq_num)),
            Kind::Ws | Kind::Http => rpc::pull(self, wire, cursor, live),
        }
    }

    pub(super) fn push(&self, wire: u64, batch: &[Event], backend_id: Option<&str>) -> String {
        match self.kind {
            Kind::V03 => v03::push(self, wire, batch),
            Kind::Ws | Kind::Http => rpc::push(self, wire, batch, backend_id),
        }
    }

    pub(super) fn ping(&self, wire: u64) -> String {
        match self.kind {
            Kind::V03 => livestore_sync_protocol::v03::PING.to_owned(),
            Kind::Ws => livestore_sync_protocol::rpc::PING.to_owned(),
            Kind::Http => rpc::http_ping(self, wire),
        }
    }

    /// The frame that lets the server send another page, where there is one.
    pub(super) fn ack(&self, wire: u64) -> Option<String> {
        (self.kind == Kind::Ws).then(|| rpc::ack(wire))
    }

    /// The frame that ends a pull, where there is one.
    pub(super) fn interrupt(&self, wire: u64) -> Option<String> {
        (self.kind == Kind::Ws).then(|| rpc::interrupt(wire))
    }

    /// # Errors
    ///
    /// What is wrong, for people.
    pub(super) fn decode(&self, frame: &str) -> Result<Vec<Heard>, String> {
        match self.kind {
            Kind::V03 => v03::decode(self, frame),
            Kind::Ws | Kind::Http => rpc::decode(frame),
        }
    }
}

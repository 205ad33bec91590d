//! What a session wants done with a frame, and what it sends: values that `host` runs.

use livestore_sync_protocol::{Cursor, Event, Generation, RequestId};

use super::Delivery;
use crate::close::CloseCode;
use crate::frame::Frame;

/// What a frame asks for.
#[derive(Debug)]
pub(crate) enum Action {
    /// Send this frame.
    Reply(String),
    /// Send this frame. It answers whether somebody is there and nothing else: it may overtake.
    Pong(String),
    /// Run a push and answer it.
    Push {
        /// What to answer.
        request_id: RequestId,
        /// The events, at least one.
        batch: Vec<Event>,
        /// The log that the client believes to push to.
        backend_id: Option<String>,
        /// The protocol it came in.
        generation: Generation,
    },
    /// Run a pull.
    Pull {
        /// How its chunks are addressed.
        delivery: Delivery,
        /// Where the client is.
        cursor: Option<Cursor>,
        /// Whether events that are pushed later follow.
        live: bool,
        /// The protocol it came in.
        generation: Generation,
    },
    /// This client continues nothing: it is a new one. 0.3 only.
    NewClient,
    /// A pull may have room for another chunk, or something else has changed that tasks wait for: wake them.
    Progress,
    /// Send this frame: a pull is over.
    PullEnded(String),
    /// Close the connection.
    Close(CloseCode),
}

/// What goes out, in this order.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// A frame.
    Text(Frame),
    /// A WebSocket ping with this number. Its pong proves that the frames before it have arrived, and says
    /// nothing of those behind it: so it stands right behind what it is for.
    Ping(u64),
    /// Nothing: but the session has changed in a way that a platform which loses its memory must not forget.
    Remember,
}

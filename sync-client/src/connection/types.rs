use std::fmt;
use std::time::Duration;

use livestore_sync_protocol::{Cursor, Event, PulledEvent};

use crate::{PingError, PullError, PushError};

/// Part of a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The events, ascending.
    pub events: Vec<PulledEvent>,
    /// How many events the server had beyond this page when it sent it.
    pub remaining: u64,
    /// The log's identity; 0.3 does not tell it.
    pub backend_id: Option<String>,
}

/// Whether there is a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// Requests are sent as they are made.
    Connected,
    /// Requests wait.
    Offline {
        /// Why.
        reason: OfflineReason,
    },
}

impl Default for ConnectionState {
    fn default() -> Self {
        Self::Offline { reason: OfflineReason::Connecting }
    }
}

/// Why there is no connection. The client tries again in any case.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OfflineReason {
    /// The first attempt is under way.
    Connecting,
    /// The server could not be reached.
    Unreachable {
        /// What the network says.
        message: String,
    },
    /// The server answered, but did not open a connection: the payload may be refused or out of date.
    Refused {
        /// The HTTP status.
        status: u16,
        /// The beginning of the answer's body.
        message: String,
    },
    /// The payload provider failed.
    Payload {
        /// What it says.
        message: String,
    },
    /// The server closed the connection.
    Closed {
        /// The WebSocket close code; 1005 for none.
        code: u16,
        /// The server's words.
        message: String,
    },
    /// The connection broke.
    Lost {
        /// What the network says.
        message: String,
    },
    /// The server did not answer in time.
    Silent,
    /// The server sent what this client cannot make sense of, or said so of the client.
    Confused {
        /// What is wrong.
        message: String,
    },
}

impl fmt::Display for OfflineReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting => f.write_str("still connecting"),
            Self::Unreachable { message } => write!(f, "cannot reach the server: {message}"),
            Self::Refused { status, message } => write!(f, "the server refused the connection ({status}): {message}"),
            Self::Payload { message } => write!(f, "there is no payload: {message}"),
            Self::Closed { code, message } => write!(f, "the server closed the connection ({code}) {message}"),
            Self::Lost { message } => write!(f, "the connection broke: {message}"),
            Self::Silent => f.write_str("the server does not answer"),
            Self::Confused { message } => write!(f, "the server cannot be understood: {message}"),
        }
    }
}

/// How long things take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long opening a connection may take.
    pub open: Duration,
    /// After so long without a frame from the server it is pinged.
    pub ping_interval: Duration,
    /// After so long without an answer to a ping the connection counts as lost.
    pub ping_timeout: Duration,
    /// After so long without an answer to a push the connection counts as lost.
    pub push_timeout: Duration,
    /// How long pushes, pulls that are not live and pings wait for a connection.
    pub patience: Duration,
    /// The longest first wait before another attempt to connect. It doubles with each attempt that fails.
    pub backoff_min: Duration,
    /// The longest wait before another attempt to connect.
    pub backoff_max: Duration,
    /// How often live pulls over http ask for more.
    pub poll_interval: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            open: Duration::from_secs(10),
            ping_interval: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(10),
            push_timeout: Duration::from_secs(30),
            patience: Duration::from_secs(10),
            backoff_min: Duration::from_millis(500),
            backoff_max: Duration::from_secs(30),
            poll_interval: Duration::from_secs(5),
        }
    }
}

/// Ties what the app asks for to what it gets.
pub(crate) type Key = u64;

/// What the app asks for.
#[derive(Debug)]
pub(crate) enum Command {
    Pull {
        key: Key,
        cursor: Option<Cursor>,
        live: bool,
    },
    Push {
        key: Key,
        batch: Vec<Event>,
        backend_id: Option<String>,
    },
    Ping {
        key: Key,
    },
    /// The app took a page of a pull.
    Taken {
        key: Key,
    },
    /// The app no longer wants the answer.
    Drop {
        key: Key,
    },
}

impl Command {
    pub(crate) fn key(&self) -> Key {
        match self {
            Self::Pull { key, .. }
            | Self::Push { key, .. }
            | Self::Ping { key }
            | Self::Taken { key }
            | Self::Drop { key } => *key,
        }
    }
}

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(crate) enum Action {
    /// Open a connection, with a new payload.
    Open,
    /// Send this; `wire` tells requests apart, over http.
    Send {
        wire: u64,
        frame: String,
    },
    /// Give up an http request.
    Cancel {
        wire: u64,
    },
    /// Send a ping of the WebSocket protocol.
    SocketPing,
    /// Close the connection, or give up opening it.
    Close,
    State(ConnectionState),
    Page {
        key: Key,
        page: Page,
    },
    Pulled {
        key: Key,
        result: Result<(), PullError>,
    },
    Pushed {
        key: Key,
        result: Result<(), PushError>,
    },
    Ponged {
        key: Key,
        result: Result<(), PingError>,
    },
}

//! Whether there is a connection, and why not. Set by the connection, watched by apps, and part of what requests fail
//! with.

use std::fmt;

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
    /// The server answered, but did not open a connection: the payload may be refused or out of date. With the status
    /// 200, something else answers in its place, as the portal of a wireless network does.
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

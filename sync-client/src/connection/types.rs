//! What goes into the machine and comes out of it. Made and read by the client's task.

use std::time::Duration;

use livestore_sync_protocol::{Cursor, Event};

use crate::error::{PingError, PullError, PushError};
use crate::page::Page;
use crate::state::ConnectionState;

/// How long things take. Changed field by field, from [`Timing::default`]:
///
/// ```
/// use std::time::Duration;
///
/// let mut timing = livestore_sync_client::Timing::default();
/// timing.patience = Duration::from_secs(60);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timing {
    /// How long opening a connection may take.
    pub open: Duration,
    /// After so long without a frame from the server it is pinged.
    pub ping_interval: Duration,
    /// After so long without an answer to a ping, in which no byte has moved either, the connection counts as lost.
    pub ping_timeout: Duration,
    /// After so long without an answer to a push, in which no more than pings has moved either, the connection counts as
    /// lost. Over http, any request after so long in which no byte has moved.
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

/// When bytes last moved on a connection: taken by the network, or given by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    /// Any byte.
    pub(crate) any: Duration,
    /// More bytes than a ping and its answer have.
    pub(crate) progress: Duration,
}

/// Ties what the app asks for to what it gets.
pub(crate) type Key = u64;

/// What the app asks for.
#[derive(Debug)]
pub(crate) enum AppCommand {
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
    /// The app took a page of a pull: the server may send another one.
    Taken {
        key: Key,
    },
    /// The app no longer wants the answer.
    Drop {
        key: Key,
    },
}

impl AppCommand {
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
    /// Send this. `request` is the number of the request that it belongs to, by which http tells them apart.
    Send {
        request: u64,
        frame: String,
    },
    /// Give up an http request.
    Cancel {
        request: u64,
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

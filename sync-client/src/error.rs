//! What can go wrong, an enum for each operation. Made by the connection, which takes it from the server's words, and
//! by the client where the connection cannot be asked.

use livestore_sync_protocol::SeqNum;

use crate::batch::InvalidBatch;
use crate::state::OfflineReason;

/// Why a push was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The log has events that the batch does not build on: pull from `provided`, rebase, push again.
    #[error("the server is ahead: its log ends at {minimum_expected}, the batch begins after {provided}")]
    ServerAhead {
        /// The head of the log, as the server tells it. The native server and 0.4 tell the last event's number.
        minimum_expected: SeqNum,
        /// The parent of the refused batch's first event. Where a push was cut into several batches, those
        /// before this one are stored.
        provided: SeqNum,
    },
    /// The log is another one than the client pulled from: the server was reset or replaced.
    #[error("the server's log is {expected}, the client's {received}")]
    BackendIdMismatch {
        /// The id of the server's log.
        expected: String,
        /// The id that the client gave.
        received: String,
    },
    /// The server does not want it: a hook or a limit. Of the reference, which does not tell, also a failure of its own.
    #[error("the server refused: {message}")]
    Rejected {
        /// The server's words.
        message: String,
    },
    /// The server could not do it now; the push may be repeated.
    #[error("the server failed: {message}")]
    Failed {
        /// The server's words.
        message: String,
    },
    /// There was no connection for as long as requests wait for one, or it was lost twice.
    #[error("offline: {reason}")]
    Offline {
        /// Whether the batch was sent, so that the server may have it. Pushing the same batch again is safe: the
        /// native server acknowledges what it has, others answer [`PushError::ServerAhead`].
        sent: bool,
        /// What the connection lacks.
        reason: OfflineReason,
    },
    /// The batch cannot be pushed to any server. Nothing was sent.
    #[error(transparent)]
    InvalidBatch(#[from] InvalidBatch),
    /// The client was closed, or its runtime is gone.
    #[error("the client has stopped")]
    Stopped,
}

/// Why a pull ended early.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// The log is another one than the cursor's: the server was reset or replaced.
    #[error("the server's log is {expected}, the client's {received}")]
    BackendIdMismatch {
        /// The id of the server's log.
        expected: String,
        /// The id that the client gave.
        received: String,
    },
    /// The server does not want it: a hook, or a failure of its own that did not pass.
    #[error("the server refused: {message}")]
    Rejected {
        /// The server's words.
        message: String,
    },
    /// There was no connection for as long as requests wait for one. Live pulls wait for ever instead.
    #[error("offline: {reason}")]
    Offline {
        /// What the connection lacks.
        reason: OfflineReason,
    },
    /// The server left out events, also when it was asked again.
    #[error("the server has left out the events between {after} and {parent}")]
    Gap {
        /// The last event that came.
        after: SeqNum,
        /// The parent of the one that came next.
        parent: SeqNum,
    },
    /// The client was closed, or its runtime is gone.
    #[error("the client has stopped")]
    Stopped,
}

/// Why a ping was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PingError {
    /// There is no connection, or it was lost before the answer.
    #[error("offline: {reason}")]
    Offline {
        /// What the connection lacks.
        reason: OfflineReason,
    },
    /// The client was closed, or its runtime is gone.
    #[error("the client has stopped")]
    Stopped,
}

/// Why not all events were appended. Those that were are the first ones.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{stored} events were appended, {in_doubt} more may have been")]
#[non_exhaustive]
pub struct AppendError {
    /// So many events, from the first on, are in the log.
    pub stored: usize,
    /// So many events after those were sent, and may be in the log or not: the answer did not come. Appending them
    /// again may put them into the log twice; a pull tells which are there.
    pub in_doubt: usize,
    /// Why the next ones were not appended.
    pub source: PushError,
}

/// Why a client cannot be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The URL is not `ws://`, `wss://`, `http://` or `https://` with a host.
    #[error("the URL {0} is none of ws://, wss://, http:// and https:// with a host")]
    Url(String),
    /// The URL asks for TLS, and this crate was built without its feature `tls`.
    #[error("the URL {0} needs TLS, which this program was built without (feature `tls` of livestore-sync-client)")]
    Tls(String),
    /// A header's name or value has characters that HTTP does not allow.
    #[error("the header {0} is not valid")]
    Header(String),
    /// There is no tokio runtime on this thread: the client is a task, and has to be started within one.
    #[error("a client is started within a tokio runtime, and there is none here")]
    NoRuntime,
}

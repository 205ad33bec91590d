use livestore_sync_protocol::SeqNum;

use crate::OfflineReason;

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
    /// The server does not want it: a hook or a limit. Of the reference and of 0.3, which do not tell, also a failure
    /// of its own.
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

/// Why a batch cannot be pushed to any server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBatch {
    /// An event does not follow the one before it.
    #[error("event {seq_num} has the parent {parent}, but the event before it is {previous}")]
    Chain {
        /// The event.
        seq_num: SeqNum,
        /// Its parent.
        parent: SeqNum,
        /// The event before it in the batch.
        previous: SeqNum,
    },
    /// An event's number is not above its parent's.
    #[error("event {seq_num} is not above its parent {parent}")]
    Order {
        /// The event.
        seq_num: SeqNum,
        /// Its parent.
        parent: SeqNum,
    },
    /// An event does not fit into a push.
    #[error("event {seq_num} has {bytes} bytes, a push at most {}", crate::PUSH_BYTES_MAX)]
    TooLarge {
        /// The event.
        seq_num: SeqNum,
        /// Its size as JSON.
        bytes: usize,
    },
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
    /// The server does not want it: a hook, or a failure of its own.
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

/// Why a client cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The URL is not `ws://`, `wss://`, `http://` or `https://` with a host.
    #[error("the URL {0} is none of ws://, wss://, http:// and https:// with a host")]
    Url(String),
    /// A header's name or value has characters that HTTP does not allow.
    #[error("the header {0} is not valid")]
    Header(String),
    /// 0.3 has no http transport.
    #[error("generation 0.3 has no http transport")]
    Transport,
}

//! Why a push or a pull fails. One enum per operation, each variant something that a caller does
//! differently; `wire` says each in the words of a client's generation.

mod log;
mod wire;

use livestore_sync_protocol::SeqNum;
use livestore_sync_protocol::limits::{BATCH_EVENTS_MAX, EVENT_BYTES_MAX, GAP_MAX};

pub use self::log::{AppendError, LogError};
pub(crate) use self::wire::{rpc_failure, v03_failure};
use crate::failure::Failure;

/// Why a push is refused. Nothing of its batch is stored, except where [`LogError`] says otherwise.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The log has events that the pusher does not know yet.
    #[error("the server is ahead: the head is {head}, the batch starts after {provided}")]
    ServerAhead {
        /// The head of the log.
        head: SeqNum,
        /// The parent of the batch's first event.
        provided: SeqNum,
    },
    /// The client talks about another log.
    #[error(transparent)]
    BackendIdMismatch(#[from] BackendIdMismatch),
    /// The batch follows an event that the log does not have any more.
    #[error(transparent)]
    HistoryLost(#[from] HistoryLost),
    /// The batch breaks a rule.
    #[error(transparent)]
    InvalidBatch(#[from] InvalidBatch),
    /// The app's hook says no.
    #[error(transparent)]
    Rejected(HookError),
    /// The client may not push, see [`Access`](crate::Access).
    #[error("this connection may read and not write")]
    ReadOnly,
    /// The client's time is over, see [`Identity::expires_ms`](crate::Identity::expires_ms).
    #[error("this connection's access has expired: connect again with a new token")]
    AccessExpired,
    /// The database failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Something else failed that is ours.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl PushError {
    /// Whether the failure is ours and not the client's: the same push may succeed later.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self, Self::Log(_) | Self::Failed(_))
    }
}

/// Why a pull fails.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// The client talks about another log.
    #[error(transparent)]
    BackendIdMismatch(#[from] BackendIdMismatch),
    /// The client has events that the log does not have any more.
    #[error(transparent)]
    HistoryLost(#[from] HistoryLost),
    /// The app's hook says no.
    #[error(transparent)]
    Rejected(HookError),
    /// The database failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Something else failed that is ours.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The client interrupted the pull or went away.
    #[error("the puller is gone")]
    Gone,
}

impl PullError {
    /// Whether the failure is ours and not the client's: published clients never ask again for a pull that was
    /// answered with an error, so this is never an answer where another way is left.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self, Self::Log(_) | Self::Failed(_))
    }
}

/// The store was reset or replaced since the client last saw it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store's backend id is {expected}, the client has {received}")]
pub struct BackendIdMismatch {
    /// The log's id.
    pub expected: String,
    /// The client's.
    pub received: String,
}

/// The log ends before an event that the client has: it was put back to an earlier state, by a restored backup, or by a
/// power loss where commits do not wait for the disk. What the client knows is another history than the log's from
/// here on, so it is told what it is told of another log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log {backend_id} ends at {head}, and the client is at {position}: events were lost")]
pub struct HistoryLost {
    /// The log's id.
    pub backend_id: String,
    /// Where the log ends.
    pub head: SeqNum,
    /// The event that the client has, or builds on.
    pub position: SeqNum,
}

/// Why a batch can never enter any log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBatch {
    /// See [`BATCH_EVENTS_MAX`].
    #[error("the batch has {events} events, the limit is {BATCH_EVENTS_MAX}")]
    TooManyEvents {
        /// How many it has.
        events: usize,
    },
    /// See [`EVENT_BYTES_MAX`].
    #[error("event {seq_num} is {bytes} bytes when encoded, the limit is {EVENT_BYTES_MAX}")]
    EventTooLarge {
        /// Which event.
        seq_num: SeqNum,
        /// Its size.
        bytes: usize,
    },
    /// An event does not name the event before it as its parent.
    #[error("event {seq_num} has the parent {parent}, but the event before it is {expected}")]
    BrokenChain {
        /// Which event.
        seq_num: SeqNum,
        /// The parent that it names.
        parent: SeqNum,
        /// The event before it.
        expected: SeqNum,
    },
    /// An event's number is not above its parent's, or a number is negative.
    #[error("event {seq_num} must come after its parent {parent}, and neither may be negative")]
    NotAscending {
        /// Which event.
        seq_num: SeqNum,
        /// Its parent.
        parent: SeqNum,
    },
    /// See [`GAP_MAX`].
    #[error("event {seq_num} is too far above its parent {parent}, the limit is {GAP_MAX}")]
    GapTooLarge {
        /// Which event.
        seq_num: SeqNum,
        /// Its parent.
        parent: SeqNum,
    },
}

/// Why a hook rejects. The text goes to the client: it is the only text of a hook that does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HookError {
    message: String,
    status: u16,
}

impl HookError {
    /// A rejection with a text for the client.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: 400 }
    }

    /// A rejection of a client that does not say who it is, or not well enough.
    #[must_use]
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: 401 }
    }

    /// A rejection of a client that is known and may not.
    #[must_use]
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: 403 }
    }

    /// A failure that may pass and is not the client's, of a hook that is asked who may connect: a client that wants a
    /// WebSocket gets status 503 and comes again; a request over http is asked for again here, as published clients
    /// never pull again after any answer.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: 503 }
    }

    pub(crate) fn is_unavailable(&self) -> bool {
        self.status == 503
    }

    /// The HTTP status, where a client that wants to connect is rejected.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }
}

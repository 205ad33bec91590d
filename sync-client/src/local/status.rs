//! How a store is doing, for the app and for those inside that wait for something.

use livestore_sync_protocol::{Event, SeqNum};

use super::error::MaterialiseError;
use crate::state::ConnectionState;

/// How a store is doing at one moment.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Status {
    /// The last confirmed event.
    pub head: SeqNum,
    /// Events that the backend has not confirmed.
    pub pending: u64,
    /// The log that this store follows, once it is known.
    pub backend_id: Option<String>,
    /// Whether the backend can be reached.
    pub connection: ConnectionState,
    /// What sync is up to.
    pub sync: SyncState,
    /// The first pending event and the last committed one, for those who wait.
    pub(crate) first_pending: Option<i64>,
    pub(crate) last_committed: i64,
    /// Changes whenever pending events get other numbers.
    pub(crate) epoch: u64,
    pub(crate) health: Health,
}

/// What `sync` is made from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health {
    pub(crate) stopped: Option<StopReason>,
    pub(crate) rejected: Option<Rejection>,
    pub(crate) pull_problem: Option<String>,
    pub(crate) push_problem: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Rejection {
    /// The id of the pending event.
    pub(crate) id: i64,
    pub(crate) event: Box<Event>,
    pub(crate) reason: String,
}

impl Health {
    pub(crate) fn sync(&self) -> SyncState {
        if let Some(reason) = &self.stopped {
            return SyncState::Stopped(reason.clone());
        }
        if let Some(Rejection { event, reason, .. }) = &self.rejected {
            return SyncState::Rejected { event: event.clone(), reason: reason.clone() };
        }
        match self.pull_problem.as_ref().or(self.push_problem.as_ref()) {
            Some(reason) => SyncState::Retrying { reason: reason.clone() },
            None => SyncState::Running,
        }
    }
}

/// What sync is up to.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum SyncState {
    /// It pushes and pulls as the connection allows.
    #[default]
    Running,
    /// Something failed that is tried again.
    Retrying {
        /// What failed.
        reason: String,
    },
    /// The backend's app refuses the first pending event. Nothing is pushed until
    /// [`drop_rejected`](super::LocalStore::drop_rejected) or [`resume`](super::LocalStore::resume); events are
    /// still received.
    Rejected {
        /// The event.
        event: Box<Event>,
        /// What the backend says.
        reason: String,
    },
    /// Nothing is pushed or received until the app has done something about it.
    Stopped(StopReason),
}

/// Why sync stopped. Commits still work.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StopReason {
    /// The backend was reset: its log is another one. Nothing local was touched;
    /// [`reset_to_backend`](super::LocalStore::reset_to_backend) says what is to become of it.
    #[error("the backend was reset: its log is {}, not {}", found.as_deref().unwrap_or("another one"), known.as_deref().unwrap_or("the known one"))]
    BackendReset {
        /// The log that this store follows.
        known: Option<String>,
        /// The backend's log, where it is known.
        found: Option<String>,
    },
    /// A materialiser fails at an event that was received, or at a pending one that has to be applied
    /// again after it. What was being received is not in the store;
    /// [`resume`](super::LocalStore::resume) tries again.
    #[error(transparent)]
    Materialise(MaterialiseError),
}

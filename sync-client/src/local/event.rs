//! Events that the backend has not confirmed, and what becomes of them when it was reset.

use livestore_sync_protocol::Event;

/// Names a pending event for as long as it is pending. Its sequence number may change meanwhile, this does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PendingId(pub(crate) i64);

/// An event that the backend has not confirmed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PendingEvent {
    /// Its name among the pending ones.
    pub id: PendingId,
    /// The event, numbered as if it and those before it were confirmed now.
    pub event: Event,
}

/// What is to be kept of the local events when a store follows a backend that was reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResetKeep {
    /// All events, confirmed and pending: they are pushed to the new log after what it has. Other
    /// clients that do the same do not double them if the new log was empty.
    Everything,
    /// What was never confirmed: it is pushed to the new log after what it has.
    Pending,
    /// Nothing: the new log is taken as it is.
    Nothing,
}

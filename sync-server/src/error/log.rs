//! Why an event log fails.

use std::error::Error;
use std::sync::Arc;

/// The database failed. For the server's own log; never sent to clients.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// It is certain that nothing was stored.
    #[error("{0}")]
    NothingStored(#[source] Arc<dyn Error + Send + Sync>),
    /// For appends: what was to be stored may be stored all the same.
    #[error("{0}")]
    UnknownOutcome(#[source] Arc<dyn Error + Send + Sync>),
}

impl LogError {
    /// A failure that certainly stored nothing.
    #[must_use]
    pub fn nothing_stored(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::NothingStored(Arc::from(source.into()))
    }

    /// A failure of an append that may have been stored all the same.
    #[must_use]
    pub fn unknown_outcome(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::UnknownOutcome(Arc::from(source.into()))
    }
}

/// Why an append did not happen.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The head is not where the caller thinks; nothing was stored.
    #[error("the head of the log moved")]
    HeadMoved,
    /// The database failed.
    #[error(transparent)]
    Log(#[from] LogError),
}

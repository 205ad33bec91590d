//! Why an event log fails. Made by event logs, also by an app's own; read by `store`, which has to know whether
//! events may have been stored.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// The database failed. For the server's own log; never sent to clients.
///
/// Its text is the source's. [`source`](Error::source) is the error that the database's library gave, as far as
/// there is one that threads may share (errors of JavaScript are not, of those it has the text). Clones share it:
/// one commit may fail many pushes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LogError {
    /// It is certain that nothing was stored.
    NothingStored(Arc<dyn Error + Send + Sync>),
    /// For appends: what was to be stored may be stored all the same.
    UnknownOutcome(Arc<dyn Error + Send + Sync>),
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

    fn inner(&self) -> &(dyn Error + Send + Sync + 'static) {
        match self {
            Self::NothingStored(source) | Self::UnknownOutcome(source) => &**source,
        }
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.inner(), f)
    }
}

/// By hand: `thiserror` gives the `Arc` as the source, which then cannot be downcast to a `rusqlite::Error`.
impl Error for LogError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.inner())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_is_what_the_database_gave() {
        let given = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        for error in [LogError::nothing_stored(given()), LogError::unknown_outcome(given())] {
            assert_eq!(error.to_string(), given().to_string());
            let source = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
            assert_eq!(source.map(std::io::Error::kind), Some(std::io::ErrorKind::StorageFull));
        }
        assert_eq!(LogError::nothing_stored("only a text").to_string(), "only a text");
    }
}

//! What can go wrong with a store, an enum for each operation.

use std::path::PathBuf;
use std::sync::Arc;

use livestore_sync_protocol::Event;

use super::options::BoxError;
use super::status::StopReason;
use crate::batch::InvalidBatch;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another [`LocalStore`](super::LocalStore) of this one, has the file open.
    #[error("{} is in use, by another process or by another store of this one", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file, or the lock beside it, cannot be made or read.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// SQLite refuses the file.
    #[error("cannot open {}: {source}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The file was written by a newer release.
    #[error("{} has format {found}, this release knows formats up to {known}", path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// The file's format.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The app's tables cannot be made or kept in step.
    #[error("the app's tables: {0}")]
    Tables(#[from] TablesError),
    /// The tables are to be rebuilt, and a materialiser fails at an event of the log.
    #[error("cannot build the app's tables from the log: {0}")]
    Rebuild(#[from] MaterialiseError),
}

/// Why the app's tables are refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TablesError {
    /// SQLite refuses a statement.
    #[error("{0}")]
    Sql(#[from] rusqlite::Error),
    /// The name is the store's.
    #[error("{table}: names that start with `livestore_` are the store's")]
    ReservedName {
        /// The table.
        table: String,
    },
    /// What is written to a virtual table cannot be undone.
    #[error("{table} is a virtual table: its changes cannot be undone when events are rebased")]
    Virtual {
        /// The table.
        table: String,
    },
    /// The table hides its rowid: columns are called `rowid`, `oid` and `_rowid_`.
    #[error("{table} has no rowid that can be named; declare it WITHOUT ROWID")]
    NoRowid {
        /// The table.
        table: String,
    },
}

/// Why an event could not be applied to the app's tables.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MaterialiseError {
    /// The materialiser failed or panicked.
    #[error("the materialiser of `{}` fails at event {}: {source}", event.name, event.seq_num)]
    Failed {
        /// The event.
        event: Box<Event>,
        /// What it failed with.
        source: Arc<BoxError>,
    },
    /// No materialiser knows the name, and the policy is to fail.
    #[error("no materialiser for `{}` (event {})", event.name, event.seq_num)]
    Unknown {
        /// The event.
        event: Box<Event>,
    },
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<rusqlite::Error> for MaterialiseError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.into())
    }
}

/// The local file failed: the disk is full, say.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the local database failed: {0}")]
pub struct DatabaseError(pub(crate) Arc<rusqlite::Error>);

impl From<rusqlite::Error> for DatabaseError {
    fn from(error: rusqlite::Error) -> Self {
        Self(Arc::new(error))
    }
}

/// Why events were not committed. None of them was.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// An event cannot be applied to the app's tables.
    #[error(transparent)]
    Materialise(#[from] MaterialiseError),
    /// An event is too large for the wire ([`NEW_EVENT_BYTES_MAX`](crate::NEW_EVENT_BYTES_MAX)), or the log is so long
    /// that there is no number left for it.
    #[error(transparent)]
    TooLarge(#[from] InvalidBatch),
    /// The database failed. If it failed while it made the commit durable, the events may turn up after all.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

impl From<rusqlite::Error> for CommitError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.into())
    }
}

/// Why not everything is confirmed. What is pending stays pending.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlushError {
    /// The backend refuses an event.
    #[error("the backend refuses event {} (`{}`): {reason}", event.seq_num, event.name)]
    Rejected {
        /// The event.
        event: Box<Event>,
        /// What the backend says.
        reason: String,
    },
    /// Sync has stopped.
    #[error("sync has stopped: {0}")]
    Stopped(StopReason),
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

/// Why a change of the store's state or a look into it failed. Nothing was changed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no pending event of that id, or nothing that was rejected.
    #[error("there is no such pending event")]
    NotPending,
    /// A materialiser fails at an event that would have to be applied again.
    #[error(transparent)]
    Materialise(#[from] MaterialiseError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.into())
    }
}

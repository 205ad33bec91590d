//! Event logs in one SQLite file. For `native`, and for apps that embed the server.
//!
//! The events of all stores are in one table (`place`); tables with the reference's names and columns, which the
//! reference or an earlier version has made, are served as they stand. One thread writes (`write`), a few
//! connections read (`read`, `rows`), and a lock keeps other processes out of the folder (`folder`). Nothing here
//! knows sockets, sessions or hooks.

mod append;
mod backup;
pub(crate) mod folder;
mod place;
mod read;
mod rows;
mod schema;
mod write;

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use livestore_sync_protocol::{ItemFormat, PulledEvent, SeqNum};
use tokio::sync::{mpsc, oneshot};

pub use self::backup::BackupError;
use self::place::{Entry, Found};
use self::read::Readers;
use self::rows::ReadError;
use self::write::{WriteJob, Writer};
use super::{AppendError, EventLog, Head, LogError, Page};
use crate::{Batch, new_backend_id};

/// When a commit counts as durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// When the disk has it: survives a loss of power. SQLite's `FULL`.
    #[default]
    Full,
    /// When the operating system has it: survives a crash of the process; a loss of power may undo
    /// acknowledged pushes. SQLite's `NORMAL`.
    Normal,
    /// SQLite's `OFF`: a loss of power may also corrupt the file.
    Off,
}

/// Why a data file cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The folder cannot be made or locked.
    #[error("cannot use the data folder {path}: {source}")]
    Folder {
        /// The folder.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Another process serves from this folder.
    #[error("the data folder {path} is in use by another process")]
    InUse {
        /// The folder.
        path: String,
    },
    /// SQLite refuses the file.
    #[error("cannot open {path}: {source}")]
    Database {
        /// The file.
        path: String,
        /// Why.
        source: rusqlite::Error,
    },
    /// The file was written by a newer release.
    #[error("{path} has schema version {found}, this release knows versions up to {known}")]
    NewerSchema {
        /// The file.
        path: String,
        /// The file's version.
        found: i64,
        /// Ours.
        known: i64,
    },
}

/// Why a store of the file cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file holds as many stores as it may.
    #[error("this server holds {0} stores already, which is its limit")]
    TooManyStores(u32),
    /// The database failed.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// A data file, opened for as long as this or one of its logs lives.
#[derive(Clone)]
pub struct SqliteFile {
    readers: Arc<Readers>,
    /// How many stores have events.
    stores: Arc<AtomicU32>,
    writer: mpsc::UnboundedSender<WriteJob>,
}

impl SqliteFile {
    /// The file's name in the data folder.
    pub const FILE_NAME: &str = "livestore-sync.db";

    /// Opens the data file in a folder, and makes both where they do not exist, for their owner alone. The folder
    /// is locked against other processes.
    ///
    /// # Errors
    ///
    /// [`OpenError`], when the folder or the file cannot be used.
    pub fn open(folder: &Path, synchronous: Synchronous) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Folder { path: folder.display().to_string(), source };
        let lock = folder::FolderLock::acquire(folder)?;
        let path = folder.join(Self::FILE_NAME);
        folder::open_private(&path).map_err(failed)?;
        folder::warn_if_open_to_others(folder, &path);
        let writer = Writer::open(&path, synchronous)?;
        let (readers, stores) = (writer.readers(), writer.stores());
        let (sender, jobs) = mpsc::unbounded_channel();
        std::thread::Builder::new()
            .name("event-log-writer".into())
            .spawn(move || {
                writer.run(jobs);
                drop(lock);
            })
            .map_err(failed)?;
        Ok(Self { readers, stores, writer: sender })
    }

    /// The log of a store. A store exists from its first event on; before that, this leaves nothing behind.
    /// `stores_max` is how many stores with events the file may hold. `created_at` is the time, for a table of the
    /// reference that is taken over.
    ///
    /// # Errors
    ///
    /// [`StoreError`], when the file is full of stores or the database fails.
    ///
    /// # Cancel safety
    ///
    /// A table may have been taken over.
    pub async fn store(&self, store_id: &str, created_at: String, stores_max: u32) -> Result<SqliteLog, StoreError> {
        let id = store_id.to_owned();
        let found = self.readers.read(move |connection| Ok(place::find(connection, &id)?)).await?;
        let (place, backend_id) = match found {
            Found::Here(place, backend_id) => (Some(place), backend_id),
            Found::Empty(backend_id) => (None, backend_id),
            Found::Left(table, backend_id) => {
                let (reply, answer) = oneshot::channel();
                let (store_id, backend_id) = (store_id.to_owned(), backend_id.unwrap_or_else(new_backend_id));
                self.send(WriteJob::TakeOver { store_id, table, backend_id, created_at, reply })?;
                let (place, backend_id) = answer.await.map_err(unanswered)??;
                (Some(place), backend_id)
            }
        };
        if place.is_none() && self.stores.load(Ordering::Relaxed) >= stores_max {
            return Err(StoreError::TooManyStores(stores_max));
        }
        let place = place.map_or_else(OnceLock::new, OnceLock::from);
        let entry = Entry { store_id: store_id.to_owned(), backend_id: backend_id.into(), stores_max, place };
        Ok(SqliteLog { file: self.clone(), entry: Arc::new(entry) })
    }

    fn send(&self, job: WriteJob) -> Result<(), LogError> {
        self.writer.send(job).map_err(|_| LogError::nothing_stored(WRITER_ENDED))
    }
}

const WRITER_ENDED: &str = "the event log's writer has ended";

/// The writer took the job and gave no answer.
fn unanswered<E>(_: E) -> LogError {
    LogError::unknown_outcome(WRITER_ENDED)
}

/// For each connection: SQLite takes back a job of a group with what it notes in a temporary file, for which a
/// read-only system has no place.
fn no_temporary_files(connection: &rusqlite::Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "temp_store", "MEMORY")
}

/// One store's log in a [`SqliteFile`].
pub struct SqliteLog {
    file: SqliteFile,
    entry: Arc<Entry>,
}

impl SqliteLog {
    async fn read_with<T: Send + 'static>(
        &self,
        read: impl FnOnce(&rusqlite::Connection, &Entry) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, LogError> {
        let entry = Arc::clone(&self.entry);
        self.file.readers.read(move |connection| read(connection, &entry)).await
    }
}

impl EventLog for SqliteLog {
    async fn backend_id(&self) -> Result<Arc<str>, LogError> {
        Ok(Arc::clone(&self.entry.backend_id))
    }

    async fn head(&self) -> Result<Head, LogError> {
        self.read_with(|connection, entry| Ok(place::head(connection, entry)?)).await
    }

    async fn append(&self, expected: Head, batches: Vec<Arc<Batch>>) -> Result<(), AppendError> {
        let (reply, answer) = oneshot::channel();
        self.file.send(WriteJob::Append { entry: Arc::clone(&self.entry), expected, batches, reply })?;
        answer.await.map_err(unanswered)?
    }

    async fn read(&self, after: SeqNum, format: ItemFormat) -> Result<Page, LogError> {
        self.read_with(move |connection, entry| rows::page(connection, entry, after, format)).await
    }

    async fn events(&self, after: SeqNum, last: SeqNum, limit: u32) -> Result<Vec<PulledEvent>, LogError> {
        self.read_with(move |connection, entry| rows::events(connection, entry, after, last, limit)).await
    }

    async fn count(&self, after: SeqNum) -> Result<u64, LogError> {
        self.read_with(move |connection, entry| rows::count(connection, entry, after)).await
    }
}

//! Event logs in one SQLite file: a table per store, with the reference's names and columns. For `native`, and
//! for apps that embed the server.
//!
//! One thread writes (`write`), any number of connections read (`read`), and a lock keeps other processes out of
//! the folder (`lock`). Nothing here knows sockets, sessions or hooks.

mod lock;
mod read;
mod table;
mod write;

use std::path::Path;
use std::sync::Arc;

use livestore_sync_protocol::{ItemFormat, PulledEvent, SeqNum};
use tokio::sync::{mpsc, oneshot};

use self::read::Readers;
use self::write::WriteJob;
use super::{AppendError, EventLog, Head, LogError, Page};
use crate::Batch;

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
    writer: mpsc::UnboundedSender<WriteJob>,
}

impl SqliteFile {
    /// The file's name in the data folder.
    pub const FILE_NAME: &str = "livestore-sync.db";

    /// Opens the data file in a folder, and makes both where they do not exist. The folder is locked
    /// against other processes.
    ///
    /// # Errors
    ///
    /// [`OpenError`], when the folder or the file cannot be used.
    pub fn open(folder: &Path, synchronous: Synchronous) -> Result<Self, OpenError> {
        let lock = lock::FolderLock::acquire(folder)?;
        let path = folder.join(Self::FILE_NAME);
        let connection = write::open(&path, synchronous)?;
        let (writer, jobs) = mpsc::unbounded_channel();
        std::thread::Builder::new()
            .name("event-log-writer".into())
            .spawn(move || {
                write::run(connection, jobs);
                drop(lock);
            })
            .map_err(|source| OpenError::Folder { path: folder.display().to_string(), source })?;
        Ok(Self { readers: Arc::new(Readers::new(path)), writer })
    }

    /// The log of a store, made on first use. `stores_max` is how many the file may hold.
    ///
    /// # Errors
    ///
    /// [`StoreError`], when the file is full of stores or the database fails.
    ///
    /// # Cancel safety
    ///
    /// A store whose opening was dropped may have been made.
    pub async fn store(&self, store_id: &str, created_at: String, stores_max: u32) -> Result<SqliteLog, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(WriteJob::OpenStore { store_id: store_id.into(), created_at, stores_max, reply })?;
        let store = answer.await.map_err(unanswered)??;
        Ok(SqliteLog { file: self.clone(), store: Arc::new(store) })
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

/// One store's log in a [`SqliteFile`].
pub struct SqliteLog {
    file: SqliteFile,
    store: Arc<table::StoreTable>,
}

impl SqliteLog {
    async fn read_with<T: Send + 'static>(
        &self,
        read: impl FnOnce(&rusqlite::Connection, &table::StoreTable) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, LogError> {
        let (readers, store) = (Arc::clone(&self.file.readers), Arc::clone(&self.store));
        tokio::task::spawn_blocking(move || readers.with(|connection| read(connection, &store)))
            .await
            .map_err(LogError::nothing_stored)?
            .map_err(LogError::nothing_stored)
    }
}

impl EventLog for SqliteLog {
    async fn backend_id(&self) -> Result<Arc<str>, LogError> {
        Ok(Arc::clone(&self.store.backend_id))
    }

    async fn head(&self) -> Result<Head, LogError> {
        self.read_with(table::head).await
    }

    async fn append(&self, expected: Head, batches: Vec<Arc<Batch>>) -> Result<(), AppendError> {
        let (reply, answer) = oneshot::channel();
        self.file.send(WriteJob::Append { store: Arc::clone(&self.store), expected, batches, reply })?;
        answer.await.map_err(unanswered)?
    }

    async fn read(&self, after: SeqNum, format: ItemFormat) -> Result<Page, LogError> {
        self.read_with(move |connection, store| read::page(connection, store, after, format)).await
    }

    async fn events(&self, after: SeqNum, last: SeqNum, limit: u32) -> Result<Vec<PulledEvent>, LogError> {
        self.read_with(move |connection, store| read::events(connection, store, after, last, limit)).await
    }

    async fn count(&self, after: SeqNum) -> Result<u64, LogError> {
        self.read_with(move |connection, store| read::count(connection, store, after)).await
    }
}

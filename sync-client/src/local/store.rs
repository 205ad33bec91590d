//! The store as apps see it: a handle on the writer's thread, the sync task and the readers. It decides nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use livestore_sync_protocol::{Event, PulledEvent, SeqNum};
use tokio::sync::{Notify, watch};

use super::backend::Backend;
use super::change::Changes;
use super::error::{CommitError, FlushError, OpenError, StoreError};
use super::event::{PendingEvent, PendingId, ResetKeep};
use super::file::{LogFile, log};
use super::options::Options;
use super::reader::Readers;
use super::status::{Rejection, Status, SyncState};
use super::sync::Driver;
use super::writer::{Shared, Writer};
use crate::event::NewEvent;

/// A store on this machine that works offline and keeps in step with a sync backend. See the
/// [module](super).
///
/// Dropping it stops sync, waits for the write that is under way, and closes the file.
pub struct LocalStore {
    path: PathBuf,
    client_id: String,
    writer: Writer,
    shared: Arc<Shared>,
    readers: Arc<Readers>,
    restart: Arc<Notify>,
    /// May be aborted at any moment: each step of it is one transaction of the writer.
    sync: tokio::task::AbortHandle,
    thread: Option<JoinHandle<()>>,
}

impl LocalStore {
    /// Opens a file, or makes it, and starts to sync in a task of this tokio runtime.
    ///
    /// # Errors
    ///
    /// [`OpenError::InUse`] when the file is open already, here or in another process; the app's tables may be
    /// refused, or a materialiser may fail while they are built from the log. The file is then as it was.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the file is closed again as soon as the opening is through.
    pub async fn open(path: impl AsRef<Path>, backend: impl Backend, options: Options) -> Result<Self, OpenError> {
        let path = path.as_ref().to_owned();
        let (retry_after, changes_capacity) = (options.retry_after, options.changes_capacity);
        let opened = tokio::task::spawn_blocking({
            let path = path.clone();
            move || LogFile::open(&path, options)
        });
        let file = opened.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        let path = file.path().to_owned();
        let client_id = file.client_id().to_owned();
        let position = file.position();
        let status = Status {
            head: position.head,
            pending: position.pending,
            backend_id: file.backend_id().map(str::to_owned),
            first_pending: position.first_pending,
            last_committed: file.last_id(),
            ..Status::default()
        };
        let shared = Arc::new(Shared::new(status, changes_capacity));
        let (writer, thread) =
            Writer::spawn(file, Arc::clone(&shared)).map_err(|source| OpenError::Io { path: path.clone(), source })?;
        let restart = Arc::new(Notify::new());
        let driver = Driver {
            backend,
            writer: writer.clone(),
            shared: Arc::clone(&shared),
            restart: Arc::clone(&restart),
            retry_after,
        };
        let sync = tokio::spawn(driver.run()).abort_handle();
        let readers = Arc::new(Readers::new(path.clone()));
        Ok(Self { path, client_id, writer, shared, readers, restart, sync, thread: Some(thread) })
    }

    /// Commits events, all or none. When this returns they are durable in the file and applied to the app's tables,
    /// whether or not the backend can be reached; they are pushed in the background.
    ///
    /// The events that are returned have the numbers that they keep if no other client's events enter the log first.
    ///
    /// # Errors
    ///
    /// When a materialiser fails, an event is too large for the wire, or the disk fails. Nothing is committed then.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped after it was polled, the events are committed or not, but never in part.
    pub async fn commit(&self, events: impl IntoIterator<Item = NewEvent>) -> Result<Vec<Event>, CommitError> {
        self.writer.commit(events.into_iter().collect()).await
    }

    /// Reads the app's tables, on a thread for blocking work. Reads see all that was committed before, and may run
    /// beside each other and beside commits. Writing is refused.
    ///
    /// # Errors
    ///
    /// What SQLite says.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the read goes on and its result is dropped.
    pub async fn query<T: Send + 'static>(
        &self,
        read: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let readers = Arc::clone(&self.readers);
        let reading = tokio::task::spawn_blocking(move || readers.read(read));
        match reading.await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(StoreError::Closed),
        }
    }

    /// Confirmed events above a number, at most `limit`. When the backend took an event (`created_at`) is known once
    /// the live pull has brought it, which may be a moment after it was confirmed.
    ///
    /// # Errors
    ///
    /// What SQLite says.
    ///
    /// # Cancel safety
    ///
    /// Only reads.
    pub async fn confirmed(&self, above: SeqNum, limit: usize) -> Result<Vec<PulledEvent>, StoreError> {
        self.query(move |connection| log::confirmed(connection, above, limit)).await
    }

    /// The pending events, in order.
    ///
    /// # Errors
    ///
    /// What SQLite says.
    ///
    /// # Cancel safety
    ///
    /// Only reads.
    pub async fn pending(&self) -> Result<Vec<PendingEvent>, StoreError> {
        self.query(|connection| {
            let snapshot = connection.unchecked_transaction()?;
            let head = log::position(&snapshot)?.head;
            let rows = log::pending(&snapshot, i64::MIN, head, usize::MAX)?;
            Ok(rows.into_iter().map(|row| PendingEvent { id: PendingId(row.id), event: row.event }).collect())
        })
        .await
    }

    /// What happens to the events from now on.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes::new(self.shared.subscribe())
    }

    /// How the store is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status.borrow().clone()
    }

    /// How the store is doing, now and from now on.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.shared.status.subscribe()
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The client id that this file's events carry.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Waits until all that is committed by now is confirmed by the backend, however long it takes to
    /// reach it; put a timeout around it.
    ///
    /// # Errors
    ///
    /// When sync cannot go on without the app: the backend refuses an event, was reset, or a materialiser fails.
    ///
    /// # Cancel safety
    ///
    /// Only waits.
    pub async fn flush(&self) -> Result<(), FlushError> {
        let mut status = self.watch();
        let last = status.borrow_and_update().last_committed;
        let is_done = |status: &Status| status.first_pending.is_none_or(|first| first > last);
        let needs_app = |status: &Status| matches!(status.sync, SyncState::Rejected { .. } | SyncState::Stopped(_));
        let status = status.wait_for(|status| is_done(status) || needs_app(status)).await;
        let status = status.map_err(|_| FlushError::Closed)?.clone();
        match status.sync {
            _ if is_done(&status) => Ok(()),
            SyncState::Rejected { event, reason } => Err(FlushError::Rejected { event, reason }),
            SyncState::Stopped(reason) => Err(FlushError::Stopped(reason)),
            SyncState::Running | SyncState::Retrying { .. } => Ok(()),
        }
    }

    /// Drops the pending event that the backend refuses, and goes on with those after it.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotPending`] when nothing is refused; [`StoreError::Materialise`] when a later pending event
    /// cannot be applied without this one.
    ///
    /// # Cancel safety
    ///
    /// As [`commit`](Self::commit).
    pub async fn drop_rejected(&self) -> Result<Event, StoreError> {
        let rejected = self.shared.status.borrow().health.rejected.clone();
        let Some(Rejection { id, .. }) = rejected else { return Err(StoreError::NotPending) };
        self.drop_pending(PendingId(id)).await
    }

    /// Drops a pending event: what it did to the tables is undone, and those after it are applied again.
    /// If it has been pushed and only the answer is missing, it will come back as an event of the log.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotPending`] when it is pending no more; [`StoreError::Materialise`] when a later pending event
    /// cannot be applied without this one.
    ///
    /// # Cancel safety
    ///
    /// As [`commit`](Self::commit).
    pub async fn drop_pending(&self, id: PendingId) -> Result<Event, StoreError> {
        self.writer.run(move |owner| owner.drop_pending(id)).await
    }

    /// Tries again what has stopped: the refused event, the failed materialiser.
    pub fn resume(&self) {
        self.shared.update(|status| (status.health.stopped, status.health.rejected) = (None, None));
        self.restart.notify_one();
    }

    /// Follows the backend's log from its start, and keeps of the local events what is asked. For a backend that was
    /// reset ([`StopReason::BackendReset`](super::StopReason::BackendReset)), which this store reports and never acts
    /// upon by itself.
    ///
    /// # Errors
    ///
    /// [`StoreError::Materialise`] when an event that is kept cannot be applied without those that are not.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the file is reset or not; sync may need [`resume`](Self::resume).
    pub async fn reset_to_backend(&self, keep: ResetKeep) -> Result<(), StoreError> {
        self.writer.run(move |owner| owner.reset(keep)).await?;
        self.resume();
        Ok(())
    }

    /// Stops sync and closes the file. As dropping it, without blocking the thread.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the file is closed in the background.
    pub async fn close(mut self) {
        self.sync.abort();
        self.writer.close();
        if let Some(thread) = self.thread.take() {
            // The thread does not panic; if it did, the file is closed all the same.
            drop(tokio::task::spawn_blocking(move || drop(thread.join())).await);
        }
    }
}

impl Drop for LocalStore {
    fn drop(&mut self) {
        self.sync.abort();
        self.writer.close();
        if let Some(thread) = self.thread.take()
            // Dropped by a materialiser, which runs on the thread itself: it cannot wait for its own end.
            && thread.thread().id() != std::thread::current().id()
        {
            drop(thread.join());
        }
    }
}

impl std::fmt::Debug for LocalStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalStore").field("path", &self.path).finish_non_exhaustive()
    }
}

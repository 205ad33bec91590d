//! The thread that has the file. Whatever changes it goes through here, one after the other: commits of the app, and
//! what the sync task takes from the backend. So there is one writer and nothing to lock; readers have connections of
//! their own (`reader`).

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use livestore_sync_protocol::{Event, SeqNum};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::change::Change;
use super::error::{CommitError, StoreError};
use super::event::{PendingId, ResetKeep};
use super::file::{LogFile, Received};
use super::status::{Status, StopReason};
use crate::event::NewEvent;
use crate::page::Page;

/// Commits that share a transaction, and so a write to the disk.
const GROUP_MAX: usize = 512;

type Reply<T> = oneshot::Sender<Result<T, CommitError>>;

enum Job {
    Commit { events: Vec<NewEvent>, reply: Reply<Vec<Event>> },
    Run(Box<dyn FnOnce(&mut Owner) + Send>),
    Close,
}

/// What is seen of a store from outside of the thread.
pub(crate) struct Shared {
    pub(crate) status: watch::Sender<Status>,
    changes: Mutex<Option<broadcast::Sender<Change>>>,
}

impl Shared {
    pub(crate) fn new(status: Status, changes_capacity: usize) -> Self {
        let changes = broadcast::Sender::new(changes_capacity);
        Self { status: watch::Sender::new(status), changes: Mutex::new(Some(changes)) }
    }

    /// Changes the status. What sync is up to follows from the rest.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Status)) {
        self.status.send_modify(|status| {
            change(status);
            status.sync = status.health.sync();
        });
    }

    pub(crate) fn stop(&self, reason: StopReason) {
        self.update(|status| status.health.stopped = Some(reason.clone()));
        self.tell(|| Change::Stopped(reason));
    }

    /// Tells the readers, if there are any.
    pub(crate) fn tell(&self, change: impl FnOnce() -> Change) {
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(changes) = changes.as_ref().filter(|changes| changes.receiver_count() > 0) {
            drop(changes.send(change()));
        }
    }

    /// The changes from now on; none when the store is closed.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Change> {
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        changes.as_ref().map_or_else(|| broadcast::channel(1).1, broadcast::Sender::subscribe)
    }

    fn close(&self) {
        drop(self.changes.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// The way to the thread.
#[derive(Clone)]
pub(crate) struct Writer {
    jobs: mpsc::UnboundedSender<Job>,
}

impl Writer {
    pub(crate) fn spawn(file: LogFile, shared: Arc<Shared>) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (jobs, inbox) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new().name("livestore-store".into());
        let handle = thread.spawn(move || run(Owner { file, shared }, inbox))?;
        Ok((Self { jobs }, handle))
    }

    pub(crate) async fn commit(&self, events: Vec<NewEvent>) -> Result<Vec<Event>, CommitError> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job::Commit { events, reply }).map_err(|_| CommitError::Closed)?;
        answer.await.unwrap_or(Err(CommitError::Closed))
    }

    /// Runs something on the thread. It runs to its end also when the future is dropped.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Owner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let work = move |owner: &mut Owner| drop(reply.send(work(owner)));
        self.jobs.send(Job::Run(Box::new(work))).map_err(|_| StoreError::Closed)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Ends the thread after what it was asked before.
    pub(crate) fn close(&self) {
        drop(self.jobs.send(Job::Close));
    }
}

fn run(mut owner: Owner, mut inbox: mpsc::UnboundedReceiver<Job>) {
    let mut held_back = None;
    while let Some(job) = held_back.take().or_else(|| inbox.blocking_recv()) {
        match job {
            Job::Close => break,
            Job::Run(work) => work(&mut owner),
            Job::Commit { events, reply } => {
                let (mut groups, mut replies) = (vec![events], vec![reply]);
                while groups.len() < GROUP_MAX
                    && let Ok(job) = inbox.try_recv()
                {
                    match job {
                        Job::Commit { events, reply } => {
                            groups.push(events);
                            replies.push(reply);
                        }
                        other => {
                            held_back = Some(other);
                            break;
                        }
                    }
                }
                owner.commit(&groups, replies);
            }
        }
    }
    // First the file, so that an app that sees the end of the changes can open it again.
    let shared = Arc::clone(&owner.shared);
    drop(owner);
    shared.close();
}

/// The file, and where it is published what happens to it.
pub(crate) struct Owner {
    pub(crate) file: LogFile,
    shared: Arc<Shared>,
}

impl Owner {
    fn commit(&mut self, groups: &[Vec<NewEvent>], replies: Vec<Reply<Vec<Event>>>) {
        let results = self.file.commit(groups);
        self.publish();
        for (result, reply) in results.into_iter().zip(replies) {
            if let Ok(events) = &result
                && !events.is_empty()
            {
                self.shared.tell(|| Change::Committed(events.as_slice().into()));
            }
            drop(reply.send(result));
        }
    }

    pub(crate) fn receive(&mut self, page: Page) -> Result<Received, StoreError> {
        let result = self.file.receive(page);
        self.publish();
        if let Ok(Received::Taken { confirmed, received, rebased }) = &result {
            if !confirmed.is_empty() {
                self.shared.tell(|| Change::Confirmed(confirmed.as_slice().into()));
            }
            if !received.is_empty() {
                self.shared.tell(|| Change::Received(received.as_slice().into()));
            }
            let position = self.file.position();
            if *rebased {
                self.shared.tell(|| Change::Rebased { head: position.head, pending: position.pending });
            }
        }
        result
    }

    pub(crate) fn acknowledge(&mut self, up_to: SeqNum, epoch: u64) -> Result<(), StoreError> {
        let confirmed = self.file.acknowledge(up_to, epoch);
        self.publish();
        let confirmed = confirmed?;
        if !confirmed.is_empty() {
            self.shared.tell(|| Change::Confirmed(confirmed.into()));
        }
        Ok(())
    }

    pub(crate) fn drop_pending(&mut self, id: PendingId) -> Result<Event, StoreError> {
        let dropped = self.file.drop_pending(id);
        self.publish();
        let event = dropped?;
        self.shared.tell(|| Change::Dropped(Arc::new(event.clone())));
        Ok(event)
    }

    pub(crate) fn reset(&mut self, keep: ResetKeep) -> Result<(), StoreError> {
        let result = self.file.reset(keep);
        self.publish();
        result?;
        self.shared.tell(|| Change::Reset);
        Ok(())
    }

    fn publish(&self) {
        let position = self.file.position();
        self.shared.update(|status| {
            status.head = position.head;
            status.pending = position.pending;
            status.first_pending = position.first_pending;
            status.last_committed = self.file.last_id();
            status.epoch = self.file.epoch();
            if status.backend_id.as_deref() != self.file.backend_id() {
                status.backend_id = self.file.backend_id().map(str::to_owned);
            }
            // It was dropped, or it is in the log after all.
            if status.health.rejected.as_ref().is_some_and(|rejected| position.first_pending != Some(rejected.id)) {
                status.health.rejected = None;
            }
        });
    }
}

//! The way from a handle to the task: what is asked, and where the answer goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot};

use crate::connection::{AppCommand, Key};
use crate::error::{PingError, PullError, PushError};
use crate::page::Page;

/// What comes from the app.
#[derive(Debug)]
pub(super) enum Message {
    /// What it asks for, and where the answer goes.
    Request { command: AppCommand, reply: Option<Reply> },
    /// It wants nothing any more.
    Stop,
}

/// Where an answer goes.
#[derive(Debug)]
pub(super) enum Reply {
    /// `None` is the end.
    Pages(mpsc::UnboundedSender<Result<Option<Page>, PullError>>),
    Push(oneshot::Sender<Result<(), PushError>>),
    Ping(oneshot::Sender<Result<(), PingError>>),
}

/// A handle on the task. The task ends when the last one is dropped.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    sender: mpsc::UnboundedSender<Message>,
    last_key: Arc<AtomicU64>,
}

impl Requests {
    /// And the end that the task reads from.
    pub(super) fn channel() -> (Self, mpsc::UnboundedReceiver<Message>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { sender, last_key: Arc::new(AtomicU64::new(1)) }, receiver)
    }

    pub(super) fn new_key(&self) -> Key {
        self.last_key.fetch_add(1, Ordering::Relaxed)
    }

    /// If the task is gone, the reply is dropped with the message, and the one who waits for it sees that.
    pub(super) fn send(&self, command: AppCommand, reply: Option<Reply>) {
        let _ = self.sender.send(Message::Request { command, reply });
    }

    /// Asks for something that has one answer.
    pub(super) fn one<T>(&self, reply: Reply, command: AppCommand, receiver: oneshot::Receiver<T>) -> Waiting<T> {
        let key = command.key();
        self.send(command, Some(reply));
        Waiting { key, requests: self.clone(), receiver, answered: false }
    }

    /// Ends the task, and waits for that.
    pub(super) async fn stop(&self) {
        let _ = self.sender.send(Message::Stop);
        self.sender.closed().await;
    }
}

/// An answer that is waited for. Dropping it before takes the request back, so that a request whose future was dropped
/// is not sent later, when there is a connection again.
pub(super) struct Waiting<T> {
    key: Key,
    requests: Requests,
    receiver: oneshot::Receiver<T>,
    answered: bool,
}

impl<T> Waiting<T> {
    /// `None` if the task is gone.
    pub(super) async fn answer(mut self) -> Option<T> {
        let answer = (&mut self.receiver).await;
        self.answered = true;
        answer.ok()
    }
}

impl<T> Drop for Waiting<T> {
    fn drop(&mut self) {
        if !self.answered {
            self.requests.send(AppCommand::Drop { key: self.key }, None);
        }
    }
}

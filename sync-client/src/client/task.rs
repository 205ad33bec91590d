use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::link::{Link, LinkCommand, LinkEvent, Settings};
use crate::connection::{Action, Command, Connection, Key};
use crate::{ConnectionState, Page, PingError, PullError, PushError};

/// What comes from the app.
#[derive(Debug)]
pub(super) enum Message {
    /// What it asks for, and where the answer goes.
    Request { command: Command, reply: Option<Reply> },
    /// It wants nothing any more.
    Stop,
}

#[derive(Debug)]
pub(super) enum Reply {
    /// `None` is the end.
    Pages(mpsc::UnboundedSender<Result<Option<Page>, PullError>>),
    Push(oneshot::Sender<Result<(), PushError>>),
    Ping(oneshot::Sender<Result<(), PingError>>),
}

/// Owns the connection.
pub(super) struct Task {
    pub(super) connection: Connection,
    pub(super) settings: Arc<Settings>,
    pub(super) messages: mpsc::UnboundedReceiver<Message>,
    pub(super) state: watch::Sender<ConnectionState>,
    pub(super) replies: HashMap<Key, Reply>,
    pub(super) link: Option<Link>,
}

impl Task {
    /// Runs until nobody can ask for anything any more.
    pub(super) async fn run(mut self) {
        let start = Instant::now();
        loop {
            while let Some(action) = self.connection.poll_action() {
                self.perform(action);
            }
            let timeout = self.connection.poll_timeout().map(|at| start + at);
            tokio::select! {
                event = next_event(&mut self.link) => self.handle_event(start.elapsed(), event),
                message = self.messages.recv() => match message {
                    Some(Message::Request { command, reply }) => {
                        self.handle_request(start.elapsed(), command, reply);
                    }
                    Some(Message::Stop) | None => break,
                },
                () = sleep_until(timeout) => self.connection.handle_timeout(start.elapsed()),
            }
        }
        // Whoever still waits is told that there is nothing to wait for.
        self.replies.clear();
        if let Some(link) = self.link.take() {
            link.finish().await;
        }
    }

    fn handle_request(&mut self, now: Duration, command: Command, reply: Option<Reply>) {
        if let Some(reply) = reply {
            self.replies.insert(command.key(), reply);
        } else if let Command::Drop { key } = command {
            self.replies.remove(&key);
        }
        self.connection.handle_command(now, command);
    }

    fn handle_event(&mut self, now: Duration, event: LinkEvent) {
        match event {
            LinkEvent::Payload(payload) => self.connection.handle_payload(payload),
            LinkEvent::Opened => self.connection.handle_opened(now),
            LinkEvent::Frame(frame) => self.connection.handle_frame(now, &frame),
            LinkEvent::SocketPong => self.connection.handle_socket_pong(now),
            LinkEvent::Lost(reason) => self.connection.handle_lost(now, reason),
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Open => self.link = Some(Link::open(self.settings.clone())),
            Action::Close => self.link = None,
            Action::Send { wire, frame } => self.tell(LinkCommand::Send { wire, frame }),
            Action::Cancel { wire } => self.tell(LinkCommand::Cancel { wire }),
            Action::SocketPing => self.tell(LinkCommand::SocketPing),
            Action::State(state) => {
                self.state.send_replace(state);
            }
            // Whoever asked may be gone; then the answer is not missed.
            Action::Page { key, page } => {
                if let Some(Reply::Pages(sender)) = self.replies.get(&key) {
                    let _ = sender.send(Ok(Some(page)));
                }
            }
            Action::Pulled { key, result } => {
                if let Some(Reply::Pages(sender)) = self.replies.remove(&key) {
                    let _ = sender.send(result.map(|()| None));
                }
            }
            Action::Pushed { key, result } => {
                if let Some(Reply::Push(sender)) = self.replies.remove(&key) {
                    let _ = sender.send(result);
                }
            }
            Action::Ponged { key, result } => {
                if let Some(Reply::Ping(sender)) = self.replies.remove(&key) {
                    let _ = sender.send(result);
                }
            }
        }
    }

    fn tell(&self, command: LinkCommand) {
        if let Some(link) = &self.link {
            link.send(command);
        }
    }
}

async fn next_event(link: &mut Option<Link>) -> LinkEvent {
    match link {
        Some(link) => link.next().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

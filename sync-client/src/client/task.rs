//! The task: it gives the machine what the app asks, what the link brings and the time, and does what the machine says.
//! All of a client's state is in here, so there is nothing to lock. Started by the builder.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::channels::{LinkCommand, LinkEvent};
use super::link::Link;
use super::requests::{Message, Reply};
use super::settings::Settings;
use crate::connection::{Action, AppCommand, Connection, Key};
use crate::state::ConnectionState;

/// Owns the machine and the link.
pub(super) struct Task {
    pub(super) connection: Connection,
    pub(super) settings: Arc<Settings>,
    pub(super) messages: mpsc::UnboundedReceiver<Message>,
    pub(super) state: watch::Sender<ConnectionState>,
    pub(super) replies: HashMap<Key, Reply>,
    pub(super) link: Option<Link>,
}

impl Task {
    /// Runs until the last handle is dropped, or one says stop.
    pub(super) async fn run(mut self) {
        let start = Instant::now();
        loop {
            while let Some(action) = self.connection.poll_action() {
                self.perform(action, start);
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
                () = sleep_until(timeout) => {
                    if let Some(link) = &self.link {
                        self.connection.handle_moved(link.moved());
                    }
                    self.connection.handle_timeout(start.elapsed());
                }
            }
        }
        // Dropping a reply is the answer "the client has stopped" for everyone who still waits.
        self.replies.clear();
        if let Some(link) = self.link.take() {
            link.finish().await;
        }
    }

    fn handle_request(&mut self, now: Duration, command: AppCommand, reply: Option<Reply>) {
        if let Some(reply) = reply {
            self.replies.insert(command.key(), reply);
        } else if let AppCommand::Drop { key } = command {
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

    fn perform(&mut self, action: Action, start: Instant) {
        match action {
            Action::Open => self.link = Some(Link::open(self.settings.clone(), start)),
            Action::Close => self.link = None,
            Action::Send { request, frame } => self.send(LinkCommand::Send { request, frame }),
            Action::Cancel { request } => self.send(LinkCommand::Cancel { request }),
            Action::SocketPing => self.send(LinkCommand::SocketPing),
            Action::State(state) => {
                self.state.send_replace(state);
            }
            // A sender fails when the app has dropped its end in this very moment; the answer is not missed.
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

    fn send(&self, command: LinkCommand) {
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

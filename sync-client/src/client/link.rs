//! One connection, or one attempt at it, as a task with a channel in each direction.

use std::sync::Arc;
use std::time::Duration;

use hyper::http::{HeaderMap, Uri};
use livestore_sync_protocol::target::Target;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::rustls::ClientConfig;

use super::address::Address;
use super::builder::Payload;
use super::{http, socket};
use crate::OfflineReason;
use crate::connection::Kind;

/// Frames that were read and not yet handled. The rest waits in the network.
const EVENTS_WAITING_MAX: usize = 16;

/// How long the closing handshake may take when the client is dropped.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(1);

/// Size of a frame that is taken. 0.4 servers cut theirs at about a megabyte, 0.3 ones do not.
pub(super) const FRAME_BYTES_MAX: usize = 256 << 20;

/// How much of a refusal is kept.
pub(super) const REFUSAL_BYTES_MAX: usize = 500;

pub(super) fn refusal(status: u16, body: &[u8]) -> OfflineReason {
    let text = String::from_utf8_lossy(&body[..body.len().min(REFUSAL_BYTES_MAX)]);
    OfflineReason::Refused { status, message: text.trim().to_owned() }
}

/// How to connect.
pub(super) struct Settings {
    pub(super) address: Address,
    pub(super) kind: Kind,
    pub(super) store_id: String,
    pub(super) payload: Payload,
    pub(super) headers: HeaderMap,
    /// Instead of the default one.
    pub(super) tls: Option<Arc<ClientConfig>>,
}

impl Settings {
    /// The URI of a connection with this payload.
    pub(super) fn uri(&self, payload: Option<Box<RawValue>>) -> Uri {
        let target = Target { store_id: self.store_id.clone(), payload };
        self.address.uri(self.kind, &target)
    }
}

#[derive(Debug)]
pub(super) enum LinkCommand {
    Send { wire: u64, frame: String },
    Cancel { wire: u64 },
    SocketPing,
}

#[derive(Debug)]
pub(super) enum LinkEvent {
    Payload(Option<Box<RawValue>>),
    Opened,
    Frame(String),
    SocketPong,
    Lost(OfflineReason),
}

/// The task's ends of the channels.
pub(super) struct Ends {
    pub(super) commands: mpsc::UnboundedReceiver<LinkCommand>,
    pub(super) events: mpsc::Sender<LinkEvent>,
}

impl Ends {
    /// If nobody listens, the link is about to be aborted.
    pub(super) async fn tell(&self, event: LinkEvent) {
        let _ = self.events.send(event).await;
    }
}

/// Dropping it tears the connection down.
pub(super) struct Link {
    commands: mpsc::UnboundedSender<LinkCommand>,
    events: mpsc::Receiver<LinkEvent>,
    task: JoinHandle<()>,
}

impl Link {
    pub(super) fn open(settings: Arc<Settings>) -> Self {
        let (commands, command_receiver) = mpsc::unbounded_channel();
        let (event_sender, events) = mpsc::channel(EVENTS_WAITING_MAX);
        let ends = Ends { commands: command_receiver, events: event_sender };
        Self { commands, events, task: tokio::spawn(run(settings, ends)) }
    }

    pub(super) fn send(&self, command: LinkCommand) {
        let _ = self.commands.send(command);
    }

    pub(super) async fn next(&mut self) -> LinkEvent {
        let ended = || OfflineReason::Lost { message: "the connection's task ended".to_owned() };
        self.events.recv().await.unwrap_or_else(|| LinkEvent::Lost(ended()))
    }

    /// Closes the connection in good order.
    pub(super) async fn finish(mut self) {
        let (closed, _) = mpsc::unbounded_channel();
        self.commands = closed;
        // Nobody reads what comes now.
        self.events.close();
        let _ = tokio::time::timeout(CLOSE_TIME_MAX, &mut self.task).await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(settings: Arc<Settings>, ends: Ends) {
    let payload = match settings.payload.get().await {
        Ok(payload) => payload,
        Err(message) => return ends.tell(LinkEvent::Lost(OfflineReason::Payload { message })).await,
    };
    ends.tell(LinkEvent::Payload(payload.clone())).await;
    let uri = settings.uri(payload);
    match settings.kind {
        Kind::Ws | Kind::V03 => socket::run(&settings, uri, ends).await,
        Kind::Http => http::run(settings, uri, ends).await,
    }
}

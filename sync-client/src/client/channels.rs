//! The channels between the task and one link, and what travels on them.

use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::state::OfflineReason;

/// What the task wants of a link.
#[derive(Debug)]
pub(super) enum LinkCommand {
    Send {
        request: u64,
        frame: String,
    },
    /// Give up an http request. Sockets have a frame for that.
    Cancel {
        request: u64,
    },
    /// A ping of the WebSocket protocol.
    SocketPing,
}

/// What a link has to say. After `Lost` nothing more comes.
#[derive(Debug)]
pub(super) enum LinkEvent {
    /// What the connection is about to be opened with.
    Payload(Option<Box<RawValue>>),
    Opened,
    Frame(String),
    SocketPong,
    Lost(OfflineReason),
}

/// The link's ends of the channels. The task holds the others.
pub(super) struct LinkChannels {
    /// Ends when the client is closed.
    pub(super) commands: mpsc::UnboundedReceiver<LinkCommand>,
    pub(super) events: mpsc::Sender<LinkEvent>,
}

impl LinkChannels {
    /// Waits while the task is busy: that is what keeps a fast server from filling the memory. If the task does not
    /// listen any more, it is about to abort the link.
    pub(super) async fn tell(&self, event: LinkEvent) {
        let _ = self.events.send(event).await;
    }
}

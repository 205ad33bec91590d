//! One connection, or one attempt at it, as a task with a channel in each direction. Opened by the client's task
//! whenever the machine says so; it never tries twice.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::activity::Activity;
use super::channels::{LinkChannels, LinkCommand, LinkEvent};
use super::settings::Settings;
use super::{http, socket};
use crate::connection::{Moved, Protocol};
use crate::state::OfflineReason;

/// Frames that were read and not yet handled. The rest waits in the network.
const EVENTS_WAITING_MAX: usize = 16;

/// How long the closing handshake may take when the client is dropped.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(1);

/// Dropping it tears the connection down.
pub(super) struct Link {
    activity: Arc<Activity>,
    commands: mpsc::UnboundedSender<LinkCommand>,
    events: mpsc::Receiver<LinkEvent>,
    task: JoinHandle<()>,
}

impl Link {
    /// `start` is what times are counted from.
    pub(super) fn open(settings: Arc<Settings>, start: Instant) -> Self {
        let activity = Activity::new(start);
        let (commands, command_receiver) = mpsc::unbounded_channel();
        let (event_sender, events) = mpsc::channel(EVENTS_WAITING_MAX);
        let channels = LinkChannels { commands: command_receiver, events: event_sender };
        let task = tokio::spawn(run(settings, Arc::clone(&activity), channels));
        Self { activity, commands, events, task }
    }

    pub(super) fn send(&self, command: LinkCommand) {
        let _ = self.commands.send(command);
    }

    /// When its bytes last moved.
    pub(super) fn moved(&self) -> Moved {
        self.activity.moved()
    }

    pub(super) async fn next(&mut self) -> LinkEvent {
        let ended = || OfflineReason::Lost { message: "the connection's task ended".to_owned() };
        self.events.recv().await.unwrap_or_else(|| LinkEvent::Lost(ended()))
    }

    /// Closes the connection in good order.
    pub(super) async fn finish(mut self) {
        // The end of the commands is the sign to close; dropping the sender in place is not possible, as `Link` has a
        // `Drop` of its own.
        let (closed, _) = mpsc::unbounded_channel();
        self.commands = closed;
        // What comes now is not read: a server that goes on sending must not keep the link waiting.
        self.events.close();
        let _ = tokio::time::timeout(CLOSE_TIME_MAX, &mut self.task).await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(settings: Arc<Settings>, activity: Arc<Activity>, channels: LinkChannels) {
    let payload = match settings.payload.get().await {
        Ok(payload) => payload,
        Err(message) => return channels.tell(LinkEvent::Lost(OfflineReason::Payload { message })).await,
    };
    channels.tell(LinkEvent::Payload(payload.clone())).await;
    let uri = settings.uri(payload);
    match settings.protocol {
        Protocol::V04Ws | Protocol::V03 => socket::run(&settings, uri, activity, channels).await,
        Protocol::V04Http => http::run(settings, uri, activity, channels).await,
    }
}

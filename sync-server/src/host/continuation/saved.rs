//! What is known of the 0.3 clients of a store, over a restart of its host. They never pull again, so a new
//! host must know where the last one had left them. A client that was connected when the last host went counts
//! as having had everything.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Continuation;
use super::lost::Entry;
use crate::platform::{MaybeSend, Platform};

/// Changes that come together are written together.
const SAVE_DELAY: Duration = Duration::from_millis(10);

/// When to try again what could not be written.
const SAVE_RETRY: Duration = Duration::from_secs(1);

/// The 0.3 clients of one store.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct SavedClients {
    pub(super) lost: Vec<Entry>,
    pub(super) connected: Vec<Connected>,
}

/// A client that is connected. Where it stands is not kept: with the log.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Connected {
    /// Tells it from those that are still there when a host only lost its memory.
    #[serde(default)]
    pub(super) connection: Uuid,
    #[serde(alias = "likeness")]
    pub(super) fingerprint: String,
    pub(super) pulls: Vec<String>,
}

impl SavedClients {
    pub(crate) fn is_empty(&self) -> bool {
        self.lost.is_empty() && self.connected.is_empty()
    }

    /// Leaves out the older half of the clients, for a place that has too little room.
    pub(crate) fn halve(&mut self) {
        self.lost.drain(..self.lost.len().div_ceil(2));
        self.connected.drain(..self.connected.len().div_ceil(2));
    }
}

impl Continuation {
    /// Saves what changed, a moment after it did, for as long as this runs. `save` says whether that worked; what
    /// did not is tried again, whether or not anything changes meanwhile.
    pub(crate) async fn save_changes<F: Future<Output = bool> + MaybeSend>(
        changed: &tokio::sync::Notify,
        platform: &impl Platform,
        mut save: impl FnMut() -> F + MaybeSend,
    ) {
        loop {
            changed.notified().await;
            platform.sleep(SAVE_DELAY).await;
            while !save().await {
                platform.sleep(SAVE_RETRY).await;
            }
        }
    }
}

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
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SavedClients {
    pub(super) lost: Vec<Entry>,
    pub(super) connected: Vec<Connected>,
}

/// A client that is connected. Where it stands is not kept: with the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt;
    use livestore_sync_protocol::SeqNum;
    use tokio::sync::Notify;

    use super::*;
    use crate::platform::paused::Paused;
    use crate::session::Position;

    #[tokio::test(start_paused = true)]
    async fn what_could_not_be_saved_is_tried_again() {
        let continuation = Continuation::new(Arc::new(Notify::new()));
        let (changed, calls) = (continuation.changed(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&calls);
        tokio::spawn(async move {
            // The first two fail.
            let save = || std::future::ready(counted.fetch_add(1, Ordering::Relaxed) >= 2);
            Continuation::save_changes(&changed, &Paused, save).await;
        });
        continuation.changed().notify_one();
        tokio::time::sleep(SAVE_RETRY * 10).await;
        assert_eq!(calls.load(Ordering::Relaxed), 3, "and no more once it has worked");
    }

    #[test]
    fn where_lost_clients_stood_is_written_down_before_the_log_grows() {
        let seq = |number| SeqNum::new(number).expect("safe");
        let connected = Connected { connection: Uuid::from_u128(1), fingerprint: "x".into(), pulls: vec!["p".into()] };
        let mut saved = SavedClients { lost: Vec::new(), connected: vec![connected] };
        // Each host takes over, and goes before anything happens to its 0.3 clients; the log grows meanwhile.
        for head in [3, 5, 9] {
            let continuation = Continuation::new(Arc::new(Notify::new()));
            continuation.restore(saved, |_| false, seq(head), 0);
            assert!(continuation.changed().notified().now_or_never().is_some(), "it must be saved");
            saved = SavedClients { lost: continuation.lost().unclaimed(), connected: Vec::new() };
        }
        let claimed = Continuation::new(Arc::new(Notify::new()));
        claimed.restore(saved, |_| false, seq(20), 0);
        let position = Position { pull: "p".into(), after: seq(3) };
        assert_eq!(claimed.lost().claim(Uuid::from_u128(2), "x", 0).pulls, [position]);
    }

    #[test]
    fn the_older_half_gives_way() {
        let connected = |number| Connected {
            connection: Uuid::from_u128(number),
            fingerprint: "x".into(),
            pulls: vec!["p".into()],
        };
        let mut clients = SavedClients { lost: Vec::new(), connected: (1..=3).map(connected).collect() };
        clients.halve();
        assert_eq!(clients.connected.iter().map(|client| client.connection.as_u128()).collect::<Vec<_>>(), [3]);
        clients.halve();
        assert!(clients.is_empty());
    }
}

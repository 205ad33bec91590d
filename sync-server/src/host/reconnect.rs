//! A 0.3 client that may have come back: finds out what to continue, see `resume`.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use livestore_sync_protocol::v03::Context;
use livestore_sync_protocol::{Cursor, Generation, SeqNum};

use super::calls::catch_up;
use super::runtime::timeout;
use super::{HomeStore, Link, Peer, guarded};
use crate::event_log::EventLog;
use crate::resume::Position;
use crate::{Clock, Delivery, HookContext, Hooks, Pull};

/// How long a client may take for its first frame. Published ones ping at once, or pull if they are new.
const SPEAK_TIMEOUT: Duration = Duration::from_millis(500);

/// Continues, on a connection that is held, what its client may have lost. `head` is where the log
/// stood when the connection was opened.
pub(crate) async fn run<L: EventLog, H: Hooks, K: Link>(
    store: Arc<HomeStore<L, H, K>>,
    clock: Arc<dyn Clock>,
    peer: Arc<Peer<K>>,
    alike: Vec<Arc<Peer<K>>>,
    head: SeqNum,
) {
    let hub = store.publisher();
    join_all(alike.iter().map(async |other| {
        if !is_alive(other, clock.now_ms()).await {
            tracing::info!("closing a connection that does not answer, beside a newer one that looks the same");
            other.link.abort();
            hub.leave(other, clock.now_ms());
        }
    }))
    .await;
    // One that says nothing is treated as one that pings.
    let _ = timeout(SPEAK_TIMEOUT, spoken(&peer)).await;
    let Some((acknowledgements, pulls)) = hub.claim(&peer, clock.now_ms()) else { return };
    for frame in acknowledgements {
        peer.link.send_now(frame);
    }
    // What is continued takes the place of nothing, so it has room.
    let _ = peer.link.remember(&peer.session());
    if pulls.is_empty() {
        let unknown = Delivery::V03(Context::Push, String::new());
        return catch_up(&store, &peer, vec![(unknown, head)]).await;
    }
    let context = HookContext { connection: Arc::clone(&peer.connection), generation: Generation::V03 };
    for Position { after, .. } in &pulls {
        let pull = Pull { cursor: Some(Cursor { backend_id: None, seq_num: *after }), live: true };
        if !matches!(guarded(store.hooks().on_pull(pull, context.clone())).await, Ok(Ok(()))) {
            // Whoever may not pull gets no events on this connection.
            return;
        }
    }
    let pulls = pulls.into_iter().map(|Position { pull, after }| (Delivery::V03(Context::Pull, pull), after)).collect();
    catch_up(&store, &peer, pulls).await;
}

/// A laptop that slept or changed its network leaves its old connection open, as seen from here.
async fn is_alive<K: Link>(peer: &Peer<K>, now_ms: u64) -> bool {
    let mut heard = std::pin::pin!(peer.heard.notified());
    heard.as_mut().enable();
    let patience = peer.link.probe(now_ms);
    tokio::select! {
        heard = timeout(patience, heard) => heard.is_some(),
        () = peer.link.over() => false,
    }
}

async fn spoken<K: Link>(peer: &Peer<K>) {
    loop {
        let mut progress = std::pin::pin!(peer.progress.notified());
        progress.as_mut().enable();
        if peer.link.is_over() || peer.session().v03_mut().is_none_or(|session| session.has_spoken()) {
            return;
        }
        progress.await;
    }
}

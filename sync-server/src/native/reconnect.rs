//! A 0.3 client that may have come back: finds out what to continue, see `resume`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use livestore_sync_protocol::v03::Context;
use livestore_sync_protocol::{Cursor, Generation, SeqNum};
use tokio::time::timeout;

use super::hub::Peer;
use super::socket::{catch_up, guarded};
use super::stores::NativeStore;
use crate::resume::Position;
use crate::{Clock, Delivery, HookContext, Hooks, Pull};

/// How long a connection that looks the same may take to show that it is alive. A laptop that slept
/// or changed its network leaves its old one open, as seen from here.
const ALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a client may take for its first frame. Published ones ping at once, or pull if they are new.
const SPEAK_TIMEOUT: Duration = Duration::from_millis(500);

/// Continues, on a connection that is held, what its client may have lost. `head` is where the log
/// stood when the connection was opened.
pub(super) async fn run<H: Hooks>(
    store: Arc<NativeStore<H>>,
    clock: Arc<dyn Clock>,
    peer: Arc<Peer>,
    alike: Vec<Arc<Peer>>,
    head: SeqNum,
) {
    let hub = store.publisher();
    join_all(alike.iter().map(async |other| {
        if !is_alive(other).await {
            tracing::info!("closing a connection that does not answer, beside a newer one that looks the same");
            other.outbox.abort();
            hub.leave(other, clock.now_ms());
        }
    }))
    .await;
    // One that says nothing is treated as one that pings.
    let _ = timeout(SPEAK_TIMEOUT, spoken(&peer)).await;
    let Some((acknowledgements, pulls)) = hub.claim(&peer, clock.now_ms()) else { return };
    for frame in acknowledgements {
        peer.outbox.send_now(frame);
    }
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

async fn is_alive(peer: &Peer) -> bool {
    let mut heard = std::pin::pin!(peer.heard.notified());
    heard.as_mut().enable();
    peer.outbox.ping(Bytes::new());
    tokio::select! {
        heard = timeout(ALIVE_TIMEOUT, heard) => heard.is_ok(),
        () = peer.outbox.over() => false,
    }
}

async fn spoken(peer: &Peer) {
    loop {
        let mut progress = std::pin::pin!(peer.progress.notified());
        progress.as_mut().enable();
        if peer.outbox.is_over() || peer.session().v03_mut().is_none_or(|session| session.has_spoken()) {
            return;
        }
        progress.await;
    }
}

//! A 0.3 client that may have come back: finds out what to continue, and continues it.
//!
//! The order is what makes it safe. The connection was held under the hub's lock, so nothing is published to it
//! yet. First, connections that look like it are asked whether they are alive: one that does not answer is the
//! client's own, left behind by a laptop that slept, and ends here, which makes its pulls lost ones. Then the
//! client may speak: a pull shows that it is new. Only then are lost pulls claimed, and the claim is one step
//! under the session's lock, so that what is published before it is read from the log and what comes after it
//! is not.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use livestore_sync_protocol::v03::Context;
use livestore_sync_protocol::{Cursor, Generation, SeqNum};

use super::Hold;
use crate::close::CloseCode;
use crate::hooks::{HookContext, Pull};
use crate::host::calls::{SocketCalls, catch_up, close_code};
use crate::host::{Host, Link, Peer, Shell};
use crate::platform::Platform;
use crate::session::{Delivery, Position};

/// How long a client may take for its first frame. Published ones ping at once, or pull if they are new.
const SPEAK_TIMEOUT: Duration = Duration::from_millis(500);

impl<K: Link> Hold<K> {
    /// Continues what the connection's client may have lost. `head` is where the log stood when the connection
    /// was opened.
    pub(crate) async fn take_over<S: Shell<Link = K>>(self, host: Arc<Host<S>>, head: SeqNum) {
        let Self { peer, alike } = self;
        let platform = &host.platform;
        join_all(alike.iter().map(async |other| {
            if !is_alive(platform, other).await {
                tracing::info!("closing a connection that does not answer, beside a newer one that looks the same");
                host.hub().leave(other, CloseCode::Superseded, platform.now_ms());
            }
        }))
        .await;
        // A client that says nothing is treated as one that pings.
        let _ = platform.timeout(SPEAK_TIMEOUT, peer.until(|session| session.has_spoken())).await;
        let Some(pulls) = host.hub().continuation().claim(&peer, platform.now_ms()) else { return };
        let calls = SocketCalls { host, peer };
        if pulls.is_empty() {
            // Nothing is known of what the client had before; it gets what was committed since it connected.
            let unknown = Delivery::V03(Context::Push, String::new());
            return catch_up(&calls, vec![(unknown, head)]).await;
        }
        let context = HookContext::new(Arc::clone(&calls.peer.connection), Generation::V03);
        for Position { after, .. } in &pulls {
            let pull = Pull::new(Some(Cursor { backend_id: None, seq_num: *after }), true);
            match calls.host.store.hooks().on_pull(pull, context.clone()).await {
                Ok(()) => {}
                // It comes back, and the hook is asked again.
                Err(error) if error.is_ours() => return calls.peer.link.close(close_code(&error)),
                Err(error) => return calls.refuse_continuation(&pulls, &error).await,
            }
        }
        let pulls = pulls.into_iter().map(|Position { pull, after }| (Delivery::V03(Context::Pull, pull), after));
        catch_up(&calls, pulls.collect()).await;
    }
}

async fn is_alive<K: Link>(platform: &impl Platform, peer: &Peer<K>) -> bool {
    let mut heard = std::pin::pin!(peer.heard.notified());
    heard.as_mut().enable();
    let patience = peer.link.probe(platform.now_ms());
    tokio::select! {
        heard = platform.timeout(patience, heard) => heard.is_some(),
        () = peer.link.closed() => false,
    }
}

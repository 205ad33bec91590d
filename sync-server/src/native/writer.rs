//! The task that writes one socket: takes frames from its outbox until there are no more, says why, and hangs up.
//! Called by `socket`. Silence of the peer is the stream's affair: see `watched`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::outbox::{Batch, End, Next, Shared};

/// How long a peer may take for the frame that is being written when a connection ends, and for the one that says
/// why. All that waited behind is given back before.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(30);

/// Writes until the connection is closed or aborted, or the peer takes no more.
pub(super) async fn run(outbox: Arc<Shared>, mut stream: impl AsyncWrite + Unpin) {
    let mut batch = Batch::default();
    let end = loop {
        let next = tokio::select! {
            biased;
            end = outbox.ended() => break end,
            next = outbox.next() => next,
        };
        batch = match next {
            Next::Frames(batch) => batch,
            Next::Close(code) => break Some(End::Code(code)),
        };
        let written = tokio::select! {
            biased;
            end = outbox.ended() => break end,
            written = stream.write_all_buf(&mut batch) => written,
        };
        if let Err(error) = written {
            tracing::debug!(%error, "a connection takes no more");
            break None;
        }
        // Gives its room back.
        batch = Batch::default();
    };
    outbox.end_in_silence();
    let Some(end) = end else { return };
    // The peer must see the end of the frame that it has the beginning of.
    let mut last = batch.chain(Batch::close(end));
    // It may be gone already; the connection ends either way.
    let _ = timeout(LAST_WORDS_TIMEOUT, stream.write_all_buf(&mut last)).await;
}

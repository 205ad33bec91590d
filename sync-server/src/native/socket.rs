//! One WebSocket on tokio: what comes in is given to the conversation, and what ends the socket is noticed. What a
//! message means, and what goes out, is decided in `host`.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::frames::{Frames, Incoming};
use super::outbox::Outbox;
use super::stores::{NativeHost, NativeShell};
use super::tokio::Tokio;
use super::watched::{Movement, Watched};
use super::writer;
use crate::close::CloseCode;
use crate::failure::{guarded, note};
use crate::hooks::{Connection, Hooks};
use crate::host::patience::{SOCKET_TRIES_MAX, tried};
use crate::host::{self, Link, Opening, Seat};
use crate::platform::Platform;
use crate::session::Proof;

/// A peer of which no byte moves is asked whether it is there ...
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// ... and given up after so much silence.
const SILENCE_MAX: Duration = Duration::from_secs(75);

/// How long a message that was begun may stand still.
const UNFINISHED_MAX: Duration = Duration::from_secs(30);

/// How often a peer is told that somebody is there while a message of its own is on its way: 0.4 gives up between 10 s
/// and 20 s after the last frame that came, and its ping stands behind the message.
const REASSURANCE_INTERVAL: Duration = Duration::from_secs(5);

/// How long a peer may take to answer a close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Pushes of one connection that may wait for their hooks; the socket is not read further meanwhile.
const PUSHES_WAITING_MAX: usize = 32;

type Conversation<H> = host::Conversation<NativeShell<H>>;

/// What a socket gets from its server.
pub(super) struct Accepted<H: Hooks> {
    pub(super) host: Arc<NativeHost<H>>,
    pub(super) connection: Arc<Connection>,
    pub(super) fingerprint: String,
    pub(super) seat: Seat,
    /// Fires when the server stops.
    pub(super) stopping: CancellationToken,
    /// Fires when it has waited for long enough.
    pub(super) dropping: CancellationToken,
    pub(super) frame_bytes_max: usize,
    /// See [`Limits::expiry_grace`](crate::Limits::expiry_grace).
    pub(super) expiry_grace: Duration,
    /// Whether messages may be compressed, as was agreed on.
    pub(super) deflate: bool,
}

/// Serves a socket until it ends and what was pushed on it is stored or refused.
pub(super) async fn serve<H: Hooks>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    accepted: Accepted<H>,
) {
    let Accepted { host, connection, fingerprint, seat, stopping, dropping, frame_bytes_max, expiry_grace, deflate } =
        accepted;
    let expired = connection.identity.expires_ms.map(|expires_ms| {
        Duration::from_millis(expires_ms.saturating_sub(Tokio.now_ms())).saturating_add(expiry_grace)
    });
    let stream = Watched::new(stream, host.connection_budget());
    let movement = stream.movement();
    let (reader, writer) = tokio::io::split(stream);
    let outbox = Outbox::new(host.connection_budget(), deflate);
    let written = CancellationToken::new();
    let (writer, has_written) = (writer::run(outbox.shared(), writer), written.clone().drop_guard());
    let writing = tokio::spawn(async move {
        writer.await;
        // Told also if it panicked.
        drop(has_written);
    });
    // A 0.3 client that is refused comes back at once.
    let head = match tried(&Tokio, SOCKET_TRIES_MAX, || host.store.current_head()).await {
        Ok(head) => head.seq_num,
        Err(error) => {
            note(|| tracing::error!(%error, "cannot read where a log stands"));
            outbox.abort(CloseCode::LogUnreachable);
            // The client comes back, whether or not it is told.
            return written.cancelled().await;
        }
    };
    let opening =
        Opening { connection, fingerprint, proof: Proof::Pongs, head, seat, pushes_waiting_max: PUSHES_WAITING_MAX };
    let frames = Frames::new(reader, frame_bytes_max, outbox.budget().clone(), deflate);
    let conversation = Conversation::open(&host, opening, outbox);
    // None for a time that no clock reaches.
    let expires = expired.and_then(|after| Instant::now().checked_add(after));
    let mut talk = Talk { conversation, frames, movement, written: written.clone(), expires };
    let code = tokio::select! {
        biased;
        () = dropping.cancelled() => CloseCode::Restart,
        // Whatever happens, it has to be closed: what its client missed is known only then.
        code = guarded(talk.run(&stopping)) => code.unwrap_or(CloseCode::Failed),
    };
    let pushes = talk.conversation.close(code);
    let rest = async {
        written.cancelled().await;
        pushes.await;
    };
    tokio::select! {
        biased;
        () = rest => {}
        () = dropping.cancelled() => {}
    }
    writing.abort();
}

/// Ends at this moment; without one, never.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// A message that is on its way.
#[derive(Default)]
struct Upload {
    /// Since when it has been, or when its sender was last told that somebody is there.
    since: Option<Instant>,
}

impl Upload {
    /// Whether it is time to tell its sender, where an unfinished message last grew at this moment.
    fn takes_long(&mut self, grown: Option<Instant>) -> bool {
        let Some(grown) = grown else {
            self.since = None;
            return false;
        };
        let since = self.since.get_or_insert(grown);
        let takes_long = grown >= *since + REASSURANCE_INTERVAL;
        if takes_long {
            *since = grown;
        }
        takes_long
    }
}

/// A conversation and its client.
struct Talk<H: Hooks, R> {
    conversation: Conversation<H>,
    frames: Frames<R>,
    movement: Arc<Movement>,
    /// Fires when nothing more is written.
    written: CancellationToken,
    /// When it is closed because its client's access has expired.
    expires: Option<Instant>,
}

impl<H: Hooks, R: AsyncRead + Unpin> Talk<H, R> {
    /// Listens until the connection ends or the server stops; returns why.
    async fn run(&mut self, stopping: &CancellationToken) -> CloseCode {
        tokio::select! {
            biased;
            () = stopping.cancelled() => {}
            code = self.listen() => return code,
        }
        self.conversation.finish_pushes().await;
        self.conversation.peer().link.close(CloseCode::Restart);
        self.drain().await;
        CloseCode::Restart
    }

    /// Listens until the connection ends; returns why.
    async fn listen(&mut self) -> CloseCode {
        let mut look_at = Instant::now() + PING_INTERVAL;
        let mut upload = Upload::default();
        loop {
            let link = &self.conversation.peer().link;
            let incoming = tokio::select! {
                biased;
                () = link.closed() => {
                    self.drain().await;
                    // The reason was told by whatever closed the link.
                    return CloseCode::Ended;
                }
                incoming = self.frames.next() => incoming,
                // On a slow link, what is on its way is long a sign of life before an answer is.
                () = self.movement.next() => {
                    self.conversation.handle_heard();
                    if upload.takes_long(self.frames.unfinished_since()) {
                        self.conversation.reassure().await;
                    }
                    continue;
                }
                () = at(self.expires) => {
                    link.close(CloseCode::AccessExpired);
                    self.expires = None;
                    continue;
                }
                () = sleep_until(look_at) => match self.look() {
                    Ok(again) => {
                        look_at = again;
                        continue;
                    }
                    Err(code) => return code,
                },
            };
            self.conversation.handle_heard();
            match incoming {
                Ok(None) => return CloseCode::Ended,
                Ok(Some(Incoming::Text(text))) => {
                    upload = Upload::default();
                    let taken = self.conversation.take(&text);
                    drop(text);
                    self.conversation.act(taken.holding(self.frames.take_held()), None).await;
                }
                Ok(Some(Incoming::Ping(payload))) => link.pong(payload),
                Ok(Some(Incoming::Pong(payload))) => self.handle_pong(&payload),
                Ok(Some(Incoming::Close(payload))) => {
                    link.answer_close(payload);
                    return CloseCode::Ended;
                }
                Err(code) => {
                    link.abort(code);
                    self.drain().await;
                    return code;
                }
            }
        }
    }

    /// Looks whether the peer is there, and asks it where that is not known; returns when to look again.
    fn look(&self) -> Result<Instant, CloseCode> {
        let (now, moved) = (Instant::now(), self.movement.last());
        if now >= moved + SILENCE_MAX {
            tracing::info!("closing a connection that is silent");
            return Err(CloseCode::Silent);
        }
        if self.frames.unfinished_since().is_some_and(|since| now >= since + UNFINISHED_MAX) {
            tracing::info!("closing a connection that does not go on with a message");
            return Err(CloseCode::Unfinished);
        }
        if now < moved + PING_INTERVAL && self.frames.unfinished_since().is_none() {
            return Ok(moved + PING_INTERVAL);
        }
        self.conversation.peer().link.keep_alive();
        Ok(now + PING_INTERVAL)
    }

    fn handle_pong(&self, payload: &[u8]) {
        // Pings that only ask whether the peer is there have no number.
        if let Ok(ping) = <[u8; 8]>::try_from(payload) {
            self.conversation.handle_pong(u64::from_be_bytes(ping));
        }
    }

    /// Waits until everything is sent, and then for the peer's half of the closing handshake.
    async fn drain(&mut self) {
        let Self { conversation, frames, written, .. } = self;
        let late = async {
            written.cancelled().await;
            // A peer that does not answer is left.
            sleep(CLOSE_TIMEOUT).await;
        };
        let rest = async {
            loop {
                match frames.next().await {
                    // What was sent before the closing frame arrives before it: its pongs still count.
                    Ok(Some(Incoming::Pong(payload))) => {
                        if let Ok(ping) = <[u8; 8]>::try_from(&payload[..]) {
                            conversation.handle_pong(u64::from_be_bytes(ping));
                        }
                    }
                    Ok(Some(Incoming::Close(_)) | None) => return,
                    Ok(Some(_)) => {}
                    // What follows means nothing, but unread it would take the closing frame with it.
                    Err(_) => return frames.discard().await,
                }
            }
        };
        tokio::select! {
            () = late => {}
            () = rest => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sender_of_a_message_that_goes_on_is_told_every_5_s_that_somebody_is_there() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut upload = Upload::default();
        let mut told = |at| upload.takes_long(Some(start + ms(at)));
        assert!(!told(60_000), "it begins");
        assert!(!told(64_999));
        assert!(told(65_000));
        assert!(!told(69_999));
        assert!(told(71_000));
        assert!(!told(71_000), "what stands still is none");
        assert!(!upload.takes_long(None), "it is whole");
        assert!(!upload.takes_long(Some(start + ms(100_000))), "the next one begins");
    }
}

//! One WebSocket on tokio: frames in are given to the conversation, and what ends the socket is noticed. What a
//! frame means, and what goes out, is decided in `host`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use futures_util::StreamExt;
use futures_util::stream::SplitStream;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite;
use tokio_util::sync::CancellationToken;

use super::outbox::{Outbox, close_frame};
use super::stores::{NativeHost, NativeShell};
use super::tokio::Tokio;
use crate::close::CloseCode;
use crate::failure::{guarded, note};
use crate::hooks::{Connection, Hooks};
use crate::host::patience::{SOCKET_TRIES_MAX, tried};
use crate::host::{self, Link, Opening};
use crate::session::Proof;

/// A silent peer is asked whether it is there ...
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// ... and given up after so much silence.
const SILENCE_MAX: Duration = Duration::from_secs(75);

/// How long a peer may take to answer a close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Pushes of one connection that may wait for their hooks; the socket is not read further meanwhile.
const PUSHES_WAITING_MAX: usize = 32;

type Conversation<H> = host::Conversation<NativeShell<H>>;

/// What a socket gets from its server.
pub(super) struct Accepted<H: Hooks> {
    pub(super) host: Arc<NativeHost<H>>,
    pub(super) connection: Arc<Connection>,
    pub(super) fingerprint: String,
    /// Fires when the server stops.
    pub(super) stopping: CancellationToken,
}

/// Serves a socket until it ends and what was pushed on it is stored or refused.
pub(super) async fn serve<H: Hooks>(mut socket: WebSocket, accepted: Accepted<H>) {
    let Accepted { host, connection, fingerprint, stopping } = accepted;
    // A 0.3 client that is refused comes back at once.
    let head = match tried(&Tokio, SOCKET_TRIES_MAX, || host.store.current_head()).await {
        Ok(head) => head.seq_num,
        Err(error) => {
            note(|| tracing::error!(%error, "cannot read where a log stands"));
            let frame = Message::Close(Some(close_frame(CloseCode::LogUnreachable)));
            // The client comes back either way.
            let _ = timeout(CLOSE_TIMEOUT, socket.send(frame)).await;
            return;
        }
    };
    let (sink, mut stream) = socket.split();
    let (outbox, receiver) = Outbox::new(host.connection_budget());
    let writer = tokio::spawn(receiver.run(sink));
    let opening =
        Opening { connection, fingerprint, proof: Proof::Pongs, head, pushes_waiting_max: PUSHES_WAITING_MAX };
    let conversation = Conversation::open(&host, opening, outbox);

    let serving = guarded(async {
        tokio::select! {
            biased;
            () = stopping.cancelled() => {
                conversation.finish_pushes().await;
                conversation.peer().link.close(CloseCode::Restart);
                drain(&conversation, &mut stream).await;
                CloseCode::Restart
            }
            code = read(&conversation, &mut stream) => code,
        }
    });
    // Whatever happens, it has to be closed: what its client missed is known only then.
    let code = serving.await.unwrap_or(CloseCode::Failed);
    let pushes = conversation.close(code);
    // It has nothing to say any more, also if it panicked.
    let _ = writer.await;
    pushes.await;
}

/// Reads until the connection ends; returns why.
async fn read<H: Hooks>(conversation: &Conversation<H>, stream: &mut SplitStream<WebSocket>) -> CloseCode {
    let link = &conversation.peer().link;
    let mut last_seen = Instant::now();
    loop {
        let message = tokio::select! {
            biased;
            () = link.closed() => {
                drain(conversation, stream).await;
                // The reason was told by whatever closed the link.
                return CloseCode::Ended;
            }
            message = timeout(PING_INTERVAL, stream.next()) => message,
        };
        if matches!(message, Ok(Some(Ok(_)))) {
            conversation.handle_heard();
        }
        match message {
            Err(_) if last_seen.elapsed() > SILENCE_MAX => {
                tracing::info!("closing a connection that is silent");
                return CloseCode::Silent;
            }
            Err(_) => {
                link.keep_alive();
                continue;
            }
            Ok(None) => return CloseCode::Ended,
            Ok(Some(Err(error))) => {
                let code = close_for(error);
                if code != CloseCode::Ended {
                    link.close(code);
                    drain(conversation, stream).await;
                }
                return code;
            }
            Ok(Some(Ok(Message::Text(text)))) => conversation.handle_text(text.as_str(), None).await,
            Ok(Some(Ok(Message::Binary(bytes)))) => match std::str::from_utf8(&bytes) {
                Ok(text) => conversation.handle_text(text, None).await,
                Err(_) => link.close(CloseCode::InvalidUtf8),
            },
            Ok(Some(Ok(Message::Pong(payload)))) => handle_pong(conversation, &payload),
            // The library answers pings, and closes when the stream is read on.
            Ok(Some(Ok(Message::Ping(_) | Message::Close(_)))) => {}
        }
        last_seen = Instant::now();
    }
}

fn handle_pong<H: Hooks>(conversation: &Conversation<H>, payload: &[u8]) {
    // Pings that only ask whether the peer is there have no number.
    if let Ok(ping) = <[u8; 8]>::try_from(payload) {
        conversation.handle_pong(u64::from_be_bytes(ping));
    }
}

/// What tells the peer what it did wrong; [`CloseCode::Ended`] where it is gone already.
fn close_for(error: axum::Error) -> CloseCode {
    match error.into_inner().downcast::<tungstenite::Error>().map(|error| *error) {
        Ok(tungstenite::Error::Capacity(_)) => CloseCode::FrameTooLarge,
        Ok(tungstenite::Error::Utf8(_)) => CloseCode::InvalidUtf8,
        // A connection that breaks off between two frames is no violation of anything.
        Ok(tungstenite::Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)) => {
            CloseCode::Ended
        }
        Ok(tungstenite::Error::Protocol(_)) => CloseCode::ProtocolError,
        _ => CloseCode::Ended,
    }
}

/// Waits for the peer's half of the closing handshake.
async fn drain<H: Hooks>(conversation: &Conversation<H>, stream: &mut SplitStream<WebSocket>) {
    let rest = async {
        conversation.peer().link.closed().await;
        while let Some(Ok(message)) = stream.next().await {
            // What was sent before the closing frame arrives before it: its pongs still count.
            if let Message::Pong(payload) = message {
                handle_pong(conversation, &payload);
            }
        }
    };
    // A peer that does not answer is left.
    let _ = timeout(CLOSE_TIMEOUT, rest).await;
}

//! The frames that wait for one socket, and the task that writes them.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use bytes::Bytes;
use futures_util::SinkExt;
use futures_util::stream::SplitSink;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::budget::{Budget, Held};
use crate::close::CloseCode;
use crate::frame::Frame;
use crate::host::{Closed, Link};
use crate::session::Session;

/// A peer that takes no bytes for so long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a peer may take for the last frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client may take to answer a ping.
const ALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// Bytes of frames that wait for their turn in the queue already: enough to keep the socket busy. What more there
/// is to send waits where it comes from, and is not read from the log before.
const QUEUE_BYTES_GOOD: u32 = 256 * 1024;

enum Outgoing {
    /// With what it takes of the budget and, if it had to wait for it, of the queue: given back when it is written.
    Text(Frame, Held, Option<OwnedSemaphorePermit>),
    Ping(Bytes),
    Close(CloseCode),
}

/// The frames that wait for one socket: taken from the connection's budget, never losing one. A peer that lets it
/// be used up is disconnected and comes back with its cursor.
pub(super) struct Outbox {
    queue: mpsc::UnboundedSender<Outgoing>,
    budget: Budget,
    room: Arc<Semaphore>,
    /// Held by the one who waits for room, so that frames keep the order in which they asked.
    turn: Mutex<()>,
    end: End,
}

/// The end of a connection, which either side of the queue may bring about.
#[derive(Clone, Default)]
struct End {
    /// Nothing more goes out.
    closed: CancellationToken,
    /// What the peer is told where it did not close by itself: the first reason that anybody had.
    reason: Arc<OnceLock<CloseCode>>,
}

impl End {
    fn abort(&self, code: CloseCode) {
        // A later reason is a consequence of the first.
        let _ = self.reason.set(code);
        self.closed.cancel();
    }
}

pub(super) struct OutboxReceiver {
    queue: mpsc::UnboundedReceiver<Outgoing>,
    end: End,
}

impl Outbox {
    pub(super) fn new(budget: Budget) -> (Self, OutboxReceiver) {
        let (queue, receiver) = mpsc::unbounded_channel();
        let end = End::default();
        let room = Arc::new(Semaphore::new(QUEUE_BYTES_GOOD as usize));
        let outbox = Self { queue, budget, room, turn: Mutex::default(), end: end.clone() };
        (outbox, OutboxReceiver { queue: receiver, end })
    }

    /// Sends a ping that only asks whether somebody is there.
    pub(super) fn keep_alive(&self) {
        self.put(Outgoing::Ping(Bytes::new()));
    }

    fn put(&self, outgoing: Outgoing) {
        // Without a receiver the connection is over, and its frames with it.
        let _ = self.queue.send(outgoing);
    }
}

impl Link for Outbox {
    fn budget(&self) -> &Budget {
        &self.budget
    }

    fn send_now(&self, frame: Frame) {
        match frame.take_from(&self.budget) {
            Ok(held) => self.put(Outgoing::Text(frame, held, None)),
            Err(_) if self.is_closed() => {}
            Err(exceeded) => {
                tracing::info!(%exceeded, "closing a connection that reads too slowly");
                self.abort(CloseCode::SlowReader);
            }
        }
    }

    async fn send(&self, frame: Frame) -> Result<(), Closed> {
        // A single frame always fits into an empty queue.
        let permits = u32::try_from(frame.len()).unwrap_or(u32::MAX).min(QUEUE_BYTES_GOOD);
        let room = async {
            let _turn = self.turn.lock().await;
            let permit = Arc::clone(&self.room).acquire_many_owned(permits).await.map_err(|_| Closed)?;
            let held = self.budget.take_in_turn(frame.len() as u64).await;
            self.put(Outgoing::Text(frame, held, Some(permit)));
            Ok(())
        };
        tokio::select! {
            () = self.end.closed.cancelled() => Err(Closed),
            sent = room => sent,
        }
    }

    fn close(&self, code: CloseCode) {
        self.put(Outgoing::Close(code));
    }

    fn abort(&self, code: CloseCode) {
        self.end.abort(code);
    }

    fn is_closed(&self) -> bool {
        self.end.closed.is_cancelled()
    }

    async fn closed(&self) {
        self.end.closed.cancelled().await;
    }

    fn ping(&self, number: u64) {
        self.put(Outgoing::Ping(Bytes::copy_from_slice(&number.to_be_bytes())));
    }

    fn probe(&self, _now_ms: u64) -> Duration {
        self.keep_alive();
        ALIVE_TIMEOUT
    }

    /// This process outlives its connections; what outlives the process is in `saved_clients`.
    fn remember(&self, _session: &Session) -> bool {
        true
    }
}

impl OutboxReceiver {
    /// Writes frames until the connection is closed or aborted.
    pub(super) async fn run(mut self, mut sink: SplitSink<WebSocket, Message>) {
        let closed = self.end.closed.clone();
        let code = loop {
            let next = tokio::select! {
                biased;
                () = closed.cancelled() => break self.end.reason.get().copied(),
                next = self.queue.recv() => next,
            };
            let Some(next) = next else { break None };
            let written = tokio::select! {
                biased;
                () = closed.cancelled() => break self.end.reason.get().copied(),
                written = timeout(WRITE_TIMEOUT, write(&mut self.queue, &mut sink, next)) => written,
            };
            match written {
                Ok(Ok(None)) => {}
                Ok(Ok(code)) => break code,
                // The peer is gone, or takes nothing.
                Ok(Err(_)) | Err(_) => break None,
            }
        };
        closed.cancel();
        if let Some(code) = code {
            let frame = Message::Close(Some(close_frame(code)));
            // The peer may be gone already; the connection ends either way.
            let _ = timeout(CLOSE_TIMEOUT, sink.send(frame)).await;
        }
    }
}

/// Writes a frame and all that wait behind it, then flushes once. A close ends it.
async fn write(
    queue: &mut mpsc::UnboundedReceiver<Outgoing>,
    sink: &mut SplitSink<WebSocket, Message>,
    first: Outgoing,
) -> Result<Option<CloseCode>, axum::Error> {
    let mut next = Some(first);
    let mut close = None;
    while let Some(outgoing) = next {
        match outgoing {
            // The room is free again once the frame is in the socket's own buffer.
            Outgoing::Text(frame, _held, _permit) => sink.feed(Message::Text(frame.into_text().into())).await?,
            Outgoing::Ping(payload) => sink.feed(Message::Ping(payload)).await?,
            Outgoing::Close(code) => {
                close = Some(code);
                break;
            }
        }
        next = queue.try_recv().ok();
    }
    sink.flush().await?;
    Ok(close)
}

pub(super) fn close_frame(code: CloseCode) -> CloseFrame {
    CloseFrame { code: code.number(), reason: code.reason().into() }
}

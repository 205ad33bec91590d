use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use bytes::Bytes;
use futures_util::SinkExt;
use futures_util::stream::SplitSink;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::Session;
use crate::host::{Link, Over};

/// A peer that takes no bytes for so long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a peer may take for the last frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client may take to answer a ping.
const ALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// Try again later (RFC 6455's registry): the peer does not read as fast as it is sent to.
const CLOSE_SLOW: u16 = 1013;

enum Outgoing {
    Text(String, OwnedSemaphorePermit),
    Ping(Bytes),
    Close(u16, &'static str),
}

/// The frames that wait for one socket: bounded in bytes, never losing one. A peer that lets it fill
/// up is disconnected and comes back with its cursor.
pub(super) struct Outbox {
    queue: mpsc::UnboundedSender<Outgoing>,
    room: Arc<Semaphore>,
    room_max: usize,
    /// Nothing more goes out.
    over: CancellationToken,
}

pub(super) struct OutboxReceiver {
    queue: mpsc::UnboundedReceiver<Outgoing>,
    abort: CancellationToken,
}

impl Outbox {
    pub(super) fn new(bytes_max: usize) -> (Self, OutboxReceiver) {
        let (queue, receiver) = mpsc::unbounded_channel();
        let over = CancellationToken::new();
        let room_max = bytes_max.min(Semaphore::MAX_PERMITS);
        let outbox = Self { queue, room: Arc::new(Semaphore::new(room_max)), room_max, over: over.clone() };
        (outbox, OutboxReceiver { queue: receiver, abort: over })
    }

    /// What a frame takes of the room; a single frame always fits into an empty queue.
    fn permits(&self, frame: &str) -> u32 {
        u32::try_from(frame.len().min(self.room_max)).unwrap_or(u32::MAX)
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
    fn send_now(&self, frame: String) {
        match Arc::clone(&self.room).try_acquire_many_owned(self.permits(&frame)) {
            Ok(permit) => self.put(Outgoing::Text(frame, permit)),
            Err(_) if self.is_over() => {}
            Err(_) => {
                tracing::info!("closing a connection that reads too slowly");
                self.abort();
            }
        }
    }

    async fn send(&self, frame: String) -> Result<(), Over> {
        let permits = self.permits(&frame);
        tokio::select! {
            () = self.over.cancelled() => Err(Over),
            permit = Arc::clone(&self.room).acquire_many_owned(permits) => {
                self.put(Outgoing::Text(frame, permit.map_err(|_| Over)?));
                Ok(())
            }
        }
    }

    fn close(&self, code: u16, reason: &'static str) {
        self.put(Outgoing::Close(code, reason));
    }

    fn abort(&self) {
        self.over.cancel();
    }

    fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    async fn over(&self) {
        self.over.cancelled().await;
    }

    fn ping(&self, number: u64) {
        self.put(Outgoing::Ping(Bytes::copy_from_slice(&number.to_be_bytes())));
    }

    fn probe(&self, _now_ms: u64) -> Duration {
        self.keep_alive();
        ALIVE_TIMEOUT
    }

    /// This process outlives its connections; what outlives the process is in `clients`.
    fn remember(&self, _session: &Session) -> bool {
        true
    }
}

impl OutboxReceiver {
    /// Writes frames until the connection is closed or over.
    pub(super) async fn run(mut self, mut sink: SplitSink<WebSocket, Message>) {
        let close = loop {
            let next = tokio::select! {
                biased;
                () = self.abort.cancelled() => break Some((CLOSE_SLOW, "not reading fast enough")),
                next = self.queue.recv() => next,
            };
            let Some(next) = next else { break None };
            if let Outgoing::Close(code, reason) = next {
                break Some((code, reason));
            }
            let written = tokio::select! {
                biased;
                () = self.abort.cancelled() => break Some((CLOSE_SLOW, "not reading fast enough")),
                written = timeout(WRITE_TIMEOUT, write(&mut self.queue, &mut sink, next)) => written,
            };
            match written {
                Ok(Ok(None)) => {}
                Ok(Ok(close)) => break close,
                Ok(Err(_)) | Err(_) => break None,
            }
        };
        self.abort.cancel();
        if let Some((code, reason)) = close {
            let frame = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
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
) -> Result<Option<(u16, &'static str)>, axum::Error> {
    let mut next = Some(first);
    let mut close = None;
    while let Some(outgoing) = next {
        match outgoing {
            // The room is free again once the frame is in the socket's own buffer.
            Outgoing::Text(frame, _permit) => sink.feed(Message::Text(frame.into())).await?,
            Outgoing::Ping(payload) => sink.feed(Message::Ping(payload)).await?,
            Outgoing::Close(code, reason) => {
                close = Some((code, reason));
                break;
            }
        }
        next = queue.try_recv().ok();
    }
    sink.flush().await?;
    Ok(close)
}

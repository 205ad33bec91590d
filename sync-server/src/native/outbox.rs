//! The frames that wait for one socket: in order, those that may overtake, and how it ends. Called by `host` as its
//! [`Link`]; `writer` takes from it. It touches no socket.

mod batch;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tungstenite::protocol::frame::coding::Control;

pub(super) use self::batch::Batch;
use self::batch::{Part, Text};
use crate::budget::Budget;
use crate::close::CloseCode;
use crate::frame::Frame;
use crate::host::{Closed, Link};
use crate::session::Session;

/// How long a client may take to show that it is alive.
const ALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// What is written at once: small frames go out together, and no more than this stands between a ping and the
/// peer, beside the frame that is being written.
const BATCH_BYTES: usize = 16 * 1024;

/// Bytes of frames that wait for their turn in the queue already: enough to keep the socket busy. What more there
/// is to send waits where it comes from, and is not read from the log before.
const QUEUE_BYTES_GOOD: u32 = 256 * 1024;

/// The way out of one socket: taken from the connection's budget, never losing a frame. A peer that lets it be used
/// up is disconnected and comes back with its cursor.
pub(super) struct Outbox {
    shared: Arc<Shared>,
    budget: Budget,
    room: Arc<Semaphore>,
    /// Held by the one who waits for room, so that frames keep the order in which they asked.
    turn: tokio::sync::Mutex<()>,
}

/// What the two sides of the queue share.
pub(super) struct Shared {
    queue: Mutex<Queue>,
    more: Notify,
    /// Nothing more goes out.
    closed: CancellationToken,
    /// Whether the peer takes compressed messages.
    deflate: bool,
}

/// Why nothing more goes out, and what the peer is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// This is told.
    Code(CloseCode),
    /// The peer has closed: its own words go back.
    Answer(Bytes),
}

enum InOrder {
    Text(Text),
    /// A ping whose pong proves what stands before it.
    Ping(u64),
}

#[derive(Default)]
struct Queue {
    in_order: VecDeque<InOrder>,
    /// Bytes of these.
    in_order_bytes: usize,
    /// Answers that prove nothing, where they would wait long: a client gives up after some seconds.
    ahead: VecDeque<Text>,
    /// Whether somebody wants to know if the peer is there. One ping answers all who ask.
    keep_alive: bool,
    /// The answer to the last WebSocket ping, which is the only one that has to be answered.
    pong: Option<Bytes>,
    /// The end that comes after the frames: nothing is queued behind it.
    close: Option<CloseCode>,
    /// The first reason that anybody had.
    end: Option<End>,
}

/// What is taken from the queue.
enum Taken {
    Parts(Vec<Part>),
    /// It is empty, and ends.
    Close(CloseCode),
}

/// What goes out next.
pub(super) enum Next {
    Frames(Batch),
    /// All frames are out.
    Close(CloseCode),
}

impl Outbox {
    pub(super) fn new(budget: Budget, deflate: bool) -> Self {
        let (queue, more, closed) = (Mutex::default(), Notify::new(), CancellationToken::new());
        let shared = Shared { queue, more, closed, deflate };
        let room = Arc::new(Semaphore::new(QUEUE_BYTES_GOOD as usize));
        Self { shared: Arc::new(shared), budget, room, turn: tokio::sync::Mutex::default() }
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Queues a frame as soon as there is room.
    async fn queue(&self, mut frame: Frame, push: fn(&mut Queue, Text)) -> Result<(), Closed> {
        // A single frame always fits into an empty queue.
        let permits = u32::try_from(frame.len()).unwrap_or(u32::MAX).min(QUEUE_BYTES_GOOD);
        let room = async {
            let _turn = self.turn.lock().await;
            let permit = Arc::clone(&self.room).acquire_many_owned(permits).await.map_err(|_| Closed)?;
            let held = frame.take_in_turn(&self.budget).await;
            self.shared.put(|queue| push(queue, Text { frame, held, permit: Some(permit) }))
        };
        tokio::select! {
            () = self.shared.closed.cancelled() => Err(Closed),
            sent = room => sent,
        }
    }

    /// Sends a ping that only asks whether somebody is there.
    pub(super) fn keep_alive(&self) {
        // Nobody asks any more where the connection is over.
        let _ = self.shared.put(|queue| queue.keep_alive = true);
    }

    /// Answers a WebSocket ping.
    pub(super) fn pong(&self, payload: Bytes) {
        // As above.
        let _ = self.shared.put(|queue| queue.pong = Some(payload));
    }

    /// Answers the peer's close frame.
    pub(super) fn answer_close(&self, payload: Bytes) {
        self.shared.end(End::Answer(payload));
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // A queue is a few plain values, each set at once, so a panic elsewhere leaves it usable.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues something, unless nobody would be sent it.
    fn put(&self, change: impl FnOnce(&mut Queue)) -> Result<(), Closed> {
        let mut queue = self.queue();
        if self.is_closed(&queue) {
            return Err(Closed);
        }
        change(&mut queue);
        drop(queue);
        self.more.notify_one();
        Ok(())
    }

    fn is_closed(&self, queue: &Queue) -> bool {
        queue.close.is_some() || self.closed.is_cancelled()
    }

    /// Ends it. A later reason is a consequence of the first.
    pub(super) fn end(&self, end: End) {
        let mut queue = self.queue();
        queue.end.get_or_insert(end);
        self.empty(queue);
    }

    /// Ends it where there is nobody to be told anything.
    pub(super) fn end_in_silence(&self) {
        self.empty(self.queue());
    }

    fn empty(&self, mut queue: MutexGuard<'_, Queue>) {
        self.closed.cancel();
        // What waited is given back now, not when the last that knows this connection forgets it.
        let waiting = (std::mem::take(&mut queue.in_order), std::mem::take(&mut queue.ahead));
        queue.in_order_bytes = 0;
        drop(queue);
        drop(waiting);
    }

    /// Waits until nothing more goes out; returns what the peer is to be told.
    pub(super) async fn ended(&self) -> Option<End> {
        self.closed.cancelled().await;
        self.queue().end.clone()
    }

    /// Waits for what goes out next.
    pub(super) async fn next(&self) -> Next {
        loop {
            // Frames are put together once nobody waits for the queue.
            let taken = self.queue().take();
            match taken {
                Some(Taken::Parts(parts)) => return Next::Frames(Batch::new(parts, self.deflate)),
                Some(Taken::Close(code)) => return Next::Close(code),
                None => {}
            }
            self.more.notified().await;
        }
    }
}

impl Queue {
    fn push(&mut self, text: Text) {
        self.in_order_bytes += text.frame.len();
        self.in_order.push_back(InOrder::Text(text));
    }

    fn push_ahead(&mut self, text: Text) {
        // Where it would go out at once anyway, order is kept.
        if self.in_order_bytes < BATCH_BYTES && self.ahead.is_empty() {
            self.push(text);
        } else {
            self.ahead.push_back(text);
        }
    }

    fn take(&mut self) -> Option<Taken> {
        let (mut parts, mut bytes) = (Vec::new(), 0);
        if std::mem::take(&mut self.keep_alive) {
            parts.push(Part::Control(Control::Ping, Bytes::new()));
        }
        if let Some(payload) = self.pong.take() {
            parts.push(Part::Control(Control::Pong, payload));
        }
        while bytes < BATCH_BYTES {
            let part = match self.ahead.pop_front().map(InOrder::Text).or_else(|| self.pop_in_order()) {
                Some(InOrder::Text(text)) => Part::Text(text),
                Some(InOrder::Ping(number)) => {
                    Part::Control(Control::Ping, Bytes::copy_from_slice(&number.to_be_bytes()))
                }
                None => break,
            };
            bytes += part.len();
            parts.push(part);
        }
        if parts.is_empty() { self.close.map(Taken::Close) } else { Some(Taken::Parts(parts)) }
    }

    fn pop_in_order(&mut self) -> Option<InOrder> {
        let next = self.in_order.pop_front();
        if let Some(InOrder::Text(text)) = &next {
            self.in_order_bytes -= text.frame.len();
        }
        next
    }
}

impl Link for Outbox {
    fn budget(&self) -> &Budget {
        &self.budget
    }

    fn send_now(&self, frame: Frame) {
        match frame.take_from(&self.budget) {
            // On a closed connection a frame is lost like those that are on their way.
            Ok(held) => drop(self.shared.put(|queue| queue.push(Text { frame, held, permit: None }))),
            Err(_) if self.is_closed() => {}
            Err(exceeded) => {
                tracing::info!(%exceeded, "closing a connection that reads too slowly");
                self.abort(CloseCode::SlowReader);
            }
        }
    }

    async fn send(&self, frame: Frame) -> Result<(), Closed> {
        self.queue(frame, Queue::push).await
    }

    async fn send_ahead(&self, frame: Frame) -> Result<(), Closed> {
        match frame.take_from(&self.budget) {
            // It waits for no room in the queue: it is to overtake what does.
            Ok(held) => self.shared.put(|queue| queue.push_ahead(Text { frame, held, permit: None })),
            Err(_) => self.queue(frame, Queue::push_ahead).await,
        }
    }

    async fn room(&self) {
        tokio::select! {
            () = self.closed() => {}
            // Given back at once.
            _ = self.room.acquire() => {}
        }
    }

    fn close(&self, code: CloseCode) {
        // The first reason is told.
        let _ = self.shared.put(|queue| queue.close = Some(code));
    }

    fn abort(&self, code: CloseCode) {
        self.shared.end(End::Code(code));
    }

    fn is_closed(&self) -> bool {
        self.shared.is_closed(&self.shared.queue())
    }

    async fn closed(&self) {
        self.shared.closed.cancelled().await;
    }

    fn ping(&self, number: u64) {
        // A connection that is over proves nothing.
        let _ = self.shared.put(|queue| queue.in_order.push_back(InOrder::Ping(number)));
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

#[cfg(test)]
mod tests;

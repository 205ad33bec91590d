//! A hibernatable WebSocket as the host's link. The platform has the queue of frames, and throws where a socket
//! is closing.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use worker::WebSocket;

use super::attachment::Attachment;
use super::platform::Isolate;
use crate::budget::{Budget, Held};
use crate::close::CloseCode;
use crate::frame::Frame;
use crate::host::{Closed, Link};
use crate::platform::Platform;
use crate::session::Session;

/// So much of a backlog is handed to the platform before it gets the time to send it.
const YIELD_BYTES: usize = 512 * 1024;

/// A hibernatable WebSocket. The platform has the queue.
pub(super) struct Socket {
    socket: WebSocket,
    closed: CancellationToken,
    /// The part of the attachment that stays the same.
    prefix: String,
    /// The attachment as the platform has it.
    attached: RefCell<String>,
    heard_ms: Cell<u64>,
    budget: Budget,
    /// What went out to a client that was not heard since; LiveStore clients acknowledge what they get (0.4) or
    /// ping (0.3). One for which there is no more room is taken for one that does not read: the platform would
    /// keep all that for it in memory.
    unheard: RefCell<Held>,
    unyielded_bytes: Cell<usize>,
}

impl Socket {
    pub(super) fn new(socket: WebSocket, prefix: String, heard_ms: u64, budget: Budget) -> Self {
        let unheard = RefCell::new(budget.take_anyway(0));
        Self {
            socket,
            closed: CancellationToken::new(),
            prefix,
            attached: RefCell::default(),
            heard_ms: Cell::new(heard_ms),
            budget,
            unheard,
            unyielded_bytes: Cell::new(0),
        }
    }

    pub(super) fn socket(&self) -> &WebSocket {
        &self.socket
    }

    /// A frame has come.
    pub(super) fn handle_heard(&self, now_ms: u64) {
        self.heard_ms.set(now_ms);
        let mut unheard = self.unheard.borrow_mut();
        let bytes = unheard.bytes();
        unheard.shrink(bytes);
    }

    pub(super) fn heard_ms(&self) -> u64 {
        self.heard_ms.get()
    }

    fn put(&self, frame: &str) {
        if self.is_closed() {
            return;
        }
        // It throws when the socket is closing, which its client will notice without us.
        if self.socket.send_with_str(frame).is_err() {
            self.closed.cancel();
        }
    }
}

impl Link for Socket {
    fn budget(&self) -> &Budget {
        &self.budget
    }

    fn send_now(&self, frame: Frame) {
        let frame = frame.into_text();
        let taken = self.unheard.borrow_mut().grow(self.budget.possible(frame.len() as u64));
        if let Err(exceeded) = taken {
            tracing::info!(%exceeded, "closing a connection that reads too slowly");
            return self.close(CloseCode::SlowReader);
        }
        self.put(&frame);
    }

    async fn send(&self, frame: Frame) -> Result<(), Closed> {
        let frame = frame.into_text();
        self.put(&frame);
        self.unyielded_bytes.set(self.unyielded_bytes.get() + frame.len());
        if self.unyielded_bytes.get() > YIELD_BYTES {
            self.unyielded_bytes.set(0);
            Isolate.sleep(Duration::ZERO).await;
        }
        if self.is_closed() { Err(Closed) } else { Ok(()) }
    }

    fn close(&self, code: CloseCode) {
        if !self.is_closed() {
            // It throws when the socket is closed already.
            let _ = self.socket.close(Some(code.number()), Some(code.reason()));
            self.closed.cancel();
        }
    }

    /// What waits is with the platform, which drops it.
    fn abort(&self, code: CloseCode) {
        self.close(code);
    }

    fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Never asked for: sessions here go by what is heard, as the platform has no pings to send.
    fn ping(&self, _number: u64) {}

    /// Nothing can be sent that a 0.3 client answers; it pings by itself. Timers may fire early.
    fn probe(&self, now_ms: u64) -> Duration {
        Duration::from_millis((self.heard_ms.get() + Session::V03_HEARD_MS_MAX + 100).saturating_sub(now_ms))
    }

    fn remember(&self, session: &Session) -> bool {
        let Some(attachment) = Attachment::encode(&self.prefix, &session.snapshot()) else { return false };
        if *self.attached.borrow() != attachment {
            if let Err(error) = self.socket.serialize_attachment(attachment.as_str()) {
                tracing::error!(%error, "cannot attach a session to its socket");
                return false;
            }
            self.attached.replace(attachment);
        }
        true
    }
}

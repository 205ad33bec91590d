//! A hibernatable WebSocket as the host's link. The platform has the queue of frames, and throws where a socket
//! is closing.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use worker::WebSocket;

use super::attachment::Attachment;
use super::platform::Isolate;
use crate::close::CloseCode;
use crate::host::{Closed, Link};
use crate::platform::Platform;
use crate::session::Session;

/// So much of a backlog is handed to the platform before it gets the time to send it.
const YIELD_BYTES: usize = 512 * 1024;

/// A hibernatable WebSocket. The platform has the queue.
pub(super) struct Socket {
    socket: WebSocket,
    closed: CancellationToken,
    /// Told once that it has closed.
    ended: Box<dyn Fn()>,
    /// The part of the attachment that stays the same.
    prefix: String,
    /// The attachment as the platform has it.
    attached: RefCell<String>,
    heard_ms: Cell<u64>,
    unheard_bytes: Cell<usize>,
    /// Bytes that may go out to a client that is not heard meanwhile; LiveStore clients acknowledge what
    /// they get (0.4) or ping (0.3). Beyond them it is taken for one that does not read: the platform would
    /// keep all that for it in memory.
    unheard_bytes_max: usize,
    unyielded_bytes: Cell<usize>,
}

impl Socket {
    /// `ended` is called in the middle of things: it may only see to it that something happens later.
    pub(super) fn new(
        socket: WebSocket,
        prefix: String,
        heard_ms: u64,
        unheard_bytes_max: usize,
        ended: Box<dyn Fn()>,
    ) -> Self {
        Self {
            socket,
            closed: CancellationToken::new(),
            ended,
            prefix,
            attached: RefCell::default(),
            heard_ms: Cell::new(heard_ms),
            unheard_bytes: Cell::new(0),
            unheard_bytes_max,
            unyielded_bytes: Cell::new(0),
        }
    }

    pub(super) fn socket(&self) -> &WebSocket {
        &self.socket
    }

    /// A frame has come.
    pub(super) fn handle_heard(&self, now_ms: u64) {
        self.heard_ms.set(now_ms);
        self.unheard_bytes.set(0);
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
            self.end();
        }
    }

    fn end(&self) {
        if !self.is_closed() {
            self.closed.cancel();
            (self.ended)();
        }
    }

    /// Its conversation is over: an object that wakes later has nothing to take up here, even if the platform still
    /// has the socket.
    pub(super) fn forget(&self) {
        let nothing: Option<&str> = None;
        drop(self.socket.serialize_attachment(nothing));
    }
}

impl Link for Socket {
    fn send_now(&self, frame: String) {
        self.unheard_bytes.set(self.unheard_bytes.get() + frame.len());
        if self.unheard_bytes.get() > self.unheard_bytes_max {
            tracing::info!("closing a connection that reads too slowly");
            return self.close(CloseCode::SlowReader);
        }
        self.put(&frame);
    }

    async fn send(&self, frame: String) -> Result<(), Closed> {
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
            self.end();
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

//! A hibernatable WebSocket as the host's link. The platform has the queue of frames, and throws where a socket
//! is closing.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::sync::Mutex as FairMutex;
use worker::WebSocket;

use super::attachment::Attachment;
use super::end::End;
use super::fan_out;
use super::platform::Isolate;
use super::sweep::SILENCE_MS_MAX;
use crate::budget::{Budget, Held};
use crate::close::CloseCode;
use crate::frame::Frame;
use crate::host::{Closed, Link};
use crate::platform::Platform;
use crate::session::{Session, Snapshot};

/// So much of a backlog is handed to the platform before it gets the time to send it.
const YIELD_BYTES: usize = 512 * 1024;

/// A hibernatable WebSocket. The platform has the queue.
pub(super) struct Socket {
    socket: WebSocket,
    end: End,
    /// The part of the attachment that stays the same.
    prefix: String,
    /// What the attachment holds; most frames change nothing of it.
    attached: RefCell<Option<Snapshot>>,
    heard_ms: Cell<u64>,
    budget: Budget,
    /// What went out to a client that was not heard since; LiveStore clients acknowledge what they get (0.4) or
    /// ping (0.3). One for which there is no more room is taken for one that does not read: the platform would
    /// keep all that for it in memory.
    unheard: RefCell<Held>,
    unyielded_bytes: Cell<usize>,
    /// Whether somebody looks again and again whether its client waits for what cannot come.
    pub(super) looked_at: Cell<bool>,
    /// Held by the one who waits for room, so that frames keep the order in which they asked.
    turn: FairMutex<()>,
}

impl Socket {
    pub(super) fn new(socket: WebSocket, prefix: String, heard_ms: u64, budget: Budget, end: End) -> Self {
        let unheard = RefCell::new(budget.take_anyway(0));
        Self {
            socket,
            end,
            prefix,
            attached: RefCell::default(),
            heard_ms: Cell::new(heard_ms),
            budget,
            unheard,
            unyielded_bytes: Cell::new(0),
            looked_at: Cell::new(false),
            turn: FairMutex::default(),
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

    /// What many receive is handed to the platform in one call; what comes behind it must not overtake it.
    fn put(&self, frame: Frame) {
        if self.is_closed() {
            return;
        }
        if frame.is_shared() || fan_out::is_waiting() {
            return fan_out::add(&self.socket, &self.end, &frame);
        }
        // It throws when the socket is closing, which its client will notice without us.
        if self.socket.send_with_str(frame.into_text()).is_err() {
            self.end.end();
        }
    }

    /// Its conversation is over: an object that wakes later has nothing to take up here, even if the platform still
    /// has the socket.
    pub(super) fn forget(&self) {
        let nothing: Option<&str> = None;
        drop(self.socket.serialize_attachment(nothing));
    }

    /// Takes room for a frame. `false` when the client is not heard while it waits for that.
    async fn wait_for_room(&self, frame: &mut Frame) -> bool {
        let room = frame.take_in_turn(&self.budget);
        match Isolate.timeout(Duration::from_millis(SILENCE_MS_MAX), room).await {
            Some(held) => {
                self.unheard.borrow_mut().absorb(held);
                true
            }
            None => false,
        }
    }
}

impl Link for Socket {
    fn budget(&self) -> &Budget {
        &self.budget
    }

    fn send_now(&self, frame: Frame) {
        let taken = self.unheard.borrow_mut().grow(self.budget.possible(frame.len() as u64));
        match taken {
            Ok(()) => self.put(frame),
            Err(_) if self.is_closed() => {}
            Err(exceeded) => {
                tracing::info!(%exceeded, "closing a connection that reads too slowly");
                self.close(CloseCode::SlowReader);
            }
        }
    }

    fn published(&self) {
        fan_out::send();
    }

    async fn send(&self, mut frame: Frame) -> Result<(), Closed> {
        let bytes = frame.len();
        let sent = async {
            let _turn = self.turn.lock().await;
            if !self.wait_for_room(&mut frame).await {
                tracing::info!("closing a connection that does not read");
                self.close(CloseCode::SlowReader);
                return;
            }
            self.put(frame);
            self.unyielded_bytes.set(self.unyielded_bytes.get() + bytes);
            if self.unyielded_bytes.get() > YIELD_BYTES {
                self.unyielded_bytes.set(0);
                Isolate.sleep(Duration::ZERO).await;
            }
        };
        tokio::select! {
            () = self.end.come() => {}
            () = sent => {}
        }
        if self.is_closed() { Err(Closed) } else { Ok(()) }
    }

    fn close(&self, code: CloseCode) {
        if !self.is_closed() {
            // Before the end comes what was published.
            fan_out::send();
            // It throws when the socket is closed already.
            let _ = self.socket.close(Some(code.number()), Some(code.reason()));
            self.end.end();
        }
    }

    /// What waits is with the platform, which drops it.
    fn abort(&self, code: CloseCode) {
        self.close(code);
    }

    fn is_closed(&self) -> bool {
        self.end.has_come()
    }

    async fn closed(&self) {
        self.end.come().await;
    }

    /// Never asked for: sessions here go by what is heard, as the platform has no pings to send.
    fn ping(&self, _number: u64) {}

    /// Nothing can be sent that a 0.3 client answers; it pings by itself. Timers may fire early.
    fn probe(&self, now_ms: u64) -> Duration {
        Duration::from_millis((self.heard_ms.get() + Session::V03_HEARD_MS_MAX + 100).saturating_sub(now_ms))
    }

    fn remember(&self, session: &Session) -> bool {
        let snapshot = session.snapshot();
        if self.attached.borrow().as_ref() == Some(&snapshot) {
            return true;
        }
        let Some(attachment) = Attachment::encode(&self.prefix, &snapshot) else { return false };
        if let Err(error) = self.socket.serialize_attachment(attachment.as_str()) {
            tracing::error!(%error, "cannot attach a session to its socket");
            return false;
        }
        self.attached.replace(Some(snapshot));
        true
    }
}

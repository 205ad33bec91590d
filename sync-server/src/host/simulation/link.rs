//! A link without a socket: frames wait in a mailbox until the client takes them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::budget::{Budget, Holder};
use crate::close::CloseCode;
use crate::frame::Frame;
use crate::host::{Closed, Link};
use crate::session::{Proof, Session};

/// Frames after which a backlog waits for the client.
const ROOM: usize = 24;

/// How long a client may take to answer a WebSocket ping.
const ALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// More than any run sends: budgets have tests of their own.
const MAILBOX_BYTES_MAX: u64 = 1 << 32;

/// What lies in a mailbox.
pub(crate) enum Mail {
    /// With its share of the room, if it had to wait for some: given back when the client takes it.
    Text(String, #[expect(dead_code, reason = "it is dropped with the frame")] Option<OwnedSemaphorePermit>),
    /// A ping with the number that its pong brings back, if it has one.
    Ping(Option<u64>),
}

/// Both ends of a connection. It outlives a server that only loses its memory.
pub(crate) struct Mailbox {
    proof: Proof,
    mail: Mutex<VecDeque<Mail>>,
    room: Arc<Semaphore>,
    pub(crate) closed: CancellationToken,
    /// When the client was last heard, where the platform knows it.
    heard_ms: Mutex<u64>,
    /// The session as the platform keeps it with the socket.
    pub(crate) remembered: Mutex<Option<String>>,
    budget: Budget,
}

impl Mailbox {
    pub(crate) fn new(proof: Proof, now_ms: u64) -> Arc<Self> {
        Arc::new(Self {
            proof,
            mail: Mutex::default(),
            room: Arc::new(Semaphore::new(ROOM)),
            closed: CancellationToken::new(),
            heard_ms: Mutex::new(now_ms),
            remembered: Mutex::default(),
            budget: Budget::process(MAILBOX_BYTES_MAX).child(Holder::Connection, MAILBOX_BYTES_MAX),
        })
    }

    fn mail(&self) -> MutexGuard<'_, VecDeque<Mail>> {
        self.mail.lock().expect("one thread")
    }

    /// The client takes what came next.
    pub(crate) fn take(&self) -> Option<Mail> {
        self.mail().pop_front()
    }

    pub(crate) fn is_ping_next(&self) -> bool {
        matches!(self.mail().front(), Some(Mail::Ping(_)))
    }

    pub(crate) fn heard(&self, now_ms: u64) {
        *self.heard_ms.lock().expect("one thread") = now_ms;
    }
}

/// The server's end of a [`Mailbox`].
pub(crate) struct MailLink(pub(crate) Arc<Mailbox>);

impl Link for MailLink {
    fn budget(&self) -> &Budget {
        &self.0.budget
    }

    fn send_now(&self, frame: Frame) {
        if !self.is_closed() {
            self.0.mail().push_back(Mail::Text(frame.into_text(), None));
        }
    }

    async fn send(&self, frame: Frame) -> Result<(), Closed> {
        tokio::select! {
            biased;
            () = self.closed() => Err(Closed),
            // In the order in which they asked, as the contract of a link has it.
            permit = Arc::clone(&self.0.room).acquire_owned() => {
                self.0.mail().push_back(Mail::Text(frame.into_text(), permit.ok()));
                Ok(())
            }
        }
    }

    /// The client takes what was sent before.
    fn close(&self, _code: CloseCode) {
        self.0.closed.cancel();
    }

    fn abort(&self, _code: CloseCode) {
        self.0.closed.cancel();
        // A platform that has the queue sends what it was given.
        if self.0.proof == Proof::Pongs {
            self.0.mail().clear();
        }
    }

    fn is_closed(&self) -> bool {
        self.0.closed.is_cancelled()
    }

    async fn closed(&self) {
        self.0.closed.cancelled().await;
    }

    fn ping(&self, number: u64) {
        self.0.mail().push_back(Mail::Ping(Some(number)));
    }

    fn probe(&self, now_ms: u64) -> Duration {
        match self.0.proof {
            Proof::Pongs => {
                self.0.mail().push_back(Mail::Ping(None));
                ALIVE_TIMEOUT
            }
            Proof::Frames => {
                let heard_ms = *self.0.heard_ms.lock().expect("one thread");
                Duration::from_millis((heard_ms + Session::V03_HEARD_MS_MAX + 100).saturating_sub(now_ms))
            }
        }
    }

    fn remember(&self, session: &Session) -> bool {
        let snapshot = serde_json::to_string(&session.snapshot()).expect("text and numbers have a JSON form");
        *self.0.remembered.lock().expect("one thread") = Some(snapshot);
        true
    }
}

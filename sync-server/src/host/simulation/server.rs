//! A server of the simulation: the real host over a faulty, yielding log, with mailboxes for sockets. What a platform
//! does beside it, reading frames and noticing ends, is in [`drive`], as `native/socket` and `worker/object` do it.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use livestore_sync_protocol::{Generation, SeqNum};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::executor::Owner;
use super::link::{MailLink, Mailbox};
use super::platform::Simulated;
use crate::budget::Budget;
use crate::close::CloseCode;
use crate::error::HookError;
use crate::event_log::{EventLog, Faults, Faulty, Yielding, give_way};
use crate::hooks::{Asked, Connection, HookContext, Hooks, Push, Transport};
use crate::host::continuation::{Continuation, SavedClients};
use crate::host::exchange::{Framing, exchange};
use crate::host::{Conversation, Host, Hub, Opening, Rest, Shell};
use crate::platform::Platform;
use crate::session::{Proof, Session};
use crate::store::Store;

/// A name of events that the hook rejects.
pub(crate) const REJECTED: &str = "rejected";

/// How long a client may take for its half of the closing handshake.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Longer than any hook of the simulation takes, but for one that hangs.
const HOOK_TIMEOUT: Duration = Duration::from_secs(30);

/// Enough for every push of a run: clients of the simulation may send without reading.
const PUSHES_WAITING_MAX: usize = 1_024;

/// More than any run holds: budgets have tests of their own.
const HELD_BYTES_MAX: u64 = 1 << 32;

pub(crate) struct AppHooks;

impl Hooks for AppHooks {
    async fn on_push(&self, push: Push, _context: HookContext) -> Result<(), HookError> {
        if push.batch.len().is_multiple_of(2) {
            // Some take longer than others.
            give_way().await;
        }
        let rejected = push.batch.iter().any(|event| event.name == REJECTED);
        if rejected { Err(HookError::new("the app says no")) } else { Ok(()) }
    }
}

struct Simulation<L>(PhantomData<L>);

impl<L: EventLog> Shell for Simulation<L> {
    type Log = Yielding<Faulty<Arc<L>>>;
    type Hooks = AppHooks;
    type Link = MailLink;
    type Platform = Simulated;
}

/// What comes from a client.
pub(crate) enum Incoming {
    Text(String),
    /// Of a WebSocket ping, with its number if it has one.
    Pong(Option<u64>),
}

/// The client's end of a connection.
#[derive(Clone)]
pub(crate) struct Wire {
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) outgoing: mpsc::UnboundedSender<Incoming>,
    /// Whether the server is done with it.
    pub(crate) ended: Arc<AtomicBool>,
    /// Whether the server has it: a client does nothing on a connection before that, and has no other meanwhile.
    pub(crate) opened: Arc<AtomicBool>,
    connection: Arc<Connection>,
    fingerprint: String,
}

impl Wire {
    /// The client sends nothing more, also not through this.
    pub(crate) fn hang_up(&mut self) {
        self.outgoing = mpsc::unbounded_channel().0;
    }

    /// The socket goes over to a server that takes up what another one has left: this is its end.
    pub(crate) fn renew(&mut self) -> (Self, mpsc::UnboundedReceiver<Incoming>) {
        let (outgoing, incoming) = mpsc::unbounded_channel();
        self.outgoing = outgoing;
        (self.clone(), incoming)
    }
}

impl Wire {
    /// The server closes it before there is a conversation.
    fn refuse(&self) {
        self.mailbox.closed.cancel();
        self.opened.store(true, Ordering::Relaxed);
        self.ended.store(true, Ordering::Relaxed);
    }
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {} of {}", self.connection.id.as_u128(), self.fingerprint)
    }
}

pub(crate) struct Server<L: EventLog> {
    number: Owner,
    pub(crate) proof: Proof,
    host: Arc<Host<Simulation<L>>>,
    /// Rings when what must be written down of 0.3 clients changes.
    changed: Arc<Notify>,
    /// Frames whose work is not done: a platform keeps the server in memory for them.
    busy: Arc<AtomicUsize>,
    /// Cancelled once it has taken over from the last server; no connection is taken before.
    awake: CancellationToken,
}

impl<L: EventLog> Server<L> {
    /// `rest_ms` per receiver of a publication.
    pub(crate) fn new(log: Arc<L>, faults: Faults, platform: Simulated, proof: Proof, rest_ms: u64) -> Self {
        let log = Yielding::new(Faulty::new(log, faults));
        let budget = Budget::process(HELD_BYTES_MAX);
        let changed = Arc::new(Notify::new());
        let hub = Hub::new(Continuation::new(Arc::clone(&changed)), None, budget.clone());
        let hub = hub.resting(Rest { receivers_min: 0, per_receiver: Duration::from_millis(rest_ms) });
        let number = platform.owner;
        let hooks = Asked::new(Arc::new(AppHooks), platform.clone(), HOOK_TIMEOUT);
        let store = Store::new(log, hooks, hub);
        let host =
            Arc::new(Host { store, platform, budget, connection_bytes_max: HELD_BYTES_MAX, seats: Arc::default() });
        Self { number, proof, host, changed, busy: Arc::default(), awake: CancellationToken::new() }
    }

    pub(crate) fn number(&self) -> Owner {
        self.number
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn known_head(&self) -> Option<SeqNum> {
        self.host.store.known_head()
    }

    /// Writes down what is known of 0.3 clients, as a platform does: if it was told of a change.
    pub(crate) fn save(&self, saved: &mut String) {
        if self.changed.notified().now_or_never().is_some() {
            *saved = serde_json::to_string(&self.host.hub().saved_clients()).expect("clients have a JSON form");
        }
    }

    /// Takes over what another server has written down, and the sockets that it has left open.
    pub(crate) fn wake(&self, saved: &str, wires: Vec<(Wire, mpsc::UnboundedReceiver<Incoming>)>) {
        let saved: SavedClients = serde_json::from_str(saved).expect("it was written by a server");
        let (host, busy, awake) = (Arc::clone(&self.host), Arc::clone(&self.busy), self.awake.clone());
        self.host.platform.spawn(async move {
            let head = loop {
                // A platform tries again with the next event.
                match host.store.current_head().await {
                    Ok(head) => break head.seq_num,
                    Err(_) => give_way().await,
                }
            };
            for (wire, incoming) in wires {
                let remembered = wire.mailbox.remembered.lock().expect("one thread").clone();
                let snapshot = remembered.map(|json| serde_json::from_str(&json).expect("it was remembered"));
                let session = snapshot.and_then(|snapshot| Session::restore(wire.connection.id, snapshot, head));
                let Some(session) = session else {
                    wire.refuse();
                    continue;
                };
                let link = MailLink(Arc::clone(&wire.mailbox));
                let (connection, fingerprint) = (Arc::clone(&wire.connection), wire.fingerprint.clone());
                let conversation =
                    Conversation::rejoin(&host, session, link, connection, fingerprint, PUSHES_WAITING_MAX);
                host.platform.spawn(drive(Arc::clone(&host), conversation, wire, incoming, Arc::clone(&busy)));
            }
            host.hub().restore(saved, head, host.platform.now_ms());
            awake.cancel();
        });
    }

    pub(crate) fn connect(&self, number: usize, generation: Generation, fingerprint: String) -> Wire {
        let now_ms = self.host.platform.now_ms();
        let id = Uuid::from_u128(number as u128);
        let connection = Arc::new(Connection::new(id, "store".into(), Transport::Ws, generation, now_ms));
        let (outgoing, incoming) = mpsc::unbounded_channel();
        let mailbox = Mailbox::new(self.proof, now_ms);
        let (ended, opened) = (Arc::default(), Arc::default());
        let wire = Wire { mailbox, outgoing, ended, opened, connection, fingerprint };
        let (host, proof, busy, theirs) = (Arc::clone(&self.host), self.proof, Arc::clone(&self.busy), wire.clone());
        let awake = self.awake.clone();
        self.host.platform.spawn(async move {
            awake.cancelled().await;
            let Ok(head) = host.store.current_head().await.map(|head| head.seq_num) else {
                return theirs.refuse();
            };
            let seat = host.seats.take(&theirs.connection).expect("nobody is counted");
            let opening = Opening {
                connection: Arc::clone(&theirs.connection),
                fingerprint: theirs.fingerprint.clone(),
                proof,
                head,
                seat,
                pushes_waiting_max: PUSHES_WAITING_MAX,
            };
            let conversation = Conversation::open(&host, opening, MailLink(Arc::clone(&theirs.mailbox)));
            theirs.opened.store(true, Ordering::Relaxed);
            drive(host, conversation, theirs, incoming, busy).await;
        });
        wire
    }

    /// Answers a body; the frames are complete when the channel ends.
    pub(crate) fn exchange(&self, body: String) -> mpsc::UnboundedReceiver<Vec<u8>> {
        let now_ms = self.host.platform.now_ms();
        let connection = Connection::new(Uuid::nil(), "store".into(), Transport::Http, Generation::V04, now_ms);
        let (work, frames) = exchange(
            Arc::clone(&self.host),
            Arc::new(connection),
            self.host.connection_budget(),
            body,
            Framing::Ndjson,
            || (),
        );
        let (parts, receiver) = mpsc::unbounded_channel();
        self.host.platform.spawn(work);
        self.host.platform.spawn(async move {
            let mut frames = Box::pin(frames);
            while let Some(frame) = frames.next().await {
                // The client may be gone.
                let _ = parts.send(frame.to_vec());
            }
        });
        receiver
    }
}

/// What a platform does with a socket.
async fn drive<L: EventLog>(
    host: Arc<Host<Simulation<L>>>,
    conversation: Conversation<Simulation<L>>,
    wire: Wire,
    mut incoming: mpsc::UnboundedReceiver<Incoming>,
    busy: Arc<AtomicUsize>,
) {
    let Wire { mailbox, outgoing, ended, .. } = wire;
    // The client's end is the only one that counts.
    drop(outgoing);
    loop {
        let next = tokio::select! {
            biased;
            () = mailbox.closed.cancelled() => break,
            next = incoming.recv() => next,
        };
        let Some(next) = next else { break };
        mailbox.heard(host.platform.now_ms());
        conversation.handle_heard();
        match next {
            Incoming::Pong(number) => number.into_iter().for_each(|number| conversation.handle_pong(number)),
            Incoming::Text(text) => {
                let (in_progress, mut done) = mpsc::channel(1);
                assert!(!conversation.is_full(text.len()), "it has room for more pushes than any run has");
                busy.fetch_add(1, Ordering::Relaxed);
                let busy = Arc::clone(&busy);
                host.platform.spawn(async move {
                    let _: Option<()> = done.recv().await;
                    busy.fetch_sub(1, Ordering::Relaxed);
                });
                conversation.handle_text(&text, Some(in_progress)).await;
            }
        }
    }
    let rest = async {
        while let Some(next) = incoming.recv().await {
            if let Incoming::Pong(Some(number)) = next {
                conversation.handle_pong(number);
            }
        }
    };
    // A client that does not answer is left.
    let _ = host.platform.timeout(CLOSE_TIMEOUT, rest).await;
    conversation.close(CloseCode::Ended).await;
    ended.store(true, Ordering::Relaxed);
}

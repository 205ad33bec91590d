//! A home for the engine without sockets: frames go into the other side's mailbox.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;

use livestore_sync_server::event_log::{EventLog, Faults, Faulty, Yielding};
use livestore_sync_server::protocol::{Chunk, Event, Generation, RequestId};
use livestore_sync_server::{
    Clock, Committed, Connection, Delivery, HookContext, HookError, Hooks, Input, Origin, Proof, Publish, Pull,
    PullError, PullSink, Push, PushError, Pushed, Session, Store, Transport,
};
use tokio::sync::{Notify, mpsc};
use uuid::Uuid;

use crate::executor::{Owner, Spawner};

/// A name of events that the hook rejects.
pub(crate) const REJECTED: &str = "rejected";

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

async fn give_way() {
    let mut given = false;
    std::future::poll_fn(|context| {
        if given {
            return Poll::Ready(());
        }
        given = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

struct PushCall {
    request_id: RequestId,
    batch: Vec<Event>,
    backend_id: Option<String>,
    generation: Generation,
}

/// The server's side of a connection.
pub(crate) struct Peer {
    pub(crate) number: usize,
    session: Mutex<Session>,
    progress: Notify,
    open: AtomicBool,
    frames: Mutex<VecDeque<String>>,
    connection: Arc<Connection>,
    pushes: mpsc::UnboundedSender<PushCall>,
}

impl Peer {
    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().expect("one thread")
    }

    fn send(&self, frame: String) {
        self.frames.lock().expect("one thread").push_back(frame);
    }

    /// The client takes a frame.
    pub(crate) fn receive(&self) -> Option<String> {
        self.frames.lock().expect("one thread").pop_front()
    }

    pub(crate) fn has_frames(&self) -> bool {
        !self.frames.lock().expect("one thread").is_empty()
    }

    fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }
}

#[derive(Default)]
pub(crate) struct Hub(Mutex<BTreeMap<usize, Arc<Peer>>>);

impl Hub {
    fn peers(&self) -> MutexGuard<'_, BTreeMap<usize, Arc<Peer>>> {
        self.0.lock().expect("one thread")
    }
}

impl Publish for Hub {
    fn publish(&self, committed: &Committed) {
        for peer in self.peers().values() {
            let frames = peer.session().handle_committed(committed);
            frames.into_iter().for_each(|frame| peer.send(frame));
        }
    }
}

type SimulatedStore<L> = Store<Yielding<Faulty<Arc<L>>>, AppHooks, Hub>;

pub(crate) struct Server<L> {
    number: usize,
    store: Arc<SimulatedStore<L>>,
    spawner: Spawner,
    now_ms: Arc<AtomicU64>,
}

impl<L: EventLog> Server<L> {
    pub(crate) fn new(number: usize, log: Arc<L>, faults: Faults, spawner: Spawner, now_ms: Arc<AtomicU64>) -> Self {
        let log = Yielding::new(Faulty::new(log, faults));
        let time = Arc::clone(&now_ms);
        let clock: Arc<dyn Clock> = Arc::new(move || time.load(Ordering::Relaxed));
        let store = Arc::new(Store::new(log, Arc::new(AppHooks), Hub::default(), clock));
        Self { number, store, spawner, now_ms }
    }

    pub(crate) fn owner(&self, connection: Option<usize>) -> Owner {
        Owner { server: self.number, connection }
    }

    pub(crate) fn connect(&self, number: usize, generation: Generation) -> Arc<Peer> {
        let now_ms = self.now_ms.load(Ordering::Relaxed);
        let id = Uuid::from_u128(number as u128);
        let session = match generation {
            Generation::V03 => Session::v03(id, Proof::Pongs, 0),
            Generation::V04 | Generation::Next => Session::rpc(id, now_ms),
        };
        let connection = Arc::new(Connection {
            id,
            connected_at: String::new(),
            store_id: "store".into(),
            payload: None,
            headers: Vec::new(),
            transport: Transport::Ws,
            generation,
        });
        let (pushes, waiting) = mpsc::unbounded_channel();
        let peer = Arc::new(Peer {
            number,
            session: Mutex::new(session),
            progress: Notify::new(),
            open: AtomicBool::new(true),
            frames: Mutex::default(),
            connection,
            pushes,
        });
        self.store.publisher().peers().insert(number, Arc::clone(&peer));
        let (store, weak) = (Arc::clone(&self.store), Arc::downgrade(&peer));
        let (spawner, owner) = (self.spawner.clone(), self.owner(None));
        self.spawner.spawn(owner, async move { run_pushes(store, weak, waiting, spawner, owner).await });
        peer
    }

    /// The connection ends. Its pulls may notice or be dropped; the pushes that it sent go on.
    pub(crate) fn disconnect(&self, peer: &Peer) {
        self.store.publisher().peers().remove(&peer.number);
        peer.open.store(false, Ordering::Relaxed);
        peer.progress.notify_waiters();
    }

    /// A frame from the client.
    pub(crate) fn handle(&self, peer: &Arc<Peer>, text: &str) {
        let inputs = peer.session().handle_frame(text, self.now_ms.load(Ordering::Relaxed));
        for input in inputs {
            match input {
                Input::Reply(frame) => peer.send(frame),
                Input::Close(..) => self.disconnect(peer),
                Input::Progress | Input::NewClient => {}
                Input::Push { request_id, batch, backend_id, generation } => {
                    // The receiver goes when the peer goes.
                    let _ = peer.pushes.send(PushCall { request_id, batch, backend_id, generation });
                }
                Input::Pull { delivery, cursor, live, generation } => {
                    let (store, peer) = (Arc::clone(&self.store), Arc::clone(peer));
                    let owner = self.owner(Some(peer.number));
                    let pull = Pull { cursor, live };
                    self.spawner.spawn(owner, async move { run_pull(&store, &peer, pull, delivery, generation).await });
                }
            }
        }
        peer.progress.notify_waiters();
    }
}

async fn run_pull<L: EventLog>(
    store: &SimulatedStore<L>,
    peer: &Peer,
    pull: Pull,
    delivery: Delivery,
    generation: Generation,
) {
    let context = HookContext { connection: Arc::clone(&peer.connection), generation };
    let sink = Sink { peer, delivery: &delivery, live: pull.live };
    match store.pull(pull, &delivery, context, &sink).await {
        Ok(_) | Err(PullError::Gone) => {}
        Err(error) => {
            let frame = peer.session().handle_pull_failed(&delivery, &error);
            frame.into_iter().for_each(|frame| peer.send(frame));
        }
    }
    peer.progress.notify_waiters();
}

struct Sink<'a> {
    peer: &'a Peer,
    delivery: &'a Delivery,
    live: bool,
}

impl PullSink for Sink<'_> {
    async fn ready(&self) -> Result<(), PullError> {
        loop {
            let mut progress = std::pin::pin!(self.peer.progress.notified());
            progress.as_mut().enable();
            let ready = self.peer.session().poll_ready(self.delivery);
            match ready {
                _ if !self.peer.is_open() => return Err(PullError::Gone),
                None => return Err(PullError::Gone),
                Some(true) => return Ok(()),
                Some(false) => progress.await,
            }
        }
    }

    async fn send(&self, chunk: Option<&Chunk>, remaining: u64, backend_id: &str) -> Result<(), PullError> {
        let frame = self.peer.session().handle_chunk(self.delivery, chunk, remaining, backend_id);
        self.peer.send(frame.ok_or(PullError::Gone)?);
        give_way().await;
        Ok(())
    }

    fn caught_up(&self) {
        let frame = self.peer.session().handle_caught_up(self.delivery, self.live);
        frame.into_iter().for_each(|frame| self.peer.send(frame));
        self.peer.progress.notify_waiters();
    }
}

/// In the order in which they came; none waits for another's commit.
async fn run_pushes<L: EventLog>(
    store: Arc<SimulatedStore<L>>,
    peer: std::sync::Weak<Peer>,
    mut waiting: mpsc::UnboundedReceiver<PushCall>,
    spawner: Spawner,
    owner: Owner,
) {
    while let Some(PushCall { request_id, batch, backend_id, generation }) = waiting.recv().await {
        let Some(peer) = peer.upgrade() else { return };
        let origin = Origin { connection: peer.connection.id, request_id: request_id.clone() };
        let context = HookContext { connection: Arc::clone(&peer.connection), generation };
        let push = Push { batch: batch.into() };
        if generation == Generation::V03 {
            caught_up(&peer).await;
        }
        match store.admit(push, backend_id.as_deref(), Some(origin), context).await {
            Err(error) => answer_push(&peer, &request_id, Err(error)).await,
            Ok(mut admitted) => {
                let store = Arc::clone(&store);
                spawner.spawn(owner, async move {
                    let result = store.complete(&mut admitted).await;
                    answer_push(&peer, &request_id, result.clone()).await;
                    store.ended(admitted, result).await;
                });
            }
        }
    }
}

async fn answer_push(peer: &Peer, request_id: &RequestId, result: Result<Pushed, PushError>) {
    let frame = match result {
        Ok(Pushed::Committed) => return,
        Ok(Pushed::Repeated) => peer.session().push_repeated(request_id),
        Err(error) => {
            if let PushError::ServerAhead { .. } = error {
                caught_up(peer).await;
            }
            peer.session().push_failed(request_id, &error)
        }
    };
    peer.send(frame);
}

async fn caught_up(peer: &Peer) {
    loop {
        let mut progress = std::pin::pin!(peer.progress.notified());
        progress.as_mut().enable();
        if !peer.is_open() || !peer.session().is_catching_up() {
            return;
        }
        progress.await;
    }
}

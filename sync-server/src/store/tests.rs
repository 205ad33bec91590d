mod pace;
mod pull;
mod push;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use livestore_sync_protocol::{Args, Event, Generation, ItemFormat, PulledEvent, RequestId, SeqNum};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::{Completed, Pushed, Store};
use crate::error::HistoryLost;
use crate::event::{Committed, Origin, Publish};
use crate::event_log::{AppendError, EventLog, Faults, Faulty, Head, LogError, MemoryLog, Page, Yielding};
use crate::hooks::{Asked, Connection, HookContext, Hooks, Push, Transport};
use crate::platform::Platform;
use crate::{Batch, PushError};

const BACKEND_ID: &str = "backend";

/// Holds back appends, and remembers how many batches each had.
struct Gate<L> {
    log: L,
    permits: Semaphore,
    appends: Mutex<Vec<usize>>,
}

impl<L: EventLog> EventLog for Gate<L> {
    fn backend_id(&self) -> impl Future<Output = Result<Arc<str>, LogError>> + Send {
        self.log.backend_id()
    }

    fn head(&self) -> impl Future<Output = Result<Head, LogError>> + Send {
        self.log.head()
    }

    async fn append(&self, expected: Head, batches: Vec<Arc<Batch>>) -> Result<(), AppendError> {
        self.appends.lock().expect("usable").push(batches.len());
        self.permits.acquire().await.expect("open").forget();
        self.log.append(expected, batches).await
    }

    fn read(&self, after: SeqNum, format: ItemFormat) -> impl Future<Output = Result<Page, LogError>> + Send {
        self.log.read(after, format)
    }

    fn events(
        &self,
        after: SeqNum,
        last: SeqNum,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<PulledEvent>, LogError>> + Send {
        self.log.events(after, last, limit)
    }

    fn count(&self, after: SeqNum) -> impl Future<Output = Result<u64, LogError>> + Send {
        self.log.count(after)
    }
}

/// First and last event, and the request that pushed them.
type Publication = (i64, i64, Option<String>);

/// What was published.
#[derive(Default)]
struct Published {
    publications: Mutex<Vec<Publication>>,
    lost: Mutex<Vec<(i64, i64)>>,
    /// The pushes that were acknowledged before they were published.
    acknowledged: Mutex<Vec<String>>,
    rest: Mutex<Duration>,
}

impl Publish for Published {
    fn publish(&self, committed: &Committed) {
        assert_eq!(&*committed.backend_id, BACKEND_ID);
        let (first, last) = (committed.first().get(), committed.last().get());
        let origin = committed.origin.as_ref().map(|origin| origin.request_id.to_string());
        self.publications.lock().expect("usable").push((first, last, origin));
    }

    fn history_lost(&self, lost: &HistoryLost) {
        self.lost.lock().expect("usable").push((lost.head.get(), lost.position.get()));
    }

    fn acknowledge(&self, origin: &Origin) {
        self.acknowledged.lock().expect("usable").push(origin.request_id.to_string());
    }

    fn rest(&self) -> Duration {
        *self.rest.lock().expect("usable")
    }
}

impl Published {
    /// What was lost: where the log ends, and where clients are.
    fn lost(&self) -> Vec<(i64, i64)> {
        self.lost.lock().expect("usable").clone()
    }
}

type TestLog = Arc<Gate<Yielding<Faulty<Arc<MemoryLog>>>>>;
type TestStore<H> = Store<TestLog, H, Published, Timeless>;

/// A platform on which no time passes.
#[derive(Clone)]
struct Timeless;

impl Platform for Timeless {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(task);
    }

    fn sleep(&self, _: Duration) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    fn now_ms(&self) -> u64 {
        now_ms()
    }
}

/// A store with all its parts in reach.
struct Fixture<H> {
    store: Arc<TestStore<H>>,
    /// Below gate and faults: for another writer.
    log: Arc<MemoryLog>,
    gate: TestLog,
    faults: Faults,
}

/// Each look at the clock is a millisecond later, so that what is read from the log falls into its pushes.
fn now_ms() -> u64 {
    static CLOCK: AtomicU64 = AtomicU64::new(0);
    CLOCK.fetch_add(1, Ordering::Relaxed)
}

fn fixture() -> Fixture<()> {
    with_hooks(())
}

fn with_hooks<H: Hooks>(hooks: H) -> Fixture<H> {
    let (log, faults) = (Arc::new(MemoryLog::new(BACKEND_ID)), Faults::none());
    let gate = Arc::new(Gate {
        log: Yielding::new(Faulty::new(Arc::clone(&log), faults.clone())),
        permits: Semaphore::new(Semaphore::MAX_PERMITS),
        appends: Mutex::default(),
    });
    let hooks = Asked::new(Arc::new(hooks), Timeless, Duration::MAX);
    let store = Arc::new(Store::new(Arc::clone(&gate), hooks, Published::default()));
    Fixture { store, log, gate, faults }
}

impl<H: Hooks> Fixture<H> {
    async fn push(&self, request_id: &str, events: Vec<Event>) -> Result<Pushed, PushError> {
        push(&self.store, request_id, events).await
    }

    /// Pushes in a task of its own, which has come as far as it can when this returns.
    async fn start_push(
        &self,
        request_id: &'static str,
        events: Vec<Event>,
    ) -> tokio::task::JoinHandle<Result<Pushed, PushError>> {
        let store = Arc::clone(&self.store);
        let pushing = tokio::spawn(async move { push(&store, request_id, events).await });
        settle().await;
        pushing
    }

    fn published(&self) -> Vec<Publication> {
        self.store.publisher().publications.lock().expect("usable").clone()
    }

    fn appends(&self) -> Vec<usize> {
        self.gate.appends.lock().expect("usable").clone()
    }

    /// From here on, each append waits to be [let through](Self::let_through).
    fn hold_appends(&self) {
        self.gate.permits.forget_permits(Semaphore::MAX_PERMITS);
    }

    fn let_through(&self, appends: usize) {
        self.gate.permits.add_permits(appends);
    }

    async fn append_elsewhere(&self, events: Vec<Event>) {
        let head = self.log.head().await.expect("memory does not fail");
        let batch = Arc::new(Batch::new(events.into(), "elsewhere".into()));
        self.log.append(head, vec![batch]).await.expect("it fits");
    }

    async fn stored(&self) -> Vec<i64> {
        let events = self.log.events(SeqNum::ROOT, SeqNum::MAX, u32::MAX).await.expect("memory does not fail");
        events.iter().map(|pulled| pulled.event.seq_num.get()).collect()
    }
}

async fn push<H: Hooks>(store: &TestStore<H>, request_id: &str, events: Vec<Event>) -> Result<Pushed, PushError> {
    let push = Push { batch: events.into() };
    let refusals = Arc::default();
    let admitted =
        store.admit(push.clone(), Some(BACKEND_ID), Some(origin(request_id)), &refusals, context(), now_ms()).await;
    let completed = match admitted {
        Ok(admitted) => store.complete(admitted).await,
        Err(error) => Completed::new(push, context(), Err(error)),
    };
    let result = completed.result.clone();
    store.ended(completed).await;
    result
}

/// Lets every other task run until it waits for something that is not ready.
async fn settle() {
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
}

fn origin(request_id: &str) -> Origin {
    Origin { connection: Uuid::nil(), request_id: RequestId::Text(request_id.into()) }
}

fn context() -> HookContext {
    let connection = Connection::new(Uuid::nil(), "store".into(), Transport::Ws, Generation::V04, 0);
    HookContext::new(Arc::new(connection), Generation::V04)
}

fn seq(number: i64) -> SeqNum {
    SeqNum::new(number).expect("a safe integer")
}

fn event(parent: i64, number: i64) -> Event {
    Event {
        name: "n".into(),
        args: Args::default(),
        seq_num: seq(number),
        parent_seq_num: seq(parent),
        client_id: "c".into(),
        session_id: "s".into(),
    }
}

/// The events `parent + 1 ..= last`.
fn run(parent: i64, last: i64) -> Vec<Event> {
    (parent + 1..=last).map(|number| event(number - 1, number)).collect()
}

fn by(request_id: &str) -> Option<String> {
    Some(request_id.into())
}

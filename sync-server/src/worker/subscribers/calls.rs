//! Does what [`Queue`] says: calls client objects through JavaScript, and keeps who is subscribed in the
//! object's storage. It decides nothing. Everything here runs in the background under
//! [`panic::guard`](super::super::panic::guard), so that the platform keeps the object in memory meanwhile
//! and a panic elsewhere ends it.

use std::cell::{Cell, OnceCell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use ::worker::js_sys::Promise;
use ::worker::wasm_bindgen::prelude::*;
use ::worker::wasm_bindgen_futures::JsFuture;
use ::worker::{Env, State, wasm_bindgen};
use livestore_sync_protocol::rpc::CallerContext;
use livestore_sync_protocol::{Chunk, ItemFormat, RequestId, SeqNum};
use tokio::sync::{Notify, Semaphore};

use super::super::open_store::ObjectHost;
use super::super::panic;
use super::super::platform::Isolate;
use super::queue::{Action, Id, Next, Queue, Refused};
use crate::budget::{Budget, Held};
use crate::error::PullError;
use crate::event::{Committed, Publish};
use crate::host::patience::pause;
use crate::platform::{BoxFuture, Platform};
use crate::store::PullSink;

/// Subscribers for which the log is read at once: each has a page.
const RESUMES_MAX: usize = 4;

/// Where the subscribers are kept.
const STORAGE_KEY: &str = "livestore-sync:subscribers";

#[wasm_bindgen(wasm_bindgen = wasm_bindgen, module = "/src/worker/subscribers/calls.js")]
extern "C" {
    type Calls;

    #[wasm_bindgen(thread_local_v2, js_name = calls)]
    static CALLS: Calls;

    #[wasm_bindgen(method)]
    fn update(this: &Calls, env: &JsValue, binding: &str, id: &str, frame: &str, store_id: &str) -> Promise;
}

/// Why a client object cannot subscribe.
#[derive(Debug, thiserror::Error)]
pub(in crate::worker) enum JoinError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("cannot keep the subscriber: {0}")]
    Storage(::worker::Error),
}

/// The client objects with a live pull of the object's store. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(in crate::worker) struct Subscribers(Rc<Inner>);

struct Inner {
    state: Rc<State>,
    env: Env,
    store_id: Box<str>,
    queue: RefCell<Queue>,
    /// Set by [`Subscribers::start`].
    host: OnceCell<Weak<ObjectHost>>,
    keeping: Cell<bool>,
    /// Whether something has changed since what is being kept was looked at.
    changed: Cell<bool>,
    /// Rings when the queue was told something.
    told: Notify,
    resumes: Semaphore,
}

impl Subscribers {
    /// The subscribers that are kept for this store.
    pub(in crate::worker) async fn load(
        state: Rc<State>,
        env: Env,
        store_id: &str,
        budget: Budget,
    ) -> ::worker::Result<Self> {
        let json: Option<String> = state.storage().get(STORAGE_KEY).await?;
        let kept = json.map(|json| serde_json::from_str(&json)).transpose().unwrap_or_else(|error| {
            tracing::error!(%error, "cannot read who is subscribed: client objects hear of nothing until they pull");
            None
        });
        Ok(Self(Rc::new(Inner {
            state,
            env,
            store_id: store_id.into(),
            queue: RefCell::new(Queue::restore(kept.unwrap_or_default(), budget)),
            host: OnceCell::new(),
            keeping: Cell::new(false),
            changed: Cell::new(false),
            told: Notify::new(),
            resumes: Semaphore::new(RESUMES_MAX),
        })))
    }

    /// Begins to bring events of the store, whose log ends at `head`.
    pub(in crate::worker) fn start(&self, host: &Arc<ObjectHost>, head: SeqNum) {
        // Set once, by the one who opens the store.
        let _ = self.0.host.set(Arc::downgrade(host));
        self.tell(|queue| queue.handle_start(head));
    }

    pub(in crate::worker) fn store_id(&self) -> &str {
        &self.0.store_id
    }

    /// Takes a client that starts a live pull, in place of any earlier one that it has.
    pub(in crate::worker) async fn join(
        &self,
        context: CallerContext,
        request_id: RequestId,
    ) -> Result<Answering, JoinError> {
        let id = self.0.queue.borrow_mut().handle_join(context, request_id)?;
        // Dropped where this fails, which gives the subscriber up.
        let answering = Answering { subscribers: self.clone(), id };
        // Before the answer says that it is live.
        self.keep().await.map_err(JoinError::Storage)?;
        Ok(answering)
    }

    /// Tells the queue something, then does what it wants done.
    fn tell<T>(&self, input: impl FnOnce(&mut Queue) -> T) -> T {
        let output = input(&mut self.0.queue.borrow_mut());
        self.0.told.notify_waiters();
        self.act();
        output
    }

    fn act(&self) {
        loop {
            // The queue is free again before anything is done.
            let Some(action) = self.0.queue.borrow_mut().poll_action() else { return };
            let subscribers = self.clone();
            self.background(Box::pin(async move {
                match action {
                    Action::Call(id) => subscribers.call(id).await,
                    Action::Resume { id, after } => subscribers.resume(id, after).await,
                    Action::Keep => subscribers.note().await,
                }
            }));
        }
    }

    fn background(&self, work: BoxFuture<()>) {
        let work = panic::guard(&self.0.state, async move {
            work.await;
            Ok(JsValue::NULL)
        });
        if let Err(error) = self.0.state.as_raw().wait_until(&work) {
            tracing::error!(?error, "the platform does not wait for calls");
        }
    }

    /// Makes the calls that wait for a subscriber.
    async fn call(&self, id: Id) {
        loop {
            match self.tell(|queue| queue.poll_call(id, Isolate.now_ms())) {
                Next::Call(context, frame) => {
                    let CallerContext { binding_name, durable_object_id } = &context;
                    let call = CALLS.with(|calls| {
                        calls.update(self.0.env.as_ref(), binding_name, durable_object_id, &frame, &self.0.store_id)
                    });
                    let called = JsFuture::from(call).await.map(drop);
                    self.tell(|queue| queue.handle_called(id, called, Isolate.now_ms()));
                }
                Next::Wait(duration) => Isolate.sleep(duration).await,
                Next::Done => return,
            }
        }
    }

    /// Reads from the log what a subscriber lacks.
    async fn resume(&self, id: Id, after: SeqNum) {
        // Never closed, so there is always a permit to come.
        let _permit = self.0.resumes.acquire().await;
        let Some(host) = self.host() else { return };
        let sink = Resumed { subscribers: self, id };
        if let Err(error) = host.store.continue_pulls(vec![(ItemFormat::Rpc, after, sink)]).await {
            tracing::warn!(%error, "cannot read what a client object lacks");
            self.tell(|queue| queue.give_up(id, "what it lacks cannot be read"));
        }
    }

    fn host(&self) -> Option<Arc<ObjectHost>> {
        self.0.host.get().and_then(Weak::upgrade)
    }

    async fn keep(&self) -> ::worker::Result<()> {
        let Some(host) = self.host() else { return Ok(()) };
        let head = host.store.current_head().await.map_err(|error| ::worker::Error::RustError(error.to_string()))?;
        // No await from here to the write: what is committed after the look at the log waits already.
        let kept = self.0.queue.borrow().kept(head.seq_num);
        let storage = self.0.state.storage();
        if kept.is_empty() {
            return storage.delete(STORAGE_KEY).await.map(drop);
        }
        storage.put(STORAGE_KEY, serde_json::to_string(&kept)?.as_str()).await
    }

    /// Keeps the subscribers. Changes that come together are written together.
    async fn note(&self) {
        self.0.changed.set(true);
        if self.0.keeping.replace(true) {
            return;
        }
        while self.0.changed.replace(false) {
            if let Err(error) = self.keep().await {
                tracing::warn!(%error, "cannot note how far the client objects are");
            }
        }
        self.0.keeping.set(false);
    }
}

/// A subscriber whose pull is being answered. To be dropped when its client has taken the answer, or when
/// there will be none.
pub(in crate::worker) struct Answering {
    subscribers: Subscribers,
    id: Id,
}

impl Answering {
    /// To be called in the moment from which on the client gets what is published.
    pub(in crate::worker) fn caught_up(&self) -> impl Fn() + 'static {
        let (subscribers, id) = (self.subscribers.clone(), self.id);
        move || subscribers.tell(|queue| queue.handle_caught_up(id))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.subscribers.tell(|queue| queue.handle_answer_ended(self.id, Isolate.now_ms()));
    }
}

impl Publish for Subscribers {
    fn publish(&self, committed: &Committed) {
        self.tell(|queue| queue.handle_committed(committed));
    }
}

/// As the engine wants it.
impl From<Subscribers> for Arc<dyn Publish> {
    fn from(subscribers: Subscribers) -> Self {
        #[expect(clippy::arc_with_non_send_sync, reason = "there is one thread")]
        Arc::new(subscribers)
    }
}

/// A subscriber whose calls broke off.
struct Resumed<'a> {
    subscribers: &'a Subscribers,
    id: Id,
}

impl PullSink for Resumed<'_> {
    async fn ready(&self) -> Result<(), PullError> {
        loop {
            // Made before the look, so that nothing is missed between the two.
            let mut told = pin!(self.subscribers.0.told.notified());
            told.as_mut().enable();
            let has_room = self.subscribers.0.queue.borrow().has_room(self.id);
            match has_room {
                Some(true) => return Ok(()),
                Some(false) => told.await,
                None => return Err(PullError::Gone),
            }
        }
    }

    async fn hold(&self, bytes: u64) -> Result<Held, PullError> {
        let host = self.subscribers.host().ok_or(PullError::Gone)?;
        Ok(host.budget.take_in_turn(bytes).await)
    }

    async fn send(&self, chunk: Option<(&Chunk, Held)>, _remaining: u64, backend_id: &str) -> Result<(), PullError> {
        // The queue takes it anew.
        let Some((chunk, _)) = chunk else { return Ok(()) };
        match self.subscribers.tell(|queue| queue.handle_chunk(self.id, chunk, backend_id)) {
            true => Ok(()),
            false => Err(PullError::Gone),
        }
    }

    /// Whoever is given up gets nothing any more, and does not notice.
    async fn failed(&self, _error: PullError, failures: u32) -> Result<(), PullError> {
        Isolate.sleep(pause(failures)).await;
        Ok(())
    }

    fn caught_up(&self) {
        self.subscribers.tell(|queue| queue.handle_caught_up(self.id));
    }
}

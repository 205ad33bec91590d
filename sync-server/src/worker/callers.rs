//! Clients that are Durable Objects themselves. Their live pulls end like others, and what is pushed
//! later is brought to them by calling them: one call after another, so that events keep their order,
//! each client on its own, so that none waits for another.
//!
//! A client has one live pull. Who it is and how far it got outlives the object's memory: an object that
//! dies amid its calls begins where they ended. (A call that was made and not yet noted is then made
//! again. The client's store ends on an event that it has already; on a missing one it would go on.)

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use ::worker::js_sys::Promise;
use ::worker::wasm_bindgen::prelude::*;
use ::worker::wasm_bindgen_futures::JsFuture;
use ::worker::{Date, Env, State, wasm_bindgen};
use livestore_sync_protocol::rpc::{self, CallerContext};
use livestore_sync_protocol::{Chunk, ItemFormat, PageInfo, RequestId, SeqNum};
use serde::{Deserialize, Serialize};

use super::open_store::ObjectHost;
use super::panic;
use super::platform::Isolate;
use crate::error::PullError;
use crate::event::Committed;
use crate::event::Publish;
use crate::platform::Platform;
use crate::store::PullSink;

/// Where the callers are kept.
const CALLERS_KEY: &str = "livestore-sync:subscribers";

/// Client objects of one store that may have a live pull.
pub(super) const CALLERS_MAX: usize = 256;

/// Length of a binding's name and an object's id together. Kept callers then fit into one value.
const CALLER_BYTES_MAX: usize = 256;

/// Bytes that may wait for one client. Beyond them it is given up.
const WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The published client drops a call that comes before it has handled the end of its pull's answer,
/// for which it gets this time (ms) after it has taken that.
const SETTLE_MS: u64 = 100;

/// A call that fails is made again so many times before its client is given up, …
const RETRIES_MAX: u32 = 6;

/// … first after this time, then after twice that, and so on.
const RETRY_AFTER: Duration = Duration::from_millis(100);

#[wasm_bindgen(wasm_bindgen = wasm_bindgen, module = "/src/worker/callers.js")]
extern "C" {
    type Calls;

    #[wasm_bindgen(thread_local_v2, js_name = callers)]
    static CALLS: Calls;

    #[wasm_bindgen(method)]
    fn update(this: &Calls, env: &JsValue, binding: &str, id: &str, frame: &str, store_id: &str) -> Promise;
}

/// Why a caller is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("this store has as many live pulls of Durable Objects as it may ({CALLERS_MAX})")]
    TooMany,
    #[error("the name of the caller's binding is too long")]
    TooLong,
    #[error("cannot keep the caller: {0}")]
    Storage(::worker::Error),
}

/// The client objects with a live pull.
#[derive(Clone)]
pub(super) struct Callers(Rc<Inner>);

struct Inner {
    state: Rc<State>,
    env: Env,
    store_id: Box<str>,
    callers: RefCell<BTreeMap<CallerContext, Rc<Caller>>>,
    /// Set by [`Callers::start`].
    store: OnceCell<Weak<ObjectHost>>,
    keeping: Cell<bool>,
    changed: Cell<bool>,
}

struct Caller {
    context: CallerContext,
    /// The live pull, as the client calls it.
    request_id: RequestId,
    phase: Cell<Phase>,
    waiting: RefCell<VecDeque<Update>>,
    waiting_bytes: Cell<usize>,
    calling: Cell<bool>,
    /// Not to be called before this time (ms since 1970).
    settled_ms: Cell<u64>,
    /// How far it was when the object came into memory.
    kept: Cell<Option<SeqNum>>,
}

/// A frame that is to be brought to a client.
struct Update {
    first: SeqNum,
    frame: Rc<str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It is sent its backlog.
    CatchingUp,
    /// What comes now waits until it has read its backlog.
    Reading,
    Live,
    /// It has another pull now, or is given up.
    Over,
}

/// A caller as it is kept.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    #[serde(flatten)]
    context: CallerContext,
    request_id: RequestId,
    /// It has everything up to here; `None` while it is sent its backlog.
    after: Option<SeqNum>,
}

impl Callers {
    /// The callers that are kept for this store.
    pub(super) async fn load(state: Rc<State>, env: Env, store_id: &str) -> ::worker::Result<Self> {
        let json: Option<String> = state.storage().get(CALLERS_KEY).await?;
        let kept: Vec<Kept> = json.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default();
        let caller = |kept: Kept| {
            let caller = Caller::new(kept.context.clone(), kept.request_id, Phase::Live);
            // Without it the pull broke off, and its client knows.
            caller.kept.set(Some(kept.after?));
            Some((kept.context, caller))
        };
        let mut callers = BTreeMap::new();
        callers.extend(kept.into_iter().filter_map(caller));
        Ok(Self(Rc::new(Inner {
            state,
            env,
            store_id: store_id.into(),
            callers: RefCell::new(callers),
            store: OnceCell::new(),
            keeping: Cell::new(false),
            changed: Cell::new(false),
        })))
    }

    /// Begins to bring events of the store, whose log ends at `head`.
    pub(super) fn start(&self, host: &Arc<ObjectHost>, head: SeqNum) {
        // Set once, by the one who opens the store.
        let _ = self.0.store.set(Arc::downgrade(host));
        for caller in self.0.callers.borrow().values() {
            let Some(after) = caller.kept.get().filter(|after| *after < head) else { continue };
            // The calls broke off.
            caller.phase.set(Phase::CatchingUp);
            let (callers, caller, store) = (self.clone(), Rc::clone(caller), Arc::clone(host));
            let resumed = panic::guard(&self.0.state, async move {
                let sink = Resumed { callers: &callers, caller: &caller };
                if let Err(error) = store.store.continue_pulls(vec![(ItemFormat::Rpc, after, sink)]).await {
                    tracing::warn!(%error, "giving up a client object");
                    callers.give_up(&caller);
                }
                Ok(JsValue::NULL)
            });
            self.background(&resumed);
        }
    }

    fn background(&self, work: &Promise) {
        if let Err(error) = self.0.state.as_raw().wait_until(work) {
            tracing::error!(?error, "the platform does not wait for calls");
        }
    }

    pub(super) fn store_id(&self) -> &str {
        &self.0.store_id
    }

    /// Takes a caller that starts a live pull, in place of any earlier one that it has.
    pub(super) async fn join(&self, context: CallerContext, request_id: RequestId) -> Result<Joined, Refused> {
        if context.binding_name.len() + context.durable_object_id.len() > CALLER_BYTES_MAX {
            return Err(Refused::TooLong);
        }
        let caller = Caller::new(context.clone(), request_id, Phase::CatchingUp);
        {
            let mut callers = self.0.callers.borrow_mut();
            if callers.len() >= CALLERS_MAX && !callers.contains_key(&context) {
                return Err(Refused::TooMany);
            }
            if let Some(earlier) = callers.insert(context, Rc::clone(&caller)) {
                earlier.phase.set(Phase::Over);
            }
        }
        // Before the answer tells that it is live.
        self.keep().await.map_err(Refused::Storage)?;
        Ok(Joined { callers: self.clone(), caller })
    }

    async fn keep(&self) -> ::worker::Result<()> {
        let Some(store) = self.0.store.get().and_then(Weak::upgrade) else { return Ok(()) };
        let head = store.store.current_head().await.map_err(|error| ::worker::Error::RustError(error.to_string()))?;
        // No await from here to the write: what is committed after the look at the log waits already.
        let json = {
            let callers = self.0.callers.borrow();
            let kept = |caller: &Rc<Caller>| Kept {
                context: caller.context.clone(),
                request_id: caller.request_id.clone(),
                after: caller.after(head.seq_num),
            };
            serde_json::to_string(&callers.values().map(kept).collect::<Vec<_>>())?
        };
        self.0.state.storage().put(CALLERS_KEY, json.as_str()).await
    }

    /// Notes how far the callers are. Changes that come together are written together.
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

    fn call(&self, caller: &Rc<Caller>) {
        if caller.calling.replace(true) {
            return;
        }
        let (callers, caller) = (self.clone(), Rc::clone(caller));
        let calls = panic::guard(&self.0.state, async move {
            callers.run(&caller).await;
            Ok(JsValue::NULL)
        });
        self.background(&calls);
    }

    /// Makes the calls that wait.
    async fn run(&self, caller: &Rc<Caller>) {
        let unsettled_ms = caller.settled_ms.get().saturating_sub(Date::now().as_millis());
        if unsettled_ms > 0 {
            Isolate.sleep(Duration::from_millis(unsettled_ms)).await;
        }
        let mut retries = 0;
        loop {
            let Some(frame) = caller.waiting.borrow().front().map(|update| Rc::clone(&update.frame)) else { break };
            if caller.phase.get() == Phase::Over {
                break;
            }
            let CallerContext { binding_name, durable_object_id } = &caller.context;
            let call = CALLS.with(|calls| {
                calls.update(self.0.env.as_ref(), binding_name, durable_object_id, &frame, &self.0.store_id)
            });
            match JsFuture::from(call).await {
                Ok(_) => {
                    retries = 0;
                    caller.waiting.borrow_mut().pop_front();
                    caller.waiting_bytes.set(caller.waiting_bytes.get() - frame.len());
                }
                Err(error) if retries == RETRIES_MAX => {
                    tracing::warn!(?error, binding_name, durable_object_id, "giving up a client object");
                    self.give_up(caller);
                    break;
                }
                Err(_) => {
                    Isolate.sleep(RETRY_AFTER * 2_u32.pow(retries)).await;
                    retries += 1;
                }
            }
        }
        caller.calling.set(false);
        self.note().await;
    }

    /// Forgets a caller, unless it has another pull by now.
    fn give_up(&self, caller: &Rc<Caller>) {
        caller.phase.set(Phase::Over);
        let mut callers = self.0.callers.borrow_mut();
        if callers.get(&caller.context).is_some_and(|current| Rc::ptr_eq(current, caller)) {
            callers.remove(&caller.context);
            let callers = self.clone();
            Isolate.spawn(async move { callers.note().await });
        }
    }
}

/// A caller whose pull is being answered. It is to be dropped when its client has taken the answer.
pub(super) struct Joined {
    callers: Callers,
    caller: Rc<Caller>,
}

impl Joined {
    /// To be called in the moment from which on the client gets what is published.
    pub(super) fn caught_up(&self) -> impl Fn() + 'static {
        let caller = Rc::clone(&self.caller);
        move || {
            if caller.phase.get() == Phase::CatchingUp {
                caller.phase.set(Phase::Reading);
            }
        }
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        match self.caller.phase.get() {
            // The pull failed.
            Phase::CatchingUp => self.callers.give_up(&self.caller),
            Phase::Reading => {
                self.caller.phase.set(Phase::Live);
                self.caller.settled_ms.set(Date::now().as_millis() + SETTLE_MS);
                self.callers.call(&self.caller);
            }
            Phase::Live | Phase::Over => {}
        }
    }
}

impl Caller {
    fn new(context: CallerContext, request_id: RequestId, phase: Phase) -> Rc<Self> {
        Rc::new(Self {
            context,
            request_id,
            phase: Cell::new(phase),
            waiting: RefCell::default(),
            waiting_bytes: Cell::new(0),
            calling: Cell::new(false),
            settled_ms: Cell::new(0),
            kept: Cell::new(None),
        })
    }

    /// Queues a chunk; `false` when too much waits.
    fn push(&self, chunk: &Chunk, backend_id: &str) -> bool {
        let frame = rpc::encode_chunk(&self.request_id, Some(chunk), PageInfo::NoMore, backend_id);
        self.waiting_bytes.set(self.waiting_bytes.get() + frame.len());
        self.waiting.borrow_mut().push_back(Update { first: chunk.first, frame: frame.into() });
        self.waiting_bytes.get() <= WAITING_BYTES_MAX
    }

    /// How far it is when the log ends at `head`.
    fn after(&self, head: SeqNum) -> Option<SeqNum> {
        if self.phase.get() == Phase::CatchingUp {
            return self.kept.get();
        }
        match self.waiting.borrow().front() {
            Some(update) => SeqNum::new(update.first.get() - 1).ok(),
            None => Some(head),
        }
    }
}

impl Publish for Callers {
    fn publish(&self, committed: &Committed) {
        let callers: Vec<_> = self.0.callers.borrow().values().cloned().collect();
        for caller in callers {
            if !matches!(caller.phase.get(), Phase::Reading | Phase::Live) {
                continue;
            }
            let mut room = true;
            for chunk in committed.batch.chunks(ItemFormat::Rpc) {
                room = caller.push(chunk, &committed.backend_id);
            }
            if !room {
                tracing::warn!("giving up a client object that takes its calls too slowly");
                self.give_up(&caller);
            } else if caller.phase.get() == Phase::Live {
                self.call(&caller);
            }
        }
    }
}

/// A caller whose calls broke off.
struct Resumed<'a> {
    callers: &'a Callers,
    caller: &'a Rc<Caller>,
}

impl PullSink for Resumed<'_> {
    async fn ready(&self) -> Result<(), PullError> {
        Ok(())
    }

    async fn send(&self, chunk: Option<&Chunk>, _remaining: u64, backend_id: &str) -> Result<(), PullError> {
        let room = chunk.is_none_or(|chunk| self.caller.push(chunk, backend_id));
        if room && self.caller.phase.get() != Phase::Over { Ok(()) } else { Err(PullError::Gone) }
    }

    fn caught_up(&self) {
        if self.caller.phase.get() == Phase::CatchingUp {
            self.caller.phase.set(Phase::Live);
            self.callers.call(self.caller);
        }
    }
}

/// As the engine wants it.
impl From<Callers> for Arc<dyn Publish> {
    fn from(callers: Callers) -> Self {
        #[allow(clippy::arc_with_non_send_sync, reason = "there is one thread")]
        Arc::new(callers)
    }
}

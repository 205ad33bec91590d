//! Clients that are Durable Objects themselves. Their live pulls end like others, and what is pushed
//! later is brought to them by calling them: one call after another, so that events keep their order,
//! each client on its own, so that none waits for another.
//!
//! A client has one live pull. Who it is outlives the object's memory; what waits to be brought does
//! not, but an object that has something to bring is not hibernated.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ::worker::js_sys::Promise;
use ::worker::wasm_bindgen::prelude::*;
use ::worker::wasm_bindgen_futures::JsFuture;
use ::worker::{Date, Env, State, wasm_bindgen};
use livestore_sync_protocol::rpc::{self, CallerContext};
use livestore_sync_protocol::{ItemFormat, PageInfo, RequestId};
use serde::{Deserialize, Serialize};

use super::panic;
use crate::Publish;
use crate::home::runtime::{sleep, spawn};
use crate::store::Committed;

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
}

struct Caller {
    context: CallerContext,
    /// The live pull, as the client calls it.
    request_id: RequestId,
    phase: Cell<Phase>,
    waiting: RefCell<VecDeque<String>>,
    waiting_bytes: Cell<usize>,
    calling: Cell<bool>,
    /// Not to be called before this time (ms since 1970).
    settled_ms: Cell<u64>,
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
}

impl Callers {
    /// The callers that are kept for this store.
    pub(super) async fn load(state: Rc<State>, env: Env, store_id: &str) -> ::worker::Result<Self> {
        let json: Option<String> = state.storage().get(CALLERS_KEY).await?;
        let kept: Vec<Kept> = json.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default();
        let caller = |kept: Kept| (kept.context.clone(), Caller::new(kept.context, kept.request_id, Phase::Live));
        let callers = RefCell::new(kept.into_iter().map(caller).collect());
        Ok(Self(Rc::new(Inner { state, env, store_id: store_id.into(), callers })))
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
        let json = {
            let callers = self.0.callers.borrow();
            let kept =
                |caller: &Rc<Caller>| Kept { context: caller.context.clone(), request_id: caller.request_id.clone() };
            serde_json::to_string(&callers.values().map(kept).collect::<Vec<_>>())?
        };
        self.0.state.storage().put(CALLERS_KEY, json.as_str()).await
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
        if let Err(error) = self.0.state.as_raw().wait_until(&calls) {
            tracing::error!(?error, "the platform does not wait for calls");
        }
    }

    /// Makes the calls that wait.
    async fn run(&self, caller: &Rc<Caller>) {
        let unsettled_ms = caller.settled_ms.get().saturating_sub(Date::now().as_millis());
        if unsettled_ms > 0 {
            sleep(Duration::from_millis(unsettled_ms)).await;
        }
        let mut retries = 0;
        loop {
            let Some(frame) = caller.waiting.borrow().front().cloned() else { break };
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
                    sleep(RETRY_AFTER * 2_u32.pow(retries)).await;
                    retries += 1;
                }
            }
        }
        caller.calling.set(false);
    }

    /// Forgets a caller, unless it has another pull by now.
    fn give_up(&self, caller: &Rc<Caller>) {
        caller.phase.set(Phase::Over);
        let mut callers = self.0.callers.borrow_mut();
        if callers.get(&caller.context).is_some_and(|current| Rc::ptr_eq(current, caller)) {
            callers.remove(&caller.context);
            let callers = self.clone();
            spawn(async move {
                if let Err(error) = callers.keep().await {
                    tracing::warn!(%error, "cannot forget a client object");
                }
            });
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
        })
    }

    fn push(&self, frame: String) -> bool {
        self.waiting_bytes.set(self.waiting_bytes.get() + frame.len());
        self.waiting.borrow_mut().push_back(frame);
        self.waiting_bytes.get() <= WAITING_BYTES_MAX
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
                let frame = rpc::encode_chunk(&caller.request_id, Some(chunk), PageInfo::NoMore, &committed.backend_id);
                room = caller.push(frame);
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

/// As the engine wants it.
impl From<Callers> for Arc<dyn Publish> {
    fn from(callers: Callers) -> Self {
        #[allow(clippy::arc_with_non_send_sync, reason = "there is one thread")]
        Arc::new(callers)
    }
}

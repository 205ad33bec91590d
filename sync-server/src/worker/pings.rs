//! Who answers the pings of 0.4 clients: the platform while the object has nothing to do, so that it may sleep; the
//! object while it works, because the platform loses frames then. Told by `object` of each event; knows no socket.
//!
//! workerd queues its own answers behind frames that are being sent. A frame that the object sends while the last two
//! of those answers go out is dropped, and the next one fails (`pendingAutoResponseDeque` in its `web-socket.c++`):
//! nothing can be sent on that socket any more, it cannot be closed either, and its client, whose pings are answered,
//! waits for ever. 0.4 clients ping twice when they connect, which is when they are sent most.
//!
//! Should it happen all the same, then what brings such a client back is a ping that nobody answers. So each client has
//! time to ping the object before pings are left to the platform, and more of it once a socket has turned out to be
//! broken, or was closed from here, which the platform may not have told the client.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use livestore_sync_protocol::rpc;
use worker::js_sys::{Function, Reflect};
use worker::wasm_bindgen::{JsCast, JsValue};
use worker::{State, WebSocketRequestResponsePair};

use super::platform::Isolate;
use crate::platform::Platform;

/// So long (ms) after the end of its last work an object leaves pings to the platform: 0.4 clients ping every 10 s. It
/// stays in memory for that.
const QUIET_MS: u64 = 12_000;

/// The same after a socket has ended on this side: a client gives its connection up at the second ping without an answer.
const ENDED_MS: u64 = 30_000;

pub(super) struct Pings {
    state: Rc<State>,
    /// Until when there is something to do, as far as is known.
    until_ms: Cell<u64>,
    /// How much work is under way. What takes long sends its frames late.
    under_way: Cell<usize>,
    by_platform: Cell<bool>,
}

/// Work that is under way, until it is dropped.
pub(super) struct Working(Rc<Pings>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.under_way.set(self.0.under_way.get() - 1);
        self.0.answer_until(Isolate.now_ms() + QUIET_MS);
    }
}

impl Pings {
    pub(super) fn new(state: Rc<State>) -> Rc<Self> {
        let pings = Self { state, until_ms: Cell::new(0), under_way: Cell::new(0), by_platform: Cell::new(false) };
        pings.leave_to_platform();
        Rc::new(pings)
    }

    /// The object has begun something that takes time.
    pub(super) fn work(self: &Rc<Self>) -> Working {
        self.under_way.set(self.under_way.get() + 1);
        self.handle_work(Isolate.now_ms());
        Working(Rc::clone(self))
    }

    /// Does such a thing.
    pub(super) async fn during<T>(self: &Rc<Self>, work: impl Future<Output = T>) -> T {
        let _working = self.work();
        work.await
    }

    /// The object does something, which is no ping.
    pub(super) fn handle_work(self: &Rc<Self>, now_ms: u64) {
        self.take_until(now_ms + QUIET_MS);
    }

    /// A socket has ended on this side.
    pub(super) fn handle_ended(self: &Rc<Self>, now_ms: u64) {
        self.take_until(now_ms + ENDED_MS);
    }

    fn answer_until(&self, until_ms: u64) {
        self.until_ms.set(self.until_ms.get().max(until_ms));
    }

    fn take_until(self: &Rc<Self>, until_ms: u64) {
        self.answer_until(until_ms);
        if !self.by_platform.get() || !self.take() {
            return;
        }
        let pings = Rc::clone(self);
        Isolate.spawn(async move {
            while let Some(left_ms) = pings.left_ms() {
                Isolate.sleep(Duration::from_millis(left_ms + 1)).await;
            }
            pings.leave_to_platform();
        });
    }

    /// How long it is until there is nothing to do, as far as is known.
    fn left_ms(&self) -> Option<u64> {
        if self.under_way.get() > 0 {
            return Some(QUIET_MS);
        }
        self.until_ms.get().checked_sub(Isolate.now_ms())
    }

    fn leave_to_platform(&self) {
        match WebSocketRequestResponsePair::new(rpc::PING, rpc::PONG) {
            Ok(pair) => {
                self.state.set_websocket_auto_response(&pair);
                self.by_platform.set(true);
            }
            // Pings then wake the object, which answers them.
            Err(error) => tracing::warn!(?error, "the platform does not answer pings"),
        }
    }

    /// Without a pair the platform answers nothing, which the `worker` crate cannot say.
    fn take(&self) -> bool {
        let raw: &JsValue = self.state.as_raw().as_ref();
        let method = Reflect::get(raw, &JsValue::from("setWebSocketAutoResponse"));
        let method = method.ok().and_then(|method| method.dyn_into::<Function>().ok());
        let taken = method.is_some_and(|method| method.call0(raw).is_ok());
        self.by_platform.set(!taken);
        taken
    }
}

//! Tasks, timers and the clock of an isolate.

use std::time::Duration;

use worker::js_sys::{Date, Function, Promise};
use worker::wasm_bindgen;
use worker::wasm_bindgen::prelude::*;
use worker::wasm_bindgen_futures::{JsFuture, spawn_local};

use crate::platform::Platform;

#[derive(Clone, Copy, Debug)]
pub(super) struct Isolate;

impl Platform for Isolate {
    /// The platform does not know of the task: the call that started it has to wait for it where the object must
    /// stay in memory, and to be guarded where the task must not be lost to a panic (see `panic`).
    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        spawn_local(task);
    }

    async fn sleep(&self, duration: Duration) {
        let mut timer = None;
        let rings = Promise::new(&mut |ring, _| {
            timer = Some(Timer(set_timeout(&ring, duration.as_secs_f64() * 1_000.0)));
        });
        // It never fails.
        let _ = JsFuture::from(rings).await;
        drop(timer);
    }

    fn now_ms(&self) -> u64 {
        Date::now() as u64
    }
}

// `worker::Delay` takes the timer's id for a number, which it is not with the flag `nodejs_compat`.
#[wasm_bindgen(wasm_bindgen = wasm_bindgen)]
extern "C" {
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &Function, ms: f64) -> JsValue;

    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_timeout(timer: &JsValue);
}

struct Timer(JsValue);

impl Drop for Timer {
    fn drop(&mut self) {
        // An object with a timer is not hibernated.
        clear_timeout(&self.0);
    }
}

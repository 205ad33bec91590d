//! Tasks and timers of the platform.

use std::time::Duration;

#[cfg(not(target_family = "wasm"))]
mod platform {
    use std::time::Duration;

    pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(task);
    }

    pub(crate) async fn sleep(duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

#[cfg(target_family = "wasm")]
mod platform {
    use std::time::Duration;

    use worker::js_sys::{Function, Promise};
    use worker::wasm_bindgen;
    use worker::wasm_bindgen::prelude::*;
    use worker::wasm_bindgen_futures::JsFuture;

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

    pub(crate) fn spawn(task: impl Future<Output = ()> + 'static) {
        worker::wasm_bindgen_futures::spawn_local(task);
    }

    pub(crate) async fn sleep(duration: Duration) {
        let mut timer = None;
        let rings = Promise::new(&mut |ring, _| {
            timer = Some(Timer(set_timeout(&ring, duration.as_secs_f64() * 1_000.0)));
        });
        // It never fails.
        let _ = JsFuture::from(rings).await;
        drop(timer);
    }
}

pub(crate) use self::platform::{sleep, spawn};

/// Runs a future for so long; `None` when it took longer.
pub(crate) async fn timeout<T>(duration: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        value = future => Some(value),
        () = sleep(duration) => None,
    }
}

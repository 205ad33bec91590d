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

    pub(crate) fn spawn(task: impl Future<Output = ()> + 'static) {
        worker::wasm_bindgen_futures::spawn_local(task);
    }

    pub(crate) async fn sleep(duration: Duration) {
        worker::Delay::from(duration).await;
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

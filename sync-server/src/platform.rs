//! The ground floor: what the engine needs of the machine that it runs on, and nothing of the engine.
//!
//! A platform starts tasks, sleeps and knows the time ([`Platform`]). The native server, the Worker and the
//! simulation each bring one as a value, so that the same code runs on tokio, inside an isolate and under a
//! seeded scheduler. This folder and `worker/` are the only places where code depends on the target.

#[cfg(all(feature = "worker", target_family = "wasm"))]
pub(crate) mod js_text;
mod maybe_send;
#[cfg(test)]
pub(crate) mod paused;
mod random;
#[cfg(feature = "jwt")]
pub(crate) mod signatures;
mod time;

use std::time::Duration;

pub use self::maybe_send::{BoxFuture, MaybeSend, MaybeSync};
pub(crate) use self::random::connection_id;
pub use self::random::new_backend_id;
pub use self::time::iso_timestamp;

/// Tasks, timers and the clock.
pub(crate) trait Platform: Clone + MaybeSend + MaybeSync + 'static {
    /// Runs a task beside its caller. Nothing waits for it.
    fn spawn(&self, task: impl Future<Output = ()> + MaybeSend + 'static);

    /// Ends after this time, at the earliest.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + MaybeSend;

    /// Milliseconds since 1970 in UTC.
    fn now_ms(&self) -> u64;

    /// The output of a future that ends in time; `None` when it takes longer.
    fn timeout<T: MaybeSend>(
        &self,
        duration: Duration,
        future: impl Future<Output = T> + MaybeSend,
    ) -> impl Future<Output = Option<T>> + MaybeSend {
        async move {
            tokio::select! {
                biased;
                output = future => Some(output),
                () = self.sleep(duration) => None,
            }
        }
    }
}

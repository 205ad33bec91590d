//! Failures of our own that are no database's: a part that panics, or an app's hook that takes too long. The one
//! place that catches panics; hosts, stores and platforms run what may fail through it. It decides nothing: what a
//! failure becomes for a client is said in `error` and `host`.
//!
//! Where panics cannot be caught (wasm), nothing here changes anything; see `worker/panic` for what happens there.

use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::FutureExt;

/// Why the server could not do its part. It may work the next time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// A part panicked, most likely a hook.
    #[error("the server failed on this request")]
    Panicked,
    /// A hook took longer than [`Limits::hook_timeout`](crate::Limits::hook_timeout).
    #[error("the app did not answer in time")]
    TimedOut,
    /// The app cannot say now, see [`HookError::unavailable`](crate::HookError::unavailable).
    #[error("the server cannot tell now who may connect")]
    Unavailable,
}

/// Runs a part whose panic is to end nothing else.
pub(crate) async fn guarded<T>(part: impl Future<Output = T>) -> Result<T, Failure> {
    match AssertUnwindSafe(part).catch_unwind().await {
        Ok(output) => Ok(output),
        Err(_) => Err(panicked()),
    }
}

/// As [`guarded`], for a part that does not wait.
pub(crate) fn guarded_now<T>(part: impl FnOnce() -> T) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(part)).map_err(|_| panicked())
}

fn panicked() -> Failure {
    note(|| tracing::error!("a part of the server panicked"));
    Failure::Panicked
}

/// Logs where nothing may go wrong: an app's subscriber may panic, too.
pub(crate) fn note(log: impl FnOnce()) {
    // What cannot be logged is not worth more.
    let _ = catch_unwind(AssertUnwindSafe(log));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_its_own_part_only() {
        assert_eq!(guarded(async { 1 }).await, Ok(1));
        assert_eq!(guarded(async { panic!("a bug") }).await.map(|()| 1), Err(Failure::Panicked));
        assert_eq!(guarded_now(|| 1), Ok(1));
        assert_eq!(guarded_now(|| panic!("a bug")).map(|()| 1), Err(Failure::Panicked));
        note(|| panic!("a bug in a logger"));
    }
}

//! A platform for tests: tokio's tasks and timers, whose clock a test may hold (`start_paused`).

use std::time::Duration;

use super::Platform;

#[derive(Clone)]
pub(crate) struct Paused;

impl Platform for Paused {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(task);
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    /// What is there to tell is told by the timers.
    fn now_ms(&self) -> u64 {
        1_000_000
    }
}

//! Tasks, timers and the clock of tokio and the operating system.

use std::time::Duration;

use crate::platform::Platform;

#[derive(Clone, Copy, Debug)]
pub(super) struct Tokio;

impl Platform for Tokio {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(task);
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    #[expect(clippy::disallowed_methods, reason = "the one place where the native server asks for the time")]
    fn now_ms(&self) -> u64 {
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since_1970.map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }
}

//! A platform without a machine: tasks run when the executor says so, and time passes when the world says so.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::executor::{Owner, Spawner};
use crate::platform::Platform;

/// Time, and those who wait for it.
#[derive(Clone, Default)]
pub(crate) struct Clock(Arc<Mutex<Times>>);

#[derive(Default)]
struct Times {
    now_ms: u64,
    next: u64,
    /// By when they ring, and in which order they were set.
    timers: BTreeMap<(u64, u64), Option<Waker>>,
}

impl Clock {
    fn times(&self) -> MutexGuard<'_, Times> {
        self.0.lock().expect("one thread")
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.times().now_ms
    }

    /// When the next timer rings, if there is one.
    pub(crate) fn next_timer_ms(&self) -> Option<u64> {
        self.times().timers.keys().next().map(|(ms, _)| *ms)
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, ms: u64) {
        let mut times = self.times();
        times.now_ms += ms;
        let now_ms = times.now_ms;
        times.timers.range_mut(..=(now_ms, u64::MAX)).filter_map(|(_, waker)| waker.take()).for_each(Waker::wake);
    }
}

#[derive(Clone)]
pub(crate) struct Simulated {
    pub(crate) owner: Owner,
    pub(crate) spawner: Spawner,
    pub(crate) clock: Clock,
}

impl Platform for Simulated {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.spawner.spawn(self.owner, task);
    }

    async fn sleep(&self, duration: Duration) {
        let key = {
            let mut times = self.clock.times();
            let key = (times.now_ms + duration.as_millis() as u64, times.next);
            times.next += 1;
            times.timers.insert(key, None);
            key
        };
        Timer { clock: self.clock.clone(), key }.await;
    }

    fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }
}

struct Timer {
    clock: Clock,
    key: (u64, u64),
}

impl Future for Timer {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut times = self.clock.times();
        if self.key.0 <= times.now_ms {
            return Poll::Ready(());
        }
        times.timers.insert(self.key, Some(context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.clock.times().timers.remove(&self.key);
    }
}

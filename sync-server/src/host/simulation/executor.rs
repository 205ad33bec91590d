//! One thread, and a seed that says which task runs next. Only tasks that were woken run, so that a
//! lost wake-up shows as a task that never ends.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

use super::rng::Rng;

pub(crate) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Which server's task it is: a crash drops all of them.
pub(crate) type Owner = usize;

struct Running {
    owner: Owner,
    task: Task,
    woken: Arc<Woken>,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Starts tasks, also from within tasks.
#[derive(Clone, Default)]
pub(crate) struct Spawner(Arc<Mutex<Vec<(Owner, Task)>>>);

impl Spawner {
    pub(crate) fn spawn(&self, owner: Owner, task: impl Future<Output = ()> + Send + 'static) {
        self.0.lock().expect("one thread").push((owner, Box::pin(task)));
    }
}

pub(crate) struct Executor {
    spawner: Spawner,
    running: Vec<Running>,
    rng: Rng,
}

impl Executor {
    pub(crate) fn new(rng: Rng) -> Self {
        Self { spawner: Spawner::default(), running: Vec::new(), rng }
    }

    pub(crate) fn spawner(&self) -> &Spawner {
        &self.spawner
    }

    fn start(&mut self) {
        let spawned = std::mem::take(&mut *self.spawner.0.lock().expect("one thread"));
        self.running.extend(spawned.into_iter().map(|(owner, task)| Running {
            owner,
            task,
            woken: Arc::new(Woken(AtomicBool::new(true))),
        }));
    }

    /// Polls one of the tasks that are woken; `false` when there is none.
    pub(crate) fn step(&mut self) -> bool {
        self.start();
        let woken = |running: &Running| running.woken.0.load(Ordering::Relaxed);
        let ready: Vec<_> = (0..self.running.len()).filter(|index| woken(&self.running[*index])).collect();
        if ready.is_empty() {
            return false;
        }
        let index = self.rng.pick(&ready);
        let Running { task, woken, .. } = &mut self.running[index];
        woken.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(woken));
        if task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            drop(self.running.swap_remove(index));
        }
        true
    }

    /// Drops the tasks of a server wherever they are.
    pub(crate) fn cancel(&mut self, owner: Owner) {
        self.start();
        self.running.retain(|running| running.owner != owner);
    }
}

//! Steps of a test run: how long each takes, and an end to all once one has failed. Called by `tiers`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::run::Result;

/// What has been done so far; steps of several threads go into one list.
pub(crate) struct Steps {
    started: Instant,
    failed: AtomicBool,
    done: Mutex<Vec<Done>>,
}

struct Done {
    name: String,
    /// After the start of all.
    at: Duration,
    took: Duration,
}

impl Steps {
    #[expect(clippy::disallowed_methods, reason = "this runs on the host only")]
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), failed: AtomicBool::new(false), done: Mutex::default() }
    }

    /// Does one, unless one has failed already.
    ///
    /// # Errors
    ///
    /// What the step fails with, with its name.
    pub(crate) fn step(&self, name: &str, run: impl FnOnce() -> Result) -> Result {
        if self.failed.load(Ordering::Relaxed) {
            return Err(format!("{name}: not done, since another step has failed"));
        }
        let at = self.started.elapsed();
        let result = run();
        let took = self.started.elapsed().saturating_sub(at);
        self.done.lock().unwrap_or_else(PoisonError::into_inner).push(Done { name: name.into(), at, took });
        if result.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        result.map_err(|error| format!("{name}: {error}"))
    }

    /// Every step in the order of their starts, and all of it.
    pub(crate) fn report(&self) -> String {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|step| step.at);
        let mut report = String::from("   from      took\n");
        for Done { name, at, took } in done.iter() {
            report += &format!("{}  {:>6.1} s  {name}\n", minutes(*at), took.as_secs_f64());
        }
        report + &format!("{}            in all", minutes(self.started.elapsed()))
    }
}

fn minutes(time: Duration) -> String {
    format!("{:>4}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}

#[cfg(test)]
mod tests {
    use super::Steps;

    #[test]
    fn after_a_failure_nothing_more_is_done() {
        let steps = Steps::new();
        assert_eq!(steps.step("first", || Ok(())), Ok(()));
        assert_eq!(steps.step("second", || Err("why".into())), Err("second: why".into()));
        let third = steps.step("third", || panic!("it may not run"));
        assert!(third.unwrap_err().contains("not done"));
        let report = steps.report();
        let names: Vec<_> = report.lines().filter_map(|line| line.split("s  ").nth(1)).collect();
        assert_eq!(names, ["first", "second"]);
    }
}

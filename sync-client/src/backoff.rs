//! How long to wait before something that failed is tried again. Pure: randomness is a seed, and waiting is the
//! caller's.
//!
//! Called by the connection (to open it again), by the offline store (to pull and push again) and by
//! [`crate::SyncClient::append`] (when a server contradicts itself).

use std::time::Duration;

use crate::random::Random;

/// A random wait below a limit that doubles with each failure ("full jitter"). The clients of a server that comes
/// back after an outage would otherwise all come in the same moment, and again in the same moments after that.
#[derive(Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
    random: Random,
}

impl Backoff {
    /// `min` is the limit after the first failure, `max` the limit after many. `seed` is a random number.
    pub(crate) fn new(min: Duration, max: Duration, seed: u64) -> Self {
        Self { min, max, failures: 0, random: Random::new(seed) }
    }

    /// Something worked: the next wait is a short one again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait after another failure.
    pub(crate) fn next(&mut self) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        let limit = self.min.saturating_mul(factor).min(self.max);
        limit.mul_f64(self.random.fraction())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(500);
    const MAX: Duration = Duration::from_secs(30);

    #[test]
    fn limits_double_up_to_the_maximum() {
        let mut longest = [Duration::ZERO; 40];
        for seed in 0..2_000 {
            let mut backoff = Backoff::new(MIN, MAX, seed);
            for slot in &mut longest {
                *slot = backoff.next().max(*slot);
            }
        }
        for (failures, longest) in longest.iter().enumerate() {
            let limit = MIN.saturating_mul(1 << failures.min(10)).min(MAX);
            assert!(*longest <= limit && *longest > limit.mul_f64(0.98), "{failures}: {longest:?} of {limit:?}");
        }
    }

    #[test]
    fn clients_differ() {
        let waits = |seed| {
            let mut backoff = Backoff::new(MIN, MAX, seed);
            [backoff.next(), backoff.next(), backoff.next()]
        };
        assert_ne!(waits(1), waits(2));
    }

    #[test]
    fn a_server_that_works_is_tried_soon_again() {
        let mut backoff = Backoff::new(MIN, MAX, 7);
        for _ in 0..20 {
            backoff.next();
        }
        backoff.reset();
        assert!(backoff.next() <= MIN);
    }
}

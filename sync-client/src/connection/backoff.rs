use std::time::Duration;

/// How long to wait before the next attempt: a random time up to a limit that doubles with each failure, so that
/// the clients of a server that comes back do not come all at once ("full jitter").
#[derive(Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
    random: u64,
}

impl Backoff {
    /// `seed` is a random number.
    pub(super) fn new(min: Duration, max: Duration, seed: u64) -> Self {
        Self { min, max, failures: 0, random: seed }
    }

    /// The server works.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait after another failure.
    pub(super) fn next(&mut self) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        let limit = self.min.saturating_mul(factor).min(self.max);
        limit.mul_f64(self.fraction())
    }

    /// Between 0 and 1 (SplitMix64).
    fn fraction(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        (z >> 11) as f64 / (1_u64 << 53) as f64
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
    fn a_server_that_works_is_tried_soon_again() {
        let mut backoff = Backoff::new(MIN, MAX, 7);
        for _ in 0..20 {
            backoff.next();
        }
        backoff.reset();
        assert!(backoff.next() <= MIN);
    }
}

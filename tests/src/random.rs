//! Random numbers from a seed that a failed run prints. Called by the tests and by `server`, for ids.

use std::hash::{BuildHasher, Hasher, RandomState};

/// A small generator (splitmix64) whose run can be repeated from its seed.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// A generator that always gives the same numbers.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// A seed from `LIVESTORE_SYNC_SEED`, else a new one.
    #[must_use]
    pub fn seed() -> u64 {
        match std::env::var("LIVESTORE_SYNC_SEED") {
            Ok(seed) => seed.parse().expect("LIVESTORE_SYNC_SEED is a number"),
            Err(_) => RandomState::new().build_hasher().finish(),
        }
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `low..high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next_u64() % (high - low)
    }
}

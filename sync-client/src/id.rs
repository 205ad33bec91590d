//! Random ids of clients and sessions.

use livestore_sync_protocol::nanoid;

/// An id as LiveStore makes them for clients and sessions.
///
/// # Panics
///
/// When the platform has no randomness, without which nothing on it is safe.
pub(crate) fn new_id() -> String {
    let mut random = [0; nanoid::RANDOM_BYTES];
    getrandom::fill(&mut random).expect("the platform has randomness");
    nanoid::from_random(random)
}

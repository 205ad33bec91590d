//! Names for new logs. Called when an event log is first written to; the id itself is `sync-protocol`'s, the randomness
//! is taken here.

use livestore_sync_protocol::nanoid;

/// A new log's identity: 21 characters of nanoid's alphabet, as the reference makes them.
///
/// # Panics
///
/// When the platform has no randomness, without which nothing on it is safe.
#[must_use]
pub fn new_backend_id() -> String {
    let mut random = [0; nanoid::RANDOM_BYTES];
    getrandom::fill(&mut random).expect("the platform has randomness");
    nanoid::from_random(random)
}

#[cfg(test)]
mod tests {
    use super::new_backend_id;

    #[test]
    fn ids_look_like_nanoids_and_differ() {
        let id = new_backend_id();
        assert_eq!(id.len(), 21);
        assert!(id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-'), "{id}");
        assert_ne!(id, new_backend_id());
    }
}

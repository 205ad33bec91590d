//! Ids from the platform's randomness.

use uuid::Uuid;

/// A new log's identity: 21 characters of nanoid's alphabet, as the reference makes them.
///
/// # Panics
///
/// When the platform has no randomness, without which nothing on it is safe.
#[must_use]
pub fn new_backend_id() -> String {
    const ALPHABET: &[u8; 64] = b"useandom-26T198340PX75pxJACKVERYMINDBUSHWOLF_GQZbfghjklqvwyzrict";
    random::<21>().iter().map(|byte| char::from(ALPHABET[usize::from(byte % 64)])).collect()
}

/// A new connection's id: a UUIDv7.
pub(crate) fn connection_id(now_ms: u64) -> Uuid {
    uuid::Builder::from_unix_timestamp_millis(now_ms, &random()).into_uuid()
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the platform has randomness");
    bytes
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

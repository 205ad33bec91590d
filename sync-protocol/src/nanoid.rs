//! Ids in the shape that LiveStore gives to backends, clients and sessions (`nanoid` of npm, 21 characters).
//!
//! Called by the server for the ids of logs, and by the client for clients and sessions. Where the randomness comes
//! from is the caller's business: this crate has none.

/// Random bytes that one id is made from.
pub const RANDOM_BYTES: usize = 21;

/// nanoid's URL-safe alphabet, in its order. 64 characters, so that each byte gives every one with the same chance.
const ALPHABET: &[u8; 64] = b"useandom-26T198340PX75pxJACKVERYMINDBUSHWOLF_GQZbfghjklqvwyzrict";

/// The id that these bytes make, a character for each. It is as hard to guess as they are.
///
/// ```
/// use livestore_sync_protocol::nanoid;
///
/// assert_eq!(nanoid::from_random([0; nanoid::RANDOM_BYTES]), "uuuuuuuuuuuuuuuuuuuuu");
/// ```
#[must_use]
pub fn from_random(random: [u8; RANDOM_BYTES]) -> String {
    random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 64)])).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_byte_gives_a_character_of_the_alphabet() {
        let characters: BTreeSet<char> =
            (0..=u8::MAX).map(|byte| from_random([byte; RANDOM_BYTES]).chars().next().unwrap()).collect();
        assert_eq!(characters.len(), 64);
        assert!(characters.iter().all(|c| c.is_ascii_alphanumeric() || *c == '_' || *c == '-'));
        assert_eq!(from_random([255; RANDOM_BYTES]).len(), 21);
    }
}

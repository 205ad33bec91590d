//! One hash function, for names of tables, for telling connections apart, and for ids that are derived.

use livestore_sync_protocol::nanoid;

/// FNV-1a, 64 bits: the same on every platform and in every version, and not collision-free.
pub(crate) fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The identity of a store of which nothing is kept yet: the same whenever it is asked for, and another one in each
/// database, as far as their secrets differ. It looks like those that are made at random.
pub(crate) fn backend_id(secret: &str, store_id: &str) -> String {
    let part = |n: u8| fnv1a(&format!("{n} {secret} {store_id}")).to_be_bytes();
    let bytes: Vec<u8> = (0..3).flat_map(part).collect();
    nanoid::from_random(std::array::from_fn(|n| bytes[n]))
}

#[cfg(test)]
mod tests {
    use super::{backend_id, fnv1a};

    #[test]
    fn is_the_published_function() {
        assert_eq!(fnv1a(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a("a"), 0xaf63_dc4c_8601_ec8c);
    }
    #[test]
    fn an_id_depends_on_the_secret_and_on_the_store() {
        let id = backend_id("secret", "store");
        assert_eq!((id.len(), &id), (21, &backend_id("secret", "store")));
        for (secret, store_id) in [("secret", "store2"), ("secret2", "store"), ("store", "secret")] {
            let other = backend_id(secret, store_id);
            let same = id.bytes().zip(other.bytes()).filter(|(left, right)| left == right).count();
            assert!(same < 8, "{id} {other}");
        }
    }
}

//! Signatures by public keys, checked by RustCrypto's crates natively and by the runtime's Web Crypto on Workers: in
//! wasm those crates would be a seventh of what is deployed, and slower. Which keys may sign, and what is signed, is
//! decided in `auth`.

#[cfg(not(target_family = "wasm"))]
mod rust_crypto;
#[cfg(all(feature = "worker", target_family = "wasm"))]
mod web_crypto;

#[cfg(not(target_family = "wasm"))]
pub(crate) use self::rust_crypto::PublicKey;
#[cfg(all(feature = "worker", target_family = "wasm"))]
pub(crate) use self::web_crypto::PublicKey;

/// A public key as a key set has it, in bytes.
pub(crate) enum Material<'a> {
    Rsa { n: &'a [u8], e: &'a [u8] },
    P256 { x: &'a [u8; 32], y: &'a [u8; 32] },
    Ed25519 { x: &'a [u8; 32] },
}

/// Where nothing checks signatures there are no keys.
#[cfg(all(not(feature = "worker"), target_family = "wasm"))]
pub(crate) enum PublicKey {}

#[cfg(all(not(feature = "worker"), target_family = "wasm"))]
impl PublicKey {
    pub(crate) fn new(_: &Material<'_>) -> Option<Self> {
        None
    }

    pub(crate) async fn verifies(&self, _: &[u8], _: &[u8]) -> bool {
        match *self {}
    }
}

//! Public keys by RustCrypto's crates.

use rsa::signature::Verifier;
use sha2::Sha256;

use super::Material;

pub(crate) enum PublicKey {
    Rsa(Box<rsa::pkcs1v15::VerifyingKey<Sha256>>),
    P256(Box<p256::ecdsa::VerifyingKey>),
    Ed25519(Box<ed25519_dalek::VerifyingKey>),
}

impl PublicKey {
    /// `None` for what is no key.
    pub(crate) fn new(material: &Material<'_>) -> Option<Self> {
        let number = |bytes: &[u8]| rsa::BoxedUint::from_be_slice_vartime(bytes);
        Some(match material {
            Material::Rsa { n, e } => {
                let key = rsa::PublicKey::new(number(n), number(e)).ok()?;
                Self::Rsa(Box::new(rsa::pkcs1v15::VerifyingKey::new(key)))
            }
            Material::P256 { x, y } => {
                let point = [&[4], x.as_slice(), y.as_slice()].concat();
                Self::P256(Box::new(p256::ecdsa::VerifyingKey::from_sec1_bytes(&point).ok()?))
            }
            Material::Ed25519 { x } => Self::Ed25519(Box::new(ed25519_dalek::VerifyingKey::from_bytes(x).ok()?)),
        })
    }

    /// Whether its owner has signed this: RS256, ES256 or EdDSA.
    pub(crate) async fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Rsa(key) => rsa::pkcs1v15::Signature::try_from(signature)
                .is_ok_and(|signature| key.verify(signed, &signature).is_ok()),
            Self::P256(key) => p256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(signed, &signature).is_ok()),
            Self::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(signed, &signature).is_ok()),
        }
    }
}

//! What tokens are signed with: secrets (HS256) and public keys (RS256, ES256, EdDSA) of a JSON Web Key Set
//! (RFC 7517). Each key is for the one algorithm of its kind, so that no token can have a public key taken for a
//! secret. Public keys are checked by the platform.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::Sha256;

use super::{AuthConfigError, TokenClaims};
use crate::platform::signatures::{Material, PublicKey};

/// Bytes of a secret, at least: as many as HS256 makes of it (RFC 7518, 3.2).
pub(super) const SECRET_BYTES_MIN: usize = 32;

/// Bits of an RSA key, at least (RFC 7518, 3.3) ...
const RSA_BITS_MIN: usize = 2_048;
/// ... and at most: checking takes longer the larger it is.
const RSA_BITS_MAX: usize = 4_096;

/// Keys of one set.
pub(super) const KEYS_MAX: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Hs256,
    Rs256,
    Es256,
    EdDsa,
}

impl Algorithm {
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Hs256, Self::Rs256, Self::Es256, Self::EdDsa].into_iter().find(|algorithm| algorithm.name() == name)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// A secret that tokens are signed and checked with (HS256), with the `kid` that they name it by.
#[derive(Clone, PartialEq, Eq)]
pub struct JwtSecret {
    kid: Option<String>,
    secret: String,
}

impl fmt::Debug for JwtSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtSecret").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl JwtSecret {
    /// A secret with a `kid`, or the first of several, as the setting `LIVESTORE_SYNC_AUTH_SECRETS` has them:
    /// `kid:secret,kid:secret`, or a secret without `kid`.
    ///
    /// # Errors
    ///
    /// [`AuthConfigError::Secret`] for one of fewer than 32 bytes.
    pub fn parse(secrets: &str) -> Result<Self, AuthConfigError> {
        Self::parse_all(secrets)?.into_iter().next().ok_or(AuthConfigError::NoKeys)
    }

    pub(super) fn parse_all(secrets: &str) -> Result<Vec<Self>, AuthConfigError> {
        let secrets = secrets.split(',').map(str::trim).filter(|secret| !secret.is_empty());
        let one = |text: &str| {
            let (kid, secret) =
                text.split_once(':').map_or((None, text), |(kid, secret)| (Some(kid.to_owned()), secret));
            if secret.len() < SECRET_BYTES_MIN {
                return Err(AuthConfigError::Secret);
            }
            Ok(Self { kid, secret: secret.to_owned() })
        };
        secrets.map(one).collect()
    }

    pub(super) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    fn mac(&self, signed: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()).expect("keys of every length are taken");
        mac.update(signed);
        mac
    }
}

/// Makes a token, signed with HS256.
#[must_use]
pub fn create_token(secret: &JwtSecret, claims: &TokenClaims) -> String {
    let kid = secret.kid.as_ref().map(|kid| format!(r#","kid":{}"#, serde_json::Value::from(kid.as_str())));
    let header = format!(r#"{{"alg":"HS256","typ":"JWT"{}}}"#, kid.unwrap_or_default());
    let claims = serde_json::to_vec(claims).expect("text and numbers have a JSON form");
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = secret.mac(signed.as_bytes()).finalize().into_bytes();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

pub(super) enum Key {
    Secret(JwtSecret),
    Public(Algorithm, PublicKey),
}

impl Key {
    pub(super) fn algorithm(&self) -> Algorithm {
        match self {
            Self::Secret(_) => Algorithm::Hs256,
            Self::Public(algorithm, _) => *algorithm,
        }
    }

    pub(super) async fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        match self {
            // Compares in constant time.
            Self::Secret(secret) => secret.mac(signed).verify_slice(signature).is_ok(),
            Self::Public(_, key) => key.verifies(signed, signature).await,
        }
    }
}

/// Keys, by their `kid`.
#[derive(Default)]
pub(super) struct KeySet(Vec<(Option<String>, Key)>);

#[derive(Deserialize)]
struct Jwks<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default, rename = "use")]
    usage: Option<String>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
    #[serde(default)]
    x: Option<String>,
    #[serde(default)]
    y: Option<String>,
}

impl KeySet {
    pub(super) fn of_secrets(secrets: Vec<JwtSecret>) -> Self {
        Self(secrets.into_iter().map(|secret| (secret.kid.clone(), Key::Secret(secret))).collect())
    }

    /// The keys of a set that are of a known kind and for signatures. A secret in one is passed over: what anybody may
    /// fetch is none.
    pub(super) fn of_jwks(json: &str) -> Result<Self, String> {
        let set: Jwks<'_> = serde_json::from_str(json).map_err(|error| error.to_string())?;
        let keys = set.keys.into_iter().filter_map(|key| serde_json::from_str::<Jwk>(key.get()).ok());
        let keys: Vec<_> = keys.filter_map(|key| Some((key.kid.clone(), key.read()?))).take(KEYS_MAX).collect();
        if keys.is_empty() { Err("there is no key for RS256, ES256 or EdDSA in it".to_owned()) } else { Ok(Self(keys)) }
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys that a token may mean: those of its `kid`; without one, all.
    pub(super) fn of(&self, kid: Option<&str>) -> impl Iterator<Item = &Key> {
        let matches = move |known: Option<&str>| kid.is_none() || known == kid;
        self.0.iter().filter(move |(known, _)| matches(known.as_deref())).map(|(_, key)| key)
    }
}

impl Jwk {
    fn read(&self) -> Option<Key> {
        if self.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return None;
        }
        let bytes = |member: &Option<String>| URL_SAFE_NO_PAD.decode(member.as_deref()?).ok();
        let coordinate = |member| <[u8; 32]>::try_from(bytes(member)?).ok();
        let (algorithm, key) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = (bytes(&self.n)?, bytes(&self.e)?);
                if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits(&n)) {
                    return None;
                }
                (Algorithm::Rs256, PublicKey::new(&Material::Rsa { n: &n, e: &e }))
            }
            ("EC", Some("P-256")) => {
                let (x, y) = (coordinate(&self.x)?, coordinate(&self.y)?);
                (Algorithm::Es256, PublicKey::new(&Material::P256 { x: &x, y: &y }))
            }
            ("OKP", Some("Ed25519")) => {
                let x = coordinate(&self.x)?;
                (Algorithm::EdDsa, PublicKey::new(&Material::Ed25519 { x: &x }))
            }
            _ => return None,
        };
        let key = Key::Public(algorithm, key?);
        let named = self.alg.as_deref().is_none_or(|alg| alg == key.algorithm().name());
        named.then_some(key)
    }
}

/// Of a number, its highest byte first.
fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let leading = number.get(zeros).map_or(0, |byte| byte.leading_zeros() as usize);
    8 * (number.len() - zeros) - leading
}

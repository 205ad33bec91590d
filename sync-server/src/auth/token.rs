//! A token as it comes (JWS compact serialisation, RFC 7515): its parts, and whether one of our keys has signed it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::TokenError;
use super::claims::Claims;
use super::keys::{Algorithm, KeySet};

/// Keys that are tried for a token that names none.
const CANDIDATES_MAX: usize = 8;

/// Bytes of a token.
pub const TOKEN_BYTES_MAX: usize = 8_192;

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    /// Extensions that must be understood; none is.
    #[serde(default)]
    crit: Option<serde::de::IgnoredAny>,
}

/// A token whose parts are there. Nothing of it is to be believed.
pub(super) struct Token<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    signed: &'a str,
    claims: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> Token<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, TokenError> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLarge(text.len()));
        }
        let malformed = |what: &str| TokenError::Malformed(what.to_owned());
        let parts =
            text.rsplit_once('.').and_then(|(signed, signature)| Some((signed, signed.split_once('.')?, signature)));
        let Some((signed, (header, claims), signature)) = parts.filter(|(_, (_, claims), _)| !claims.contains('.'))
        else {
            return Err(malformed("it has no three parts"));
        };
        let bytes = |part: &str, what| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed(what));
        let header = bytes(header, "its header is not base64url")?;
        let header: Header =
            serde_json::from_slice(&header).map_err(|_| malformed("its header is no JSON with alg"))?;
        if header.crit.is_some() {
            return Err(malformed("its header has crit, of which nothing is understood"));
        }
        Ok(Self {
            algorithm: Algorithm::named(&header.alg).ok_or_else(|| {
                TokenError::Algorithm(header.alg.chars().filter(|c| c.is_ascii_graphic()).take(20).collect())
            })?,
            kid: header.kid,
            signed,
            claims: bytes(claims, "its claims are not base64url")?,
            signature: bytes(signature, "its signature is not base64url")?,
        })
    }

    /// The claims, if one of these keys has signed them. A key is for one algorithm, whatever a token says.
    pub(super) async fn verify(&self, keys: &KeySet) -> Result<Claims, TokenError> {
        let mut candidates = keys.of(self.kid.as_deref()).peekable();
        if candidates.peek().is_none() {
            return Err(super::unknown_key(self.kid.as_deref()));
        }
        let mut refused = TokenError::Algorithm(self.algorithm.name().to_owned());
        let mut verified = false;
        for key in candidates.filter(|key| key.algorithm() == self.algorithm).take(CANDIDATES_MAX) {
            refused = TokenError::Signature;
            verified |= key.verifies(self.signed.as_bytes(), &self.signature).await;
        }
        if !verified {
            return Err(refused);
        }
        serde_json::from_slice(&self.claims).map_err(|error| TokenError::Malformed(format!("its claims: {error}")))
    }
}

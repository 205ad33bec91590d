//! What a token says, and whether that is enough. Pure; the time is an argument.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::{JwtSettings, TokenError};
use crate::hooks::{Access, Identity};
use crate::platform::iso_timestamp;

/// The claims of a token that is to be made. Times are in seconds since 1970, as in all tokens.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct TokenClaims {
    /// The user.
    pub sub: String,
    /// When it ends.
    pub exp: u64,
    /// From when on it counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    /// Who has made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// Whom it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
    /// The stores: ids, or patterns that end in `*`.
    pub stores: Vec<String>,
    /// What the user may do there.
    pub access: Access,
    /// Whatever the app's hooks want to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
}

impl TokenClaims {
    /// Of this user until then (seconds since 1970), for no store yet.
    #[must_use]
    pub fn new(sub: impl Into<String>, exp: u64) -> Self {
        let stores = Vec::new();
        Self { sub: sub.into(), exp, nbf: None, iss: None, aud: None, stores, access: Access::Write, data: None }
    }

    /// For this store, or those that begin like this (`team-*`), beside others.
    #[must_use]
    pub fn with_store(mut self, pattern: impl Into<String>) -> Self {
        self.stores.push(pattern.into());
        self
    }

    /// With this access.
    #[must_use]
    pub fn with_access(self, access: Access) -> Self {
        Self { access, ..self }
    }
}

/// The claims of a token that came.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    #[serde(default)]
    sub: Option<String>,
    #[serde(default)]
    exp: Option<f64>,
    #[serde(default)]
    nbf: Option<f64>,
    #[serde(default)]
    iss: Option<String>,
    #[serde(default, deserialize_with = "one_or_many")]
    aud: Vec<String>,
    #[serde(default, deserialize_with = "one_or_many")]
    stores: Vec<String>,
    #[serde(default)]
    access: Access,
    #[serde(default)]
    data: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(match OneOrMany::deserialize(from)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}

impl Claims {
    /// Who it is, if all of it is in order.
    pub(super) fn check(
        self,
        settings: &JwtSettings,
        store_id: Option<&str>,
        now_ms: u64,
    ) -> Result<Identity, TokenError> {
        let no = |text: String| Err(TokenError::Claim(text));
        let leeway_ms = settings.leeway.saturating_mul(1_000);
        let Some(exp_ms) = self.exp.map(milliseconds) else {
            return no("the token has no exp: tokens without an end are not accepted".to_owned());
        };
        // Of this moment on, as everywhere; a clock that is behind is forgiven.
        if now_ms >= exp_ms.saturating_add(leeway_ms) {
            return no(format!("the token has expired at {}", time(exp_ms)));
        }
        if let Some(nbf_ms) = self.nbf.map(milliseconds)
            && now_ms.saturating_add(leeway_ms) < nbf_ms
        {
            return no(format!("the token counts from {} on", time(nbf_ms)));
        }
        if let Some(issuer) = &settings.issuer
            && self.iss.as_ref() != Some(issuer)
        {
            return no(format!("the token's issuer (iss) is not {issuer}"));
        }
        if let Some(audience) = &settings.audience
            && !self.aud.contains(audience)
        {
            return no(format!("the token's audience (aud) is not {audience}"));
        }
        let Some(user) = self.sub.filter(|sub| !sub.is_empty()) else {
            return no("the token names no user (sub)".to_owned());
        };
        if self.stores.is_empty() {
            return no("the token names no stores (stores): ids, or patterns such as team-*".to_owned());
        }
        if let Some(store_id) = store_id
            && !self.stores.iter().any(|pattern| is_for(pattern, store_id))
        {
            return Err(TokenError::Store(store_id.to_owned()));
        }
        // A clock that is behind is forgiven for pushes, too: whoever is let in may work.
        let mut identity =
            Identity::new(user).with_access(self.access).with_expires_ms(exp_ms.saturating_add(leeway_ms));
        identity.data = self.data;
        Ok(identity)
    }
}

/// Whether a claim is for a store: its id, or what it begins with and a `*`.
fn is_for(pattern: &str, store_id: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => store_id.starts_with(prefix),
        None => pattern == store_id,
    }
}

/// Of seconds, which may have a fraction (RFC 7519, 2). What is below zero is long over.
fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1_000.0) as u64
}

/// The last moment that has a text: the end of the year 9999.
const TIME_MS_MAX: u64 = 253_402_300_799_999;

fn time(ms: u64) -> String {
    iso_timestamp(ms.min(TIME_MS_MAX))
}

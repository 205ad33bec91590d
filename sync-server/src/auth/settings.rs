//! The settings of tokens: what they are called everywhere (variables and secrets of a Worker, environment and flags of
//! the binary), and what is wrong with them. Values only.

use std::fmt;

use super::keys::{JwtSecret, KeySet};

/// Seconds that clocks may differ by.
const LEEWAY_DEFAULT: u64 = 60;

/// Where the token is in a payload, as in LiveStore's own examples.
const PAYLOAD_FIELD_DEFAULT: &str = "authToken";

/// How tokens are checked. Start from the default, or from [`from_variables`](Self::from_variables).
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JwtSettings {
    /// `LIVESTORE_SYNC_AUTH_SECRETS`: secrets of tokens with HS256, `kid:secret` with commas between; a single one may
    /// have no `kid`. At least 32 bytes each, none of them a comma. The first is the one to sign with; a token is taken with any.
    pub secrets: Option<String>,
    /// `LIVESTORE_SYNC_AUTH_JWKS`: public keys as the text of a JSON Web Key Set.
    pub jwks: Option<String>,
    /// `LIVESTORE_SYNC_AUTH_JWKS_URL`: where such a set is fetched from.
    pub jwks_url: Option<String>,
    /// `LIVESTORE_SYNC_AUTH_ISSUER`: what `iss` must be.
    pub issuer: Option<String>,
    /// `LIVESTORE_SYNC_AUTH_AUDIENCE`: what `aud` must be, or contain.
    pub audience: Option<String>,
    /// `LIVESTORE_SYNC_AUTH_LEEWAY`: seconds that clocks may differ by; 60.
    pub leeway: u64,
    /// `LIVESTORE_SYNC_AUTH_PAYLOAD_FIELD`: the member of the payload that has the token; `authToken`.
    pub payload_field: String,
    /// `LIVESTORE_SYNC_AUTH_COOKIE`: the cookie that has the token; without it, none counts.
    pub cookie: Option<String>,
}

impl Default for JwtSettings {
    fn default() -> Self {
        Self {
            secrets: None,
            jwks: None,
            jwks_url: None,
            issuer: None,
            audience: None,
            leeway: LEEWAY_DEFAULT,
            payload_field: PAYLOAD_FIELD_DEFAULT.to_owned(),
            cookie: None,
        }
    }
}

/// Without the secrets.
impl fmt::Debug for JwtSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtSettings")
            .field("secrets", &self.secrets.as_ref().map(|_| "…"))
            .field("jwks_url", &self.jwks_url)
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .field("leeway", &self.leeway)
            .field("payload_field", &self.payload_field)
            .field("cookie", &self.cookie)
            .finish_non_exhaustive()
    }
}

/// What is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthConfigError {
    /// There is nothing to check tokens with.
    #[error(
        "tokens cannot be checked without keys: set LIVESTORE_SYNC_AUTH_SECRETS, LIVESTORE_SYNC_AUTH_JWKS or \
         LIVESTORE_SYNC_AUTH_JWKS_URL"
    )]
    NoKeys,
    /// It is too easy to guess.
    #[error("LIVESTORE_SYNC_AUTH_SECRETS: each secret must have at least 32 bytes")]
    Secret,
    /// With several secrets, a token has to say which.
    #[error(
        "LIVESTORE_SYNC_AUTH_SECRETS: where there are several secrets, each needs a kid of its own: kid:secret,kid:secret"
    )]
    Kid,
    /// The key set cannot be read.
    #[error("LIVESTORE_SYNC_AUTH_JWKS: {0}")]
    Jwks(String),
    /// A URL that is none, or one that anybody on the way could answer.
    #[error("LIVESTORE_SYNC_AUTH_JWKS_URL: it must begin with https:// (or http:// and a loopback address)")]
    JwksUrl,
    /// Nothing fetches a URL.
    #[error("LIVESTORE_SYNC_AUTH_JWKS_URL: this needs `JwtAuth::with_fetch`")]
    NoFetch,
    /// A number is expected.
    #[error("LIVESTORE_SYNC_AUTH_LEEWAY: expected a number of seconds")]
    Leeway,
}

impl JwtSettings {
    /// The settings of variables with these names; `None` where none is set. An empty one counts as not set.
    ///
    /// # Errors
    ///
    /// [`AuthConfigError`].
    pub fn from_variables(
        mut variable: impl FnMut(&'static str) -> Option<String>,
    ) -> Result<Option<Self>, AuthConfigError> {
        let mut some = false;
        let mut variable = |name| {
            let value = variable(name).filter(|value| !value.trim().is_empty());
            some |= value.is_some();
            value
        };
        let mut settings = Self {
            secrets: variable("LIVESTORE_SYNC_AUTH_SECRETS"),
            jwks: variable("LIVESTORE_SYNC_AUTH_JWKS"),
            jwks_url: variable("LIVESTORE_SYNC_AUTH_JWKS_URL"),
            issuer: variable("LIVESTORE_SYNC_AUTH_ISSUER"),
            audience: variable("LIVESTORE_SYNC_AUTH_AUDIENCE"),
            cookie: variable("LIVESTORE_SYNC_AUTH_COOKIE"),
            ..Self::default()
        };
        if let Some(leeway) = variable("LIVESTORE_SYNC_AUTH_LEEWAY") {
            settings.leeway = leeway.trim().parse().map_err(|_| AuthConfigError::Leeway)?;
        }
        if let Some(field) = variable("LIVESTORE_SYNC_AUTH_PAYLOAD_FIELD") {
            settings.payload_field = field;
        }
        // A setting of tokens without keys is a mistake that would let everybody in.
        Ok(some.then_some(settings))
    }

    /// The keys that are known from the start.
    pub(super) fn keys(&self) -> Result<KeySet, AuthConfigError> {
        let secrets = JwtSecret::parse_all(self.secrets.as_deref().unwrap_or_default())?;
        let mut kids: Vec<_> = secrets.iter().map(JwtSecret::kid).collect();
        kids.sort_unstable();
        kids.dedup();
        if secrets.len() > 1 && (kids.len() < secrets.len() || kids[0].is_none()) {
            return Err(AuthConfigError::Kid);
        }
        let mut keys = KeySet::of_secrets(secrets);
        if let Some(jwks) = &self.jwks {
            keys.extend(KeySet::of_jwks(jwks).map_err(AuthConfigError::Jwks)?);
        }
        if self.jwks_url.as_deref().is_some_and(|url| !is_fetchable(url)) {
            return Err(AuthConfigError::JwksUrl);
        }
        Ok(keys)
    }
}

/// Whether only the one who is meant can answer at this URL.
fn is_fetchable(url: &str) -> bool {
    let host = |rest: &str| rest.split(['/', '?', '#']).next().map(str::to_owned).unwrap_or_default();
    match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => !host(rest).is_empty(),
        (_, Some(rest)) => crate::request::is_loopback(&host(rest)),
        _ => false,
    }
}

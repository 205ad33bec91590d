//! Ready-made authentication by JSON Web Tokens (RFC 7519): [`JwtAuth`] is an app's hooks, or a part of them. The
//! binary and the ready-made Worker make one of their settings; nothing else of the server knows of tokens.
//!
//! Secrets are checked by RustCrypto's `hmac`, public keys by what the platform has (`platform::signatures`); what a
//! token is, and what it must say, is decided here, without I/O. Only where keys come from a URL is something fetched,
//! by the platform.

mod claims;
mod jwks;
mod keys;
mod settings;
mod token;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::value::RawValue;

pub use self::claims::TokenClaims;
use self::jwks::{Cached, unknown_key};
pub use self::jwks::{FetchDone, FetchEnd, FetchJwks, JWKS_BYTES_MAX, JWKS_TIME_MAX};
use self::keys::KeySet;
pub use self::keys::{JwtSecret, create_token};
pub use self::settings::{AuthConfigError, JwtSettings};
pub use self::token::TOKEN_BYTES_MAX;
use self::token::Token;
use crate::error::HookError;
use crate::hooks::{Connection, Hooks, Identity};

/// Why a token is refused. The text is for the client, and for `livestore-sync token check`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// There is none where one may be.
    #[error("no token: {0}")]
    Missing(String),
    /// See [`TOKEN_BYTES_MAX`].
    #[error("the token has {0} bytes, the limit is {TOKEN_BYTES_MAX} (TOKEN_BYTES_MAX)")]
    TooLarge(usize),
    /// It is not three parts of base64url, the first two of JSON.
    #[error("the token is malformed: {0}")]
    Malformed(String),
    /// Also `none`, and any that no key is for.
    #[error("the token's algorithm {0} is not accepted: it must be HS256, RS256, ES256 or EdDSA, as its key is")]
    Algorithm(String),
    /// No key has its `kid`.
    #[error("the token's key is not known: {0}")]
    UnknownKey(String),
    /// Somebody else has made it, or changed it.
    #[error("the token's signature is wrong")]
    Signature,
    /// A claim says no.
    #[error("{0}")]
    Claim(String),
    /// It is not for this store.
    #[error("the token is not for the store {0}")]
    Store(String),
    /// The keys cannot be had now.
    #[error("the keys of tokens cannot be fetched now: try again later")]
    NoKeys,
}

impl From<TokenError> for HookError {
    fn from(error: TokenError) -> Self {
        let text = error.to_string();
        match error {
            TokenError::Store(_) => Self::forbidden(text),
            TokenError::NoKeys => Self::unavailable(text),
            _ => Self::unauthorized(text),
        }
    }
}

/// Hooks that let in who has a valid token, and say who it is. Cheap to clone; all clones share their keys.
///
/// A token names its user (`sub`), when it ends (`exp`, required), the stores it is for (`stores`: ids, or patterns
/// such as `team-*`, required), and may say `access` (`read` or `write`), `nbf`, `iss`, `aud` and `data`, which becomes
/// [`Identity::data`].
///
/// ```
/// use livestore_sync_server::auth::{JwtAuth, JwtSecret, JwtSettings, TokenClaims, create_token};
/// use livestore_sync_server::{HookFns, HookError};
///
/// let secrets = "2026-11:a secret of at least 32 bytes please";
/// let mut settings = JwtSettings::default();
/// settings.secrets = Some(secrets.to_owned());
/// // As hooks, alone or with others:
/// let hooks = HookFns::of(JwtAuth::new(&settings)?).on_push(async |push, context| {
///     println!("{:?} pushes {} events", context.connection.user_id(), push.batch.len());
///     Ok(())
/// });
/// # let _ = hooks;
/// // What a backend gives its users:
/// let claims = TokenClaims::new("user-7", 1_795_220_071).with_store("team-*");
/// let token = create_token(&JwtSecret::parse(secrets)?, &claims);
/// # assert_eq!(token.split('.').count(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct JwtAuth(Arc<Inner>);

struct Inner {
    settings: JwtSettings,
    /// Secrets, and public keys that are known from the start.
    keys: KeySet,
    /// Keys of a URL.
    cached: Option<Cached>,
}

impl JwtAuth {
    /// Authentication with these settings. Keys of a URL need [`with_fetch`](Self::with_fetch).
    ///
    /// # Errors
    ///
    /// [`AuthConfigError`], which names the setting.
    pub fn new(settings: &JwtSettings) -> Result<Self, AuthConfigError> {
        match settings.jwks_url {
            Some(_) => Err(AuthConfigError::NoFetch),
            None => Self::make(settings, None),
        }
    }

    /// As [`new`](Self::new), with what fetches the keys of a URL.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn with_fetch(settings: &JwtSettings, fetch: impl FetchJwks) -> Result<Self, AuthConfigError> {
        Self::make(settings, settings.jwks_url.clone().map(|url| Cached::new(url, Arc::new(fetch))))
    }

    #[allow(clippy::arc_with_non_send_sync, reason = "on wasm there is one thread")]
    fn make(settings: &JwtSettings, cached: Option<Cached>) -> Result<Self, AuthConfigError> {
        let keys = settings.keys()?;
        if keys.is_empty() && cached.is_none() {
            return Err(AuthConfigError::NoKeys);
        }
        Ok(Self(Arc::new(Inner { settings: settings.clone(), keys, cached })))
    }

    /// Looks at a token for a store, or for any; says whose it is, or why it is refused.
    ///
    /// # Errors
    ///
    /// [`TokenError`].
    pub async fn check(&self, token: &str, store_id: Option<&str>, now_ms: u64) -> Result<Identity, TokenError> {
        let token = Token::parse(token)?;
        let mut verified = token.verify(&self.0.keys).await;
        if let (Err(TokenError::UnknownKey(_) | TokenError::Algorithm(_)), Some(cached)) = (&verified, &self.0.cached) {
            let keys = cached.keys_for(&token, now_ms).await.ok_or(TokenError::NoKeys)?;
            verified = token.verify(&keys).await;
        }
        let claims = verified?;
        claims.check(&self.0.settings, store_id, now_ms)
    }

    /// The token of a connection: in its payload, in the header `Authorization`, or in a cookie.
    fn token_of(&self, connection: &Connection) -> Result<String, TokenError> {
        let JwtSettings { payload_field, cookie, .. } = &self.0.settings;
        if let Some(token) = payload_token(connection, payload_field) {
            return Ok(token);
        }
        let bearer = connection.header("authorization").and_then(|value| value.split_once(' '));
        if let Some((_, token)) = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) {
            return Ok(token.trim().to_owned());
        }
        let place = format!("expected it in the payload's {payload_field}, or as Authorization: Bearer");
        let Some(name) = cookie else { return Err(TokenError::Missing(place)) };
        match connection.cookie(name) {
            // A browser sends it along whoever's page asks.
            Some(token) if connection.trusted_origin => Ok(token.to_owned()),
            Some(_) => Err(TokenError::Missing(
                "a cookie counts only for pages whose Origin is allowed by name (--allow-origin)".to_owned(),
            )),
            None => Err(TokenError::Missing(format!("{place}, or in the cookie {name}"))),
        }
    }
}

fn payload_token(connection: &Connection, field: &str) -> Option<String> {
    let payload = connection.payload.as_deref()?;
    let payload: BTreeMap<String, &RawValue> = serde_json::from_str(payload.get()).ok()?;
    serde_json::from_str(payload.get(field)?.get()).ok()
}

impl Hooks for JwtAuth {
    async fn authenticate(&self, connection: Arc<Connection>) -> Result<Identity, HookError> {
        let token = self.token_of(&connection)?;
        // Each connection and request is asked for when it is made.
        Ok(self.check(&token, Some(&connection.store_id), connection.connected_ms).await?)
    }
}

#[cfg(test)]
mod tests;

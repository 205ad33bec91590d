//! Who may connect, as flags and environment say it: the arguments of `serve` and of `token`, and the hooks that they
//! describe. What a token must be is decided in the library.

mod fetch;

use std::path::PathBuf;

use clap::Args;
use livestore_sync_server::HookFns;
use livestore_sync_server::auth::{JwtAuth, JwtSettings};

use self::fetch::HttpFetch;

/// How tokens are checked. Each is also an environment variable, which is the place for secrets: arguments are shown
/// by `ps`.
#[derive(Args, Clone)]
#[command(next_help_heading = "Authentication by tokens (JWT); without keys, everybody may connect")]
pub(crate) struct Auth {
    /// Secrets of tokens with HS256, at least 32 bytes each: KID:SECRET with commas between, or a single SECRET. The
    /// first is the one that `token create` signs with
    #[arg(long, env = "LIVESTORE_SYNC_AUTH_SECRETS", value_name = "SECRETS", hide_env_values = true)]
    auth_secrets: Option<String>,

    /// Public keys (RS256, ES256, EdDSA) as the text of a JSON Web Key Set
    #[arg(long, env = "LIVESTORE_SYNC_AUTH_JWKS", value_name = "JSON", hide_env_values = true)]
    auth_jwks: Option<String>,

    /// The same in a file
    #[arg(long, env = "LIVESTORE_SYNC_AUTH_JWKS_FILE", value_name = "FILE", conflicts_with = "auth_jwks")]
    auth_jwks_file: Option<PathBuf>,

    /// Where such a set is fetched from; again when a token names a key that is not in it, at most once a minute
    #[arg(long, env = "LIVESTORE_SYNC_AUTH_JWKS_URL", value_name = "URL")]
    auth_jwks_url: Option<String>,

    /// What the claim `iss` must be
    #[arg(long, env = "LIVESTORE_SYNC_AUTH_ISSUER", value_name = "TEXT")]
    auth_issuer: Option<String>,

    /// What the claim `aud` must be, or contain
    #[arg(long, env = "LIVESTORE_SYNC_AUTH_AUDIENCE", value_name = "TEXT")]
    auth_audience: Option<String>,

    /// Seconds that clocks may differ by [default: 60]
    #[arg(long, env = "LIVESTORE_SYNC_AUTH_LEEWAY", value_name = "SECONDS")]
    auth_leeway: Option<String>,

    /// The member of the sync payload that has the token [default: authToken]
    #[arg(long, env = "LIVESTORE_SYNC_AUTH_PAYLOAD_FIELD", value_name = "NAME")]
    auth_payload_field: Option<String>,

    /// The cookie that has the token, for web pages whose Origin is allowed by name; without it, no cookie counts
    #[arg(long, env = "LIVESTORE_SYNC_AUTH_COOKIE", value_name = "NAME")]
    auth_cookie: Option<String>,
}

impl Auth {
    pub(crate) fn settings(&self) -> Result<Option<JwtSettings>, String> {
        let file = self.auth_jwks_file.as_ref().filter(|file| !file.as_os_str().is_empty());
        let from_file = file.map(|file| {
            std::fs::read_to_string(file).map_err(|error| format!("--auth-jwks-file {}: {error}", file.display()))
        });
        let jwks = from_file.transpose()?.or_else(|| self.auth_jwks.clone());
        let settings = JwtSettings::from_variables(|name| match name {
            "LIVESTORE_SYNC_AUTH_SECRETS" => self.auth_secrets.clone(),
            "LIVESTORE_SYNC_AUTH_JWKS" => jwks.clone(),
            "LIVESTORE_SYNC_AUTH_JWKS_URL" => self.auth_jwks_url.clone(),
            "LIVESTORE_SYNC_AUTH_ISSUER" => self.auth_issuer.clone(),
            "LIVESTORE_SYNC_AUTH_AUDIENCE" => self.auth_audience.clone(),
            "LIVESTORE_SYNC_AUTH_LEEWAY" => self.auth_leeway.clone(),
            "LIVESTORE_SYNC_AUTH_PAYLOAD_FIELD" => self.auth_payload_field.clone(),
            "LIVESTORE_SYNC_AUTH_COOKIE" => self.auth_cookie.clone(),
            _ => None,
        });
        settings.map_err(|error| error.to_string())
    }

    /// What checks tokens; `None` where nothing is set, and everybody may connect.
    pub(crate) fn jwt(&self) -> Result<Option<JwtAuth>, String> {
        let Some(settings) = self.settings()? else { return Ok(None) };
        JwtAuth::with_fetch(&settings, HttpFetch).map(Some).map_err(|error| error.to_string())
    }

    pub(crate) fn hooks(&self) -> Result<HookFns, String> {
        Ok(self.jwt()?.map_or_else(HookFns::new, HookFns::of))
    }
}

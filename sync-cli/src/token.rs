//! `livestore-sync token`: makes tokens, and says of one whether it would be taken. Called by `main` with the parsed
//! arguments; both are the library's work.

use std::io::Read;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand, ValueEnum};
use livestore_sync_server::auth::{JwtSecret, TokenClaims, create_token};
use livestore_sync_server::{Access, Identity, iso_timestamp};
use serde_json::json;
use serde_json::value::RawValue;

use crate::auth::Auth;
use crate::inspect::note;

/// Make and check the tokens that clients connect with
#[derive(Args)]
pub(crate) struct Token {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Subcommand)]
enum TokenCommand {
    /// Make a token, signed with the first of the secrets (LIVESTORE_SYNC_AUTH_SECRETS), and print it
    Create(Create),
    /// Say whose a token is, or why it is refused; exit code 1 then
    Check(Check),
}

#[derive(Args)]
struct Create {
    #[command(flatten)]
    auth: Auth,

    /// The user (`sub`)
    #[arg(long, value_name = "ID")]
    user: String,

    /// A store that it is for, or what its stores begin with and a `*`; may be given several times
    #[arg(long, value_name = "ID", required = true)]
    store: Vec<String>,

    /// What the user may do
    #[arg(long, default_value = "write")]
    access: AccessArg,

    /// When it ends: seconds from now, or such as 90m, 12h, 30d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = time)]
    expires_in: Duration,

    /// From when on it counts, likewise
    #[arg(long, value_name = "TIME", value_parser = time)]
    not_before: Option<Duration>,

    /// Whatever the app's hooks want to know, as JSON
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
}

#[derive(Args)]
struct Check {
    #[command(flatten)]
    auth: Auth,

    /// The token; `-` reads it from standard input
    #[arg(value_name = "TOKEN")]
    token: String,

    /// Whether it is for this store
    #[arg(long, value_name = "ID")]
    store: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum AccessArg {
    Read,
    Write,
}

/// A time as people write it.
fn time(text: &str) -> Result<Duration, String> {
    let (number, seconds) = match text.char_indices().next_back() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3_600),
        Some((at, 'd')) => (&text[..at], 86_400),
        _ => (text, 1),
    };
    let number: u64 = number.parse().map_err(|_| "expected seconds, or such as 90m, 12h, 30d")?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(|| "that is too long".to_owned())
}

#[expect(clippy::disallowed_methods, reason = "a program of the host, whose clock it is")]
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

impl Token {
    pub(crate) fn run(self) -> ExitCode {
        let done = match self.command {
            TokenCommand::Create(create) => create.run(),
            TokenCommand::Check(check) => check.run(),
        };
        match done {
            Ok(line) => {
                println!("{line}");
                ExitCode::SUCCESS
            }
            Err(why) => {
                note(&why);
                ExitCode::FAILURE
            }
        }
    }
}

impl Create {
    fn run(self) -> Result<String, String> {
        let settings = self.auth.settings()?.unwrap_or_default();
        let secrets =
            settings.secrets.as_deref().ok_or("set LIVESTORE_SYNC_AUTH_SECRETS to what tokens are signed with")?;
        let secret = JwtSecret::parse(secrets).map_err(|error| error.to_string())?;
        let now = now().as_secs();
        let mut claims = TokenClaims::new(self.user, now.saturating_add(self.expires_in.as_secs()));
        claims.stores = self.store;
        claims.access = self.access.into();
        claims.nbf = self.not_before.map(|time| now.saturating_add(time.as_secs()));
        claims.iss = settings.issuer;
        claims.aud = settings.audience;
        let data = self.data.map(RawValue::from_string).transpose();
        claims.data = data.map_err(|error| format!("--data: {error}"))?;
        Ok(create_token(&secret, &claims))
    }
}

impl Check {
    fn run(self) -> Result<String, String> {
        let auth = self.auth.jwt()?.ok_or("set what tokens are checked with, such as LIVESTORE_SYNC_AUTH_SECRETS")?;
        let mut token = self.token;
        if token == "-" {
            token.clear();
            std::io::stdin().read_to_string(&mut token).map_err(|error| error.to_string())?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
        let now_ms = now().as_millis() as u64;
        let checked = runtime.block_on(auth.check(token.trim(), self.store.as_deref(), now_ms));
        checked.map(|identity| describe(&identity)).map_err(|error| format!("refused: {error}"))
    }
}

fn describe(identity: &Identity) -> String {
    let expires = identity.expires_ms.map(|ms| iso_timestamp(ms.min(253_402_300_799_999)));
    json!({ "user": identity.user_id, "access": identity.access, "until": expires, "data": identity.data }).to_string()
}

impl From<AccessArg> for Access {
    fn from(arg: AccessArg) -> Self {
        match arg {
            AccessArg::Read => Self::Read,
            AccessArg::Write => Self::Write,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_many_ways() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("2m", 120), ("12h", 43_200), ("30d", 2_592_000)] {
            assert_eq!(time(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "h", "1w", "-1h", "1.5h", "99999999999999999d", "ü"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}

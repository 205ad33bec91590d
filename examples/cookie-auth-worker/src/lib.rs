//! A sync worker that knows its users by a cookie, which browsers send along with the WebSocket request by
//! themselves. In it is a token (JWT) that this worker has signed. The Worker checks it once for each connection; who
//! it is goes with the connection to the object, whose hooks see it with each push.
#![cfg(target_family = "wasm")]

use livestore_sync_server::auth::{JwtAuth, JwtSecret, JwtSettings, TokenClaims, create_token};
use livestore_sync_server::worker::{ObjectOptions, WorkerOptions, make_worker};
use livestore_sync_server::{HookError, HookFns, make_durable_object};
use worker::{Context, Date, Env, Error, Method, Request, Response, Result, event};

const COOKIE: &str = "session";

/// How long a log-in lasts, in seconds.
const SESSION: u64 = 24 * 60 * 60;

make_durable_object! {
    /// The object of one store.
    pub struct SyncBackendDO;
    options = |env: &Env| ObjectOptions::new().hooks(hooks(env));
}

/// Everybody who is logged in may read the store of a user, and only that user may write.
fn hooks(env: &Env) -> HookFns {
    let mut settings = JwtSettings::default();
    settings.secrets = secret(env);
    settings.cookie = Some(COOKIE.to_owned());
    let Ok(auth) = JwtAuth::new(&settings) else {
        return HookFns::new()
            .validate_payload(async |_| Err(HookError::new("COOKIE_SECRET must have 32 bytes or more")));
    };
    HookFns::of(auth).on_push(async |_, context| {
        let (user, store) = (context.connection.user_id().unwrap_or_default(), &context.connection.store_id);
        if **store == *user { Ok(()) } else { Err(HookError::new(format!("{user} may not write here"))) }
    })
}

fn secret(env: &Env) -> Option<String> {
    env.secret("COOKIE_SECRET").ok().map(|secret| secret.to_string())
}

/// `POST /login?user=NAME`: where a real app asks for a password.
fn log_in(request: &Request, env: &Env) -> Result<Response> {
    let url = request.url()?;
    let name = url.query_pairs().find(|(name, _)| name == "user").map(|(_, user)| user.into_owned());
    let Some(user) = name.filter(|user| !user.is_empty() && user.chars().all(|c| c.is_ascii_alphanumeric())) else {
        return Response::error("user must be letters and digits", 400);
    };
    let secret = JwtSecret::parse(&secret(env).unwrap_or_default());
    let secret = secret.map_err(|error| Error::RustError(error.to_string()))?;
    let expires = Date::now().as_millis() / 1_000 + SESSION;
    let token = create_token(&secret, &TokenClaims::new(user.as_str(), expires).with_store("*"));
    let response = Response::ok(format!("Hello {user}"))?;
    let cookie = format!("{COOKIE}={token}; HttpOnly; Secure; SameSite=Lax; Path=/; Max-Age={SESSION}");
    response.headers().set("set-cookie", &cookie)?;
    Ok(response)
}

#[event(fetch)]
async fn fetch(request: Request, env: Env, context: Context) -> Result<Response> {
    if request.method() == Method::Post && request.path() == "/login" {
        return log_in(&request, &env);
    }
    make_worker(WorkerOptions::new().hooks(hooks(&env))).fetch(request, env, context).await
}

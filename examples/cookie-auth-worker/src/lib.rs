//! A sync worker that knows its users by a signed cookie, which browsers send along with the WebSocket
//! request by themselves. The Worker checks it once; the object's hooks see it again with each push.
#![cfg(target_family = "wasm")]

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use livestore_sync_server::worker::{ObjectOptions, WorkerOptions, make_worker};
use livestore_sync_server::{Connection, HookContext, HookError, Hooks, Push, make_durable_object};
use sha2::Sha256;
use worker::{Context, Env, Method, Request, Response, Result, event};

make_durable_object! {
    /// The object of one store.
    pub struct SyncBackendDO;
    options = |env: &Env| ObjectOptions::new().forward_headers(&["cookie"]).hooks(CookieAuth::new(env));
}

/// Everybody who is logged in may read the store of a user, and only that user may write.
struct CookieAuth {
    secret: String,
}

impl CookieAuth {
    fn new(env: &Env) -> Self {
        Self { secret: secret(env) }
    }
}

impl Hooks for CookieAuth {
    /// Called by the Worker.
    async fn validate_payload(&self, connection: Arc<Connection>) -> std::result::Result<(), HookError> {
        user(&connection, &self.secret).map(drop)
    }

    /// Called by the object, which sees the headers that it has asked for.
    async fn on_push(&self, _push: Push, context: HookContext) -> std::result::Result<(), HookError> {
        let user = user(&context.connection, &self.secret)?;
        if *context.connection.store_id == *user {
            Ok(())
        } else {
            Err(HookError::new(format!("{user} may not write here")))
        }
    }
}

fn secret(env: &Env) -> String {
    // Without a secret no cookie is valid.
    env.secret("COOKIE_SECRET").map(|secret| secret.to_string()).unwrap_or_default()
}

fn mac(user: &str, secret: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("keys of every length are taken");
    mac.update(user.as_bytes());
    mac
}

/// The user that the cookie `session=<user>.<signature>` names.
fn user(connection: &Connection, secret: &str) -> std::result::Result<String, HookError> {
    let refused = || HookError::new("Log in first");
    let cookies = connection.header("cookie").ok_or_else(refused)?;
    let session = cookies.split(';').find_map(|cookie| cookie.trim().strip_prefix("session=")).ok_or_else(refused)?;
    let (user, signature) = session.rsplit_once('.').ok_or_else(refused)?;
    let signature = hex::decode(signature).map_err(|_| refused())?;
    // Compares in constant time.
    if secret.is_empty() || mac(user, secret).verify_slice(&signature).is_err() {
        return Err(refused());
    }
    Ok(user.to_owned())
}

/// `POST /login?user=NAME`: where a real app asks for a password.
fn log_in(request: &Request, env: &Env) -> Result<Response> {
    let url = request.url()?;
    let name = url.query_pairs().find(|(name, _)| name == "user").map(|(_, user)| user.into_owned());
    let Some(user) = name.filter(|user| user.chars().all(|c| c.is_ascii_alphanumeric())) else {
        return Response::error("user must be letters and digits", 400);
    };
    let signature = hex::encode(mac(&user, &secret(env)).finalize().into_bytes());
    let response = Response::ok(format!("Hello {user}"))?;
    response
        .headers()
        .set("set-cookie", &format!("session={user}.{signature}; HttpOnly; Secure; SameSite=Lax; Path=/"))?;
    Ok(response)
}

#[event(fetch)]
async fn fetch(request: Request, env: Env, context: Context) -> Result<Response> {
    if request.method() == Method::Post && request.path() == "/login" {
        return log_in(&request, &env);
    }
    let options = WorkerOptions::new().hooks(CookieAuth::new(&env));
    make_worker(options).fetch(request, env, context).await
}

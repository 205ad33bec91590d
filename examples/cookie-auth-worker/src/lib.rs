//! A sync worker that knows its users by a signed cookie, which browsers send along with the WebSocket
//! request by themselves. The Worker checks it once; the object's hooks see it again with each push.
#![cfg(target_family = "wasm")]

use hmac::{Hmac, KeyInit, Mac};
use livestore_sync_server::worker::{ObjectOptions, WorkerOptions, make_worker};
use livestore_sync_server::{Connection, HookError, make_durable_object};
use sha2::Sha256;
use worker::{Context, Env, Method, Request, Response, Result, event};

make_durable_object! {
    /// The object of one store.
    pub struct SyncBackendDO;
    options = |env: &Env| {
        let secret = secret(env);
        ObjectOptions::new().forward_headers(&["cookie"]).on_push(move |_push, context| {
            let user = user(&context.connection, &secret);
            let store_id = context.connection.store_id.clone();
            async move {
                // Everybody may read the store of a user and only that user may write.
                let user = user?;
                if *store_id == *user { Ok(()) } else { Err(HookError::new(format!("{user} may not write here"))) }
            }
        })
    };
}

fn secret(env: &Env) -> String {
    // Without a secret nobody's cookie is valid.
    env.secret("COOKIE_SECRET").map(|secret| secret.to_string()).unwrap_or_default()
}

fn mac(user: &str, secret: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("keys of every length are taken");
    mac.update(user.as_bytes());
    mac
}

/// The user whom the cookie `session=<user>.<signature>` names.
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
    let secret = secret(&env);
    let options = WorkerOptions::new().validate_payload(move |connection| {
        let user = user(&connection, &secret);
        async move { user.map(drop) }
    });
    make_worker(options).fetch(request, env, context).await
}

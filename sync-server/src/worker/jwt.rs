//! Authentication by tokens in a Worker: its settings are variables and secrets, and the runtime fetches keys. What a
//! token must be is decided in `auth`.

use std::cell::RefCell;

use futures_util::StreamExt;
use worker::js_sys::{JSON, Reflect};
use worker::wasm_bindgen::JsValue;
use worker::{Env, Fetch, Method, Request};

use super::platform::Isolate;
use crate::auth::{FetchDone, FetchJwks, JWKS_BYTES_MAX, JWKS_TIME_MAX, JwtAuth, JwtSettings};
use crate::platform::{BoxFuture, Platform};
use crate::{HookError, HookFns};

thread_local! {
    /// Kept over requests, with the keys that were fetched.
    static LAST: RefCell<Option<(JwtSettings, JwtAuth)>> = const { RefCell::new(None) };
}

/// Hooks that check tokens as the variables and secrets `LIVESTORE_SYNC_AUTH_…` say, see [`JwtSettings`]; without any,
/// hooks that let everybody in. Give them to `WorkerOptions` and to `ObjectOptions`, whose calls of other Durable
/// Objects are checked there. Where the settings are wrong, nobody is let in, and the log says why.
#[must_use]
pub fn jwt_hooks(env: &Env) -> HookFns {
    let wrong = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "the settings of tokens are wrong: nobody is let in");
        HookFns::new().validate_payload(async |_| Err(HookError::new("The server's settings of tokens are wrong.")))
    };
    let settings = match JwtSettings::from_variables(|name| variable(env, name)) {
        Ok(Some(settings)) => settings,
        Ok(None) => return HookFns::new(),
        Err(error) => return wrong(&error),
    };
    let known =
        LAST.with_borrow(|last| last.as_ref().filter(|(last, _)| *last == settings).map(|(_, auth)| auth.clone()));
    if let Some(auth) = known {
        return HookFns::of(auth);
    }
    match JwtAuth::with_fetch(&settings, RuntimeFetch) {
        Ok(auth) => {
            LAST.set(Some((settings, auth.clone())));
            HookFns::of(auth)
        }
        Err(error) => wrong(&error),
    }
}

/// A variable or a secret. One that is no text, as the configuration may have a key set, is taken as JSON: passed over,
/// it would let everybody in.
fn variable(env: &Env, name: &str) -> Option<String> {
    let value =
        Reflect::get(env, &JsValue::from(name)).ok().filter(|value| !value.is_undefined() && !value.is_null())?;
    value.as_string().or_else(|| JSON::stringify(&value).ok()?.as_string())
}

struct RuntimeFetch;

impl FetchJwks for RuntimeFetch {
    fn start(&self, url: &str, done: FetchDone) {
        let url = url.to_owned();
        Isolate.spawn(async move {
            let fetched = Isolate.timeout(JWKS_TIME_MAX, fetch(&url)).await;
            done.done(fetched.unwrap_or_else(|| Err(format!("nothing came within {JWKS_TIME_MAX:?}"))));
        });
    }

    fn pause(&self) -> BoxFuture<()> {
        // A timer of the request's own: nothing of another request may wake it.
        Box::pin(Isolate.sleep(std::time::Duration::from_millis(50)))
    }
}

async fn fetch(url: &str) -> Result<String, String> {
    let said = |error: worker::Error| error.to_string();
    // Not `Url`: what knows all that people write in one is a fifth of what a Worker deploys.
    let request = Request::new(url, Method::Get).map_err(said)?;
    let mut response = Fetch::Request(request).send().await.map_err(said)?;
    if response.status_code() != 200 {
        return Err(format!("status {}", response.status_code()));
    }
    let (mut body, mut parts) = (Vec::new(), response.stream().map_err(said)?);
    while let Some(part) = parts.next().await {
        body.extend(part.map_err(said)?);
        if body.len() > JWKS_BYTES_MAX {
            return Err(format!("it is larger than {JWKS_BYTES_MAX} bytes"));
        }
    }
    String::from_utf8(body).map_err(|error| error.to_string())
}

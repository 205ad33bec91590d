//! An app's own worker, with routes of its own, that also syncs: LiveStore's requests are recognised
//! wherever they come in, everything else is the app's.
#![cfg(target_family = "wasm")]

use livestore_sync_server::worker::{ObjectOptions, WorkerOptions, handle_sync_request, match_sync_request};
use livestore_sync_server::{HookError, HookFns, make_durable_object};
use serde::Deserialize;
use worker::*;

make_durable_object! {
    /// The object of one store.
    pub struct SyncBackendDO;
    options = |env: &Env| ObjectOptions::new().hooks(hooks(env));
}

/// What the app's clients pass as `syncPayload`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    auth_token: String,
}

/// The app's hooks: the Worker calls the first, the object the second.
fn hooks(env: &Env) -> HookFns {
    let expected = env.secret("AUTH_TOKEN").map(|secret| secret.to_string()).ok();
    HookFns::new()
        .validate_payload_as(move |payload: Payload, _connection| {
            let valid =
                expected.as_ref().is_some_and(|expected| same(payload.auth_token.as_bytes(), expected.as_bytes()));
            async move { if valid { Ok(()) } else { Err(HookError::new("Invalid auth token")) } }
        })
        .on_push_res(async |push, result, context| {
            if result.is_ok() {
                console_log!("{} events for {}", push.batch.len(), context.connection.store_id);
            }
        })
}

/// Compares in a time that does not tell how much is equal.
fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |differs, (left, right)| differs | (left ^ right)) == 0
}

#[event(fetch)]
async fn fetch(request: Request, env: Env, context: Context) -> Result<Response> {
    if let Some(sync) = match_sync_request(&request) {
        let options = WorkerOptions::new().enable_cors(true).hooks(hooks(&env));
        return handle_sync_request(request, sync, env, context, &options).await;
    }
    Router::new()
        .get("/", |_, _| Response::from_html("<!doctype html><title>An app</title><p>The app's own page."))
        .get("/api/health", |_, _| Response::ok("ok"))
        .run(request, env)
        .await
}

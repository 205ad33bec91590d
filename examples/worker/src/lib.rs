//! The sync server as a Cloudflare Worker, deployed by the `wrangler.toml` at the root. Variables of the
//! configuration choose what it does: see there.
#![cfg(target_family = "wasm")]

use std::time::Duration;

use livestore_sync_server::worker::{ObjectOptions, Storage, WorkerOptions, jwt_hooks, make_worker};
use livestore_sync_server::{Limits, make_durable_object};
use worker::{Context, Env, Request, Response, Result, event};

make_durable_object! {
    /// The object of one store.
    pub struct WebSocketServer;
    options = options;
}

/// A variable of the configuration.
fn variable(env: &Env, name: &str) -> Option<String> {
    env.var(name).ok().map(|value| value.to_string())
}

fn options(env: &Env) -> ObjectOptions {
    let storage = match variable(env, "LIVESTORE_SYNC_STORAGE").as_deref() {
        None => Storage::Auto,
        Some("do-sqlite") => Storage::DurableObject,
        Some("d1") => Storage::D1 { binding: "DB".to_owned() },
        // Where there is no such binding, nothing is served: better than events in another place.
        Some(binding) => Storage::D1 { binding: binding.to_owned() },
    };
    let number = |name| variable(env, name).and_then(|number| number.trim().parse::<u32>().ok());
    let mut limits = Limits::worker();
    if let Some(seconds) = number("LIVESTORE_SYNC_EXPIRY_GRACE") {
        limits = limits.with_expiry_grace(Duration::from_secs(seconds.into()));
    }
    if let Some(connections) = number("LIVESTORE_SYNC_MAX_CONNECTIONS_PER_STORE") {
        limits = limits.with_connections_per_store_max(connections as usize);
    }
    if let Some(connections) = number("LIVESTORE_SYNC_MAX_CONNECTIONS_PER_USER") {
        limits = limits.with_connections_per_user_max(connections as usize);
    }
    ObjectOptions::new().storage(storage).limits(limits).hooks(jwt_hooks(env))
}

#[event(fetch)]
async fn fetch(request: Request, env: Env, context: Context) -> Result<Response> {
    let cors = variable(&env, "LIVESTORE_SYNC_CORS").is_some_and(|value| value == "true");
    let origins = variable(&env, "LIVESTORE_SYNC_ALLOW_ORIGIN").unwrap_or_default();
    let origins = origins.split(',').map(str::trim).filter(|origin| !origin.is_empty());
    let options = WorkerOptions::new().enable_cors(cors).hooks(jwt_hooks(&env));
    let options = origins.fold(options, WorkerOptions::allow_origin);
    make_worker(options).fetch(request, env, context).await
}

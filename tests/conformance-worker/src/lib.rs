//! The suite of event logs inside workerd, on D1 and on the SQLite of an object: `GET /` lists its
//! functions, `GET /d1/NAME` and `GET /object/NAME` run one on a fresh log. A function that fails panics,
//! and its request with it; what it says is on the console. `cargo xtask conformance` runs all.
#![cfg(target_family = "wasm")]
#![allow(missing_docs, reason = "the macro of `worker` writes methods without")]

use livestore_sync_server::event_log::conformance;
use livestore_sync_server::protocol::limits::EVENT_BYTES_MAX;
use livestore_sync_server::worker::WorkerLog;
// `worker`'s macros want `wasm_bindgen` by name.
use worker::{Context, DurableObject, Env, Request, Response, Result, State, durable_object, event, wasm_bindgen};

const CREATED_AT: &str = "2026-11-21T00:14:31.259Z";

/// A little less than the largest event that is let in.
const LARGE_EVENT_BYTES: usize = EVENT_BYTES_MAX - 1_000;

/// A fresh object for each function.
#[durable_object(fetch)]
pub struct Logs {
    state: State,
    env: Env,
}

impl DurableObject for Logs {
    fn new(state: State, env: Env) -> Self {
        Self { state, env }
    }

    async fn fetch(&self, request: Request) -> Result<Response> {
        let path = request.path();
        let (log, name) = path.trim_start_matches('/').split_once('/').unwrap_or_default();
        let failed = |error| worker::Error::RustError(format!("{error}"));
        let log = match log {
            "d1" => WorkerLog::open_d1(self.env.d1("DB")?, name, CREATED_AT, None).await,
            _ => WorkerLog::open_object(&self.state, name, CREATED_AT).await,
        };
        conformance::run(name, &log.map_err(failed)?, LARGE_EVENT_BYTES).await;
        Response::ok("ok")
    }
}

#[event(fetch)]
async fn fetch(request: Request, env: Env, _context: Context) -> Result<Response> {
    match request.path().as_str() {
        "/" => Response::from_json(&conformance::NAMES),
        path => env.durable_object("LOGS")?.get_by_name(path)?.fetch_with_request(request).await,
    }
}

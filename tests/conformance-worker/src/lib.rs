//! The suite of event logs inside workerd, on D1 and on the SQLite of an object: `GET /` lists its
//! functions, `GET /d1/NAME` and `GET /object/NAME` run one on a fresh log. A function that fails panics,
//! and its request with it; what it says is on the console. `cargo xtask conformance` runs all.
#![cfg(target_family = "wasm")]
#![allow(missing_docs, reason = "the macro of `worker` writes methods without")]

mod beginning;

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
        let open = async || match log {
            "d1" => WorkerLog::open_d1(self.env.d1("DB")?, name, CREATED_AT, None).await.map_err(failed),
            _ => WorkerLog::open_object(&self.state, name, CREATED_AT).await.map_err(failed),
        };
        if beginning::NAMES.contains(&name) {
            let kept = async || if log == "d1" { self.kept_in_d1(name).await } else { self.kept_in_object() };
            beginning::run(name, async || open().await.expect("opens"), kept).await;
        } else {
            conformance::run(name, &open().await?, LARGE_EVENT_BYTES).await;
        }
        Response::ok("ok")
    }
}

impl Logs {
    /// Tables and registrations of a store.
    async fn kept_in_d1(&self, name: &str) -> u64 {
        let database = self.env.d1("DB").expect("a database");
        let count = "SELECT (SELECT count(*) FROM livestore_stores WHERE store_id = ?1) + (SELECT count(*) FROM sqlite_master WHERE name = 'eventlog_7_' || ?1) AS kept";
        let statement = database.prepare(count).bind(&[name.into()]).expect("binds");
        let kept: Option<f64> = statement.first(Some("kept")).await.expect("counts");
        kept.expect("a row") as u64
    }

    /// Whatever there is in the object.
    fn kept_in_object(&self) -> u64 {
        #[derive(serde::Deserialize)]
        struct Row {
            kept: u64,
        }
        let count = "SELECT count(*) AS kept FROM sqlite_master WHERE name NOT LIKE '\\_cf\\_%' ESCAPE '\\'";
        let cursor = self.state.storage().sql().exec(count, None).expect("counts");
        cursor.one::<Row>().expect("a row").kept
    }
}

#[event(fetch)]
async fn fetch(request: Request, env: Env, _context: Context) -> Result<Response> {
    match request.path().as_str() {
        "/" => Response::from_json(&[conformance::NAMES, &beginning::NAMES].concat()),
        path => env.durable_object("LOGS")?.get_by_name(path)?.fetch_with_request(request).await,
    }
}

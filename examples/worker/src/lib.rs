//! The sync server as a Cloudflare Worker.
#![cfg(target_family = "wasm")]

use worker::{Context, Env, Request, Response, Result, event};

#[event(fetch)]
async fn fetch(_request: Request, _env: Env, _context: Context) -> Result<Response> {
    Response::ok(livestore_sync_server::route::INFO)
}

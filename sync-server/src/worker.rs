//! The server on Cloudflare Workers: a Worker decides who may connect and forwards to a Durable Object
//! per store, which orders, stores and hands out the store's events.
//!
//! ```ignore
//! use livestore_sync_server::{HookFns, make_durable_object};
//! use livestore_sync_server::worker::{ObjectOptions, WorkerOptions, make_worker};
//! use worker::{Context, Env, Request, Response, Result, event};
//!
//! make_durable_object! {
//!     pub struct WebSocketServer;
//!     options = ObjectOptions::new().hooks(hooks());
//! }
//!
//! // The Worker calls `validate_payload`, the object the others. A type that implements `Hooks` will do, too.
//! fn hooks() -> HookFns {
//!     HookFns::new().validate_payload(async |connection| Ok(())).on_push(async |push, context| Ok(()))
//! }
//!
//! #[event(fetch)]
//! async fn fetch(request: Request, env: Env, context: Context) -> Result<Response> {
//!     make_worker(WorkerOptions::new().hooks(hooks()).enable_cors(true)).fetch(request, env, context).await
//! }
//! ```
//!
//! A worker that has routes of its own asks [`match_sync_request`] first and passes what matches to
//! [`handle_sync_request`]. Events are in D1 where the binding exists, else in the object's own SQLite,
//! see [`Storage`].

mod attachment;
mod event_log;
mod fan_out;
mod forwarded;
mod isolate_budget;
mod subscribers;
mod sweep;

#[cfg(target_family = "wasm")]
mod alarm;
#[cfg(target_family = "wasm")]
mod call;
#[cfg(target_family = "wasm")]
mod conversations;
#[cfg(all(target_family = "wasm", debug_assertions))]
mod debug;
#[cfg(target_family = "wasm")]
mod end;
#[cfg(target_family = "wasm")]
mod front;
#[cfg(target_family = "wasm")]
mod http;
#[cfg(all(feature = "jwt", target_family = "wasm"))]
mod jwt;
#[cfg(target_family = "wasm")]
mod log;
#[cfg(target_family = "wasm")]
mod macros;
#[cfg(target_family = "wasm")]
mod object;
#[cfg(target_family = "wasm")]
mod open_store;
#[cfg(target_family = "wasm")]
mod options;
#[cfg(target_family = "wasm")]
mod panic;
#[cfg(target_family = "wasm")]
mod pings;
#[cfg(target_family = "wasm")]
mod platform;
#[cfg(target_family = "wasm")]
mod saved_clients;
#[cfg(target_family = "wasm")]
mod socket;

#[cfg(target_family = "wasm")]
pub use self::event_log::{ReferenceRemains, WorkerLog};
#[cfg(target_family = "wasm")]
pub use self::front::{
    SyncRequest, SyncWorker, handle_sync_request, handle_websocket, make_worker, match_sync_request,
};
#[cfg(all(feature = "jwt", target_family = "wasm"))]
pub use self::jwt::jwt_hooks;
#[cfg(target_family = "wasm")]
pub use self::macros::{ObjectSetup, macro_scope};
#[cfg(target_family = "wasm")]
pub use self::object::SyncObject;
#[cfg(target_family = "wasm")]
pub use self::options::{ObjectOptions, Storage, WorkerOptions};

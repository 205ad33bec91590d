//! The backend that LiveStore apps sync through, for tokio and for Cloudflare Workers.
//!
#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    allow(dead_code, unused_imports, reason = "each platform uses a part; the tests use all of it, and are linted")
)]

mod admission;
#[cfg(feature = "jwt")]
pub mod auth;
mod budget;
mod close;
mod error;
mod event;
pub mod event_log;
mod failure;
mod frame;
mod hash;
mod hooks;
mod host;
mod limits;
mod log_line;
#[cfg(all(feature = "native", not(target_family = "wasm")))]
#[warn(dead_code, unused_imports)]
pub mod native;
mod platform;
mod request;
mod session;
mod store;
pub mod table_name;
#[cfg(any(test, all(feature = "worker", target_family = "wasm")))]
#[warn(dead_code, unused_imports)]
pub mod worker;

pub use error::{BackendIdMismatch, HistoryLost, HookError, InvalidBatch, PullError, PushError};
pub use event::Batch;
pub use event_log::EventLog;
pub use failure::Failure;
pub use hooks::{Access, Connection, HookContext, HookFns, Hooks, IDENTITY_BYTES_MAX, Identity, Pull, Push, Transport};
pub use http::{HeaderName, HeaderValue};
pub use limits::Limits;
pub use livestore_sync_protocol as protocol;
pub use log_line::one_line;
pub use platform::{BoxFuture, MaybeSend, MaybeSync, iso_timestamp, new_backend_id};
pub use uuid::Uuid;

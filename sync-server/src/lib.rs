//! A LiveStore-compatible event-sourcing sync server.
//!
//! One engine for every home: [`Store`] orders, stores and publishes the events of one store over
//! any [`EventLog`]; [`Session`] is one client's side of the conversation in any protocol generation,
//! free of I/O. The `native` feature adds the server for tokio with events in embedded SQLite.
//!
//! The wire is in `livestore-sync-protocol`; the invariants are in ARCHITECTURE.md.

#![cfg_attr(not(test), allow(dead_code, reason = "each platform uses a part; the tests use all of it"))]

mod admission;
mod close;
mod error;
mod event;
pub mod event_log;
mod hash;
mod hooks;
mod host;
mod limits;
#[cfg(all(feature = "native", not(target_family = "wasm")))]
pub mod native;
mod platform;
mod request;
mod session;
mod store;
pub mod table_name;
#[cfg(any(test, all(feature = "worker", target_family = "wasm")))]
pub mod worker;

pub use error::{BackendIdMismatch, HookError, InvalidBatch, PullError, PushError};
pub use event::Batch;
pub use event_log::EventLog;
pub use hooks::{Connection, HookContext, HookFns, Hooks, Pull, Push, Transport};
pub use http::{HeaderName, HeaderValue};
pub use limits::Limits;
pub use livestore_sync_protocol as protocol;
pub use platform::{BoxFuture, MaybeSend, MaybeSync, iso_timestamp, new_backend_id};
pub use uuid::Uuid;

/// Its examples, as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

//! A LiveStore-compatible event-sourcing sync server.
//!
//! One engine for every home: [`Store`] orders, stores and publishes the events of one store over
//! any [`EventLog`]; [`Session`] is one client's side of the conversation in any protocol generation,
//! free of I/O. The `native` feature adds the server for tokio with events in embedded SQLite.
//!
//! The wire is in `livestore-sync-protocol`; the invariants are in ARCHITECTURE.md.

pub mod admission;
mod backend_id;
mod batch;
mod clock;
mod error;
pub mod event_log;
mod hash;
#[cfg(any(feature = "native", all(feature = "worker", target_family = "wasm")))]
mod home;
mod hooks;
mod maybe_send;
#[cfg(feature = "native")]
pub mod native;
pub mod resume;
pub mod route;
mod session;
mod store;
pub mod table_name;
#[cfg(any(test, all(feature = "worker", target_family = "wasm")))]
pub mod worker;

pub use backend_id::new_backend_id;
pub use batch::Batch;
pub use clock::{Clock, iso_timestamp};
pub use error::{BackendIdMismatch, PullError, PushError};
pub use event_log::EventLog;
#[cfg(any(feature = "native", all(feature = "worker", target_family = "wasm")))]
use hooks::connection_id;
pub use hooks::{Connection, HookContext, HookError, HookFns, Hooks, Pull, Push, Transport};
pub use livestore_sync_protocol as protocol;
pub use maybe_send::{BoxFuture, MaybeSend, MaybeSync};
pub use session::{CLOSE_RESUME, Delivery, HEARD_MS_MAX, Input, Proof, Session, Snapshot, V03};
pub use store::{Admitted, Committed, Origin, Publish, PullSink, Pushed, Store};

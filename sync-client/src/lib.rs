//! A client of LiveStore sync servers, and an offline store.
//!
#![cfg_attr(all(feature = "local", feature = "tls"), doc = include_str!("../README.md"))]
#![cfg_attr(
    not(all(feature = "local", feature = "tls")),
    doc = "A LiveStore client in Rust. The whole text is that of the crate with all its features."
)]

// Modules use each other one way only: `local` is built on `client`, `client` on `connection`, and all of them on the
// ground floor (`batch`, `backoff`, `error`, `event`, `id`, `page`, `random`, `same`, `state`), which knows none of
// them.
mod backoff;
mod batch;
mod client;
mod connection;
mod error;
mod event;
mod id;
#[cfg(feature = "local")]
pub mod local;
mod page;
mod random;
mod same;
mod state;

pub use batch::{InvalidBatch, NEW_EVENT_BYTES_MAX, PUSH_BYTES_MAX, PUSH_EVENTS_MAX, chunks};
pub use client::{Builder, LivePull, Pull, SyncClient};
pub use connection::{Protocol, Timing};
pub use error::{AppendError, ConfigError, PingError, PullError, PushError};
pub use event::NewEvent;
/// The types and codecs of the wire.
pub use livestore_sync_protocol as protocol;
pub use page::Page;
pub use state::{ConnectionState, OfflineReason};
/// The TLS that [`Builder::tls`] is configured with.
#[cfg(feature = "tls")]
pub use tokio_rustls::rustls;

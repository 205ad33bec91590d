//! A client for LiveStore sync backends: push, pull and follow the events of a store.
//!
//! ```no_run
//! use livestore_sync_client::{SyncClient, protocol::{Args, Event, SeqNum}};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = SyncClient::builder("wss://sync.example.com", "notes")
//!     .payload(serde_json::json!({ "authToken": "secret" }))
//!     .connect()?;
//!
//! let mut head = SeqNum::ROOT;
//! let mut pull = client.pull(None);
//! while let Some(page) = pull.next().await {
//!     let page = page?;
//!     println!("{} events, {} to come", page.events.len(), page.remaining);
//!     head = page.events.last().map_or(head, |pulled| pulled.event.seq_num);
//! }
//!
//! let event = Event {
//!     name: "v1.NoteAdded".into(),
//!     args: Args::from_json(r#"{"text":"hello"}"#.into())?,
//!     seq_num: SeqNum::new(head.get() + 1)?,
//!     parent_seq_num: head,
//!     client_id: "a-service".into(),
//!     session_id: "1".into(),
//! };
//! client.push(vec![event]).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A [`SyncClient`] keeps one connection, opens it again when it is lost, continues pulls where they were, and
//! sends pushes whose outcome is not known once more. It works with this project's server and with the reference
//! (`@livestore/sync-cf` 0.3 and 0.4).
//!
//! [`local`] is the offline store on top of it: events committed on this machine, online or not, and kept in step
//! with a backend.

mod batch;
mod client;
mod connection;
mod error;
pub mod local;

pub use batch::{PUSH_BYTES_MAX, PUSH_EVENTS_MAX, chunks};
pub use client::{Builder, Generation, LivePull, Pull, SyncClient, Transport};
pub use connection::{ConnectionState, OfflineReason, Page, Timing};
pub use error::{ConfigError, InvalidBatch, PingError, PullError, PushError};
pub use livestore_sync_protocol as protocol;
pub use tokio_rustls::rustls;

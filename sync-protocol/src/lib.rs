//! The wire protocols between LiveStore clients and a sync backend, as types and codecs.
//!
//! Three generations are in use, and one server speaks them all:
//!
//! | generation | clients | envelope | module |
//! |---|---|---|---|
//! | 0.3 | `@livestore/sync-cf` 0.3.x | `WSMessage.*` JSON over WebSocket | [`v03`] |
//! | 0.4 | `@livestore/sync-cf` 0.4.x | Effect 3 RPC: causes are a tree, request ids are strings | [`rpc`] |
//! | next | LiveStore's main branch | Effect 4 RPC: causes are an array, request ids are numbers | [`rpc`] |
//!
//! An event's `args` are raw JSON from end to end ([`Args`]): byte for byte what a client pushed is
//! what every puller gets. Servers do not build values per event to answer a pull; they render rows
//! into [`Chunk`]s with a [`ChunkBuilder`] and wrap each chunk once per receiver.
//!
//! ```
//! use livestore_sync_protocol::rpc::{self, ClientMessage, Rpc};
//! use livestore_sync_protocol::{ChunkBuilder, EventRow, ItemFormat, PageInfo};
//!
//! let frame = r#"{"_tag":"Request","id":"0","tag":"SyncWsRpc.Push","payload":{"storeId":"notes",
//!     "batch":[{"name":"added","args":{"n":1e400},"seqNum":1,"parentSeqNum":0,"clientId":"c","sessionId":"s"}],
//!     "backendId":{"_tag":"None"}},"headers":[]}"#;
//! let Ok(ClientMessage::Request(request)) = ClientMessage::decode(frame).remove(0) else { panic!() };
//! let Rpc::Push(_, push) = &request.rpc else { panic!() };
//!
//! // What every puller of the store gets.
//! let mut chunks = ChunkBuilder::new(ItemFormat::Rpc);
//! for event in &push.batch {
//!     chunks.push(&EventRow::new(event, "2026-11-21T00:14:31.259Z"));
//! }
//! for chunk in chunks.finish() {
//!     let frame = rpc::encode_chunk(&request.id, Some(&chunk), PageInfo::NoMore, "V1StGXR8_Z5jdHi6B-myT");
//!     assert!(frame.contains(r#""args":{"n":1e400}"#));
//! }
//!
//! // What the pusher gets.
//! let frame = rpc::ServerMessage::push_success(request.id).encode();
//! assert_eq!(frame, r#"{"_tag":"Exit","requestId":"0","exit":{"_tag":"Success","value":{}}}"#);
//! ```
//!
//! This crate does no I/O: no sockets, clock, randomness, async or storage. Protocol facts were
//! recorded from the published packages; see PROTOCOL.md and `tests/vectors`.

mod chunk;
mod event;
pub mod limits;
mod message;
pub mod nanoid;
mod request_id;
pub mod rpc;
mod seq_num;
pub mod target;
pub mod v03;
mod wire;

pub use chunk::{Chunk, ChunkBuilder, Envelope, EventRow, ItemFormat};
pub use event::{Args, Event, PulledEvent};
pub use message::{Cursor, Generation, PageInfo, PullResponse};
pub use request_id::RequestId;
pub use seq_num::{InvalidSeqNum, SeqNum};

/// Its examples, as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

//! The protocol of `@livestore/sync-cf` 0.4.x and of LiveStore's main branch: Effect RPC as JSON.
//!
//! The two differ in the JSON type of request ids (string or number, the way to tell them apart),
//! in the shape of causes (tree or array) and in the success of a stream (`value` absent or `null`).
//!
//! Source: `src/common/*-rpc-schema.ts` of the npm package `@livestore/sync-cf` 0.4.0,
//! `RpcMessage.ts` of `@effect/rpc` 0.75 and `effect` 4, and recorded traffic.

mod client;
mod exit;
mod server;

pub use client::{ClientMessage, DecodeError, PingPayload, PullPayload, PushPayload, Request, Rpc, Transport};
pub use exit::{Cause, Exit, FiberId, SyncError};
pub use server::{ServerMessage, encode_chunk};

/// The ping of RPC clients, byte for byte (a Durable Object's auto-response matches the text).
pub const PING: &str = r#"{"_tag":"Ping"}"#;
/// The answer to [`PING`].
pub const PONG: &str = r#"{"_tag":"Pong"}"#;

//! The protocol of `@livestore/sync-cf` 0.4.x and of LiveStore's main branch: Effect RPC as JSON.
//!
//! The two differ in the JSON type of request ids (string or number, the way to tell them apart),
//! in the shape of causes (tree or array) and in the success of a stream (`value` absent or `null`).
//!
//! ```
//! use livestore_sync_protocol::rpc::{Cause, ClientMessage, ServerMessage, SyncError};
//! use livestore_sync_protocol::{RequestId, SeqNum};
//!
//! let cause = Cause::Fail {
//!     error: SyncError::ServerAhead { minimum_expected_num: SeqNum::MAX, provided_num: SeqNum::ROOT },
//! };
//! let v04 = ServerMessage::failure(RequestId::Text("3".into()), cause.clone()).encode();
//! assert!(v04.contains(r#""requestId":"3","exit":{"_tag":"Failure","cause":{"_tag":"Fail""#));
//! let next = ServerMessage::failure(RequestId::Number(3), cause).encode();
//! assert!(next.contains(r#""requestId":3,"exit":{"_tag":"Failure","cause":[{"_tag":"Fail""#));
//!
//! // What cannot be read has an answer too.
//! let error = ClientMessage::decode(r#"{"_tag":"Nope"}"#).remove(0).unwrap_err();
//! let answer = ServerMessage::from_decode_error(error).encode();
//! assert_eq!(answer, r#"{"_tag":"Defect","defect":"Unknown request tag: Nope"}"#);
//! ```
//!
//! Source: `src/common/*-rpc-schema.ts` of the npm package `@livestore/sync-cf` 0.4.0,
//! `RpcMessage.ts` of `@effect/rpc` 0.75 and `effect` 4, and recorded traffic.

mod client;
mod exit;
pub mod msgpack;
mod server;

pub use client::{
    CallerContext, ClientMessage, DecodeError, PingPayload, PullPayload, PushPayload, Request, Rpc, RpcContext,
    Transport,
};
pub use exit::{Cause, Exit, FiberId, SyncError};
pub use server::{ServerMessage, answer_chunk_envelope, chunk_envelope, encode_answer_chunk, encode_chunk};

/// The ping of RPC clients, byte for byte (a Durable Object's auto-response matches the text).
pub const PING: &str = r#"{"_tag":"Ping"}"#;
/// The answer to [`PING`].
pub const PONG: &str = r#"{"_tag":"Pong"}"#;

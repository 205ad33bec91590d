//! The protocol of `@livestore/sync-cf` 0.3.x: one JSON message per WebSocket text frame.
//!
//! ```
//! use livestore_sync_protocol::v03::{ClientMessage, ServerMessage, Id};
//!
//! let frame = r#"{"_tag":"WSMessage.PushReq","requestId":"a","batch":[]}"#;
//! let Ok(ClientMessage::Push(push)) = ClientMessage::decode(frame) else { panic!() };
//! let answer = ServerMessage::PushAck(Id { request_id: push.request_id });
//! assert_eq!(answer.encode(), r#"{"_tag":"WSMessage.PushAck","requestId":"a"}"#);
//!
//! // A frame that is wrong still names its request where it can.
//! let error = ClientMessage::decode(r#"{"_tag":"WSMessage.PushReq","requestId":"b"}"#).unwrap_err();
//! assert_eq!(error.request_id, "b");
//! ```
//!
//! Source: `src/common/ws-message-types.ts` of the npm package 0.3.1, and recorded traffic.

mod reason;

use serde::{Deserialize, Serialize};

use crate::chunk::push_json_string;
use crate::wire::{self, Item, V03Metadata};
use crate::{Chunk, Envelope, Event, PulledEvent, SeqNum};

pub use self::reason::Reason;

/// The ping that clients send, byte for byte (a Durable Object's auto-response matches the text).
pub const PING: &str = r#"{"_tag":"WSMessage.Ping","requestId":"ping"}"#;
/// The answer to [`PING`].
pub const PONG: &str = r#"{"_tag":"WSMessage.Pong","requestId":"ping"}"#;

/// What a client sends. Request ids are 21-character nanoids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "_tag")]
pub enum ClientMessage {
    /// Asks for all events above the cursor, once. Later events come unasked, to every connection.
    #[serde(rename = "WSMessage.PullReq")]
    Pull(PullReq),
    /// Offers events.
    #[serde(rename = "WSMessage.PushReq")]
    Push(PushReq),
    /// See [`PING`].
    #[serde(rename = "WSMessage.Ping")]
    Ping(Id),
    /// Asks to reset the store.
    #[serde(rename = "WSMessage.AdminResetRoomReq")]
    AdminResetRoom(AdminReq),
    /// Asks for the object's id.
    #[serde(rename = "WSMessage.AdminInfoReq")]
    AdminInfo(AdminReq),
}

/// See [`ClientMessage::Pull`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PullReq {
    /// The pull's id.
    #[serde(deserialize_with = "wire::request_id")]
    pub request_id: String,
    /// The last event that the client has; absent means from the start, `null` is invalid.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present_cursor")]
    pub cursor: Option<SeqNum>,
}

fn present_cursor<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<SeqNum>, D::Error> {
    SeqNum::deserialize_cursor(deserializer).map(Some)
}

/// See [`ClientMessage::Push`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PushReq {
    /// The push's id.
    #[serde(deserialize_with = "wire::request_id")]
    pub request_id: String,
    /// The events, ascending.
    #[serde(deserialize_with = "wire::events")]
    pub batch: Vec<Event>,
}

/// A message that is only its request's id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Id {
    /// The request's id.
    #[serde(deserialize_with = "wire::request_id")]
    pub request_id: String,
}

/// See [`ClientMessage::AdminResetRoom`] and [`ClientMessage::AdminInfo`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdminReq {
    /// The request's id.
    #[serde(deserialize_with = "wire::request_id")]
    pub request_id: String,
    /// What proves that the caller may.
    pub admin_secret: String,
}

/// Why a frame is not a message, with the request to answer where one could be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DecodeError {
    /// The frame's `requestId`; empty where it has none, or a longer one than
    /// [`REQUEST_ID_BYTES_MAX`](crate::limits::REQUEST_ID_BYTES_MAX).
    pub request_id: String,
    /// What is wrong, naming the field.
    pub message: String,
}

impl DecodeError {
    fn new(text: &str, message: String) -> Self {
        Self { request_id: wire::read::<Id>(text).map(|id| id.request_id).unwrap_or_default(), message }
    }
}

impl ClientMessage {
    /// Reads a frame.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for anything that is not a client message.
    pub fn decode(text: &str) -> Result<Self, DecodeError> {
        let tag = wire::tag(text).map_err(|error| DecodeError::new(text, error))?;
        match tag.as_str() {
            "WSMessage.PullReq" => wire::read(text).map(Self::Pull),
            "WSMessage.PushReq" => wire::read(text).map(Self::Push),
            "WSMessage.Ping" => wire::read(text).map(Self::Ping),
            "WSMessage.AdminResetRoomReq" => wire::read(text).map(Self::AdminResetRoom),
            "WSMessage.AdminInfoReq" => wire::read(text).map(Self::AdminInfo),
            other => Err(format!("unknown message tag: {other}")),
        }
        .map_err(|error| DecodeError::new(text, error))
    }

    /// Writes the frame.
    #[must_use]
    pub fn encode(&self) -> String {
        wire::write(self)
    }
}

/// Why a client gets events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Context {
    /// They answer its pull. Clients take them only with their own pull's request id.
    Pull,
    /// Somebody pushed them. Clients take them whatever the request id.
    Push,
}

/// Which request a [`PullRes`] belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PullResId {
    /// Pull or push.
    pub context: Context,
    /// The pull's or the push's request id.
    pub request_id: String,
}

/// What a server sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "_tag")]
pub enum ServerMessage {
    /// Events.
    #[serde(rename = "WSMessage.PullRes")]
    Pull(PullRes),
    /// The push is committed.
    #[serde(rename = "WSMessage.PushAck")]
    PushAck(Id),
    /// The request is refused.
    #[serde(rename = "WSMessage.Error")]
    Error(Refusal),
    /// See [`PONG`].
    #[serde(rename = "WSMessage.Pong")]
    Pong(Id),
    /// The store is reset.
    #[serde(rename = "WSMessage.AdminResetRoomRes")]
    AdminResetRoom(Id),
    /// The object's id.
    #[serde(rename = "WSMessage.AdminInfoRes")]
    AdminInfo(AdminInfoRes),
}

/// See [`ServerMessage::Pull`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PullRes {
    /// The events, ascending.
    #[serde(with = "items")]
    pub batch: Vec<PulledEvent>,
    /// What they answer.
    pub request_id: PullResId,
    /// Events of this pull that are still to come.
    pub remaining: u64,
}

mod items {
    use super::{Item, PulledEvent, V03Metadata};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(batch: &[PulledEvent], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(batch.iter().cloned().map(Item::<V03Metadata>::from))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PulledEvent>, D::Error> {
        let items = Vec::<Item<V03Metadata>>::deserialize(deserializer)?;
        Ok(items.into_iter().map(PulledEvent::from).collect())
    }
}

/// See [`ServerMessage::Error`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// The request's id; empty when the frame had none.
    pub request_id: String,
    /// Why, for people.
    pub message: String,
}

/// See [`ServerMessage::AdminInfo`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdminInfoRes {
    /// The request's id.
    pub request_id: String,
    /// What was asked for.
    pub info: AdminInfo,
}

/// The answer to [`ClientMessage::AdminInfo`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdminInfo {
    /// 64 hex digits.
    pub durable_object_id: String,
}

impl ServerMessage {
    /// Reads a frame.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for anything that is not a server message.
    pub fn decode(text: &str) -> Result<Self, DecodeError> {
        let tag = wire::tag(text).map_err(|error| DecodeError::new(text, error))?;
        match tag.as_str() {
            "WSMessage.PullRes" => wire::read(text).map(Self::Pull),
            "WSMessage.PushAck" => wire::read(text).map(Self::PushAck),
            "WSMessage.Error" => wire::read(text).map(Self::Error),
            "WSMessage.Pong" => wire::read(text).map(Self::Pong),
            "WSMessage.AdminResetRoomRes" => wire::read(text).map(Self::AdminResetRoom),
            "WSMessage.AdminInfoRes" => wire::read(text).map(Self::AdminInfo),
            other => Err(format!("unknown message tag: {other}")),
        }
        .map_err(|error| DecodeError::new(text, error))
    }

    /// Writes the frame.
    #[must_use]
    pub fn encode(&self) -> String {
        wire::write(self)
    }
}

/// The frame of a [`PullRes`] around a chunk that is rendered already; `None` is an empty batch.
#[must_use]
pub fn encode_pull_res(chunk: Option<&Chunk>, context: Context, request_id: &str, remaining: u64) -> String {
    pull_res_envelope(context, request_id, remaining).around(chunk)
}

/// What [`encode_pull_res`] puts around a chunk, for those who share it.
#[must_use]
pub fn pull_res_envelope(context: Context, request_id: &str, remaining: u64) -> Envelope {
    let mut frame = String::with_capacity(request_id.len() + 96);
    frame.push_str(match context {
        Context::Pull => r#"],"requestId":{"context":"pull","requestId":"#,
        Context::Push => r#"],"requestId":{"context":"push","requestId":"#,
    });
    push_json_string(&mut frame, request_id);
    frame.push_str(r#"},"remaining":"#);
    frame.push_str(itoa::Buffer::new().format(remaining));
    frame.push('}');
    Envelope { head: r#"{"_tag":"WSMessage.PullRes","batch":["#.to_owned(), tail: frame }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::REQUEST_ID_BYTES_MAX;

    #[test]
    fn arrays_are_no_messages() {
        for frame in [
            r#"["WSMessage.Ping"]"#,
            r#"["WSMessage.PullReq","a"]"#,
            r#"{"_tag":"WSMessage.PushReq","requestId":"a","batch":[["n",{},1,0,"c","s"]]}"#,
        ] {
            assert!(ClientMessage::decode(frame).is_err(), "{frame}");
        }
    }

    #[test]
    fn a_request_id_has_a_limit() {
        let frame = |bytes| format!(r#"{{"_tag":"WSMessage.PullReq","requestId":"{}"}}"#, "x".repeat(bytes));
        assert!(ClientMessage::decode(&frame(REQUEST_ID_BYTES_MAX)).is_ok());
        let error = ClientMessage::decode(&frame(REQUEST_ID_BYTES_MAX + 1)).expect_err("too long");
        assert_eq!(error.request_id, "");
    }
}

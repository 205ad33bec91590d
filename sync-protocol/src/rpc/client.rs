//! What RPC clients send (0.4 and next). A server decodes it, a client encodes it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::limits::FRAME_MESSAGES_MAX;
use crate::wire::{self, WireOption};
use crate::{Cursor, Event, RequestId, SeqNum};

/// What a client sends.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "_tag", rename_all_fields = "camelCase")]
pub enum ClientMessage {
    /// Starts a call.
    Request(Request),
    /// The client took one chunk of a stream.
    Ack {
        /// The stream's request.
        request_id: RequestId,
    },
    /// The client no longer wants the answer.
    Interrupt {
        /// The request to end.
        request_id: RequestId,
    },
    /// See [`super::PING`].
    Ping,
    /// The client has no more requests; needs no answer.
    Eof,
}

/// A call.
#[derive(Clone, Debug)]
pub struct Request {
    /// What answers refer to.
    pub id: RequestId,
    /// What is called, and with what.
    pub rpc: Rpc,
    /// Always present on the wire; the WebSocket client sends none.
    pub headers: Vec<(String, String)>,
    /// 32 hex digits.
    pub trace_id: Option<String>,
    /// 16 hex digits.
    pub span_id: Option<String>,
    /// Whether the trace is sampled.
    pub sampled: Option<bool>,
}

/// Which family of RPC tags: `SyncWsRpc.*`, `SyncHttpRpc.*` or `SyncDoRpc.*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// WebSocket.
    Ws,
    /// HTTP.
    Http,
    /// Calls between Durable Objects, see [`super::msgpack`].
    DurableObject,
}

/// The calls.
#[derive(Clone, Debug)]
pub enum Rpc {
    /// `SyncWsRpc.Pull`, `SyncHttpRpc.Pull`, `SyncDoRpc.Pull`.
    Pull(Transport, PullPayload),
    /// `SyncWsRpc.Push`, `SyncHttpRpc.Push`, `SyncDoRpc.Push`.
    Push(Transport, PushPayload),
    /// `SyncHttpRpc.Ping`, `SyncDoRpc.Ping`; WebSockets have [`super::PING`].
    Ping(Transport, PingPayload),
}

/// The arguments of a pull.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PullPayload {
    /// The store. The URL decides; this one is ignored, as in the reference.
    pub store_id: String,
    /// The connection payload again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<RawValue>>,
    /// Whether events that are pushed later shall follow. WebSocket only, and required there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<bool>,
    /// Where the client is; `None` means from the start.
    #[serde(serialize_with = "write_cursor", deserialize_with = "read_cursor")]
    pub cursor: Option<Cursor>,
    /// Whom to call with events that are pushed later. Between Durable Objects only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpc_context: Option<Box<RpcContext>>,
}

/// See [`PullPayload::rpc_context`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RpcContext {
    /// The client.
    pub caller_context: CallerContext,
}

/// A client that is a Durable Object, as the server's environment knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallerContext {
    /// The binding of its namespace.
    #[serde(deserialize_with = "wire::caller")]
    pub binding_name: String,
    /// Its id, as hex digits.
    #[serde(deserialize_with = "wire::caller")]
    pub durable_object_id: String,
}

/// The arguments of a push.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PushPayload {
    /// The store. The URL decides; this one is ignored, as in the reference.
    pub store_id: String,
    /// The connection payload again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<RawValue>>,
    /// The events, ascending.
    #[serde(deserialize_with = "wire::events")]
    pub batch: Vec<Event>,
    /// The log that the client believes to push to; `None` before its first pull.
    #[serde(serialize_with = "write_option", deserialize_with = "read_backend_id")]
    pub backend_id: Option<String>,
}

/// The arguments of a ping.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PingPayload {
    /// The store. The URL decides; this one is ignored, as in the reference.
    pub store_id: String,
    /// The connection payload again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<RawValue>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireCursor {
    #[serde(deserialize_with = "wire::backend_id")]
    backend_id: String,
    #[serde(deserialize_with = "SeqNum::deserialize_cursor")]
    event_sequence_number: SeqNum,
}

fn write_cursor<S: Serializer>(cursor: &Option<Cursor>, serializer: S) -> Result<S::Ok, S::Error> {
    let cursor = cursor.as_ref().map(|cursor| WireCursor {
        backend_id: cursor.backend_id.clone().unwrap_or_default(),
        event_sequence_number: cursor.seq_num,
    });
    WireOption::from(cursor).serialize(serializer)
}

fn read_cursor<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cursor>, D::Error> {
    let cursor: Option<WireCursor> = WireOption::deserialize(deserializer)?.into();
    Ok(cursor.map(|cursor| Cursor { backend_id: Some(cursor.backend_id), seq_num: cursor.event_sequence_number }))
}

fn write_option<S: Serializer>(value: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    WireOption::from(value.as_ref()).serialize(serializer)
}

fn read_backend_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct BackendId(#[serde(deserialize_with = "wire::backend_id")] String);
    let id: Option<BackendId> = WireOption::deserialize(deserializer)?.into();
    Ok(id.map(|id| id.0))
}

impl Rpc {
    /// The tag on the wire.
    #[must_use]
    pub fn tag(&self) -> &'static str {
        match self {
            Self::Pull(Transport::Ws, _) => "SyncWsRpc.Pull",
            Self::Pull(Transport::Http, _) => "SyncHttpRpc.Pull",
            Self::Pull(Transport::DurableObject, _) => "SyncDoRpc.Pull",
            Self::Push(Transport::Ws, _) => "SyncWsRpc.Push",
            Self::Push(Transport::Http, _) => "SyncHttpRpc.Push",
            Self::Push(Transport::DurableObject, _) => "SyncDoRpc.Push",
            Self::Ping(Transport::DurableObject, _) => "SyncDoRpc.Ping",
            Self::Ping(..) => "SyncHttpRpc.Ping",
        }
    }

    /// `None` for a tag that is not known.
    fn read(tag: &str, payload: &RawValue) -> Option<Result<Self, String>> {
        let payload = payload.get();
        Some(match tag {
            "SyncWsRpc.Pull" => wire::read(payload).and_then(|pull: PullPayload| match pull.live {
                Some(_) => Ok(Self::Pull(Transport::Ws, pull)),
                None => Err("missing field `live`".to_owned()),
            }),
            "SyncHttpRpc.Pull" => wire::read(payload).map(|pull| Self::Pull(Transport::Http, pull)),
            "SyncWsRpc.Push" => wire::read(payload).map(|push| Self::Push(Transport::Ws, push)),
            "SyncHttpRpc.Push" => wire::read(payload).map(|push| Self::Push(Transport::Http, push)),
            "SyncHttpRpc.Ping" => wire::read(payload).map(|ping| Self::Ping(Transport::Http, ping)),
            "SyncDoRpc.Pull" => wire::read(payload).map(|pull| Self::Pull(Transport::DurableObject, pull)),
            "SyncDoRpc.Push" => wire::read(payload).map(|push| Self::Push(Transport::DurableObject, push)),
            "SyncDoRpc.Ping" => wire::read(payload).map(|ping| Self::Ping(Transport::DurableObject, ping)),
            _ => return None,
        })
    }
}

impl Serialize for Request {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(untagged)]
        enum Payload<'a> {
            Pull(&'a PullPayload),
            Push(&'a PushPayload),
            Ping(&'a PingPayload),
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Out<'a> {
            id: &'a RequestId,
            tag: &'static str,
            payload: Payload<'a>,
            #[serde(skip_serializing_if = "Option::is_none")]
            trace_id: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            span_id: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            sampled: Option<bool>,
            headers: &'a [(String, String)],
        }
        Out {
            id: &self.id,
            tag: self.rpc.tag(),
            payload: match &self.rpc {
                Rpc::Pull(_, pull) => Payload::Pull(pull),
                Rpc::Push(_, push) => Payload::Push(push),
                Rpc::Ping(_, ping) => Payload::Ping(ping),
            },
            trace_id: self.trace_id.as_deref(),
            span_id: self.span_id.as_deref(),
            sampled: self.sampled,
            headers: &self.headers,
        }
        .serialize(serializer)
    }
}

/// Why a message cannot be handled.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not JSON.
    #[error("{0}")]
    Syntax(String),
    /// See [`FRAME_MESSAGES_MAX`].
    #[error("a frame may hold {FRAME_MESSAGES_MAX} messages at most")]
    TooManyMessages,
    /// No client message has this `_tag`; `undefined` when there is none.
    #[error("Unknown request tag: {0}")]
    UnknownTag(String),
    /// The message lacks what ties it to a request, or another member of the envelope is wrong.
    #[error("{tag}: {message}")]
    Envelope {
        /// The message's tag.
        tag: String,
        /// What is wrong, naming the member.
        message: String,
    },
    /// No call has this tag.
    #[error("Unknown request tag: {tag}")]
    UnknownRpc {
        /// The request to answer.
        id: RequestId,
        /// The call's tag.
        tag: String,
    },
    /// The call's payload does not fit.
    #[error("{tag}: {message}")]
    Payload {
        /// The request to answer.
        id: RequestId,
        /// The call's tag.
        tag: String,
        /// What is wrong, naming the field.
        message: String,
    },
}

impl ClientMessage {
    /// Reads a frame or an HTTP body: one message, or (as Effect 4 may send) an array of them.
    /// A message that is wrong does not spoil its neighbours.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] per message; a frame that is not JSON is one [`DecodeError::Syntax`].
    pub fn decode(text: &str) -> Vec<Result<Self, DecodeError>> {
        if text.trim_start().starts_with('[') {
            return match serde_json::from_str::<Vec<&RawValue>>(text) {
                Ok(messages) if messages.len() > FRAME_MESSAGES_MAX => vec![Err(DecodeError::TooManyMessages)],
                Ok(messages) => messages.into_iter().map(|message| Self::decode_one(message.get())).collect(),
                Err(error) => vec![Err(DecodeError::Syntax(wire::quoted(error.to_string())))],
            };
        }
        vec![Self::decode_one(text)]
    }

    /// An acknowledgement as clients write it. Most frames of a client are one, so it is not read as others are: once
    /// for the tag and then again.
    fn decode_ack(text: &str) -> Option<Self> {
        let request_id = text.strip_prefix(r#"{"_tag":"Ack","requestId":"#)?.strip_suffix('}')?;
        serde_json::from_str(request_id).ok().map(|request_id| Self::Ack { request_id })
    }

    fn decode_one(text: &str) -> Result<Self, DecodeError> {
        if let Some(ack) = Self::decode_ack(text) {
            return Ok(ack);
        }
        if text.trim_ascii().is_empty() {
            return Err(DecodeError::Syntax("there is no message: send one as a JSON object".into()));
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Envelope<'a> {
            id: RequestId,
            tag: String,
            #[serde(borrow)]
            payload: &'a RawValue,
            // The reference's HTTP side needs it, its WebSocket side does not.
            #[serde(default)]
            headers: Vec<(String, String)>,
            trace_id: Option<String>,
            span_id: Option<String>,
            sampled: Option<bool>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Id {
            request_id: RequestId,
        }

        let tag = match wire::tag(text) {
            Ok(tag) => tag,
            // Tell a syntax error from JSON that is no message.
            Err(_) => match serde_json::from_str::<&RawValue>(text) {
                Ok(_) => return Err(DecodeError::UnknownTag("undefined".into())),
                Err(error) => return Err(DecodeError::Syntax(wire::quoted(error.to_string()))),
            },
        };
        let envelope = |message| DecodeError::Envelope { tag: tag.clone(), message };
        match tag.as_str() {
            "Request" => {
                let Envelope { id, tag, payload, headers, trace_id, span_id, sampled } =
                    wire::read(text).map_err(envelope)?;
                match Rpc::read(&tag, payload) {
                    Some(Ok(rpc)) => Ok(Self::Request(Request { id, rpc, headers, trace_id, span_id, sampled })),
                    Some(Err(message)) => Err(DecodeError::Payload { id, tag, message }),
                    None => Err(DecodeError::UnknownRpc { id, tag: wire::quoted(tag) }),
                }
            }
            "Ack" => wire::read(text).map(|Id { request_id }| Self::Ack { request_id }).map_err(envelope),
            "Interrupt" => wire::read(text).map(|Id { request_id }| Self::Interrupt { request_id }).map_err(envelope),
            "Ping" => Ok(Self::Ping),
            "Eof" => Ok(Self::Eof),
            _ => Err(DecodeError::UnknownTag(tag)),
        }
    }

    /// Writes the frame.
    #[must_use]
    pub fn encode(&self) -> String {
        wire::write(self)
    }
}

//! What RPC servers send (0.4 and next). A server encodes it, a client decodes it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::exit::error_value;
use super::{Cause, DecodeError, Exit};
use crate::chunk::push_json_string;
use crate::wire::{self, Item, RpcMetadata};
use crate::{Chunk, Envelope, PageInfo, PullResponse, PulledEvent, RequestId};

/// What a server sends.
#[derive(Clone, Debug)]
pub enum ServerMessage {
    /// Part of a pull. Clients answer each with an `Ack`.
    Chunk {
        /// The pull.
        request_id: RequestId,
        /// At least one; the reference sends exactly one.
        values: Vec<PullResponse>,
    },
    /// The end of a call.
    Exit {
        /// The call.
        request_id: RequestId,
        /// How it ended.
        exit: Exit,
    },
    /// Something is wrong with the connection's input; clients fail all their running calls.
    Defect {
        /// `{"name":…,"message":…}` for errors, text for anything else.
        defect: Value,
    },
    /// See [`super::PONG`].
    Pong,
}

impl ServerMessage {
    /// The end of a push that is committed: `{}`.
    #[must_use]
    pub fn push_success(request_id: RequestId) -> Self {
        Self::success(request_id, "{}")
    }

    /// The answer to the HTTP ping.
    #[must_use]
    pub fn ping_success(request_id: RequestId) -> Self {
        Self::success(request_id, r#"{"_tag":"SyncMessage.Pong"}"#)
    }

    fn success(request_id: RequestId, value: &str) -> Self {
        let value = RawValue::from_string(value.to_owned()).expect("a JSON literal");
        Self::Exit { request_id, exit: Exit::Success(Some(value)) }
    }

    /// The end of a pull that has sent everything.
    #[must_use]
    pub fn pull_end(request_id: RequestId) -> Self {
        Self::Exit { request_id, exit: Exit::Success(None) }
    }

    /// A failure.
    #[must_use]
    pub fn failure(request_id: RequestId, cause: Cause) -> Self {
        Self::Exit { request_id, exit: Exit::Failure(cause) }
    }

    /// How a server answers a message that it cannot handle: the request where there is one, else
    /// the connection. Effect 4 answers an unknown call on its request, Effect 3 on the connection.
    #[must_use]
    pub fn from_decode_error(error: DecodeError) -> Self {
        let text = error.to_string();
        match error {
            DecodeError::Syntax(message) => Self::Defect { defect: error_value("SyntaxError", &message) },
            DecodeError::Payload { id, .. } => Self::failure(id, Cause::Die { defect: Value::String(text) }),
            DecodeError::UnknownRpc { id: id @ RequestId::Number(_), .. } => {
                Self::failure(id, Cause::Die { defect: Value::String(text) })
            }
            DecodeError::TooManyMessages
            | DecodeError::UnknownTag(_)
            | DecodeError::Envelope { .. }
            | DecodeError::UnknownRpc { .. } => Self::Defect { defect: Value::String(text) },
        }
    }

    /// Writes the frame in the spelling of the generation that the request id belongs to.
    #[must_use]
    pub fn encode(&self) -> String {
        #[derive(Serialize)]
        #[serde(tag = "_tag", rename_all_fields = "camelCase")]
        enum Out<'a> {
            Chunk { request_id: &'a RequestId, values: Vec<ResponseOut> },
            Exit { request_id: &'a RequestId, exit: Box<RawValue> },
            Defect { defect: &'a Value },
            Pong,
        }
        wire::write(&match self {
            Self::Chunk { request_id, values } => {
                Out::Chunk { request_id, values: values.iter().cloned().map(ResponseOut::from).collect() }
            }
            Self::Exit { request_id, exit } => Out::Exit {
                request_id,
                exit: RawValue::from_string(exit.encode(request_id.generation())).expect("an encoded exit is JSON"),
            },
            Self::Defect { defect } => Out::Defect { defect },
            Self::Pong => Out::Pong,
        })
    }

    /// Reads a frame: one message or an array of them.
    ///
    /// # Errors
    ///
    /// Text for people: what is wrong, naming the field.
    pub fn decode(text: &str) -> Result<Vec<Self>, String> {
        if text.trim_start().starts_with('[') {
            let messages: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| error.to_string())?;
            return messages.into_iter().map(|message| Self::decode_one(message.get())).collect();
        }
        Self::decode_one(text).map(|message| vec![message])
    }

    fn decode_one(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Chunk {
            request_id: RequestId,
            values: Vec<ResponseIn>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct ExitIn<'a> {
            request_id: RequestId,
            #[serde(borrow)]
            exit: &'a RawValue,
        }
        #[derive(Deserialize)]
        struct Defect {
            defect: Value,
        }
        match wire::tag(text)?.as_str() {
            "Chunk" => wire::read(text).map(|Chunk { request_id, values }| Self::Chunk {
                request_id,
                values: values.into_iter().map(PullResponse::from).collect(),
            }),
            "Exit" => {
                let ExitIn { request_id, exit } = wire::read(text)?;
                Ok(Self::Exit { request_id, exit: Exit::decode(exit.get())? })
            }
            "Defect" => wire::read(text).map(|Defect { defect }| Self::Defect { defect }),
            "Pong" => Ok(Self::Pong),
            other => Err(format!("unknown message tag: {other}")),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "_tag")]
enum WirePageInfo {
    NoMore,
    MoreKnown { remaining: u64 },
    MoreUnknown,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResponseIn {
    batch: Vec<Item<RpcMetadata>>,
    page_info: WirePageInfo,
    #[serde(deserialize_with = "wire::backend_id")]
    backend_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResponseOut {
    batch: Vec<Item<RpcMetadata>>,
    page_info: WirePageInfo,
    backend_id: String,
}

impl From<ResponseIn> for PullResponse {
    fn from(response: ResponseIn) -> Self {
        Self {
            batch: response.batch.into_iter().map(PulledEvent::from).collect(),
            page_info: match response.page_info {
                WirePageInfo::NoMore => PageInfo::NoMore,
                WirePageInfo::MoreKnown { remaining } => PageInfo::MoreKnown { remaining },
                WirePageInfo::MoreUnknown => PageInfo::MoreUnknown,
            },
            backend_id: response.backend_id,
        }
    }
}

impl From<PageInfo> for WirePageInfo {
    fn from(page_info: PageInfo) -> Self {
        match page_info {
            PageInfo::NoMore => Self::NoMore,
            PageInfo::MoreKnown { remaining } => Self::MoreKnown { remaining },
            PageInfo::MoreUnknown => Self::MoreUnknown,
        }
    }
}

impl From<PullResponse> for ResponseOut {
    fn from(response: PullResponse) -> Self {
        Self {
            batch: response.batch.into_iter().map(Item::from).collect(),
            page_info: response.page_info.into(),
            backend_id: response.backend_id,
        }
    }
}

/// The frame of a [`ServerMessage::Chunk`] around a chunk that is rendered already; `None` is an
/// empty batch.
#[must_use]
pub fn encode_chunk(request_id: &RequestId, chunk: Option<&Chunk>, page_info: PageInfo, backend_id: &str) -> String {
    chunk_envelope(request_id, page_info, backend_id).around(chunk)
}

/// The same as part of the answer to a Durable Object's pull, which tells its request twice. (What
/// it gets later, in calls, does not.)
#[must_use]
pub fn encode_answer_chunk(
    request_id: &RequestId,
    chunk: Option<&Chunk>,
    page_info: PageInfo,
    backend_id: &str,
) -> String {
    answer_chunk_envelope(request_id, page_info, backend_id).around(chunk)
}

/// What [`encode_chunk`] puts around a chunk, for those who share it.
#[must_use]
pub fn chunk_envelope(request_id: &RequestId, page_info: PageInfo, backend_id: &str) -> Envelope {
    envelope(request_id, false, page_info, backend_id)
}

/// What [`encode_answer_chunk`] puts around a chunk.
#[must_use]
pub fn answer_chunk_envelope(request_id: &RequestId, page_info: PageInfo, backend_id: &str) -> Envelope {
    envelope(request_id, true, page_info, backend_id)
}

fn envelope(request_id: &RequestId, id_in_value: bool, page_info: PageInfo, backend_id: &str) -> Envelope {
    let mut frame = String::with_capacity(96);
    let push_id = |frame: &mut String| match request_id {
        RequestId::Number(id) => frame.push_str(itoa::Buffer::new().format(*id)),
        RequestId::Text(id) => push_json_string(frame, id),
    };
    frame.push_str(r#"{"_tag":"Chunk","requestId":"#);
    push_id(&mut frame);
    frame.push_str(r#","values":[{"#);
    if id_in_value {
        // Text in every generation: under it, the client looks for what comes in calls.
        frame.push_str(r#""rpcRequestId":"#);
        push_json_string(&mut frame, &request_id.to_string());
        frame.push(',');
    }
    frame.push_str(r#""batch":["#);
    let head = frame;
    let mut tail = String::with_capacity(backend_id.len() + 96);
    tail.push_str(r#"],"pageInfo":"#);
    tail.push_str(&wire::write(&WirePageInfo::from(page_info)));
    tail.push_str(r#","backendId":"#);
    push_json_string(&mut tail, backend_id);
    tail.push_str("}]}");
    Envelope { head, tail }
}

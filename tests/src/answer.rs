//! What a server answers to an RPC client, taken apart. Called by `rpc` and the tests; knows JSON, no sockets.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::event::Item;
use crate::{Pulled, short};

/// What a server sends.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Part of a pull.
    Chunk(Chunk),
    /// The end of a request, by its id.
    Exit(Value, Exit),
    /// The connection's input is wrong.
    Defect(Value),
    /// The answer to a ping.
    Pong,
}

/// Part of a pull.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The pull.
    pub id: Value,
    /// The events.
    pub events: Vec<Pulled>,
    /// Events that are still to come; 0 is `NoMore`.
    pub remaining: u64,
    /// The log's id.
    pub backend: String,
    /// Length of the pull response without its envelope.
    pub bytes: usize,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this `value`; `None` where the member is absent.
    Success(Option<Value>),
    /// With this `cause`, in the shape of the generation.
    Failure(Value),
}

impl Exit {
    /// Panics unless the push was taken.
    #[track_caller]
    pub fn assert_pushed(&self) {
        assert_eq!(*self, Self::Success(Some(serde_json::json!({}))), "the end of a push");
    }

    /// The typed error.
    #[track_caller]
    #[must_use]
    pub fn error(&self) -> Value {
        error_of(self.leaf(), "Fail", "error")
    }

    /// The defect that the request died of, as text.
    #[track_caller]
    #[must_use]
    pub fn died_of(&self) -> String {
        let defect = error_of(self.leaf(), "Die", "defect");
        defect.as_str().map_or_else(|| defect.to_string(), str::to_owned)
    }

    /// Panics unless the request was interrupted.
    #[track_caller]
    pub fn assert_interrupted(&self) {
        let text = self.leaf().to_string();
        assert!(text.contains(r#""_tag":"Interrupt""#), "expected an interruption, got {text}");
    }

    /// Panics unless it is this `ServerAheadError`.
    #[track_caller]
    pub fn assert_server_ahead(&self, head: i64, provided: i64) {
        let expected =
            serde_json::json!({ "_tag": "ServerAheadError", "minimumExpectedNum": head, "providedNum": provided });
        assert_eq!(self.error(), expected);
    }

    /// Panics unless it is a `BackendIdMismatchError` of a server whose log has this id.
    #[track_caller]
    pub fn assert_backend_id_mismatch(&self, backend: &str) {
        let error = self.error();
        assert_eq!(
            (&error["_tag"], &error["expected"]),
            (&"BackendIdMismatchError".into(), &backend.into()),
            "{error}"
        );
        assert!(error["received"].is_string(), "{error}");
    }

    /// Panics unless it is an `UnknownError` around an `InvalidBatch`; gives its message.
    #[track_caller]
    pub fn assert_invalid_batch(&self) -> String {
        let error = self.error();
        assert_eq!(error["_tag"], "UnknownError", "{error}");
        assert_eq!(error["cause"]["name"], "InvalidBatch", "{error}");
        error["cause"]["message"].as_str().expect("a message").to_owned()
    }

    #[track_caller]
    fn leaf(&self) -> &Value {
        match self {
            Self::Failure(Value::Array(causes)) => {
                assert_eq!(causes.len(), 1, "one cause: {causes:?}");
                &causes[0]
            }
            Self::Failure(cause) => cause,
            Self::Success(value) => panic!("expected a failure, got success with {value:?}"),
        }
    }
}

/// The member of a cause that must have this tag.
#[track_caller]
fn error_of(cause: &Value, tag: &str, member: &str) -> Value {
    assert_eq!(cause["_tag"], tag, "the cause {cause}");
    cause[member].clone()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Frame<'a> {
    #[serde(rename = "_tag")]
    tag: String,
    request_id: Option<Value>,
    #[serde(borrow)]
    values: Option<Vec<&'a RawValue>>,
    exit: Option<Value>,
    defect: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Response {
    batch: Vec<Item>,
    page_info: PageInfo,
    backend_id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PageInfo {
    #[serde(rename = "_tag")]
    tag: String,
    remaining: Option<u64>,
}

impl Answer {
    /// Reads one message, strictly.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let wrong = |why: &dyn std::fmt::Display| -> ! { panic!("{why} in {}", short(text)) };
        let frame: Frame<'_> = serde_json::from_str(text).unwrap_or_else(|error| wrong(&error));
        match (frame.tag.as_str(), frame.request_id, frame.values, frame.exit, frame.defect) {
            ("Pong", None, None, None, None) => Self::Pong,
            ("Defect", None, None, None, Some(defect)) => Self::Defect(defect),
            ("Exit", Some(id), None, Some(exit), None) => match exit["_tag"].as_str() {
                Some("Success") => Self::Exit(id, Exit::Success(exit.get("value").cloned())),
                Some("Failure") => {
                    let cause = exit["cause"].clone();
                    assert_eq!(cause.is_array(), id.is_number(), "causes are arrays for numeric ids only: {text}");
                    Self::Exit(id, Exit::Failure(cause))
                }
                _ => wrong(&"unknown exit"),
            },
            ("Chunk", Some(id), Some(values), None, None) => {
                let [value] = values[..] else { wrong(&"not exactly one value") };
                let response: Response = serde_json::from_str(value.get()).unwrap_or_else(|error| wrong(&error));
                let remaining = match (response.page_info.tag.as_str(), response.page_info.remaining) {
                    ("NoMore", None) => 0,
                    ("MoreKnown", Some(remaining)) if remaining > 0 => remaining,
                    _ => wrong(&"odd pageInfo"),
                };
                let events = response.batch.into_iter().map(|item| item.pulled(Some("SyncMessage.SyncMetadata")));
                Self::Chunk(Chunk {
                    id,
                    events: events.collect(),
                    remaining,
                    backend: response.backend_id,
                    bytes: value.get().len(),
                })
            }
            _ => wrong(&"unknown message"),
        }
    }
}

/// Reads the body of an http answer: an array of messages.
#[must_use]
pub fn parse_answers(text: &str) -> Vec<Answer> {
    let messages: Vec<&RawValue> =
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {}", short(text)));
    messages.into_iter().map(|message| Answer::parse(message.get())).collect()
}

//! How an RPC call ends, which Effect 3 and Effect 4 spell differently.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::{Generation, SeqNum};

/// How a call ended.
#[derive(Clone, Debug)]
pub enum Exit {
    /// With a value, as JSON; a stream's end has none.
    Success(Option<Box<RawValue>>),
    /// With a failure.
    Failure(Cause),
}

/// Why a call failed. 0.4 writes the whole tree, next an array of its leaves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "_tag", rename_all_fields = "camelCase")]
pub enum Cause {
    /// An error of the call's own type.
    Fail {
        /// The error.
        error: SyncError,
    },
    /// Something that the call's type does not foresee.
    Die {
        /// `{"name":…,"message":…}` for errors, text for anything else.
        defect: Value,
    },
    /// The call was interrupted.
    Interrupt {
        /// By whom.
        #[serde(default)]
        fiber_id: FiberId,
    },
    /// Nothing.
    Empty,
    /// One cause after another.
    Sequential {
        /// The first.
        left: Box<Cause>,
        /// The second.
        right: Box<Cause>,
    },
    /// Two causes at once.
    Parallel {
        /// The one.
        left: Box<Cause>,
        /// The other.
        right: Box<Cause>,
    },
}

/// Who interrupted. Effect 3 writes an object, Effect 4 a number or nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FiberId {
    /// Effect 4.
    Number(i64),
    /// Effect 4, unknown: `null`.
    #[default]
    Unknown,
    /// Effect 3: `{"_tag":"None"}`, `{"_tag":"Runtime",…}` and composites of them. The last, because
    /// it reads anything.
    Object(Value),
}

/// The typed errors of pulls and pushes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "_tag", rename_all_fields = "camelCase")]
pub enum SyncError {
    /// The log has events that the pusher does not know yet.
    #[serde(rename = "ServerAheadError")]
    ServerAhead {
        /// The head of the log (itself, not the number after it).
        minimum_expected_num: SeqNum,
        /// The parent of the batch's first event.
        provided_num: SeqNum,
    },
    /// The client talks about another log: the store was reset or replaced.
    #[serde(rename = "BackendIdMismatchError")]
    BackendIdMismatch {
        /// The log's id.
        expected: String,
        /// The client's.
        received: String,
    },
    /// Everything else.
    #[serde(rename = "UnknownError")]
    Unknown {
        /// `{"name":…,"message":…}` for errors, text for anything else.
        cause: Value,
        /// For people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
        /// Whatever helps.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        payload: Option<Value>,
    },
}

impl SyncError {
    /// An [`SyncError::Unknown`] around a named error.
    #[must_use]
    pub fn unknown(name: &str, message: &str) -> Self {
        Self::Unknown { cause: error_value(name, message), note: None, payload: None }
    }
}

/// An error as Effect encodes it in defects and unknown causes.
pub(super) fn error_value(name: &str, message: &str) -> Value {
    serde_json::json!({ "name": name, "message": message })
}

impl Cause {
    /// An interruption that the server answers to an `Interrupt`.
    #[must_use]
    pub fn interrupted(generation: Generation) -> Self {
        let fiber_id = match generation {
            // The fiber id that the reference was seen to send.
            Generation::V03 | Generation::V04 => {
                FiberId::Object(serde_json::json!({ "_tag": "Runtime", "id": -499, "startTimeMillis": 0 }))
            }
            Generation::Next => FiberId::Number(-499),
        };
        Self::Interrupt { fiber_id }
    }

    fn leaves<'a>(&'a self, out: &mut Vec<&'a Cause>) {
        match self {
            Self::Fail { .. } | Self::Die { .. } | Self::Interrupt { .. } => out.push(self),
            Self::Empty => {}
            Self::Sequential { left, right } | Self::Parallel { left, right } => {
                left.leaves(out);
                right.leaves(out);
            }
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum CauseOut<'a> {
    Tree(&'a Cause),
    Array(Vec<&'a Cause>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum CauseIn {
    Array(Vec<Cause>),
    Tree(Cause),
}

impl Exit {
    pub(super) fn encode(&self, generation: Generation) -> String {
        #[derive(Serialize)]
        #[serde(tag = "_tag")]
        enum Out<'a> {
            Success {
                #[serde(skip_serializing_if = "Option::is_none")]
                value: Option<Option<&'a RawValue>>,
            },
            Failure {
                cause: CauseOut<'a>,
            },
        }
        let out = match (self, generation) {
            (Self::Success(None), Generation::Next) => Out::Success { value: Some(None) },
            (Self::Success(value), _) => Out::Success { value: value.as_deref().map(Some) },
            (Self::Failure(cause), Generation::Next) => {
                let mut leaves = Vec::new();
                cause.leaves(&mut leaves);
                Out::Failure { cause: CauseOut::Array(leaves) }
            }
            (Self::Failure(cause), _) => Out::Failure { cause: CauseOut::Tree(cause) },
        };
        crate::wire::write(&out)
    }

    pub(super) fn decode(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Success {
            value: Option<Box<RawValue>>,
        }
        #[derive(Deserialize)]
        struct Failure {
            cause: CauseIn,
        }
        match crate::wire::tag(text)?.as_str() {
            "Success" => crate::wire::read(text).map(|success: Success| Self::Success(success.value)),
            "Failure" => crate::wire::read(text).map(|failure: Failure| {
                Self::Failure(match failure.cause {
                    CauseIn::Tree(cause) => cause,
                    CauseIn::Array(causes) => causes
                        .into_iter()
                        .reduce(|left, right| Cause::Sequential { left: left.into(), right: right.into() })
                        .unwrap_or(Cause::Empty),
                })
            }),
            other => Err(format!("unknown exit tag: {other}")),
        }
    }
}

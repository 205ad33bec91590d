//! Events as values, and as the rows that event logs store. `args` stay the text that the client sent.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::SeqNum;

/// An event's arguments as the JSON text that the client sent. Never parsed into a value, so member
/// order, number spelling (`1e400`, `12345678901234567890`) and escapes survive.
///
/// Absent and `null` are the same and read back as `null`, as in the reference.
///
/// ```
/// use livestore_sync_protocol::Args;
///
/// let args = Args::from_json(r#"{ "b": 1.0, "a": 1e400 }"#.into())?;
/// assert_eq!(args.as_json(), r#"{ "b": 1.0, "a": 1e400 }"#);
/// assert_eq!(Args::from_json("null".into())?, Args::default());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Args(Option<Box<RawValue>>);

impl Args {
    /// The JSON text; `null` when there are none.
    #[must_use]
    pub fn as_json(&self) -> &str {
        self.as_stored().unwrap_or("null")
    }

    /// The JSON text, or `None` for `null`: how event logs store it.
    #[must_use]
    pub fn as_stored(&self) -> Option<&str> {
        self.0.as_deref().map(RawValue::get)
    }

    /// Takes JSON text as it is.
    ///
    /// # Errors
    ///
    /// When the text is not one JSON value.
    pub fn from_json(json: String) -> serde_json::Result<Self> {
        let raw = RawValue::from_string(json)?;
        Ok(Self((raw.get() != "null").then_some(raw)))
    }
}

/// Equal texts are equal arguments; two spellings of one value are not.
impl PartialEq for Args {
    fn eq(&self, other: &Self) -> bool {
        self.as_json() == other.as_json()
    }
}

impl Eq for Args {}

/// One event as clients push it and pull it. Fields that the wire does not know are dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// The event's name in the app's schema; any text.
    pub name: String,
    /// The event's arguments.
    #[serde(default)]
    pub args: Args,
    /// The event's position in the log.
    pub seq_num: SeqNum,
    /// The position of the event before it; [`SeqNum::ROOT`] for the first.
    pub parent_seq_num: SeqNum,
    /// The client (device, browser profile) that committed it.
    pub client_id: String,
    /// The client's session (tab, process) that committed it.
    pub session_id: String,
}

/// An event as a puller gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PulledEvent {
    /// The event.
    pub event: Event,
    /// When the server took it: UTC with milliseconds, `2026-11-21T00:14:31.259Z`. Every event of
    /// one push has the same.
    pub created_at: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(args: &str) -> Args {
        let json = format!(r#"{{"name":"n"{args},"seqNum":1,"parentSeqNum":0,"clientId":"c","sessionId":"s"}}"#);
        serde_json::from_str::<Event>(&json).expect(args).args
    }

    #[test]
    fn args_keep_their_bytes() {
        for json in [
            r#"{"b":1,"a":2,"b":3}"#,
            "1e400",
            "12345678901234567890",
            r#""\u0041\ud800\/""#,
            r#"[ 1,  2 ]"#,
            "-0.0",
            r#"{"a":null}"#,
        ] {
            assert_eq!(decode(&format!(r#","args":{json}"#)).as_json(), json);
            assert_eq!(serde_json::to_string(&decode(&format!(r#","args":{json}"#))).expect("encodes"), json);
        }
    }

    #[test]
    fn absent_and_null_args_are_null() {
        assert_eq!(decode("").as_stored(), None);
        assert_eq!(decode(r#","args":null"#).as_stored(), None);
        assert_eq!(decode(r#","args": null "#).as_json(), "null");
        assert_eq!(Args::from_json(" null ".into()).expect("JSON"), Args::default());
    }

    #[test]
    fn deeply_nested_args_pass() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(decode(&format!(r#","args":{deep}"#)).as_json(), deep);
    }
}

//! Is this event of the log the one that was pushed? The crate's only answer to that question.
//!
//! It is asked when an answer was lost: by a [`crate::SyncClient`] that finds the server ahead of a batch that it has
//! sent before, and by a [`crate::local::LocalStore`] for each event that the live pull brings. A wrong "no" puts an
//! event into the log twice; a wrong "yes" takes another client's event for one's own. Pure: no I/O, no state.
//!
//! Two texts of `args` may be one value. A backend in JavaScript parses what it is given and writes it again, so
//! `1.0` comes back as `1`, `12345678901234567890` as `12345678901234567000`, and `1e400`, which no JavaScript number
//! can hold, as `null`. Therefore arguments are compared as JavaScript sees them.

use std::collections::BTreeMap;
use std::fmt;

use livestore_sync_protocol::Event;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde_json::value::RawValue;

/// How deep arguments are compared. What is nested deeper counts as the same: names, authors and everything above
/// were the same already, and a wrong "no" does more harm. The limit keeps the recursion off the end of the stack.
const DEPTH_MAX: usize = 128;

/// Whether both are one commit of one session: the author, the name and the arguments agree.
///
/// Numbers play no part. A session's events enter the log in the order of their commits, each once, but not always
/// with the numbers that they were pushed with: a store that drops a pending event while it is on its way gives those
/// after it lower numbers than they then have in the log.
pub(crate) fn is_same_commit(ours: &Event, theirs: &Event) -> bool {
    ours.client_id == theirs.client_id
        && ours.session_id == theirs.session_id
        && ours.name == theirs.name
        && are_same_args(ours.args.as_json(), theirs.args.as_json())
}

/// Whether both are one commit, at the same place of the log. For a batch that was pushed with fixed numbers.
pub(crate) fn is_same_event(ours: &Event, theirs: &Event) -> bool {
    ours.seq_num == theirs.seq_num && ours.parent_seq_num == theirs.parent_seq_num && is_same_commit(ours, theirs)
}

fn are_same_args(a: &str, b: &str) -> bool {
    // Nearly always: this project's server keeps the bytes.
    a == b || are_same_values(a, b, DEPTH_MAX)
}

fn are_same_values(a: &str, b: &str, depth: usize) -> bool {
    if depth == 0 {
        return true;
    }
    match (Value::read(a), Value::read(b)) {
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| are_same_values(a.get(), b.get(), depth - 1))
        }
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            a.len() == b.len()
                && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| are_same_values(a.get(), b.get(), depth - 1)))
        }
        (Some(Value::Scalar(a)), Some(Value::Scalar(b))) => a == b,
        _ => false,
    }
}

/// One level of a JSON text, as JavaScript reads it.
///
/// `serde_json::Value` does not serve: it refuses numbers out of range and texts with half a surrogate pair, both of
/// which are JSON, are stored by every backend, and have a meaning in JavaScript.
enum Value<'a> {
    Scalar(Scalar),
    Array(Vec<&'a RawValue>),
    /// Of members with the same name the last one counts.
    Object(BTreeMap<Text, &'a RawValue>),
}

#[derive(PartialEq)]
enum Scalar {
    Null,
    Bool(bool),
    Number(f64),
    Text(Text),
}

impl<'a> Value<'a> {
    /// `None` for what is no JSON, which [`livestore_sync_protocol::Args`] never holds.
    fn read(json: &'a str) -> Option<Self> {
        Some(match json.as_bytes().first()? {
            b'[' => Self::Array(serde_json::from_str(json).ok()?),
            b'{' => Self::Object(serde_json::from_str(json).ok()?),
            b'"' => Self::Scalar(Scalar::Text(serde_json::from_str(json).ok()?)),
            b't' => Self::Scalar(Scalar::Bool(true)),
            b'f' => Self::Scalar(Scalar::Bool(false)),
            b'n' => Self::Scalar(Scalar::Null),
            _ => match json.parse::<f64>().ok()? {
                number if number.is_finite() => Self::Scalar(Scalar::Number(number)),
                // `JSON.stringify(Infinity)` is `null`.
                _ => Self::Scalar(Scalar::Null),
            },
        })
    }
}

/// A JSON text as bytes, since half a surrogate pair has no UTF-8.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Text(Vec<u8>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Text, E> {
                Ok(Text(bytes.to_owned()))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use livestore_sync_protocol::{Args, SeqNum};

    use super::*;

    #[test]
    fn args_are_compared_as_javascript_sees_them() {
        for (a, b, same) in [
            ("null", "null", true),
            (r#"{"a":1.0,"b":[1e2]}"#, r#"{ "b": [100], "a": 1 }"#, true),
            (r#"{ "b": 1, "a": [2] }"#, r#"{"a":[2.0],"b":1}"#, true),
            ("12345678901234567890", "12345678901234567000", true),
            (r#""\u0041""#, r#""A""#, true),
            ("-0.0", "0", true),
            // `JSON.stringify(Infinity)`
            ("1e400", "null", true),
            ("-1e400", "null", true),
            (r#"{"n":1e400,"id":"a"}"#, r#"{"n":null,"id":"a"}"#, true),
            ("1e400", "1e400", true),
            ("1e400", "1e401", true),
            ("1e-400", "0", true),
            // Half a surrogate pair, and members that are named twice.
            (r#""\ud800""#, r#""\uD800""#, true),
            (r#"{"\ud800":1}"#, r#"{"\uD800":1.0}"#, true),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#, true),
            (r#""😀""#, r#""\ud83d\ude00""#, true),
            // What cannot be an ordinary value does not make the rest the same.
            (r#"{"n":1e400,"id":"a"}"#, r#"{"n":null,"id":"b"}"#, false),
            (r#""\ud800""#, r#""\ud801""#, false),
            (r#"{"a":1,"a":2}"#, r#"{"a":1}"#, false),
            ("1e400", "0", false),
            (r#"{"a":1}"#, r#"{"a":2}"#, false),
            (r#"{"a":1}"#, r#"{"b":1}"#, false),
            (r#"{"a":1}"#, r#"{"a":1,"b":1}"#, false),
            ("{}", "null", false),
            ("{}", "[]", false),
            ("[1,2]", "[1]", false),
            ("[1,2]", "[2,1]", false),
            ("1", r#""1""#, false),
            ("null", "false", false),
        ] {
            assert_eq!(are_same_args(a, b), same, "{a} {b}");
            assert_eq!(are_same_args(b, a), same, "{b} {a}");
        }
    }

    #[test]
    fn deep_args_do_not_overflow_the_stack() {
        let nested = |depth: usize, inner: &str| format!("{}{inner}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(are_same_args(&nested(100_000, "1"), &nested(100_000, "1.0")));
        assert!(!are_same_args(&nested(100, "1"), &nested(100, "2")));
    }

    #[test]
    fn authors_and_names_tell_events_apart_and_numbers_only_where_they_are_fixed() {
        let event = |name: &str, client: &str, session: &str, seq_num: i64, parent: i64| Event {
            name: name.into(),
            args: Args::from_json("1e400".into()).unwrap(),
            seq_num: SeqNum::new(seq_num).unwrap(),
            parent_seq_num: SeqNum::new(parent).unwrap(),
            client_id: client.into(),
            session_id: session.into(),
        };
        let ours = event("n", "c", "s", 2, 1);
        for (theirs, same_commit, same_event) in [
            (event("n", "c", "s", 2, 1), true, true),
            (event("n", "c", "s", 3, 2), true, false),
            (event("n", "c", "s", 2, 0), true, false),
            (event("m", "c", "s", 2, 1), false, false),
            (event("n", "d", "s", 2, 1), false, false),
            (event("n", "c", "t", 2, 1), false, false),
        ] {
            assert_eq!(is_same_commit(&ours, &theirs), same_commit, "{theirs:?}");
            assert_eq!(is_same_event(&ours, &theirs), same_event, "{theirs:?}");
        }
    }
}

//! The codecs against recorded traffic. README.md says where the frames come from.

#![allow(clippy::unwrap_used, reason = "all of this is a test")]

mod client_values;
mod do_rpc;
mod refused;
mod round_trip;
mod server_values;

use serde::Deserialize;

/// One recorded frame or HTTP body.
#[derive(Deserialize)]
struct Frame {
    scenario: String,
    dir: String,
    text: String,
}

/// The frames of `<name>.jsonl` that go one way: `c2s` or `s2c`.
fn frames(name: &str, dir: &str) -> Vec<Frame> {
    let path = format!("{}/tests/vectors/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let lines = std::fs::read_to_string(path).unwrap();
    lines.lines().map(|line| serde_json::from_str::<Frame>(line).unwrap()).filter(|frame| frame.dir == dir).collect()
}

/// The text, once it is sure that it was recorded.
#[track_caller]
fn recorded<'a>(name: &str, text: &'a str) -> &'a str {
    let found = ["c2s", "s2c"].iter().any(|dir| frames(name, dir).iter().any(|frame| frame.text == text));
    assert!(found, "not in {name}.jsonl: {text}");
    text
}

/// Compares values whose types have no `PartialEq` (raw JSON has none), member by member.
#[track_caller]
fn assert_same<T: std::fmt::Debug>(actual: &T, expected: &T) {
    assert_eq!(format!("{actual:#?}"), format!("{expected:#?}"));
}

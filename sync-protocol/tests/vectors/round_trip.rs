use livestore_sync_protocol::{rpc, v03};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::refused::is_refused;
use crate::{Frame, frames};

/// What does not come back as it was, and the only such frames: `(scenario, recorded, written)`.
const REWRITTEN: &[(&str, &str, &str)] = &[
    // Members that the wire does not know are dropped.
    ("push-seqnum-types", r#""sessionId":"session-a","extra":"field"}"#, r#""sessionId":"session-a"}"#),
    ("push-field-types", r#""sessionId":"session-a","extra":"field"}"#, r#""sessionId":"session-a"}"#),
    ("ping-pong", r#"{"_tag":"Ping","x":1}"#, r#"{"_tag":"Ping"}"#),
    // Absent arguments are null.
    ("push-seqnum-types", r#"{"name":"x","seqNum":1"#, r#"{"name":"x","args":null,"seqNum":1"#),
    ("push-field-types", r#"{"name":"x","seqNum":1"#, r#"{"name":"x","args":null,"seqNum":1"#),
    // Absent headers are none.
    ("push-field-types", r#"{"_tag":"None"}}}"#, r#"{"_tag":"None"}},"headers":[]}"#),
    ("invalid-bodies", r#"{"_tag":"None"}}}"#, r#"{"_tag":"None"}},"headers":[]}"#),
    ("raw-no-headers", r#"{"_tag":"None"}}}"#, r#"{"_tag":"None"}},"headers":[]}"#),
    // A cursor becomes the sequence number that selects the same events.
    ("cursor-injection", r#""cursor":1e308"#, r#""cursor":9007199254740991"#),
    ("cursor-injection", r#""cursor":-0"#, r#""cursor":0"#),
    ("cursor-injection", r#""cursor":0.5"#, r#""cursor":0"#),
    ("push-250-one-frame", r#""cursor":1.5"#, r#""cursor":1"#),
    // A text id gets the 0.4 spelling; effect 4's clients send numbers.
    (
        "raw-unknown-rpc-with-a-text-id",
        r#""cause":[{"_tag":"Die","defect":"Unknown request tag: Nope.Rpc"}]"#,
        r#""cause":{"_tag":"Die","defect":"Unknown request tag: Nope.Rpc"}"#,
    ),
];

fn expected(frame: &Frame) -> String {
    REWRITTEN
        .iter()
        .filter(|(scenario, ..)| *scenario == frame.scenario)
        .fold(frame.text.clone(), |text, (_, recorded, written)| text.replace(recorded, written))
}

#[test]
fn no_exception_is_stale() {
    let all: Vec<Frame> = CLIENT_FILES.iter().flat_map(|name| frames(name, "c2s")).collect();
    let all: Vec<Frame> = all.into_iter().chain(SERVER_FILES.iter().flat_map(|name| frames(name, "s2c"))).collect();
    for (scenario, recorded, _) in REWRITTEN {
        let used = all.iter().any(|frame| frame.scenario == *scenario && frame.text.contains(recorded));
        assert!(used, "{scenario}: {recorded}");
    }
}

const CLIENT_FILES: &[&str] =
    &["0.3-ws-client", "0.4-ws-client", "0.4-http-client", "next-ws-client", "next-http-client", "next-ndjson"];
const SERVER_FILES: &[&str] =
    &["0.3-ws-server", "0.4-ws-server", "0.4-http-server", "next-ws-server", "next-http-server", "next-ndjson"];

#[derive(Deserialize)]
struct Pushed<'a> {
    #[serde(borrow)]
    args: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pulled<'a> {
    #[serde(borrow)]
    event_encoded: Pushed<'a>,
}

/// The arguments of all events in a frame as they are spelled, found without the codec.
fn spelled_args(text: &str) -> Vec<String> {
    fn spelled(event: &Pushed<'_>) -> String {
        event.args.map_or("null", RawValue::get).to_owned()
    }
    #[derive(Deserialize)]
    struct Members<'a> {
        #[serde(borrow)]
        batch: Option<&'a RawValue>,
        #[serde(borrow)]
        payload: Option<&'a RawValue>,
        #[serde(borrow)]
        values: Option<&'a RawValue>,
    }
    if let Ok(messages) = serde_json::from_str::<Vec<&RawValue>>(text) {
        return messages.into_iter().flat_map(|message| spelled_args(message.get())).collect();
    }
    let Ok(members) = serde_json::from_str::<Members<'_>>(text) else { return Vec::new() };
    let nested = [members.payload, members.values].into_iter().flatten().flat_map(|inner| spelled_args(inner.get()));
    let batch = members.batch.map_or("[]", RawValue::get);
    match serde_json::from_str::<Vec<Pushed<'_>>>(batch) {
        Ok(events) if !batch.contains("eventEncoded") => events.iter().map(spelled).chain(nested).collect(),
        _ => {
            let items: Vec<Pulled<'_>> = serde_json::from_str(batch).unwrap();
            items.iter().map(|item| spelled(&item.event_encoded)).chain(nested).collect()
        }
    }
}

#[track_caller]
fn assert_equal(name: &str, frame: &Frame, written: &str) {
    let expected = expected(frame);
    let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(value(written), value(&expected), "{name} {}", frame.scenario);
    assert_eq!(spelled_args(written), spelled_args(&expected), "{name} {}", frame.scenario);
}

/// Several messages are an array where the recorded ones are.
fn join(recorded: &str, messages: &[String]) -> String {
    if recorded.starts_with('[') { format!("[{}]", messages.join(",")) } else { messages.concat() }
}

#[test]
fn client_frames_come_back() {
    let mut args = 0;
    for name in CLIENT_FILES {
        for frame in frames(name, "c2s").iter().filter(|frame| !is_refused(name, &frame.text)) {
            let written = if name.starts_with("0.3") {
                v03::ClientMessage::decode(&frame.text).unwrap().encode()
            } else {
                let messages = rpc::ClientMessage::decode(&frame.text).into_iter();
                join(&frame.text, &messages.map(|message| message.unwrap().encode()).collect::<Vec<_>>())
            };
            assert_equal(name, frame, &written);
            args += spelled_args(&written).len();
        }
    }
    assert!(args > 150, "only {args} arguments were compared");
}

#[test]
fn server_frames_come_back() {
    let mut args = 0;
    for name in SERVER_FILES {
        for frame in frames(name, "s2c") {
            let written = if name.starts_with("0.3") {
                v03::ServerMessage::decode(&frame.text).unwrap().encode()
            } else {
                let messages = rpc::ServerMessage::decode(&frame.text).unwrap();
                join(&frame.text, &messages.iter().map(rpc::ServerMessage::encode).collect::<Vec<_>>())
            };
            assert_equal(name, &frame, &written);
            args += spelled_args(&written).len();
        }
    }
    assert!(args > 100, "only {args} arguments were compared");
}

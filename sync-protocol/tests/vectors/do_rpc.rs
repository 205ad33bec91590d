use livestore_sync_protocol::rpc::msgpack;
use serde::Deserialize;

#[derive(Deserialize)]
struct Message {
    scenario: String,
    dir: String,
    /// The bytes; live updates are no bytes, but an object of JavaScript.
    hex: Option<String>,
    text: String,
}

fn messages() -> Vec<Message> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/0.4-do-rpc.jsonl");
    let lines = std::fs::read_to_string(path).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn messages_become_the_json_that_was_decoded() {
    for message in messages() {
        let Some(hex) = &message.hex else { continue };
        assert_eq!(msgpack::to_json(&bytes(hex)).unwrap(), message.text, "{}", message.scenario);
    }
}

#[test]
fn json_becomes_the_bytes_that_were_sent() {
    // The reference writes members that are `undefined`.
    const UNDEFINED: &str = "d40000";
    let mut same = 0;
    for message in messages() {
        let Some(hex) = message.hex.filter(|hex| !hex.contains(UNDEFINED)) else { continue };
        assert_eq!(msgpack::from_json(&message.text).unwrap(), bytes(&hex), "{}", message.scenario);
        same += 1;
    }
    assert!(same >= 8, "{same}");
}

/// What msgpackr made of JSON, and whether it reads its own bytes as what they were made of.
#[derive(Deserialize)]
struct Packed {
    text: String,
    hex: String,
    same: bool,
}

#[test]
fn msgpackr_writes_the_same() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/msgpackr.jsonl");
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let Packed { text, hex, same } = serde_json::from_str(line).unwrap();
        assert_eq!(msgpack::from_json(&text).unwrap(), bytes(&hex), "{text}");
        assert_eq!(msgpack::to_json(&bytes(&hex)).unwrap(), text);
        // Only half characters become something else: there is no UTF-8 for them.
        assert_eq!(same, !text.contains(r"\ud"), "{text}");
    }
}

#[test]
fn no_beginning_of_a_message_is_a_message() {
    for message in messages() {
        let Some(hex) = &message.hex else { continue };
        let bytes = bytes(hex);
        for end in 0..bytes.len() {
            assert_eq!(msgpack::to_json(&bytes[..end]), Err(msgpack::MsgpackError::Truncated), "{}", message.scenario);
        }
    }
}

#[test]
fn all_directions_are_recorded() {
    let messages = messages();
    for dir in ["c2s", "s2c", "callback"] {
        assert!(messages.iter().any(|message| message.dir == dir), "{dir}");
    }
}

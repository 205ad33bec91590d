use livestore_sync_protocol::rpc::{ClientMessage, Rpc, ServerMessage, Transport, encode_answer_chunk, msgpack};
use livestore_sync_protocol::{ChunkBuilder, EventRow, ItemFormat, PageInfo, RequestId};
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

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
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

#[test]
fn calls_are_read() {
    let calls: Vec<_> = messages().into_iter().filter(|message| message.dir == "c2s").collect();
    let mut callers = Vec::new();
    for message in &calls {
        let mut read = ClientMessage::decode(&message.text);
        let Some(Ok(ClientMessage::Request(request))) = read.pop() else { panic!("{}", message.text) };
        assert!(read.is_empty());
        match request.rpc {
            Rpc::Pull(Transport::DurableObject, pull) => callers.extend(pull.rpc_context),
            Rpc::Push(Transport::DurableObject, push) => assert!(!push.batch.is_empty()),
            Rpc::Ping(Transport::DurableObject, _) => {}
            other => panic!("{other:?}"),
        }
    }
    let [caller] = callers.try_into().unwrap();
    assert_eq!(caller.caller_context.binding_name, "TEST_CLIENT_DO");
    assert_eq!(caller.caller_context.durable_object_id.len(), 64);
}

#[test]
fn answers_are_those_of_the_reference() {
    let answers: Vec<_> = messages().into_iter().filter(|message| message.dir == "s2c").collect();
    for message in &answers {
        let [answer] = ServerMessage::decode(&message.text).unwrap().try_into().unwrap();
        let written = match &answer {
            ServerMessage::Chunk { request_id, values } => {
                let mut chunks = ChunkBuilder::new(ItemFormat::Rpc);
                for event in &values[0].batch {
                    let created_at = event.created_at.as_deref().unwrap();
                    chunks.push(&EventRow::new(&event.event, created_at));
                }
                let chunks = chunks.finish();
                encode_answer_chunk(request_id, chunks.first(), values[0].page_info, &values[0].backend_id)
            }
            other => other.encode(),
        };
        // The reference writes the `_tag` of an error last.
        let [written, recorded] = [&format!("[{written}]"), &message.text].map(|text| json(text));
        assert_eq!(written, recorded);
    }
}

/// LiveStore's main branch counts its requests with numbers and looks its pulls up by text.
#[test]
fn the_id_in_an_answer_is_text_also_where_that_of_the_request_is_a_number() {
    let frame = encode_answer_chunk(&RequestId::Number(7), None, PageInfo::NoMore, "b");
    assert!(frame.starts_with(r#"{"_tag":"Chunk","requestId":7,"values":[{"rpcRequestId":"7","batch":["#), "{frame}");
}

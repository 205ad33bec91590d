//! No bytes make a decoder panic.

use livestore_sync_protocol::target::{self, Target};
use livestore_sync_protocol::{rpc, v03};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::messages::{next_server, rpc_client, v03_client, v03_server, v04_server};
use crate::values::json;

/// Gives the text to every decoder; true when one takes it.
fn decode(text: &str) -> bool {
    let client = rpc::ClientMessage::decode(text);
    // What is refused is answered.
    let any_client = client.into_iter().any(|message| match message {
        Ok(message) => !message.encode().is_empty(),
        Err(error) => rpc::ServerMessage::from_decode_error(error).encode().is_empty(),
    });
    let v03 = [v03::ClientMessage::decode(text).is_ok(), v03::ServerMessage::decode(text).is_ok()];
    any_client || v03.contains(&true) || rpc::ServerMessage::decode(text).is_ok()
}

fn frame() -> impl Strategy<Value = String> {
    prop_oneof![
        v03_client().prop_map(|message| message.encode()),
        v03_server().prop_map(|message| message.encode()),
        rpc_client().prop_map(|message| message.encode()),
        v04_server().prop_map(|message| message.encode()),
        next_server().prop_map(|message| message.encode()),
    ]
}

proptest! {
    #[test]
    fn any_text(text in any::<String>()) {
        decode(&text);
    }

    #[test]
    fn any_json(json in json()) {
        decode(&json);
        // In the places where messages have members of any type, and where they do not.
        for tag in ["Request", "Ack", "Chunk", "Exit", "Defect", "WSMessage.PushReq", "WSMessage.PullRes"] {
            decode(&format!(
                r#"{{"_tag":"{tag}","id":"1","tag":"SyncWsRpc.Push","requestId":"1","payload":{json},"values":{json},"exit":{json},"defect":{json},"batch":{json}}}"#
            ));
        }
        decode(&format!(r#"{{"_tag":"Exit","requestId":1,"exit":{{"_tag":"Failure","cause":{json}}}}}"#));
    }

    #[test]
    fn mutated_frames(frame in frame(), edits in vec((any::<Index>(), 0..3, any::<u8>()), 1..5)) {
        let mut bytes = frame.into_bytes();
        for (at, edit, byte) in edits {
            let at = at.index(bytes.len());
            match edit {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => {}
            }
        }
        decode(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn a_truncated_frame_is_refused(frame in frame(), end in any::<Index>()) {
        let mut end = end.index(frame.len());
        while !frame.is_char_boundary(end) {
            end -= 1;
        }
        prop_assert!(!decode(&frame[..end]), "{}", &frame[..end]);
    }

    #[test]
    fn any_query(text in any::<String>(), soup in "((storeId|payload|transport|%25|%22|%7B|%F0|%|=|&|\\+|ws|[0-9]){0,12})") {
        for query in [text, soup.clone(), format!("storeId=a&payload={soup}")] {
            // Whatever is taken can be written and read again.
            if let Ok(target) = Target::from_query(&query) {
                prop_assert!(Target::from_query(&target.to_query(None)).is_ok());
            }
            let _ = target::transport(&query);
        }
    }
}

#[test]
fn deep_nesting() {
    const DEPTH: usize = 10_000;
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(DEPTH), close.repeat(DEPTH));
    let cause = deep(r#"{"_tag":"Sequential","right":{"_tag":"Empty"},"left":"#, "}");
    for nested in [deep("[", "]"), deep(r#"{"a":"#, "}"), deep("[{\"_tag\":", "}]"), cause, "[".repeat(DEPTH)] {
        decode(&nested);
        decode(&format!(r#"{{"_tag":{nested}}}"#));
        decode(&format!(r#"{{"_tag":"Ping","x":{nested}}}"#));
        decode(&format!(r#"{{"_tag":"Defect","defect":{nested}}}"#));
        decode(&format!(r#"{{"_tag":"Exit","requestId":"1","exit":{nested}}}"#));
        decode(&format!(r#"{{"_tag":"Exit","requestId":1,"exit":{{"_tag":"Failure","cause":{nested}}}}}"#));
        decode(&format!(r#"{{"_tag":"Chunk","requestId":"1","values":{nested}}}"#));
        decode(&format!(r#"{{"_tag":"WSMessage.PushReq","requestId":"1","batch":{nested}}}"#));
        decode(&format!(
            r#"{{"_tag":"Request","id":{nested},"tag":"SyncWsRpc.Pull","payload":{nested},"headers":{nested}}}"#
        ));
        let _ = Target::from_query(&format!("storeId=a&payload={nested}"));
        let _ = Target::from_query(&format!("storeId=a&payload={}", &nested[..nested.floor_char_boundary(8_000)]));
    }
}

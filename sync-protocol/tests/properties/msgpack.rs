use livestore_sync_protocol::rpc::msgpack;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::messages::rpc_client;
use crate::values::json;

/// The same but for the last digit of numbers: Serde's reading of them is not exact.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            a == b || ((a - b) / b).abs() < 1e-15
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

proptest! {
    #[test]
    fn any_json_comes_back(json in json()) {
        let text = msgpack::to_json(&msgpack::from_json(&json).unwrap()).unwrap();
        serde_json::from_str::<&RawValue>(&text).unwrap();
        // Now it has JavaScript's spelling.
        prop_assert_eq!(&msgpack::to_json(&msgpack::from_json(&text).unwrap()).unwrap(), &text);
        // Serde has no half characters and no infinite numbers.
        if let (Ok(before), Ok(after)) = (serde_json::from_str(&json), serde_json::from_str(&text)) {
            prop_assert!(same(&before, &after), "{} {}", json, text);
        }
    }

    #[test]
    fn any_text_is_json_or_an_error(text in any::<String>()) {
        msgpack::from_json(&text).ok();
    }

    #[test]
    fn any_bytes_are_json_or_an_error(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(text) = msgpack::to_json(&bytes) {
            serde_json::from_str::<&RawValue>(&text).unwrap();
        }
    }

    #[test]
    fn mutated_messages(message in rpc_client(), edits in vec((any::<Index>(), 0..3, any::<u8>()), 1..5)) {
        let mut bytes = msgpack::from_json(&message.encode()).unwrap();
        for (at, edit, byte) in edits {
            let at = at.index(bytes.len());
            match edit {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => {}
            }
        }
        if let Ok(text) = msgpack::to_json(&bytes) {
            serde_json::from_str::<&RawValue>(&text).unwrap();
        }
    }
}

use livestore_sync_protocol::RequestId;
use livestore_sync_protocol::rpc::{self, DecodeError};
use livestore_sync_protocol::v03;

use crate::{frames, recorded};

/// 0.3 frames that are refused: the frame, the request to answer, what the message contains.
/// The reference drops them without a word, except the last, which its SQL refused.
const V03: &[(&str, &str, &str)] = &[
    ("not json", "", "expected ident"),
    (r#"{"_tag":"WSMessage.Nope","requestId":"x"}"#, "x", "unknown message tag: WSMessage.Nope"),
    (r#"{"_tag":"WSMessage.PullReq"}"#, "", "missing field `requestId`"),
    (r#"{"_tag":"WSMessage.PushReq","requestId":"y","batch":"no"}"#, "y", r#"string "no", expected a sequence"#),
    ("[]", "", "expected an object"),
    (r#""""#, "", "expected an object"),
    ("null", "", "expected an object"),
    (r#"{"_tag":"WSMessage.PushAck","requestId":"z"}"#, "z", "unknown message tag: WSMessage.PushAck"),
    (r#"{"_tag":"WSMessage.PullReq","requestId":"cur","cursor":"abc"}"#, "cur", r#"invalid type: string "abc""#),
    (r#"{"_tag":"WSMessage.PullReq","requestId":"nullcur","cursor":null}"#, "nullcur", "invalid type: null"),
    (
        r#"{"_tag":"WSMessage.PushReq","requestId":"float","batch":[{"name":"todoCreated","args":{"id":"1.5","text":"t1.5"},"seqNum":1.5,"parentSeqNum":0,"clientId":"client-a","sessionId":"session-a"}]}"#,
        "float",
        "not an integer between",
    ),
    (
        r#"{"_tag":"WSMessage.PushReq","requestId":"string","batch":[{"name":"todoCreated","args":{"id":"1","text":"t1"},"seqNum":"1","parentSeqNum":0,"clientId":"client-a","sessionId":"session-a"}]}"#,
        "string",
        r#"string "1", expected a safe integer"#,
    ),
    (
        r#"{"_tag":"WSMessage.PushReq","requestId":"huge","batch":[{"name":"todoCreated","args":{"id":"9007199254740992","text":"t9007199254740992"},"seqNum":9007199254740992,"parentSeqNum":-5,"clientId":"client-a","sessionId":"session-a"}]}"#,
        "huge",
        "not an integer between",
    ),
    (
        r#"{"_tag":"WSMessage.PushReq","requestId":"missingClient","batch":[{"name":"x","args":{},"seqNum":1,"parentSeqNum":0,"sessionId":"s"}]}"#,
        "missingClient",
        "missing field `clientId`",
    ),
    (r#"{"_tag":"WSMessage.PullReq","requestId":"c1E400","cursor":1E400}"#, "c1E400", "number out of range"),
];

/// RPC frames that are refused: where they were recorded, the frame, and why; messages are parts.
fn rpc() -> Vec<(&'static str, &'static str, DecodeError)> {
    let text = |id: &str| RequestId::Text(id.into());
    let syntax = |message: &str| DecodeError::Syntax(message.into());
    let tag = |tag: &str| DecodeError::UnknownTag(tag.into());
    let call = |id, tag: &str| DecodeError::UnknownRpc { id, tag: tag.into() };
    let payload = |id, tag: &str, message: &str| DecodeError::Payload { id, tag: tag.into(), message: message.into() };
    let (ws, http) = ("0.4-ws-client", "0.4-http-client");
    let (next_ws, next_http) = ("next-ws-client", "next-http-client");
    vec![
        (ws, "not json", syntax("expected ident")),
        (ws, "", syntax("there is no message")),
        (ws, r#"{"_tag":"Nope"}"#, tag("Nope")),
        (ws, r#"{"_tag":"Request","id":"1","tag":"Nope.Rpc","payload":{},"headers":[]}"#, call(text("1"), "Nope.Rpc")),
        (
            ws,
            r#"{"_tag":"Request","id":7,"tag":"SyncWsRpc.Pull","payload":{},"headers":[]}"#,
            payload(RequestId::Number(7), "SyncWsRpc.Pull", "missing field `storeId`"),
        ),
        (
            ws,
            r#"{"_tag":"Request","id":"8","tag":"SyncWsRpc.Pull","payload":{},"headers":[]}"#,
            payload(text("8"), "SyncWsRpc.Pull", "missing field `storeId`"),
        ),
        (
            ws,
            r#"{"_tag":"Request","id":"9","tag":"SyncWsRpc.Push","payload":{"storeId":"x","batch":"no","backendId":{"_tag":"None"}},"headers":[]}"#,
            payload(text("9"), "SyncWsRpc.Push", r#"string "no", expected a sequence"#),
        ),
        (ws, "null", tag("undefined")),
        (ws, r#""str""#, tag("undefined")),
        (
            ws,
            r#"{"_tag":"Ack"}"#,
            DecodeError::Envelope { tag: "Ack".into(), message: "missing field `requestId`".into() },
        ),
        (
            ws,
            r#"{"_tag":"Request","id":"51","tag":"SyncWsRpc.Push","payload":{"storeId":"t-bifif3","batch":[{"name":"todoCreated","args":{"id":"1.5","text":"t1.5"},"seqNum":1.5,"parentSeqNum":0,"clientId":"client-a","sessionId":"session-a"}],"backendId":{"_tag":"None"}},"headers":[]}"#,
            payload(text("51"), "SyncWsRpc.Push", "not an integer between"),
        ),
        (
            ws,
            r#"{"_tag":"Request","id":"52","tag":"SyncWsRpc.Push","payload":{"storeId":"t-bifif3","batch":[{"name":"todoCreated","args":{"id":"1","text":"t1"},"seqNum":"1","parentSeqNum":0,"clientId":"client-a","sessionId":"session-a"}],"backendId":{"_tag":"None"}},"headers":[]}"#,
            payload(text("52"), "SyncWsRpc.Push", r#"string "1", expected a safe integer"#),
        ),
        (
            ws,
            r#"{"_tag":"Request","id":"56","tag":"SyncWsRpc.Push","payload":{"storeId":"t-bifif3","batch":[{"name":"x","args":{},"seqNum":4,"parentSeqNum":3,"sessionId":"s"}],"backendId":{"_tag":"None"}},"headers":[]}"#,
            payload(text("56"), "SyncWsRpc.Push", "missing field `clientId`"),
        ),
        (
            ws,
            r#"{"_tag":"Request","id":"900","tag":"SyncWsRpc.Push","payload":{"storeId":"t-bifif3","batch":[]},"headers":[]}"#,
            payload(text("900"), "SyncWsRpc.Push", "missing field `backendId`"),
        ),
        (
            ws,
            r#"{"_tag":"Request","id":"901","tag":"SyncWsRpc.Pull","payload":{"storeId":"t-bifif3","live":false},"headers":[]}"#,
            payload(text("901"), "SyncWsRpc.Pull", "missing field `cursor`"),
        ),
        (
            ws,
            r#"{"_tag":"Request","id":"902","tag":"SyncWsRpc.Pull","payload":{"storeId":"t-bifif3","cursor":{"_tag":"None"}},"headers":[]}"#,
            payload(text("902"), "SyncWsRpc.Pull", "missing field `live`"),
        ),
        (http, "not json", syntax("expected ident")),
        (http, "", syntax("there is no message")),
        (http, r#"{"_tag":"Nope"}"#, tag("Nope")),
        (http, "null", tag("undefined")),
        (http, r#"{"_tag":"Request","id":"1","tag":"Nope","payload":{},"headers":[]}"#, call(text("1"), "Nope")),
        (
            http,
            r#"{"_tag":"Request","id":"1","tag":"SyncHttpRpc.Pull","payload":{},"headers":[]}"#,
            payload(text("1"), "SyncHttpRpc.Pull", "missing field `storeId`"),
        ),
        (
            http,
            r#"{"_tag":"Request","id":7,"tag":"SyncHttpRpc.Pull","payload":{},"headers":[]}"#,
            payload(RequestId::Number(7), "SyncHttpRpc.Pull", "missing field `storeId`"),
        ),
        (
            next_ws,
            r#"{"_tag":"Request","id":7,"tag":"Nope.Rpc","payload":{},"headers":[]}"#,
            call(RequestId::Number(7), "Nope.Rpc"),
        ),
        (
            next_ws,
            r#"{"_tag":"Request","id":"7","tag":"Nope.Rpc","payload":{},"headers":[]}"#,
            call(text("7"), "Nope.Rpc"),
        ),
        (next_ws, r#"{"_tag":"Nope"}"#, tag("Nope")),
        (next_ws, "{}", tag("undefined")),
        (next_ws, "not json", syntax("expected ident")),
        (next_ws, "", syntax("there is no message")),
        (
            next_ws,
            r#"{"_tag":"Request","id":8,"tag":"SyncWsRpc.Pull","payload":{"storeId":"empty"},"headers":[]}"#,
            payload(RequestId::Number(8), "SyncWsRpc.Pull", "missing field `cursor`"),
        ),
        (
            next_ws,
            r#"{"_tag":"Request","id":9,"tag":"SyncWsRpc.Push","payload":{"storeId":"any","batch":[{"name":"todoCreated","args":{"id":"1","text":"t1"},"seqNum":"1","parentSeqNum":0,"clientId":"client-a","sessionId":"session-a"}],"backendId":{"_tag":"None"}},"headers":[]}"#,
            payload(RequestId::Number(9), "SyncWsRpc.Push", r#"string "1", expected a safe integer"#),
        ),
        (
            next_http,
            r#"{"_tag":"Request","id":1,"tag":"Nope","payload":{},"headers":[]}"#,
            call(RequestId::Number(1), "Nope"),
        ),
        (next_http, "not json", syntax("expected ident")),
        (next_http, "", syntax("there is no message")),
        (
            next_http,
            r#"{"_tag":"Request","id":2,"tag":"SyncHttpRpc.Pull","payload":{},"headers":[]}"#,
            payload(RequestId::Number(2), "SyncHttpRpc.Pull", "missing field `storeId`"),
        ),
        // A frame of effect's ndjson, which LiveStore does not use, may hold several lines.
        (
            "next-ndjson",
            "{\"_tag\":\"Request\",\"id\":1,\"tag\":\"SyncWsRpc.Pull\",\"payload\":{\"storeId\":\"empty\",\"live\":false,\"cursor\":{\"_tag\":\"None\"}},\"headers\":[]}\n{\"_tag\":\"Ping\"}\n",
            syntax("trailing characters"),
        ),
    ]
}

pub(crate) fn is_refused(name: &str, text: &str) -> bool {
    if name.starts_with("0.3") {
        return V03.iter().any(|(frame, ..)| *frame == text);
    }
    rpc().iter().any(|(file, frame, _)| *file == name && *frame == text)
}

#[test]
fn v03_frames_are_refused() {
    for (frame, request_id, message) in V03 {
        let error = v03::ClientMessage::decode(recorded("0.3-ws-client", frame)).expect_err(frame);
        assert_eq!(error.request_id, *request_id, "{frame}");
        assert!(error.message.contains(message), "{frame}: {error}");
    }
}

#[test]
fn rpc_frames_are_refused() {
    /// The message's place, emptied.
    fn take_message(error: &mut DecodeError) -> String {
        match error {
            DecodeError::Syntax(message)
            | DecodeError::Envelope { message, .. }
            | DecodeError::Payload { message, .. } => std::mem::take(message),
            _ => String::new(),
        }
    }
    for (name, frame, mut expected) in rpc() {
        let [Err(mut error)] = <[_; 1]>::try_from(rpc::ClientMessage::decode(recorded(name, frame))).unwrap() else {
            panic!("{name} takes {frame}");
        };
        let (message, part) = (take_message(&mut error), take_message(&mut expected));
        assert_eq!(error, expected, "{frame}");
        assert!(message.contains(&part), "{frame}: {message}");
    }
}

/// 0.4's server refused arrays; effect 4's reads them, and so do we for everybody.
#[test]
fn arrays_of_messages_are_taken_in_every_generation() {
    for name in ["0.4-ws-client", "0.4-http-client", "next-ws-client", "next-http-client"] {
        let arrays: Vec<_> = frames(name, "c2s").into_iter().filter(|frame| frame.text.starts_with('[')).collect();
        assert!(!arrays.is_empty());
        assert!(arrays.iter().all(|frame| rpc::ClientMessage::decode(&frame.text).iter().all(Result::is_ok)));
    }
}

#[test]
fn a_frame_holds_so_many_messages_at_most() {
    use livestore_sync_protocol::limits::FRAME_MESSAGES_MAX;
    let frame = |messages: usize| format!("[{}]", vec![rpc::PING; messages].join(","));
    assert_eq!(
        rpc::ClientMessage::decode(&frame(FRAME_MESSAGES_MAX)).iter().filter(|m| m.is_ok()).count(),
        FRAME_MESSAGES_MAX
    );
    let refused = rpc::ClientMessage::decode(&frame(FRAME_MESSAGES_MAX + 1));
    assert!(matches!(refused.as_slice(), [Err(rpc::DecodeError::TooManyMessages)]), "{} results", refused.len());
}

#[test]
fn texts_that_servers_keep_have_limits_on_both_sides() {
    use livestore_sync_protocol::limits::{BACKEND_ID_BYTES_MAX, CALLER_BYTES_MAX};
    let some = |text: &str| format!(r#"{{"_tag":"Some","value":{text}}}"#);
    let pull = |tag: &str, cursor: &str, more: &str| {
        format!(
            r#"{{"_tag":"Request","id":"1","tag":"{tag}","payload":{{"storeId":"a","live":true,"cursor":{cursor}{more}}},"headers":[]}}"#
        )
    };
    let cursor =
        |id: &str| pull("SyncWsRpc.Pull", &some(&format!(r#"{{"backendId":"{id}","eventSequenceNumber":1}}"#)), "");
    let push = |id: &str| {
        let id = some(&format!("\"{id}\""));
        format!(
            r#"{{"_tag":"Request","id":"1","tag":"SyncWsRpc.Push","payload":{{"storeId":"a","batch":[],"backendId":{id}}},"headers":[]}}"#
        )
    };
    let caller = |binding: &str, object: &str| {
        let context =
            format!(r#","rpcContext":{{"callerContext":{{"bindingName":"{binding}","durableObjectId":"{object}"}}}}"#);
        pull("SyncDoRpc.Pull", r#"{"_tag":"None"}"#, &context)
    };
    // The frame with a `%` where the text is.
    for (name, max, frame) in [
        ("backendId", BACKEND_ID_BYTES_MAX, cursor("%")),
        ("backendId", BACKEND_ID_BYTES_MAX, push("%")),
        ("callerContext", CALLER_BYTES_MAX, caller("%", "0")),
        ("callerContext", CALLER_BYTES_MAX, caller("B", "%")),
    ] {
        let decode = |bytes: usize| rpc::ClientMessage::decode(&frame.replace('%', &"x".repeat(bytes))).remove(0);
        assert!(decode(max).is_ok(), "{name}: {:?}", decode(max));
        let error = decode(max + 1).expect_err(name).to_string();
        assert!(error.contains(name) && error.contains(&format!("longer than {max} bytes")), "{error}");
    }
}

#[test]
fn answers_quote_no_more_than_a_little() {
    use livestore_sync_protocol::limits::QUOTE_BYTES_MAX;
    let long = "ü".repeat(100_000);
    let request = |tag: &str, batch: &str| {
        format!(
            r#"{{"_tag":"Request","id":"1","tag":"{tag}","payload":{{"storeId":"a","batch":{batch},"backendId":{{"_tag":"None"}}}},"headers":[]}}"#
        )
    };
    for frame in [
        format!(r#"{{"_tag":"{long}"}}"#),
        request(&long, "[]"),
        request("SyncWsRpc.Push", &format!("\"{long}\"")),
        format!(r#"{{"_tag":"Ack","requestId":["{long}"]}}"#),
    ] {
        let error = rpc::ClientMessage::decode(&frame).remove(0).expect_err("is wrong");
        let answer = rpc::ServerMessage::from_decode_error(error).encode();
        assert!(answer.len() < QUOTE_BYTES_MAX + 256, "{} bytes: {answer}", answer.len());
    }
    for frame in [
        format!(r#"{{"_tag":"WSMessage.{long}","requestId":"a"}}"#),
        format!(r#"{{"_tag":"WSMessage.PushReq","requestId":"a","batch":"{long}"}}"#),
    ] {
        let error = v03::ClientMessage::decode(&frame).expect_err("is wrong");
        assert!(error.message.len() < QUOTE_BYTES_MAX + 64, "{}", error.message);
        assert_eq!(error.request_id, "a");
    }
}

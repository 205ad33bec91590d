use livestore_sync_protocol::rpc::{PingPayload, PullPayload, PushPayload, Request, Rpc, Transport};
use livestore_sync_protocol::{Args, Cursor, Event, RequestId, SeqNum, rpc, v03};
use serde_json::value::RawValue;

use crate::{assert_same, recorded};

pub(crate) fn seq(number: i64) -> SeqNum {
    SeqNum::new(number).unwrap()
}

pub(crate) fn event(name: &str, args: &str, seq_num: i64) -> Event {
    Event {
        name: name.into(),
        args: Args::from_json(args.into()).unwrap(),
        seq_num: seq(seq_num),
        parent_seq_num: seq(seq_num - 1),
        client_id: "client-a".into(),
        session_id: "session-a".into(),
    }
}

fn json(text: &str) -> Option<Box<RawValue>> {
    Some(RawValue::from_string(text.into()).unwrap())
}

#[test]
fn v03_messages() {
    let id = |request_id: &str| request_id.to_owned();
    for (frame, expected) in [
        (
            r#"{"_tag":"WSMessage.PullReq","requestId":"alive"}"#,
            v03::ClientMessage::Pull(v03::PullReq { request_id: id("alive"), cursor: None }),
        ),
        (
            r#"{"_tag":"WSMessage.PullReq","requestId":"c0","cursor":0}"#,
            v03::ClientMessage::Pull(v03::PullReq { request_id: id("c0"), cursor: Some(SeqNum::ROOT) }),
        ),
        (
            r#"{"_tag":"WSMessage.PushReq","requestId":"after2","batch":[{"name":"todoCreated","args":{"id":"3","text":"t3"},"seqNum":3,"parentSeqNum":2,"clientId":"client-a","sessionId":"session-a"}]}"#,
            v03::ClientMessage::Push(v03::PushReq {
                request_id: id("after2"),
                batch: vec![event("todoCreated", r#"{"id":"3","text":"t3"}"#, 3)],
            }),
        ),
        (v03::PING, v03::ClientMessage::Ping(v03::Id { request_id: id("ping") })),
        (
            r#"{"_tag":"WSMessage.AdminInfoReq","requestId":"WSMessage.AdminInfoReqwrong","adminSecret":"wrong"}"#,
            v03::ClientMessage::AdminInfo(v03::AdminReq {
                request_id: id("WSMessage.AdminInfoReqwrong"),
                admin_secret: "wrong".into(),
            }),
        ),
        (
            r#"{"_tag":"WSMessage.AdminResetRoomReq","requestId":"WSMessage.AdminResetRoomReqwrong","adminSecret":"wrong"}"#,
            v03::ClientMessage::AdminResetRoom(v03::AdminReq {
                request_id: id("WSMessage.AdminResetRoomReqwrong"),
                admin_secret: "wrong".into(),
            }),
        ),
    ] {
        assert_eq!(v03::ClientMessage::decode(recorded("0.3-ws-client", frame)), Ok(expected));
    }
}

fn request(id: RequestId, rpc: Rpc) -> rpc::ClientMessage {
    rpc::ClientMessage::Request(Request { id, rpc, headers: vec![], trace_id: None, span_id: None, sampled: None })
}

#[track_caller]
fn assert_decodes(name: &str, frame: &str, expected: rpc::ClientMessage) {
    assert_same(&rpc::ClientMessage::decode(recorded(name, frame)), &vec![Ok(expected)]);
}

#[test]
fn v04_calls_over_websockets() {
    assert_decodes(
        "0.4-ws-client",
        r#"{"_tag":"Request","id":"99","tag":"SyncWsRpc.Pull","payload":{"storeId":"t-3k353r","live":false,"cursor":{"_tag":"Some","value":{"backendId":"nope","eventSequenceNumber":0}}},"headers":[]}"#,
        request(
            RequestId::Text("99".into()),
            Rpc::Pull(
                Transport::Ws,
                PullPayload {
                    store_id: "t-3k353r".into(),
                    payload: None,
                    live: Some(false),
                    cursor: Some(Cursor { backend_id: Some("nope".into()), seq_num: SeqNum::ROOT }),
                    rpc_context: None,
                },
            ),
        ),
    );
    assert_decodes(
        "0.4-ws-client",
        r#"{"_tag":"Request","id":"1","tag":"SyncWsRpc.Push","payload":{"storeId":"t-htam9q","payload":{"authToken":"good","x":[1,"ü&=% +"]},"batch":[{"name":"logCtx","args":{"id":"1","text":"t1"},"seqNum":1,"parentSeqNum":0,"clientId":"client-a","sessionId":"session-a"}],"backendId":{"_tag":"Some","value":"zIGEUmZP-8CIi0Fu7A-kN"}},"traceId":"90b6dc31764ebd4dc79ab54c6d352e8f","spanId":"c6a483907a6ef3be","sampled":true,"headers":[]}"#,
        rpc::ClientMessage::Request(Request {
            id: RequestId::Text("1".into()),
            rpc: Rpc::Push(
                Transport::Ws,
                PushPayload {
                    store_id: "t-htam9q".into(),
                    payload: json(r#"{"authToken":"good","x":[1,"ü&=% +"]}"#),
                    batch: vec![event("logCtx", r#"{"id":"1","text":"t1"}"#, 1)],
                    backend_id: Some("zIGEUmZP-8CIi0Fu7A-kN".into()),
                },
            ),
            headers: vec![],
            trace_id: Some("90b6dc31764ebd4dc79ab54c6d352e8f".into()),
            span_id: Some("c6a483907a6ef3be".into()),
            sampled: Some(true),
        }),
    );
    assert_decodes(
        "0.4-ws-client",
        r#"{"_tag":"Request","id":"5","tag":"SyncWsRpc.Pull","payload":{"storeId":"t-g0v76g","live":false,"cursor":{"_tag":"None"}},"traceId":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","spanId":"bbbbbbbbbbbbbbbb","sampled":true,"headers":[["x-a","b"]]}"#,
        rpc::ClientMessage::Request(Request {
            id: RequestId::Text("5".into()),
            rpc: Rpc::Pull(
                Transport::Ws,
                PullPayload {
                    store_id: "t-g0v76g".into(),
                    payload: None,
                    live: Some(false),
                    cursor: None,
                    rpc_context: None,
                },
            ),
            headers: vec![("x-a".into(), "b".into())],
            trace_id: Some("a".repeat(32)),
            span_id: Some("b".repeat(16)),
            sampled: Some(true),
        }),
    );
}

#[test]
fn v04_control_messages() {
    let two = || RequestId::Text("2".into());
    assert_decodes(
        "0.4-ws-client",
        r#"{"_tag":"Ack","requestId":"67"}"#,
        rpc::ClientMessage::Ack { request_id: RequestId::Text("67".into()) },
    );
    assert_decodes(
        "0.4-ws-client",
        r#"{"_tag":"Interrupt","requestId":"2"}"#,
        rpc::ClientMessage::Interrupt { request_id: two() },
    );
    assert_decodes("0.4-ws-client", rpc::PING, rpc::ClientMessage::Ping);
    assert_decodes("0.4-ws-client", r#"{"_tag":"Eof"}"#, rpc::ClientMessage::Eof);
}

#[test]
fn v04_calls_over_http() {
    let store_id = || "t-nyqgjp".to_owned();
    assert_decodes(
        "0.4-http-client",
        r#"{"_tag":"Request","id":"33","tag":"SyncHttpRpc.Ping","payload":{"storeId":"t-nyqgjp"},"headers":[]}"#,
        request(
            RequestId::Text("33".into()),
            Rpc::Ping(Transport::Http, PingPayload { store_id: store_id(), payload: None }),
        ),
    );
    assert_decodes(
        "0.4-http-client",
        r#"{"_tag":"Request","id":"39","tag":"SyncHttpRpc.Pull","payload":{"storeId":"t-nyqgjp","cursor":{"_tag":"Some","value":{"backendId":"nope","eventSequenceNumber":0}}},"headers":[]}"#,
        request(
            RequestId::Text("39".into()),
            Rpc::Pull(
                Transport::Http,
                PullPayload {
                    store_id: store_id(),
                    payload: None,
                    live: None,
                    cursor: Some(Cursor { backend_id: Some("nope".into()), seq_num: SeqNum::ROOT }),
                    rpc_context: None,
                },
            ),
        ),
    );
    assert_decodes(
        "0.4-http-client",
        r#"{"_tag":"Request","id":"40","tag":"SyncHttpRpc.Push","payload":{"storeId":"t-nyqgjp","batch":[{"name":"rejectMe","args":{"id":"2","text":"t2"},"seqNum":2,"parentSeqNum":1,"clientId":"client-a","sessionId":"session-a"}],"backendId":{"_tag":"None"}},"headers":[]}"#,
        request(
            RequestId::Text("40".into()),
            Rpc::Push(
                Transport::Http,
                PushPayload {
                    store_id: store_id(),
                    payload: None,
                    batch: vec![event("rejectMe", r#"{"id":"2","text":"t2"}"#, 2)],
                    backend_id: None,
                },
            ),
        ),
    );
}

#[test]
fn next_messages() {
    let empty =
        || PullPayload { store_id: "empty".into(), payload: None, live: Some(false), cursor: None, rpc_context: None };
    assert_decodes(
        "next-ws-client",
        r#"{"_tag":"Request","id":0,"tag":"SyncWsRpc.Pull","payload":{"storeId":"empty","live":false,"cursor":{"_tag":"None"}},"headers":[]}"#,
        request(RequestId::Number(0), Rpc::Pull(Transport::Ws, empty())),
    );
    assert_decodes(
        "next-ws-client",
        r#"{"_tag":"Ack","requestId":0}"#,
        rpc::ClientMessage::Ack { request_id: RequestId::Number(0) },
    );
    assert_decodes(
        "next-ws-client",
        r#"{"_tag":"Interrupt","requestId":6}"#,
        rpc::ClientMessage::Interrupt { request_id: RequestId::Number(6) },
    );
    assert_decodes(
        "next-http-client",
        r#"{"_tag":"Request","id":23,"tag":"SyncHttpRpc.Ping","payload":{"storeId":"any","payload":{"authToken":"x"}},"headers":[]}"#,
        request(
            RequestId::Number(23),
            Rpc::Ping(Transport::Http, PingPayload { store_id: "any".into(), payload: json(r#"{"authToken":"x"}"#) }),
        ),
    );
    let array = r#"[{"_tag":"Request","id":12,"tag":"SyncWsRpc.Pull","payload":{"storeId":"empty","live":false,"cursor":{"_tag":"None"}},"headers":[]},{"_tag":"Ping"},{"_tag":"Request","id":13,"tag":"SyncWsRpc.Push","payload":{"storeId":"any","batch":[],"backendId":{"_tag":"None"}},"headers":[]}]"#;
    let push = PushPayload { store_id: "any".into(), payload: None, batch: vec![], backend_id: None };
    assert_same(
        &rpc::ClientMessage::decode(recorded("next-ws-client", array)),
        &vec![
            Ok(request(RequestId::Number(12), Rpc::Pull(Transport::Ws, empty()))),
            Ok(rpc::ClientMessage::Ping),
            Ok(request(RequestId::Number(13), Rpc::Push(Transport::Ws, push))),
        ],
    );
}

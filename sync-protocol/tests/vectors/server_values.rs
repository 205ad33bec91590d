use livestore_sync_protocol::rpc::{Cause, Exit, FiberId, ServerMessage, SyncError};
use livestore_sync_protocol::v03::{Context, Id, PullRes, PullResId, Refusal};
use livestore_sync_protocol::{PageInfo, PullResponse, PulledEvent, RequestId, v03};
use serde_json::json;

use crate::client_values::{event, seq};
use crate::{Frame, assert_same, frames, recorded};

fn pulled(args: &str, seq_num: i64, created_at: &str) -> PulledEvent {
    PulledEvent { event: event("todoCreated", args, seq_num), created_at: Some(created_at.into()) }
}

#[test]
fn v03_messages() {
    let id = |request_id: &str| Id { request_id: request_id.to_owned() };
    let pull_res = |context, request_id: &str, batch| {
        let request_id = PullResId { context, request_id: request_id.to_owned() };
        v03::ServerMessage::Pull(PullRes { batch, request_id, remaining: 0 })
    };
    let admin = "WSMessage.AdminInfoReqsekret";
    for (frame, expected) in [
        (
            r#"{"_tag":"WSMessage.PullRes","batch":[],"requestId":{"context":"pull","requestId":"r"},"remaining":0}"#,
            pull_res(Context::Pull, "r", vec![]),
        ),
        (
            r#"{"_tag":"WSMessage.PullRes","batch":[{"eventEncoded":{"name":"todoCreated","args":{"s":"1"},"seqNum":1,"parentSeqNum":0,"clientId":"client-a","sessionId":"session-a"},"metadata":{"_tag":"Some","value":{"createdAt":"2026-11-21T00:15:46.667Z"}}}],"requestId":{"context":"push","requestId":"p"},"remaining":0}"#,
            pull_res(Context::Push, "p", vec![pulled(r#"{"s":"1"}"#, 1, "2026-11-21T00:15:46.667Z")]),
        ),
        (r#"{"_tag":"WSMessage.PushAck","requestId":"p"}"#, v03::ServerMessage::PushAck(id("p"))),
        (
            r#"{"_tag":"WSMessage.Error","requestId":"q","message":"Invalid parent event number. Received e0 but expected e2"}"#,
            v03::ServerMessage::Error(Refusal {
                request_id: "q".into(),
                message: "Invalid parent event number. Received e0 but expected e2".into(),
            }),
        ),
        (v03::PONG, v03::ServerMessage::Pong(id("ping"))),
        (
            r#"{"_tag":"WSMessage.AdminResetRoomRes","requestId":"WSMessage.AdminResetRoomReqsekret"}"#,
            v03::ServerMessage::AdminResetRoom(id("WSMessage.AdminResetRoomReqsekret")),
        ),
        (
            r#"{"_tag":"WSMessage.AdminInfoRes","requestId":"WSMessage.AdminInfoReqsekret","info":{"durableObjectId":"a02184ebb69161208e9d436c21f88a651eadc0a0a548dbaab117d06eb3113112"}}"#,
            v03::ServerMessage::AdminInfo(v03::AdminInfoRes {
                request_id: admin.into(),
                info: v03::AdminInfo {
                    durable_object_id: "a02184ebb69161208e9d436c21f88a651eadc0a0a548dbaab117d06eb3113112".into(),
                },
            }),
        ),
    ] {
        assert_eq!(v03::ServerMessage::decode(recorded("0.3-ws-server", frame)), Ok(expected));
    }
}

#[track_caller]
fn assert_decodes(name: &str, frame: &str, expected: &[ServerMessage]) {
    assert_same(&ServerMessage::decode(recorded(name, frame)), &Ok(expected.to_vec()));
}

fn cause(frame: &str) -> Cause {
    match &ServerMessage::decode(frame).unwrap()[..] {
        [ServerMessage::Exit { exit: Exit::Failure(cause), .. }] => cause.clone(),
        other => panic!("{other:?}"),
    }
}

fn text(id: &str) -> RequestId {
    RequestId::Text(id.into())
}

fn fail(request_id: RequestId, error: SyncError) -> ServerMessage {
    ServerMessage::failure(request_id, Cause::Fail { error })
}

fn empty_chunk(request_id: RequestId, backend_id: &str) -> ServerMessage {
    let response = PullResponse { batch: vec![], page_info: PageInfo::NoMore, backend_id: backend_id.into() };
    ServerMessage::Chunk { request_id, values: vec![response] }
}

#[test]
fn v04_chunks_and_successes() {
    let ws = "0.4-ws-server";
    assert_decodes(
        ws,
        r#"{"_tag":"Chunk","requestId":"19","values":[{"batch":[{"eventEncoded":{"name":"todoCreated","args":{"s":"1"},"seqNum":1,"parentSeqNum":0,"clientId":"client-a","sessionId":"session-a"},"metadata":{"_tag":"Some","value":{"_tag":"SyncMessage.SyncMetadata","createdAt":"2026-11-21T00:25:00.210Z"}}}],"pageInfo":{"_tag":"NoMore"},"backendId":"4QzuC7kGG9yY6u8Rocojl"}]}"#,
        &[ServerMessage::Chunk {
            request_id: text("19"),
            values: vec![PullResponse {
                batch: vec![pulled(r#"{"s":"1"}"#, 1, "2026-11-21T00:25:00.210Z")],
                page_info: PageInfo::NoMore,
                backend_id: "4QzuC7kGG9yY6u8Rocojl".into(),
            }],
        }],
    );
    assert_decodes(
        ws,
        r#"{"_tag":"Exit","requestId":"0","exit":{"_tag":"Success"}}"#,
        &[ServerMessage::pull_end(text("0"))],
    );
    let pushed = r#"{"_tag":"Exit","requestId":"5","exit":{"_tag":"Success","value":{}}}"#;
    assert_decodes(ws, pushed, &[ServerMessage::push_success(text("5"))]);
    assert_decodes(ws, r#"{"_tag":"Pong"}"#, &[ServerMessage::Pong]);
    assert_decodes(
        "0.4-http-server",
        r#"[{"_tag":"Chunk","requestId":"34","values":[{"batch":[],"pageInfo":{"_tag":"NoMore"},"backendId":"N8fnD2clBDPcqI1y23hns"}]},{"_tag":"Exit","requestId":"34","exit":{"_tag":"Success"}}]"#,
        &[empty_chunk(text("34"), "N8fnD2clBDPcqI1y23hns"), ServerMessage::pull_end(text("34"))],
    );
}

#[test]
fn v04_failures() {
    let ws = "0.4-ws-server";
    assert_decodes(
        ws,
        r#"{"_tag":"Exit","requestId":"15","exit":{"_tag":"Failure","cause":{"_tag":"Fail","error":{"minimumExpectedNum":2,"providedNum":0,"_tag":"ServerAheadError"}}}}"#,
        &[fail(text("15"), SyncError::ServerAhead { minimum_expected_num: seq(2), provided_num: seq(0) })],
    );
    assert_decodes(
        ws,
        r#"{"_tag":"Exit","requestId":"97","exit":{"_tag":"Failure","cause":{"_tag":"Fail","error":{"expected":"tms2JRlI3jNXW1UTywsi3","received":"nope","_tag":"BackendIdMismatchError"}}}}"#,
        &[fail(
            text("97"),
            SyncError::BackendIdMismatch { expected: "tms2JRlI3jNXW1UTywsi3".into(), received: "nope".into() },
        )],
    );
    assert_decodes(
        ws,
        r#"{"_tag":"Exit","requestId":"102","exit":{"_tag":"Failure","cause":{"_tag":"Fail","error":{"cause":{"name":"Error","message":"onPush rejected"},"_tag":"UnknownError"}}}}"#,
        &[fail(text("102"), SyncError::unknown("Error", "onPush rejected"))],
    );
    assert_decodes(
        ws,
        r#"{"_tag":"Defect","defect":"Unknown request tag: Nope"}"#,
        &[ServerMessage::Defect { defect: json!("Unknown request tag: Nope") }],
    );
    assert_decodes(
        ws,
        r#"{"_tag":"Defect","defect":{"name":"SyntaxError","message":"Unexpected end of JSON input"}}"#,
        &[ServerMessage::Defect {
            defect: json!({ "name": "SyntaxError", "message": "Unexpected end of JSON input" }),
        }],
    );
    let dies = frames(ws, "s2c").into_iter().find(|frame| frame.text.contains(r#""requestId":"900""#)).unwrap();
    let Cause::Die { defect } = cause(&dies.text) else { panic!("{}", dies.text) };
    assert!(defect.as_str().unwrap().ends_with("└─ [\"backendId\"]\n   └─ is missing"));
}

#[test]
fn v04_interruption_is_a_tree() {
    let sequential = |left: Cause, right: Cause| Cause::Sequential { left: left.into(), right: right.into() };
    let interrupt = || Cause::Interrupt {
        fiber_id: FiberId::Object(json!({ "_tag": "Runtime", "id": -499, "startTimeMillis": 0 })),
    };
    let pair = || sequential(Cause::Empty, interrupt());
    let tree = sequential(sequential(sequential(pair(), pair()), pair()), pair());
    let frame = frames("0.4-ws-server", "s2c").into_iter().find(|frame| frame.text.contains("-499")).unwrap();
    assert_eq!(cause(&frame.text), tree);
}

#[test]
fn next_messages() {
    let ws = "next-ws-server";
    let number = RequestId::Number;
    let backend_id = "V1StGXR8_Z5jdHi6B-myT";
    assert_decodes(
        ws,
        r#"{"_tag":"Chunk","requestId":0,"values":[{"batch":[],"pageInfo":{"_tag":"NoMore"},"backendId":"V1StGXR8_Z5jdHi6B-myT"}]}"#,
        &[empty_chunk(number(0), backend_id)],
    );
    let ended = r#"{"_tag":"Exit","requestId":0,"exit":{"_tag":"Success","value":null}}"#;
    assert_decodes(ws, ended, &[ServerMessage::pull_end(number(0))]);
    let pushed = r#"{"_tag":"Exit","requestId":7,"exit":{"_tag":"Success","value":{}}}"#;
    assert_decodes(ws, pushed, &[ServerMessage::push_success(number(7))]);
    assert_decodes(
        ws,
        r#"{"_tag":"Exit","requestId":13,"exit":{"_tag":"Failure","cause":[{"_tag":"Fail","error":{"_tag":"ServerAheadError","minimumExpectedNum":1,"providedNum":0}},{"_tag":"Die","defect":"and more"}]}}"#,
        &[ServerMessage::failure(
            number(13),
            Cause::Sequential {
                left: Cause::Fail {
                    error: SyncError::ServerAhead { minimum_expected_num: seq(1), provided_num: seq(0) },
                }
                .into(),
                right: Cause::Die { defect: json!("and more") }.into(),
            },
        )],
    );
    assert_decodes(
        ws,
        r#"{"_tag":"Exit","requestId":12,"exit":{"_tag":"Failure","cause":[{"_tag":"Fail","error":{"_tag":"UnknownError","cause":"push refused","note":"n","payload":{"a":[1,null]}}}]}}"#,
        &[fail(
            number(12),
            SyncError::Unknown {
                cause: json!("push refused"),
                note: Some("n".into()),
                payload: Some(json!({ "a": [1, null] })),
            },
        )],
    );
    assert_decodes(
        "next-http-server",
        r#"[{"_tag":"Exit","requestId":23,"exit":{"_tag":"Success","value":{"_tag":"SyncMessage.Pong"}}}]"#,
        &[ServerMessage::ping_success(number(23))],
    );
    let interrupt = |fiber_id| Cause::Interrupt { fiber_id };
    for (scenario, expected) in [
        ("pull-live-interrupted", interrupt(FiberId::Number(81))),
        ("die-fatal", interrupt(FiberId::Unknown)),
        ("die-not-fatal", Cause::Die { defect: json!({ "name": "TypeError", "message": "push died" }) }),
    ] {
        let exit = |frame: &Frame| frame.scenario == scenario && frame.text.contains(r#""_tag":"Exit""#);
        let exit = frames(ws, "s2c").into_iter().rfind(exit).unwrap();
        assert_eq!(cause(&exit.text), expected);
    }
    let paged = frames(ws, "s2c").into_iter().find(|frame| frame.scenario == "pull-paged-with-acks").unwrap();
    let created_at = "2026-11-21T00:14:31.259Z";
    assert_same(
        &ServerMessage::decode(&paged.text),
        &Ok(vec![ServerMessage::Chunk {
            request_id: number(1),
            values: vec![PullResponse {
                batch: vec![
                    pulled(r#"{"id":"1","text":"t1"}"#, 1, created_at),
                    pulled(r#"{"id":"2","text":"t2"}"#, 2, created_at),
                ],
                page_info: PageInfo::MoreKnown { remaining: 1 },
                backend_id: backend_id.into(),
            }],
        }]),
    );
}
